//! The compile cache: artifacts on disk, found by what they were compiled from.
//!
//! ```text
//!   <dir>/ (mode 0700)
//!     <key>.cwasm (mode 0600)      key = BLAKE3(binary, version, target, processor features, settings, debug information?, this executable)
//!     <identity>.seen              a note about a file whose content is known: see `seen.rs`
//!     .tmp-.......                 an entry being written
//! ```
//!
//! Invariants: an entry appears under its name only when it is whole (it is renamed into place), and only this user and root can
//! have written it. That is why loading one checks its header and length, not every byte. A crash of the machine may cut an
//! entry short, which the length in the header shows; such an entry is removed and made again.
//!
//! The executable is part of the key, by length and modification time, because the version alone does not tell two builds of
//! Cowling apart while it is worked on.
//!
//! Nothing here fails a compilation: a cache that cannot be used is a cache that misses, noted through `tracing`.

mod seen;

use crate::config::Config;
use crate::error::{Context, Result, ensure};
use crate::trust;
use cowling_abi::artifact::Header;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub(crate) use seen::Identity;

/// Bytes that the entries of a cache may take together unless told otherwise.
const DEFAULT_MAX_BYTES: u64 = 2 << 30;
/// Suffix of an entry's name.
const SUFFIX: &str = "cwasm";
/// Start of the name of an entry being written.
const TEMPORARY: &str = ".tmp-";
/// After this time nobody is writing a temporary file any more.
const TEMPORARY_LIFE: Duration = Duration::from_secs(3600);

/// The settings of the cache.
#[derive(Clone, Debug)]
pub(crate) struct CacheConfig {
    enabled: bool,
    dir: Option<PathBuf>,
    max_bytes: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        CacheConfig {
            enabled: false,
            dir: None,
            max_bytes: DEFAULT_MAX_BYTES,
        }
    }
}

impl Config {
    /// Keeps compiled modules on disk and uses them when the same bytes are compiled again. Off by default.
    ///
    /// The default directory is `cowling/modules` in the user's cache directory (`$XDG_CACHE_HOME` or `~/.cache`).
    pub fn cache(&mut self, enabled: bool) -> &mut Config {
        self.cache.enabled = enabled;
        self
    }

    /// Puts the compile cache into this directory, which is created for this user only when it does not exist. A directory
    /// that others may write is not used.
    pub fn cache_dir(&mut self, dir: impl Into<PathBuf>) -> &mut Config {
        self.cache.dir = Some(dir.into());
        self
    }

    /// Limits the compile cache to this many bytes; the entries not used for longest go first. The default is 2 GiB.
    pub fn cache_max_bytes(&mut self, bytes: u64) -> &mut Config {
        self.cache.max_bytes = bytes;
        self
    }
}

/// An open cache.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    max_bytes: u64,
    /// Hash of everything in the key but the binary.
    compiler_id: [u8; 32],
}

/// Name of an entry.
pub(crate) struct Key(blake3::Hash);

impl Cache {
    /// Opens the cache if it is switched on and usable.
    pub(crate) fn open(config: &Config, engine: &Header) -> Option<Cache> {
        if !config.cache.enabled {
            return None;
        }
        match Self::try_open(config, engine) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::warn!("compile cache is not used: {error:#}");
                None
            }
        }
    }

    fn try_open(config: &Config, engine: &Header) -> Result<Cache> {
        let keeps_debug_info = config.knobs.wasm_backtrace_details.are_wanted();
        let config = &config.cache;
        let dir = match &config.dir {
            Some(dir) => dir.clone(),
            None => directories::ProjectDirs::from("", "", "cowling")
                .context("this user has no home directory")?
                .cache_dir()
                .join("modules"),
        };
        let at = || dir.display().to_string();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(at)?;
        let metadata = fs::metadata(&dir).with_context(at)?;
        ensure!(metadata.is_dir(), "{}: not a directory", at());
        trust::check_owner(&metadata).with_context(at)?;
        Ok(Cache {
            dir,
            max_bytes: config.max_bytes,
            compiler_id: compiler_id(engine, keeps_debug_info)
                .context("this executable cannot be identified")?,
        })
    }

    /// The name under which the artifact of this binary is kept.
    pub(crate) fn key(&self, wasm: &[u8]) -> Key {
        let mut hasher = blake3::Hasher::new_keyed(&self.compiler_id);
        hasher.update(wasm);
        Key(hasher.finalize())
    }

    /// The entry under this name, opened, if there is one that may be trusted.
    pub(crate) fn get(&self, key: &Key) -> Option<File> {
        let path = self.path(key);
        let file = File::open(&path).ok()?;
        let trusted = file
            .metadata()
            .map_err(crate::Error::from)
            .and_then(|m| Ok(trust::check_file(&m)?));
        if let Err(error) = trusted {
            tracing::warn!("compile cache: {}: {error:#}", path.display());
            return None;
        }
        // The time of last use, for eviction. An entry that cannot be touched is merely evicted earlier.
        if let Err(error) = file.set_modified(SystemTime::now()) {
            tracing::debug!("compile cache: {}: {error}", path.display());
        }
        Some(file)
    }

    /// Removes an entry that did not load.
    pub(crate) fn remove(&self, key: &Key) {
        let path = self.path(key);
        if let Err(error) = fs::remove_file(&path) {
            tracing::debug!("compile cache: {}: {error}", path.display());
        }
    }

    /// Keeps an artifact, then makes room.
    pub(crate) fn put(&self, key: &Key, artifact: &[u8]) {
        let path = self.path(key);
        if artifact.len() as u64 > self.max_bytes {
            tracing::debug!(
                "compile cache: {} bytes are more than it may have",
                artifact.len()
            );
            return;
        }
        match self.write(&path, artifact).and_then(|()| self.evict(&path)) {
            Ok(()) => tracing::debug!("compile cache: wrote {}", path.display()),
            Err(error) => tracing::warn!("compile cache: {}: {error:#}", path.display()),
        }
    }

    fn write(&self, path: &Path, artifact: &[u8]) -> Result<()> {
        // A temporary file is made with mode 0600 and removed if anything fails before it has its name.
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(&self.dir)?;
        file.write_all(artifact)?;
        file.persist(path)?;
        Ok(())
    }

    /// Removes the entries not used for longest until the rest fits, and what interrupted writers left. `keep` stays.
    fn evict(&self, keep: &Path) -> Result<()> {
        let now = SystemTime::now();
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let path = entry.path();
            // Another process may remove entries meanwhile.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let modified = metadata.modified()?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                if now
                    .duration_since(modified)
                    .is_ok_and(|age| age > TEMPORARY_LIFE)
                {
                    fs::remove_file(&path)?;
                }
            } else if path
                .extension()
                .is_some_and(|e| e == SUFFIX || e == seen::SUFFIX)
            {
                entries.push((modified, metadata.len(), path));
            }
        }
        let mut total: u64 = entries.iter().map(|(_, len, _)| len).sum();
        entries.sort();
        for (_, len, path) in entries {
            if total <= self.max_bytes {
                break;
            }
            if path != keep {
                tracing::debug!("compile cache: evicting {}", path.display());
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error.into());
                    }
                    _ => total -= len,
                }
            }
        }
        Ok(())
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.dir.join(format!("{}.{SUFFIX}", key.0.to_hex()))
    }
}

/// Everything but the binary that decides what an artifact is.
fn compiler_id(engine: &Header, keeps_debug_info: bool) -> std::io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut word = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    word(engine.version.as_bytes());
    word(engine.target.as_bytes());
    word(engine.settings.as_bytes());
    word(engine.cpu_features.join(" ").as_bytes());
    word(&[keeps_debug_info.into()]);
    let executable = own_executable()?;
    word(&executable.len().to_le_bytes());
    word(&executable.mtime().to_le_bytes());
    word(&executable.mtime_nsec().to_le_bytes());
    Ok(*hasher.finalize().as_bytes())
}

/// The file this process runs, even when it was replaced under its name meanwhile.
fn own_executable() -> std::io::Result<Metadata> {
    fs::metadata("/proc/self/exe").or_else(|_| fs::metadata(std::env::current_exe()?))
}
