//! The `cowling` command: runs, compiles, validates, inspects and tests WebAssembly programs.
//!
//! | file | what it does |
//! |---|---|
//! | `args` | the command line and its help |
//! | `commands` | what each subcommand does |
//! | `source` | files given by the user: what they are, and modules from them |
//! | `invoke` | calling one exported function with values from the command line |
//! | `wasi` | the guest's arguments, environment and directories |
//! | `progress` | a bar on the terminal while a large module compiles |
//! | `report` | failures: what is printed and the process's exit code |

#![forbid(unsafe_code)]

mod args;
mod commands;
mod invoke;
mod progress;
mod report;
mod source;
mod wasi;

use clap::Parser;
use report::Failure;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = args::Cli::parse_from(args::with_default_command(std::env::args_os()));
    match start_log().and_then(|()| commands::run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Sends log lines to the standard error when `COWLING_LOG` says which.
fn start_log() -> Result<(), Failure> {
    const VARIABLE: &str = "COWLING_LOG";
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(());
    }
    let filter = EnvFilter::try_from_env(VARIABLE).map_err(|e| {
        Failure::Usage(format!(
            "{VARIABLE} is not a log filter such as `debug` or `cowling=trace`: {e}"
        ))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}
