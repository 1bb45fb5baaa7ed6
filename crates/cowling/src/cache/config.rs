//! The cache's settings, and files that have them.

use crate::error::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Settings of a [`Cache`](crate::Cache).
///
/// Those of the `wasmtime` crate that mean something here: there is no compression, since entries are mapped as they are, and no worker
/// thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    directory: Option<PathBuf>,
    cleanup_interval: Duration,
    allowed_clock_drift_for_files_from_future: Duration,
    file_count_soft_limit: u64,
    files_total_size_soft_limit: u64,
    file_count_limit_percent_if_deleting: u8,
    files_total_size_limit_percent_if_deleting: u8,
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig {
            directory: None,
            cleanup_interval: Duration::from_secs(60 * 60),
            allowed_clock_drift_for_files_from_future: Duration::from_secs(24 * 60 * 60),
            file_count_soft_limit: 1 << 16,
            files_total_size_soft_limit: 2 << 30,
            file_count_limit_percent_if_deleting: 70,
            files_total_size_limit_percent_if_deleting: 70,
        }
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $name:ident, $with:ident: $ty:ty;)*) => {
        impl CacheConfig {$(
            #[doc = concat!("As [`CacheConfig::", stringify!($with), "`].")]
            pub fn $name(&self) -> $ty {
                self.$name
            }

            $(#[doc = $doc])*
            pub fn $with(&mut self, $name: $ty) -> &mut CacheConfig {
                self.$name = $name;
                self
            }
        )*}
    };
}

settings! {
    /// How often the whole directory is looked through at least, while something is written. It is looked through earlier when a
    /// limit may have been reached. The default is an hour.
    cleanup_interval, with_cleanup_interval: Duration;
    /// How far in the future the last use of an entry may lie. If it is further, which happens when the clock is set back, the
    /// entry counts as not used for longest. The default is a day.
    allowed_clock_drift_for_files_from_future, with_allowed_clock_drift_for_files_from_future: Duration;
    /// How many files may be kept. If there are more, those not used for longest are removed. It is exceeded for a moment while a file is
    /// written, or when several processes write at once. The default is 65,536.
    file_count_soft_limit, with_file_count_soft_limit: u64;
    /// How many bytes these files may have together, likewise. A module that has more is not kept. The default is 2 GiB.
    files_total_size_soft_limit, with_files_total_size_soft_limit: u64;
    /// When files are removed, how much of the limit of their number the rest may take, in percent, so that the next one
    /// has room. The default is 70.
    file_count_limit_percent_if_deleting, with_file_count_limit_percent_if_deleting: u8;
    /// The same for the limit of their size. The default is 70.
    files_total_size_limit_percent_if_deleting, with_files_total_size_limit_percent_if_deleting: u8;
}

impl CacheConfig {
    /// The default settings.
    pub fn new() -> CacheConfig {
        CacheConfig::default()
    }

    /// The directory, if one was set.
    pub fn directory(&self) -> Option<&PathBuf> {
        self.directory.as_ref()
    }

    /// Where the cache is: an absolute path. The default is `cowling/modules` in the user's cache directory (`$XDG_CACHE_HOME` or
    /// `~/.cache`).
    pub fn with_directory(&mut self, directory: impl Into<PathBuf>) -> &mut CacheConfig {
        self.directory = Some(directory.into());
        self
    }

    /// Reads settings from a file, or, without a path, from `cowling/config.toml` in the user's configuration directory
    /// (`$XDG_CONFIG_HOME` or `~/.config`), which need not exist.
    ///
    /// ```toml
    /// [cache]
    /// directory = "/var/cache/guests"
    /// files-total-size-soft-limit = "512Mi"
    /// cleanup-interval = "30m"
    /// ```
    ///
    /// The settings have the names of the setters without `with_`. Sizes and counts are numbers, perhaps with `K`, `M`, `G`, `T`, `P`
    /// (powers of 1000) or `Ki`, `Mi` ... (of 1024); times are numbers with `s`, `m`, `h` or `d`; percentages have a `%`. A section
    /// `[settings]` is the `cowling` command's, and passed over here.
    ///
    /// # Errors
    /// When the file cannot be read or has settings that do not exist or make no sense; it is named.
    pub fn from_file(config_file: Option<&Path>) -> Result<CacheConfig> {
        let default = match config_file {
            Some(_) => None,
            None => CacheConfig::default_file(),
        };
        let Some(path) = config_file.or(default.as_deref()) else {
            return Ok(CacheConfig::new());
        };
        let text = match fs::read_to_string(path) {
            Err(error) if config_file.is_none() && error.kind() == ErrorKind::NotFound => {
                return Ok(CacheConfig::new());
            }
            read => read.with_context(|| format!("cannot read `{}`", path.display()))?,
        };
        CacheConfig::from_toml(&text)
            .with_context(|| format!("cache settings in `{}`", path.display()))
    }

    /// Reads settings from the text of such a file.
    ///
    /// # Errors
    /// When there are settings that do not exist or make no sense.
    pub fn from_toml(text: &str) -> Result<CacheConfig> {
        parse(text)
    }

    /// Where a cache is without [`with_directory`](Self::with_directory); `None` if this user has no home directory.
    pub fn default_directory() -> Option<PathBuf> {
        let dirs = directories::ProjectDirs::from("", "", "cowling")?;
        Some(dirs.cache_dir().join("modules"))
    }

    /// The file that [`from_file`](Self::from_file) reads without a path, there or not; `None` if this user has no home directory.
    pub fn default_file() -> Option<PathBuf> {
        let dirs = directories::ProjectDirs::from("", "", "cowling")?;
        Some(dirs.config_dir().join("config.toml"))
    }

    /// Do the settings make sense?
    pub(super) fn check(&self) -> Result<()> {
        if let Some(dir) = &self.directory {
            ensure!(dir.is_absolute(), "not an absolute path");
        }
        for percent in [
            self.file_count_limit_percent_if_deleting,
            self.files_total_size_limit_percent_if_deleting,
        ] {
            ensure!(percent <= 100, "{percent} % of a limit is more than it");
        }
        Ok(())
    }
}

/// A file, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default)]
    cache: Section,
    /// What the `cowling` command reads: settings of engines.
    #[serde(default, rename = "settings")]
    _settings: IgnoredAny,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Section {
    directory: Option<PathBuf>,
    cleanup_interval: Option<String>,
    allowed_clock_drift_for_files_from_future: Option<String>,
    file_count_soft_limit: Option<String>,
    files_total_size_soft_limit: Option<String>,
    file_count_limit_percent_if_deleting: Option<String>,
    files_total_size_limit_percent_if_deleting: Option<String>,
}

fn parse(text: &str) -> Result<CacheConfig> {
    let section = toml::from_str::<ConfigFile>(text)?.cache;
    let mut config = CacheConfig {
        directory: section.directory,
        ..CacheConfig::new()
    };
    macro_rules! set {
        ($($name:ident: $parse:expr;)*) => {$(
            if let Some(text) = section.$name {
                let name = stringify!($name).replace('_', "-");
                config.$name = $parse(&text).with_context(|| format!("{name} = {text:?}"))?;
            }
        )*};
    }
    set! {
        cleanup_interval: time;
        allowed_clock_drift_for_files_from_future: time;
        file_count_soft_limit: number;
        files_total_size_soft_limit: number;
        file_count_limit_percent_if_deleting: percentage;
        files_total_size_limit_percent_if_deleting: percentage;
    }
    config.check()?;
    Ok(config)
}

/// The number that a text begins with, and what follows it.
fn split(text: &str) -> Result<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number = text[..end].parse();
    let number = number.context("a number is expected, of at most 64 bits")?;
    Ok((number, text[end..].trim_start()))
}

fn number(text: &str) -> Result<u64> {
    let (number, unit) = split(text)?;
    let (prefix, base) = match unit.strip_suffix('i') {
        Some(prefix) => (prefix, 1024_u64),
        None => (unit, 1000),
    };
    let power = match (prefix, unit) {
        ("", "") => 0,
        ("K", _) => 1,
        ("M", _) => 2,
        ("G", _) => 3,
        ("T", _) => 4,
        ("P", _) => 5,
        _ => bail!("unit {unit:?} is none of K, Ki, M, Mi, G, Gi, T, Ti, P and Pi"),
    };
    let number = number.checked_mul(base.pow(power));
    number.context("the number does not fit in 64 bits")
}

fn time(text: &str) -> Result<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => bail!("unit {unit:?} is none of s, m, h and d"),
    };
    let seconds = number.checked_mul(seconds);
    Ok(Duration::from_secs(
        seconds.context("the time does not fit in 64 bits")?,
    ))
}

fn percentage(text: &str) -> Result<u8> {
    match split(text)? {
        (percent @ 0..=100, "%") => Ok(percent as u8),
        _ => bail!("a percentage from 0% to 100% is expected"),
    }
}
