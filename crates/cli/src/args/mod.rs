//! The command line.
//!
//! | file | what it has |
//! |---|---|
//! | this | the subcommands, and what a line without one means |
//! | `run` | the options of `run` |
//! | `shared` | options that several subcommands have |
//! | `units` | sizes and times as people write them |
//! | `help` | examples |

mod help;
mod run;
mod shared;
mod units;

pub(crate) use run::{Profile, Run, StatsFormat};
pub(crate) use shared::{
    Cache, ConfigFrom, Settings, Trust, default_config, open_cache, proposals, set_knob,
};

use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Runs WebAssembly programs, and shows what is in them.
#[derive(Debug, Parser)]
#[command(name = "cowling", version, after_help = help::MAIN, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a program, or calls one of its functions
    Run(Box<Run>),
    /// Compiles a module to an artifact that `run` starts without compiling
    Compile(Compile),
    /// Makes a key to sign compiled artifacts with
    Keygen(Keygen),
    /// Checks that files are valid
    Validate(Validate),
    /// Shows what a module imports and exports, what it consists of and what starting it costs
    Inspect(Inspect),
    /// Shows the machine code of a module or artifact
    Objdump(Objdump),
    /// Makes a web page that shows each function as wasm, intermediate code and machine code
    Explore(Explore),
    /// Runs scripts in the format of the specification's test suite
    Wast(Wast),
    /// Shows and empties the cache of compiled modules
    Cache(CacheCommand),
    /// Lists the engine's settings
    Settings(ListSettings),
    /// Shows and makes the configuration file
    Config(ConfigCommand),
    /// Prints a script that makes a shell complete this command's options
    Completion(Completion),
}

#[derive(Debug, Args)]
#[command(after_help = help::COMPILE)]
pub(crate) struct Compile {
    /// Module to compile (binary or text; `-` for the standard input)
    pub(crate) file: PathBuf,

    /// Where to write the artifact; `-` for the standard output (default: FILE with the extension `.cowling`)
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

    /// Keeps each compiled function in the cache, and compiles of a module that has changed only what has
    #[arg(long)]
    pub(crate) incremental: bool,

    /// The cache in DIR (default: that of the configuration, or a directory of the user's)
    #[arg(long, value_name = "DIR", requires = "incremental")]
    pub(crate) cache_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
#[command(after_help = help::KEYGEN)]
pub(crate) struct Keygen {
    /// Where to write the private key (PEM), which only you may read; the public key goes to FILE.pub
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = help::VALIDATE)]
pub(crate) struct Validate {
    /// Modules to check (binary, text or compiled artifact; `-` for the standard input)
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) trust: Trust,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
#[command(after_help = help::INSPECT)]
pub(crate) struct Inspect {
    /// Module to show (binary, text or compiled artifact; `-` for the standard input)
    pub(crate) file: PathBuf,

    /// Prints JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) trust: Trust,

    #[command(flatten)]
    pub(crate) cache: Cache,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
#[command(after_help = help::OBJDUMP)]
pub(crate) struct Objdump {
    /// Module whose code to show (compiled artifact, binary or text; `-` for the standard input)
    pub(crate) file: PathBuf,

    /// Shows only this function: a number, a name, or a part of names between `*` (may be given several times)
    #[arg(short, long = "function", value_name = "FUNCTION", action = ArgAction::Append)]
    pub(crate) functions: Vec<String>,

    /// Shows the bytes of each instruction, too
    #[arg(long)]
    pub(crate) bytes: bool,

    /// Shows the code between host and guest as well
    #[arg(long)]
    pub(crate) trampolines: bool,

    /// Lists the functions and the size of their code, nothing else
    #[arg(long)]
    pub(crate) list: bool,

    #[command(flatten)]
    pub(crate) trust: Trust,

    #[command(flatten)]
    pub(crate) cache: Cache,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
#[command(after_help = help::EXPLORE)]
pub(crate) struct Explore {
    /// Module to show (binary or text; `-` for the standard input)
    pub(crate) file: PathBuf,

    /// Where to write the page; `-` for the standard output (default: FILE with the extension `.html`)
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,

    /// Shows only this function: a number, a name, or a part of names between `*` (may be given several times)
    #[arg(short, long = "function", value_name = "FUNCTION", action = ArgAction::Append)]
    pub(crate) functions: Vec<String>,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
#[command(after_help = help::WAST)]
pub(crate) struct Wast {
    /// Scripts to run (`-` for the standard input)
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
#[command(after_help = help::CACHE)]
pub(crate) struct CacheCommand {
    #[command(subcommand)]
    pub(crate) action: CacheAction,

    /// The cache in DIR (default: that of the configuration, or a directory of the user's)
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) cache_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) config: ConfigFrom,
}

/// What to do with the cache.
#[derive(Copy, Clone, Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// Prints where it is
    Dir,
    /// Prints how many files it has, and how large they are
    Size,
    /// Removes everything in it
    Clean,
}

#[derive(Debug, Args)]
#[command(after_help = help::SETTINGS)]
pub(crate) struct ListSettings {
    /// Lists only settings with this in their name
    pub(crate) filter: Option<String>,

    /// Prints JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = help::CONFIG)]
pub(crate) struct ConfigCommand {
    #[command(subcommand)]
    pub(crate) action: Option<ConfigAction>,

    #[command(flatten)]
    pub(crate) config: ConfigFrom,
}

/// What to do with the configuration.
#[derive(Copy, Clone, Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Prints the settings in effect, and the file that they are from (this is also what `cowling config` does)
    Show,
    /// Prints where the file is, or would be
    Path,
    /// Makes a file that has every setting, commented out
    Init {
        /// Replaces a file that is there
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
#[command(after_help = help::COMPLETION)]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Is there a subcommand of this name?
pub(crate) fn is_subcommand(word: &str) -> bool {
    Cli::command()
        .get_subcommands()
        .any(|c| c.get_name() == word)
}

/// Puts `run` in front of the arguments when they begin with a file rather than with a subcommand.
///
/// What looks like a path, or names a file that exists, is a file; so is the file behind options of `run`. Whatever else is
/// left as it is, so that a misspelt subcommand is reported as one.
pub(crate) fn with_default_command(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let Some(first) = args.get(1) else {
        return args;
    };
    let of_all = ["-h", "--help", "-V", "--version", "help"];
    let is_file = match first.to_str() {
        Some("run") => false,
        Some(word) if of_all.contains(&word) => false,
        Some(word) if word.starts_with('-') || word.contains(['.', '/']) => true,
        Some(word) => !is_subcommand(word) && Path::new(word).is_file(),
        None => true,
    };
    if is_file {
        args.insert(1, "run".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(matches!(parse("-"), Ok(Command::Run(_))));
    }
}
