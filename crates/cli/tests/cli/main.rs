//! The `cowling` command, run as its users run it.

mod artifacts;
mod bad_files;
mod code;
mod config;
mod disassembly;
mod ending;
mod guests;
mod help;
mod input_output;
mod invoke;
mod limits;
mod observing;
mod options;
mod preload;
mod sessions;
mod signing;
mod tools;
mod traps;

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a finished command left behind.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// The built binary, with a cache that is not the user's and without settings from the environment.
fn command() -> Command {
    prepared(Command::new(env!("CARGO_BIN_EXE_cowling")))
}

/// As [`command`], for one that starts the binary.
fn prepared(mut command: Command) -> Command {
    command.env(
        "XDG_CACHE_HOME",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
    );
    command
        .env_remove("COWLING_LOG")
        .env_remove("COWLING_CONFIG")
        // Where nobody has a configuration.
        .env(
            "XDG_CONFIG_HOME",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-config"),
        )
        .env_remove("COLUMNS")
        .env_remove("LINES");
    command.stdin(Stdio::null());
    command
}

fn run(mut command: Command) -> Outcome {
    let output = command.output().expect("the built binary runs");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("output in UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("messages in UTF-8"),
    }
}

/// Runs the binary with arguments.
fn cowling<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Outcome {
    let mut command = command();
    command.args(args);
    run(command)
}

/// The same, with a text on its standard input.
fn cowling_reading<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, input: &str) -> Outcome {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(input.as_bytes()).expect("a write to it");
    std::io::Seek::rewind(&mut file).expect("a seek in it");
    let mut command = command();
    command.args(args).stdin(file);
    run(command)
}

impl Outcome {
    /// What was printed, of a command that succeeded without complaint.
    #[track_caller]
    fn success(self) -> String {
        assert_eq!(
            (self.code, self.stderr.as_str()),
            (Some(0), ""),
            "stdout: {}",
            self.stdout
        );
        self.stdout
    }

    /// The complaint of a command that failed with `code`.
    #[track_caller]
    fn failure(self, code: i32) -> String {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        self.stderr
    }
}

/// The path of a built guest.
fn guest(name: &str) -> PathBuf {
    guests().join(name).with_extension("wasm")
}

/// The folder of guests.
fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests")
}

/// A file with some content in a directory of its own, which goes when this is dropped.
struct Temporary {
    dir: tempfile::TempDir,
    file: PathBuf,
}

impl Temporary {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Temporary {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join(name);
        std::fs::write(&file, content).expect("a write to it");
        Temporary { dir, file }
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn text(&self) -> &str {
        self.file.to_str().expect("a path in UTF-8")
    }
}
