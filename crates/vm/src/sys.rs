//! The operating system, as one thin layer: every system call of the crate is below this module.
//!
//! | file | job |
//! |---|---|
//! | [`mapping`] | address space: reserving, opening, mapping files, giving back |
//! | [`mark`] | mapping a file for the system's profiler to see |
//! | [`memfd`] | files that exist only in memory |
//! | [`altstack`] | the stack on which a thread's signal handlers run |
//! | [`ending`] | a signal by which people end what runs |
//! | [`pagemap`] | which pages were written |
//! | [`owned`] | what one thread uses without synchronisation, and others rarely |
//! | [`signal`] | installing signal handlers, calling the ones before them, reading a fault's registers |
//! | [`sigframe`] | keeping what the kernel saved of an interrupted thread |
//! | [`thread`] | threads by number, interrupting them, waiting for a word |

pub(crate) mod altstack;
pub(crate) mod ending;
pub(crate) mod mapping;
pub(crate) mod mark;
pub(crate) mod memfd;
pub(crate) mod owned;
pub(crate) mod pagemap;
pub(crate) mod sigframe;
pub(crate) mod signal;
pub(crate) mod thread;

/// Bytes in a page of this machine. Artifacts align what is mapped from them to it.
pub(crate) const PAGE_SIZE: usize = cowling_abi::artifact::IMAGE_ALIGN as usize;

/// Rounds a number of bytes up to whole pages, or `None` if that overflows.
pub(crate) fn round_up_to_page(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(PAGE_SIZE)
}
