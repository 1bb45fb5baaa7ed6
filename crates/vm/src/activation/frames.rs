//! Frames of guest code: walking them, and keeping what was found when a guest stopped.
//!
//! Every guest frame begins with the frame pointer of the frame outside and a return address (`arch` draws them). Nothing here
//! allocates or takes a lock until the frames are taken: a signal handler walks and records them.

use super::MAX_TRAP_FRAMES;
use crate::stack::StackBounds;
use std::cell::Cell;

thread_local! {
    /// The frames of the guest that was stopped last. The thread's, because half a kibibyte is much for each store: between
    /// recording and collecting them a thread does nothing but return to where the guest was entered. Without destructor, so that a
    /// signal handler can write it.
    static CAPTURED: Captured = const { Captured::none() };
}

/// Keeps the innermost of the frames of a guest that is being stopped. Is the outermost a trampoline's? Async-signal-safe.
pub(super) fn capture(frames: impl Iterator<Item = usize>, by_trampoline: bool) {
    CAPTURED.with(|captured| captured.record(frames, by_trampoline));
}

/// The frames of the guest that was stopped last on this thread, and after how many of them others were left out. A function of its
/// own, so that no address of the thread that the guest was entered on is reused.
#[inline(never)]
pub(super) fn take_captured() -> (Vec<usize>, Option<usize>) {
    CAPTURED.with(Captured::take)
}

/// Frames recorded by [`raise`](super::raise) or the signal handler until [`enter`](super::enter) collects them.
#[derive(Debug)]
struct Captured {
    count: Cell<usize>,
    /// Were functions left out?
    cut: Cell<bool>,
    frames: [Cell<usize>; MAX_TRAP_FRAMES],
}

impl Captured {
    const fn none() -> Captured {
        Captured {
            count: Cell::new(0),
            cut: Cell::new(false),
            frames: [const { Cell::new(0) }; MAX_TRAP_FRAMES],
        }
    }

    fn record(&self, mut frames: impl Iterator<Item = usize>, by_trampoline: bool) {
        let mut count = 0;
        for (place, frame) in self.frames.iter().zip(frames.by_ref()) {
            place.set(frame);
            count += 1;
        }
        self.count.set(count);
        // Then one more is no function.
        self.cut
            .set(frames.nth(usize::from(by_trampoline)).is_some());
    }

    fn take(&self) -> (Vec<usize>, Option<usize>) {
        let count = self.count.replace(0);
        let frames = self.frames[..count].iter().map(Cell::get).collect();
        (frames, self.cut.replace(false).then_some(count))
    }
}

/// Where a guest trapped.
#[derive(Copy, Clone, Debug)]
pub(crate) struct FaultSite {
    /// The instruction.
    pub(crate) pc: usize,
    /// The frame pointer register.
    pub(crate) fp: usize,
    /// The return address, if the function had not yet made its own frame.
    pub(crate) return_address: Option<usize>,
}

/// A frame of a guest function.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Where it continues: its return address.
    pub(crate) pc: usize,
    /// Its frame pointer.
    pub(crate) fp: usize,
}

impl Frame {
    /// An address inside the call instruction it is executing.
    pub(crate) fn call_site(self) -> usize {
        self.pc.wrapping_sub(1)
    }
}

/// Walks the frames of one activation, innermost first, by their frame pointers. Entry trampolines and host shims, which have
/// frames too, are among them; their addresses belong to no function.
///
/// Async-signal-safe, and safe on a damaged stack: reads only words of the stack and only goes outwards.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    pub(super) pc: usize,
    pub(super) fp: usize,
    pub(super) entry_fp: usize,
    pub(super) stack: StackBounds,
}

impl Iterator for Frames {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        if self.pc == 0 || self.fp >= self.entry_fp {
            return None;
        }
        let frame = Frame {
            pc: self.pc,
            fp: self.fp,
        };
        let return_slot = self.fp.wrapping_add(size_of::<usize>());
        self.pc = 0;
        if self.stack.holds_word(self.fp) && self.stack.holds_word(return_slot) {
            // SAFETY: both words are on the stack, which is mapped and readable from its limit to its base.
            let (outer_fp, return_address) =
                unsafe { (*(self.fp as *const usize), *(return_slot as *const usize)) };
            if outer_fp > self.fp {
                (self.fp, self.pc) = (outer_fp, return_address);
            }
        }
        Some(frame)
    }
}
