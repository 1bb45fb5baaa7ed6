//! Giving out memory.
//!
//! ```text
//!   lines:   | alive | free ... | alive | free | free ......................... | alive |
//!                    ^ `cursor` goes from hole to hole, once per cycle                     small objects, by compiled code
//!                                                ^ `elsewhere` looks for room, in rounds   others: larger ones, the host's
//! ```
//!
//! A *hole* is a run of free lines. Compiled code gets holes by pieces of up to [`PIECE`] bytes, zeroed when it gets them so that
//! they are in the processor's cache when they are used. What is given out is marked in the table of lines, so that both cursors
//! never give out the same.
//!
//! Objects from [`LARGE_OBJECT`] bytes on are also in a list, so that finding the object that an address is inside of looks at
//! a bounded part of the table of starts.

use super::space::{FIRST, GRAIN, Space};
use cowling_abi::gc_heap::{GRANULE, HEADER_SIZE, LARGE_OBJECT, LINE_SIZE, VmGcHeap};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

/// The most bytes that compiled code is given at a time.
const PIECE: u32 = 32 << 10;

/// The most lines of a piece.
const PIECE_LINES: u32 = PIECE / LINE_SIZE;

/// The last number of a cycle; behind it they begin again with 1.
pub(super) const LAST_CYCLE: u8 = 250;

/// Bytes that stay in use by a heap that waits for its next store.
const KEEP: u32 = 1 << 20;

/// A heap: address space, and what of it is in use. Sizes and offsets are in bytes.
#[derive(Debug)]
pub(crate) struct Heap {
    pub(super) space: Space,
    pub(super) cycle: u8,
    /// The first line that compiled code has not been offered in this cycle.
    cursor: u32,
    /// Where other objects are put next: starts of objects.
    elsewhere: Range<u32>,
    /// The line from which on room for them is looked for.
    elsewhere_line: u32,
    /// Where large objects start and end. In order up to the last collection.
    pub(super) large: Vec<Range<u32>>,
    /// Lines given out since the last collection.
    pub(super) taken: u32,
    /// Lines in use after the last collection.
    pub(super) live_lines: u32,
}

impl Heap {
    /// Reserves address space for a heap that may grow to `capacity` bytes.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn reserve(capacity: u64) -> io::Result<Heap> {
        Ok(Heap {
            space: Space::reserve(capacity)?,
            cycle: 1,
            cursor: FIRST / LINE_SIZE,
            elsewhere: 0..0,
            elsewhere_line: FIRST / LINE_SIZE,
            large: Vec::new(),
            taken: 0,
            live_lines: 0,
        })
    }

    /// What compiled code knows of it before it has been given anything.
    pub(crate) fn for_code(&self) -> VmGcHeap {
        VmGcHeap {
            base: self.space.base().as_ptr(),
            cycle: u32::from(self.cycle),
            ..VmGcHeap::none()
        }
    }

    /// Its size: what objects and what is free take together.
    pub(crate) fn size(&self) -> u64 {
        u64::from(self.space.end() - FIRST)
    }

    /// What its size may become.
    pub(crate) fn capacity(&self) -> u64 {
        u64::from(self.space.capacity() - FIRST)
    }

    /// The size to grow to so that `more` bytes fit behind everything, in the heap's units; at most its capacity.
    pub(crate) fn size_with(&self, more: u64) -> u64 {
        let wanted = self.size().saturating_add(more);
        wanted
            .checked_next_multiple_of(u64::from(GRAIN))
            .unwrap_or(u64::MAX)
            .min(self.capacity())
    }

    /// Grows to this many bytes.
    ///
    /// # Errors
    /// When that is beyond its capacity or the system refuses; nothing has changed then.
    pub(crate) fn grow(&mut self, size: u64) -> io::Result<()> {
        let size = u32::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let end = FIRST.checked_add(size).ok_or(io::ErrorKind::OutOfMemory)?;
        self.space.grow(end)
    }

    /// Forgets all objects: the heap is another store's from now on. Keeps little memory in use, and what it keeps is made zero
    /// before anybody gets it. Its size is 0.
    ///
    /// # Errors
    /// When the system does not take memory back; the heap must not be used again then.
    pub(crate) fn recycle(&mut self) -> io::Result<()> {
        self.large = Vec::new();
        self.next_cycle();
        self.live_lines = 0;
        // SAFETY: there are no objects any more.
        unsafe { self.space.empty(FIRST + KEEP) }
    }

    /// Begins a cycle, in which nothing has been given out.
    pub(super) fn next_cycle(&mut self) {
        if self.cycle == LAST_CYCLE {
            self.renumber();
        }
        self.cycle += 1;
        self.cursor = FIRST / LINE_SIZE;
        self.elsewhere = 0..0;
        self.taken = 0;
    }

    /// Makes the current cycle number 1, and forgets those before it.
    pub(super) fn renumber(&mut self) {
        let cycle = self.cycle;
        let again = |number: u8| u8::from(number == cycle);
        let granules = FIRST / GRANULE..self.space.fresh().div_ceil(GRANULE);
        for start in self.space.starts_mut(granules) {
            *start = again(*start);
        }
        for line in self.space.all_lines_mut() {
            *line = again(*line);
        }
        self.cycle = 1;
    }

    /// Bytes in use after the last collection, in whole lines.
    pub(crate) fn live(&self) -> u64 {
        u64::from(self.live_lines) * u64::from(LINE_SIZE)
    }

    /// Has a fair part of it been given out since the last collection?
    pub(crate) fn is_worth_collecting(&self) -> bool {
        self.taken > 0 && u64::from(self.taken) * u64::from(LINE_SIZE) * 4 >= self.size()
    }

    // --- room ---

    /// Takes room for an object from what compiled code has; the object's start.
    pub(crate) fn take_next(&self, code: &mut VmGcHeap, size: u32) -> Option<u32> {
        let next = code.next + u64::from(size);
        (next <= code.limit).then(|| {
            let reference = std::mem::replace(&mut code.next, next);
            reference as u32 - HEADER_SIZE
        })
    }

    /// Gives compiled code room for an object of `size` bytes, less than [`LARGE_OBJECT`], if there is a hole for it.
    pub(crate) fn refill(&mut self, code: &mut VmGcHeap, size: u32) -> bool {
        debug_assert!(size.is_multiple_of(GRANULE) && size < LARGE_OBJECT);
        let rest = code.limit - code.next;
        // A small object may give up what is left: less than a line. For others that would be a waste, or they do not fit
        // where small ones do.
        if size > LINE_SIZE && rest > u64::from(PIECE / 8) {
            return false;
        }
        let Some(hole) = self.hole_at(self.cursor, PIECE_LINES) else {
            self.cursor = self.space.end() / LINE_SIZE;
            return false;
        };
        let bytes = hole.start * LINE_SIZE..hole.end * LINE_SIZE;
        let start = u64::from(bytes.start + HEADER_SIZE);
        let follows = code.limit == start;
        let room = u64::from(bytes.end - bytes.start) + if follows { rest } else { 0 };
        if room < u64::from(size) {
            return false;
        }
        self.cursor = hole.end;
        self.take(hole);
        if !follows {
            code.next = start;
        }
        code.limit = u64::from(bytes.end + HEADER_SIZE);
        true
    }

    /// Room for an object of `size` bytes apart from what compiled code uses: its start. `None` if there is no hole for it.
    pub(crate) fn elsewhere(&mut self, size: u32) -> Option<u32> {
        debug_assert!(size.is_multiple_of(GRANULE));
        if size >= LARGE_OBJECT {
            let hole = self.find_hole(size.div_ceil(LINE_SIZE), size.div_ceil(LINE_SIZE))?;
            let start = hole.start * LINE_SIZE;
            self.take(hole);
            self.large.push(start..start + size);
            return Some(start);
        }
        if self.elsewhere.end - self.elsewhere.start < size {
            let hole = self.find_hole(size.div_ceil(LINE_SIZE), PIECE_LINES)?;
            self.elsewhere = hole.start * LINE_SIZE..hole.end * LINE_SIZE;
            self.take(hole);
        }
        let start = self.elsewhere.start;
        self.elsewhere.start += size;
        Some(start)
    }

    /// Marks lines as given out, and makes them zero.
    fn take(&mut self, lines: Range<u32>) {
        self.taken += lines.end - lines.start;
        self.space.set_lines(lines.clone(), self.cycle);
        // SAFETY: no object is alive in a free line.
        unsafe {
            self.space
                .clear(lines.start * LINE_SIZE..lines.end * LINE_SIZE)
        };
    }

    /// The first hole from line `from` on, or `most` lines of it.
    fn hole_at(&self, from: u32, most: u32) -> Option<Range<u32>> {
        let lines = self.space.lines();
        let start = first(lines, from, |line| line != self.cycle)?;
        let cut = lines.len().min((start + most) as usize);
        let end = first(&lines[..cut], start, |line| line == self.cycle).unwrap_or(cut as u32);
        Some(start..end)
    }

    /// A hole of at least `least` lines, or `most` lines of it.
    fn find_hole(&mut self, least: u32, most: u32) -> Option<Range<u32>> {
        let all = FIRST / LINE_SIZE..self.space.end() / LINE_SIZE;
        let begin = self.elsewhere_line.clamp(all.start, all.end);
        for (mut from, until) in [(begin, all.end), (all.start, begin)] {
            while let Some(hole) = self.hole_at(from, most) {
                if hole.start >= until {
                    break;
                }
                if hole.end - hole.start >= least {
                    self.elsewhere_line = hole.end;
                    return Some(hole);
                }
                from = hole.end;
            }
        }
        None
    }

    // --- objects ---

    /// Makes an object at `start` of this type. `word` is an array's length.
    ///
    /// # Panics
    /// If that is not in the heap.
    pub(crate) fn make(&mut self, start: u32, type_id: u32, word: u32) -> u32 {
        let header = self.space.bytes(u64::from(start)..u64::from(start) + 8);
        // SAFETY: the bytes are in the heap, and aligned.
        unsafe { header.cast::<[u32; 2]>().write([type_id, word]) };
        self.space.set_start(start / GRANULE, self.cycle);
        start + HEADER_SIZE
    }

    /// Is there an object by this reference that was alive when the last collection ended, or was made since?
    pub(crate) fn has_object(&self, reference: u32) -> bool {
        let Some(start) = reference.checked_sub(HEADER_SIZE) else {
            return false;
        };
        start.is_multiple_of(GRANULE)
            && (FIRST..self.space.fresh()).contains(&start)
            && self.space.start(start / GRANULE) == self.cycle
            // One that a guest is about to make has no type yet.
            && self.space.read(start) != 0
    }

    /// The type and the word behind it of an object.
    ///
    /// # Panics
    /// If it is not in the heap.
    pub(crate) fn header(&self, reference: u32) -> (u32, u32) {
        let start = reference - HEADER_SIZE;
        (self.space.read(start), self.space.read(start + 4))
    }

    /// A pointer to part of an object, counted from its start.
    ///
    /// # Panics
    /// If that is not in the heap.
    pub(crate) fn part(&self, reference: u32, bytes: Range<u64>) -> NonNull<u8> {
        let start = u64::from(reference - HEADER_SIZE);
        self.space
            .bytes(start + bytes.start..start.saturating_add(bytes.end))
    }
}

/// The first position from `from` on whose byte passes. Written so that many bytes are looked at together.
fn first(bytes: &[u8], from: u32, pass: impl Fn(u8) -> bool) -> Option<u32> {
    const TOGETHER: usize = 32;
    let rest = bytes.get(from as usize..)?;
    for (n, together) in rest.chunks(TOGETHER).enumerate() {
        if together.iter().fold(false, |any, &byte| any | pass(byte)) {
            let within = together.iter().position(|&byte| pass(byte))?;
            return Some(from + (n * TOGETHER + within) as u32);
        }
    }
    None
}
