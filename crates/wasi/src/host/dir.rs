//! A directory granted to the guest, and everything done by a path from it.
//!
//! Invariant: a guest's path only ever reaches the operating system through `cap-std`, which resolves it inside this
//! directory: neither `..`, nor an absolute path, nor a symbolic link (however it got there, or is changed
//! meanwhile) leads out. What was granted is passed on: a directory opened here, and the files in it, can do no
//! more than this one.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, SystemTimeSpec};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::error::{Error, Result};
use super::file::{self, File, FileFlags};
use super::listing::{Entry, Listing};
use super::stat::{FileKind, FileStat, SetTime};

bitflags::bitflags! {
    /// What a guest may do with a granted directory itself, and the directories below it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DirPerms: u8 {
        /// List it, look up names in it, open what is in it.
        const READ = 1;
        /// Create, rename and remove what is in it.
        const MUTATE = 2;
    }
}

bitflags::bitflags! {
    /// What a guest may do with the files in a granted directory, and in the directories below it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FilePerms: u8 {
        /// Read them.
        const READ = 1;
        /// Write to them, cut them, set their times.
        const WRITE = 2;
    }
}

/// The longest path that is looked at, in bytes: Linux's own limit.
pub(crate) const PATH_MAX: usize = 4096;

/// How to open a path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OpenRequest {
    /// Follow a symbolic link in the last place.
    pub(crate) follow: bool,
    pub(crate) create: bool,
    /// Together with `create`: fail when it exists.
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    /// Fail when it is not a directory.
    pub(crate) directory: bool,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) flags: FileFlags,
}

/// What a path turned out to be.
#[derive(Debug)]
pub(crate) enum Opened {
    File(File),
    Directory(Directory),
}

/// A directory with what the guest may do in it.
#[derive(Debug)]
pub(crate) struct Directory {
    dir: Dir,
    dir_perms: DirPerms,
    file_perms: FilePerms,
    listing: Listing,
}

impl Directory {
    /// Opens a directory of the host's, by the embedder's authority.
    ///
    /// # Errors
    ///
    /// The operating system's when it cannot be opened or is not a directory.
    pub(crate) fn open_ambient(
        path: &Path,
        dir_perms: DirPerms,
        file_perms: FilePerms,
    ) -> io::Result<Self> {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
            .open(path)?;
        Ok(Self::new(Dir::from_std_file(file), dir_perms, file_perms))
    }

    fn new(dir: Dir, dir_perms: DirPerms, file_perms: FilePerms) -> Self {
        Directory {
            dir,
            dir_perms,
            file_perms,
            listing: Listing::default(),
        }
    }

    /// Fails with `EPERM` when the embedder did not grant `perms`.
    fn require(&self, perms: DirPerms) -> Result<()> {
        if self.dir_perms.contains(perms) {
            Ok(())
        } else {
            Err(Errno::PERM.into())
        }
    }

    /// Fails with `EXDEV` when what moves or is linked from here to `to` could do more there than here. A program then copies,
    /// which takes reading here and writing there.
    fn require_no_gain(&self, to: &Directory) -> Result<()> {
        if self.dir_perms.contains(to.dir_perms) && self.file_perms.contains(to.file_perms) {
            Ok(())
        } else {
            Err(Errno::XDEV.into())
        }
    }

    /// Fails, as creating something that is not a directory does, when `path` ends with a slash.
    fn require_no_slashes(&self, path: &Path) -> Result<()> {
        if let Some(name) = without_slashes(path) {
            self.dir.symlink_metadata(name)?;
            return Err(Errno::EXIST.into());
        }
        Ok(())
    }

    /// Opens `path`.
    ///
    /// # Errors
    ///
    /// The operating system's; `EPERM` when it leads out or takes more than was granted.
    pub(crate) fn open(&self, path: &str, request: OpenRequest) -> Result<Opened> {
        let path = checked(path)?;
        if request.directory && (request.create || request.truncate) {
            return Err(Errno::INVAL.into());
        }
        self.require(DirPerms::READ)?;
        if (request.write || request.truncate) && !self.file_perms.contains(FilePerms::WRITE) {
            return Err(Errno::PERM.into());
        }
        // What turns out to be a file is looked at again below, but then it would have been made or cut already.
        if request.create || request.truncate {
            self.require_readable_files(&request)?;
        }

        let mut options = OpenOptions::new();
        // The operating system wants one of the two; what the guest may do is kept in the `File`.
        options
            .read(request.read || !request.write)
            .write(request.write || request.truncate)
            .truncate(request.truncate)
            .follow(following(request.follow));
        let mut flags = request.flags.open_flags();
        flags.set(OFlags::DIRECTORY, request.directory);
        options.custom_flags(flags.bits().cast_signed());

        let file = if !request.create {
            self.dir.open_with(path, &options)?
        } else if request.write && self.dir_perms.contains(DirPerms::MUTATE) {
            create(&mut options, request.exclusive);
            self.dir.open_with(path, &options)?
        } else {
            self.open_or_create(path, &mut options, request.exclusive)?
        };

        let kind = FileStat::from(&file.metadata()?).kind;
        if kind == FileKind::Directory {
            let dir = Dir::from_std_file(file.into_std());
            return Ok(Opened::Directory(Directory::new(
                dir,
                self.dir_perms,
                self.file_perms,
            )));
        }
        self.require_readable_files(&request)?;
        Ok(Opened::File(File::new(
            file,
            kind,
            request.read,
            request.write,
            self.file_perms.contains(FilePerms::WRITE),
            request.flags,
        )))
    }

    /// Fails with `EPERM` when files are to be read and the embedder did not grant that.
    fn require_readable_files(&self, request: &OpenRequest) -> Result<()> {
        if request.read && !self.file_perms.contains(FilePerms::READ) {
            return Err(Errno::PERM.into());
        }
        Ok(())
    }

    /// Opens `path`, and creates it only when it is missing: creating takes a permission, and asks the operating system for write
    /// access, that opening what exists does without.
    fn open_or_create(
        &self,
        path: &Path,
        options: &mut OpenOptions,
        exclusive: bool,
    ) -> Result<cap_std::fs::File> {
        let missing = if exclusive {
            self.dir.symlink_metadata(path).map(drop)
        } else {
            match self.dir.open_with(path, options) {
                Ok(file) => return Ok(file),
                Err(error) => Err(error),
            }
        };
        match missing.map_err(Error::from) {
            Ok(()) => Err(Errno::EXIST.into()),
            Err(Error(Errno::NOENT)) => {
                self.require(DirPerms::MUTATE)?;
                options.write(true);
                create(options, exclusive);
                Ok(self.dir.open_with(path, options)?)
            }
            Err(error) => Err(error),
        }
    }

    /// The facts about `path`.
    pub(crate) fn stat_at(&self, path: &str, follow: bool) -> Result<FileStat> {
        let path = checked(path)?;
        self.require(DirPerms::READ)?;
        let metadata = if follow || names_directory(path) {
            self.dir.metadata(path)?
        } else {
            self.dir.symlink_metadata(path)?
        };
        Ok(FileStat::from(&metadata))
    }

    /// The facts about the directory itself.
    pub(crate) fn stat(&self) -> Result<FileStat> {
        Ok(FileStat::from(&self.dir.dir_metadata()?))
    }

    /// Sets the times of `path`: `EPERM` for anything but a directory unless files may be written to.
    pub(crate) fn set_times_at(
        &self,
        path: &str,
        follow: bool,
        accessed: SetTime,
        modified: SetTime,
    ) -> Result<()> {
        let path = checked(path)?;
        self.require(DirPerms::MUTATE)?;
        let follow = follow || names_directory(path);
        if !self.file_perms.contains(FilePerms::WRITE) {
            return self.set_directory_times_at(path, follow, accessed, modified);
        }
        let (accessed, modified) = (time_spec(accessed), time_spec(modified));
        if follow {
            self.dir.set_times(path, accessed, modified)?;
        } else {
            self.dir.set_symlink_times(path, accessed, modified)?;
        }
        Ok(())
    }

    /// Sets the times of `path` if that is a directory, by a descriptor: the path may come to mean a file meanwhile.
    fn set_directory_times_at(
        &self,
        path: &Path,
        follow: bool,
        accessed: SetTime,
        modified: SetTime,
    ) -> Result<()> {
        let metadata = if follow {
            self.dir.metadata(path)?
        } else {
            self.dir.symlink_metadata(path)?
        };
        if !metadata.is_dir() {
            return Err(Errno::PERM.into());
        }
        let mut options = OpenOptions::new();
        options
            .read(true)
            .follow(following(follow))
            .custom_flags(OFlags::DIRECTORY.bits().cast_signed());
        file::set_times(self.dir.open_with(path, &options)?, accessed, modified)
    }

    /// Sets the times of the directory itself.
    pub(crate) fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<()> {
        self.require(DirPerms::MUTATE)?;
        file::set_times(self, accessed, modified)
    }

    pub(crate) fn create_directory(&self, path: &str) -> Result<()> {
        let path = checked(path)?;
        self.require(DirPerms::MUTATE)?;
        Ok(self.dir.create_dir(path)?)
    }

    pub(crate) fn remove_directory(&self, path: &str) -> Result<()> {
        let path = checked(path)?;
        self.require(DirPerms::MUTATE)?;
        Ok(self.dir.remove_dir(without_slashes(path).unwrap_or(path))?)
    }

    /// Removes a file or a symbolic link.
    pub(crate) fn unlink(&self, path: &str) -> Result<()> {
        let path = checked(path)?;
        self.require(DirPerms::MUTATE)?;
        if let Some(name) = without_slashes(path) {
            let is_directory = self.dir.symlink_metadata(name)?.is_dir();
            return Err(if is_directory {
                Errno::ISDIR
            } else {
                Errno::NOTDIR
            }
            .into());
        }
        Ok(self.dir.remove_file(path)?)
    }

    pub(crate) fn rename(&self, from: &str, to_dir: &Directory, to: &str) -> Result<()> {
        let (from, to) = (checked(from)?, checked(to)?);
        self.require(DirPerms::MUTATE)?;
        to_dir.require(DirPerms::MUTATE)?;
        self.require_no_gain(to_dir)?;
        if without_slashes(to).is_some() && !self.dir.symlink_metadata(from)?.is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        Ok(self.dir.rename(from, &to_dir.dir, to)?)
    }

    /// Makes `to` another name of the file `from`.
    pub(crate) fn link(
        &self,
        from: &str,
        follow: bool,
        to_dir: &Directory,
        to: &str,
    ) -> Result<()> {
        let (from, to) = (checked(from)?, checked(to)?);
        self.require(DirPerms::MUTATE)?;
        to_dir.require(DirPerms::MUTATE)?;
        self.require_no_gain(to_dir)?;
        to_dir.require_no_slashes(to)?;
        if follow {
            // Should the link change meanwhile, another file inside this directory is linked.
            let target = self.dir.canonicalize(from)?;
            Ok(self.dir.hard_link(target, &to_dir.dir, to)?)
        } else {
            Ok(self.dir.hard_link(from, &to_dir.dir, to)?)
        }
    }

    /// Makes `path` a symbolic link that says `target`. `EPERM` for an absolute target, which could never be followed.
    pub(crate) fn symlink(&self, target: &str, path: &str) -> Result<()> {
        let (target, path) = (checked(target)?, checked(path)?);
        self.require(DirPerms::MUTATE)?;
        self.require_no_slashes(path)?;
        Ok(self.dir.symlink(target, path)?)
    }

    /// What the symbolic link `path` says.
    pub(crate) fn read_link(&self, path: &str) -> Result<Vec<u8>> {
        let path = checked(path)?;
        self.require(DirPerms::READ)?;
        Ok(self.dir.read_link(path)?.into_os_string().into_vec())
    }

    /// The entry at `cookie`, as [`Listing`] numbers the places; `None` at the end.
    pub(crate) fn entry(&mut self, cookie: u64) -> Result<Option<Entry<'_>>> {
        self.require(DirPerms::READ)?;
        let inode = match cookie {
            0 => self.stat()?.inode,
            _ => 0,
        };
        self.listing.entry(&self.dir, inode, cookie)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn following(follow: bool) -> FollowSymlinks {
    if follow {
        FollowSymlinks::Yes
    } else {
        FollowSymlinks::No
    }
}

fn create(options: &mut OpenOptions, exclusive: bool) {
    if exclusive {
        // A file that was not there has nothing to cut off.
        options.create_new(true).truncate(false);
    } else {
        options.create(true);
    }
}

/// Makes the checks that `cap-std` leaves to the operating system, which may not get to see the path.
fn checked(path: &str) -> Result<&Path> {
    if path.is_empty() {
        Err(Errno::NOENT.into())
    } else if path.len() >= PATH_MAX {
        Err(Errno::NAMETOOLONG.into())
    } else if path.contains('\0') {
        Err(Errno::INVAL.into())
    } else {
        Ok(Path::new(path))
    }
}

/// `path` without the slashes at its end; `None` when there are none, or nothing else.
///
/// `cap-std` puts a `.` behind such slashes, which is right for looking a path up (a link before it is followed, and
/// anything but a directory refused) but not for changing what the last name stands for.
fn without_slashes(path: &Path) -> Option<&Path> {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|&byte| byte != b'/')? + 1;
    (end < bytes.len()).then(|| Path::new(OsStr::from_bytes(&bytes[..end])))
}

/// Whether the end of `path` says that it is a directory, so that a link there is followed.
fn names_directory(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.ends_with(b"/") || bytes.ends_with(b"/.")
}

fn time_spec(time: SetTime) -> Option<SystemTimeSpec> {
    match time {
        SetTime::Keep => None,
        SetTime::Now => Some(SystemTimeSpec::SymbolicNow),
        SetTime::At(nanoseconds) => {
            let time = UNIX_EPOCH + Duration::from_nanos(nanoseconds);
            Some(SystemTimeSpec::Absolute(
                cap_std::time::SystemTime::from_std(time),
            ))
        }
    }
}

#[cfg(test)]
#[path = "dir_tests.rs"]
mod tests;
