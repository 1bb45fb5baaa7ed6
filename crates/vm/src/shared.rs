//! Shared memories: linear memories that several threads use at once.
//!
//! ```text
//!   base          accessible to all              reserved                       + guard
//!   | bytes ..................... | inaccessible until it grows ............... |
//!   0                             len, atomic                                   bound
//! ```
//!
//! A shared memory belongs to no store. Instances of any number of stores hold on to it, and so may the embedder; it goes away
//! with the last of them. All it may ever have is reserved from the start, so it never moves and its guards never change: code
//! compares indices with `bound`, if at all, and the processor finds what lies between `len` and `bound`.
//!
//! # Invariants
//!
//! * `len` only grows, and pages below it are accessible before it says so: who reads a length may access what it covers.
//! * Bytes are only accessed atomically, or by instructions that Rust does not see: compiled code's, and
//!   [`copy_racing`] and its kin. There never is a `&[u8]` of them.

use crate::arch::{copy_racing, fill_racing};
use crate::error::GrowError;
use crate::slot::MapError;
use crate::sys::mapping::{Mapping, Protection};
use crate::sys::round_up_to_page;
use cowling_abi::knobs::Knobs;
use cowling_abi::layout::VmMemory;
use cowling_abi::plan::MemoryPlan;
use cowling_abi::{MemoryType, Trap};
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use waiting::Waiting;

pub use waiting::WaitResult;

mod waiting;

const WHAT: &str = "a shared memory";

/// A linear memory that several threads use at once. Clones are the same memory.
#[derive(Clone)]
pub struct SharedMemory(Arc<Inner>);

struct Inner {
    ty: MemoryType,
    mapping: Mapping,
    /// Size in bytes.
    len: AtomicUsize,
    /// The most it may have, in bytes.
    maximum: usize,
    /// Bytes before the guard.
    bound: usize,
    /// How code of its engine finds its way in it.
    plan: MemoryPlan,
    /// Held while it grows.
    growing: Mutex<()>,
    /// Who waits where.
    waiting: Waiting,
}

/// Why a shared memory was not made.
#[derive(Debug, thiserror::Error)]
pub enum SharedMemoryError {
    /// Its type is not that of a shared memory, or its limits make no sense.
    #[error("{ty}: {reason}")]
    Type {
        /// The type.
        ty: MemoryType,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no room for all that it may ever have.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// What a waiter expects to find.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    I32(u32),
    I64(u64),
}

impl Expected {
    pub(crate) fn size(self) -> u64 {
        match self {
            Expected::I32(_) => 4,
            Expected::I64(_) => 8,
        }
    }
}

impl SharedMemory {
    /// Makes a memory of its minimum size, zeros, under an engine's settings.
    ///
    /// # Errors
    /// When the type makes no sense, or there is no room for all that it may ever have.
    pub fn new(ty: MemoryType, knobs: &Knobs) -> Result<SharedMemory, SharedMemoryError> {
        Self::limited(ty, knobs, u64::MAX)
    }

    /// As [`new`](Self::new), with at most `limit` bytes, or what it has.
    pub(crate) fn limited(
        ty: MemoryType,
        knobs: &Knobs,
        limit: u64,
    ) -> Result<SharedMemory, SharedMemoryError> {
        let wrong = |reason| SharedMemoryError::Type { ty, reason };
        let maximum = match ty.maximum {
            _ if !ty.shared => return Err(wrong("it is not shared")),
            _ if !knobs.shared_memory => {
                return Err(wrong("the setting `shared_memory` is off"));
            }
            _ if !matches!(ty.page_size_log2, 0 | 16) => {
                return Err(wrong("pages have 1 or 65536 bytes"));
            }
            None => return Err(wrong("a shared memory needs a maximum")),
            Some(maximum) if maximum < ty.minimum => {
                return Err(wrong("the maximum is below the minimum"));
            }
            Some(maximum) if maximum > ty.maximum_pages() => {
                return Err(wrong("its maximum is more than its index reaches"));
            }
            Some(_) => ty.maximum_bytes(),
        };
        let too_large = MapError::TooLarge { what: WHAT };
        let plan = MemoryPlan::for_type(&ty, false, knobs);
        let size = |bytes: u64| usize::try_from(bytes).ok().and_then(round_up_to_page);
        let bytes = ty.minimum_bytes().and_then(|b| usize::try_from(b).ok());
        let most = if plan.guarded {
            plan.reservation.max(maximum)
        } else {
            maximum.max(1)
        };
        let (Some(len), Some(opened), Some(bound), Some(guard)) = (
            bytes,
            bytes.and_then(round_up_to_page),
            size(most),
            size(plan.guard),
        ) else {
            return Err(too_large.into());
        };
        let whole = bound.checked_add(guard).ok_or(too_large)?;
        let mapping = Mapping::reserve(whole).map_err(MapError::system(WHAT, whole))?;
        if opened > 0 {
            // SAFETY: the mapping is new, nobody uses it yet.
            unsafe { mapping.protect(0..opened, Protection::ReadWrite) }
                .map_err(MapError::system(WHAT, opened))?;
        }
        let maximum = maximum.min(limit.max(len as u64));
        Ok(SharedMemory(Arc::new(Inner {
            ty,
            mapping,
            len: AtomicUsize::new(len),
            // It is reserved, so it fits.
            maximum: usize::try_from(maximum).unwrap_or(usize::MAX),
            bound,
            plan,
            growing: Mutex::new(()),
            waiting: Waiting::default(),
        })))
    }

    /// Its type as declared: its minimum is not its current size.
    pub fn ty(&self) -> MemoryType {
        self.0.ty
    }

    /// Its size in bytes.
    pub fn byte_len(&self) -> usize {
        self.0.len.load(SeqCst)
    }

    /// Its size in pages of its own page size.
    pub fn pages(&self) -> u64 {
        self.byte_len() as u64 >> self.0.ty.page_size_log2
    }

    /// Its addresses, with those reserved for it and its guard.
    pub(crate) fn addresses(&self) -> Range<usize> {
        let base = self.0.mapping.base().addr().get();
        base..base + self.0.mapping.len()
    }

    /// Is it the same memory?
    pub fn is_same(&self, other: &SharedMemory) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// May code compiled under these settings use it?
    pub(crate) fn fits(&self, knobs: &Knobs) -> bool {
        self.0.plan == MemoryPlan::for_type(&self.0.ty, false, knobs)
    }

    /// Address of its first byte, which never changes.
    pub fn base(&self) -> NonNull<u8> {
        self.0.mapping.base()
    }

    /// Its bytes as far as it reaches now. Guests may change them at any time.
    pub fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: the bytes are accessible as long as the memory is held, and are only accessed as the file's head says; what
        // compiled code does there is atomic for single bytes.
        unsafe { std::slice::from_raw_parts(self.base().as_ptr().cast(), self.byte_len()) }
    }

    /// What compiled code must know of it.
    pub(crate) fn record(&self) -> VmMemory {
        VmMemory {
            base: self.base().as_ptr(),
            byte_len: self.0.bound,
            shared_len: &raw const self.0.len,
        }
    }

    /// Grows it by a number of pages of zeros; returns its size in pages before.
    ///
    /// # Errors
    /// When it would pass its maximum, or the system has no memory. It is unchanged then.
    pub fn grow(&self, delta: u64) -> Result<u64, GrowError> {
        let growing = self.0.growing.lock();
        let _growing = growing.unwrap_or_else(PoisonError::into_inner);
        let ty = &self.0.ty;
        let len = self.byte_len();
        let current = len as u64 >> ty.page_size_log2;
        let wanted = current
            .checked_add(delta)
            .and_then(|pages| pages.checked_mul(ty.page_size()))
            .and_then(|bytes| usize::try_from(bytes).ok())
            .filter(|&bytes| bytes <= self.0.maximum);
        let Some(wanted) = wanted else {
            return Err(GrowError::BeyondMaximum {
                what: "memory",
                unit: "pages",
                current,
                delta,
                maximum: self.0.maximum as u64 >> ty.page_size_log2,
            });
        };
        let pages = |bytes: usize| round_up_to_page(bytes).unwrap_or(self.0.bound);
        let opened = pages(len)..pages(wanted);
        if !opened.is_empty() {
            // SAFETY: the pages are this memory's and inaccessible so far, so nobody uses them.
            unsafe { self.0.mapping.protect(opened, Protection::ReadWrite) }.map_err(|e| {
                GrowError::OutOfMemory {
                    what: "memory",
                    reason: e.to_string(),
                }
            })?;
        }
        self.0.len.store(wanted, SeqCst);
        Ok(current)
    }

    fn range(&self, start: u64, len: u64) -> Result<Range<usize>, Trap> {
        let end = start.checked_add(len);
        match end.filter(|&end| end <= self.byte_len() as u64) {
            Some(end) => Ok(start as usize..end as usize),
            None => Err(Trap::MemoryOutOfBounds),
        }
    }

    /// Copies bytes from the memory.
    ///
    /// # Errors
    /// When the range is out of bounds; nothing is copied then.
    pub fn read(&self, start: u64, buffer: &mut [u8]) -> Result<(), Trap> {
        let range = self.range(start, buffer.len() as u64)?;
        // SAFETY: the range is accessible, and the buffer is not in the memory: it is not shared.
        unsafe {
            let from = self.base().as_ptr().add(range.start);
            copy_racing(from, buffer.as_mut_ptr(), buffer.len());
        }
        Ok(())
    }

    /// Copies bytes to the memory.
    ///
    /// # Errors
    /// When the range is out of bounds; nothing is copied then.
    pub fn write(&self, start: u64, buffer: &[u8]) -> Result<(), Trap> {
        let range = self.range(start, buffer.len() as u64)?;
        // SAFETY: as above.
        unsafe {
            let to = self.base().as_ptr().add(range.start);
            copy_racing(buffer.as_ptr(), to, buffer.len());
        }
        Ok(())
    }

    // --- waiting and waking ---

    /// Checks an address of `size` bytes: first whether it is a multiple of that, then whether it is in bounds.
    fn place(&self, address: u64, size: u64) -> Result<*mut u8, Trap> {
        if !address.is_multiple_of(size) {
            return Err(Trap::HeapMisaligned);
        }
        let range = self.range(address, size)?;
        // SAFETY: in bounds.
        Ok(unsafe { self.base().as_ptr().add(range.start) })
    }

    /// Wakes at most `count` waiters at an address, longest waiting first. Returns how many.
    ///
    /// # Errors
    /// When the address is not a multiple of 4, or out of bounds.
    pub fn atomic_notify(&self, address: u64, count: u32) -> Result<u32, Trap> {
        self.place(address, 4)?;
        Ok(self.0.waiting.notify(address, count))
    }

    /// Waits until somebody wakes it, if the 32-bit value at an address is the expected one; for ever without a timeout. Blocks the
    /// thread.
    ///
    /// # Errors
    /// When the address is not a multiple of 4, or out of bounds.
    pub fn atomic_wait32(
        &self,
        address: u64,
        expected: u32,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        self.wait_alone(address, Expected::I32(expected), timeout)
    }

    /// As [`atomic_wait32`](Self::atomic_wait32), for a 64-bit value and addresses that are a multiple of 8.
    ///
    /// # Errors
    /// As [`atomic_wait32`](Self::atomic_wait32).
    pub fn atomic_wait64(
        &self,
        address: u64,
        expected: u64,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        self.wait_alone(address, Expected::I64(expected), timeout)
    }

    fn wait_alone(
        &self,
        address: u64,
        expected: Expected,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        let Ok(result) = self.wait(address, expected, timeout, || Ok::<_, Never>(()))?;
        Ok(result)
    }

    /// Waits. `look` is called whenever the wait was disturbed, and now and then; what it fails with ends the wait.
    ///
    /// # Errors
    /// When the address is misaligned or out of bounds.
    pub(crate) fn wait<E>(
        &self,
        address: u64,
        expected: Expected,
        timeout: Option<Duration>,
        look: impl FnMut() -> Result<(), E>,
    ) -> Result<Result<WaitResult, E>, Trap> {
        let place = self.place(address, expected.size())?;
        // SAFETY: in bounds and aligned; accessed atomically only.
        let as_expected = || unsafe {
            match expected {
                Expected::I32(value) => (*place.cast::<AtomicU32>()).load(SeqCst) == value,
                Expected::I64(value) => (*place.cast::<AtomicU64>()).load(SeqCst) == value,
            }
        };
        Ok(self.0.waiting.wait(address, as_expected, timeout, look))
    }
}

/// An error that never happens.
enum Never {}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("ty", &format_args!("{}", self.0.ty))
            .field("pages", &self.pages())
            .finish_non_exhaustive()
    }
}

/// Copies between memories of which at least one is shared, whether the ranges overlap or not: `backwards` if the source lies
/// below the destination.
///
/// # Safety
/// Both ranges are accessible.
pub(crate) unsafe fn copy_shared(from: *const u8, to: *mut u8, len: usize, backwards: bool) {
    // SAFETY: the pieces are within the ranges; where both overlap, each piece is read before anything is written there.
    unsafe {
        if !backwards {
            return copy_racing(from, to, len);
        }
        let mut piece = [0; 4096];
        let mut end = len;
        while end > 0 {
            let start = end.saturating_sub(piece.len());
            copy_racing(from.add(start), piece.as_mut_ptr(), end - start);
            copy_racing(piece.as_ptr(), to.add(start), end - start);
            end = start;
        }
    }
}

/// Fills bytes of a shared memory.
///
/// # Safety
/// The range is accessible.
pub(crate) unsafe fn fill_shared(to: *mut u8, value: u8, len: usize) {
    // SAFETY: as the caller says.
    unsafe { fill_racing(to, value, len) }
}

#[cfg(test)]
mod tests;
