//! Files told from their metadata, so that a large one need not be read to learn that it has not changed.
//!
//! The change time is set by the system at every write and cannot be set back, so equal identities mean equal content, but for
//! a write within one tick of its clock. Hence what is found out about a file is only noted when its last change was [`SETTLED`] ago
//! *before* it was read and it still has the same identity after.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long ago a file must have changed to be told from its metadata. Clocks of file systems tick every two seconds at worst.
const SETTLED: Duration = Duration::from_secs(3);

/// How many files are remembered.
const MAX_FILES: usize = 1 << 14;

/// Device, inode, length, and modification and change time in seconds and nanoseconds.
type Words = [u64; 7];

/// What a file is told by.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    words: Words,
    settled: bool,
}

impl Identity {
    /// The identity of an open file, or `None` when it is no regular one.
    pub(crate) fn of(file: &File) -> Option<Identity> {
        Identity::from_metadata(&file.metadata().ok()?)
    }

    /// The identity of the file that these are the metadata of, or `None` when it is no regular one.
    pub(crate) fn from_metadata(metadata: &Metadata) -> Option<Identity> {
        if !metadata.is_file() {
            return None;
        }
        let changed = metadata.ctime().max(metadata.mtime());
        let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(changed).ok()?);
        let age = SystemTime::now().duration_since(changed);
        Some(Identity {
            words: [
                metadata.dev(),
                metadata.ino(),
                metadata.len(),
                metadata.mtime() as u64,
                metadata.mtime_nsec() as u64,
                metadata.ctime() as u64,
                metadata.ctime_nsec() as u64,
            ],
            settled: age.is_ok_and(|age| age > SETTLED),
        })
    }

    /// May what was found out since about the file with this identity be noted?
    pub(crate) fn is_still_that_of(&self, file: &File) -> bool {
        self.settled && Identity::of(file).is_some_and(|now| now.words == self.words)
    }

    /// The numbers it consists of.
    #[cfg(feature = "cache")]
    pub(crate) fn words(&self) -> Words {
        self.words
    }
}

/// Files whose checksum was right, as far as they are remembered.
#[derive(Debug, Default)]
pub(crate) struct CheckedFiles(Mutex<HashSet<Words>>);

impl CheckedFiles {
    /// Was the checksum of a file with this identity right?
    pub(crate) fn contains(&self, identity: &Identity) -> bool {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.contains(&identity.words)
    }

    /// Notes that the checksum of a file was right that had this identity before it was checked.
    pub(crate) fn note(&self, identity: &Identity, file: &File) {
        if !identity.is_still_that_of(file) {
            return;
        }
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= MAX_FILES {
            files.clear();
        }
        files.insert(identity.words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_a_file_that_has_not_changed_for_a_while_is_remembered() {
        let checked = CheckedFiles::default();
        // This program was written before it ran.
        let old = File::open(std::env::current_exe().unwrap()).unwrap();
        let mut identity = Identity::of(&old).unwrap();
        identity.settled = true;
        assert!(!checked.contains(&identity));
        checked.note(&identity, &old);
        assert!(checked.contains(&identity));

        let mut new = tempfile::tempfile().unwrap();
        new.write_all(b"new").unwrap();
        let identity = Identity::of(&new).unwrap();
        checked.note(&identity, &new);
        assert!(!checked.contains(&identity), "changed a moment ago");
        // And if it changes while it is read.
        let before = Identity {
            settled: true,
            ..identity
        };
        new.write_all(b"er").unwrap();
        checked.note(&before, &new);
        assert!(!checked.contains(&before));
        let now = Identity::of(&new).unwrap();
        assert!(!checked.contains(&now));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let checked = CheckedFiles::default();
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        let mut identity = Identity::of(&file).unwrap();
        identity.settled = true;
        for other in 0..MAX_FILES as u64 {
            checked.0.lock().unwrap().insert([other; 7]);
        }
        checked.note(&identity, &file);
        assert!(checked.contains(&identity));
        assert!(checked.0.lock().unwrap().len() <= MAX_FILES);
    }
}
