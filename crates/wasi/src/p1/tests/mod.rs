//! Tests of the functions, called as the linker calls them, with a piece of memory in the guest's place.

mod descriptors;
mod files;
mod poll;
mod process;
mod streams;
mod unstable;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tempfile::TempDir;

use super::abi::{Errno, Event, EventType, Rights};
use super::memory::GuestMemory;
use super::process::raise;
use super::*;
use crate::exit::I32Exit;
use crate::host::patience::Patience;
use crate::{
    DescriptorStream, DirPerms, FilePerms, MemoryInput, MemoryOutput, SeededRandom, VirtualClock,
    WasiCtxBuilder,
};

type Outcome<T = ()> = Result<T, Errno>;

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const DIR: u32 = 3;

/// Where calls put their results, arrays and bytes.
const RESULT: u32 = 0;
const IOVS: u32 = 1024;
const PATH: u32 = 32 * 1024;
const PATH_2: u32 = 48 * 1024;
const BUFFER: u32 = 64 * 1024;
const MEMORY: usize = 1024 * 1024;

const READ: u64 = Rights::FD_READ.bits();
const WRITE: u64 = Rights::FD_WRITE.bits();
const CREATE: u32 = 1;
const DIRECTORY: u32 = 2;
const TRUNCATE: u32 = 8;
const APPEND: u32 = 1;
const NONBLOCK: u32 = 4;
const SYNC: u32 = 16;

/// A context with a memory, and shorthands for what a guest's C library would do.
struct Guest {
    ctx: WasiP1Ctx,
    bytes: Vec<u8>,
}

impl Guest {
    fn new(builder: &mut WasiCtxBuilder) -> Self {
        Guest {
            ctx: builder.build_p1(),
            bytes: vec![0; MEMORY],
        }
    }

    /// A guest with `temp` as its only directory.
    fn with_dir(temp: &TempDir) -> Self {
        Guest::new(granted(temp, &mut WasiCtxBuilder::new()))
    }

    fn call(
        &mut self,
        function: impl FnOnce(&mut WasiP1Ctx, &mut GuestMemory<'_>) -> Outcome,
    ) -> Outcome {
        function(&mut self.ctx, &mut GuestMemory::new(&mut self.bytes))
    }

    /// A call that may wait: made as often as it takes.
    fn call_waiting(
        &mut self,
        mut function: impl FnMut(
            &mut WasiP1Ctx,
            &mut GuestMemory<'_>,
            &mut Patience,
        ) -> Result<(), Stop>,
    ) -> Outcome {
        let mut patience = Patience::blocking();
        loop {
            let memory = &mut GuestMemory::new(&mut self.bytes);
            match function(&mut self.ctx, memory, &mut patience) {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(errno)) => return Err(errno),
                Err(Stop::Wait) => {}
            }
        }
    }

    fn u32_at(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.bytes[at as usize..][..4].try_into().unwrap())
    }

    fn u64_at(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.bytes[at as usize..][..8].try_into().unwrap())
    }

    fn put(&mut self, at: u32, bytes: &[u8]) {
        self.bytes[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn path(&mut self, path: &str) -> (u32, u32) {
        self.put(PATH, path.as_bytes());
        (PATH, path.len() as u32)
    }

    /// Lays out an array of buffers of these lengths, one behind the other from `BUFFER`.
    fn iovs(&mut self, lens: &[u32]) -> (u32, u32) {
        let mut at = BUFFER;
        for (index, &len) in lens.iter().enumerate() {
            let entry = IOVS + index as u32 * 8;
            self.put(entry, &at.to_le_bytes());
            self.put(entry + 4, &len.to_le_bytes());
            at += len;
        }
        (IOVS, lens.len() as u32)
    }

    fn write(&mut self, fd: u32, bytes: &[u8]) -> Outcome<u32> {
        self.put(BUFFER, bytes);
        let (iovs, count) = self.iovs(&[bytes.len() as u32]);
        self.call_waiting(|ctx, memory, patience| {
            ctx.fd_write(memory, fd, iovs, count, RESULT, patience)
        })?;
        Ok(self.u32_at(RESULT))
    }

    fn pwrite(&mut self, fd: u32, bytes: &[u8], offset: u64) -> Outcome<u32> {
        self.put(BUFFER, bytes);
        let (iovs, count) = self.iovs(&[bytes.len() as u32]);
        self.call(|ctx, memory| ctx.fd_pwrite(memory, fd, iovs, count, offset, RESULT))?;
        Ok(self.u32_at(RESULT))
    }

    fn read(&mut self, fd: u32, lens: &[u32]) -> Outcome<Vec<u8>> {
        let (iovs, count) = self.iovs(lens);
        self.call_waiting(|ctx, memory, patience| {
            ctx.fd_read(memory, fd, iovs, count, RESULT, patience)
        })?;
        Ok(self.bytes[BUFFER as usize..][..self.u32_at(RESULT) as usize].to_vec())
    }

    fn pread(&mut self, fd: u32, len: u32, offset: u64) -> Outcome<Vec<u8>> {
        let (iovs, count) = self.iovs(&[len]);
        self.call(|ctx, memory| ctx.fd_pread(memory, fd, iovs, count, offset, RESULT))?;
        Ok(self.bytes[BUFFER as usize..][..self.u32_at(RESULT) as usize].to_vec())
    }

    fn open(&mut self, path: &str, flags: u32, rights: u64) -> Outcome<u32> {
        self.open_with(DIR, path, flags, rights, 0)
    }

    fn open_with(
        &mut self,
        fd: u32,
        path: &str,
        flags: u32,
        rights: u64,
        fd_flags: u32,
    ) -> Outcome<u32> {
        let (path, len) = self.path(path);
        self.call(|ctx, memory| {
            ctx.path_open(memory, fd, 1, path, len, flags, rights, 0, fd_flags, RESULT)
        })?;
        Ok(self.u32_at(RESULT))
    }

    fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Outcome<u64> {
        self.call(|ctx, memory| ctx.fd_seek(memory, fd, offset.cast_unsigned(), whence, RESULT))?;
        Ok(self.u64_at(RESULT))
    }

    /// The kind, flags, rights and inheriting rights of a descriptor.
    fn fdstat(&mut self, fd: u32) -> Outcome<(u8, u8, Rights, Rights)> {
        self.call(|ctx, memory| ctx.fd_fdstat_get(memory, fd, RESULT))?;
        Ok((
            self.bytes[0],
            self.bytes[2],
            Rights::from_bits(self.u64_at(8)).unwrap(),
            Rights::from_bits(self.u64_at(16)).unwrap(),
        ))
    }

    fn size(&mut self, fd: u32) -> Outcome<u64> {
        self.call(|ctx, memory| ctx.fd_filestat_get(memory, fd, RESULT))?;
        Ok(self.u64_at(32))
    }

    /// One `fd_readdir`: the bytes it gave.
    fn readdir(&mut self, fd: u32, len: u32, cookie: u64) -> Outcome<Vec<u8>> {
        self.call(|ctx, memory| ctx.fd_readdir(memory, fd, BUFFER, len, cookie, RESULT))?;
        Ok(self.bytes[BUFFER as usize..][..self.u32_at(RESULT) as usize].to_vec())
    }

    /// All names in a directory, read as C libraries do, with a buffer of `len` bytes.
    fn list(&mut self, fd: u32, len: u32) -> Vec<String> {
        let mut names = Vec::new();
        let mut cookie = 0;
        loop {
            let bytes = self.readdir(fd, len, cookie).unwrap();
            let mut rest = &bytes[..];
            while let Some((header, tail)) = rest.split_at_checked(24) {
                let name_len = u32::from_le_bytes(header[16..20].try_into().unwrap());
                let Some((name, tail)) = tail.split_at_checked(name_len as usize) else {
                    break;
                };
                names.push(String::from_utf8(name.to_vec()).unwrap());
                cookie = u64::from_le_bytes(header[..8].try_into().unwrap());
                rest = tail;
            }
            if bytes.len() < len as usize {
                return names;
            }
        }
    }

    fn poll(&mut self, subscriptions: &[[u8; 48]]) -> Outcome<Vec<Event>> {
        self.put(IOVS, subscriptions.as_flattened());
        let count = subscriptions.len() as u32;
        self.call_waiting(|ctx, memory, patience| {
            ctx.poll_oneoff(memory, IOVS, BUFFER, count, RESULT, patience)
        })?;
        let events = &self.bytes[BUFFER as usize..][..self.u32_at(RESULT) as usize * 32];
        Ok(events
            .chunks(32)
            .map(|event| Event {
                userdata: event[0].into(),
                error: match event[8] {
                    0 => None,
                    8 => Some(Errno::BadF),
                    28 => Some(Errno::Inval),
                    76 => Some(Errno::NotCapable),
                    other => panic!("unexpected errno {other}"),
                },
                event_type: [EventType::Clock, EventType::FdRead, EventType::FdWrite]
                    [usize::from(event[10])],
                bytes: event[16].into(),
                hangup: event[24] == 1,
            })
            .collect())
    }
}

/// A call that could wait but has no reason to, as one that cannot.
fn at_once(
    function: impl FnOnce(&mut WasiP1Ctx, &mut GuestMemory<'_>, &mut Patience) -> Result<(), Stop>,
) -> impl FnOnce(&mut WasiP1Ctx, &mut GuestMemory<'_>) -> Outcome {
    |ctx, memory| match function(ctx, memory, &mut Patience::blocking()) {
        Ok(()) => Ok(()),
        Err(Stop::Failed(errno)) => Err(errno),
        Err(Stop::Wait) => panic!("waits"),
    }
}

fn granted<'a>(temp: &TempDir, builder: &'a mut WasiCtxBuilder) -> &'a mut WasiCtxBuilder {
    builder
        .preopened_dir(temp.path(), "/", DirPerms::all(), FilePerms::all())
        .unwrap()
}

fn clock(userdata: u8, id: u8, timeout: u64, absolute: bool) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[0] = userdata;
    bytes[16] = id;
    bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
    bytes[40] = absolute.into();
    bytes
}

fn readable(userdata: u8, fd: u32) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[0] = userdata;
    bytes[8] = 1;
    bytes[16..20].copy_from_slice(&fd.to_le_bytes());
    bytes
}

fn writable(userdata: u8, fd: u32) -> [u8; 48] {
    let mut bytes = readable(userdata, fd);
    bytes[8] = 2;
    bytes
}

fn over(userdata: u64, event_type: EventType, outcome: Outcome<u64>) -> Event {
    Event {
        userdata,
        error: outcome.err(),
        event_type,
        bytes: outcome.unwrap_or(0),
        hangup: false,
    }
}
