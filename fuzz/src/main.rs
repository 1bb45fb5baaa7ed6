//! Runs random modules with Cowling and with other engines, and reports where they differ.
//!
//! ```text
//!   parent ── one thread for each worker: reads lines, notices silence and death
//!      └─ worker (a process) ── seed ──> generate ──> module ──> each engine: instantiate, call all exports
//!                                                                 └──> outcomes ──> compare
//! ```
//!
//! A module follows from its seed, and so do the arguments of all calls: a difference can be looked at again with `--seed`.
//! What is compared: whether the module is accepted; for each call its results, or what ended it; after each call all exported globals
//! and memories, and the sizes of all exported tables.

#![forbid(unsafe_code)]

mod compare;
mod engines;
mod generate;
mod outcome;
mod parent;
mod worker;

use anyhow::Result;
use clap::Parser;
use generate::Target;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Runs random modules with Cowling and with other engines, and reports where they differ.
///
/// Ends with 0 if there was no difference, with 1 if there was one, a crash or a hang, and with 2 if it could not run.
#[derive(Parser, Debug, Clone)]
#[command(version)]
pub struct Options {
    /// What modules may use.
    #[arg(long, value_enum, default_value = "3.0")]
    target: Target,
    /// For how long, as in `10m` or `90s`.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Runs the module of this seed only, and prints what every engine does.
    #[arg(long)]
    seed: Option<u64>,
    /// The first seed. Otherwise one that nobody has had before.
    #[arg(long)]
    first_seed: Option<u64>,
    /// How many modules at a time.
    #[arg(long)]
    jobs: Option<usize>,
    /// Where modules go that make a difference.
    #[arg(long, default_value = "failures")]
    failures: PathBuf,
    /// How long one module may take before it counts as a hang.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    hang: Duration,
    /// Works for another process of this program: runs modules from `--first-seed` on, and says so on its output.
    #[arg(long, hide = true)]
    worker: bool,
    /// A worker's distance from one seed to the next.
    #[arg(long, hide = true, default_value_t = 1)]
    step: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done: Result<bool> = if let Some(seed) = options.seed {
        worker::show(&options, seed)
    } else if options.worker {
        worker::run(&options).map(|()| true)
    } else {
        parent::run(&options)
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
