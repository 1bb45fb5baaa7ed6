//! Functions on a path, from a directory's descriptor.

use super::WasiP1Ctx;
use super::abi::{self, Errno, OpenFlags, Rights, SYMLINK_FOLLOW};
use super::descriptor::{Descriptor, Object};
use super::fd::{file_flags, set_times};
use super::memory::GuestMemory;
use crate::host::dir::{OpenRequest, Opened};

/// Whether to follow a link in the last place; `EINVAL` for flags that do not exist.
pub(super) fn follows(flags: u32) -> Result<bool, Errno> {
    match flags {
        0 => Ok(false),
        SYMLINK_FOLLOW => Ok(true),
        _ => Err(Errno::Inval),
    }
}

impl WasiP1Ctx {
    pub(super) fn path_create_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        path: u32,
        path_len: u32,
    ) -> Result<(), Errno> {
        let directory = self.directory(fd, Rights::PATH_CREATE_DIRECTORY)?;
        Ok(directory.create_directory(memory.string(path, path_len)?)?)
    }

    pub(super) fn path_filestat_get(
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
        memory.store(result, abi::filestat(&stat))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the contract's function has as many"
    )]
    pub(super) fn path_filestat_set_times(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        path: u32,
        path_len: u32,
        accessed: u64,
        modified: u64,
        set_flags: u32,
    ) -> Result<(), Errno> {
        let directory = self.directory(fd, Rights::PATH_FILESTAT_SET_TIMES)?;
        let (accessed, modified) = set_times(accessed, modified, set_flags)?;
        let path = memory.string(path, path_len)?;
        Ok(directory.set_times_at(path, follows(flags)?, accessed, modified)?)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the contract's function has as many"
    )]
    pub(super) fn path_link(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old_fd: u32,
        old_flags: u32,
        old_path: u32,
        old_path_len: u32,
        new_fd: u32,
        new_path: u32,
        new_path_len: u32,
    ) -> Result<(), Errno> {
        let from = self.directory(old_fd, Rights::PATH_LINK_SOURCE)?;
        let to = self.directory(new_fd, Rights::PATH_LINK_TARGET)?;
        let old_path = memory.string(old_path, old_path_len)?;
        let new_path = memory.string(new_path, new_path_len)?;
        Ok(from.link(old_path, follows(old_flags)?, to, new_path)?)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the contract's function has as many"
    )]
    pub(super) fn path_open(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        dir_flags: u32,
        path: u32,
        path_len: u32,
        open_flags: u32,
        base: u64,
        _inheriting: u64,
        fd_flags: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let result = memory.slot(result)?;
        let path = memory.string(path, path_len)?;
        let open_flags = u16::try_from(open_flags)
            .ok()
            .and_then(OpenFlags::from_bits)
            .ok_or(Errno::Inval)?;
        let asked = Rights::from_bits_truncate(base);
        let request = OpenRequest {
            follow: follows(dir_flags)?,
            create: open_flags.contains(OpenFlags::CREATE),
            exclusive: open_flags.contains(OpenFlags::EXCLUSIVE),
            truncate: open_flags.contains(OpenFlags::TRUNCATE),
            directory: open_flags.contains(OpenFlags::DIRECTORY),
            read: asked.contains(Rights::FD_READ),
            write: asked.contains(Rights::FD_WRITE),
            flags: file_flags(fd_flags)?,
        };

        let mut needed = Rights::PATH_OPEN;
        needed.set(Rights::PATH_CREATE_FILE, request.create);
        needed.set(Rights::PATH_FILESTAT_SET_SIZE, request.truncate);
        let from = self.table.get(fd)?;
        let directory = from.directory(needed)?;
        let inheriting = from.inheriting;
        let access = asked & (Rights::FD_READ | Rights::FD_WRITE);
        if !inheriting.contains(access) {
            return Err(Errno::NotCapable);
        }

        // A file must not be created, or cut, for a descriptor that cannot be given.
        self.table.require_room()?;
        let object = match directory.open(path, request)? {
            Opened::File(file) => Object::File(file),
            Opened::Directory(directory) => Object::Directory(directory),
        };
        let fd = self.table.insert(Descriptor::opened(object, inheriting))?;
        memory.put(result, fd.to_le_bytes());
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the contract's function has as many"
    )]
    pub(super) fn path_readlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        path: u32,
        path_len: u32,
        buffer: u32,
        buffer_len: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let result = memory.slot(result)?;
        let directory = self.directory(fd, Rights::PATH_READLINK)?;
        let target = directory.read_link(memory.string(path, path_len)?)?;
        let buffer = memory.slice_mut(buffer, buffer_len)?;
        let used = target.len().min(buffer.len());
        buffer[..used].copy_from_slice(&target[..used]);
        memory.put(result, (used as u32).to_le_bytes());
        Ok(())
    }

    pub(super) fn path_remove_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        path: u32,
        path_len: u32,
    ) -> Result<(), Errno> {
        let directory = self.directory(fd, Rights::PATH_REMOVE_DIRECTORY)?;
        Ok(directory.remove_directory(memory.string(path, path_len)?)?)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the contract's function has as many"
    )]
    pub(super) fn path_rename(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old_fd: u32,
        old_path: u32,
        old_path_len: u32,
        new_fd: u32,
        new_path: u32,
        new_path_len: u32,
    ) -> Result<(), Errno> {
        let from = self.directory(old_fd, Rights::PATH_RENAME_SOURCE)?;
        let to = self.directory(new_fd, Rights::PATH_RENAME_TARGET)?;
        let old_path = memory.string(old_path, old_path_len)?;
        let new_path = memory.string(new_path, new_path_len)?;
        Ok(from.rename(old_path, to, new_path)?)
    }

    pub(super) fn path_symlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old_path: u32,
        old_path_len: u32,
        fd: u32,
        new_path: u32,
        new_path_len: u32,
    ) -> Result<(), Errno> {
        let directory = self.directory(fd, Rights::PATH_SYMLINK)?;
        let target = memory.string(old_path, old_path_len)?;
        Ok(directory.symlink(target, memory.string(new_path, new_path_len)?)?)
    }

    pub(super) fn path_unlink_file(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        path: u32,
        path_len: u32,
    ) -> Result<(), Errno> {
        let directory = self.directory(fd, Rights::PATH_UNLINK_FILE)?;
        Ok(directory.unlink(memory.string(path, path_len)?)?)
    }
}
