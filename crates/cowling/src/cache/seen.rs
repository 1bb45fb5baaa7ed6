//! Files seen before: told from their metadata, so that a large one need not be read to learn that it has not changed.
//!
//! ```text
//!   <dir>/<identity>.seen        what was found out about a file with this identity
//!
//!   identity = BLAKE3(compiler id, device, inode, length, modification and change time in nanoseconds)
//!   content  = the name of the artifact compiled from the file, or "verified" for an artifact whose checksum was right
//! ```
//!
//! The change time is set by the system at every write and cannot be set back, so equal identities mean equal content, but for
//! a write within one tick of its clock. Hence a file is only noted when its last change was [`SETTLED`] ago *before* it was
//! read and it still has the same identity after.

use super::{EngineCache, Key, open_entry};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Suffix of a note's name.
pub(super) const SUFFIX: &str = "seen";
/// What a note says of an artifact.
const VERIFIED: &str = "verified";
/// No note has more bytes.
const MAX_NOTE: u64 = 128;
/// How long ago a file must have changed to be told from its metadata. Clocks of file systems tick every two seconds at worst.
const SETTLED: Duration = Duration::from_secs(3);

/// What a file is told by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    words: [u64; 7],
    settled: bool,
}

impl Identity {
    /// The identity of an open file, or `None` when it is no regular one.
    pub(crate) fn of(file: &File) -> Option<Identity> {
        let metadata = file.metadata().ok().filter(|m| m.is_file())?;
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
}

impl EngineCache {
    /// The key of the artifact compiled from a file with this identity.
    pub(crate) fn recall(&self, identity: &Identity) -> Option<Key> {
        let note = self.read_note(identity)?;
        Some(Key(blake3::Hash::from_hex(note).ok()?))
    }

    /// Notes what a file that had this identity before it was read was compiled to.
    pub(crate) fn note(&self, identity: &Identity, file: &File, key: &Key) {
        self.write_note(identity, file, key.0.to_hex().as_str());
    }

    /// Was the checksum of an artifact with this identity right?
    pub(crate) fn was_verified(&self, identity: &Identity) -> bool {
        self.read_note(identity)
            .is_some_and(|note| note == VERIFIED)
    }

    /// Notes that the checksum of an artifact was right that had this identity before it was checked.
    pub(crate) fn note_verified(&self, identity: &Identity, file: &File) {
        self.write_note(identity, file, VERIFIED);
    }

    fn read_note(&self, identity: &Identity) -> Option<String> {
        let file = open_entry(&self.note_path(identity)).ok()?;
        let mut note = String::new();
        file.take(MAX_NOTE).read_to_string(&mut note).ok()?;
        Some(note)
    }

    fn write_note(&self, identity: &Identity, file: &File, content: &str) {
        if !identity.settled || Identity::of(file).as_ref() != Some(identity) {
            return;
        }
        self.write(&self.note_path(identity), content.as_bytes());
    }

    fn note_path(&self, identity: &Identity) -> PathBuf {
        let mut hasher = blake3::Hasher::new_keyed(&self.compiler_id);
        for word in identity.words {
            hasher.update(&word.to_le_bytes());
        }
        let name = hasher.finalize().to_hex();
        self.inner().dir.join(format!("{name}.{SUFFIX}"))
    }
}
