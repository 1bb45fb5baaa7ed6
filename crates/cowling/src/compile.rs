//! From bytes to a module: the part of the API that needs the compiler.

mod builder;

pub use builder::{CodeBuilder, CodeHint};

use crate::artifact;
#[cfg(feature = "cache")]
use crate::cache::{EngineCache, Key};
use crate::config::Config;
use crate::engine::Engine;
use crate::error::{Context, Error, Result, bail, ensure};
use crate::module::Module;
use cowling_abi::artifact::Header;
use cowling_compiler::{CompileError, Compiler};
use cowling_vm::{Trusted, Verify};
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

/// A compiler that is set up when it is first needed, so that [`Engine::default`] cannot fail.
#[derive(Default)]
pub(crate) struct LazyCompiler(OnceLock<Result<Compiler, CompileError>>);

impl LazyCompiler {
    /// The compiler whose artifacts get this header.
    pub(crate) fn get(
        &self,
        config: &Config,
        header: impl FnOnce() -> Header,
    ) -> Result<&Compiler> {
        ensure!(
            config.compiler.enabled,
            "this engine does not compile: `Config::enable_compiler(false)`"
        );
        let make = || {
            let mut compiler = Compiler::for_header(&config.knobs, header())?;
            if let Some(directory) = &config.compiler.emit_clif {
                compiler.emit_clif(directory.clone());
            }
            if let Some(store) = &config.compiler.store {
                compiler.use_store(store.clone());
            }
            Ok(compiler)
        };
        match self.0.get_or_init(make) {
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
        let artifact = match &self.config().compiler.progress {
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

    cowling_vm::on_trust! {
        /// Compiles a module from a file in the binary or text format, or loads it if the file is an artifact.
        ///
        /// ```
        /// # use cowling::*;
        /// let engine = Engine::default();
        /// let text = r#"(module (func (export "run")))"#;
        /// let artifact = engine.precompile_module(text.as_bytes())?;
        /// let dir = tempfile::tempdir()?;
        /// for content in [text.as_bytes(), &artifact] {
        ///     let path = dir.path().join("module");
        ///     std::fs::write(&path, content)?;
        ///     // SAFETY: it was written in the line above, and nobody else does.
        ///     let module = unsafe { Module::from_trusted_file(&engine, &path)? };
        ///     assert!(module.get_export("run").is_some());
        /// }
        /// # Ok::<(), Error>(())
        /// ```
        ///
        /// # Safety
        /// If the file is an artifact, it is as for [`Module::deserialize_open_file`].
        ///
        /// # Errors
        /// As [`Module::from_file`] and [`Module::deserialize`]; the path is named.
        pub unsafe fn from_trusted_file(engine: &Engine, trusted file: impl AsRef<Path>) -> Result<Module> => Module::from_file_or_artifact;
    }

    fn from_file_or_artifact(engine: &Engine, path: Trusted<impl AsRef<Path>>) -> Result<Module> {
        let path = path.get().as_ref();
        if !artifact::is_artifact_file(path)? {
            return Module::from_file(engine, path);
        }
        File::open(path)
            .map_err(Error::from)
            .and_then(|file| {
                let metadata = file.metadata()?;
                Module::load_verified(engine, file, &metadata)
            })
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
            && let Some(identity) = crate::identity::Identity::of(file)
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
    fn cached(engine: &Engine, cache: &EngineCache, key: &Key) -> Option<Module> {
        let file = cache.get(key)?;
        let loaded = (file.metadata().map_err(Error::from))
            .and_then(|metadata| Module::load_file(engine, file, &metadata, Verify::HeaderOnly));
        match loaded {
            Ok(module) => {
                cache.count_hit();
                Some(module)
            }
            Err(error) => {
                tracing::warn!("compile cache: dropping an entry that does not load: {error:#}");
                cache.remove(key);
                None
            }
        }
    }

    #[cfg(feature = "cache")]
    fn from_cache(
        engine: &Engine,
        cache: &EngineCache,
        key: &Key,
        binary: &[u8],
    ) -> Result<Module> {
        if let Some(module) = Module::cached(engine, cache, key) {
            return Ok(module);
        }
        cache.count_miss();
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
