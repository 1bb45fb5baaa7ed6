//! Telling artifacts from other files, and opening those that may be trusted.

use crate::error::{Context, Result};
use crate::trust::{self, Distrust};
use cowling_abi::artifact::SECTION_HEADER;
use object::read::elf::ElfFile64;
use object::read::{Object, ReadCache, ReadRef};
use rustix::fs::OFlags;
use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
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
    let file = open_regular(path).with_context(|| format!("cannot read `{}`", path.display()));
    let (file, _) = file?;
    Ok(is_artifact(&ReadCache::new(file)))
}

/// Opens a file of native code, if nobody but this user and root can have written it. Its metadata come with it: who opens it
/// wants to know more of it, and asking the system once is enough.
pub(crate) fn open_trusted(path: &Path) -> Result<(File, Metadata)> {
    let (file, metadata) = open_regular(path)?;
    trust::check_file(&metadata)?;
    Ok((file, metadata))
}

/// Opens a regular file, of which these are the metadata. Does not wait for what else may have its name, such as a pipe.
pub(crate) fn open_regular(path: &Path) -> Result<(File, Metadata)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata)),
        false => Err(Distrust::NotAFile.into()),
    }
}
