//! The garbage-collected heap of a store: structs and arrays of guests.
//!
//! A heap is a mark-region heap. Memory is divided into lines; objects are allocated one behind the other into runs of free lines
//! ([`heap`]), by compiled code itself as long as there is room where it is; when there is none anywhere, everything reachable is
//! marked, with the lines it lies in ([`mark`]), and all other lines are free again. Objects do not move. Nothing is swept: what is
//! free follows from the marks, as they are looked at again for the next allocation.
//!
//! A collection marks, in this order: what the host holds, globals, tables and element segments of all instances, and, conservatively,
//! what is on the store's stacks ([`crate::conservative`]); then what that refers to, host values and exceptions included
//! ([`crate::host_ref`]), until nothing new is found. It runs only when the runtime is asked for an object (by guest or host), or
//! for a collection, and never while a guest of the store is interrupted between two instructions: its registers are then in
//! nobody's frame, and it may be in the middle of making an object.
//!
//! | file | job |
//! |---|---|
//! | [`space`] | address space, and the tables of what is where in it |
//! | [`heap`] | giving out memory |
//! | [`mark`] | finding what is alive |
//! | [`layouts`] | where objects have references |
//! | `store/inner/heap` | when a store collects or grows its heap |
//! | `store/gc_objects` | what the host does with objects |
//!
//! The layout of objects is in [`cowling_abi::gc_layout`], how compiled code makes them in [`cowling_abi::gc_heap`].

pub(crate) mod heap;
pub(crate) mod layouts;
pub(crate) mod mark;
mod space;
#[cfg(test)]
mod tests;

pub(crate) use heap::Heap;

use std::time::Duration;

/// What the collections of a store have cost and left.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcStats {
    /// How often the store has collected.
    pub collections: u64,
    /// How long its guests have waited for that, in all.
    pub total_pause: Duration,
    /// The longest of these pauses.
    pub longest_pause: Duration,
    /// Bytes of objects that were alive after the last collection.
    pub live_bytes: u64,
    /// Size of the heap in bytes.
    pub heap_bytes: u64,
}

impl GcStats {
    pub(crate) fn note(&mut self, pause: Duration, live_bytes: u64) {
        self.collections += 1;
        self.total_pause += pause;
        self.longest_pause = self.longest_pause.max(pause);
        self.live_bytes = live_bytes;
    }
}
