//! A socket the embedder granted, or one accepted from it.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendFlags, Shutdown,
    SocketFlags, SocketType,
};

use super::error::Result;
use super::stat::FileKind;

/// A socket. Nothing here waits: what would fails with `EAGAIN`, whether the guest wants that or not.
///
/// To that end the descriptor is set to `O_NONBLOCK`: accepting knows no flag for one call, and whoever shares the socket may take the
/// connection that was there a moment ago. Whether the guest wants to wait is only noted.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    kind: FileKind,
    nonblocking: bool,
}

impl Socket {
    /// Wraps `fd`, which from now on never blocks, and so do not its duplicates. The guest waits, until it says otherwise.
    ///
    /// # Errors
    ///
    /// `ENOTSOCK` when it is not a socket.
    pub(crate) fn new(fd: OwnedFd) -> Result<Self> {
        let kind = match rustix::net::sockopt::socket_type(&fd)? {
            SocketType::STREAM => FileKind::SocketStream,
            SocketType::DGRAM => FileKind::SocketDatagram,
            _ => FileKind::Unknown,
        };
        let status = rustix::fs::fcntl_getfl(&fd)?;
        if !status.contains(OFlags::NONBLOCK) {
            rustix::fs::fcntl_setfl(&fd, status | OFlags::NONBLOCK)?;
        }
        Ok(Socket {
            fd,
            kind,
            nonblocking: false,
        })
    }

    pub(crate) fn kind(&self) -> FileKind {
        self.kind
    }

    /// Accepts a connection that is there already.
    pub(crate) fn accept(&self, nonblocking: bool) -> Result<Socket> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = retry_on_intr(|| rustix::net::accept_with(&self.fd, flags))?;
        let mut accepted = Socket::new(fd)?;
        accepted.nonblocking = nonblocking;
        Ok(accepted)
    }

    /// Receives what is there into `buffers`; answers the count and whether the rest of a datagram was cut off.
    pub(crate) fn receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        flags: RecvFlags,
    ) -> Result<(usize, bool)> {
        let message = retry_on_intr(|| {
            let mut control = RecvAncillaryBuffer::default();
            rustix::net::recvmsg(&self.fd, buffers, &mut control, flags | RecvFlags::DONTWAIT)
        })?;
        Ok((message.bytes, message.flags.contains(ReturnFlags::TRUNC)))
    }

    /// Sends from `buffers` what there is room for. A closed peer is `EPIPE`, never a signal.
    pub(crate) fn send(&self, buffers: &[IoSlice<'_>]) -> Result<usize> {
        Ok(retry_on_intr(|| {
            let mut control = SendAncillaryBuffer::default();
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            rustix::net::sendmsg(&self.fd, buffers, &mut control, flags)
        })?)
    }

    /// Ends reading, writing or both.
    pub(crate) fn shutdown(&self, read: bool, write: bool) -> Result<()> {
        let how = match (read, write) {
            (true, true) => Shutdown::Both,
            (true, false) => Shutdown::Read,
            (false, true) => Shutdown::Write,
            (false, false) => return Err(Errno::INVAL.into()),
        };
        Ok(rustix::net::shutdown(&self.fd, how)?)
    }

    /// Does the guest want `EAGAIN` where it would wait?
    pub(crate) fn is_nonblocking(&self) -> bool {
        self.nonblocking
    }

    pub(crate) fn set_nonblocking(&mut self, nonblocking: bool) {
        self.nonblocking = nonblocking;
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
