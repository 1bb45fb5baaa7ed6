//! Functions that were compiled, each found by its content: what a changed module has in common with what was compiled before.
//!
//! ```text
//!   <dir>/<number>.functions     | record | record | ...        records are added at the end
//!
//!   record = | "cwfn" | bytes of the value: u32 | key: 32 bytes | value |
//! ```
//!
//! A file has at most one writer, which has it locked: a process adds to one that nobody else has, or begins a new one. Everybody reads all
//! files. What a writer that died was about to write is cut off by the next one; what else is damaged is not behind a header that says
//! how long it is, or is noticed by the compiler, whose values have a checksum each. Files are trusted as the cache's other entries are, and removed like
//! them.
//!
//! Files are looked through when a function is looked for the first time: a system call per function that is there.

use super::room::is_functions;
use super::{Cache, FUNCTIONS, open, open_entry};
use crate::error::{Result, bail, ensure};
use cowling_compiler::CacheStore;
use rustix::fs::{FlockOperation, flock};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a record begins with.
const MAGIC: [u8; 4] = *b"cwfn";
/// Bytes in front of a value.
const HEADER: usize = 40;
/// From this length on a file is not added to, so that what is old can go without what is new. If the cache may have less than
/// [`SHARES`] times as much, it is that share of it: the file that a process adds to is not removed to make room.
const FULL: u64 = 256 << 20;
/// See [`FULL`].
const SHARES: u64 = 8;
/// How many functions a process remembers the places of. Others are compiled again.
const MAX_PLACES: usize = 1 << 20;
/// No process begins a file when there are that many.
const MAX_FILES: u32 = 1 << 12;

type FunctionKey = [u8; 32];

/// The functions in a cache, as one process knows them.
#[derive(Debug, Default)]
pub(super) struct Functions(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Were the files looked through?
    looked: bool,
    places: HashMap<FunctionKey, Place>,
    writer: Option<Writer>,
}

/// Where a value is.
#[derive(Clone, Debug)]
struct Place {
    file: Arc<File>,
    offset: u64,
    len: u32,
}

/// A file that this process adds to.
#[derive(Debug)]
struct Writer {
    path: PathBuf,
    file: Arc<File>,
    end: u64,
    /// Do the cache's limits not know of the file yet?
    is_new: bool,
}

/// Calls `each` with the key and the place of each value in a file; returns where the last record ends.
fn look_through(file: &Arc<File>, mut each: impl FnMut(FunctionKey, Place)) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let mut end = 0;
    while end + HEADER as u64 <= len {
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, end)?;
        let (magic, rest) = header.split_at(MAGIC.len());
        let (size, key) = rest.split_at(4);
        let (Ok(size), Ok(key)) = (size.try_into(), FunctionKey::try_from(key)) else {
            unreachable!("a header has these parts")
        };
        let place = Place {
            file: file.clone(),
            offset: end + HEADER as u64,
            len: u32::from_le_bytes(size),
        };
        let next = place.offset + u64::from(place.len);
        if magic != MAGIC || next > len {
            break;
        }
        end = next;
        each(key, place);
    }
    Ok(end)
}

impl Known {
    /// Looks through the files of a cache, once. One that is not as long as `full` may be added to.
    fn look(&mut self, dir: &Path, full: u64) -> io::Result<()> {
        if std::mem::replace(&mut self.looked, true) {
            return Ok(());
        }
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(is_functions) {
                continue;
            }
            let path = entry.path();
            // One that vanished, is not to be trusted or cannot be read is passed over.
            let Ok(file) = open_entry(&path) else {
                continue;
            };
            let file = Arc::new(file);
            let places = &mut self.places;
            let looked = look_through(&file, |key, place| {
                if places.len() < MAX_PLACES {
                    places.insert(key, place);
                }
            });
            let Ok(end) = looked else { continue };
            if self.writer.is_none() && end < full {
                self.writer = Writer::go_on(path);
            }
        }
        Ok(())
    }

    fn add(&mut self, cache: &Cache, key: FunctionKey, value: &[u8]) -> Result<()> {
        let dir = cache.directory();
        let full = full(cache);
        ensure!(
            value.len() as u64 <= full,
            "a function is too large for the cache"
        );
        self.look(dir, full)?;
        if self
            .writer
            .as_ref()
            .is_some_and(|writer| writer.end >= full)
        {
            self.writer = None;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                // Now and then: places in files that are gone keep them on disk.
                let is_there = |file: &File| file.metadata().is_ok_and(|m| m.nlink() > 0);
                let mut known: HashMap<*const File, bool> = HashMap::new();
                self.places.retain(|_, place| {
                    let file = Arc::as_ptr(&place.file);
                    *known.entry(file).or_insert_with(|| is_there(&place.file))
                });
                none.insert(Writer::begin(dir)?)
            }
        };
        let place = writer.add(&key, value)?;
        let bytes = HEADER as u64 + u64::from(place.len);
        if self.places.len() < MAX_PLACES {
            self.places.insert(key, place);
        }
        cache.account(&writer.path, bytes, std::mem::take(&mut writer.is_new));
        // Somebody has emptied the cache.
        if writer.file.metadata()?.nlink() == 0 {
            self.writer = None;
        }
        Ok(())
    }
}

/// From which length on a file of functions is not added to.
fn full(cache: &Cache) -> u64 {
    let limit = cache.inner.config.files_total_size_soft_limit();
    FULL.min(limit / SHARES)
}

impl Writer {
    /// Adds to a file that nobody else adds to.
    fn go_on(path: PathBuf) -> Option<Writer> {
        let file = open(&path, OpenOptions::new().read(true).write(true)).ok()?;
        Writer::lock(path, file, false)
    }

    /// Begins a file.
    fn begin(dir: &Path) -> Result<Writer> {
        for number in 0..MAX_FILES {
            let path = dir.join(format!("{number}.{FUNCTIONS}"));
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o600);
            match options.open(&path) {
                // Another process may have found it first.
                Ok(file) => match Writer::lock(path, file, true) {
                    Some(writer) => return Ok(writer),
                    None => continue,
                },
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error.into()),
            }
        }
        bail!("there are {MAX_FILES} files of functions")
    }

    fn lock(path: PathBuf, file: File, is_new: bool) -> Option<Writer> {
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        let file = Arc::new(file);
        // Only now does it stay as it is.
        let end = look_through(&file, |_, _| {}).ok()?;
        file.set_len(end).ok()?;
        Some(Writer {
            path,
            file,
            end,
            is_new,
        })
    }

    fn add(&mut self, key: &FunctionKey, value: &[u8]) -> Result<Place> {
        let len = u32::try_from(value.len())?;
        let mut record = Vec::with_capacity(HEADER + value.len());
        record.extend(MAGIC);
        record.extend(len.to_le_bytes());
        record.extend(key);
        record.extend(value);
        self.file.write_all_at(&record, self.end)?;
        let place = Place {
            file: self.file.clone(),
            offset: self.end + HEADER as u64,
            len,
        };
        self.end += record.len() as u64;
        Ok(place)
    }
}

impl Functions {
    fn known(&self) -> MutexGuard<'_, Known> {
        // What is known are places in files: wherever somebody panicked, a wrong one is a miss.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The functions that were compiled, beside the modules, under the same limits. What cannot be read or written is a miss and not kept.
impl CacheStore for Cache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key = FunctionKey::try_from(key).ok()?;
        let place = {
            let mut known = self.inner.functions.known();
            if let Err(error) = known.look(self.directory(), full(self)) {
                tracing::warn!("compile cache: {}: {error}", self.directory().display());
            }
            known.places.get(&key).cloned()
        }?;
        let mut value = vec![0; place.len as usize];
        place.file.read_exact_at(&mut value, place.offset).ok()?;
        Some(Cow::Owned(value))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let Ok(key) = FunctionKey::try_from(key) else {
            return false;
        };
        let added = self.inner.functions.known().add(self, key, &value);
        if let Err(error) = &added {
            tracing::warn!("compile cache: {}: {error:#}", self.directory().display());
        }
        added.is_ok()
    }
}
