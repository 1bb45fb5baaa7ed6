//! What a guest's descriptor stands for, and the rights it carries.
//!
//! Rights start as everything the object can do, less reading or writing where the guest did not ask `path_open` for
//! it, and only ever shrink. Three things can refuse, in this order:
//!
//! 1. the kind of object (`EISDIR`, `ENOTDIR`, `ESPIPE`, `ENOTSOCK`);
//! 2. how it was opened, with POSIX's error for it (`EBADF` to write to a file opened for reading);
//! 3. the rights, where the guest gave some up (`ENOTCAPABLE`).
//!
//! What the embedder granted is not a right: the objects of the host core see to it (`EPERM`).

use std::time::Duration;

use rustix::event::PollFlags;

use crate::host::dir::Directory;
use crate::host::error::Result;
use crate::host::file::{File, FileFlags};
use crate::host::patience::Patience;
use crate::host::socket::Socket;
use crate::host::stat::{FileKind, FileStat};
use crate::host::stdio::{self, InputStream, OutputStream, Readiness};

use super::Stop;
use super::abi::{Errno, Rights};

/// An object a descriptor can stand for.
pub(super) enum Object {
    Input(Box<dyn InputStream>),
    Output(Box<dyn OutputStream>),
    File(File),
    Directory(Directory),
    Socket(Socket),
}

/// A descriptor.
pub(super) struct Descriptor {
    pub(super) object: Object,
    pub(super) base: Rights,
    pub(super) inheriting: Rights,
    /// The guest's name of a preopened directory.
    pub(super) preopen: Option<Box<str>>,
    /// Whether a stream fails instead of waiting. Files and sockets keep this themselves; a stream may be shared with the
    /// process, whose own setting is left alone.
    stream_nonblocking: bool,
}

/// How long to wait where nothing tells when.
pub(super) const RETRY: Duration = Duration::from_millis(5);

const STREAM: Rights = Rights::FD_FDSTAT_SET_FLAGS
    .union(Rights::FD_FILESTAT_GET)
    .union(Rights::POLL_FD_READWRITE);

const FILE: Rights = STREAM
    .union(Rights::FD_DATASYNC)
    .union(Rights::FD_SYNC)
    .union(Rights::FD_ADVISE)
    .union(Rights::FD_FILESTAT_SET_TIMES);

const FILE_WRITE: Rights = Rights::FD_WRITE
    .union(Rights::FD_ALLOCATE)
    .union(Rights::FD_FILESTAT_SET_SIZE);

const SOCKET: Rights = STREAM
    .union(Rights::FD_READ)
    .union(Rights::FD_WRITE)
    .union(Rights::SOCK_SHUTDOWN)
    .union(Rights::SOCK_ACCEPT);

const DIRECTORY: Rights = Rights::FD_DATASYNC
    .union(Rights::FD_FDSTAT_SET_FLAGS)
    .union(Rights::FD_SYNC)
    .union(Rights::PATH_CREATE_DIRECTORY)
    .union(Rights::PATH_CREATE_FILE)
    .union(Rights::PATH_LINK_SOURCE)
    .union(Rights::PATH_LINK_TARGET)
    .union(Rights::PATH_OPEN)
    .union(Rights::FD_READDIR)
    .union(Rights::PATH_READLINK)
    .union(Rights::PATH_RENAME_SOURCE)
    .union(Rights::PATH_RENAME_TARGET)
    .union(Rights::PATH_FILESTAT_GET)
    .union(Rights::PATH_FILESTAT_SET_SIZE)
    .union(Rights::PATH_FILESTAT_SET_TIMES)
    .union(Rights::FD_FILESTAT_GET)
    .union(Rights::FD_FILESTAT_SET_TIMES)
    .union(Rights::PATH_SYMLINK)
    .union(Rights::PATH_REMOVE_DIRECTORY)
    .union(Rights::PATH_UNLINK_FILE);

/// What anything opened from a preopened directory can come to have.
const INHERITING: Rights = Rights::all()
    .difference(Rights::SOCK_ACCEPT)
    .difference(Rights::SOCK_SHUTDOWN);

impl Descriptor {
    fn new(object: Object, base: Rights, inheriting: Rights) -> Self {
        Descriptor {
            object,
            base,
            inheriting,
            preopen: None,
            stream_nonblocking: false,
        }
    }

    pub(super) fn input(stream: Box<dyn InputStream>) -> Self {
        Self::new(
            Object::Input(stream),
            STREAM | Rights::FD_READ,
            Rights::empty(),
        )
    }

    pub(super) fn output(stream: Box<dyn OutputStream>) -> Self {
        Self::new(
            Object::Output(stream),
            STREAM | Rights::FD_WRITE,
            Rights::empty(),
        )
    }

    pub(super) fn socket(socket: Socket) -> Self {
        Self::new(Object::Socket(socket), SOCKET, Rights::empty())
    }

    /// A socket accepted from the one that this stands for, with no rights that this does not carry.
    pub(super) fn accepted(&self, socket: Socket) -> Self {
        Self::new(Object::Socket(socket), SOCKET & self.base, self.inheriting)
    }

    /// A directory the embedder granted under the name `name`.
    pub(super) fn preopen(name: Box<str>, directory: Directory) -> Self {
        let mut descriptor = Self::new(Object::Directory(directory), DIRECTORY, INHERITING);
        descriptor.preopen = Some(name);
        descriptor
    }

    /// A file or directory opened from a directory with the rights `inheriting` to pass on.
    pub(super) fn opened(object: Object, inheriting: Rights) -> Self {
        match &object {
            Object::File(file) => {
                let mut base = FILE;
                base.set(Rights::FD_READ, file.is_readable());
                base.set(FILE_WRITE, file.is_writable());
                base.set(Rights::FD_SEEK | Rights::FD_TELL, file.is_seekable());
                Self::new(object, base & inheriting, Rights::empty())
            }
            _ => Self::new(object, DIRECTORY & inheriting, inheriting),
        }
    }

    pub(super) fn kind(&self) -> FileKind {
        let terminal = |is_terminal| {
            if is_terminal {
                FileKind::CharacterDevice
            } else {
                FileKind::Unknown
            }
        };
        match &self.object {
            Object::Input(stream) => terminal(stream.is_terminal()),
            Object::Output(stream) => terminal(stream.is_terminal()),
            Object::File(file) => file.kind(),
            Object::Directory(_) => FileKind::Directory,
            Object::Socket(socket) => socket.kind(),
        }
    }

    pub(super) fn flags(&self) -> FileFlags {
        let nonblocking = match &self.object {
            Object::File(file) => return file.flags(),
            Object::Directory(_) => false,
            Object::Input(_) | Object::Output(_) => self.stream_nonblocking,
            Object::Socket(socket) => socket.is_nonblocking(),
        };
        if nonblocking {
            FileFlags::NONBLOCK
        } else {
            FileFlags::empty()
        }
    }

    /// Changes the flags; `EINVAL` for one that this kind of object does not have.
    pub(super) fn set_flags(&mut self, flags: FileFlags) -> Result<(), Errno> {
        let nonblocking = flags.contains(FileFlags::NONBLOCK);
        if !matches!(self.object, Object::File(_)) && flags.intersects(!FileFlags::NONBLOCK) {
            return Err(Errno::Inval);
        }
        match &mut self.object {
            Object::File(file) => file.set_flags(flags)?,
            // Nothing a directory does waits for another's doing.
            Object::Directory(_) => {}
            Object::Input(_) | Object::Output(_) => self.stream_nonblocking = nonblocking,
            Object::Socket(socket) => socket.set_nonblocking(nonblocking),
        }
        Ok(())
    }

    pub(super) fn stat(&self) -> Result<FileStat> {
        match &self.object {
            Object::File(file) => file.stat(),
            Object::Directory(directory) => directory.stat(),
            Object::Input(_) | Object::Output(_) | Object::Socket(_) => {
                Ok(FileStat::of_stream(self.kind()))
            }
        }
    }

    /// Fails when the descriptor does not carry `rights`.
    pub(super) fn require(&self, rights: Rights) -> Result<(), Errno> {
        if self.base.contains(rights) {
            Ok(())
        } else {
            Err(Errno::NotCapable)
        }
    }

    /// Fails with `EAGAIN` when a stream that is not to wait would.
    pub(super) fn require_ready(&self) -> Result<()> {
        if !self.stream_nonblocking {
            return Ok(());
        }
        match &self.object {
            Object::Input(stream) => stdio::require_ready(stream.readiness(), PollFlags::IN),
            Object::Output(stream) => stdio::require_ready(stream.readiness(), PollFlags::OUT),
            _ => Ok(()),
        }
    }

    /// What came of an attempt to read (or to write) that does not wait, or a wait if that is what the guest wants.
    pub(super) fn or_wait<R>(
        &self,
        attempt: Result<R, Errno>,
        writing: bool,
        patience: &mut Patience,
    ) -> Result<R, Stop> {
        match attempt {
            Err(Errno::Again) if !self.flags().contains(FileFlags::NONBLOCK) => {
                match self.readiness(writing)? {
                    Readiness::Descriptor(fd) => {
                        patience.wait(&[(fd, wanted(writing))], None)?;
                    }
                    // A stream that does not know itself when it will go on.
                    Readiness::Now(_) => {
                        patience.wait(&[], Some(RETRY))?;
                    }
                }
                Err(Stop::Wait)
            }
            outcome => Ok(outcome?),
        }
    }

    /// The file, or why it is none, with `rights`.
    pub(super) fn file(&self, rights: Rights) -> Result<&File, Errno> {
        match &self.object {
            Object::File(file) => {
                require_mode(file, rights)?;
                self.require(rights)?;
                Ok(file)
            }
            Object::Directory(_) => Err(Errno::IsDir),
            Object::Input(_) | Object::Output(_) | Object::Socket(_) => Err(Errno::SPipe),
        }
    }

    /// The directory, or `ENOTDIR`, with `rights`.
    pub(super) fn directory(&self, rights: Rights) -> Result<&Directory, Errno> {
        let Object::Directory(directory) = &self.object else {
            return Err(Errno::NotDir);
        };
        self.require(rights)?;
        Ok(directory)
    }

    /// The socket, or `ENOTSOCK`, with `rights`.
    pub(super) fn as_socket(&self, rights: Rights) -> Result<&Socket, Errno> {
        let Object::Socket(socket) = &self.object else {
            return Err(Errno::NotSock);
        };
        self.require(rights)?;
        Ok(socket)
    }

    /// Whether reading (or `writing`) would go ahead without waiting; `EBADF` when it cannot be done at all.
    pub(super) fn readiness(&self, writing: bool) -> Result<Readiness<'_>, Errno> {
        use std::os::fd::AsFd;

        match &self.object {
            Object::Input(stream) if !writing => Ok(stream.readiness()),
            Object::Output(stream) if writing => Ok(stream.readiness()),
            Object::File(file)
                if writing && file.is_writable() || !writing && file.is_readable() =>
            {
                Ok(match file.kind() {
                    FileKind::RegularFile if writing => Readiness::Now(0),
                    FileKind::RegularFile => Readiness::Now(file.remaining()?),
                    _ => Readiness::Descriptor(file.as_fd()),
                })
            }
            Object::Socket(socket) => Ok(Readiness::Descriptor(socket.as_fd())),
            _ => Err(Errno::BadF),
        }
    }
}

/// The state of a descriptor that reading (or writing) needs.
pub(super) fn wanted(writing: bool) -> PollFlags {
    if writing {
        PollFlags::OUT
    } else {
        PollFlags::IN
    }
}

/// Fails with POSIX's error when `file` was not opened for what `rights` stand for.
fn require_mode(file: &File, rights: Rights) -> Result<(), Errno> {
    let to_write = Rights::FD_WRITE | Rights::FD_ALLOCATE;
    if rights.intersects(Rights::FD_READ) && !file.is_readable()
        || rights.intersects(to_write) && !file.is_writable()
    {
        Err(Errno::BadF)
    } else if rights.intersects(Rights::FD_FILESTAT_SET_SIZE) && !file.is_writable() {
        Err(Errno::Inval)
    } else if rights.intersects(Rights::FD_SEEK | Rights::FD_TELL) && !file.is_seekable() {
        Err(Errno::SPipe)
    } else {
        Ok(())
    }
}
