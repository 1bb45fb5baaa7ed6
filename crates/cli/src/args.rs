//! The command line.

use clap::{ArgAction, Args, Parser, Subcommand};
use cowling::{CacheConfig, Config, PublicKey, WasmBacktraceDetails};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  cowling run app.wasm one two           run a program with two arguments
  cowling app.wasm one two               the same
  cowling run --dir . app.wasm in.txt    let it read and write files below this directory
  cowling run --invoke add math.wat 1 2  call one function and print what it returns
  cowling compile app.wasm -o app.cowling && cowling run app.cowling
                                         compile now, start at once later
  cowling keygen me.pem && cowling compile app.wasm --sign me.pem
                                         sign what is compiled; `run --trust-key me.pem.pub` checks it

Environment:
  COWLING_LOG    what to log to the standard error, for example `debug` or `cowling=trace`

Exit status:
  The program's own when it ends by itself; 134 when it traps; 1 for a bad file; 2 for a bad command line.";

/// Runs WebAssembly programs.
#[derive(Debug, Parser)]
#[command(name = "cowling", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a program, or calls one of its functions
    Run(Run),
    /// Compiles a module to an artifact that `run` starts without compiling
    Compile(Compile),
    /// Makes a key to sign compiled artifacts with
    Keygen(Keygen),
    /// Checks that files are valid
    Validate(Validate),
    /// Shows what a module imports and exports
    Inspect(Inspect),
    /// Runs scripts in the format of the specification's test suite
    Wast(Wast),
}

#[derive(Debug, Args)]
#[command(
    override_usage = "cowling run [OPTIONS] FILE [ARGS]...",
    after_help = "Options come before FILE; everything after it is the program's."
)]
pub(crate) struct Run {
    /// Program to run (binary, text or compiled artifact, told apart by its content), and its arguments
    #[arg(value_names = ["FILE", "ARGS"], required = true, num_args = 1.., trailing_var_arg = true)]
    pub(crate) program: Vec<OsString>,

    /// Lets the program use a directory, which it sees as GUEST (default: as HOST)
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    pub(crate) dirs: Vec<OsString>,

    /// Sets an environment variable of the program; without a value, passes on ours
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<OsString>,

    /// Calls this exported function with ARGS as its parameters and prints what it returns
    #[arg(long, value_name = "FUNCTION")]
    pub(crate) invoke: Option<String>,

    /// The program's own name, as its first argument (default: FILE)
    #[arg(long, value_name = "NAME")]
    pub(crate) argv0: Option<OsString>,

    /// Stops the program when it takes longer than this many seconds, which may have a fraction
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,

    /// Stops the program when it has executed this much: one unit for most operators (docs/fuel.md has the list)
    #[arg(long, value_name = "UNITS")]
    pub(crate) fuel: Option<u64>,

    /// Lets imports that nothing provides trap when they are called
    #[arg(long, conflicts_with = "unknown_imports_default")]
    pub(crate) unknown_imports_trap: bool,

    /// Gives imports that nothing provides default values: functions return zeros
    #[arg(long)]
    pub(crate) unknown_imports_default: bool,

    #[command(flatten)]
    pub(crate) trust: Trust,

    #[command(flatten)]
    pub(crate) cache: Cache,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct Compile {
    /// Module to compile (binary or text)
    pub(crate) file: PathBuf,

    /// Where to write the artifact (default: FILE with the extension `.cowling`)
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,

    /// Makes code for every machine of this kind, for example `x86_64-unknown-linux-gnu` (default: for this machine's processor)
    #[arg(long, value_name = "TRIPLE")]
    pub(crate) target: Option<String>,

    /// Writes the intermediate code of each function into DIR
    #[arg(long, value_name = "DIR")]
    pub(crate) emit_clif: Option<PathBuf>,

    /// Signs the artifact with this private key (PEM or 32 bytes), as `cowling keygen` makes one
    #[arg(long, value_name = "KEYFILE")]
    pub(crate) sign: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Where to write the private key (PEM), which only you may read; the public key goes to FILE.pub
    pub(crate) file: PathBuf,
}

/// Whose artifacts are accepted.
#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Accepts compiled artifacts only if this public key's owner signed them (PEM or 32 bytes; may be given several times)
    #[arg(long = "trust-key", value_name = "KEYFILE")]
    pub(crate) keys: Vec<PathBuf>,
}

impl Trust {
    /// The keys.
    pub(crate) fn read(&self) -> cowling::Result<Vec<PublicKey>> {
        self.keys.iter().map(PublicKey::from_file).collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// Modules to check (binary, text or compiled artifact)
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) trust: Trust,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Module to show (binary, text or compiled artifact)
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) trust: Trust,

    #[command(flatten)]
    pub(crate) cache: Cache,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct Wast {
    /// Scripts to run
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Where compiled modules are kept between runs.
#[derive(Debug, Args)]
pub(crate) struct Cache {
    /// Does not keep compiled modules on disk, nor use those that are there
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// Keeps compiled modules in DIR (default: a directory of the user's)
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    pub(crate) cache_dir: Option<PathBuf>,
}

impl Cache {
    /// The cache, with the user's settings, if there is to be one. One that cannot be used does not keep programs from running.
    pub(crate) fn open(&self) -> cowling::Result<Option<cowling::Cache>> {
        if self.no_cache {
            return Ok(None);
        }
        let mut config = CacheConfig::from_file(None)?;
        if let Some(dir) = &self.cache_dir {
            config.with_directory(std::path::absolute(dir)?);
        }
        match cowling::Cache::new(config) {
            Ok(cache) => Ok(Some(cache)),
            Err(error) => {
                tracing::warn!("{error:#}");
                Ok(None)
            }
        }
    }
}

/// The engine's knobs.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Changes a setting of the engine; `--help` lists them
    #[arg(short = 'C', value_name = "NAME=VALUE", action = ArgAction::Append, long_help = settings_help())]
    pub(crate) settings: Vec<String>,
}

impl Settings {
    /// Sets what was given on the command line.
    pub(crate) fn apply(&self, config: &mut Config) -> Result<(), String> {
        for setting in &self.settings {
            let (name, value) = setting
                .split_once('=')
                .ok_or_else(|| format!("-C {setting}: expected NAME=VALUE"))?;
            config
                .set_knob(name, value)
                .map_err(|e| format!("-C {setting}: {e:#}"))?;
        }
        Ok(())
    }
}

/// A time given in seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "expected a number of seconds, such as 10 or 0.5".to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

/// The settings without any from the command line: those of the library, but with files and lines in backtraces.
pub(crate) fn default_config() -> Config {
    let mut config = Config::new();
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config
}

/// Every setting with its default and what it does.
fn settings_help() -> String {
    let mut help = "Changes a setting of the engine:\n".to_string();
    for (knob, default) in default_config().knobs().values() {
        let _ = write!(help, "\n  {}={default}\n     {}\n", knob.name, knob.help);
        let _ = writeln!(help, "      Examples: {}", knob.samples.join(", "));
    }
    help
}

/// Puts `run` in front of the arguments when they begin with a file rather than with a subcommand.
///
/// What looks like a path, or names a file that exists, is a file; so is the file behind options of `run`. Whatever else is
/// left as it is, so that a misspelt subcommand is reported as one.
pub(crate) fn with_default_command(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let Some(first) = args.get(1).and_then(|arg| arg.to_str()) else {
        return args;
    };
    let known = [
        "run",
        "compile",
        "keygen",
        "validate",
        "inspect",
        "wast",
        "help",
        "-h",
        "--help",
        "-V",
        "--version",
    ];
    let looks_like_file =
        || first.starts_with('-') || first.contains(['.', '/']) || PathBuf::from(first).is_file();
    if !known.contains(&first) && looks_like_file() {
        args.insert(1, "run".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use cowling::Knob;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let args = std::iter::once("cowling")
            .chain(line.split(' '))
            .map(OsString::from);
        Cli::try_parse_from(with_default_command(args)).map(|cli| cli.command)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_file_is_the_programs() {
        for line in [
            "run --dir . app.wasm --dir x -C y --help",
            "--dir . app.wasm --dir x -C y --help",
        ] {
            let Ok(Command::Run(run)) = parse(line) else {
                panic!("{line}");
            };
            assert_eq!(run.dirs, ["."]);
            assert_eq!(run.program, ["app.wasm", "--dir", "x", "-C", "y", "--help"]);
            assert!(run.settings.settings.is_empty());
        }
    }

    #[test]
    fn a_misspelt_subcommand_is_not_taken_for_a_file() {
        assert!(parse("compil").is_err());
        assert!(matches!(parse("./compil"), Ok(Command::Run(_))));
    }

    #[test]
    fn help_lists_every_setting_with_its_default() {
        let help = settings_help();
        for knob in Knob::ALL {
            assert!(help.contains(&format!("  {}=", knob.name)), "{}", knob.name);
        }
        assert!(help.contains("cranelift_opt_level=speed\n"));
    }

    #[test]
    fn settings_are_applied_and_bad_ones_are_named() {
        let mut config = Config::new();
        let settings = |setting: &str| Settings {
            settings: vec![setting.to_string()],
        };
        settings("wasm_simd=false").apply(&mut config).unwrap();
        assert!(!config.knobs().wasm_simd);
        for bad in ["wasm_simd", "wasm_simd=maybe", "no_such=1"] {
            let message = settings(bad).apply(&mut config).unwrap_err();
            assert!(message.starts_with(&format!("-C {bad}: ")), "{message}");
        }
    }
}
