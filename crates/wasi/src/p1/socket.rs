//! Functions on a socket's descriptor.

use rustix::net::RecvFlags;

use super::WasiP1Ctx;
use super::abi::{Errno, RECV_PEEK, RECV_TRUNCATED, RECV_WAITALL, Rights, SHUT_READ, SHUT_WRITE};
use super::descriptor::Descriptor;
use super::fd::file_flags;
use super::memory::GuestMemory;
use crate::host::file::FileFlags;

impl WasiP1Ctx {
    pub(super) fn sock_accept(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let result = memory.slot(result)?;
        let socket = self.table.get(fd)?.as_socket(Rights::SOCK_ACCEPT)?;
        let flags = file_flags(flags)?;
        if flags.intersects(!FileFlags::NONBLOCK) {
            return Err(Errno::Inval);
        }
        // A connection must not be taken from the queue for a descriptor that cannot be given.
        self.table.require_room()?;
        let accepted = socket.accept(flags.contains(FileFlags::NONBLOCK))?;
        let fd = self.table.insert(Descriptor::socket(accepted))?;
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
    ) -> Result<(), Errno> {
        let result = memory.slot(result)?;
        let result_flags = memory.slot(result_flags)?;
        let socket = self.table.get(fd)?.as_socket(Rights::FD_READ)?;
        if flags & !(RECV_PEEK | RECV_WAITALL) != 0 {
            return Err(Errno::Inval);
        }
        let mut receive = RecvFlags::empty();
        receive.set(RecvFlags::PEEK, flags & RECV_PEEK != 0);
        receive.set(RecvFlags::WAITALL, flags & RECV_WAITALL != 0);
        let (count, truncated) =
            socket.receive(&mut memory.buffers_mut(iovs, iovs_len)?, receive)?;
        memory.put(result, (count as u32).to_le_bytes());
        let flags = if truncated { RECV_TRUNCATED } else { 0 };
        memory.put(result_flags, flags.to_le_bytes());
        Ok(())
    }

    pub(super) fn sock_send(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        flags: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let result = memory.slot(result)?;
        let socket = self.table.get(fd)?.as_socket(Rights::FD_WRITE)?;
        if flags != 0 {
            return Err(Errno::Inval);
        }
        let count = socket.send(&memory.buffers(iovs, iovs_len)?)?;
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
