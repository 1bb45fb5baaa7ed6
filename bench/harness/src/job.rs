//! What can be measured, and what the processes that measure tell each other.
//!
//! A process that measures for another one is started with the name of a way to use an engine, and a [`Job`] as JSON. It reads
//! lines, each the milliseconds that a sample may take, and answers each with a line that is a [`Reply`] as JSON. It ends when
//! there is nothing more to read.

use cowling_bench_wasi::Program;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One thing to measure. Modules are binaries, in files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Job {
    /// Nanoseconds for making a guest, calling it and dropping it.
    Create(Subject),
    /// Nanoseconds between one guest and the next, when so many threads make, call and drop them.
    Threads { subject: Subject, threads: usize },
    /// Nanoseconds for a call between the guests [`CALLS`](crate::guests::CALLS), another one that exports `id`, and the host.
    Call {
        kind: CallKind,
        module: PathBuf,
        other: PathBuf,
    },
    /// Bytes in memory and of page tables for each guest, and mappings for all, when so many that were called are alive. Needs a
    /// process of its own.
    Density { subject: Subject, guests: usize },
    /// Nanoseconds from the file of a compiled module to the return of a guest's first function, and its end.
    Load { subject: Subject, artifact: PathBuf },
    /// Nanoseconds for compiling, bytes of memory that this takes at most, and bytes of the artifact. Needs a process of its own.
    Compile { module: PathBuf },
    /// Nanoseconds that the timed part of a program takes; a sample is a run.
    Program(Program),
}

/// Guests that are made, and what they do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subject {
    pub module: PathBuf,
    /// The exported function from number to number that is called; none if it is not to run.
    pub call: Option<String>,
    /// Bytes that its memory has at most.
    pub memory: usize,
}

/// Who calls whom.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallKind {
    /// The host calls a guest through a function that knows its type.
    Typed,
    /// The host calls a guest with values that carry their types.
    Dynamic,
    /// A guest calls a host function that returns its argument.
    Host,
    /// A guest calls a host function that reads and writes a byte of the guest's memory.
    HostMemory,
    /// A guest calls another instance's function through a table.
    Indirect,
}

/// What became of a sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// A figure for each quantity.
    Figures(Vec<f64>),
    /// Why there is none, and will not be any.
    Failed(String),
}

impl Job {
    /// Must nothing else have happened in the process that does it?
    pub fn needs_fresh_process(&self) -> bool {
        matches!(self, Job::Density { .. } | Job::Compile { .. })
    }

    /// How many guests are alive at a time.
    pub fn guests(&self) -> usize {
        match self {
            Job::Threads { threads, .. } => *threads,
            Job::Density { guests, .. } => guests + 1,
            Job::Call { .. } => 2,
            Job::Create(_) | Job::Load { .. } | Job::Compile { .. } | Job::Program(_) => 1,
        }
    }

    /// Bytes that the memory of each has at most.
    pub fn memory(&self) -> usize {
        match self {
            Job::Create(subject)
            | Job::Threads { subject, .. }
            | Job::Density { subject, .. }
            | Job::Load { subject, .. } => subject.memory,
            Job::Call { .. } | Job::Compile { .. } | Job::Program(_) => 1 << 20,
        }
    }
}
