//! Address space that unmaps itself.
//!
//! ```text
//!   base                                       base + len
//!   | accessible | inaccessible | file, private | ...   |
//!   0 (offsets are from the base)                       len
//! ```
//!
//! Invariant: a [`Mapping`] owns every page from `base` to `base + len` from creation to drop. Operations replace pages in
//! place (`MAP_FIXED`, `mprotect`) and never leave a hole that another part of the process could be given, so an access that is
//! guarded by an inaccessible page of a mapping always faults.

use super::PAGE_SIZE;
use rustix::mm::{Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags};
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

/// What may be done with pages. There is no way to ask for pages that are writable and executable at once.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Nothing. The contents stay.
    None,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
}

/// Address space owned by the value; unmapped on drop. Offsets and lengths are in bytes and must be whole pages.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the value is a range of addresses; no operation depends on the thread, and changes of contents or protection go through
// `unsafe` methods whose callers answer for concurrent use.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `len` bytes of inaccessible address space.
    ///
    /// # Errors
    /// When `len` is 0, not a whole number of pages, or more than there is.
    pub(crate) fn reserve(len: usize) -> io::Result<Mapping> {
        check_pages(&(0..len), len)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), MapFlags::PRIVATE)?
        };
        Self::own(base.cast(), len)
    }

    /// Maps the first `len` bytes of a file, read-only and private. `len` need not be whole pages; the mapping's length is.
    ///
    /// # Errors
    /// When `len` is 0 or the file cannot be mapped.
    pub(crate) fn file(file: BorrowedFd<'_>, len: usize) -> io::Result<Mapping> {
        let whole = super::round_up_to_page(len).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                file,
                0,
            )?
        };
        Self::own(base.cast(), whole)
    }

    fn own(base: *mut u8, len: usize) -> io::Result<Mapping> {
        let base = NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { base, len })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Address of the first byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Pointer to the byte at an offset, which may be one past the end.
    ///
    /// # Panics
    /// If the offset is further out: a mistake in this crate.
    pub(crate) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(
            offset <= self.len,
            "offset {offset} outside a mapping of {} bytes",
            self.len
        );
        // SAFETY: the offset is inside the mapping or one past it, as just checked.
        unsafe { self.base.add(offset) }
    }

    /// Changes what may be done with the pages of a range; their contents stay.
    ///
    /// # Errors
    /// When the range is not whole pages of this mapping or the system refuses, for example for lack of memory.
    ///
    /// # Safety
    /// Nothing may be using the range in a way that the new protection forbids, no Rust reference may be affected.
    pub(crate) unsafe fn protect(
        &self,
        range: Range<usize>,
        protection: Protection,
    ) -> io::Result<()> {
        check_pages(&range, self.len)?;
        let flags = match protection {
            Protection::None => MprotectFlags::empty(),
            Protection::ReadWrite => MprotectFlags::READ | MprotectFlags::WRITE,
            Protection::ReadExecute => MprotectFlags::READ | MprotectFlags::EXEC,
        };
        // SAFETY: the pages are this mapping's; the caller answers for their users.
        unsafe { rustix::mm::mprotect(self.at(range.start).as_ptr().cast(), range.len(), flags)? };
        Ok(())
    }

    /// Replaces a range by a private, writable copy-on-write view of a file from `file_offset` on.
    ///
    /// # Errors
    /// When the range or `file_offset` is not whole pages or the system refuses. The contents of the range are unspecified then.
    ///
    /// # Safety
    /// As for [`protect`](Self::protect); what was in the range is gone.
    pub(crate) unsafe fn map_file_copy(
        &self,
        range: Range<usize>,
        file: BorrowedFd<'_>,
        file_offset: u64,
    ) -> io::Result<()> {
        check_pages(&range, self.len)?;
        // SAFETY: the pages replaced are this mapping's; the caller answers for their users.
        unsafe {
            rustix::mm::mmap(
                self.at(range.start).as_ptr().cast(),
                range.len(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED,
                file,
                file_offset,
            )?
        };
        Ok(())
    }

    /// Replaces a range by zeros that can be read and written.
    ///
    /// # Errors
    /// As for [`map_file_copy`](Self::map_file_copy).
    ///
    /// # Safety
    /// As for [`map_file_copy`](Self::map_file_copy).
    pub(crate) unsafe fn map_zeros(&self, range: Range<usize>) -> io::Result<()> {
        check_pages(&range, self.len)?;
        // SAFETY: the pages replaced are this mapping's; the caller answers for their users.
        unsafe {
            rustix::mm::mmap_anonymous(
                self.at(range.start).as_ptr().cast(),
                range.len(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED,
            )?
        };
        Ok(())
    }

    /// Makes the pages of a range as new: zeros, or the file's, and no memory in use for them.
    ///
    /// # Errors
    /// When the range is not whole pages of this mapping or the system refuses. The contents of the range are unspecified then.
    ///
    /// # Safety
    /// As for [`protect`](Self::protect); what was in the range is gone.
    pub(crate) unsafe fn discard(&self, range: Range<usize>) -> io::Result<()> {
        check_pages(&range, self.len)?;
        // SAFETY: the pages are this mapping's; the caller answers for their users.
        unsafe {
            rustix::mm::madvise(
                self.at(range.start).as_ptr().cast(),
                range.len(),
                Advice::LinuxDontNeed,
            )?
        };
        Ok(())
    }

    /// Moves the pages of `range`, without copying them, to offset `to` of another mapping, whose pages there they replace. What
    /// they leave behind still belongs to this mapping.
    ///
    /// # Errors
    /// When the system refuses, as it does for ranges that consist of several areas in its books; nothing has moved then.
    ///
    /// # Safety
    /// As for [`protect`](Self::protect), in both mappings; the contents of the range here are gone.
    pub(crate) unsafe fn move_pages(
        &self,
        range: Range<usize>,
        target: &Mapping,
        to: usize,
    ) -> io::Result<()> {
        check_pages(&range, self.len)?;
        let end = to
            .checked_add(range.len())
            .ok_or(io::ErrorKind::InvalidInput)?;
        check_pages(&(to..end), target.len)?;
        let (old, len) = (self.at(range.start).as_ptr().cast(), range.len());
        // Without DONTUNMAP another thread could be given the addresses left behind, and lose them when this mapping is dropped.
        let flags = MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP;
        // SAFETY: both ranges belong to the two mappings; the caller answers for their users.
        unsafe { rustix::mm::mremap_fixed(old, len, len, flags, target.at(to).as_ptr().cast())? };
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping's own, and whoever could use it borrows from or holds the value that is going away.
        let result = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(
            result.is_ok(),
            "munmap of an owned mapping failed: {result:?}"
        );
    }
}

fn check_pages(range: &Range<usize>, len: usize) -> io::Result<()> {
    let whole = range.start.is_multiple_of(PAGE_SIZE) && range.end.is_multiple_of(PAGE_SIZE);
    if whole && range.start < range.end && range.end <= len {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("bytes {range:?} are not whole pages of a mapping of {len} bytes"),
        ))
    }
}
