//! Files given by the user: what they are, told from their content, and modules from them.

use crate::locate;
use cowling::{
    CompileError, Context as _, Engine, Error, KeyId, Module, PublicKey, Result, Signature,
    SignatureError, bail, ensure,
};
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal as _, Read as _, Seek as _, stdin};
use std::path::{Path, PathBuf};
use wat::GenerateDwarf;

/// What a file holds.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A module in binary format.
    Binary,
    /// A module in text format.
    Text,
    /// What `cowling compile` wrote.
    Artifact,
}

/// There is no such file.
#[derive(Debug, thiserror::Error)]
#[error("there is no file `{}`", path.display())]
pub(crate) struct NotFound {
    pub(crate) path: PathBuf,
}

/// What stands for the standard input where a file is asked for.
const STANDARD_INPUT: &str = "-";

/// Is the standard input meant?
pub(crate) fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == STANDARD_INPUT
}

/// A file that has been opened, or the standard input.
struct Source {
    /// What it holds.
    kind: Kind,
    /// What is left to read; nothing of the standard input.
    file: Option<File>,
    /// What has been read of it.
    start: Vec<u8>,
}

/// Opens a file and tells what it holds.
///
/// # Errors
/// When it cannot be read or cannot be any of the [`Kind`]s; the message names the file and says what is expected.
fn open(path: &Path) -> Result<Source> {
    /// Enough to tell what a file holds, so that a huge one that is no WebAssembly is not read to its end.
    const START: usize = 4096;

    if is_standard_input(path) {
        return standard_input();
    }
    let name = path.display();
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let path = path.to_path_buf();
            bail!(NotFound { path });
        }
        opened => opened.with_context(|| format!("cannot open `{name}`"))?,
    };
    let metadata = file
        .metadata()
        .with_context(|| format!("cannot read `{name}`"))?;
    ensure!(
        !metadata.is_dir(),
        "`{name}` is a directory; a WebAssembly file is needed"
    );
    let mut start = Vec::with_capacity(START);
    let read = file.by_ref().take(START as u64).read_to_end(&mut start);
    read.with_context(|| format!("cannot read `{name}`"))?;
    Ok(Source {
        kind: kind(path, &start)?,
        file: Some(file),
        start,
    })
}

fn standard_input() -> Result<Source> {
    let mut start = Vec::new();
    ensure!(
        !stdin().is_terminal(),
        "the standard input is a terminal; a WebAssembly module is needed: `cowling run - < FILE`"
    );
    let read = stdin().lock().read_to_end(&mut start);
    read.context("cannot read the standard input")?;
    Ok(Source {
        kind: kind(Path::new(STANDARD_INPUT), &start)?,
        file: None,
        start,
    })
}

/// Reads a file that is text, or the standard input.
///
/// # Errors
/// When it cannot be read, or is not in UTF-8.
pub(crate) fn text(path: &Path) -> Result<String> {
    match is_standard_input(path) {
        true => io::read_to_string(stdin().lock()),
        false => std::fs::read_to_string(path),
    }
    .with_context(|| format!("cannot read `{}`", path.display()))
}

/// Which debug information modules in text format get.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum DebugInfo {
    /// None: the binary is what the text says.
    None,
    /// The lines of operators.
    Lines,
}

impl Source {
    /// All of the file.
    fn read(self, path: &Path) -> Result<Vec<u8>> {
        let mut bytes = self.start;
        if let Some(mut file) = self.file {
            let read = file.read_to_end(&mut bytes);
            read.with_context(|| format!("cannot read `{}`", path.display()))?;
        }
        Ok(bytes)
    }

    /// The module in binary format. One in text format gets debug information if that is wanted, so that backtraces have its lines.
    fn binary(self, path: &Path, debug_info: DebugInfo) -> Result<Vec<u8>> {
        match self.kind {
            Kind::Binary => self.read(path),
            Kind::Text => {
                let mut parser = wat::Parser::new();
                if debug_info == DebugInfo::Lines {
                    parser.generate_dwarf(GenerateDwarf::Lines);
                }
                Ok(parser
                    .parse_bytes(Some(path), &self.read(path)?)?
                    .into_owned())
            }
            Kind::Artifact => bail!("`{}` is compiled already", path.display()),
        }
    }
}

fn kind(path: &Path, start: &[u8]) -> Result<Kind> {
    let name = path.display();
    match start {
        [] => bail!("`{name}` is empty"),
        // The second half of the version is the layer: 0 for modules, 1 for components.
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => {
            bail!("`{name}` is a WebAssembly component; only core modules are supported so far")
        }
        [0, b'a', b's', b'm', ..] => Ok(Kind::Binary),
        [0x7f, b'E', b'L', b'F', ..] => Ok(Kind::Artifact),
        _ if looks_like_text(start) => Ok(Kind::Text),
        _ => bail!(
            "`{name}` is not WebAssembly: it is neither a binary module (which starts with the bytes 00 61 73 6d), nor a module \
             in text format, nor an artifact made by `cowling compile`"
        ),
    }
}

/// Modules in text format start with a parenthesis or a comment.
fn looks_like_text(start: &[u8]) -> bool {
    let text = start.trim_ascii_start();
    text.starts_with(b"(") || text.starts_with(b";;")
}

/// Makes a module of a file of any kind.
///
/// # Errors
/// When the file cannot be read, is no WebAssembly, is invalid, or is an artifact that this engine cannot run or that nobody signed who
/// is trusted.
pub(crate) fn module(engine: &Engine, path: &Path, keys: &[PublicKey]) -> Result<Module> {
    let mut source = open(path)?;
    // What can be read again from its start may not have to be read at all.
    let again = source.file.as_mut().filter(|_| source.kind == Kind::Binary);
    if let Some(file) = again
        && file.rewind().is_ok()
    {
        return Module::from_open_file(engine, file).map_err(|e| placed(path, None, e));
    }
    match source.kind {
        Kind::Artifact => artifact(engine, path, source, keys).map_err(|e| naming(path, e)),
        _ => {
            let wasm = source
                .binary(path, DebugInfo::Lines)
                .map_err(|e| naming(path, e))?;
            Module::from_binary(engine, &wasm).map_err(|e| placed(path, Some(&wasm), e))
        }
    }
}

/// Loads an artifact: one that was signed, if there are keys, and otherwise one whose file nobody else can have written.
fn artifact(engine: &Engine, path: &Path, source: Source, keys: &[PublicKey]) -> Result<Module> {
    match (keys, is_standard_input(path)) {
        ([], false) => Module::deserialize_file(engine, path),
        (keys, false) => Module::deserialize_signed_file(engine, path, keys),
        ([], true) => bail!(
            "a compiled artifact is read from the standard input only if it was signed and `--trust-key` says by whom: it is machine code"
        ),
        (keys, true) => Module::deserialize_signed(engine, &source.start, keys),
    }
}

/// A module, and the binary that it was compiled from, if it was.
pub(crate) struct Loaded {
    pub(crate) module: Module,
    pub(crate) wasm: Option<Vec<u8>>,
    /// Bytes of the file.
    pub(crate) file_len: u64,
    /// Who signed it, of an artifact.
    pub(crate) signer: Option<KeyId>,
    /// What it is, in a few words.
    pub(crate) what: &'static str,
}

/// As [`module`], for those who look at the binary, too.
///
/// # Errors
/// As [`module`].
pub(crate) fn load(engine: &Engine, path: &Path, keys: &[PublicKey]) -> Result<Loaded> {
    let source = open(path)?;
    let kind = source.kind;
    let bytes = source.read(path)?;
    let file_len = bytes.len() as u64;
    let signer = match kind {
        Kind::Artifact => signer(&bytes).map_err(|e| naming(path, e))?,
        _ => None,
    };
    let source = Source {
        kind,
        file: None,
        start: bytes,
    };
    if kind == Kind::Artifact {
        let module = artifact(engine, path, source, keys).map_err(|e| naming(path, e))?;
        return Ok(Loaded {
            module,
            wasm: None,
            file_len,
            signer,
            what: "compiled artifact",
        });
    }
    let wasm = source
        .binary(path, DebugInfo::None)
        .map_err(|e| naming(path, e))?;
    let module = Module::from_binary(engine, &wasm).map_err(|e| placed(path, Some(&wasm), e))?;
    Ok(Loaded {
        module,
        wasm: Some(wasm),
        file_len,
        signer,
        what: match kind {
            Kind::Text => "module in text format",
            _ => "binary module",
        },
    })
}

/// Who signed an artifact, if anybody did.
fn signer(artifact: &[u8]) -> Result<Option<KeyId>> {
    match Signature::of(artifact) {
        Ok(signature) => Ok(Some(signature.key())),
        Err(SignatureError::Unsigned) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads a module that is not compiled yet; text is translated, with debug information.
///
/// # Errors
/// When the file cannot be read, is no WebAssembly, is text that does not parse, or is an artifact already.
pub(crate) fn binary(path: &Path) -> Result<Vec<u8>> {
    open(path)?.binary(path, DebugInfo::Lines)
}

/// Checks a file of any kind.
///
/// # Errors
/// As [`module`].
pub(crate) fn validate(engine: &Engine, path: &Path, keys: &[PublicKey]) -> Result<()> {
    let source = open(path)?;
    match source.kind {
        Kind::Artifact => artifact(engine, path, source, keys)
            .map(|_| ())
            .map_err(|e| naming(path, e)),
        _ => {
            let wasm = source
                .binary(path, DebugInfo::None)
                .map_err(|e| naming(path, e))?;
            Module::validate(engine, &wasm).map_err(|e| placed(path, Some(&wasm), e))
        }
    }
}

/// The error with the file's name in front, and the place in the file that it is about, if it is about one.
pub(crate) fn placed(path: &Path, wasm: Option<&[u8]>, error: Error) -> Error {
    let Some(CompileError::Invalid { offset, .. } | CompileError::Unsupported { offset, .. }) =
        error.downcast_ref()
    else {
        return naming(path, error);
    };
    let read = match wasm {
        Some(_) => None,
        None => std::fs::read(path).ok(),
    };
    let place = wasm
        .or(read.as_deref())
        .and_then(|wasm| locate::place(wasm, *offset));
    match place {
        Some(place) => error.context(format!("{}: {place}", path.display())),
        None => naming(path, error),
    }
}

/// The error with the file's name in front, unless it has it already.
pub(crate) fn naming(path: &Path, error: Error) -> Error {
    let name = path.display().to_string();
    if format!("{error:#}").contains(&name) {
        error
    } else {
        error.context(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let cases: [(&[u8], Result<Kind, &str>); 9] = [
            (b"\0asm\x01\0\0\0", Ok(Kind::Binary)),
            (b"\0asm", Ok(Kind::Binary)),
            (b" \n(module)", Ok(Kind::Text)),
            (b";; comment\n(module)", Ok(Kind::Text)),
            (b"\x7fELF rest", Ok(Kind::Artifact)),
            (b"", Err("is empty")),
            (b"\0asm\x0d\0\x01\0", Err("component")),
            (b"#!/bin/sh", Err("is not WebAssembly")),
            (b"\xff\xfe\x00", Err("is not WebAssembly")),
        ];
        for (i, (content, expected)) in cases.into_iter().enumerate() {
            let path = dir.path().join(format!("misleading-{i}.wat"));
            std::fs::write(&path, content).unwrap();
            match (open(&path).map(|source| source.kind), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(e), Err(words)) => {
                    let message = format!("{e:#}");
                    assert!(
                        message.contains(words) && message.contains("misleading"),
                        "{message}"
                    );
                }
                (found, expected) => panic!("{i}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
