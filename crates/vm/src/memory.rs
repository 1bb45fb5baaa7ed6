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
//! A small image is copied into the memory, a larger one mapped copy-on-write. A memory can be made as it was when it was new, page by
//! page ([`repair`](LinearMemory::repair)): a page that was written is written again, with what it had at first, which takes a tenth of
//! the time that the kernel needs for a new one.
//!
//! Invariant: exactly the pages below `byte_len`, rounded up, are accessible; from there to the end of the guard nothing is, and
//! no other mapping can get in between.

use crate::embedder::HostMemoryError;
use crate::slot::MapError;
use crate::sys::mapping::{Mapping, Protection};
use crate::sys::{PAGE_SIZE, round_up_to_page};
use cowling_abi::MemoryType;
use cowling_abi::layout::VmMemory;
use cowling_abi::plan::MemoryPlan;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const WHAT: &str = "a linear memory";

/// Images of at most so many bytes are copied: that takes less than a fault for the first page to be read.
const COPIED_IMAGE: usize = 16 << 10;

/// What a memory starts with: bytes of a file.
#[derive(Copy, Clone, Debug)]
pub(crate) struct ImageSource<'a> {
    /// The bytes.
    pub(crate) bytes: &'a [u8],
    /// The file.
    pub(crate) file: BorrowedFd<'a>,
    /// Where in it, in bytes; whole pages.
    pub(crate) file_offset: u64,
    /// First byte of the memory it covers; whole pages.
    pub(crate) memory_offset: usize,
}

/// A memory did not grow; it is unchanged unless it says otherwise.
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
    /// The embedder, whose memory it is, refused.
    #[error("{0}")]
    Refused(String),
    /// It is the embedder's, and has broken a promise. It has perhaps changed.
    #[error(transparent)]
    Broken(#[from] HostMemoryError),
}

/// The current size in bytes of a memory, shared or not.
///
/// # Safety
/// The record is that of a memory of a living instance.
pub(crate) unsafe fn current_len(record: *const VmMemory) -> usize {
    // SAFETY: as the caller says; what a shared memory's record points at lives as long as the instance.
    unsafe {
        match (*record).shared_len.as_ref() {
            Some(len) => len.load(Ordering::SeqCst),
            None => (*record).byte_len,
        }
    }
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
    for_growth: usize,
    movable: bool,
    /// Is its size in registers of code that uses it?
    kept: bool,
    /// Size in bytes when it was new.
    initial: usize,
    /// Most bytes that were accessible at once.
    most: usize,
    image: Option<Image>,
    /// Was its image undone, or has it moved? Then it cannot be restored.
    spoiled: bool,
    /// Offsets from byte 0 at which another area begins in the kernel's books: pages can only be moved area by area.
    seams: Vec<usize>,
}

/// Where a memory's image is.
#[derive(Clone, Debug)]
struct Image {
    range: Range<usize>,
    /// Is it the file's, copy-on-write? Otherwise it was copied.
    mapped: bool,
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
        let (bytes, opened) = Self::reserved_bytes(plan, ty)?;
        let mapping = Mapping::reserve(bytes).map_err(MapError::system(WHAT, bytes))?;
        if opened > 0 {
            // SAFETY: the mapping is new, nobody uses it yet.
            unsafe { mapping.protect(0..opened, Protection::ReadWrite) }
                .map_err(MapError::system(WHAT, opened))?;
        }
        Self::open(&Arc::new(mapping), 0, plan, ty, image)
    }

    /// Bytes of address space for a memory, guard included, and how many of them are accessible when it is new.
    ///
    /// # Errors
    /// When they are more than any address space has.
    pub(crate) fn reserved_bytes(
        plan: &MemoryPlan,
        ty: &MemoryType,
    ) -> Result<(usize, usize), MapError> {
        let too_large = MapError::TooLarge { what: WHAT };
        let Some((reservation, guard, minimum)) = Self::sizes(plan, ty) else {
            return Err(too_large);
        };
        match (reservation.checked_add(guard), round_up_to_page(minimum)) {
            (Some(bytes), Some(opened)) => Ok((bytes, opened)),
            _ => Err(too_large),
        }
    }

    /// Reservation, guard, and initial size in bytes. The first two are whole pages, the reservation at least one.
    fn sizes(plan: &MemoryPlan, ty: &MemoryType) -> Option<(usize, usize, usize)> {
        let minimum = usize::try_from(ty.minimum_bytes()?).ok()?;
        let reservation = plan.initial_reservation(ty)?.max(1);
        let reservation = round_up_to_page(usize::try_from(reservation).ok()?)?;
        let guard = round_up_to_page(usize::try_from(plan.guard).ok()?)?;
        Some((reservation, guard, minimum))
    }

    /// Makes the [`reserved_bytes`](Self::reserved_bytes) of a mapping from `start` on a memory. They are unused, and as accessible as
    /// that function says.
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
        let by_type = ty.maximum_bytes();
        let most = if plan.movable {
            isize::MAX as usize
        } else {
            reservation
        };
        let mut memory = LinearMemory {
            mapping: mapping.clone(),
            start,
            byte_len: minimum,
            reservation,
            guard,
            maximum: usize::try_from(by_type).unwrap_or(usize::MAX).min(most),
            for_growth: usize::try_from(plan.for_growth).unwrap_or(usize::MAX),
            movable: plan.movable,
            kept: !plan.guarded,
            initial: minimum,
            most: minimum,
            image: None,
            spoiled: false,
            seams: Vec::new(),
        };
        if let Some(image) = image.filter(|image| !image.bytes.is_empty()) {
            let len = image.bytes.len();
            let end = image.memory_offset.checked_add(len);
            let end = end
                .filter(|&end| end <= memory.accessible())
                .ok_or(too_large)?;
            let mapped = len > COPIED_IMAGE;
            memory.image = Some(Image {
                range: image.memory_offset..end,
                mapped,
            });
            if mapped {
                let place = start + image.memory_offset..start + end;
                // SAFETY: the memory is new, nobody uses it yet.
                unsafe { mapping.map_file_copy(place, image.file, image.file_offset) }
                    .map_err(MapError::system("a memory image", len))?;
                memory.seams.extend([image.memory_offset, end]);
            } else {
                // SAFETY: as above; the range is accessible.
                unsafe { memory.write_original(image.memory_offset..end, image.bytes) };
            }
        }
        Ok(memory)
    }

    /// Lets it have at most so many bytes, or what it has.
    pub(crate) fn limit(&mut self, most: usize) {
        self.maximum = self.maximum.min(most.max(self.byte_len));
    }

    /// Address of byte 0. Changes only when a movable memory grows.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.mapping.at(self.start)
    }

    /// Size in bytes.
    pub(crate) fn byte_len(&self) -> usize {
        self.byte_len
    }

    /// What compiled code must know of it.
    pub(crate) fn record(&self) -> VmMemory {
        VmMemory {
            base: self.base().as_ptr(),
            byte_len: self.byte_len,
            shared_len: ptr::null(),
        }
    }

    fn accessible(&self) -> usize {
        self.byte_len.next_multiple_of(PAGE_SIZE)
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
    fn would_move(&self, new_len: usize) -> bool {
        new_len > self.reservation
    }

    /// Does code check its accesses? It keeps the memory's size in registers for that, and its base if that may change.
    pub(crate) fn is_kept_in_registers(&self) -> bool {
        self.kept
    }

    /// Opens pages so that `new_len` bytes, which are within the reservation, can be used.
    fn open_up_to(&mut self, new_len: usize) -> Result<(), MapError> {
        let accessible = self.accessible();
        let wanted = round_up_to_page(new_len).ok_or(MapError::TooLarge { what: WHAT })?;
        if wanted > accessible {
            let range = self.start + accessible..self.start + wanted;
            // SAFETY: the pages are this memory's and inaccessible so far, so nobody uses them.
            let opened = unsafe { (self.mapping).protect(range.clone(), Protection::ReadWrite) };
            if let Err(error) = opened {
                // What it knows as several mappings the system opens one after the other, so it may have opened some.
                // SAFETY: nobody uses them yet.
                let closed = unsafe { self.mapping.protect(range, Protection::None) };
                self.spoiled |= closed.is_err();
                return Err(MapError::system(WHAT, wanted - accessible)(error));
            }
        }
        self.byte_len = self.byte_len.max(new_len);
        self.most = self.most.max(wanted);
        Ok(())
    }

    /// Moves to a place where `new_len` bytes fit, and what is to be reserved for growth so that moves stay rare, and opens them there.
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
        // The maximum has no room to be rounded up if it is the address space.
        let most = round_up_to_page(self.maximum).unwrap_or(self.maximum);
        let generous = round_up_to_page(needed.saturating_add(self.for_growth))
            .unwrap_or(most)
            .clamp(needed, most);
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
        self.spoiled = true;
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
        self.spoiled = true;
        let len = image.range.len();
        // SAFETY: `&mut self`: nobody uses the memory; the range is accessible and stays so.
        unsafe {
            self.mapping
                .map_zeros(self.start + image.range.start..self.start + image.range.end)
        }
        .map_err(MapError::system("zeroed memory", len))
    }

    // --- restoring ---

    /// Makes a memory in a slot, which is as it was when it was new, one of zeros: what the next one in its place begins as. What it had
    /// beyond its size goes back to the system. Returns whether that is so.
    ///
    /// # Safety
    /// Nobody uses it, nor will.
    pub(crate) unsafe fn clear(&mut self) -> bool {
        if !self.is_restorable() || self.byte_len != self.initial {
            return false;
        }
        let accessible = self.accessible();
        if self.most > accessible {
            let beyond = self.start + accessible..self.start + self.most;
            // SAFETY: as the caller says; the pages are this memory's.
            if unsafe { self.mapping.discard(beyond) }.is_err() {
                return false;
            }
        }
        if let Some(Image { range, mapped }) = self.image.take() {
            let place = self.start + range.start..self.start + range.end;
            if mapped {
                // SAFETY: as above.
                return unsafe { self.mapping.map_zeros(place) }.is_ok();
            }
            let start = self.mapping.at(place.start).as_ptr();
            // SAFETY: as above; an image is accessible.
            unsafe { start.write_bytes(0, place.len()) };
        }
        true
    }

    /// Can it be [restored](Self::restore)?
    pub(crate) fn is_restorable(&self) -> bool {
        !self.spoiled
    }

    /// Is it part of this mapping?
    pub(crate) fn is_in(&self, mapping: &Arc<Mapping>) -> bool {
        Arc::ptr_eq(&self.mapping, mapping)
    }

    /// Its addresses, with those reserved for it and its guard.
    pub(crate) fn addresses(&self) -> Range<usize> {
        let base = self.base().addr().get();
        base..base + self.reservation + self.guard
    }

    /// Addresses of what is accessible now.
    pub(crate) fn accessible_addresses(&self) -> Range<usize> {
        let base = self.base().addr().get();
        base..base + self.accessible()
    }

    /// Writes what was in `range` at first: its part of the image, zeros elsewhere.
    ///
    /// # Safety
    /// The range is accessible, and nobody uses the memory. `image` are the bytes of its image.
    unsafe fn write_original(&self, range: Range<usize>, image: &[u8]) {
        let of_image = match &self.image {
            Some(image) => {
                let clamp = |at: usize| at.clamp(range.start, range.end);
                clamp(image.range.start)..clamp(image.range.end)
            }
            None => range.end..range.end,
        };
        let from = self.image.as_ref().map_or(0, |image| image.range.start);
        // SAFETY: all of it lies in the range, which the caller says is accessible.
        unsafe {
            let base = self.base().as_ptr();
            ptr::write_bytes(base.add(range.start), 0, of_image.start - range.start);
            if !of_image.is_empty()
                && let Some(bytes) = image.get(of_image.start - from..of_image.end - from)
            {
                ptr::copy_nonoverlapping(bytes.as_ptr(), base.add(of_image.start), bytes.len());
            }
            ptr::write_bytes(base.add(of_image.end), 0, range.end - of_image.end);
        }
    }

    /// Repairs pages that were written: `addresses` are whole pages of [`accessible_addresses`](Self::accessible_addresses). `image` as the
    /// one it was made with.
    ///
    /// # Safety
    /// Nobody uses the memory, and it [is restorable](Self::is_restorable).
    pub(crate) unsafe fn repair(&self, addresses: Range<usize>, image: &[u8]) {
        let base = self.base().addr().get();
        // SAFETY: as the caller says.
        unsafe { self.write_original(addresses.start - base..addresses.end - base, image) };
    }

    /// Writes all of it again, whatever was written. Returns how many bytes those are. `image` as for [`repair`](Self::repair).
    ///
    /// # Safety
    /// As for [`repair`](Self::repair).
    pub(crate) unsafe fn repair_all(&self, image: &[u8]) -> usize {
        // SAFETY: the range is accessible, and the caller says that nobody uses the memory.
        unsafe { self.write_original(0..self.accessible(), image) };
        self.accessible()
    }

    /// Gives the pages from an address on back to the system, and makes them what they were at first. Returns how many bytes that
    /// were at most.
    ///
    /// # Errors
    /// When the system refuses; the contents are unspecified then.
    ///
    /// # Safety
    /// As for [`repair`](Self::repair).
    pub(crate) unsafe fn discard_from(
        &self,
        address: usize,
        image: &[u8],
    ) -> Result<usize, MapError> {
        let base = self.base().addr().get();
        let range = address - base..self.accessible();
        if range.is_empty() {
            return Ok(0);
        }
        let pages = self.start + range.start..self.start + range.end;
        // SAFETY: as the caller says; the pages are this memory's.
        unsafe { self.mapping.discard(pages) }.map_err(MapError::system(WHAT, range.len()))?;
        if let Some(Image {
            range: of_image,
            mapped: false,
        }) = &self.image
        {
            let again = of_image.start.max(range.start)..of_image.end;
            if !again.is_empty() {
                // SAFETY: an image is accessible, and the caller says that nobody uses the memory.
                unsafe { self.write_original(again, image) };
            }
        }
        Ok(range.len())
    }

    /// Makes it as small as it was at first.
    ///
    /// # Errors
    /// When the system refuses.
    ///
    /// # Safety
    /// Nobody uses the memory.
    pub(crate) unsafe fn shrink(&mut self) -> Result<(), MapError> {
        let accessible = self.accessible();
        self.byte_len = self.initial;
        let wanted = self.accessible();
        if accessible > wanted {
            let range = self.start + wanted..self.start + accessible;
            // SAFETY: as the caller says; the pages are this memory's.
            unsafe { self.mapping.protect(range, Protection::None) }
                .map_err(MapError::system(WHAT, accessible - wanted))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
