//! The tables of functions, and the way from a guest's call to a method of [`WasiP1Ctx`].
//!
//! ```text
//!   both versions:   memory, plain, ending        preview 1:  filestat_get ..., sock_accept
//!                    waiting (sync or async)      unstable:   the same, in its older layouts
//! ```

use anyhow::anyhow;
use cowling::{Caller, Extern, Linker, Memory, Result};

use super::abi::Errno;
use super::memory::GuestMemory;
use super::process::raise;
use super::{Stop, WasiP1Ctx};
use crate::exit::I32Exit;
use crate::host::patience::Patience;
use crate::host::waiting;

/// The module name guests import from.
const PREVIEW_1: &str = "wasi_snapshot_preview1";

/// The name that guests made before preview 1 import from.
const UNSTABLE: &str = "wasi_unstable";

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

/// The memory of the guest that called.
fn guest_memory<T: 'static>(
    caller: &mut Caller<'_, T>,
    module: &str,
    name: &str,
) -> Result<Memory> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        // What the guest passes would have to be copied first: others may change it after it was checked.
        Some(Extern::SharedMemory(_)) => Err(anyhow!(
            "`{module}`.`{name}` does not work with a shared memory, which the calling module exports as `memory`"
        )),
        _ => Err(anyhow!(
            "`{module}`.`{name}` needs the calling module to export its memory as `memory`"
        )),
    }
}

/// Defines functions by their wasm parameters, which a method takes in the same order. A name may be followed by that of the
/// method, if that is another.
macro_rules! define {
    (
        $linker:ident, $get:ident, $module:ident;
        $kind:ident { $($name:ident $(as $method:ident)? ($($param:ident: $type:ty),* $(,)?);)* }
    ) => {
        $(define!(@$kind $linker, $get, $module, $name, [$($method)? $name], $($param: $type),*);)*
    };
    // Uses the guest's memory.
    (@memory $linker:ident, $get:ident, $module:ident, $name:ident, [$method:ident $($rest:ident)?], $($param:ident: $type:ty),*) => {
        $linker.func_wrap(
            $module,
            stringify!($name),
            move |mut caller: Caller<'_, T>, $($param: $type),*| -> Result<i32> {
                let memory = guest_memory(&mut caller, $module, stringify!($name))?;
                let (bytes, data) = memory.data_and_store_mut(&mut caller);
                let outcome = $get(data).$method(&mut GuestMemory::new(bytes), $($param),*);
                Ok(number(stringify!($name), outcome))
            },
        )?;
    };
    // Uses no memory.
    (@plain $linker:ident, $get:ident, $module:ident, $name:ident, [$method:ident $($rest:ident)?], $($param:ident: $type:ty),*) => {
        $linker.func_wrap(
            $module,
            stringify!($name),
            move |mut caller: Caller<'_, T>, $($param: $type),*| -> i32 {
                number(stringify!($name), $get(caller.data_mut()).$method($($param),*))
            },
        )?;
    };
    // Uses the guest's memory and waits, blocking the thread a little at a time.
    (@blocking $linker:ident, $get:ident, $module:ident, $name:ident, [$method:ident $($rest:ident)?], $($param:ident: $type:ty),*) => {
        $linker.func_wrap(
            $module,
            stringify!($name),
            move |mut caller: Caller<'_, T>, $($param: $type),*| -> Result<i32> {
                let memory = guest_memory(&mut caller, $module, stringify!($name))?;
                let mut patience = Patience::blocking();
                loop {
                    let (bytes, data) = memory.data_and_store_mut(&mut caller);
                    let memory = &mut GuestMemory::new(bytes);
                    match $get(data).$method(memory, $($param,)* &mut patience) {
                        Ok(()) => return Ok(number(stringify!($name), Ok(()))),
                        Err(Stop::Failed(errno)) => {
                            return Ok(number(stringify!($name), Err(errno)));
                        }
                        Err(Stop::Wait) => caller.check_interruption()?,
                    }
                }
            },
        )?;
    };
    // The same, letting the executor run others.
    (@awaiting $linker:ident, $get:ident, $module:ident, $name:ident, [$method:ident $($rest:ident)?], $($param:ident: $type:ty),*) => {
        $linker.func_wrap_async(
            $module,
            stringify!($name),
            move |mut caller: Caller<'_, T>, ($($param,)*): ($($type,)*)| {
                Box::new(async move {
                    let memory = guest_memory(&mut caller, $module, stringify!($name))?;
                    let mut patience = Patience::noting();
                    loop {
                        let (bytes, data) = memory.data_and_store_mut(&mut caller);
                        let stop = {
                            let memory = &mut GuestMemory::new(bytes);
                            $get(data).$method(memory, $($param,)* &mut patience)
                        };
                        match stop {
                            Ok(()) => return Ok(number(stringify!($name), Ok(()))),
                            Err(Stop::Failed(errno)) => {
                                return Ok(number(stringify!($name), Err(errno)));
                            }
                            Err(Stop::Wait) => {
                                waiting::wait(&mut patience).await;
                                caller.check_interruption()?;
                            }
                        }
                    }
                })
            },
        )?;
    };
}

/// Defines what both versions have in common and never waits.
fn define_common<T: 'static>(
    linker: &mut Linker<T>,
    module: &'static str,
    get: impl Fn(&mut T) -> &mut WasiP1Ctx + Copy + Send + Sync + 'static,
) -> Result<()> {
    define! { linker, get, module; memory {
        args_get(pointers: u32, buffer: u32);
        args_sizes_get(count: u32, size: u32);
        environ_get(pointers: u32, buffer: u32);
        environ_sizes_get(count: u32, size: u32);
        clock_res_get(clock: u32, result: u32);
        clock_time_get(clock: u32, precision: u64, result: u32);
        fd_fdstat_get(fd: u32, result: u32);
        fd_pread(fd: u32, iovs: u32, iovs_len: u32, offset: u64, result: u32);
        fd_prestat_get(fd: u32, result: u32);
        fd_prestat_dir_name(fd: u32, buffer: u32, len: u32);
        fd_pwrite(fd: u32, iovs: u32, iovs_len: u32, offset: u64, result: u32);
        fd_readdir(fd: u32, buffer: u32, len: u32, cookie: u64, result: u32);
        fd_tell(fd: u32, result: u32);
        path_create_directory(fd: u32, path: u32, path_len: u32);
        path_filestat_set_times(
            fd: u32, flags: u32, path: u32, path_len: u32,
            accessed: u64, modified: u64, set_flags: u32,
        );
        path_link(
            old_fd: u32, old_flags: u32, old_path: u32, old_path_len: u32,
            new_fd: u32, new_path: u32, new_path_len: u32,
        );
        path_open(
            fd: u32, dir_flags: u32, path: u32, path_len: u32, open_flags: u32,
            base: u64, inheriting: u64, fd_flags: u32, result: u32,
        );
        path_readlink(fd: u32, path: u32, path_len: u32, buffer: u32, buffer_len: u32, result: u32);
        path_remove_directory(fd: u32, path: u32, path_len: u32);
        path_rename(
            old_fd: u32, old_path: u32, old_path_len: u32,
            new_fd: u32, new_path: u32, new_path_len: u32,
        );
        path_symlink(old_path: u32, old_path_len: u32, fd: u32, new_path: u32, new_path_len: u32);
        path_unlink_file(fd: u32, path: u32, path_len: u32);
    } }
    define! { linker, get, module; plain {
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
        sock_shutdown(fd: u32, how: u32);
    } }
    linker.func_wrap(module, "proc_exit", |code: i32| -> Result<()> {
        tracing::trace!(target: "cowling_wasi", "proc_exit: {code}");
        Err(I32Exit(code).into())
    })?;
    linker.func_wrap(module, "proc_raise", |signal: u32| -> Result<i32> {
        Ok(number("proc_raise", raise(signal)?))
    })?;
    Ok(())
}

/// Defines what is preview 1's own and never waits.
fn define_preview_1<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut WasiP1Ctx + Copy + Send + Sync + 'static,
) -> Result<()> {
    define_common(linker, PREVIEW_1, get)?;
    define! { linker, get, PREVIEW_1; memory {
        fd_filestat_get(fd: u32, result: u32);
        fd_seek(fd: u32, offset: u64, whence: u32, result: u32);
        path_filestat_get(fd: u32, flags: u32, path: u32, path_len: u32, result: u32);
    } }
    Ok(())
}

/// Defines what is the older version's own and never waits.
fn define_unstable<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut WasiP1Ctx + Copy + Send + Sync + 'static,
) -> Result<()> {
    define_common(linker, UNSTABLE, get)?;
    define! { linker, get, UNSTABLE; memory {
        fd_filestat_get as unstable_fd_filestat_get(fd: u32, result: u32);
        fd_seek as unstable_fd_seek(fd: u32, offset: u64, whence: u32, result: u32);
        path_filestat_get as unstable_path_filestat_get(
            fd: u32, flags: u32, path: u32, path_len: u32, result: u32,
        );
    } }
    Ok(())
}

/// Defines the functions that wait, of both versions, in one of two ways.
macro_rules! define_waiting {
    ($linker:ident, $get:ident, $kind:ident) => {
        define_waiting!(@common $linker, $get, $kind, PREVIEW_1);
        define_waiting!(@common $linker, $get, $kind, UNSTABLE);
        define! { $linker, $get, PREVIEW_1; $kind {
            poll_oneoff(subscriptions: u32, events: u32, count: u32, result: u32);
            sock_accept(fd: u32, flags: u32, result: u32);
        } }
        define! { $linker, $get, UNSTABLE; $kind {
            poll_oneoff as unstable_poll_oneoff(subscriptions: u32, events: u32, count: u32, result: u32);
        } }
    };
    (@common $linker:ident, $get:ident, $kind:ident, $module:ident) => {
        define! { $linker, $get, $module; $kind {
            fd_read(fd: u32, iovs: u32, iovs_len: u32, result: u32);
            fd_write(fd: u32, iovs: u32, iovs_len: u32, result: u32);
            random_get(buffer: u32, len: u32);
            sock_recv(fd: u32, iovs: u32, iovs_len: u32, flags: u32, result: u32, result_flags: u32);
            sock_send(fd: u32, iovs: u32, iovs_len: u32, flags: u32, result: u32);
        } }
    };
}

/// Defines all functions of `wasi_snapshot_preview1`, and of `wasi_unstable`, which was before it, in `linker`; `get` finds the
/// context in a store's data.
///
/// The guest must export its memory as `memory`. Calls that end the guest fail with [`I32Exit`].
///
/// A function that waits blocks the thread, but not against what is asked of the guest: it can be killed, its deadline ends it, and it
/// lets others run when it is preempted. It heeds that at once, or after 100 ms at most.
///
/// # Errors
///
/// When the linker already has one of the names and does not allow shadowing.
pub fn add_to_linker_sync<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut WasiP1Ctx + Copy + Send + Sync + 'static,
) -> Result<()> {
    define_preview_1(linker, get)?;
    define_unstable(linker, get)?;
    define_waiting!(linker, get, blocking);
    for module in [PREVIEW_1, UNSTABLE] {
        linker.func_wrap(
            module,
            "sched_yield",
            |mut caller: Caller<'_, T>| -> Result<i32> {
                std::thread::yield_now();
                caller.check_interruption()?;
                Ok(number("sched_yield", Ok(())))
            },
        )?;
    }
    Ok(())
}

/// [`add_to_linker_sync`] for guests that are called asynchronously: while a function waits, the executor runs others. Any executor
/// will do: descriptors and time are watched by a thread of the process's own.
///
/// While a function waits, nothing wakes the guest's task when it is killed or its deadline comes: it looks every 100 ms.
///
/// # Errors
///
/// When the linker already has one of the names and does not allow shadowing.
pub fn add_to_linker_async<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut WasiP1Ctx + Copy + Send + Sync + 'static,
) -> Result<()> {
    define_preview_1(linker, get)?;
    define_unstable(linker, get)?;
    define_waiting!(linker, get, awaiting);
    for module in [PREVIEW_1, UNSTABLE] {
        linker.func_wrap_async(module, "sched_yield", |_: Caller<'_, T>, (): ()| {
            Box::new(async {
                waiting::yield_now().await;
                number("sched_yield", Ok(()))
            })
        })?;
    }
    Ok(())
}
