//! The options of `run`.

use super::shared::{Cache, Settings, Trust};
use super::{help, units};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(
    override_usage = "cowling run [OPTIONS] FILE [ARGS]...",
    after_help = help::RUN
)]
pub(crate) struct Run {
    /// Program to run (binary, text or compiled artifact, told apart by its content; `-` for the standard input), and its arguments
    #[arg(value_names = ["FILE", "ARGS"], required = true, num_args = 1.., trailing_var_arg = true)]
    pub(crate) program: Vec<OsString>,

    /// Calls this exported function with ARGS as its parameters and prints what it returns
    #[arg(long, value_name = "FUNCTION", help_heading = "What runs")]
    pub(crate) invoke: Option<String>,

    /// Provides the exports of a module for import under this module name (may be given several times; the order counts)
    #[arg(long, value_name = "NAME=FILE", help_heading = "What runs")]
    pub(crate) preload: Vec<OsString>,

    /// Lets functions that the program imports and nobody provides trap when they are called
    #[arg(
        long,
        conflicts_with = "unknown_imports_default",
        help_heading = "What runs"
    )]
    pub(crate) unknown_imports_trap: bool,

    /// Gives imports that nobody provides default values: functions return zeros
    #[arg(long, help_heading = "What runs")]
    pub(crate) unknown_imports_default: bool,

    /// Lets the program use a directory, which it sees as GUEST (default: as HOST); with `::ro`, only read what is in it
    #[arg(
        long = "dir",
        value_name = "HOST[::GUEST[::ro]]",
        help_heading = "What it sees"
    )]
    pub(crate) dirs: Vec<OsString>,

    /// Sets an environment variable of the program; without a value, passes on ours
    #[arg(
        long = "env",
        value_name = "NAME[=VALUE]",
        help_heading = "What it sees"
    )]
    pub(crate) env: Vec<OsString>,

    /// Passes on all of our environment variables; --env goes before them
    #[arg(long, help_heading = "What it sees")]
    pub(crate) inherit_env: bool,

    /// The program's own name, as its first argument (default: FILE)
    #[arg(long, value_name = "NAME", help_heading = "What it sees")]
    pub(crate) argv0: Option<OsString>,

    /// Makes runs repeatable: random numbers follow from SEED (default: 0), clocks move only when they are looked at, and arithmetic
    /// does not depend on the processor
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true, default_missing_value = "0", help_heading = "What it sees")]
    pub(crate) deterministic: Option<u64>,

    /// Stops the program when it takes longer: seconds, or with a unit (ms, s, m, h)
    #[arg(long, value_name = "TIME", value_parser = units::time, help_heading = "Limits")]
    pub(crate) timeout: Option<Duration>,

    /// Stops the program when it has executed this much: one unit for most operators (docs/fuel.md has the list), with K, M, G for
    /// thousands, millions and more
    #[arg(long, value_name = "UNITS", value_parser = units::count, help_heading = "Limits")]
    pub(crate) fuel: Option<u64>,

    /// Bytes that each of its memories may grow to (with K, M, G for powers of 1000, Ki, Mi, Gi of 1024)
    #[arg(long, value_name = "BYTES", value_parser = units::bytes, help_heading = "Limits")]
    pub(crate) max_memory: Option<usize>,

    /// Bytes of stack that its calls may take
    #[arg(long, value_name = "BYTES", value_parser = units::bytes, help_heading = "Limits")]
    pub(crate) max_stack: Option<usize>,

    /// Elements that each of its tables may grow to
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    pub(crate) max_table_elements: Option<usize>,

    /// Lets the program trap when a memory or table cannot grow, instead of telling it
    #[arg(long, help_heading = "Limits")]
    pub(crate) trap_on_grow_failure: bool,

    /// Writes a core dump to FILE if the program traps (docs/core-dumps.md)
    #[arg(long, value_name = "FILE", help_heading = "Looking at it")]
    pub(crate) coredump: Option<PathBuf>,

    /// Profiles it: `perfmap` and `jitdump` tell `perf record -k mono` about its code; `guest` and `guest=FILE` write a profile for
    /// Firefox Profiler (default: guest-profile.json)
    #[arg(long, value_name = "KIND", value_parser = profile, help_heading = "Looking at it")]
    pub(crate) profile: Option<Profile>,

    /// Says in the end what compiling, loading, instantiating and running took, and how much memory, on the standard error
    #[arg(long, value_name = "FORMAT", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "table", help_heading = "Looking at it")]
    pub(crate) stats: Option<StatsFormat>,

    #[command(flatten)]
    pub(crate) trust: Trust,

    /// Keeps each compiled function, too, and compiles of a module that has changed only what has
    #[arg(long, conflicts_with = "no_cache")]
    pub(crate) incremental: bool,

    #[command(flatten)]
    pub(crate) cache: Cache,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Who is told what the program spends its time on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// `perf`, by a map of addresses.
    PerfMap,
    /// `perf`, by a dump of the code.
    JitDump,
    /// Firefox Profiler, by a profile in this file.
    Guest(PathBuf),
}

fn profile(text: &str) -> Result<Profile, String> {
    match text.split_once('=') {
        None if text == "perfmap" => Ok(Profile::PerfMap),
        None if text == "jitdump" => Ok(Profile::JitDump),
        None if text == "guest" => Ok(Profile::Guest("guest-profile.json".into())),
        Some(("guest", file)) if !file.is_empty() => Ok(Profile::Guest(file.into())),
        _ => Err("expected perfmap, jitdump, guest or guest=FILE".to_string()),
    }
}

/// How statistics are printed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatsFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_profiles_are_told_apart() {
        let guest = |file: &str| Ok(Profile::Guest(file.into()));
        assert_eq!(profile("perfmap"), Ok(Profile::PerfMap));
        assert_eq!(profile("jitdump"), Ok(Profile::JitDump));
        assert_eq!(profile("guest"), guest("guest-profile.json"));
        assert_eq!(profile("guest=a=b"), guest("a=b"));
        for wrong in ["", "perf", "guest=", "perfmap=x"] {
            assert!(profile(wrong).is_err(), "{wrong}");
        }
    }
}
