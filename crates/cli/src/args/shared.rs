//! Options that several subcommands have: the engine's settings, the cache, whose artifacts are trusted.

use crate::config_file::ConfigFile;
use crate::report::Failure;
use crate::suggest;
use clap::{ArgAction, Args};
use cowling::{Config, Error, Knob, KnobError, PublicKey, WasmBacktraceDetails};
use std::fmt::Write as _;
use std::path::PathBuf;

/// What the names of the knobs for proposals begin with.
const PROPOSAL: &str = "wasm_";

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
    /// The cache, with the settings of the configuration, if there is to be one. One that cannot be used does not keep programs from
    /// running.
    pub(crate) fn open(&self, file: &ConfigFile) -> Result<Option<cowling::Cache>, Failure> {
        if self.no_cache {
            return Ok(None);
        }
        match open_cache(self.cache_dir.as_ref(), file) {
            Ok(cache) => Ok(Some(cache)),
            Err(failure @ Failure::Usage(_)) => Err(failure),
            Err(failure) => {
                tracing::warn!("{failure}");
                Ok(None)
            }
        }
    }
}

/// The cache in `dir`, or else where the configuration says.
pub(crate) fn open_cache(
    dir: Option<&PathBuf>,
    file: &ConfigFile,
) -> Result<cowling::Cache, Failure> {
    let mut config = file.cache()?;
    if let Some(dir) = dir {
        let absolute = std::path::absolute(dir)
            .map_err(|error| Error::from(error).context(format!("cache `{}`", dir.display())))?;
        config.with_directory(absolute);
    }
    Ok(cowling::Cache::new(config)?)
}

/// Which configuration file is used.
#[derive(Debug, Args)]
pub(crate) struct ConfigFrom {
    /// Uses this configuration file (default: $COWLING_CONFIG, or else the user's)
    #[arg(long, value_name = "FILE", global = true, help_heading = "Settings")]
    pub(crate) config: Option<PathBuf>,

    /// Uses no configuration file
    #[arg(
        long,
        conflicts_with = "config",
        global = true,
        help_heading = "Settings"
    )]
    pub(crate) no_config: bool,
}

/// The engine's knobs.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Changes a setting of the engine; `cowling settings` lists them
    #[arg(short = 'C', value_name = "NAME=VALUE", action = ArgAction::Append, help_heading = "Settings")]
    pub(crate) settings: Vec<String>,

    /// Switches proposals on or off, for example `-W threads=no,simd`; `all` is each of them
    #[arg(short = 'W', long = "wasm", value_name = "PROPOSAL[=yes|no]", action = ArgAction::Append, value_delimiter = ',', long_help = proposals_help(), help_heading = "Settings")]
    pub(crate) proposals: Vec<String>,

    #[command(flatten)]
    pub(crate) config: ConfigFrom,
}

impl Settings {
    /// Sets what the configuration file says, and then what was given on the command line.
    pub(crate) fn apply(&self, file: &ConfigFile, config: &mut Config) -> Result<(), Failure> {
        file.apply(config)?;
        self.apply_own(config).map_err(Failure::Usage)
    }

    fn apply_own(&self, config: &mut Config) -> Result<(), String> {
        for setting in &self.settings {
            let (name, value) = setting
                .split_once('=')
                .ok_or_else(|| format!("-C {setting}: expected NAME=VALUE"))?;
            set_knob(config, name, value).map_err(|e| format!("-C {setting}: {e}"))?;
        }
        for proposal in &self.proposals {
            set_proposal(config, proposal).map_err(|e| format!("-W {proposal}: {e}"))?;
        }
        Ok(())
    }
}

/// Sets a knob; an unknown one is answered with one that it resembles.
pub(crate) fn set_knob(config: &mut Config, name: &str, value: &str) -> Result<(), String> {
    let Err(error) = config.set_knob(name, value) else {
        return Ok(());
    };
    Err(match error.downcast_ref() {
        Some(KnobError::Unknown(_)) => {
            let known = Knob::ALL.iter().map(|knob| knob.name);
            let meant = suggest::did_you_mean(name, known);
            format!("there is no such setting (`cowling settings` lists them){meant}")
        }
        _ => format!("{error:#}"),
    })
}

/// Proposals that have a knob, by the names that -W takes.
pub(crate) fn proposals() -> impl Iterator<Item = (&'static str, &'static Knob)> {
    Knob::ALL.iter().filter_map(|knob| {
        let name = knob.name.strip_prefix(PROPOSAL)?;
        // `wasm_backtrace_...` is about something else.
        (knob.kind == "true or false").then_some((name, knob))
    })
}

fn set_proposal(config: &mut Config, text: &str) -> Result<(), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, "yes"));
    let value = match value {
        "y" | "yes" | "true" | "on" => "true",
        "n" | "no" | "false" | "off" => "false",
        _ => return Err(format!("`{value}` is neither yes nor no")),
    };
    let name = name.replace('-', "_");
    let mut known = proposals()
        .filter(|(known, _)| name == "all" || *known == name)
        .peekable();
    if known.peek().is_none() {
        let meant = suggest::did_you_mean(&name, proposals().map(|(name, _)| name));
        return Err(format!(
            "there is no such proposal (`cowling settings wasm_` lists them){meant}"
        ));
    }
    known.try_for_each(|(_, knob)| set_knob(config, knob.name, value))
}

/// The settings without any from the command line: those of the library, but with files and lines in backtraces.
pub(crate) fn default_config() -> Config {
    let mut config = Config::new();
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config
}

/// Is long help wanted? Texts made for it are not made at every start.
fn help_is_wanted() -> bool {
    cfg!(test) || std::env::args_os().any(|arg| arg == "--help" || arg == "help")
}

fn proposals_help() -> String {
    let mut help =
        "Switches proposals on or off, for example `-W threads=no,simd`; all are on by default"
            .to_string();
    if help_is_wanted() {
        let names: Vec<_> = proposals().map(|(name, _)| name).collect();
        let _ = write!(help, ": {}, and `all` for each of them", names.join(", "));
    }
    help
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(settings: &[&str], proposals: &[&str]) -> Settings {
        let owned = |words: &[&str]| words.iter().map(|w| w.to_string()).collect();
        Settings {
            settings: owned(settings),
            proposals: owned(proposals),
            config: ConfigFrom {
                config: None,
                no_config: true,
            },
        }
    }

    #[test]
    fn help_names_every_proposal() {
        let help = proposals_help();
        for (name, _) in proposals() {
            assert!(help.contains(name), "{name}");
        }
    }

    #[test]
    fn settings_are_applied_and_bad_ones_are_named() {
        let mut config = Config::new();
        settings(&["wasm_simd=false"], &[])
            .apply_own(&mut config)
            .unwrap();
        assert!(!config.knobs().wasm_simd);
        for bad in ["wasm_simd", "wasm_simd=maybe", "no_such=1"] {
            let message = settings(&[bad], &[]).apply_own(&mut config).unwrap_err();
            assert!(message.starts_with(&format!("-C {bad}: ")), "{message}");
        }
        let message = settings(&["wasm_smid=true"], &[])
            .apply_own(&mut config)
            .unwrap_err();
        assert!(message.contains("did you mean `wasm_simd`?"), "{message}");
    }

    #[test]
    fn proposals_are_switched_by_short_names() {
        let mut config = Config::new();
        let switched = settings(&[], &["all=no", "simd", "tail-call=on"]);
        switched.apply_own(&mut config).unwrap();
        let on: Vec<_> = proposals()
            .zip(
                config
                    .knobs()
                    .values()
                    .into_iter()
                    .filter(|(knob, _)| proposals().any(|(_, of)| of.name == knob.name)),
            )
            .filter(|(_, (_, value))| value == "true")
            .map(|((name, _), _)| name)
            .collect();
        assert_eq!(on, ["simd", "tail_call"]);
        for bad in ["threds=no", "threads=perhaps", "backtrace_details"] {
            let message = settings(&[], &[bad]).apply_own(&mut config).unwrap_err();
            assert!(message.starts_with(&format!("-W {bad}: ")), "{message}");
        }
    }
}
