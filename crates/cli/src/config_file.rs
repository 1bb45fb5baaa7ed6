//! The configuration file: a TOML file with engine settings, whose keys are the engine's knobs, and the cache's.
//!
//! ```toml
//! [settings]
//! wasm_threads = false
//! max_wasm_stack = 8388608
//!
//! [cache]
//! files-total-size-soft-limit = "512Mi"
//! ```

use crate::args::{self, ConfigFrom};
use crate::report::Failure;
use cowling::{CacheConfig, Config, Context as _, Error};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The environment variable that names the file.
const VARIABLE: &str = "COWLING_CONFIG";

/// The file that is used.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    /// Where it is, or would be; nowhere if none is to be used.
    pub(crate) path: Option<PathBuf>,
    /// What is in it, if it is there.
    content: Option<Content>,
}

#[derive(Debug)]
struct Content {
    text: String,
    table: Table,
}

impl ConfigFile {
    /// Reads the file that is to be used. The user's own need not exist.
    pub(crate) fn read(from: &ConfigFrom) -> Result<ConfigFile, Failure> {
        let (path, must_exist) = match locate(from) {
            Some(located) => located,
            None => return Ok(ConfigFile::default()),
        };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => {
                return Ok(ConfigFile {
                    path: Some(path),
                    content: None,
                });
            }
            Err(error) => {
                return Err(Failure::Usage(format!(
                    "cannot read the configuration file `{}`: {error}",
                    path.display()
                )));
            }
            Ok(text) => text,
        };
        let table = text
            .parse::<Table>()
            .map_err(|e| wrong(&path, e.to_string()))?;
        Ok(ConfigFile {
            path: Some(path),
            content: Some(Content { text, table }),
        })
    }

    /// Is it there?
    pub(crate) fn exists(&self) -> bool {
        self.content.is_some()
    }

    /// Sets the knobs that it has.
    pub(crate) fn apply(&self, config: &mut Config) -> Result<(), Failure> {
        let (Some(path), Some(content)) = (&self.path, &self.content) else {
            return Ok(());
        };
        for (section, value) in &content.table {
            match (section.as_str(), value) {
                ("settings", Value::Table(settings)) => {
                    for (name, value) in settings {
                        set(config, name, value)
                            .map_err(|e| wrong(path, format!("[settings] {name}: {e}")))?;
                    }
                }
                ("cache", Value::Table(_)) => {}
                _ => {
                    let message =
                        format!("`{section}`: expected one of the sections [settings] and [cache]");
                    return Err(wrong(path, message));
                }
            }
        }
        Ok(())
    }

    /// The cache's settings.
    pub(crate) fn cache(&self) -> Result<CacheConfig, Failure> {
        let (Some(path), Some(content)) = (&self.path, &self.content) else {
            return Ok(CacheConfig::new());
        };
        CacheConfig::from_toml(&content.text).map_err(|e| wrong(path, format!("{e:#}")))
    }

    /// Does it say something about this knob?
    pub(crate) fn sets(&self, name: &str) -> bool {
        let settings = self.content.as_ref().and_then(|c| c.table.get("settings"));
        settings.is_some_and(|settings| settings.get(name).is_some())
    }
}

/// Where the file is, and whether it has to be there.
fn locate(from: &ConfigFrom) -> Option<(PathBuf, bool)> {
    if from.no_config {
        return None;
    }
    if let Some(path) = &from.config {
        return Some((path.clone(), true));
    }
    match env::var_os(VARIABLE) {
        Some(path) if !path.is_empty() => Some((path.into(), true)),
        _ => Some((CacheConfig::default_file()?, false)),
    }
}

/// Where the file is, or would be.
pub(crate) fn path(from: &ConfigFrom) -> Option<PathBuf> {
    locate(from).map(|(path, _)| path)
}

/// A knob's value, or a text, as TOML has it.
pub(crate) fn as_toml(value: &str) -> String {
    match value.parse::<i64>().is_ok() || value.parse::<bool>().is_ok() {
        true => value.to_string(),
        false => Value::from(value).to_string(),
    }
}

fn set(config: &mut Config, name: &str, value: &Value) -> Result<(), String> {
    let value = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        _ => return Err("expected a text, a whole number, true or false".to_string()),
    };
    args::set_knob(config, name, &value)
}

fn wrong(path: &Path, message: String) -> Failure {
    Failure::Usage(format!(
        "configuration file `{}`: {}",
        path.display(),
        message.trim_end()
    ))
}

/// A file that has every setting, commented out.
pub(crate) fn template() -> String {
    let mut text = "\
# Configuration of the `cowling` command. Remove the `#` in front of what you want to change.

[settings]
# The same names are taken by `-C NAME=VALUE`; `cowling settings` explains more.
"
    .to_string();
    for (knob, default) in args::default_config().knobs().values() {
        for line in knob.help.lines() {
            let _ = write!(text, "\n#{line}");
        }
        let _ = writeln!(text, "\n#{} = {}", knob.name, as_toml(&default));
    }
    text.push_str(
        "
[cache]
# docs/cache.md says what these mean.
#directory = \"/an/absolute/path\"
#files-total-size-soft-limit = \"2Gi\"
#file-count-soft-limit = \"65536\"
#files-total-size-limit-percent-if-deleting = \"70%\"
#file-count-limit-percent-if-deleting = \"70%\"
#cleanup-interval = \"1h\"
#allowed-clock-drift-for-files-from-future = \"1d\"
",
    );
    text
}

/// Writes that file, with its directory.
pub(crate) fn init(path: &Path, force: bool) -> Result<(), Error> {
    let name = path.display();
    let write = || {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        match force {
            true => fs::write(path, template()),
            false => fs::File::create_new(path)
                .and_then(|mut file| std::io::Write::write_all(&mut file, template().as_bytes())),
        }
    };
    match write() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::msg(format!(
            "`{name}` is there already; `--force` replaces it"
        ))),
        written => written.with_context(|| format!("cannot write `{name}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<ConfigFile, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, text).unwrap();
        ConfigFile::read(&ConfigFrom {
            config: Some(path),
            no_config: false,
        })
    }

    #[test]
    fn the_template_is_the_default_with_and_without_its_comment_signs() {
        let uncommented: Vec<String> = template()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if !setting.starts_with(' ') => setting.to_string(),
                _ => line.to_string(),
            })
            .collect();
        for text in [template(), uncommented.join("\n")] {
            let mut config = args::default_config();
            let file = file(&text).unwrap();
            file.apply(&mut config).unwrap();
            assert_eq!(config.knobs(), args::default_config().knobs());
            file.cache().unwrap();
        }
        assert!(uncommented.contains(&"wasm_simd = true".to_string()));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let cases = [
            ("[settings]\nwasm_smid = true", "did you mean `wasm_simd`?"),
            ("[settings]\nwasm_simd = 7", "[settings] wasm_simd: "),
            ("[settings]\nwasm_simd = []", "expected a text"),
            ("[run]\nfuel = 1", "`run`: expected one of"),
            ("settings = 1", "`settings`: expected one of"),
            ("[settings", "config.toml"),
        ];
        for (text, words) in cases {
            let failure = file(text)
                .and_then(|file| file.apply(&mut args::default_config()))
                .unwrap_err();
            let message = failure.to_string();
            assert!(
                message.contains(words) && message.contains("config.toml"),
                "{message}"
            );
        }
        let failure = file("[cache]\ndirektory = \"x\"")
            .unwrap()
            .cache()
            .unwrap_err();
        assert!(failure.to_string().contains("direktory"), "{failure}");
    }
}
