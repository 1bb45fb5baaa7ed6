//! Finding what is alive.
//!
//! ```text
//!   roots ---> mark ---> gray objects: marked, and what they refer to is not yet
//!                ^            |
//!                +-- fields --+        lines of each object are marked when its turn comes
//! ```
//!
//! An object is marked when its byte in the table of starts has the number of the new cycle. Gray objects wait on a stack outside of
//! the guest's reach, whose size is bounded: when it is full, objects are marked and forgotten, and once it is empty all marked
//! objects are gone through again. The references of a large array do not go to the stack together: the array waits on a second one,
//! with how far it has been looked through.

use super::heap::Heap;
use super::layouts::{Layouts, object_size};
use super::space::FIRST;
use cowling_abi::gc_heap::{GRANULE, HEADER_SIZE, LARGE_OBJECT, LINE_SIZE};
use cowling_abi::gc_layout::GcLayout;

/// The most gray objects there may be at a time: 16 MiB of references.
const MOST_GRAY: usize = 4 << 20;

/// How many references of an array are looked at before other objects have their turn.
const ARRAY_PART: u32 = 512;

/// How many objects are asked for ahead of their turn.
const AHEAD: usize = 8;

/// A reference to an object of the heap, a number of a host value or exception, or neither.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Null or a number.
    Plain,
    /// An object of the heap.
    Object,
    /// A host value or an exception.
    Foreign,
}

/// What a reference that is not to a function refers to.
#[inline]
pub(crate) fn kind(reference: u32) -> Kind {
    match (reference & 1, reference >> 31) {
        (0, 0) if reference != 0 => Kind::Object,
        (0, 1) => Kind::Foreign,
        _ => Kind::Plain,
    }
}

/// A collection under way. Until [`finish`](Marking::finish) the heap's objects are not to be used.
#[derive(Debug)]
pub(crate) struct Marking<'a> {
    heap: &'a mut Heap,
    layouts: Layouts,
    old: u8,
    new: u8,
    gray: Vec<u32>,
    most_gray: usize,
    /// Arrays, and from which element on they are to be looked at.
    arrays: Vec<(u32, u32)>,
    /// Has an object not found room among the gray ones?
    forgotten: bool,
    had_forgotten: bool,
    live_bytes: u64,
}

impl<'a> Marking<'a> {
    /// Begins a collection. What compiled code was given is not to be used any more.
    pub(crate) fn begin(heap: &'a mut Heap, layouts: Layouts) -> Self {
        heap.large.sort_unstable_by_key(|object| object.start);
        let last = heap.cycle;
        if last == super::heap::LAST_CYCLE {
            heap.renumber();
        }
        Marking {
            old: heap.cycle,
            new: heap.cycle + 1,
            heap,
            layouts,
            gray: Vec::new(),
            most_gray: MOST_GRAY,
            arrays: Vec::new(),
            forgotten: false,
            had_forgotten: false,
            live_bytes: 0,
        }
    }

    /// Lets fewer objects wait at a time.
    #[cfg(test)]
    pub(super) fn set_most_gray(&mut self, most: usize) {
        self.most_gray = most;
    }

    /// Marks an object. Other numbers than references to objects are ignored.
    #[inline]
    pub(crate) fn mark(&mut self, reference: u32) {
        if kind(reference) == Kind::Object && self.heap.space.start(reference / GRANULE) == self.old
        {
            self.heap.space.set_start(reference / GRANULE, self.new);
            if self.gray.len() < self.most_gray {
                self.gray.push(reference);
            } else {
                self.forgotten = true;
            }
        }
    }

    /// Marks the object that an offset is inside of, if there is one.
    pub(crate) fn mark_inside(&mut self, offset: u32) {
        if let Some(start) = self.object_around(offset) {
            self.mark(start + HEADER_SIZE);
        }
    }

    /// Marks the object that an address is inside of, if there is one.
    #[inline]
    pub(crate) fn mark_address(&mut self, address: u64) {
        let base = self.heap.space.base().addr().get() as u64;
        let offset = address.wrapping_sub(base);
        if offset < u64::from(self.heap.space.fresh()) {
            self.mark_inside(offset as u32);
        }
    }

    /// Where the object starts that an offset is inside of.
    fn object_around(&self, offset: u32) -> Option<u32> {
        let space = &self.heap.space;
        if offset < FIRST || offset >= space.fresh() {
            return None;
        }
        let is_object = |number: u8| number == self.old || number == self.new;
        let large = &self.heap.large;
        let before = large.partition_point(|object| object.start <= offset);
        if let Some(object) = before.checked_sub(1).map(|last| &large[last])
            && object.contains(&offset)
            && is_object(space.start(object.start / GRANULE))
        {
            return Some(object.start);
        }
        let last = offset / GRANULE;
        let from = (last + 1)
            .saturating_sub(LARGE_OBJECT / GRANULE)
            .max(FIRST / GRANULE);
        let starts = space.starts(from..last + 1);
        let found = starts.iter().rposition(|&number| is_object(number))?;
        let start = (from + found as u32) * GRANULE;
        let (type_id, word) = (space.read(start), space.read(start + 4));
        let size = object_size(self.layouts.get(type_id), word);
        (u64::from(offset) < u64::from(start) + size).then_some(start)
    }

    /// Marks what marked objects refer to. References to other things are given to `foreign`.
    pub(crate) fn trace(&mut self, foreign: &mut impl FnMut(u32)) {
        self.trace_gray(foreign);
        while std::mem::take(&mut self.forgotten) {
            self.had_forgotten = true;
            self.trace_all_marked(foreign);
            self.trace_gray(foreign);
        }
    }

    /// Until no object is gray.
    fn trace_gray(&mut self, foreign: &mut impl FnMut(u32)) {
        // Objects wait here until what they consist of has arrived from memory.
        let mut ahead = [0; AHEAD];
        let (mut turn, mut waiting) = (0, 0);
        loop {
            let next = self.gray.pop().unwrap_or(0);
            if next != 0 {
                self.heap.space.prefetch(next - HEADER_SIZE);
                waiting += 1;
            } else if waiting == 0 {
                match self.arrays.pop() {
                    Some((array, from)) => self.trace_array(array, from, foreign),
                    None => return,
                }
                continue;
            }
            let object = std::mem::replace(&mut ahead[turn], next);
            turn = (turn + 1) % AHEAD;
            if object != 0 {
                waiting -= 1;
                self.trace_object(object, foreign);
            }
        }
    }

    fn trace_object(&mut self, reference: u32, foreign: &mut impl FnMut(u32)) {
        let start = reference - HEADER_SIZE;
        let layouts = self.layouts;
        let layout = layouts.get(self.heap.space.read(start));
        let word = self.heap.space.read(start + 4);
        let size = object_size(layout, word);
        self.live_bytes += size;
        // The object is in the heap, so its end is.
        let end = start + size as u32;
        self.heap
            .space
            .set_lines(start / LINE_SIZE..end.div_ceil(LINE_SIZE), self.new);
        match layout {
            GcLayout::Struct(layout) => {
                for &offset in &layout.references {
                    self.mark_any(start + offset, foreign);
                }
            }
            GcLayout::Array(layout) if layout.references => {
                self.trace_array(reference, 0, foreign);
            }
            GcLayout::Array(_) => {}
        }
    }

    fn trace_array(&mut self, reference: u32, from: u32, foreign: &mut impl FnMut(u32)) {
        let start = reference - HEADER_SIZE;
        let len = self.heap.space.read(start + 4);
        let to = len.min(from + ARRAY_PART);
        if to < len {
            self.arrays.push((reference, to));
        }
        // References are 4 bytes each, directly behind the header.
        for offset in (start + HEADER_SIZE + 4 * from..)
            .step_by(4)
            .take((to - from) as usize)
        {
            self.mark_any(offset, foreign);
        }
    }

    #[inline]
    fn mark_any(&mut self, offset: u32, foreign: &mut impl FnMut(u32)) {
        let reference = self.heap.space.read(offset);
        match kind(reference) {
            Kind::Plain => {}
            Kind::Object => self.mark(reference),
            Kind::Foreign => foreign(reference),
        }
    }

    /// Goes through all objects that have been marked.
    fn trace_all_marked(&mut self, foreign: &mut impl FnMut(u32)) {
        let end = self.heap.space.fresh() / GRANULE;
        let mut next = FIRST / GRANULE;
        while next < end {
            let rest = self.heap.space.starts(next..end);
            let Some(found) = rest.iter().position(|&number| number == self.new) else {
                return;
            };
            next += found as u32;
            self.trace_object(next * GRANULE + HEADER_SIZE, foreign);
            if self.gray.len() >= self.most_gray / 2 {
                self.trace_gray(foreign);
            }
            next += 1;
        }
    }

    /// Calls `found` with every object that has been marked: its type's number, its length if it is an array, and what reads 8 bytes at
    /// an offset from its start.
    pub(crate) fn each_marked(&self, mut found: impl FnMut(u32, u32, &dyn Fn(u32) -> u64)) {
        let space = &self.heap.space;
        let (mut next, end) = (FIRST / GRANULE, space.fresh() / GRANULE);
        while let Some(place) = space
            .starts(next..end)
            .iter()
            .position(|&number| number == self.new)
        {
            next += place as u32;
            let start = next * GRANULE;
            found(space.read(start), space.read(start + 4), &|offset| {
                let at = start + offset;
                u64::from(space.read(at)) | u64::from(space.read(at + 4)) << 32
            });
            next += 1;
        }
    }

    /// Ends the collection: what is not marked is gone. Returns how many bytes the objects take that are alive.
    pub(crate) fn finish(mut self) -> u64 {
        debug_assert!(self.gray.is_empty() && self.arrays.is_empty() && !self.forgotten);
        let heap = &mut *self.heap;
        let (space, new) = (&heap.space, self.new);
        heap.large
            .retain(|object| space.start(object.start / GRANULE) == new);
        let lines = &space.lines()[(FIRST / LINE_SIZE) as usize..];
        let live = lines.iter().filter(|&&number| number == new).count();
        heap.live_lines = live as u32;
        if self.had_forgotten {
            // Some objects were counted twice.
            self.live_bytes = u64::from(heap.live_lines) * u64::from(LINE_SIZE);
        }
        heap.next_cycle();
        debug_assert_eq!(heap.cycle, new);
        self.live_bytes
    }
}
