//! The cache's limits: what is in the directory, and what goes when it is too much.
//!
//! Looking through the directory takes a system call per entry, so a process does not do it for each entry it writes: it remembers how much
//! there was and looks again when it has written an eighth of what was left, which is ever more often the closer the limit is, or when the
//! cleanup interval is over. So a process alone never exceeds the limits, and several exceed them by at most an eighth of what was
//! left, each, for a moment.
//!
//! What goes first is what was not used for longest, going by the modification times of entries, which uses set. Times that lie in the future, because
//! somebody set the clock back, count as long ago.

use super::config::CacheConfig;
use super::{CacheUsage, FUNCTIONS, KEY_LEN, RANDOM_LEN, SUFFIX, TEMPORARY, seen};
use crate::error::Result;
use rustix::fs::{FlockOperation, OFlags};
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// What this process knows of the room in the directory.
#[derive(Debug, Default)]
pub(super) struct Room {
    looked: Option<Looked>,
}

/// When it looked last, and what it may write before it has to look again.
#[derive(Debug)]
struct Looked {
    at: Instant,
    bytes: u64,
    files: u64,
}

/// What is in the directory.
#[derive(Default)]
pub(super) struct Census {
    bytes: u64,
    files: u64,
    entries: Vec<Entry>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    used: SystemTime,
    path: PathBuf,
    bytes: u64,
}

impl Room {
    /// Bytes were written to a file, which is new or was there: makes room if that is due. The file stays.
    pub(super) fn written(
        &mut self,
        dir: &Path,
        config: &CacheConfig,
        path: &Path,
        bytes: u64,
        is_new: bool,
    ) -> Result<()> {
        if let Some(looked) = &mut self.looked
            && looked.at.elapsed() < config.cleanup_interval()
            && let Some(bytes) = looked.bytes.checked_sub(bytes)
            && let Some(files) = looked.files.checked_sub(is_new.into())
        {
            (looked.bytes, looked.files) = (bytes, files);
            return Ok(());
        }
        // Whatever fails, the next one looks again.
        self.looked = None;
        let mut census = Census::take(dir, config.allowed_clock_drift_for_files_from_future())?;
        let (max_bytes, max_files) = (
            config.files_total_size_soft_limit(),
            config.file_count_soft_limit(),
        );
        if census.bytes > max_bytes || census.files > max_files {
            census.shrink(
                percent(
                    max_bytes,
                    config.files_total_size_limit_percent_if_deleting(),
                ),
                percent(max_files, config.file_count_limit_percent_if_deleting()),
                path,
            )?;
        }
        self.looked = Some(Looked {
            at: Instant::now(),
            bytes: max_bytes.saturating_sub(census.bytes) / 8,
            files: max_files.saturating_sub(census.files) / 8,
        });
        Ok(())
    }
}

/// Is this the name of a file of functions?
pub(super) fn is_functions(name: &str) -> bool {
    name.split_once('.').is_some_and(|(number, suffix)| {
        suffix == FUNCTIONS
            && (1..=10).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Is this the name of something that is kept? Others' files are left alone, wherever somebody has put the cache.
fn is_entry(name: &str) -> bool {
    if is_functions(name) {
        return true;
    }
    let Some((key, suffix)) = name.split_once('.') else {
        return false;
    };
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    key.len() == KEY_LEN && key.bytes().all(hex) && (suffix == SUFFIX || suffix == seen::SUFFIX)
}

/// Is this the name of something that is being written?
fn is_temporary(name: &str) -> bool {
    name.strip_prefix(TEMPORARY).is_some_and(|random| {
        random.len() == RANDOM_LEN && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

fn percent(limit: u64, percent: u8) -> u64 {
    // At most the limit.
    (u128::from(limit) * u128::from(percent) / 100) as u64
}

impl Census {
    /// Looks through the directory.
    pub(super) fn look(dir: &Path, drift: Duration) -> io::Result<Census> {
        Census::of(dir, drift, false)
    }

    /// The same, and removes what is of no use to anybody: what dead writers left, and what is no file.
    pub(super) fn take(dir: &Path, drift: Duration) -> io::Result<Census> {
        Census::of(dir, drift, true)
    }

    fn of(dir: &Path, drift: Duration, tidy: bool) -> io::Result<Census> {
        // No time is later than what has no number.
        let latest = SystemTime::now().checked_add(drift);
        let mut census = Census::default();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let temporary = is_temporary(&name);
            let ours = is_entry(&name);
            // Another process may remove entries meanwhile.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if !temporary && !ours {
                continue;
            }
            if !metadata.is_file() {
                if tidy {
                    remove(&path, &metadata)?;
                }
            } else if temporary {
                if tidy && was_left_behind(&path) {
                    remove(&path, &metadata)?;
                } else {
                    census.bytes += metadata.len();
                }
            } else {
                let used = metadata.modified()?;
                census.bytes += metadata.len();
                census.files += 1;
                census.entries.push(Entry {
                    used: match latest {
                        Some(latest) if used > latest => SystemTime::UNIX_EPOCH,
                        _ => used,
                    },
                    path,
                    bytes: metadata.len(),
                });
            }
        }
        Ok(census)
    }

    /// How much there is.
    pub(super) fn usage(&self) -> CacheUsage {
        CacheUsage {
            files: self.files,
            bytes: self.bytes,
        }
    }

    /// Removes the entries not used for longest until the rest fits. `keep` stays.
    pub(super) fn shrink(&mut self, bytes: u64, files: u64, keep: &Path) -> io::Result<()> {
        self.entries.sort();
        for entry in &self.entries {
            if self.bytes <= bytes && self.files <= files {
                break;
            }
            if entry.path == keep {
                continue;
            }
            tracing::debug!("compile cache: evicting {}", entry.path.display());
            unless_missing(fs::remove_file(&entry.path))?;
            self.bytes -= entry.bytes;
            self.files -= 1;
        }
        Ok(())
    }
}

/// Is nobody writing this temporary file any more? A writer has it locked, and its lock ends with it. In the moment between making a file
/// and locking it a writer may lose it, and then does not keep its entry.
fn was_left_behind(path: &Path) -> bool {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path);
    file.is_ok_and(|file| {
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

fn remove(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let removed = match metadata.is_dir() {
        true => fs::remove_dir(path),
        false => fs::remove_file(path),
    };
    match unless_missing(removed) {
        // Somebody keeps things in it.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        other => other,
    }
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
