//! What each subcommand does: a file for each, but for the shortest.

mod cache;
mod compile;
mod config;
mod explore;
mod inspect;
mod objdump;
mod run;
mod settings;

use crate::args::{Cli, Command, Settings, Validate, Wast, default_config};
use crate::config_file::ConfigFile;
use crate::report::Failure;
use crate::stats::SpanTimes;
use crate::{progress, source};
use clap::CommandFactory as _;
use cowling::{Config, Context as _, Engine, Error, KnobError};
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Carries out a command. `times` are those of the engine's spans, if somebody wants to know.
pub(crate) fn run(command: Command, times: Option<&SpanTimes>) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::run(*args, times),
        Command::Compile(args) => compile::compile(args),
        Command::Keygen(args) => compile::keygen(args),
        Command::Validate(args) => validate(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Objdump(args) => objdump::objdump(args),
        Command::Explore(args) => explore::explore(args),
        Command::Wast(args) => wast(args),
        Command::Cache(args) => cache::cache(args),
        Command::Settings(args) => settings::settings(args),
        Command::Config(args) => config::config(args),
        Command::Completion(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "cowling", &mut script);
            print(&script)
        }
    }
}

/// Writes to the standard output.
fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())?;
    Ok(out.flush()?)
}

/// An engine with the settings of the configuration file and the command line, and what `configure` adds.
fn engine(
    settings: &Settings,
    file: &ConfigFile,
    configure: impl FnOnce(&mut Config) -> cowling::Result<()>,
) -> Result<Engine, Failure> {
    let mut config = default_config();
    settings.apply(file, &mut config)?;
    configure(&mut config).map_err(|error| Failure::Usage(format!("{error:#}")))?;
    progress::show(&mut config);
    Engine::new(&config).map_err(|error| match error.downcast_ref() {
        Some(KnobError::Refused { .. }) => Failure::Usage(error.to_string()),
        _ => error.into(),
    })
}

/// Who may read a file that is written. Only its owner may change it: an artifact is as trusted as a program.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Readers {
    Everybody,
    /// It has secrets of a program, perhaps.
    Owner,
}

/// Writes a file that others never see half written. What is no regular file, as a pipe or a device, is written as it is.
fn write_whole(path: &Path, content: &[u8], readers: Readers) -> cowling::Result<()> {
    let write = || {
        if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
            return File::options().write(true).open(path)?.write_all(content);
        }
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        // Under a name that nobody can have known, and nobody else's to open until it is whole.
        let mut partial = tempfile::Builder::new()
            .prefix(".")
            .suffix(".partial")
            .tempfile_in(dir)?;
        partial.write_all(content)?;
        if readers == Readers::Everybody {
            let permissions = Permissions::from_mode(0o644);
            partial.as_file().set_permissions(permissions)?;
        }
        partial.persist(path)?;
        Ok::<_, io::Error>(())
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}

/// Writes to a file, or to the standard output if that is what the path says.
fn write_output(path: &Path, content: &[u8]) -> Result<(), Failure> {
    match source::is_standard_input(path) {
        true => print(content),
        false => Ok(write_whole(path, content, Readers::Everybody)?),
    }
}

/// Where the output goes: where it was said, or next to the input, with another extension.
fn output_path(output: Option<PathBuf>, input: &Path, extension: &str) -> Result<PathBuf, Failure> {
    match output {
        Some(output) => Ok(output),
        None if source::is_standard_input(input) => Err(Failure::Usage(
            "what is read from the standard input has no name to write next to: say where with `-o`".to_string(),
        )),
        None => {
            let output = input.with_extension(extension);
            // That it is compiled already is the better complaint, which comes later.
            let compiled = || matches!(Engine::detect_precompiled_file(input), Ok(Some(_)));
            match output == input && !compiled() {
                true => Err(Failure::Usage(format!(
                    "`{}` would be written over: say where else with `-o`",
                    input.display()
                ))),
                false => Ok(output),
            }
        }
    }
}

fn validate(args: Validate) -> Result<(), Failure> {
    let file = ConfigFile::read(&args.settings.config)?;
    let engine = engine(&args.settings, &file, |_| Ok(()))?;
    let keys = args.trust.read()?;
    for_each_file(&args.files, |path| source::validate(&engine, path, &keys))
}

fn wast(args: Wast) -> Result<(), Failure> {
    let file = ConfigFile::read(&args.settings.config)?;
    let engine = engine(&args.settings, &file, |_| Ok(()))?;
    for_each_file(&args.files, |path| {
        let name = path.display().to_string();
        let script = source::text(path)?;
        let report = cowling_wast::Runner::new(&engine)?.run(&name, &script)?;
        let written = writeln!(
            io::stdout(),
            "{name}: {} assertions hold",
            report.assertions
        );
        written.context("cannot write to the standard output")
    })
}

/// Does something with each file; says which failed, and goes on with the others.
fn for_each_file(
    files: &[PathBuf],
    mut f: impl FnMut(&Path) -> cowling::Result<()>,
) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for path in files {
        match f(path).map_err(Failure::from) {
            Ok(()) => {}
            Err(Failure::Bad(error)) => failed.push(error),
            Err(other) => return Err(other),
        }
    }
    match failed.len() {
        0 => Ok(()),
        // With what can be done about it.
        1 => Err(Failure::Bad(failed.remove(0))),
        _ => {
            let messages: Vec<_> = failed.iter().map(|error| format!("{error:#}")).collect();
            Err(Failure::Bad(Error::msg(messages.join("\nerror: "))))
        }
    }
}
