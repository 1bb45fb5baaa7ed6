//! What a program's descriptors stand for: three streams, one folder, files of that folder that were opened for reading.

use crate::Errno;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The folder's descriptor: the first one behind those of the streams.
const FOLDER: u32 = 3;

#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    open: BTreeMap<u32, Open>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// What a descriptor stands for.
#[derive(Debug)]
pub enum Open {
    /// There is nothing in it.
    Stdin,
    Stdout,
    Stderr,
    Folder,
    /// A file that was read when it was opened, and where its reader is.
    File {
        bytes: Vec<u8>,
        at: u64,
    },
}

/// What there is to know of a file or folder.
#[derive(Copy, Clone, Debug)]
pub struct Kind {
    /// WASI's number for it.
    pub number: u8,
    /// In bytes.
    pub size: u64,
}

impl Kind {
    const DEVICE: Kind = Kind { number: 2, size: 0 };
    const FOLDER: Kind = Kind { number: 3, size: 0 };

    fn file(size: u64) -> Kind {
        Kind { number: 4, size }
    }
}

impl Open {
    pub fn kind(&self) -> Kind {
        match self {
            Open::Stdin | Open::Stdout | Open::Stderr => Kind::DEVICE,
            Open::Folder => Kind::FOLDER,
            Open::File { bytes, .. } => Kind::file(bytes.len() as u64),
        }
    }
}

impl Files {
    pub fn new(directory: &Path) -> Files {
        Files {
            directory: directory.to_path_buf(),
            open: BTreeMap::from([
                (0, Open::Stdin),
                (1, Open::Stdout),
                (2, Open::Stderr),
                (FOLDER, Open::Folder),
            ]),
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    pub fn get(&mut self, descriptor: u32) -> Result<&mut Open, Errno> {
        self.open.get_mut(&descriptor).ok_or(Errno::BadFile)
    }

    /// Is it the folder that the program was given?
    pub fn is_given(&self, descriptor: u32) -> bool {
        descriptor == FOLDER && self.open.contains_key(&FOLDER)
    }

    pub fn close(&mut self, descriptor: u32) -> Result<(), Errno> {
        self.open
            .remove(&descriptor)
            .map(drop)
            .ok_or(Errno::BadFile)
    }

    /// Writes to a stream.
    pub fn write(&mut self, descriptor: u32, bytes: &[u8]) -> Result<(), Errno> {
        let stream = match self.get(descriptor)? {
            Open::Stdout => &mut self.stdout,
            Open::Stderr => &mut self.stderr,
            _ => return Err(Errno::BadFile),
        };
        stream.extend_from_slice(bytes);
        Ok(())
    }

    /// At most `length` bytes of a file from `at`, or from where its reader is, who goes on then.
    pub fn read(
        &mut self,
        descriptor: u32,
        length: u32,
        from: Option<u64>,
    ) -> Result<&[u8], Errno> {
        match self.get(descriptor)? {
            Open::Stdin => Ok(&[]),
            Open::File { bytes, at } => {
                let start = from.unwrap_or(*at).min(bytes.len() as u64) as usize;
                let end = start.saturating_add(length as usize).min(bytes.len());
                if from.is_none() {
                    *at = end as u64;
                }
                Ok(&bytes[start..end])
            }
            _ => Err(Errno::BadFile),
        }
    }

    /// Opens a file of the folder for reading, or the folder itself, and returns its descriptor.
    pub fn open(&mut self, folder: u32, path: &[u8]) -> Result<u32, Errno> {
        let path = self.resolve(folder, path)?;
        let open = match path.is_dir() {
            true if path == self.directory => Open::Folder,
            true => return Err(Errno::NotCapable),
            false => Open::File {
                bytes: std::fs::read(path).map_err(errno)?,
                at: 0,
            },
        };
        let descriptor = (FOLDER..).find(|number| !self.open.contains_key(number));
        let descriptor = descriptor.ok_or(Errno::BadFile)?;
        self.open.insert(descriptor, open);
        Ok(descriptor)
    }

    /// What is there at a path in the folder?
    pub fn kind_at(&mut self, folder: u32, path: &[u8]) -> Result<Kind, Errno> {
        let metadata = std::fs::metadata(self.resolve(folder, path)?).map_err(errno)?;
        Ok(match metadata.is_dir() {
            true => Kind::FOLDER,
            false => Kind::file(metadata.len()),
        })
    }

    /// Where a path in the folder leads. Nothing leads out of it but symbolic links that its owner has put there.
    fn resolve(&mut self, folder: u32, path: &[u8]) -> Result<PathBuf, Errno> {
        let Open::Folder = self.get(folder)? else {
            return Err(Errno::NotDirectory);
        };
        let path = Path::new(std::str::from_utf8(path).map_err(|_| Errno::Invalid)?);
        let mut resolved = self.directory.clone();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(name) => resolved.push(name),
                _ => return Err(Errno::NotCapable),
            }
        }
        Ok(resolved)
    }
}

fn errno(error: io::Error) -> Errno {
    match error.kind() {
        io::ErrorKind::NotFound => Errno::NoEntry,
        io::ErrorKind::NotADirectory => Errno::NotDirectory,
        io::ErrorKind::IsADirectory => Errno::IsDirectory,
        _ => Errno::Io,
    }
}
