//! Files seen before, told by their [`Identity`].
//!
//! ```text
//!   <dir>/<hash>.seen        what was found out about a file with this identity
//!
//!   hash    = BLAKE3(compiler id, identity)
//!   content = the name of the artifact compiled from the file, or "verified" for an artifact whose checksum was right
//! ```

use super::{EngineCache, Key, open_entry};
use crate::identity::Identity;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Suffix of a note's name.
pub(super) const SUFFIX: &str = "seen";
/// What a note says of an artifact.
const VERIFIED: &str = "verified";
/// No note has more bytes.
const MAX_NOTE: u64 = 128;

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
        if identity.is_still_that_of(file) {
            self.write(&self.note_path(identity), content.as_bytes());
        }
    }

    fn note_path(&self, identity: &Identity) -> PathBuf {
        let mut hasher = blake3::Hasher::new_keyed(&self.compiler_id);
        for word in identity.words() {
            hasher.update(&word.to_le_bytes());
        }
        let name = hasher.finalize().to_hex();
        self.inner().dir.join(format!("{name}.{SUFFIX}"))
    }
}
