//! Failures: what is printed and the process's exit code.

use cowling::{Error, Terminated, Trap, WasmBacktrace};
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Why the command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The guest ended itself with this code, which is not 0. Nothing is printed.
    Exit(u8),
    /// The guest was stopped: it trapped, or a host function that it called failed.
    Stopped(Error),
    /// A file is missing, unreadable or not what it should be, or does not fit its surroundings.
    Bad(Error),
    /// The command line makes no sense.
    Usage(String),
    /// Nobody reads our output any more.
    OutputClosed,
}

/// What a shell reports for a process that was aborted.
const ABORTED: u8 = 134;

impl Failure {
    /// Prints the failure to the standard error and says what to exit with.
    pub(crate) fn report(self) -> ExitCode {
        let (message, code) = match self {
            Failure::Exit(code) => return ExitCode::from(code),
            Failure::OutputClosed => return ExitCode::SUCCESS,
            Failure::Stopped(error) => (stopped(&error), ABORTED),
            Failure::Bad(error) => (format!("{error:#}"), 1),
            Failure::Usage(message) => (message, 2),
        };
        // A closed standard error leaves nobody to tell.
        let _ = writeln!(io::stderr().lock(), "error: {}", message.trim_end());
        ExitCode::from(code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Bad(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Bad(Error::from(error).context("cannot write to the standard output")),
        }
    }
}

const NO_DEBUG_INFO: &str =
    "there is no debug information to show files and lines with; most compilers add it with `-g`";

/// Are files and lines wanted, but there are none?
fn lacks_debug_info(backtrace: &WasmBacktrace) -> bool {
    let mut frames = backtrace.frames().iter();
    frames.all(|frame| {
        let knobs = frame.module().engine().config().knobs();
        knobs.wasm_backtrace_details.are_wanted() && frame.symbols().is_empty()
    })
}

/// The reason first, then where the guest was.
fn stopped(error: &Error) -> String {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let reason = match (
        error.downcast_ref::<Terminated>(),
        error.downcast_ref::<Trap>(),
    ) {
        (Some(why), _) => why.to_string(),
        (None, Some(trap)) => trap.to_string(),
        (None, None) => {
            let shown = backtrace.map(WasmBacktrace::to_string);
            let reasons: Vec<_> = error
                .chain()
                .map(|e| e.to_string())
                .filter(|text| Some(text) != shown.as_ref())
                .collect();
            reasons.join(": ")
        }
    };
    match backtrace {
        Some(backtrace) if lacks_debug_info(backtrace) => {
            format!("{reason}\n{backtrace}\nnote: {NO_DEBUG_INFO}")
        }
        Some(backtrace) => format!("{reason}\n{backtrace}"),
        None => reason,
    }
}
