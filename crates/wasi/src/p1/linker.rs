//! The table of functions, and the way from a guest's call to a method of [`WasiP1Ctx`].

use anyhow::anyhow;
use cowling::{Caller, Extern, Linker, Result};

use super::WasiP1Ctx;
use super::abi::Errno;
use super::memory::GuestMemory;
use super::process::raise;
use crate::exit::I32Exit;

/// The module name guests import from.
const MODULE: &str = "wasi_snapshot_preview1";

/// What a call came to, as its result says it.
fn number(name: &str, outcome: Result<(), Errno>) -> i32 {
    match outcome {
        Ok(()) => {
            tracing::trace!(target: "cowling_wasi", "{name}: success");
            0
        }
        Err(errno) => {
            tracing::trace!(target: "cowling_wasi", "{name}: {errno:?}");
            errno as i32
        }
    }
}

/// Calls `function` with the context and the memory of the guest that called.
fn with_memory<T: 'static>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiP1Ctx,
    name: &str,
    function: impl FnOnce(&mut WasiP1Ctx, &mut GuestMemory<'_>) -> Result<(), Errno>,
) -> Result<i32> {
    let memory = match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => memory,
        // What the guest passes would have to be copied first: others may change it after it was checked.
        Some(Extern::SharedMemory(_)) => {
            return Err(anyhow!(
                "`{MODULE}`.`{name}` does not work with a shared memory, which the calling module exports as `memory`"
            ));
        }
        _ => {
            return Err(anyhow!(
                "`{MODULE}`.`{name}` needs the calling module to export its memory as `memory`"
            ));
        }
    };
    let (bytes, data) = memory.data_and_store_mut(caller);
    Ok(number(
        name,
        function(get(data), &mut GuestMemory::new(bytes)),
    ))
}

/// Defines each function by its wasm parameters, which its method of the same name takes in the same order.
macro_rules! functions {
    (
        $linker:ident, $get:ident;
        memory { $($name:ident($($param:ident: $type:ty),*);)* }
        plain { $($plain:ident($($plain_param:ident: $plain_type:ty),*);)* }
    ) => {
        $($linker.func_wrap(
            MODULE,
            stringify!($name),
            move |mut caller: Caller<'_, T>, $($param: $type),*| -> Result<i32> {
                with_memory(&mut caller, $get, stringify!($name), |ctx, memory| {
                    ctx.$name(memory, $($param),*)
                })
            },
        )?;)*
        $($linker.func_wrap(
            MODULE,
            stringify!($plain),
            move |mut caller: Caller<'_, T>, $($plain_param: $plain_type),*| -> i32 {
                let ctx = $get(caller.data_mut());
                number(stringify!($plain), ctx.$plain($($plain_param),*))
            },
        )?;)*
    };
}

/// Defines all functions of `wasi_snapshot_preview1` in `linker`; `get` finds the context in a store's data.
///
/// The guest must export its memory as `memory`. Calls that end the guest fail with [`I32Exit`].
///
/// # Errors
///
/// When the linker already has one of the names and does not allow shadowing.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut WasiP1Ctx + Copy + Send + Sync + 'static,
) -> Result<()> {
    functions! {
        linker, get;
        memory {
            args_get(pointers: u32, buffer: u32);
            args_sizes_get(count: u32, size: u32);
            environ_get(pointers: u32, buffer: u32);
            environ_sizes_get(count: u32, size: u32);
            clock_res_get(clock: u32, result: u32);
            clock_time_get(clock: u32, precision: u64, result: u32);
            fd_fdstat_get(fd: u32, result: u32);
            fd_filestat_get(fd: u32, result: u32);
            fd_pread(fd: u32, iovs: u32, iovs_len: u32, offset: u64, result: u32);
            fd_prestat_get(fd: u32, result: u32);
            fd_prestat_dir_name(fd: u32, buffer: u32, len: u32);
            fd_pwrite(fd: u32, iovs: u32, iovs_len: u32, offset: u64, result: u32);
            fd_read(fd: u32, iovs: u32, iovs_len: u32, result: u32);
            fd_readdir(fd: u32, buffer: u32, len: u32, cookie: u64, result: u32);
            fd_seek(fd: u32, offset: u64, whence: u32, result: u32);
            fd_tell(fd: u32, result: u32);
            fd_write(fd: u32, iovs: u32, iovs_len: u32, result: u32);
            path_create_directory(fd: u32, path: u32, path_len: u32);
            path_filestat_get(fd: u32, flags: u32, path: u32, path_len: u32, result: u32);
            path_filestat_set_times(
                fd: u32, flags: u32, path: u32, path_len: u32,
                accessed: u64, modified: u64, set_flags: u32
            );
            path_link(
                old_fd: u32, old_flags: u32, old_path: u32, old_path_len: u32,
                new_fd: u32, new_path: u32, new_path_len: u32
            );
            path_open(
                fd: u32, dir_flags: u32, path: u32, path_len: u32, open_flags: u32,
                base: u64, inheriting: u64, fd_flags: u32, result: u32
            );
            path_readlink(
                fd: u32, path: u32, path_len: u32, buffer: u32, buffer_len: u32, result: u32
            );
            path_remove_directory(fd: u32, path: u32, path_len: u32);
            path_rename(
                old_fd: u32, old_path: u32, old_path_len: u32,
                new_fd: u32, new_path: u32, new_path_len: u32
            );
            path_symlink(
                old_path: u32, old_path_len: u32, fd: u32, new_path: u32, new_path_len: u32
            );
            path_unlink_file(fd: u32, path: u32, path_len: u32);
            poll_oneoff(subscriptions: u32, events: u32, count: u32, result: u32);
            random_get(buffer: u32, len: u32);
            sock_accept(fd: u32, flags: u32, result: u32);
            sock_recv(
                fd: u32, iovs: u32, iovs_len: u32, flags: u32, result: u32, result_flags: u32
            );
            sock_send(fd: u32, iovs: u32, iovs_len: u32, flags: u32, result: u32);
        }
        plain {
            fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
            fd_allocate(fd: u32, offset: u64, len: u64);
            fd_close(fd: u32);
            fd_datasync(fd: u32);
            fd_fdstat_set_flags(fd: u32, flags: u32);
            fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
            fd_filestat_set_size(fd: u32, size: u64);
            fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, flags: u32);
            fd_renumber(fd: u32, to: u32);
            fd_sync(fd: u32);
            sched_yield();
            sock_shutdown(fd: u32, how: u32);
        }
    }
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> Result<()> {
        tracing::trace!(target: "cowling_wasi", "proc_exit: {code}");
        Err(I32Exit(code).into())
    })?;
    linker.func_wrap(MODULE, "proc_raise", |signal: u32| -> Result<i32> {
        Ok(number("proc_raise", raise(signal)?))
    })?;
    Ok(())
}
