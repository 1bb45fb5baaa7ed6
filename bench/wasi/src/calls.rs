//! The functions that a program can import: WASI preview 1's, and those that mark the timed part.

use crate::files::{Kind, Open};
use crate::world::{Exit, World};
use crate::{Errno, GuestMemory};
use rustix::time::{ClockId, clock_getres, clock_gettime};

/// A function that a program can import.
#[derive(Copy, Clone, Debug)]
pub struct Function(Body);

type Body = fn(&mut World, Memory<'_, '_>, Arguments<'_>) -> Result<(), Errno>;
type Memory<'a, 'm> = &'a mut (dyn GuestMemory + 'm);

/// The function `name` of `module`. WASI's functions that are not needed exist as well and say that they do not work; `None` is what
/// neither WASI nor this crate knows.
pub fn function(module: &str, name: &str) -> Option<Function> {
    let body = match (module, name) {
        ("bench", "start") => start,
        ("bench", "end") => end,
        ("wasi_snapshot_preview1" | "wasi_unstable", name) => wasi(name),
        _ => return None,
    };
    Some(Function(body))
}

fn wasi(name: &str) -> Body {
    match name {
        "args_get" => args_get,
        "args_sizes_get" => args_sizes_get,
        "clock_res_get" => clock_res_get,
        "clock_time_get" => clock_time_get,
        "environ_get" | "sched_yield" | "fd_advise" | "fd_datasync" | "fd_sync" => nothing,
        "environ_sizes_get" => environ_sizes_get,
        "fd_close" => fd_close,
        "fd_fdstat_get" => fd_fdstat_get,
        "fd_fdstat_set_flags" => nothing,
        "fd_filestat_get" => fd_filestat_get,
        "fd_pread" => fd_pread,
        "fd_prestat_dir_name" => fd_prestat_dir_name,
        "fd_prestat_get" => fd_prestat_get,
        "fd_read" => fd_read,
        "fd_seek" => fd_seek,
        "fd_tell" => fd_tell,
        "fd_write" => fd_write,
        "path_filestat_get" => path_filestat_get,
        "path_open" => path_open,
        "proc_exit" => proc_exit,
        "random_get" => random_get,
        _ => missing,
    }
}

impl Function {
    /// Calls it, with arguments that were zero-extended to 64 bits. Returns the result, for those functions that have one.
    ///
    /// # Errors
    ///
    /// That the program asked to end.
    pub fn call(
        self,
        world: &mut World,
        memory: &mut dyn GuestMemory,
        arguments: &[u64],
    ) -> Result<i32, Exit> {
        let result = (self.0)(world, memory, Arguments(arguments));
        match (world.exited(), result) {
            (Some(exit), _) => Err(exit),
            (None, Ok(())) => Ok(0),
            (None, Err(errno)) => Ok(errno as i32),
        }
    }
}

/// What a function was called with. A program can import a function with fewer parameters than it has.
#[derive(Copy, Clone)]
struct Arguments<'a>(&'a [u64]);

impl Arguments<'_> {
    fn u64(self, index: usize) -> Result<u64, Errno> {
        self.0.get(index).copied().ok_or(Errno::Invalid)
    }

    /// The first `N`, as numbers of 32 bits.
    fn u32s<const N: usize>(self) -> Result<[u32; N], Errno> {
        let first = self.0.first_chunk::<N>().ok_or(Errno::Invalid)?;
        Ok(first.map(|argument| argument as u32))
    }
}

fn start(world: &mut World, _: Memory<'_, '_>, _: Arguments<'_>) -> Result<(), Errno> {
    world.start_timer();
    Ok(())
}

fn end(world: &mut World, _: Memory<'_, '_>, _: Arguments<'_>) -> Result<(), Errno> {
    world.stop_timer();
    Ok(())
}

fn nothing(_: &mut World, _: Memory<'_, '_>, _: Arguments<'_>) -> Result<(), Errno> {
    Ok(())
}

fn missing(_: &mut World, _: Memory<'_, '_>, _: Arguments<'_>) -> Result<(), Errno> {
    Err(Errno::NoFunction)
}

fn args_sizes_get(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [count, size] = arguments.u32s()?;
    memory.write_u32(count, world.arguments.len() as u32)?;
    memory.write_u32(
        size,
        world.arguments.iter().map(Vec::len).sum::<usize>() as u32,
    )
}

fn args_get(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [mut pointer, mut text] = arguments.u32s()?;
    for argument in &world.arguments {
        memory.write_u32(pointer, text)?;
        memory.write(text, argument)?;
        pointer = pointer.wrapping_add(4);
        text = text.wrapping_add(argument.len() as u32);
    }
    Ok(())
}

fn environ_sizes_get(
    _: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [count, size] = arguments.u32s()?;
    memory.write_u32(count, 0)?;
    memory.write_u32(size, 0)
}

fn clock(number: u32) -> Result<ClockId, Errno> {
    match number {
        0 => Ok(ClockId::Realtime),
        1 => Ok(ClockId::Monotonic),
        2 => Ok(ClockId::ProcessCPUTime),
        3 => Ok(ClockId::ThreadCPUTime),
        _ => Err(Errno::Invalid),
    }
}

fn clock_res_get(
    _: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [number, result] = arguments.u32s()?;
    memory.write_u64(result, clock_getres(clock(number)?).tv_nsec as u64)
}

fn clock_time_get(
    _: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [number, _precision, result] = arguments.u32s()?;
    let now = clock_gettime(clock(number)?);
    memory.write_u64(
        result,
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64,
    )
}

fn fd_close(world: &mut World, _: Memory<'_, '_>, arguments: Arguments<'_>) -> Result<(), Errno> {
    let [descriptor] = arguments.u32s()?;
    world.files.close(descriptor)
}

fn fd_fdstat_get(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    const ALL: u64 = 0x3fff_ffff;
    let [descriptor, result] = arguments.u32s()?;
    let mut record = [0; 24];
    record[0] = world.files.get(descriptor)?.kind().number;
    // Every right there is, for all: a device that cannot seek would be taken for a terminal, and written to line by line.
    record[8..16].copy_from_slice(&ALL.to_le_bytes());
    record[16..24].copy_from_slice(&ALL.to_le_bytes());
    memory.write(result, &record)
}

fn write_filestat(memory: Memory<'_, '_>, result: u32, kind: Kind) -> Result<(), Errno> {
    let mut record = [0; 64];
    record[16] = kind.number;
    record[24] = 1;
    record[32..40].copy_from_slice(&kind.size.to_le_bytes());
    memory.write(result, &record)
}

fn fd_filestat_get(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [descriptor, result] = arguments.u32s()?;
    write_filestat(memory, result, world.files.get(descriptor)?.kind())
}

fn path_filestat_get(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [folder, _flags, path, length, result] = arguments.u32s()?;
    let path = memory.bytes(path, length)?;
    write_filestat(memory, result, world.files.kind_at(folder, &path)?)
}

/// The name of the folder. A program's library takes `.` for the working directory.
const FOLDER_NAME: &[u8] = b".";

fn fd_prestat_get(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [descriptor, result] = arguments.u32s()?;
    if !world.files.is_given(descriptor) {
        return Err(Errno::BadFile);
    }
    memory.write_u32(result, 0)?;
    memory.write_u32(result.wrapping_add(4), FOLDER_NAME.len() as u32)
}

fn fd_prestat_dir_name(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [descriptor, to, length] = arguments.u32s()?;
    if !world.files.is_given(descriptor) {
        return Err(Errno::BadFile);
    }
    memory.write(to, &FOLDER_NAME[..FOLDER_NAME.len().min(length as usize)])
}

fn path_open(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    const CREATE_OR_TRUNCATE: u32 = 1 | 8;
    let [folder, _follow, path, length, how] = arguments.u32s()?;
    let result = arguments.u64(8)? as u32;
    if how & CREATE_OR_TRUNCATE != 0 {
        return Err(Errno::ReadOnly);
    }
    let path = memory.bytes(path, length)?;
    let descriptor = world.files.open(folder, &path)?;
    memory.write_u32(result, descriptor)
}

/// Fills the list of buffers with what a file has, and notes how much that was.
fn read(
    world: &mut World,
    memory: Memory<'_, '_>,
    [descriptor, list, count]: [u32; 3],
    mut from: Option<u64>,
    result: u32,
) -> Result<(), Errno> {
    let mut total = 0_u32;
    for (address, length) in memory.buffers(list, count)? {
        let bytes = world.files.read(descriptor, length, from)?;
        memory.write(address, bytes)?;
        total = total.saturating_add(bytes.len() as u32);
        from = from.map(|from| from + bytes.len() as u64);
    }
    memory.write_u32(result, total)
}

fn fd_read(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [descriptor, list, count, result] = arguments.u32s()?;
    read(world, memory, [descriptor, list, count], None, result)
}

fn fd_pread(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let result = arguments.u64(4)? as u32;
    let from = Some(arguments.u64(3)?);
    read(world, memory, arguments.u32s()?, from, result)
}

fn fd_write(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [descriptor, list, count, result] = arguments.u32s()?;
    let mut total = 0_u32;
    for (address, length) in memory.buffers(list, count)? {
        let bytes = memory.bytes(address, length)?;
        world.files.write(descriptor, &bytes)?;
        total = total.saturating_add(length);
    }
    memory.write_u32(result, total)
}

fn fd_seek(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [descriptor] = arguments.u32s()?;
    let offset = arguments.u64(1)?.cast_signed();
    let (whence, result) = (arguments.u64(2)?, arguments.u64(3)? as u32);
    let Open::File { bytes, at } = world.files.get(descriptor)? else {
        return Err(Errno::NoSeek);
    };
    let base = match whence {
        0 => 0,
        1 => *at,
        2 => bytes.len() as u64,
        _ => return Err(Errno::Invalid),
    };
    *at = base.checked_add_signed(offset).ok_or(Errno::Invalid)?;
    memory.write_u64(result, *at)
}

fn fd_tell(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [descriptor, result] = arguments.u32s()?;
    match world.files.get(descriptor)? {
        Open::File { at, .. } => memory.write_u64(result, *at),
        _ => Err(Errno::NoSeek),
    }
}

fn proc_exit(world: &mut World, _: Memory<'_, '_>, arguments: Arguments<'_>) -> Result<(), Errno> {
    let [code] = arguments.u32s()?;
    world.exit(code.cast_signed());
    Ok(())
}

/// Numbers that are the same in every run, by SplitMix64.
fn random_get(
    world: &mut World,
    memory: Memory<'_, '_>,
    arguments: Arguments<'_>,
) -> Result<(), Errno> {
    let [mut to, mut left] = arguments.u32s()?;
    while left > 0 {
        world.random = world.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = world.random;
        number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bytes = (number ^ number >> 31).to_le_bytes();
        let count = left.min(8);
        memory.write(to, &bytes[..count as usize])?;
        to = to.wrapping_add(count);
        left -= count;
    }
    Ok(())
}
