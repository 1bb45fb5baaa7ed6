//! The address space of a heap.
//!
//! ```text
//!   | starts | lines | zeros |            inaccessible            | objects ............... | inaccessible ... | guard |
//!                            ^ base: what offsets count from      ^ FIRST                   ^ end              ^ capacity
//!
//!   starts   one byte for each 16 bytes (granule): number of the cycle in which the object that starts there was last found alive,
//!            or was made; anything else, and nothing alive starts there
//!   lines    one byte for each 256 bytes (line): number of the cycle in which something alive was last found there, or in which
//!            the line was given out; anything else, and the line is free
//! ```
//!
//! Tables and objects are at distances from `base` that are the same in every heap ([`STARTS_DISTANCE`]), so compiled code needs one
//! address. The page below `base` reads as zeros: there it finds the header of null. From `base` to [`FIRST`] nothing can be
//! accessed: there it looks for the fields of null, and faults.
//!
//! # Invariant
//!
//! What is below `accessible`, and its part of the tables, can be read and written; `end`, up to which memory is given out, is not
//! beyond that. What lies at [`Space::fresh`] and beyond is zero, in the tables too: nobody has been given it. `fresh` may be beyond
//! `end` in a heap that was another store's.

use crate::sys::PAGE_SIZE;
use crate::sys::mapping::{Mapping, Protection};
use cowling_abi::gc_heap::{GRANULE, HEAP_FIRST, HEAP_LIMIT, LINE_SIZE, STARTS_DISTANCE};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

/// Offset of the first object there may be.
pub(super) const FIRST: u32 = HEAP_FIRST;

/// Bytes of the table of starts, for the largest heap there may be.
const STARTS: usize = HEAP_LIMIT as usize / GRANULE as usize;

/// Bytes of the table of lines.
const LINES: usize = HEAP_LIMIT as usize / LINE_SIZE as usize;

/// Distance from the table of lines to `base`.
const LINES_DISTANCE: usize = LINES + PAGE_SIZE;

const _: () = assert!(STARTS_DISTANCE as usize == STARTS + LINES_DISTANCE);

/// Heaps grow by multiples of this, for which the table of starts has a whole page.
pub(super) const GRAIN: u32 = PAGE_SIZE as u32 * GRANULE;

const _: () = assert!(FIRST.is_multiple_of(GRAIN));

/// Inaccessible bytes behind the largest heap.
const GUARD: usize = 64 << 10;

/// The address space of one heap.
#[derive(Debug)]
pub(super) struct Space {
    mapping: Mapping,
    base: NonNull<u8>,
    end: u32,
    accessible: u32,
    capacity: u32,
    fresh: u32,
}

// SAFETY: it owns what its pointer points into; nothing depends on the thread.
unsafe impl Send for Space {}
// SAFETY: as above; what `&Space` allows only reads, apart from pointers, whose users answer for them.
unsafe impl Sync for Space {}

impl Space {
    /// Reserves address space for a heap of up to `capacity` bytes, none of them accessible yet.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn reserve(capacity: u64) -> io::Result<Space> {
        let most = u64::from(HEAP_LIMIT - FIRST);
        let capacity = FIRST + (capacity.min(most) as u32).next_multiple_of(GRAIN);
        let before = STARTS_DISTANCE as usize;
        let mapping = Mapping::reserve(before + capacity as usize + GUARD)?;
        // SAFETY: the mapping is new, nobody uses it yet.
        unsafe { mapping.protect(before - PAGE_SIZE..before, Protection::ReadWrite)? };
        Ok(Space {
            base: mapping.at(before),
            mapping,
            end: FIRST,
            accessible: FIRST,
            capacity,
            fresh: FIRST,
        })
    }

    /// What offsets count from.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The offset up to which memory is given out.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// What `end` may become.
    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The offset from which on nothing has ever been given out.
    pub(super) fn fresh(&self) -> u32 {
        self.fresh
    }

    /// Lets memory be given out up to `end`, a multiple of [`GRAIN`].
    ///
    /// # Errors
    /// When that is beyond the capacity or the system refuses; nothing has changed then.
    pub(super) fn grow(&mut self, end: u32) -> io::Result<()> {
        if end > self.capacity {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if end > self.accessible {
            self.protect(self.accessible..end, Protection::ReadWrite)?;
            self.accessible = end;
        }
        self.end = end;
        Ok(())
    }

    /// Changes what may be done with a range of objects. Tables for them can be accessed from the first time on.
    fn protect(&self, range: Range<u32>, protection: Protection) -> io::Result<()> {
        let base = STARTS_DISTANCE as usize;
        let (from, to) = (range.start as usize, range.end as usize);
        let pages = |start: usize, from: usize, to: usize| {
            start + (from & !(PAGE_SIZE - 1))..start + to.next_multiple_of(PAGE_SIZE)
        };
        let (granule, line) = (GRANULE as usize, LINE_SIZE as usize);
        let tables = [
            pages(0, from / granule, to / granule),
            pages(base - LINES_DISTANCE, from / line, to / line),
        ];
        let objects = [pages(base, from, to)];
        let table_ranges = if protection == Protection::None {
            &[][..]
        } else {
            &tables[..]
        };
        for range in table_ranges.iter().chain(&objects) {
            // SAFETY: what is made inaccessible is not in use any more, as `empty` makes sure.
            unsafe { self.mapping.protect(range.clone(), protection)? };
        }
        Ok(())
    }

    /// Makes it a space whose objects are all gone and which has room for none. Of its memory, what is below offset `keep` stays
    /// accessible, with what is in it; a multiple of [`GRAIN`]. The rest goes back to the system; the address space stays.
    ///
    /// # Errors
    /// When the system refuses; it must not be used any more then.
    ///
    /// # Safety
    /// Nobody uses its objects any more.
    pub(super) unsafe fn empty(&mut self, keep: u32) -> io::Result<()> {
        debug_assert!(keep.is_multiple_of(GRAIN));
        self.end = FIRST;
        if self.accessible <= keep {
            return Ok(());
        }
        let base = STARTS_DISTANCE as usize;
        if keep < self.fresh {
            let whole = |range: Range<usize>| range.start..range.end.next_multiple_of(PAGE_SIZE);
            let (start, end) = (keep as usize, self.fresh as usize);
            let granule = GRANULE as usize;
            // SAFETY: as the caller says; this part of the table belongs to those objects.
            unsafe {
                self.mapping.discard(whole(base + start..base + end))?;
                let starts = start / granule..end.div_ceil(granule);
                self.mapping.discard(whole(starts))?;
            }
            // A page of the other table is for more than a grain.
            self.set_lines(keep / LINE_SIZE..self.fresh.div_ceil(LINE_SIZE), 0);
            self.fresh = keep;
        }
        self.protect(keep..self.accessible, Protection::None)?;
        self.accessible = keep;
        Ok(())
    }

    // --- tables ---

    fn starts_ptr(&self, granule: u32) -> NonNull<u8> {
        self.mapping.at(granule as usize)
    }

    fn lines_ptr(&self, line: u32) -> NonNull<u8> {
        self.mapping
            .at(STARTS_DISTANCE as usize - LINES_DISTANCE + line as usize)
    }

    /// The part of the table of starts that is for `granules`.
    ///
    /// # Panics
    /// If that is not accessible.
    pub(super) fn starts(&self, granules: Range<u32>) -> &[u8] {
        assert!(granules.start <= granules.end && granules.end <= self.accessible / GRANULE);
        // SAFETY: that part of the table is accessible. It is only written through `&mut self` and by compiled code, which does not
        // run while the store's heap is borrowed.
        unsafe {
            std::slice::from_raw_parts(self.starts_ptr(granules.start).as_ptr(), granules.len())
        }
    }

    /// The same, for change.
    ///
    /// # Panics
    /// As [`starts`](Self::starts).
    pub(super) fn starts_mut(&mut self, granules: Range<u32>) -> &mut [u8] {
        assert!(granules.start <= granules.end && granules.end <= self.accessible / GRANULE);
        // SAFETY: as above; nobody else reads it either.
        unsafe {
            std::slice::from_raw_parts_mut(self.starts_ptr(granules.start).as_ptr(), granules.len())
        }
    }

    /// What the table of starts says of a granule, or 0 for one that is not accessible.
    #[inline]
    pub(super) fn start(&self, granule: u32) -> u8 {
        if granule >= self.accessible / GRANULE {
            return 0;
        }
        // SAFETY: as above, and the granule is in the table.
        unsafe {
            self.base
                .sub(STARTS_DISTANCE as usize)
                .add(granule as usize)
                .read()
        }
    }

    /// Sets what the table of starts says of a granule.
    ///
    /// # Panics
    /// If it is not accessible.
    #[inline]
    pub(super) fn set_start(&mut self, granule: u32, cycle: u8) {
        assert!(granule < self.accessible / GRANULE, "granule {granule}");
        // SAFETY: as above, and the granule is in the table.
        unsafe {
            self.base
                .sub(STARTS_DISTANCE as usize)
                .add(granule as usize)
                .write(cycle)
        };
    }

    /// The table of lines, from line 0 on, of all that are below `end`.
    pub(super) fn lines(&self) -> &[u8] {
        if self.accessible == FIRST {
            return &[0; (FIRST / LINE_SIZE) as usize]; // Not even of the table anything is.
        }
        let count = (self.end / LINE_SIZE) as usize;
        // SAFETY: that part of the table is accessible, and only written through `&mut self`.
        unsafe { std::slice::from_raw_parts(self.lines_ptr(0).as_ptr(), count) }
    }

    /// The table of lines, of all that are accessible and for objects, for change.
    pub(super) fn all_lines_mut(&mut self) -> &mut [u8] {
        let (first, end) = (FIRST / LINE_SIZE, self.accessible / LINE_SIZE);
        // SAFETY: that part of the table is accessible, as something is; nobody else reads it.
        unsafe {
            std::slice::from_raw_parts_mut(self.lines_ptr(first).as_ptr(), (end - first) as usize)
        }
    }

    /// Notes a cycle for lines.
    ///
    /// # Panics
    /// If they are not accessible.
    #[inline]
    pub(super) fn set_lines(&mut self, lines: Range<u32>, cycle: u8) {
        assert!(lines.end <= self.accessible / LINE_SIZE, "lines {lines:?}");
        for line in lines {
            // SAFETY: the line is in the part of the table that is accessible.
            unsafe {
                self.base
                    .sub(LINES_DISTANCE)
                    .add(line as usize)
                    .write(cycle)
            };
        }
    }

    // --- objects ---

    /// Makes a range of bytes zero, and says that nothing starts there. Bounds are multiples of a granule.
    ///
    /// # Panics
    /// If they are not below `end`.
    ///
    /// # Safety
    /// Nobody uses an object there.
    pub(super) unsafe fn clear(&mut self, bytes: Range<u32>) {
        assert!(FIRST <= bytes.start && bytes.start <= bytes.end && bytes.end <= self.end);
        let used = bytes.start..bytes.end.min(self.fresh).max(bytes.start);
        self.fresh = self.fresh.max(bytes.end);
        if used.is_empty() {
            return;
        }
        self.starts_mut(used.start / GRANULE..used.end / GRANULE)
            .fill(0);
        // SAFETY: the range is accessible, and as the caller says.
        unsafe {
            self.base
                .add(used.start as usize)
                .write_bytes(0, used.len());
        }
    }

    /// Reads 32 bits.
    ///
    /// # Panics
    /// If they are not below `end`.
    #[inline]
    pub(super) fn read(&self, offset: u32) -> u32 {
        assert!(offset >= FIRST && offset < self.end && offset.is_multiple_of(4));
        // SAFETY: the word is accessible (`end` is a multiple of a page), aligned, and any bits are a number.
        unsafe { self.base.add(offset as usize).cast::<u32>().read() }
    }

    /// Asks the processor to have what is at an offset at hand soon.
    #[inline]
    pub(super) fn prefetch(&self, offset: u32) {
        crate::arch::prefetch(self.base.as_ptr().wrapping_add(offset as usize));
    }

    /// A pointer to bytes, for objects' contents.
    ///
    /// # Panics
    /// If they are not below `end`.
    pub(super) fn bytes(&self, range: Range<u64>) -> NonNull<u8> {
        assert!(
            range.start >= u64::from(FIRST)
                && range.start <= range.end
                && range.end <= u64::from(self.end),
            "bytes {range:?} outside the heap"
        );
        // SAFETY: the offset is within the mapping.
        unsafe { self.base.add(range.start as usize) }
    }
}
