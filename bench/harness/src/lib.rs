//! What the programs that measure engines have in common.
//!
//! ```text
//!   cowling-bench                                            cowling-bench-wasmer, or another cowling-bench
//!     cases of a table take turns:
//!       cowling   Run::sample  ─────── in this process
//!       wasmtime  Run::sample  ─────── in this process
//!       wasmer    a line with the budget ───────────────────> Run::sample
//!                 a line with the figures <──────────────────
//! ```
//!
//! A [`Job`] says what to measure, an [`Engine`] is one way of using one engine, and [`start`] makes a [`Run`] of the two, which
//! takes one sample after the other. [`serve`] does that for another process.
//!
//! | file | job |
//! |---|---|
//! | `job` | what can be measured, and what the processes tell each other |
//! | `engine` | what is needed of an engine, and how each job is done with it |
//! | `serve` | a process that measures for another one |
//! | `timing` | processor time, medians, repeating what is short |
//! | `resources` | memory and mappings of this process |
//! | `guests` | the guests that are measured |

mod engine;
pub mod guests;
mod job;
mod resources;
mod serve;
mod timing;

pub use engine::{Engine, Runs, start, timed_parts};
pub use job::{CallKind, Job, Reply, Subject};
pub use serve::serve;
pub use timing::{Run, median, repeated, timed};
