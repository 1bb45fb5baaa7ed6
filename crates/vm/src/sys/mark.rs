//! Telling the system's profiler about a file: it notes each file that is mapped executable.

use super::PAGE_SIZE;
use super::mapping::{Mapping, Protection};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

/// The first page of a file, mapped executable as long as this exists, so that `perf record` notes where the file is. Nothing is ever
/// executed there.
#[derive(Debug)]
pub struct ExecutableMark {
    _mapping: Mapping,
}

impl ExecutableMark {
    /// Maps it.
    ///
    /// # Errors
    /// When the file is not open for reading, or the system does not allow it to be executed.
    pub fn new(file: &File) -> io::Result<ExecutableMark> {
        let mapping = Mapping::file(file.as_fd(), PAGE_SIZE)?;
        // SAFETY: nobody uses the page: its address is not given to anyone.
        unsafe { mapping.protect(0..PAGE_SIZE, Protection::ReadExecute)? };
        Ok(ExecutableMark { _mapping: mapping })
    }
}
