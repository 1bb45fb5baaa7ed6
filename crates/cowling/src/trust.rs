//! Whom a file of native code belongs to.
//!
//! An artifact is native code: who can write it can do what this process can. So it is held to the rule that applies to the
//! executables this user runs: nobody but the user and root may have written it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Why a file is not trusted.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// It is not a regular file.
    #[error("not a regular file")]
    NotAFile,
    /// It belongs to somebody else.
    #[error(
        "belongs to user {0}, and compiled code is only loaded from files of this user or root"
    )]
    Owner(
        /// The owner's user id.
        u32,
    ),
    /// Others could have changed it.
    #[error(
        "others than its owner may write it (mode {0:o}), and compiled code is only loaded from files that only their owner may write; `chmod go-w` it if you trust it"
    )]
    Writable(
        /// Its permission bits.
        u32,
    ),
}

/// Could nobody but this user and root have written the file with this metadata?
pub(crate) fn check_file(metadata: &Metadata) -> Result<(), Distrust> {
    if !metadata.is_file() {
        return Err(Distrust::NotAFile);
    }
    check_owner(metadata)
}

/// The same, for a file or a directory.
pub(crate) fn check_owner(metadata: &Metadata) -> Result<(), Distrust> {
    let owner = metadata.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(Distrust::Owner(owner));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(Distrust::Writable(mode));
    }
    Ok(())
}
