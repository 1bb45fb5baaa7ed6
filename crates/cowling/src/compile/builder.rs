//! Compiling step by step.

use crate::engine::Engine;
use crate::error::{Context, Error, Result, ensure};
use crate::module::Module;
use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::Path;

/// Compiles a module whose bytes it is given first: the long form of [`Module::new`] and [`Engine::precompile_module`], where the
/// bytes and the file they are from are known apart.
///
/// ```
/// # use cowling::*;
/// # use std::path::Path;
/// let engine = Engine::default();
/// let mut builder = CodeBuilder::new(&engine);
/// builder.wasm_binary_or_text(br#"(module (func (export "run")))"#, Some(Path::new("run.wat")))?;
/// assert!(matches!(builder.hint(), Some(CodeHint::Module)));
/// let module = builder.compile_module()?;
/// assert_eq!(module.serialize()?, builder.compile_module_serialized()?);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct CodeBuilder<'a> {
    engine: &'a Engine,
    wasm: Option<Cow<'a, [u8]>>,
    path: Option<&'a Path>,
}

/// What bytes look like: [`CodeBuilder::hint`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CodeHint {
    /// A module.
    Module,
    /// A component, which cannot be compiled.
    Component,
}

impl<'a> CodeBuilder<'a> {
    /// A builder of modules for this engine, without bytes.
    pub fn new(engine: &'a Engine) -> Self {
        CodeBuilder {
            engine,
            wasm: None,
            path: None,
        }
    }

    /// Takes the binary to compile. Errors name `wasm_path`, which is not read.
    ///
    /// # Errors
    /// When it has been given bytes before.
    pub fn wasm_binary(
        &mut self,
        wasm_bytes: impl Into<Cow<'a, [u8]>>,
        wasm_path: Option<&'a Path>,
    ) -> Result<&mut Self> {
        ensure!(
            self.wasm.is_none(),
            "this builder was given a module before"
        );
        self.wasm = Some(wasm_bytes.into());
        self.path = wasm_path;
        Ok(self)
    }

    /// Takes the module to compile, in binary or text format. Errors name `wasm_path`, which is not read.
    ///
    /// # Errors
    /// When it has been given bytes before, or when they are no binary, nor text that parses.
    pub fn wasm_binary_or_text(
        &mut self,
        wasm_bytes: &'a [u8],
        wasm_path: Option<&'a Path>,
    ) -> Result<&mut Self> {
        let binary = super::binary(wasm_bytes).map_err(|error| naming(wasm_path, error))?;
        self.wasm_binary(binary, wasm_path)
    }

    /// Reads the binary to compile from a file.
    ///
    /// # Errors
    /// When the file cannot be read, or it has been given bytes before.
    pub fn wasm_binary_file(&mut self, file: &'a Path) -> Result<&mut Self> {
        self.wasm_binary(read(file)?, Some(file))
    }

    /// Reads the module to compile, in binary or text format, from a file.
    ///
    /// # Errors
    /// When the file cannot be read, is no binary, nor text that parses, or it has been given bytes before.
    pub fn wasm_binary_or_text_file(&mut self, file: &'a Path) -> Result<&mut Self> {
        let bytes = read(file)?;
        let binary = super::binary(&bytes).map_err(|error| naming(Some(file), error))?;
        let binary = binary.into_owned();
        self.wasm_binary(binary, Some(file))
    }

    /// What the bytes look like, if they were given and look like anything.
    pub fn hint(&self) -> Option<CodeHint> {
        let wasm = self.wasm.as_deref()?;
        match wasm.get(..8)? {
            b"\0asm\x01\0\0\0" => Some(CodeHint::Module),
            [0, b'a', b's', b'm', _, _, 1, 0] => Some(CodeHint::Component),
            _ => None,
        }
    }

    /// The module. A compile cache is used if the engine has one.
    ///
    /// # Errors
    /// When it was given no bytes, or as [`Module::from_binary`].
    pub fn compile_module(&self) -> Result<Module> {
        let module = Module::from_binary(self.engine, self.bytes()?);
        module.map_err(|error| naming(self.path, error))
    }

    /// The module as an artifact, as [`Engine::precompile_module`] makes it. No compile cache is used.
    ///
    /// # Errors
    /// When it was given no bytes, or as [`Module::from_binary`].
    pub fn compile_module_serialized(&self) -> Result<Vec<u8>> {
        let artifact = self.engine.compile(self.bytes()?);
        artifact.map_err(|error| naming(self.path, error))
    }

    fn bytes(&self) -> Result<&[u8]> {
        self.wasm
            .as_deref()
            .context("this builder was given no module")
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn naming(path: Option<&Path>, error: Error) -> Error {
    match path {
        Some(path) => error.context(format!("cannot compile `{}`", path.display())),
        None => error,
    }
}

impl fmt::Debug for CodeBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeBuilder")
            .field("path", &self.path)
            .field("bytes", &self.wasm.as_deref().map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}
