//! A linear memory.
//!
//! ```text
//!   base        accessible            reservation              + guard
//!   | image | zeros | inaccessible ... | inaccessible ......... |
//!   0     byte_len
//! ```
//!
//! It grows by opening pages of its reservation. One that outgrows its reservation moves, if its plan allows that.
//!
//! Invariant: exactly the pages below `byte_len`, rounded up, are accessible; from there to the end of the guard nothing is, and
//! no other mapping can get in between.

use crate::slot::MapError;
use crate::sys::mapping::{Mapping, Protection};
use crate::sys::round_up_to_page;
use cowling_abi::MemoryType;
use cowling_abi::plan::MemoryPlan;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;

const WHAT: &str = "a linear memory";

/// What a memory starts with: bytes of a file, mapped copy-on-write.
#[derive(Copy, Clone, Debug)]
pub(crate) struct ImageSource<'a> {
    /// The file.
    pub(crate) file: BorrowedFd<'a>,
    /// Where in it, in bytes; whole pages.
    pub(crate) file_offset: u64,
    /// How much of it, in bytes; whole pages.
    pub(crate) len: usize,
    /// First byte of the memory it covers; whole pages.
    pub(crate) memory_offset: usize,
}

/// A memory did not grow; it is unchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemoryGrowError {
    /// It may not become that large.
    #[error("a memory of at most {maximum} bytes cannot have {wanted}")]
    BeyondMaximum {
        /// Size asked for, in bytes.
        wanted: usize,
        /// The most it may have, in bytes: by its type, its plan and the address space.
        maximum: usize,
    },
    /// The system gave no memory.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// The bytes of a memory as words of 32 bits, in the machine's order of bytes. What is left over at the end is left out.
pub fn words(bytes: &[u8]) -> &[u32] {
    // SAFETY: four bytes are a word whatever they are.
    let (before, words, _) = unsafe { bytes.align_to() };
    // A memory begins on a page. Bytes from elsewhere may not, and have no words then.
    if before.is_empty() { words } else { &[] }
}

/// [`words`] for change.
pub fn words_mut(bytes: &mut [u8]) -> &mut [u32] {
    // SAFETY: four bytes are a word whatever they are, and the other way round.
    let (before, words, _) = unsafe { bytes.align_to_mut() };
    if before.is_empty() { words } else { &mut [] }
}

/// A linear memory, in a slot or on its own. Sizes are in bytes.
#[derive(Debug)]
pub(crate) struct LinearMemory {
    mapping: Arc<Mapping>,
    /// Offset of byte 0 in the mapping.
    start: usize,
    byte_len: usize,
    reservation: usize,
    guard: usize,
    maximum: usize,
    movable: bool,
    image: Option<Range<usize>>,
    /// Offsets from byte 0 at which another area begins in the kernel's books: pages can only be moved area by area.
    seams: Vec<usize>,
}

impl LinearMemory {
    /// Maps a memory on its own, at its minimum size.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn new(
        plan: &MemoryPlan,
        ty: &MemoryType,
        image: Option<ImageSource<'_>>,
    ) -> Result<LinearMemory, MapError> {
        let bytes = Self::reserved_bytes(plan, ty)?;
        let mapping = Mapping::reserve(bytes).map_err(MapError::system(WHAT, bytes))?;
        Self::open(&Arc::new(mapping), 0, plan, ty, image)
    }

    /// Bytes of address space for a memory, guard included.
    ///
    /// # Errors
    /// When they are more than any address space has.
    pub(crate) fn reserved_bytes(plan: &MemoryPlan, ty: &MemoryType) -> Result<usize, MapError> {
        let (reservation, guard, _) =
            Self::sizes(plan, ty).ok_or(MapError::TooLarge { what: WHAT })?;
        reservation
            .checked_add(guard)
            .ok_or(MapError::TooLarge { what: WHAT })
    }

    /// Reservation, guard, and initial size in bytes. The first two are whole pages, the reservation at least one.
    fn sizes(plan: &MemoryPlan, ty: &MemoryType) -> Option<(usize, usize, usize)> {
        let minimum = usize::try_from(ty.minimum_bytes()?).ok()?;
        let planned = round_up_to_page(usize::try_from(plan.reservation).ok()?)?;
        let needed = round_up_to_page(minimum.max(1))?;
        let reservation = if plan.movable {
            planned.max(needed)
        } else {
            planned
        };
        if needed > reservation {
            return None;
        }
        let guard = round_up_to_page(usize::try_from(plan.guard).ok()?)?;
        Some((reservation, guard, minimum))
    }

    /// Makes the [`reserved_bytes`](Self::reserved_bytes) of a mapping from `start` on, which are unused and inaccessible, a
    /// memory.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn open(
        mapping: &Arc<Mapping>,
        start: usize,
        plan: &MemoryPlan,
        ty: &MemoryType,
        image: Option<ImageSource<'_>>,
    ) -> Result<LinearMemory, MapError> {
        let too_large = MapError::TooLarge { what: WHAT };
        let Some((reservation, guard, minimum)) = Self::sizes(plan, ty) else {
            return Err(too_large);
        };
        let by_type = ty.maximum_pages().saturating_mul(ty.page_size());
        let most = if plan.movable {
            isize::MAX as usize
        } else {
            reservation
        };
        let mut memory = LinearMemory {
            mapping: mapping.clone(),
            start,
            byte_len: 0,
            reservation,
            guard,
            maximum: usize::try_from(by_type).unwrap_or(usize::MAX).min(most),
            movable: plan.movable,
            image: None,
            seams: Vec::new(),
        };
        memory.open_up_to(minimum)?;
        if let Some(image) = image.filter(|image| image.len > 0) {
            let end = image.memory_offset.checked_add(image.len);
            let end = end
                .filter(|&end| end <= memory.accessible())
                .ok_or(too_large)?;
            let place = start + image.memory_offset..start + end;
            // SAFETY: the memory is new, nobody uses it yet.
            unsafe { mapping.map_file_copy(place, image.file, image.file_offset) }
                .map_err(MapError::system("a memory image", image.len))?;
            memory.image = Some(image.memory_offset..end);
            memory.seams.extend([image.memory_offset, end]);
        }
        Ok(memory)
    }

    /// Address of byte 0. Changes only when a movable memory grows.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.mapping.at(self.start)
    }

    /// Size in bytes.
    pub(crate) fn byte_len(&self) -> usize {
        self.byte_len
    }

    fn accessible(&self) -> usize {
        self.byte_len.next_multiple_of(crate::sys::PAGE_SIZE)
    }

    /// Makes it `new_len` bytes long, which is at least what it has.
    ///
    /// The contents stay, what is new is zero. A movable memory may have another [`base`](Self::base) afterwards.
    ///
    /// # Errors
    /// When `new_len` is more than the maximum or the system has no memory; nothing has changed then.
    pub(crate) fn grow(&mut self, new_len: usize) -> Result<(), MemoryGrowError> {
        debug_assert!(new_len >= self.byte_len, "memories do not shrink");
        if new_len > self.maximum {
            return Err(MemoryGrowError::BeyondMaximum {
                wanted: new_len,
                maximum: self.maximum,
            });
        }
        if self.would_move(new_len) {
            self.relocate(new_len)?;
        } else {
            self.open_up_to(new_len)?;
        }
        Ok(())
    }

    /// Would growing to `new_len` bytes move it to another address?
    pub(crate) fn would_move(&self, new_len: usize) -> bool {
        new_len > self.reservation
    }

    /// Opens pages so that `new_len` bytes, which are within the reservation, can be used.
    fn open_up_to(&mut self, new_len: usize) -> Result<(), MapError> {
        let accessible = self.accessible();
        let wanted = round_up_to_page(new_len).ok_or(MapError::TooLarge { what: WHAT })?;
        if wanted > accessible {
            let range = self.start + accessible..self.start + wanted;
            // SAFETY: the pages are this memory's and inaccessible so far, so nobody uses them.
            unsafe { self.mapping.protect(range, Protection::ReadWrite) }
                .map_err(MapError::system(WHAT, wanted - accessible))?;
        }
        self.byte_len = self.byte_len.max(new_len);
        Ok(())
    }

    /// Moves to a place where `new_len` bytes fit, and at least twice of what fitted so far so that moves stay rare, and opens
    /// them there.
    fn relocate(&mut self, new_len: usize) -> Result<(), MapError> {
        debug_assert!(
            self.movable,
            "the maximum of a memory that does not move is its reservation"
        );
        let too_large = || MapError::TooLarge { what: WHAT };
        let needed = round_up_to_page(new_len).ok_or_else(too_large)?;
        let reserve = |reservation: usize| -> Result<(usize, Mapping), MapError> {
            let bytes = reservation.checked_add(self.guard).ok_or_else(too_large)?;
            let mapping = Mapping::reserve(bytes).map_err(MapError::system(WHAT, bytes))?;
            Ok((reservation, mapping))
        };
        let generous = self
            .reservation
            .saturating_mul(2)
            .clamp(needed, isize::MAX as usize + 1);
        let (reservation, target) = reserve(generous).or_else(|_| reserve(needed))?;
        // SAFETY: nobody uses the new mapping yet.
        unsafe { target.protect(0..needed, Protection::ReadWrite) }
            .map_err(MapError::system(WHAT, needed))?;

        // From here on nothing fails: areas that cannot be moved are copied.
        let accessible = self.accessible();
        let mut from = 0;
        for to in self.seams.iter().copied().chain([accessible]) {
            if from < to {
                self.transfer(from..to, &target);
                from = to;
            }
        }
        self.seams.push(accessible);
        self.mapping = Arc::new(target);
        self.start = 0;
        self.reservation = reservation;
        self.byte_len = new_len;
        Ok(())
    }

    fn transfer(&self, range: Range<usize>, target: &Mapping) {
        let source = self.start + range.start..self.start + range.end;
        // SAFETY: `&mut self` up the call chain: nobody uses the memory, and nobody uses the target yet.
        let moved = unsafe { self.mapping.move_pages(source.clone(), target, range.start) };
        if moved.is_err() {
            // SAFETY: both ranges are accessible and lie in different mappings.
            unsafe {
                ptr::copy_nonoverlapping(
                    self.mapping.at(source.start).as_ptr(),
                    target.at(range.start).as_ptr(),
                    range.len(),
                );
            }
        }
    }

    /// Zeroes what the image filled: the memory is then as if no data segment had been applied.
    ///
    /// # Errors
    /// When the system refuses; the contents are unspecified then.
    pub(crate) fn undo_image(&mut self) -> Result<(), MapError> {
        let Some(image) = self.image.take() else {
            return Ok(());
        };
        let len = image.len();
        // SAFETY: `&mut self`: nobody uses the memory; the range is accessible and stays so.
        unsafe {
            self.mapping
                .map_zeros(self.start + image.start..self.start + image.end)
        }
        .map_err(MapError::system("zeroed memory", len))
    }
}

#[cfg(test)]
mod tests;
