//! `config`: which configuration file is used, and what is in effect.

use super::print;
use crate::args::{ConfigAction, ConfigCommand, default_config};
use crate::config_file::{self, ConfigFile};
use crate::report::Failure;
use cowling::CacheConfig;
use std::fmt::Write as _;
use std::path::Path;

/// Shows or makes the configuration.
pub(super) fn config(args: ConfigCommand) -> Result<(), Failure> {
    match args.action.unwrap_or(ConfigAction::Show) {
        ConfigAction::Show => show(&ConfigFile::read(&args.config)?),
        ConfigAction::Path => {
            let path = config_file::path(&args.config).ok_or_else(nowhere)?;
            print(format!("{}\n", path.display()))
        }
        ConfigAction::Init { force } => {
            let path = config_file::path(&args.config).ok_or_else(nowhere)?;
            config_file::init(&path, force)?;
            print(format!("wrote {}\n", path.display()))
        }
    }
}

fn nowhere() -> Failure {
    Failure::Usage(
        "there is no place for a configuration file: say which with `--config FILE`".to_string(),
    )
}

/// Everything that is in effect, as a configuration file that says so.
fn show(file: &ConfigFile) -> Result<(), Failure> {
    let mut config = default_config();
    file.apply(&mut config)?;
    let cache = file.cache()?;
    let mut text = match &file.path {
        Some(path) if file.exists() => format!("# from {}\n", path.display()),
        Some(path) => format!("# defaults: there is no file {}\n", path.display()),
        None => "# defaults: no file is used\n".to_string(),
    };
    text.push_str("\n[settings]\n");
    for (knob, value) in config.knobs().values() {
        let from = if file.sets(knob.name) {
            "    # from the file"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "{} = {}{from}",
            knob.name,
            config_file::as_toml(&value)
        );
    }
    text.push_str("\n[cache]\n");
    let directory = cache.directory().cloned();
    let directory = directory.or_else(CacheConfig::default_directory);
    if let Some(directory) = directory.as_deref().and_then(Path::to_str) {
        let _ = writeln!(text, "directory = {}", config_file::as_toml(directory));
    }
    let _ = write!(
        text,
        "files-total-size-soft-limit = \"{}\"\n\
         file-count-soft-limit = \"{}\"\n\
         files-total-size-limit-percent-if-deleting = \"{}%\"\n\
         file-count-limit-percent-if-deleting = \"{}%\"\n\
         cleanup-interval = \"{}s\"\n\
         allowed-clock-drift-for-files-from-future = \"{}s\"\n",
        cache.files_total_size_soft_limit(),
        cache.file_count_soft_limit(),
        cache.files_total_size_limit_percent_if_deleting(),
        cache.file_count_limit_percent_if_deleting(),
        cache.cleanup_interval().as_secs(),
        cache.allowed_clock_drift_for_files_from_future().as_secs(),
    );
    print(text)
}
