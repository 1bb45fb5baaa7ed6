//! Reading a directory, from any place a reader once reached.
//!
//! A *cookie* names a place in a directory:
//!
//! ```text
//!   cookie     0         1         2          off(a) + 3    off(b) + 3
//!   place      | .       | ..      | a        | b           | ...
//! ```
//!
//! `.` and `..` are made up here, always first; the operating system's own are left out. For the rest,
//! the operating system's offset after an entry (`d_off`) plus 3 is the cookie after it. Such an offset stays good while
//! others come and go, and costs no memory however long the directory is.
//!
//! Invariant: `chunk` holds what the operating system said from the offset `chunk[0].at` on up to the descriptor's own
//! position, which is `position`, without gaps but for `.` and `..`. Reading on from the last entry handed out never moves the
//! position back: some file systems lose track when files are removed between a seek and the next read.

use std::os::fd::AsFd;

use rustix::fs::{RawDir, SeekFrom};

use super::error::Result;
use super::stat::FileKind;

/// What is added to the operating system's offsets.
const SHIFT: u64 = 3;
/// Bytes asked from the operating system at once. It must hold the longest entry (280 bytes or so).
const CHUNK: usize = 32 * 1024;

/// One entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    /// 0 when it is not known, as for `..`.
    pub(crate) inode: u64,
    pub(crate) kind: FileKind,
    /// The cookie of the place after this entry.
    pub(crate) next: u64,
}

#[derive(Debug)]
struct Raw {
    /// The offset at which a reader finds this entry.
    at: u64,
    /// The offset after it.
    next: u64,
    inode: u64,
    kind: FileKind,
    /// Where the name ends in `names`; it starts where the one before ends.
    name_end: usize,
}

/// The reader's state for one open directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    chunk: Vec<Raw>,
    names: Vec<u8>,
    position: u64,
    /// Index of the entry that is most likely asked for next.
    likely: usize,
}

impl Listing {
    /// The entry at `cookie` of the directory `dir`, whose own inode is `inode`; `None` at the end.
    ///
    /// # Errors
    ///
    /// The operating system's, `EINVAL` for a cookie it never gave among them.
    pub(crate) fn entry(
        &mut self,
        dir: impl AsFd,
        inode: u64,
        cookie: u64,
    ) -> Result<Option<Entry<'_>>> {
        let dot = |name, inode| {
            Ok(Some(Entry {
                name,
                inode,
                kind: FileKind::Directory,
                next: cookie + 1,
            }))
        };
        match cookie {
            0 => return dot(b".", inode),
            // The parent may lie outside of what the guest may see.
            1 => return dot(b"..", 0),
            _ => {}
        }
        let offset = cookie.saturating_sub(SHIFT);
        let Some(index) = self.find(dir, offset)? else {
            return Ok(None);
        };
        self.likely = index + 1;
        let start = match index {
            0 => 0,
            _ => self.chunk[index - 1].name_end,
        };
        let raw = &self.chunk[index];
        Ok(Some(Entry {
            name: &self.names[start..raw.name_end],
            inode: raw.inode,
            kind: raw.kind,
            next: raw.next.saturating_add(SHIFT),
        }))
    }

    /// The index in `chunk` of the entry at `offset`, after reading more where needed.
    fn find(&mut self, dir: impl AsFd, offset: u64) -> Result<Option<usize>> {
        // Starting over shows what has changed since.
        if offset != 0 {
            if let Some(raw) = self.chunk.get(self.likely)
                && raw.at == offset
            {
                return Ok(Some(self.likely));
            }
            if let Some(index) = self.chunk.iter().position(|raw| raw.at == offset) {
                return Ok(Some(index));
            }
        }
        // `.` and `..` may lie between the last entry of the chunk and the descriptor's position.
        let reads_on = match self.chunk.last() {
            Some(last) => last.next == offset,
            None => offset == self.position,
        };
        if offset == 0 || !reads_on {
            self.position = rustix::fs::seek(&dir, SeekFrom::Start(offset))?;
        }
        Ok(self.fill(dir, offset)?.then_some(0))
    }

    /// Reads the next chunk, whose first entry a reader finds at `offset`; `false` at the end.
    fn fill(&mut self, dir: impl AsFd, offset: u64) -> Result<bool> {
        self.chunk.clear();
        self.names.clear();
        let mut buffer = Vec::with_capacity(CHUNK);
        let mut raw_dir = RawDir::new(dir, buffer.spare_capacity_mut());
        let mut at = offset;
        while let Some(entry) = raw_dir.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let next = entry.next_entry_cookie();
            self.position = next;
            if name != b"." && name != b".." {
                self.names.extend_from_slice(name);
                self.chunk.push(Raw {
                    at,
                    next,
                    inode: entry.ino(),
                    kind: entry.file_type().into(),
                    name_end: self.names.len(),
                });
                at = next;
            }
            // A chunk of nothing but `.` and `..` goes on to the next.
            if raw_dir.is_buffer_empty() && !self.chunk.is_empty() {
                break;
            }
        }
        Ok(!self.chunk.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::path::Path;

    use super::*;

    /// The cookie of the first entry that the operating system gives.
    const FIRST: u64 = 2;

    /// Reads from `cookie` on, at most `limit` entries; answers their names and the last cookie.
    fn read(
        listing: &mut Listing,
        dir: &File,
        mut cookie: u64,
        limit: usize,
    ) -> (Vec<String>, u64) {
        let mut names = Vec::new();
        while names.len() < limit
            && let Some(entry) = listing.entry(dir, 7, cookie).unwrap()
        {
            names.push(String::from_utf8(entry.name.to_vec()).unwrap());
            cookie = entry.next;
        }
        (names, cookie)
    }

    fn fill(path: &Path, count: usize) -> BTreeSet<String> {
        (0..count)
            .map(|number| {
                let name = format!("file-with-a-rather-long-name-{number}");
                File::create(path.join(&name)).unwrap();
                name
            })
            .collect()
    }

    #[test]
    fn dot_and_dot_dot_come_first_with_the_inode_that_is_known() {
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        let mut listing = Listing::default();
        let entry = listing.entry(&dir, 7, 0).unwrap().unwrap();
        assert_eq!((entry.name, entry.inode, entry.next), (&b"."[..], 7, 1));
        let entry = listing.entry(&dir, 7, 1).unwrap().unwrap();
        assert_eq!(
            (entry.name, entry.inode, entry.next),
            (&b".."[..], 0, FIRST)
        );
        assert_eq!(listing.entry(&dir, 7, FIRST).unwrap(), None);
    }

    #[test]
    fn each_entry_comes_once_over_several_chunks_and_from_any_cookie() {
        let temp = tempfile::tempdir().unwrap();
        let mut expected = fill(temp.path(), 2_000);
        expected.extend([".".to_owned(), "..".to_owned()]);
        let dir = File::open(temp.path()).unwrap();
        let mut listing = Listing::default();
        let (all, end) = read(&mut listing, &dir, 0, usize::MAX);
        assert_eq!(all.len(), 2_002);
        assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), expected);
        assert_eq!(listing.entry(&dir, 7, end).unwrap(), None);

        for from in [0, 1, 2, 3, 500, 1_999, 2_001, 2_002] {
            let (_, cookie) = read(&mut listing, &dir, 0, from);
            // Another place in between, far enough to be in another chunk.
            read(&mut listing, &dir, 0, 1_500);
            let (rest, _) = read(&mut listing, &dir, cookie, usize::MAX);
            assert_eq!(rest, all[from..], "from the place after entry {from}");
        }
    }

    #[test]
    fn starting_over_sees_new_files() {
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        let mut listing = Listing::default();
        assert_eq!(read(&mut listing, &dir, 0, 9).0.len(), 2);
        fill(temp.path(), 3);
        assert_eq!(read(&mut listing, &dir, 0, 9).0.len(), 5);
    }

    #[test]
    fn removing_each_file_as_it_is_listed_misses_none() {
        let temp = tempfile::tempdir().unwrap();
        fill(temp.path(), 3_000);
        let dir = File::open(temp.path()).unwrap();
        let mut listing = Listing::default();
        let mut cookie = FIRST;
        loop {
            let (names, next) = read(&mut listing, &dir, cookie, 10);
            if names.is_empty() {
                break;
            }
            for name in names {
                std::fs::remove_file(temp.path().join(name)).unwrap();
            }
            cookie = next;
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_made_up_cookie_is_harmless() {
        let temp = tempfile::tempdir().unwrap();
        fill(temp.path(), 5);
        let dir = File::open(temp.path()).unwrap();
        let mut listing = Listing::default();
        for cookie in [3, 4, 99, 1 << 40, i64::MAX as u64, u64::MAX - 1, u64::MAX] {
            let mut at = cookie;
            // Any answer will do, as long as the reading ends.
            for _ in 0..100 {
                match listing.entry(&dir, 7, at) {
                    Ok(Some(entry)) => at = entry.next,
                    Ok(None) | Err(_) => break,
                }
            }
        }
        assert_eq!(read(&mut listing, &dir, 0, 99).0.len(), 7);
    }
}
