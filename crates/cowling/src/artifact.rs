//! Telling artifacts from other files, and opening those that may be trusted.

use crate::error::{Context, Result};
use crate::trust;
use cowling_abi::artifact::SECTION_HEADER;
use object::read::elf::ElfFile64;
use object::read::{Object, ReadCache, ReadRef};
use std::fs::File;
use std::path::Path;

/// Is this an ELF file, artifact or not?
#[cfg(feature = "compiler")]
pub(crate) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&object::elf::ELFMAG)
}

/// Does it look like an artifact, whole or not, for this machine or not?
pub(crate) fn is_artifact<'data>(data: impl ReadRef<'data>) -> bool {
    ElfFile64::<object::Endianness, _>::parse(data)
        .is_ok_and(|elf| elf.section_by_name(SECTION_HEADER).is_some())
}

/// The same for a file, of which only the headers are read.
pub(crate) fn is_artifact_file(path: &Path) -> Result<bool> {
    let open = || {
        let file = File::open(path)?;
        // Reading a directory fails only later, where that cannot be told from not being an artifact.
        match file.metadata()?.is_dir() {
            true => Err(std::io::Error::from(std::io::ErrorKind::IsADirectory)),
            false => Ok(file),
        }
    };
    let file = open().with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(is_artifact(&ReadCache::new(file)))
}

/// Opens a file of native code, if nobody but this user and root can have written it.
pub(crate) fn open_trusted(path: &Path) -> Result<File> {
    let file = File::open(path)?;
    trust::check_file(&file.metadata()?)?;
    Ok(file)
}
