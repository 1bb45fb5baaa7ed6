//! From bytes to a module: the part of the API that needs the compiler.

use crate::artifact;
#[cfg(feature = "cache")]
use crate::cache::{Cache, Key};
use crate::config::Config;
use crate::engine::Engine;
use crate::error::{Context, Result, bail};
use crate::module::Module;
use cowling_abi::knobs::Knobs;
use cowling_compiler::{CompileError, Compiler};
use cowling_vm::Verify;
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Called with the number of functions compiled so far and in all.
pub(crate) type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

impl Config {
    /// Calls `report` while a module compiles with the number of functions done and the number of functions in all.
    ///
    /// It is called from compiling threads, several at once, and should return soon.
    pub fn compile_progress(
        &mut self,
        report: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> &mut Config {
        self.progress = Some(Arc::new(report));
        self
    }
}

/// A compiler that is set up when it is first needed, so that [`Engine::default`] cannot fail.
#[derive(Default)]
pub(crate) struct LazyCompiler(OnceLock<Result<Compiler, CompileError>>);

impl LazyCompiler {
    pub(crate) fn get(&self, knobs: &Knobs) -> Result<&Compiler> {
        match self.0.get_or_init(|| Compiler::new(knobs)) {
            Ok(compiler) => Ok(compiler),
            Err(error) => Err(error.clone().into()),
        }
    }
}

impl Engine {
    /// Compiles a module, in binary or text format, to an artifact for [`Module::deserialize`]. Same as
    /// [`Module::new`] and [`Module::serialize`], but loads nothing.
    ///
    /// # Errors
    /// As [`Module::new`].
    pub fn precompile_module(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.compile(&binary(bytes)?)
    }

    fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>> {
        let _span = tracing::info_span!("compile", bytes = wasm.len()).entered();
        let silent = |_, _| {};
        let artifact = match &self.config().progress {
            Some(progress) => self.compiler()?.compile(wasm, &**progress)?,
            None => self.compiler()?.compile(wasm, &silent)?,
        };
        Ok(artifact)
    }
}

impl Module {
    /// Compiles a module from the binary format or, with the feature `wat`, the text format.
    ///
    /// ```
    /// # use cowling::*;
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module (func (export "run")))"#)?;
    /// assert_eq!(module.exports().next().unwrap().name(), "run");
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the bytes are not a valid module ([`CompileError`]), not text that parses, or a precompiled artifact, which
    /// [`Module::deserialize_file`] loads.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        Module::from_binary(engine, &binary(bytes.as_ref())?)
    }

    /// Compiles a module from a file in the binary or text format.
    ///
    /// # Errors
    /// When the file cannot be read, or as [`Module::new`]; the path is named.
    pub fn from_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module> {
        let path = path.as_ref();
        let mut file =
            File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Module::from_open_file(engine, &mut file)
            .with_context(|| format!("cannot load `{}`", path.display()))
    }

    /// Compiles a module from a file in the binary or text format that is open for reading, at its start. With a compile cache, a
    /// regular file that was compiled before and has not changed since is not even read.
    ///
    /// # Errors
    /// When the file cannot be read, or as [`Module::new`].
    pub fn from_open_file(engine: &Engine, file: &mut File) -> Result<Module> {
        #[cfg(feature = "cache")]
        if let Some(cache) = engine.cache()
            && let Some(identity) = crate::cache::Identity::of(file)
        {
            if let Some(key) = cache.recall(&identity)
                && let Some(module) = Module::cached(engine, cache, &key)
            {
                return Ok(module);
            }
            let bytes = read_all(file)?;
            let wasm = binary(&bytes)?;
            let key = cache.key(&wasm);
            let module = Module::from_cache(engine, cache, &key, &wasm)?;
            cache.note(&identity, file, &key);
            return Ok(module);
        }
        Module::new(engine, read_all(file)?)
    }

    /// Compiles a module from the binary format.
    ///
    /// # Errors
    /// As [`Module::new`].
    pub fn from_binary(engine: &Engine, binary: &[u8]) -> Result<Module> {
        #[cfg(feature = "cache")]
        if let Some(cache) = engine.cache() {
            return Module::from_cache(engine, cache, &cache.key(binary), binary);
        }
        Module::load_bytes(engine, &engine.compile(binary)?, Verify::HeaderOnly)
    }

    #[cfg(feature = "cache")]
    fn cached(engine: &Engine, cache: &Cache, key: &Key) -> Option<Module> {
        match Module::load_file(engine, cache.get(key)?, Verify::HeaderOnly) {
            Ok(module) => Some(module),
            Err(error) => {
                tracing::warn!("compile cache: dropping an entry that does not load: {error:#}");
                cache.remove(key);
                None
            }
        }
    }

    #[cfg(feature = "cache")]
    fn from_cache(engine: &Engine, cache: &Cache, key: &Key, binary: &[u8]) -> Result<Module> {
        if let Some(module) = Module::cached(engine, cache, key) {
            return Ok(module);
        }
        let artifact = engine.compile(binary)?;
        cache.put(key, &artifact);
        Module::load_bytes(engine, &artifact, Verify::HeaderOnly)
    }

    /// Checks that a module in the binary format is valid under the engine's settings, without compiling it.
    ///
    /// # Errors
    /// Says what is wrong and where: [`CompileError`].
    pub fn validate(engine: &Engine, binary: &[u8]) -> Result<()> {
        Ok(engine.compiler()?.validate(binary)?)
    }
}

/// The rest of a file.
fn read_all(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context("cannot read it")?;
    Ok(bytes)
}

/// The module in binary format.
fn binary(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    if artifact::is_elf(bytes) {
        match artifact::is_artifact(bytes) {
            true => bail!(
                "this is a compiled artifact, not a WebAssembly module; load it with `Module::deserialize_file` or `Module::deserialize`"
            ),
            false => bail!("this is an ELF file, not a WebAssembly module"),
        }
    }
    match bytes.first() {
        None => bail!("empty input: there is no WebAssembly module in it"),
        // A binary, whole or not: text never starts with a zero.
        Some(0) => Ok(Cow::Borrowed(bytes)),
        Some(_) => text_to_binary(bytes),
    }
}

#[cfg(feature = "wat")]
fn text_to_binary(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    if std::str::from_utf8(bytes).is_err() {
        bail!("input is neither a WebAssembly binary, which starts with \"\\0asm\", nor text");
    }
    Ok(wat::parse_bytes(bytes)?)
}

#[cfg(not(feature = "wat"))]
fn text_to_binary(_: &[u8]) -> Result<Cow<'_, [u8]>> {
    bail!(
        "input is not a WebAssembly binary, which starts with \"\\0asm\" (support for the text format is not built in)"
    )
}
