//! The `cowling` command: runs, compiles, validates, inspects and tests WebAssembly programs.
//!
//! | file | what it does |
//! |---|---|
//! | `args` | the command line and its help |
//! | `config_file` | the configuration file |
//! | `commands` | what each subcommand does |
//! | `source` | files given by the user: what they are, and modules from them |
//! | `locate` | offsets in a binary as sections and functions |
//! | `invoke` | calling one exported function with values from the command line |
//! | `wasi`, `host` | the guest's arguments, environment and directories; what its store has |
//! | `code` | machine code as text |
//! | `stats` | what compiling, loading, instantiating and running took |
//! | `progress` | a bar on the terminal while a large module compiles |
//! | `report`, `advice`, `suggest` | failures: what is printed, what to do about it, and the process's exit code |

#![forbid(unsafe_code)]

mod advice;
mod args;
mod code;
mod commands;
mod config_file;
mod host;
mod invoke;
mod locate;
mod progress;
mod report;
mod source;
mod stats;
mod suggest;
mod wasi;

use clap::Parser as _;
use report::Failure;
use stats::SpanTimes;
use std::process::ExitCode;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

fn main() -> ExitCode {
    let cli = args::Cli::parse_from(args::with_default_command(std::env::args_os()));
    let times = match &cli.command {
        args::Command::Run(run) if run.stats.is_some() => Some(SpanTimes::default()),
        _ => None,
    };
    match start_log(times.clone()).and_then(|()| commands::run(cli.command, times.as_ref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Sends log lines to the standard error when `COWLING_LOG` says which, and spans to `times`.
fn start_log(times: Option<SpanTimes>) -> Result<(), Failure> {
    const VARIABLE: &str = "COWLING_LOG";
    let log = match std::env::var_os(VARIABLE) {
        None => None,
        Some(_) => {
            let filter = EnvFilter::try_from_env(VARIABLE).map_err(|e| {
                Failure::Usage(format!(
                    "{VARIABLE} is not a log filter such as `debug` or `cowling=trace`: {e}"
                ))
            })?;
            let lines = fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(report::in_colour(&std::io::stderr()));
            Some(lines.with_filter(filter))
        }
    };
    if log.is_some() || times.is_some() {
        tracing_subscriber::registry().with(log).with(times).init();
    }
    Ok(())
}
