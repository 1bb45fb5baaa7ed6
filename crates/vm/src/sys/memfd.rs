//! Files that exist only in memory: an artifact that was never on disk is mapped from one, as one from disk is from its file.

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

/// A file in memory with these contents, which nobody can change or resize any more.
///
/// # Errors
/// When the process has no file descriptor left or the system no memory.
pub(crate) fn sealed(name: &str, contents: &[u8]) -> io::Result<OwnedFd> {
    let mut file = create(name)?;
    file.write_all(contents)?;
    seal(file)
}

/// Copies `len` bytes into a file in memory that nobody can change or resize any more, and shows `look` each of them in order: what it
/// has seen is what the file holds, whatever happens to the source meanwhile.
///
/// # Errors
/// When the source cannot be read or ends early ([`io::ErrorKind::UnexpectedEof`]), or as for memory that the system refuses.
pub fn sealed_copy(
    source: &mut dyn Read,
    len: u64,
    look: &mut dyn FnMut(&[u8]),
) -> io::Result<File> {
    /// Fits into a processor's cache beside what `look` needs.
    const CHUNK: usize = 64 << 10;

    let mut file = create("cowling-artifact")?;
    let mut chunk = vec![0; CHUNK];
    let mut left = len;
    while left > 0 {
        // At most CHUNK.
        let part = &mut chunk[..left.min(CHUNK as u64) as usize];
        source.read_exact(part)?;
        look(part);
        file.write_all(part)?;
        left -= part.len() as u64;
    }
    Ok(File::from(seal(file)?))
}

fn create(name: &str) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Kernels before 6.3 do not know the flag, and do not need it: it only says that nobody will `execve` the file.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        other => other?,
    };
    Ok(File::from(file))
}

fn seal(file: File) -> io::Result<OwnedFd> {
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}
