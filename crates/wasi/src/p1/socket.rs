//! Functions on a socket's descriptor.

use std::io::IoSliceMut;
use std::os::fd::AsFd;

use rustix::net::RecvFlags;

use super::abi::{Errno, RECV_PEEK, RECV_TRUNCATED, RECV_WAITALL, Rights, SHUT_READ, SHUT_WRITE};
use super::descriptor::{RETRY, wanted};
use super::fd::file_flags;
use super::memory::GuestMemory;
use super::{Stop, WasiP1Ctx};
use crate::host::file::FileFlags;
use crate::host::patience::Patience;
use crate::host::stat::FileKind;

impl WasiP1Ctx {
    pub(super) fn sock_accept(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        result: u32,
        patience: &mut Patience,
    ) -> Result<(), Stop> {
        let result = memory.slot(result)?;
        let listening = self.table.get(fd)?;
        let socket = listening.as_socket(Rights::SOCK_ACCEPT)?;
        let flags = file_flags(flags)?;
        if flags.intersects(!FileFlags::NONBLOCK) {
            return Err(Errno::Inval.into());
        }
        // A connection must not be taken from the queue for a descriptor that cannot be given.
        self.table.require_room()?;
        let attempt = socket.accept(flags.contains(FileFlags::NONBLOCK));
        let accepted = listening.or_wait(attempt.map_err(Errno::from), false, patience)?;
        let accepted = listening.accepted(accepted);
        let fd = self.table.insert(accepted)?;
        memory.put(result, fd.to_le_bytes());
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the contract's function has as many"
    )]
    pub(super) fn sock_recv(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        flags: u32,
        result: u32,
        result_flags: u32,
        patience: &mut Patience,
    ) -> Result<(), Stop> {
        let result = memory.slot(result)?;
        let result_flags = memory.slot(result_flags)?;
        let descriptor = self.table.get(fd)?;
        let socket = descriptor.as_socket(Rights::FD_READ)?;
        if flags & !(RECV_PEEK | RECV_WAITALL) != 0 {
            return Err(Errno::Inval.into());
        }
        let peek = flags & RECV_PEEK != 0;
        let mut receive = RecvFlags::empty();
        receive.set(RecvFlags::PEEK, peek);
        let mut buffers = memory.buffers_mut(iovs, iovs_len)?;
        let size: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        // What earlier attempts received is in the buffers, unless the embedder has changed meanwhile what describes them.
        let before = patience.moved.min(size);
        let mut rest = &mut buffers[..];
        IoSliceMut::advance_slices(&mut rest, before);
        let attempt = socket.receive(rest, receive).map_err(Errno::from);
        let (received, truncated) = match descriptor.or_wait(attempt, false, patience) {
            // The connection failed after some of the bytes; the next call is told.
            Err(Stop::Failed(_)) if before > 0 => (0, false),
            outcome => outcome?,
        };
        let count = before + received;
        let wants_all = flags & RECV_WAITALL != 0
            && socket.kind() == FileKind::SocketStream
            && !socket.is_nonblocking();
        if wants_all && received > 0 && count < size {
            if peek {
                // The descriptor is ready all the while.
                patience.wait(&[], Some(RETRY))?;
            } else {
                patience.moved = count;
                // Should this fail, the next attempt finds out, and says what there is.
                drop(patience.wait(&[(socket.as_fd(), wanted(false))], None));
            }
            return Err(Stop::Wait);
        }
        drop(buffers);
        memory.put(result, (count as u32).to_le_bytes());
        let flags = if truncated { RECV_TRUNCATED } else { 0 };
        memory.put(result_flags, flags.to_le_bytes());
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the contract's function has as many"
    )]
    pub(super) fn sock_send(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        flags: u32,
        result: u32,
        patience: &mut Patience,
    ) -> Result<(), Stop> {
        let result = memory.slot(result)?;
        let descriptor = self.table.get(fd)?;
        let socket = descriptor.as_socket(Rights::FD_WRITE)?;
        if flags != 0 {
            return Err(Errno::Inval.into());
        }
        let attempt = socket.send(&memory.buffers(iovs, iovs_len)?);
        let count = descriptor.or_wait(attempt.map_err(Errno::from), true, patience)?;
        memory.put(result, (count as u32).to_le_bytes());
        Ok(())
    }

    pub(super) fn sock_shutdown(&mut self, fd: u32, how: u32) -> Result<(), Errno> {
        let socket = self.table.get(fd)?.as_socket(Rights::SOCK_SHUTDOWN)?;
        if how & !(SHUT_READ | SHUT_WRITE) != 0 {
            return Err(Errno::Inval);
        }
        Ok(socket.shutdown(how & SHUT_READ != 0, how & SHUT_WRITE != 0)?)
    }
}
