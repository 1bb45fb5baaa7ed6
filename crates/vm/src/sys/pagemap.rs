//! Which pages of this process are its own by now, rather than still those of a file or not there at all.
//!
//! ```text
//!   private mapping of a file | file's page | file's page | copy | file's page |      written once: a copy
//!   anonymous mapping         | -           | zero page   | page | -           |      written once: a page
//!                                                           ^^^^ what is reported
//! ```
//!
//! `PAGEMAP_SCAN` (Linux 6.7) walks page tables: ranges for which there are none cost nothing. What was swapped out is reported
//! too. A page once written stays reported until it is discarded, whether or not it was written since.
//!
//! Each thread has a descriptor of its own: the kernel counts who uses one, in memory that threads would take from each other.
//!
//! Invariant: a descriptor that is scanned with is that of this process. A child of `fork` inherits the parent's, which would tell of the
//! parent's pages; a word in a page that children find wiped says so, and makes them open their own.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{self, IoctlOutput, Opcode, opcode};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::cell::RefCell;
use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Pages that still are a file's.
const FILE: u64 = 1 << 2;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
/// The one page of zeros that everybody reads who has not written.
const ZERO: u64 = 1 << 5;

/// How many ranges are asked for at a time. The kernel allocates as much room as is asked for.
const BATCH: usize = 16;

/// `struct pm_scan_arg` of the kernel.
#[repr(C)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region` of the kernel.
#[repr(C)]
#[derive(Copy, Clone, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

struct PagemapScan<'a>(&'a mut ScanArg);

// SAFETY: the opcode is that of `PAGEMAP_SCAN`, whose argument is a `ScanArg` that it reads and writes; the result is the number of
// regions it has written.
unsafe impl ioctl::Ioctl for PagemapScan<'_> {
    type Output = usize;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<ScanArg>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        ptr::from_mut(self.0).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<usize> {
        Ok(usize::try_from(out).unwrap_or(0))
    }
}

/// How this process looks at its pages.
struct Pagemap {
    /// Tells processes apart: 0 in a child that has not noticed yet that it is one.
    process: &'static AtomicU32,
}

/// A thread's descriptor, and for which process it was opened.
struct Descriptor {
    file: OwnedFd,
    process: u32,
}

/// `None` where the kernel cannot do it.
static PAGEMAP: OnceLock<Option<Pagemap>> = OnceLock::new();

thread_local! {
    static DESCRIPTOR: RefCell<Option<Descriptor>> = const { RefCell::new(None) };
}

fn open() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(
        "/proc/self/pagemap",
        flags,
        Mode::empty(),
    )?)
}

impl Pagemap {
    fn new() -> io::Result<Pagemap> {
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new page at an address of the kernel's choice; it is never unmapped, and zeros are an `AtomicU32`.
        let process = unsafe {
            let page = rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                super::PAGE_SIZE,
                flags,
                MapFlags::PRIVATE,
            )?;
            rustix::mm::madvise(page, super::PAGE_SIZE, Advice::LinuxWipeOnFork)?;
            &*page.cast::<AtomicU32>()
        };
        let pagemap = Pagemap { process };
        // Kernels before 6.7 do not know the request.
        let here = ptr::from_ref(process).addr();
        pagemap.scan(here..here + super::PAGE_SIZE, &mut |_| true)?;
        Ok(pagemap)
    }

    /// A number that no parent or child of this process has.
    fn process(&self) -> u32 {
        match self.process.load(Relaxed) {
            0 => {
                let id = rustix::process::getpid().as_raw_pid().unsigned_abs();
                self.process.store(id, Relaxed);
                id
            }
            id => id,
        }
    }

    /// Calls `f` with this thread's descriptor.
    fn with_descriptor<R>(&self, f: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        let process = self.process();
        let used = DESCRIPTOR.try_with(|descriptor| {
            let mut descriptor = descriptor.borrow_mut();
            match &*descriptor {
                Some(open) if open.process == process => Ok(f(open.file.as_fd())),
                _ => {
                    let file = open()?;
                    let result = f(file.as_fd());
                    *descriptor = Some(Descriptor { file, process });
                    Ok(result)
                }
            }
        });
        // A thread that runs its last destructors has none any more.
        used.unwrap_or_else(|_| Err(io::ErrorKind::Unsupported.into()))
    }

    fn scan(
        &self,
        range: Range<usize>,
        visit: &mut impl FnMut(Range<usize>) -> bool,
    ) -> io::Result<()> {
        let mut regions = [PageRegion::default(); BATCH];
        let mut start = range.start as u64;
        while start < range.end as u64 {
            let mut argument = ScanArg {
                size: size_of::<ScanArg>() as u64,
                flags: 0,
                start,
                end: range.end as u64,
                walk_end: 0,
                vec: regions.as_mut_ptr().expose_provenance() as u64,
                vec_len: BATCH as u64,
                max_pages: 0,
                category_inverted: FILE | ZERO,
                category_mask: FILE | ZERO,
                category_anyof_mask: PRESENT | SWAPPED,
                return_mask: FILE,
            };
            let count = self.with_descriptor(|descriptor| {
                // SAFETY: `vec` has room for `vec_len` regions; nothing else is written but the argument.
                unsafe { ioctl::ioctl(descriptor, PagemapScan(&mut argument)) }
            })??;
            for region in &regions[..count.min(BATCH)] {
                if !visit(region.start as usize..region.end as usize) {
                    return Ok(());
                }
            }
            if argument.walk_end <= start {
                return Err(io::Error::other("the scan of a page map does not advance"));
            }
            start = argument.walk_end;
        }
        Ok(())
    }
}

/// Calls `visit` with the address ranges of all pages in `range` that are this process's own, in order, until it returns false. One
/// system call for up to 16 ranges. Changes nothing.
///
/// # Errors
/// When the system cannot tell; `visit` may have been called then.
pub(crate) fn own_pages(
    range: Range<usize>,
    mut visit: impl FnMut(Range<usize>) -> bool,
) -> io::Result<()> {
    match pagemap() {
        Some(pagemap) => pagemap.scan(range, &mut visit),
        None => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Can the system tell which pages are a process's own?
pub fn is_available() -> bool {
    pagemap().is_some()
}

fn pagemap() -> Option<&'static Pagemap> {
    let pagemap = PAGEMAP.get_or_init(|| match Pagemap::new() {
        Ok(pagemap) => Some(pagemap),
        Err(error) => {
            tracing::debug!("PAGEMAP_SCAN is not available: {error}");
            None
        }
    });
    pagemap.as_ref()
}

#[cfg(test)]
mod tests {
    use super::super::PAGE_SIZE;
    use super::super::mapping::{Mapping, Protection};
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::fs::File;
    use std::io::Write;

    fn pages(mapping: &Mapping, len: usize) -> Vec<usize> {
        let base = mapping.base().addr().get();
        let mut found = Vec::new();
        own_pages(base..base + len, |range| {
            found.extend(range.step_by(PAGE_SIZE).map(|at| (at - base) / PAGE_SIZE));
            true
        })
        .unwrap();
        found
    }

    /// 4 pages of a file, 96 anonymous ones, the rest inaccessible.
    fn mapping() -> Mapping {
        let mut file = File::from(memfd_create("image", MemfdFlags::CLOEXEC).unwrap());
        file.write_all(&vec![7; 4 * PAGE_SIZE]).unwrap();
        let mapping = Mapping::reserve(200 * PAGE_SIZE).unwrap();
        // SAFETY: nobody uses the mapping yet.
        unsafe {
            mapping
                .protect(0..100 * PAGE_SIZE, Protection::ReadWrite)
                .unwrap();
            mapping
                .map_file_copy(0..4 * PAGE_SIZE, file.as_fd(), 0)
                .unwrap();
        }
        mapping
    }

    #[test]
    fn pages_are_reported_once_they_are_written_not_when_they_are_read() {
        let mapping = mapping();
        assert_eq!(pages(&mapping, 200 * PAGE_SIZE), []);
        for page in 0..100 {
            // SAFETY: accessible, and nobody else's.
            unsafe { mapping.at(page * PAGE_SIZE).read_volatile() };
        }
        assert_eq!(pages(&mapping, 200 * PAGE_SIZE), []);
        for page in [1, 2, 5, 99] {
            // SAFETY: as above.
            unsafe { mapping.at(page * PAGE_SIZE + 100).write_volatile(1) };
        }
        assert_eq!(pages(&mapping, 200 * PAGE_SIZE), [1, 2, 5, 99]);
    }

    #[test]
    fn a_child_of_fork_is_told_of_its_own_pages() {
        const NAME: &str = "sys::pagemap::tests::a_child_of_fork_is_told_of_its_own_pages";
        let status = crate::testing::in_child(NAME, "", |_| {
            let mapping = mapping();
            let write = |page: usize| {
                // SAFETY: accessible, and nobody else's.
                unsafe { mapping.at(page * PAGE_SIZE).write_volatile(1) };
            };
            write(50);
            assert_eq!(pages(&mapping, 200 * PAGE_SIZE), [50]);
            // SAFETY: this process was started for this test, and the child does nothing but look at its pages and exit.
            let child = unsafe { libc::fork() };
            if child == 0 {
                write(60);
                let found = std::panic::catch_unwind(|| pages(&mapping, 200 * PAGE_SIZE));
                // SAFETY: ends the child without running what belongs to the parent.
                unsafe { libc::_exit(i32::from(!matches!(found.as_deref(), Ok([50, 60])))) };
            }
            let mut status = 0;
            // SAFETY: waits for the child that was just made.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!(status, 0, "the child was told of other pages");
        });
        assert!(status.is_none_or(|status| status.success()));
    }

    #[test]
    fn more_ranges_than_fit_into_one_request_are_all_reported() {
        let mapping = mapping();
        let expected: Vec<usize> = (0..100).step_by(2).collect();
        for page in &expected {
            // SAFETY: accessible, and nobody else's.
            unsafe { mapping.at(page * PAGE_SIZE).write_volatile(1) };
        }
        assert!(expected.len() > BATCH);
        assert_eq!(pages(&mapping, 200 * PAGE_SIZE), expected);
        let mut count = 0;
        let base = mapping.base().addr().get();
        own_pages(base..base + 200 * PAGE_SIZE, |_| {
            count += 1;
            count < 3
        })
        .unwrap();
        assert_eq!(count, 3, "stops when it is told to");
    }
}
