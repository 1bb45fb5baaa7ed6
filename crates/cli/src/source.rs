//! Files given by the user: what they are, told from their content, and modules from them.

use cowling::{
    Context as _, Engine, Error, KeyId, Module, PublicKey, Result, Signature, SignatureError, bail,
    ensure,
};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

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

/// A file that has been opened.
struct Source {
    /// What it holds.
    kind: Kind,
    file: File,
    /// What has been read of it.
    start: Vec<u8>,
}

/// Opens a file and tells what it holds.
///
/// # Errors
/// When it cannot be read or cannot be any of the [`Kind`]s; the message names the file and says what is expected.
fn open(path: &Path) -> Result<Source> {
    /// Enough to tell what a file holds, so that a huge one that is no WebAssembly is not read to its end.
    const START: u64 = 4096;

    let name = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot open `{name}`"))?;
    let metadata = file
        .metadata()
        .with_context(|| format!("cannot read `{name}`"))?;
    ensure!(
        !metadata.is_dir(),
        "`{name}` is a directory; a WebAssembly file is needed"
    );
    let mut start = Vec::new();
    let read = file.by_ref().take(START).read_to_end(&mut start);
    read.with_context(|| format!("cannot read `{name}`"))?;
    Ok(Source {
        kind: kind(path, &start)?,
        file,
        start,
    })
}

impl Source {
    /// All of the file.
    fn read(self, path: &Path) -> Result<Vec<u8>> {
        let (mut file, mut bytes) = (self.file, self.start);
        let read = file.read_to_end(&mut bytes);
        read.with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(bytes)
    }

    /// The module in binary format.
    fn binary(self, path: &Path) -> Result<Vec<u8>> {
        match self.kind {
            Kind::Binary => self.read(path),
            Kind::Text => Ok(wat::Parser::new()
                .parse_bytes(Some(path), &self.read(path)?)?
                .into_owned()),
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
    match source.kind {
        Kind::Artifact => artifact(engine, path, keys),
        // What can be read again from its start may not have to be read at all.
        Kind::Binary if source.file.rewind().is_ok() => {
            Module::from_open_file(engine, &mut source.file)
        }
        _ => Module::new(engine, source.binary(path)?),
    }
    .map_err(|e| naming(path, e))
}

/// Loads an artifact: one that was signed, if there are keys, and otherwise one whose file nobody else can have written.
fn artifact(engine: &Engine, path: &Path, keys: &[PublicKey]) -> Result<Module> {
    match keys {
        [] => Module::deserialize_file(engine, path),
        keys => Module::deserialize_signed_file(engine, path, keys),
    }
}

/// Who signed an artifact; nobody, if it is a module that is not compiled.
///
/// # Errors
/// When the file cannot be read, or the signature does not match.
pub(crate) fn signer(path: &Path) -> Result<Option<KeyId>> {
    if open(path)?.kind != Kind::Artifact {
        return Ok(None);
    }
    match Signature::of_file(path) {
        Ok(signature) => Ok(Some(signature.key())),
        Err(error) if error.downcast_ref() == Some(&SignatureError::Unsigned) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a module that is not compiled yet; text is translated.
///
/// # Errors
/// When the file cannot be read, is no WebAssembly, is text that does not parse, or is an artifact already.
pub(crate) fn binary(path: &Path) -> Result<Vec<u8>> {
    open(path)?.binary(path)
}

/// Checks a file of any kind.
///
/// # Errors
/// As [`module`].
pub(crate) fn validate(engine: &Engine, path: &Path, keys: &[PublicKey]) -> Result<()> {
    let source = open(path)?;
    match source.kind {
        Kind::Artifact => artifact(engine, path, keys).map(|_| ()),
        _ => Module::validate(engine, &source.binary(path)?),
    }
    .map_err(|e| naming(path, e))
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
