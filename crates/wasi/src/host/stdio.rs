//! Byte streams a guest reads and writes without a position: standard input, output and error.
//!
//! [`InputStream`] and [`OutputStream`] are the sockets an embedder plugs into; this file has the usual
//! plugs: the process's own streams, any descriptor, memory, and nothing at all.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::Duration;

use rustix::event::PollFlags;
use rustix::fs::FileType;
use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use super::error::Result;
use super::patience::{nothing, poll};

/// Whether reading or writing would go ahead without blocking.
#[derive(Clone, Copy, Debug)]
pub enum Readiness<'a> {
    /// It would, now. The number is how many bytes are known to be at hand (0 when that is not known).
    Now(u64),
    /// This descriptor's state tells.
    Descriptor(BorrowedFd<'a>),
}

/// Where a guest reads bytes from.
pub trait InputStream: Send {
    /// Reads into `buffer` at least one byte; `Ok(0)` is the end of the stream.
    ///
    /// A stream may wait for bytes; the guest can then not be interrupted. Better it fails with [`io::ErrorKind::WouldBlock`] and
    /// lets [`readiness`](Self::readiness) tell when to try again.
    ///
    /// # Errors
    ///
    /// Any; the guest gets the error's operating system code, or the nearest one to its kind.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Whether a person sits at the other end.
    fn is_terminal(&self) -> bool {
        false
    }

    /// Whether [`read`](Self::read) would go ahead without blocking. The default is that it always would.
    fn readiness(&self) -> Readiness<'_> {
        Readiness::Now(0)
    }
}

/// Where a guest writes bytes to.
pub trait OutputStream: Send {
    /// Writes bytes from the front of `buffers`, in order, and says how many.
    ///
    /// Bytes that were accepted must be out when this returns: guests do their own buffering.
    ///
    /// A stream may wait for room; the guest can then not be interrupted. Better it takes what it has room for, or fails with
    /// [`io::ErrorKind::WouldBlock`] and lets [`readiness`](Self::readiness) tell when to try again.
    ///
    /// # Errors
    ///
    /// Any; the guest gets the error's operating system code, or the nearest one to its kind.
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Whether a person sits at the other end.
    fn is_terminal(&self) -> bool {
        false
    }

    /// Whether [`write`](Self::write) would go ahead without blocking. The default is that it always would.
    fn readiness(&self) -> Readiness<'_> {
        Readiness::Now(0)
    }
}

/// A stream over a descriptor: the process's own streams, a file, a pipe. Nothing is buffered.
///
/// The descriptor may be one that blocks: whether it does is shared with whoever else has it, so that is left alone, and yet
/// nothing here waits. (Two exceptions: another reader takes what there was between the look for it and the read; a terminal has
/// room for less than a guest writes at once.)
#[derive(Debug)]
pub struct DescriptorStream<F> {
    descriptor: F,
    kind: Kind,
}

/// How a descriptor is used without waiting.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Always: regular files never wait for others.
    Ready,
    /// With a flag for each call.
    Pipe,
    /// With another flag.
    Socket,
    /// After a look whether it is ready.
    Other,
}

impl<F: AsFd + Send> DescriptorStream<F> {
    /// Reads from and writes to `descriptor`.
    pub fn new(descriptor: F) -> Self {
        let file_type = rustix::fs::fstat(&descriptor)
            .map(|stat| FileType::from_raw_mode(stat.st_mode))
            .unwrap_or(FileType::Unknown);
        DescriptorStream {
            descriptor,
            kind: match file_type {
                FileType::RegularFile | FileType::Directory | FileType::BlockDevice => Kind::Ready,
                FileType::Fifo => Kind::Pipe,
                FileType::Socket => Kind::Socket,
                _ => Kind::Other,
            },
        }
    }

    /// Fails with `EAGAIN` unless the descriptor is ready.
    fn require_ready(&self, flags: PollFlags) -> io::Result<()> {
        let readiness = Readiness::Descriptor(self.descriptor.as_fd());
        require_ready(readiness, flags).map_err(|error| error.0.into())
    }
}

/// The flags did not exist when this system was made, or not for such a descriptor.
fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::OPNOTSUPP | Errno::NOSYS | Errno::SPIPE)
}

impl<F: AsFd + Send> InputStream for DescriptorStream<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = &self.descriptor;
        match self.kind {
            Kind::Ready => {}
            Kind::Pipe => {
                let read = retry_on_intr(|| {
                    let buffers = &mut [io::IoSliceMut::new(buffer)];
                    rustix::io::preadv2(fd, buffers, u64::MAX, ReadWriteFlags::NOWAIT)
                });
                match read {
                    Err(errno) if is_unsupported(errno) => self.kind = Kind::Other,
                    read => return Ok(read?),
                }
                self.require_ready(PollFlags::IN)?;
            }
            Kind::Socket => {
                let flags = RecvFlags::DONTWAIT;
                return Ok(retry_on_intr(|| rustix::net::recv(fd, &mut *buffer, flags))?.0);
            }
            Kind::Other => self.require_ready(PollFlags::IN)?,
        }
        Ok(retry_on_intr(|| {
            rustix::io::read(&self.descriptor, &mut *buffer)
        })?)
    }

    fn is_terminal(&self) -> bool {
        rustix::termios::isatty(&self.descriptor)
    }

    fn readiness(&self) -> Readiness<'_> {
        Readiness::Descriptor(self.descriptor.as_fd())
    }
}

impl<F: AsFd + Send> OutputStream for DescriptorStream<F> {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let fd = &self.descriptor;
        match self.kind {
            Kind::Ready => {}
            Kind::Pipe => {
                let written = retry_on_intr(|| {
                    rustix::io::pwritev2(fd, buffers, u64::MAX, ReadWriteFlags::NOWAIT)
                });
                match written {
                    Err(errno) if is_unsupported(errno) => self.kind = Kind::Other,
                    written => return Ok(written?),
                }
                self.require_ready(PollFlags::OUT)?;
            }
            Kind::Socket => {
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                return Ok(retry_on_intr(|| {
                    let mut control = SendAncillaryBuffer::default();
                    rustix::net::sendmsg(fd, buffers, &mut control, flags)
                })?);
            }
            Kind::Other => self.require_ready(PollFlags::OUT)?,
        }
        Ok(retry_on_intr(|| {
            rustix::io::writev(&self.descriptor, buffers)
        })?)
    }

    fn is_terminal(&self) -> bool {
        rustix::termios::isatty(&self.descriptor)
    }

    fn readiness(&self) -> Readiness<'_> {
        Readiness::Descriptor(self.descriptor.as_fd())
    }
}

/// The process's standard input.
pub fn host_stdin() -> DescriptorStream<BorrowedFd<'static>> {
    DescriptorStream::new(rustix::stdio::stdin())
}

/// The process's standard output. Bytes bypass Rust's own buffer for it: flush that before the guest runs.
pub fn host_stdout() -> DescriptorStream<BorrowedFd<'static>> {
    DescriptorStream::new(rustix::stdio::stdout())
}

/// The process's standard error.
pub fn host_stderr() -> DescriptorStream<BorrowedFd<'static>> {
    DescriptorStream::new(rustix::stdio::stderr())
}

/// A stream that is at its end, and swallows what is written to it. The default for all three.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullStream;

impl InputStream for NullStream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

impl OutputStream for NullStream {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(buffers.iter().map(|buffer| buffer.len()).sum())
    }
}

/// Input from bytes in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryInput {
    bytes: Vec<u8>,
    position: usize,
}

impl MemoryInput {
    /// A stream of `bytes`, then its end.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        MemoryInput {
            bytes: bytes.into(),
            position: 0,
        }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.position..]
    }
}

impl InputStream for MemoryInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.rest().len());
        buffer[..count].copy_from_slice(&self.rest()[..count]);
        self.position += count;
        Ok(count)
    }

    fn readiness(&self) -> Readiness<'_> {
        Readiness::Now(self.rest().len() as u64)
    }
}

/// Output kept in memory, up to a limit. Clones share the same bytes: keep one, give one to the guest.
#[derive(Clone, Debug)]
pub struct MemoryOutput {
    bytes: Arc<Mutex<Vec<u8>>>,
    limit: usize,
}

impl MemoryOutput {
    /// An empty output that takes at most `limit` bytes; a write past it fails with `ENOSPC`.
    pub fn new(limit: usize) -> Self {
        MemoryOutput {
            bytes: Arc::default(),
            limit,
        }
    }

    /// What was written so far.
    pub fn contents(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// Takes what was written so far; the output goes on from empty.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        // A panic while the lock is held leaves whole bytes behind, nothing half-done.
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputStream for MemoryOutput {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut bytes = self.lock();
        let mut written = 0;
        for buffer in buffers {
            let count = buffer.len().min(self.limit.saturating_sub(bytes.len()));
            bytes.extend_from_slice(&buffer[..count]);
            written += count;
            if count < buffer.len() {
                break;
            }
        }
        if written == 0 && buffers.iter().any(|buffer| !buffer.is_empty()) {
            return Err(Errno::NOSPC.into());
        }
        Ok(written)
    }
}

/// Fails with `EAGAIN` when `readiness` says that the operation would block.
pub(crate) fn require_ready(readiness: Readiness<'_>, flags: PollFlags) -> Result<()> {
    if let Readiness::Descriptor(fd) = readiness
        && nothing(&poll(&[(fd, flags)], Duration::ZERO)?)
    {
        return Err(Errno::AGAIN.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_input_ends_after_its_bytes() {
        let mut input = MemoryInput::new(*b"hello");
        let mut buffer = [0; 3];
        assert_eq!(input.read(&mut buffer).unwrap(), 3);
        assert!(matches!(input.readiness(), Readiness::Now(2)));
        assert_eq!(input.read(&mut buffer).unwrap(), 2);
        assert_eq!(&buffer[..2], b"lo");
        assert_eq!(input.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn memory_output_takes_what_fits_and_then_is_full() {
        let output = MemoryOutput::new(5);
        let mut guest_end = output.clone();
        let buffers = [IoSlice::new(b"abc"), IoSlice::new(b"defg")];
        assert_eq!(guest_end.write(&buffers).unwrap(), 5);
        assert_eq!(output.contents(), b"abcde");
        let error = guest_end.write(&buffers).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::NOSPC));
        assert_eq!(guest_end.write(&[]).unwrap(), 0);
        assert_eq!(output.take(), b"abcde");
        assert_eq!(guest_end.write(&buffers).unwrap(), 5);
    }

    #[test]
    fn a_pipe_without_bytes_is_not_ready_to_be_read() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut input = DescriptorStream::new(reader);
        let again = Err(Errno::AGAIN.into());
        assert_eq!(
            require_ready(InputStream::readiness(&input), PollFlags::IN),
            again
        );
        io::Write::write_all(&mut writer, b"x").unwrap();
        assert_eq!(
            require_ready(InputStream::readiness(&input), PollFlags::IN),
            Ok(())
        );
        let mut buffer = [0; 8];
        assert_eq!(input.read(&mut buffer).unwrap(), 1);
    }
}
