//! Failures: what is printed and the process's exit code.

use crate::advice;
use cowling::{Error, Terminated, Trap, WasmBacktrace};
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Why the command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The guest ended itself with this code, which is not 0. Nothing is printed.
    Exit(u8),
    /// The guest was stopped: it trapped, or a host function that it called failed, or somebody stopped it.
    Stopped(Error),
    /// A file is missing, unreadable or not what it should be, or does not fit its surroundings.
    Bad(Error),
    /// The same, of a program that was to be run.
    CannotRun(Error),
    /// There is no such program.
    NotFound(Error),
    /// The command line, the configuration or a setting makes no sense.
    Usage(String),
    /// Nobody reads our output any more.
    OutputClosed,
    /// One of the others, and what else is worth knowing.
    Noted(Box<Failure>, Vec<String>),
}

/// Exit codes. The first five are those of shells, and of commands that run others, as `timeout` and `env` do.
mod code {
    pub(super) const TIMED_OUT: u8 = 124;
    pub(super) const CANNOT_RUN: u8 = 126;
    pub(super) const NOT_FOUND: u8 = 127;
    /// 128 and the number of SIGINT.
    pub(super) const INTERRUPTED: u8 = 130;
    /// 128 and the number of SIGABRT.
    pub(super) const ABORTED: u8 = 134;
    pub(super) const FAILED: u8 = 1;
    pub(super) const USAGE: u8 = 2;
}

impl Failure {
    /// What is wrong with a file, when that was the program to run.
    pub(crate) fn of_program(self) -> Failure {
        match self {
            Failure::Bad(error) => match error.downcast_ref::<crate::source::NotFound>() {
                Some(_) => Failure::NotFound(error),
                None => Failure::CannotRun(error),
            },
            Failure::Noted(failure, notes) => Failure::Noted(Box::new(failure.of_program()), notes),
            other => other,
        }
    }

    /// Prints the failure to the standard error and says what to exit with.
    pub(crate) fn report(self) -> ExitCode {
        let (code, silent) = self.code();
        if !silent {
            print_line("error", RED, &self.to_string());
            if let Some(advice) = self.advice() {
                print_line("help", CYAN, &advice);
            }
        }
        if let Failure::Noted(_, notes) = &self {
            notes.iter().for_each(|text| note(text));
        }
        ExitCode::from(code)
    }

    /// What to exit with, and whether nothing is to be said.
    fn code(&self) -> (u8, bool) {
        match self {
            Failure::Noted(failure, _) => failure.code(),
            Failure::Exit(code) => (*code, true),
            Failure::OutputClosed => (0, true),
            Failure::Stopped(error) => match error.downcast_ref() {
                // Whoever pressed Ctrl-C knows.
                Some(Terminated::Remote) => (code::INTERRUPTED, true),
                Some(Terminated::Deadline) => (code::TIMED_OUT, false),
                _ => (code::ABORTED, false),
            },
            Failure::Bad(_) => (code::FAILED, false),
            Failure::CannotRun(_) => (code::CANNOT_RUN, false),
            Failure::NotFound(_) => (code::NOT_FOUND, false),
            Failure::Usage(_) => (code::USAGE, false),
        }
    }

    /// What can be done about it.
    fn advice(&self) -> Option<String> {
        match self {
            Failure::Noted(failure, _) => failure.advice(),
            Failure::Stopped(error) => advice::stopped(error),
            Failure::Bad(error) | Failure::CannotRun(error) | Failure::NotFound(error) => {
                advice::bad(error)
            }
            Failure::Exit(_) | Failure::OutputClosed | Failure::Usage(_) => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Exit(code) => write!(f, "exited with code {code}"),
            Failure::OutputClosed => f.write_str("nobody reads the output any more"),
            Failure::Noted(failure, _) => failure.fmt(f),
            Failure::Stopped(error) => f.write_str(stopped(error).trim_end()),
            Failure::Bad(error) | Failure::CannotRun(error) | Failure::NotFound(error) => {
                f.write_str(format!("{error:#}").trim_end())
            }
            Failure::Usage(message) => f.write_str(message.trim_end()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let closed = error
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        match closed {
            true => Failure::OutputClosed,
            false => Failure::Bad(error),
        }
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

const RED: &str = "\x1b[1;31m";
const CYAN: &str = "\x1b[1;36m";

/// Are colours wanted there?
pub(crate) fn in_colour(stream: &impl io::IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// What can be shown on a terminal: names in modules are whatever somebody made them, and may be commands to it.
fn showable(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    for character in message.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            _ if character.is_control() => shown.extend(character.escape_unicode()),
            _ => shown.push(character),
        }
    }
    shown
}

/// Prints a line to the standard error.
fn print_line(label: &str, colour: &str, message: &str) {
    let message = showable(message);
    let mut out = io::stderr().lock();
    // A closed standard error leaves nobody to tell.
    let _ = match in_colour(&out) {
        true => writeln!(out, "{colour}{label}:\x1b[0m {message}"),
        false => writeln!(out, "{label}: {message}"),
    };
}

/// Something worth knowing that is no failure.
pub(crate) fn note(message: &str) {
    print_line("note", CYAN, message);
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
            let beside = [
                backtrace.map(WasmBacktrace::to_string),
                error
                    .downcast_ref::<cowling::WasmCoreDump>()
                    .map(|dump| dump.to_string()),
            ];
            let reasons: Vec<_> = error
                .chain()
                .map(|e| e.to_string())
                .filter(|text| !beside.iter().flatten().any(|shown| shown == text))
                .collect();
            reasons.join(": ")
        }
    };
    match backtrace {
        Some(backtrace) => format!("{reason}\n{backtrace}"),
        None => reason,
    }
}
