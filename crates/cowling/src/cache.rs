//! The compile cache: artifacts on disk, found by what they were compiled from.
//!
//! ```text
//!   <dir>/ (mode 0700)
//!     <key>.cwasm (mode 0600)      key = BLAKE3(binary, version, target, processor features, settings, debug information?, compiler)
//!     <number>.functions           functions that were compiled, if they are kept: see `functions.rs`
//!     <identity>.seen              a note about a file whose content is known: see `seen.rs`
//!     .tmp-.......                 an entry being written; its writer has it locked
//! ```
//!
//! Invariants: an entry appears under its name only when it is whole and on disk (it is written, synced and renamed into place), and only
//! this user and root can have written it. That is why loading one checks its header and length, not every byte. Whatever else is found
//! under an entry's name does not load, or is not even opened, and makes room for one that does.
//!
//! Processes share a directory without talking to each other: each step is one system call that happens or does not, so one that is killed
//! leaves at most a temporary file, whose lock went with it.
//!
//! Nothing here fails a compilation: a cache that cannot be used is a cache that misses, noted through `tracing`.
//!
//! | file | job |
//! |---|---|
//! | `config` | settings, also from files |
//! | `functions` | functions by their content, for modules that have changed |
//! | `room` | the limits: what is in the directory, and what goes when it is too much |
//! | `seen` | notes about files that were read |

mod config;
mod functions;
mod room;
mod seen;

use crate::config::Config;
use crate::error::{Context, Result, bail, ensure};
use crate::trust;
use cowling_abi::artifact::Header;
use room::{Census, Room};
use rustix::fs::{FlockOperation, OFlags};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

pub use config::CacheConfig;

/// Suffix of an entry's name.
const SUFFIX: &str = "cwasm";
/// Suffix of the name of a file of functions, which is a number otherwise.
const FUNCTIONS: &str = "functions";
/// Start of the name of an entry being written.
const TEMPORARY: &str = ".tmp-";

/// Random characters behind that.
const RANDOM_LEN: usize = 12;

/// Characters of what entries are found by, which are hexadecimal digits.
const KEY_LEN: usize = 64;

impl Config {
    /// Keeps compiled modules on disk and uses them when the same bytes are compiled again. Off by default.
    pub fn cache(&mut self, cache: Option<Cache>) -> &mut Config {
        self.cache = cache;
        self
    }
}

/// A directory in which compiled modules are kept. Clones are the same cache, which any number of engines, of any settings, and of
/// processes share.
///
/// ```
/// # use cowling::*;
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// let mut settings = CacheConfig::new();
/// settings.with_directory(dir).with_files_total_size_soft_limit(64 << 20);
/// let cache = Cache::new(settings)?;
/// let engine = Engine::new(Config::new().cache(Some(cache.clone())))?;
///
/// Module::new(&engine, "(module)")?;
/// Module::new(&engine, "(module)")?;
/// assert_eq!((cache.cache_misses(), cache.cache_hits()), (1, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: CacheConfig,
    dir: PathBuf,
    hits: AtomicUsize,
    misses: AtomicUsize,
    room: Mutex<Room>,
    functions: functions::Functions,
}

/// What is in a cache.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheUsage {
    /// Files: an entry for each module, and notes about files that were read.
    pub files: u64,
    /// Bytes of all of them together.
    pub bytes: u64,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $name:ident: $ty:ty;)*) => {
        impl Cache {$(
            $(#[doc = $doc])*
            pub fn $name(&self) -> $ty {
                self.inner.config.$name()
            }
        )*}
    };
}

settings! {
    /// As [`CacheConfig::with_cleanup_interval`].
    cleanup_interval: Duration;
    /// As [`CacheConfig::with_allowed_clock_drift_for_files_from_future`].
    allowed_clock_drift_for_files_from_future: Duration;
    /// As [`CacheConfig::with_file_count_soft_limit`].
    file_count_soft_limit: u64;
    /// As [`CacheConfig::with_files_total_size_soft_limit`], in bytes.
    files_total_size_soft_limit: u64;
    /// As [`CacheConfig::with_file_count_limit_percent_if_deleting`].
    file_count_limit_percent_if_deleting: u8;
    /// As [`CacheConfig::with_files_total_size_limit_percent_if_deleting`].
    files_total_size_limit_percent_if_deleting: u8;
}

impl Cache {
    /// Opens a cache. Its directory is made, for this user only, if there is none.
    ///
    /// # Errors
    /// When the settings make no sense, or the directory cannot be made, belongs to another user, or may be written by others: what is in
    /// it will run.
    pub fn new(config: CacheConfig) -> Result<Cache> {
        let dir = match config.directory() {
            Some(dir) => dir.clone(),
            None => CacheConfig::default_directory()
                .context("compile cache: this user has no home directory")?,
        };
        config
            .check()
            .and_then(|()| open_directory(&dir))
            .with_context(|| format!("compile cache `{}`", dir.display()))?;
        Ok(Cache {
            inner: Arc::new(Inner {
                config,
                dir,
                hits: AtomicUsize::new(0),
                misses: AtomicUsize::new(0),
                room: Mutex::default(),
                functions: Default::default(),
            }),
        })
    }

    /// Opens a cache with the settings of a file: see [`CacheConfig::from_file`].
    ///
    /// # Errors
    /// As [`CacheConfig::from_file`] and [`Cache::new`].
    pub fn from_file(path: Option<&Path>) -> Result<Cache> {
        Cache::new(CacheConfig::from_file(path)?)
    }

    /// Where it is.
    pub fn directory(&self) -> &PathBuf {
        &self.inner.dir
    }

    /// What is in its directory now, whoever put it there.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn usage(&self) -> Result<CacheUsage> {
        let Inner { config, dir, .. } = &*self.inner;
        let census = Census::look(dir, config.allowed_clock_drift_for_files_from_future())
            .with_context(|| format!("compile cache `{}`", dir.display()))?;
        Ok(census.usage())
    }

    /// Removes all that is in it, and nothing else that may be in its directory. Modules that are in use stay usable. Returns what is
    /// gone.
    ///
    /// ```
    /// # use cowling::*;
    /// # let dir = tempfile::tempdir()?;
    /// let mut settings = CacheConfig::new();
    /// let cache = Cache::new(settings.with_directory(dir.path()).clone())?;
    /// let engine = Engine::new(Config::new().cache(Some(cache.clone())))?;
    /// Module::new(&engine, "(module)")?;
    /// assert_eq!(cache.usage()?.files, 1);
    /// assert_eq!(cache.clear()?.files, 1);
    /// assert_eq!(cache.usage()?, CacheUsage::default());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the directory cannot be read or a file cannot be removed.
    pub fn clear(&self) -> Result<CacheUsage> {
        let Inner { config, dir, .. } = &*self.inner;
        let clear = || {
            let mut census = Census::take(dir, config.allowed_clock_drift_for_files_from_future())?;
            let before = census.usage();
            census.shrink(0, 0, Path::new(""))?;
            let after = census.usage();
            std::io::Result::Ok(CacheUsage {
                files: before.files - after.files,
                bytes: before.bytes - after.bytes,
            })
        };
        clear().with_context(|| format!("compile cache `{}`", dir.display()))
    }

    /// How many modules were found in it through this handle and its clones.
    pub fn cache_hits(&self) -> usize {
        self.inner.hits.load(Ordering::Relaxed)
    }

    /// How many modules had to be compiled because they were not in it.
    pub fn cache_misses(&self) -> usize {
        self.inner.misses.load(Ordering::Relaxed)
    }
}

impl Cache {
    /// Makes room for what was written to a file, which is new or was there.
    fn account(&self, path: &Path, bytes: u64, is_new: bool) {
        let Inner { config, dir, .. } = &*self.inner;
        // Nothing that panics holds the lock; if something did, what is behind it is an estimate.
        let mut room = self.inner.room.lock().unwrap_or_else(|e| e.into_inner());
        if let Err(error) = room.written(dir, config, path, bytes, is_new) {
            tracing::warn!("compile cache: {}: {error:#}", dir.display());
        }
    }
}

fn open_directory(dir: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let metadata = fs::metadata(dir)?;
    ensure!(metadata.is_dir(), "not a directory");
    Ok(trust::check_owner(&metadata)?)
}

/// A cache as one engine uses it.
#[derive(Debug)]
pub(crate) struct EngineCache {
    cache: Cache,
    /// Hash of everything in the key but the binary.
    compiler_id: [u8; 32],
}

/// Name of an entry.
pub(crate) struct Key(blake3::Hash);

impl EngineCache {
    pub(crate) fn new(cache: Cache, engine: &Header, keeps_debug_info: bool) -> EngineCache {
        EngineCache {
            cache,
            compiler_id: compiler_id(engine, keeps_debug_info),
        }
    }

    /// The name under which the artifact of this binary is kept.
    pub(crate) fn key(&self, wasm: &[u8]) -> Key {
        let mut hasher = blake3::Hasher::new_keyed(&self.compiler_id);
        hasher.update(wasm);
        Key(hasher.finalize())
    }

    pub(crate) fn count_hit(&self) {
        self.inner().hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_miss(&self) {
        self.inner().misses.fetch_add(1, Ordering::Relaxed);
    }

    /// The entry under this name, opened, if there is one that may be trusted.
    pub(crate) fn get(&self, key: &Key) -> Option<File> {
        let path = self.path(key);
        match open_entry(&path) {
            Ok(file) => Some(file),
            Err(error) => {
                let missing = error
                    .downcast_ref::<std::io::Error>()
                    .is_some_and(|e| e.kind() == ErrorKind::NotFound);
                if !missing {
                    tracing::warn!("compile cache: {}: {error:#}", path.display());
                }
                None
            }
        }
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
        let len = artifact.len() as u64;
        if len > self.inner().config.files_total_size_soft_limit() {
            tracing::debug!("compile cache: {len} bytes are more than it may have");
            return;
        }
        self.write(&self.path(key), artifact);
    }

    /// Writes a file under its name, and makes room for it.
    fn write(&self, path: &Path, content: &[u8]) {
        let inner = self.inner();
        if let Err(error) = write_whole(&inner.dir, path, content) {
            tracing::warn!("compile cache: {}: {error:#}", path.display());
            return;
        }
        tracing::debug!("compile cache: wrote {}", path.display());
        self.cache.account(path, content.len() as u64, true);
    }

    fn path(&self, key: &Key) -> PathBuf {
        let name = format!("{}.{SUFFIX}", key.0.to_hex());
        self.inner().dir.join(name)
    }

    fn inner(&self) -> &Inner {
        &self.cache.inner
    }
}

/// Opens a file that may be trusted. What is not a file of ours is not followed nor waited for.
fn open(path: &Path, options: &mut OpenOptions) -> Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits() as i32).open(path)?;
    trust::check_file(&file.metadata()?)?;
    Ok(file)
}

/// Opens an entry and notes that it was used.
fn open_entry(path: &Path) -> Result<File> {
    let file = open(path, OpenOptions::new().read(true))?;
    // The time of last use, for eviction. An entry that cannot be touched is merely evicted earlier.
    if let Err(error) = file.set_modified(SystemTime::now()) {
        tracing::debug!("compile cache: {}: {error}", path.display());
    }
    Ok(file)
}

/// Writes a file that appears under its name when all of it is on disk, and not otherwise.
fn write_whole(dir: &Path, path: &Path, content: &[u8]) -> Result<()> {
    // A temporary file is made with mode 0600 and removed if anything fails before it has its name.
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .rand_bytes(RANDOM_LEN)
        .tempfile_in(dir)?;
    // As long as this process lives, nobody takes it for one that was left behind.
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    file.write_all(content)?;
    // Or else a machine that crashes may keep the name and the length, and lose the content.
    file.as_file().sync_data()?;
    let Err(error) = file.persist(path) else {
        return Ok(());
    };
    // The only thing that a file does not replace is a directory.
    if fs::remove_dir(path).is_err() {
        bail!(error.error);
    }
    error.file.persist(path)?;
    Ok(())
}

/// Everything but the binary that decides what an artifact is.
fn compiler_id(engine: &Header, keeps_debug_info: bool) -> [u8; 32] {
    let Header {
        version,
        target,
        cpu_features,
        settings,
        file_len: _,
        content_hash: _,
    } = engine;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[keeps_debug_info.into()]);
    let words = [version, target, settings, &cpu_features.join(" ")];
    let words = words.map(String::as_str);
    for word in words.into_iter().chain(cowling_compiler::IDENTITY) {
        hasher.update(&(word.len() as u64).to_le_bytes());
        hasher.update(word.as_bytes());
    }
    *hasher.finalize().as_bytes()
}
