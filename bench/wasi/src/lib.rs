//! As much of WASI preview 1 as programs that are measured need, for any engine.
//!
//! All engines run a program against the same host code, so that a difference in time is a difference between engines. A program
//! has one folder, its working directory, whose files it can read; what it writes to its standard streams is kept; its random
//! numbers are always the same. Its time is that from `bench.start` to `bench.end`.
//!
//! | module | what it is for |
//! |---|---|
//! | `world` | [`World`], all that one run of a program can reach, and its [`Outcome`] |
//! | `program` | [`Program`], what is run, and the check that all engines print the same |
//! | `files` | what a program's descriptors stand for |
//! | `calls` | the functions a program can import |
//! | `memory` | [`GuestMemory`], what is needed of an engine's memory; numbers and lists in it |
//!
//! An engine goes through a module's imports, looks each up with [`function`], and defines for it a host function that hands its
//! arguments to [`Function::call`].
#![forbid(unsafe_code)]

mod calls;
mod files;
mod memory;
mod program;
mod world;

pub use calls::{Function, function};
pub use memory::GuestMemory;
pub use program::Program;
pub use world::{Exit, Outcome, World};

/// What a function of WASI answers if it fails; the numbers are WASI's.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Errno {
    BadFile = 8,
    Fault = 21,
    Invalid = 28,
    Io = 29,
    IsDirectory = 31,
    NoEntry = 44,
    NoFunction = 52,
    NotDirectory = 54,
    ReadOnly = 69,
    NoSeek = 70,
    NotCapable = 76,
}
