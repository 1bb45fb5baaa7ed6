//! Functions on a descriptor.

use std::io;

use rustix::fs::{Advice, SeekFrom};
use rustix::net::RecvFlags;

use super::abi::{self, Errno, Rights, SetTimes};
use super::descriptor::{Descriptor, Object};
use super::memory::{Buffers, BuffersMut, GuestMemory};
use super::{Stop, WasiP1Ctx};
use crate::host::error::Error;
use crate::host::file::{self, FileFlags};
use crate::host::patience::Patience;
use crate::host::stat::{FileStat, SetTime};

/// A count of bytes for the guest. One call moves less than 2 GiB.
fn count(count: usize) -> [u8; 4] {
    (count as u32).to_le_bytes()
}

/// The flags in an argument; `EINVAL` for one that does not exist.
pub(super) fn file_flags(flags: u32) -> Result<FileFlags, Errno> {
    u16::try_from(flags)
        .ok()
        .and_then(FileFlags::from_bits)
        .ok_or(Errno::Inval)
}

/// What to do with the time of access and of modification; `EINVAL` for flags that contradict or do not exist.
pub(super) fn set_times(
    accessed: u64,
    modified: u64,
    flags: u32,
) -> Result<(SetTime, SetTime), Errno> {
    let flags = u16::try_from(flags)
        .ok()
        .and_then(SetTimes::from_bits)
        .ok_or(Errno::Inval)?;
    let set = |at, now, time| match (flags.contains(at), flags.contains(now)) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(SetTime::At(time)),
        (false, true) => Ok(SetTime::Now),
        (false, false) => Ok(SetTime::Keep),
    };
    Ok((
        set(SetTimes::ACCESSED, SetTimes::ACCESSED_NOW, accessed)?,
        set(SetTimes::MODIFIED, SetTimes::MODIFIED_NOW, modified)?,
    ))
}

impl Descriptor {
    /// Reads what is there.
    fn read(&mut self, mut buffers: BuffersMut<'_>) -> Result<usize, Errno> {
        let rights = Rights::FD_READ;
        match &self.object {
            Object::File(_) => return Ok(self.file(rights)?.read(&mut buffers)?),
            Object::Socket(_) => {
                let socket = self.as_socket(rights)?;
                return Ok(socket.receive(&mut buffers, RecvFlags::empty())?.0);
            }
            Object::Input(_) => {
                self.require(rights)?;
                self.require_ready()?;
            }
            Object::Output(_) | Object::Directory(_) => {}
        }
        match &mut self.object {
            // Filling one buffer is enough: going on to the next could wait for bytes that never come.
            Object::Input(stream) => match buffers.first_mut() {
                Some(buffer) => Ok(within(stream.read(buffer), buffer.len())?),
                None => Ok(0),
            },
            Object::Directory(_) => Err(Errno::IsDir),
            _ => Err(Errno::BadF),
        }
    }

    /// Writes what there is room for.
    fn write(&mut self, buffers: Buffers<'_>) -> Result<usize, Errno> {
        let rights = Rights::FD_WRITE;
        match &self.object {
            Object::File(_) => return Ok(self.file(rights)?.write(&buffers)?),
            Object::Socket(_) => return Ok(self.as_socket(rights)?.send(&buffers)?),
            Object::Output(_) => {
                self.require(rights)?;
                self.require_ready()?;
            }
            Object::Input(_) | Object::Directory(_) => {}
        }
        match &mut self.object {
            Object::Output(_) if buffers.is_empty() => Ok(0),
            Object::Output(stream) => {
                let len = buffers.iter().map(|buffer| buffer.len()).sum();
                Ok(within(stream.write(&buffers), len)?)
            }
            Object::Directory(_) => Err(Errno::IsDir),
            _ => Err(Errno::BadF),
        }
    }

    /// Sets the object's times.
    fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        let rights = Rights::FD_FILESTAT_SET_TIMES;
        match &self.object {
            Object::Directory(_) => Ok(self.directory(rights)?.set_times(accessed, modified)?),
            Object::File(_) => Ok(self.file(rights)?.set_times(accessed, modified)?),
            _ => Err(Errno::Inval),
        }
    }

    /// Waits until the object is on its device.
    fn sync(&self, data_only: bool, rights: Rights) -> Result<(), Errno> {
        match &self.object {
            Object::Directory(_) => Ok(file::sync(self.directory(rights)?, data_only)?),
            Object::File(_) => Ok(file::sync(self.file(rights)?, data_only)?),
            _ => Err(Errno::Inval),
        }
    }
}

/// The count a stream gave, which no embedder's mistake may make larger than what was asked.
fn within(count: io::Result<usize>, len: usize) -> Result<usize, Error> {
    Ok(count?.min(len))
}

impl WasiP1Ctx {
    pub(super) fn fd_advise(
        &mut self,
        fd: u32,
        offset: u64,
        len: u64,
        advice: u32,
    ) -> Result<(), Errno> {
        let advice = match advice {
            0 => Advice::Normal,
            1 => Advice::Sequential,
            2 => Advice::Random,
            3 => Advice::WillNeed,
            4 => Advice::DontNeed,
            5 => Advice::NoReuse,
            _ => return Err(Errno::Inval),
        };
        let file = self.table.get(fd)?.file(Rights::FD_ADVISE)?;
        Ok(file.advise(offset, len, advice)?)
    }

    pub(super) fn fd_allocate(&mut self, fd: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let file = self.table.get(fd)?.file(Rights::FD_ALLOCATE)?;
        Ok(file.allocate(offset, len)?)
    }

    pub(super) fn fd_close(&mut self, fd: u32) -> Result<(), Errno> {
        self.table.remove(fd)?;
        Ok(())
    }

    pub(super) fn fd_datasync(&mut self, fd: u32) -> Result<(), Errno> {
        self.table.get(fd)?.sync(true, Rights::FD_DATASYNC)
    }

    pub(super) fn fd_sync(&mut self, fd: u32) -> Result<(), Errno> {
        self.table.get(fd)?.sync(false, Rights::FD_SYNC)
    }

    pub(super) fn fd_fdstat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.table.get(fd)?;
        let stat = abi::fdstat(
            descriptor.kind(),
            descriptor.flags(),
            descriptor.base,
            descriptor.inheriting,
        );
        memory.store(result, stat)
    }

    pub(super) fn fd_fdstat_set_flags(&mut self, fd: u32, flags: u32) -> Result<(), Errno> {
        let descriptor = self.table.get_mut(fd)?;
        descriptor.require(Rights::FD_FDSTAT_SET_FLAGS)?;
        descriptor.set_flags(file_flags(flags)?)
    }

    pub(super) fn fd_fdstat_set_rights(
        &mut self,
        fd: u32,
        base: u64,
        inheriting: u64,
    ) -> Result<(), Errno> {
        let descriptor = self.table.get_mut(fd)?;
        let base = Rights::from_bits(base).ok_or(Errno::NotCapable)?;
        let inheriting = Rights::from_bits(inheriting).ok_or(Errno::NotCapable)?;
        if !descriptor.base.contains(base) || !descriptor.inheriting.contains(inheriting) {
            return Err(Errno::NotCapable);
        }
        descriptor.base = base;
        descriptor.inheriting = inheriting;
        Ok(())
    }

    pub(super) fn fd_filestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let stat = self.filestat(fd)?;
        memory.store(result, abi::filestat(&stat))
    }

    /// The facts about what is open as `fd`.
    pub(super) fn filestat(&self, fd: u32) -> Result<FileStat, Errno> {
        let descriptor = self.table.get(fd)?;
        descriptor.require(Rights::FD_FILESTAT_GET)?;
        Ok(descriptor.stat()?)
    }

    pub(super) fn fd_filestat_set_size(&mut self, fd: u32, size: u64) -> Result<(), Errno> {
        let file = self.table.get(fd)?.file(Rights::FD_FILESTAT_SET_SIZE)?;
        Ok(file.set_size(size)?)
    }

    pub(super) fn fd_filestat_set_times(
        &mut self,
        fd: u32,
        accessed: u64,
        modified: u64,
        flags: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.table.get(fd)?;
        let (accessed, modified) = set_times(accessed, modified, flags)?;
        descriptor.set_times(accessed, modified)
    }

    pub(super) fn fd_read(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        result: u32,
        patience: &mut Patience,
    ) -> Result<(), Stop> {
        let result = memory.slot(result)?;
        let descriptor = self.table.get_mut(fd)?;
        let attempt = descriptor.read(memory.buffers_mut(iovs, iovs_len)?);
        let read = descriptor.or_wait(attempt, false, patience)?;
        memory.put(result, count(read));
        Ok(())
    }

    pub(super) fn fd_pread(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        offset: u64,
        result: u32,
    ) -> Result<(), Errno> {
        let result = memory.slot(result)?;
        let rights = Rights::FD_READ | Rights::FD_SEEK;
        let file = self.table.get(fd)?.file(rights)?;
        let read = file.read_at(&mut memory.buffers_mut(iovs, iovs_len)?, offset)?;
        memory.put(result, count(read));
        Ok(())
    }

    pub(super) fn fd_write(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        result: u32,
        patience: &mut Patience,
    ) -> Result<(), Stop> {
        let result = memory.slot(result)?;
        let descriptor = self.table.get_mut(fd)?;
        let attempt = descriptor.write(memory.buffers(iovs, iovs_len)?);
        let written = descriptor.or_wait(attempt, true, patience)?;
        memory.put(result, count(written));
        Ok(())
    }

    pub(super) fn fd_pwrite(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        offset: u64,
        result: u32,
    ) -> Result<(), Errno> {
        let result = memory.slot(result)?;
        let rights = Rights::FD_WRITE | Rights::FD_SEEK;
        let file = self.table.get(fd)?.file(rights)?;
        let written = file.write_at(&memory.buffers(iovs, iovs_len)?, offset)?;
        memory.put(result, count(written));
        Ok(())
    }

    pub(super) fn fd_prestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let name = self.preopen_name(fd)?;
        let len = u32::try_from(name.len()).map_err(|_| Errno::NameTooLong)?;
        memory.store(result, abi::prestat(len))
    }

    pub(super) fn fd_prestat_dir_name(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        buffer: u32,
        len: u32,
    ) -> Result<(), Errno> {
        let name = self.preopen_name(fd)?.as_bytes();
        let buffer = memory.slice_mut(buffer, len)?;
        let place = buffer.get_mut(..name.len()).ok_or(Errno::NameTooLong)?;
        place.copy_from_slice(name);
        Ok(())
    }

    fn preopen_name(&self, fd: u32) -> Result<&str, Errno> {
        self.table.get(fd)?.preopen.as_deref().ok_or(Errno::BadF)
    }

    pub(super) fn fd_readdir(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        buffer: u32,
        len: u32,
        mut cookie: u64,
        result: u32,
    ) -> Result<(), Errno> {
        let result = memory.slot(result)?;
        let mut rest = memory.slice_mut(buffer, len)?;
        let size = rest.len();
        let descriptor = self.table.get_mut(fd)?;
        descriptor.directory(Rights::FD_READDIR)?;
        let Object::Directory(directory) = &mut descriptor.object else {
            return Err(Errno::NotDir);
        };
        while !rest.is_empty() {
            let entry = match directory.entry(cookie) {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                // What is there is given first; the next call meets the error again.
                Err(_) if rest.len() < size => break,
                Err(error) => return Err(error.into()),
            };
            // No file system has names as long as this could not count.
            let name_len = entry.name.len() as u32;
            let header = abi::dirent(entry.next, entry.inode, name_len, entry.kind);
            // The last entry may be cut anywhere: a full buffer tells the guest that there is more.
            for part in [&header[..], entry.name] {
                let (head, tail) = rest.split_at_mut(part.len().min(rest.len()));
                head.copy_from_slice(&part[..head.len()]);
                rest = tail;
            }
            cookie = entry.next;
        }
        let used = size - rest.len();
        memory.put(result, (used as u32).to_le_bytes());
        Ok(())
    }

    pub(super) fn fd_renumber(&mut self, fd: u32, to: u32) -> Result<(), Errno> {
        Ok(self.table.renumber(fd, to)?)
    }

    pub(super) fn fd_seek(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        offset: u64,
        whence: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let result = memory.slot(result)?;
        let to = match whence {
            // A negative offset is refused below, like everywhere else.
            0 => SeekFrom::Start(offset),
            1 => SeekFrom::Current(offset.cast_signed()),
            2 => SeekFrom::End(offset.cast_signed()),
            _ => return Err(Errno::Inval),
        };
        let rights = if matches!(to, SeekFrom::Current(0)) {
            Rights::FD_TELL
        } else {
            Rights::FD_SEEK
        };
        let position = self.table.get(fd)?.file(rights)?.seek(to)?;
        memory.put(result, position.to_le_bytes());
        Ok(())
    }

    pub(super) fn fd_tell(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        result: u32,
    ) -> Result<(), Errno> {
        self.fd_seek(memory, fd, 0, 1, result)
    }
}
