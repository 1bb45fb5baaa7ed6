//! What goes wrong in the host core, as an operating system error.
//!
//! Front ends turn an [`Error`] into their own numbers; nothing here knows about a WASI version.

use std::io;

use rustix::io::Errno;

/// The result of a host core operation.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a host core operation failed: the operating system's error, or the one it gives for what a check here refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Error(pub(crate) Errno);

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Error(errno)
    }
}

impl From<io::Error> for Error {
    /// Errors without an operating system code come from `cap-std` (a path that leaves its directory) and
    /// from streams supplied by the embedder.
    fn from(error: io::Error) -> Self {
        if let Some(errno) = Errno::from_io_error(&error) {
            return Error(errno);
        }
        Error(match error.kind() {
            io::ErrorKind::PermissionDenied => Errno::PERM,
            io::ErrorKind::NotFound => Errno::NOENT,
            io::ErrorKind::AlreadyExists => Errno::EXIST,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Errno::INVAL,
            io::ErrorKind::NotADirectory => Errno::NOTDIR,
            io::ErrorKind::IsADirectory => Errno::ISDIR,
            io::ErrorKind::DirectoryNotEmpty => Errno::NOTEMPTY,
            io::ErrorKind::BrokenPipe => Errno::PIPE,
            io::ErrorKind::WouldBlock => Errno::AGAIN,
            io::ErrorKind::Interrupted => Errno::INTR,
            io::ErrorKind::StorageFull | io::ErrorKind::WriteZero => Errno::NOSPC,
            io::ErrorKind::FileTooLarge => Errno::FBIG,
            io::ErrorKind::OutOfMemory => Errno::NOMEM,
            io::ErrorKind::Unsupported => Errno::NOTSUP,
            io::ErrorKind::TimedOut => Errno::TIMEDOUT,
            _ => Errno::IO,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operating_system_code_survives_the_way_through_io_error() {
        let error = io::Error::from_raw_os_error(Errno::NOTEMPTY.raw_os_error());
        assert_eq!(Error::from(error), Error(Errno::NOTEMPTY));
    }

    #[test]
    fn an_error_without_a_code_is_mapped_by_its_kind() {
        for (kind, errno) in [
            (io::ErrorKind::PermissionDenied, Errno::PERM),
            (io::ErrorKind::StorageFull, Errno::NOSPC),
            (io::ErrorKind::Other, Errno::IO),
        ] {
            assert_eq!(Error::from(io::Error::new(kind, "reason")), Error(errno));
        }
    }
}
