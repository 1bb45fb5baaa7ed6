//! What kind of thing an object is, its times and its size.

use cap_std::fs::{Metadata, MetadataExt};
use rustix::fs::FileType;

/// What an open or named object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// None of the others: a pipe, a stream.
    Unknown,
    BlockDevice,
    CharacterDevice,
    Directory,
    RegularFile,
    SocketDatagram,
    SocketStream,
    SymbolicLink,
}

impl From<FileType> for FileKind {
    fn from(file_type: FileType) -> Self {
        match file_type {
            FileType::RegularFile => FileKind::RegularFile,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::SymbolicLink,
            FileType::CharacterDevice => FileKind::CharacterDevice,
            FileType::BlockDevice => FileKind::BlockDevice,
            FileType::Socket => FileKind::SocketStream,
            FileType::Fifo | FileType::Unknown => FileKind::Unknown,
        }
    }
}

/// The facts about a file. Times are nanoseconds since 1970; one before that reads as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStat {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) kind: FileKind,
    pub(crate) links: u64,
    pub(crate) size: u64,
    pub(crate) accessed: u64,
    pub(crate) modified: u64,
    pub(crate) changed: u64,
}

impl FileStat {
    /// The facts about something that is not a file: a stream or a socket.
    pub(crate) fn of_stream(kind: FileKind) -> Self {
        FileStat {
            device: 0,
            inode: 0,
            kind,
            links: 1,
            size: 0,
            accessed: 0,
            modified: 0,
            changed: 0,
        }
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> u64 {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    u64::try_from(total.max(0)).unwrap_or(u64::MAX)
}

impl From<&Metadata> for FileStat {
    fn from(metadata: &Metadata) -> Self {
        FileStat {
            device: metadata.dev(),
            inode: metadata.ino(),
            kind: FileType::from_raw_mode(metadata.mode()).into(),
            links: metadata.nlink(),
            size: metadata.size(),
            accessed: nanoseconds(metadata.atime(), metadata.atime_nsec()),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What to do with one of a file's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetTime {
    /// Leave it.
    Keep,
    /// Set it to the operating system's present time.
    Now,
    /// Set it to this many nanoseconds since 1970.
    At(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_the_range_saturate() {
        assert_eq!(nanoseconds(1, 5), 1_000_000_005);
        assert_eq!(nanoseconds(-1, 5), 0);
        assert_eq!(nanoseconds(i64::MAX, 0), u64::MAX);
    }
}
