//! WASI preview 1: all 46 functions of `wasi_snapshot_preview1`.
//!
//! [`add_to_linker_sync`] (or [`add_to_linker_async`]) defines them for a store whose data holds a [`WasiP1Ctx`], which
//! [`WasiCtxBuilder::build_p1`](crate::WasiCtxBuilder::build_p1) makes.
//!
//! | file | what it is for |
//! |---|---|
//! | `linker` | the table of functions: wasm signatures, and the way from a call to a method below |
//! | `memory` | checked access to the guest's memory |
//! | `abi` | numbers and layouts |
//! | `descriptor` | what a descriptor stands for, and its rights |
//! | `process` | arguments, environment, clocks, random, ending |
//! | `unstable` | what was different in `wasi_unstable` |
//! | `fd`, `path`, `socket`, `poll` | the functions of those names, as methods of [`WasiP1Ctx`] |
//!
//! Where the contract leaves room:
//!
//! * Paths and other strings from the guest must be UTF-8 (`EILSEQ`). Names the host's directories hold are listed byte by byte.
//! * `path_open` opens for reading and writing as `FD_READ` and `FD_WRITE` ask. Every other right that the kind of object can
//!   have is given, whether asked for or not: programs in use count on it. `fd_fdstat_set_rights` takes rights away for good, also from what is opened
//!   later.
//! * The CPU-time clocks tell the monotonic time since the context was built: a guest has no process of its own whose
//!   time could be told, and should not learn the host's.
//! * An array of more than 16384 buffers, be they empty, is `EINVAL`, and so are more subscriptions.
//! * A socket that is accepted has the rights of the one it comes from.
//! * `proc_raise` does what the signal does to a process that does not handle it.

mod abi;
mod descriptor;
mod fd;
mod linker;
mod memory;
mod path;
mod poll;
mod process;
mod socket;
mod unstable;

#[cfg(test)]
mod tests;

pub use linker::{add_to_linker_async, add_to_linker_sync};

use abi::{Errno, Rights};
use descriptor::Descriptor;

use crate::builder::Parts;
use crate::host::clocks::Clocks;
use crate::host::dir::Directory;
use crate::host::random::RandomSource;
use crate::host::table::Table;
use process::Strings;

/// Everything one guest can reach through preview 1: its arguments, clocks, streams and descriptors.
pub struct WasiP1Ctx {
    args: Strings,
    env: Strings,
    clocks: Clocks,
    /// The monotonic time at which this was built.
    start: u64,
    random: Box<dyn RandomSource>,
    table: Table<Descriptor>,
}

/// Why an attempt at a call that may wait did not finish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The call failed.
    Failed(Errno),
    /// It is to be made again, with the same [`Patience`](crate::host::patience::Patience): something that it waits for has
    /// not happened yet, or has only just, or it takes long and others are to have their turn.
    Wait,
}

impl<E: Into<Errno>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(error.into())
    }
}

impl std::fmt::Debug for WasiP1Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasiP1Ctx").finish_non_exhaustive()
    }
}

impl WasiP1Ctx {
    /// Lays out the descriptors: the three streams, then directories, then sockets. Guests look for directories from 3
    /// on, until the first number that has none.
    pub(crate) fn new(parts: Parts) -> Self {
        let streams = [
            Descriptor::input(parts.stdin),
            Descriptor::output(parts.stdout),
            Descriptor::output(parts.stderr),
        ];
        let directories = parts
            .preopens
            .into_iter()
            .map(|(name, directory)| Descriptor::preopen(name, directory));
        let sockets = parts.sockets.into_iter().map(Descriptor::socket);
        let granted = streams.into_iter().chain(directories).chain(sockets);
        let table = Table::new(granted.collect(), parts.max_descriptors);
        WasiP1Ctx {
            args: Strings::new(parts.args),
            env: Strings::new(parts.env),
            start: parts.clocks.monotonic.now(),
            clocks: parts.clocks,
            random: parts.random,
            table,
        }
    }

    /// The directory under `fd`, with `rights`.
    fn directory(&self, fd: u32, rights: Rights) -> Result<&Directory, Errno> {
        self.table.get(fd)?.directory(rights)
    }
}
