//! What is different in `wasi_unstable`, the version before preview 1: three layouts and the numbers of `whence`.

use super::abi::{self, Errno, Rights};
use super::memory::GuestMemory;
use super::path::follows;
use super::{Stop, WasiP1Ctx};
use crate::host::patience::Patience;

impl WasiP1Ctx {
    pub(super) fn unstable_fd_filestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let stat = self.filestat(fd)?;
        memory.store(result, abi::unstable_filestat(&stat))
    }

    pub(super) fn unstable_path_filestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        path: u32,
        path_len: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let directory = self.directory(fd, Rights::PATH_FILESTAT_GET)?;
        let stat = directory.stat_at(memory.string(path, path_len)?, follows(flags)?)?;
        memory.store(result, abi::unstable_filestat(&stat))
    }

    pub(super) fn unstable_fd_seek(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        offset: u64,
        whence: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let whence = match whence {
            0 => 1,
            1 => 2,
            2 => 0,
            _ => return Err(Errno::Inval),
        };
        self.fd_seek(memory, fd, offset, whence, result)
    }

    pub(super) fn unstable_poll_oneoff(
        &mut self,
        memory: &mut GuestMemory<'_>,
        subscriptions: u32,
        events: u32,
        count: u32,
        result: u32,
        patience: &mut Patience,
    ) -> Result<(), Stop> {
        let decode = abi::unstable_subscription;
        self.poll(
            memory,
            (subscriptions, decode),
            events,
            count,
            result,
            patience,
        )
    }
}
