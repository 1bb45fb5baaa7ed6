//! An open file: anything a path named that is not a directory.
//!
//! The position is the operating system's, shared by reads, writes and seeks. *Append* is not: it is kept here
//! and asked for with each write, because Linux lets an append-only descriptor ignore the offset of a
//! positioned write, which WASI does not.

use std::io::{IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    Advice, FallocateFlags, OFlags, SeekFrom, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT,
};
use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};

use super::error::Result;
use super::stat::{FileKind, FileStat, SetTime};

bitflags::bitflags! {
    /// How an open file behaves. The bits are those WASI preview 1 gives them.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct FileFlags: u16 {
        /// Each write without an offset goes to the end of the file.
        const APPEND = 1;
        /// Each write waits until its data is on the device.
        const DSYNC = 2;
        /// Fail with `EAGAIN` where an operation would wait.
        const NONBLOCK = 4;
        /// Reads wait like writes do.
        const RSYNC = 8;
        /// Each write waits until its data and the file's facts are on the device.
        const SYNC = 16;
    }
}

impl FileFlags {
    /// The flags that only opening can set.
    pub(crate) const AT_OPEN: FileFlags = FileFlags::DSYNC
        .union(FileFlags::RSYNC)
        .union(FileFlags::SYNC);

    /// The operating system's flags for opening. *Append* is done with each write instead, and nothing ever waits.
    pub(crate) fn open_flags(self) -> OFlags {
        let mut flags = OFlags::NONBLOCK;
        flags.set(OFlags::DSYNC, self.contains(FileFlags::DSYNC));
        flags.set(
            OFlags::SYNC,
            self.intersects(FileFlags::SYNC | FileFlags::RSYNC),
        );
        flags
    }
}

/// An open file.
///
/// The operating system never makes anyone wait for a pipe or a device here (`O_NONBLOCK`); whether the guest wants to is only
/// noted.
#[derive(Debug)]
pub(crate) struct File {
    file: cap_std::fs::File,
    kind: FileKind,
    readable: bool,
    writable: bool,
    /// Whether the embedder granted changes to the file, however it was opened.
    mutable: bool,
    seekable: bool,
    flags: FileFlags,
}

impl File {
    /// Wraps a file that was opened with `flags`, for reading if `readable` and for writing if `writable`. It may be
    /// open for more: what these do not say, the guest cannot do.
    pub(crate) fn new(
        file: cap_std::fs::File,
        kind: FileKind,
        readable: bool,
        writable: bool,
        mutable: bool,
        flags: FileFlags,
    ) -> Self {
        let seekable = match kind {
            FileKind::RegularFile | FileKind::BlockDevice => true,
            FileKind::CharacterDevice => !rustix::termios::isatty(&file),
            _ => false,
        };
        File {
            file,
            kind,
            readable,
            writable,
            mutable,
            seekable,
            flags,
        }
    }

    pub(crate) fn kind(&self) -> FileKind {
        self.kind
    }

    pub(crate) fn flags(&self) -> FileFlags {
        self.flags
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.readable
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    pub(crate) fn is_seekable(&self) -> bool {
        self.seekable
    }

    /// Changes the flags that can change on an open file.
    ///
    /// # Errors
    ///
    /// `EINVAL` when a flag that only opening sets would change.
    pub(crate) fn set_flags(&mut self, flags: FileFlags) -> Result<()> {
        let changed = self.flags ^ flags;
        if changed.intersects(FileFlags::AT_OPEN) {
            return Err(Errno::INVAL.into());
        }
        self.flags = flags;
        Ok(())
    }

    /// Fails with `EBADF` on a file that was not opened for reading.
    fn require_readable(&self) -> Result<()> {
        if self.readable {
            Ok(())
        } else {
            Err(Errno::BADF.into())
        }
    }

    /// Fails with `errno` on a file that was not opened for writing.
    fn require_writable(&self, errno: Errno) -> Result<()> {
        if self.writable {
            Ok(())
        } else {
            Err(errno.into())
        }
    }

    /// Reads at the position and moves it.
    pub(crate) fn read(&self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        self.require_readable()?;
        Ok(retry_on_intr(|| rustix::io::readv(&self.file, buffers))?)
    }

    /// Reads at `offset`.
    pub(crate) fn read_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        self.require_readable()?;
        Ok(retry_on_intr(|| {
            rustix::io::preadv(&self.file, buffers, offset)
        })?)
    }

    /// Writes at the position, or at the end in append mode, and moves the position behind it.
    pub(crate) fn write(&self, buffers: &[IoSlice<'_>]) -> Result<usize> {
        self.require_writable(Errno::BADF)?;
        if !self.flags.contains(FileFlags::APPEND) {
            return Ok(retry_on_intr(|| rustix::io::writev(&self.file, buffers))?);
        }
        // The offset u64::MAX means: use the position and move it.
        let appended = retry_on_intr(|| {
            rustix::io::pwritev2(&self.file, buffers, u64::MAX, ReadWriteFlags::APPEND)
        });
        match appended {
            // Devices and some file systems do not know the flag. For those without a position it has no meaning.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                if self.seekable {
                    rustix::fs::seek(&self.file, SeekFrom::End(0))?;
                }
                Ok(retry_on_intr(|| rustix::io::writev(&self.file, buffers))?)
            }
            result => Ok(result?),
        }
    }

    /// Writes at `offset`, in append mode too.
    pub(crate) fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.require_writable(Errno::BADF)?;
        Ok(retry_on_intr(|| {
            rustix::io::pwritev(&self.file, buffers, offset)
        })?)
    }

    /// Moves the position; answers the new one.
    pub(crate) fn seek(&self, to: SeekFrom) -> Result<u64> {
        Ok(rustix::fs::seek(&self.file, to)?)
    }

    pub(crate) fn stat(&self) -> Result<FileStat> {
        Ok(FileStat::from(&self.file.metadata()?))
    }

    /// Bytes between the position and the end, for a regular file.
    pub(crate) fn remaining(&self) -> Result<u64> {
        let position = rustix::fs::tell(&self.file)?;
        Ok(self.file.metadata()?.len().saturating_sub(position))
    }

    /// Sets the size, cutting off or adding zeros. `EINVAL` on a file not opened for writing, as POSIX says.
    pub(crate) fn set_size(&self, size: u64) -> Result<()> {
        self.require_writable(Errno::INVAL)?;
        Ok(retry_on_intr(|| rustix::fs::ftruncate(&self.file, size))?)
    }

    /// Makes sure that `len` bytes from `offset` have room, growing the file where needed.
    pub(crate) fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        self.require_writable(Errno::BADF)?;
        Ok(retry_on_intr(|| {
            rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, len)
        })?)
    }

    /// Sets the file's times.
    pub(crate) fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<()> {
        if !self.mutable {
            return Err(Errno::PERM.into());
        }
        set_times(self, accessed, modified)
    }

    /// Tells the operating system how a part of the file will be used; `len` 0 means up to the end.
    pub(crate) fn advise(&self, offset: u64, len: u64, advice: Advice) -> Result<()> {
        let len = NonZeroU64::new(len);
        Ok(rustix::fs::fadvise(&self.file, offset, len, advice)?)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Waits until the data, and unless `data_only` also the facts, of a file or directory are on the device.
pub(crate) fn sync(fd: impl AsFd, data_only: bool) -> Result<()> {
    Ok(retry_on_intr(|| {
        if data_only {
            rustix::fs::fdatasync(&fd)
        } else {
            rustix::fs::fsync(&fd)
        }
    })?)
}

/// Sets the times of an open file or directory, whatever was granted.
pub(crate) fn set_times(fd: impl AsFd, accessed: SetTime, modified: SetTime) -> Result<()> {
    let times = Timestamps {
        last_access: timespec(accessed),
        last_modification: timespec(modified),
    };
    Ok(rustix::fs::futimens(fd, &times)?)
}

fn timespec(time: SetTime) -> Timespec {
    match time {
        SetTime::Keep => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        SetTime::Now => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
        // A u64 of nanoseconds is at most 584 years, so both parts fit.
        SetTime::At(nanoseconds) => Timespec {
            tv_sec: (nanoseconds / 1_000_000_000).cast_signed(),
            tv_nsec: (nanoseconds % 1_000_000_000).cast_signed(),
        },
    }
}
