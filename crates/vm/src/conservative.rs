//! Finding references on guest stacks: every aligned word in use is looked at as an address, and as two references.
//!
//! ```text
//!   base   | guest frames | shims, host functions, more guest frames ... | this code |        unused       | guard |
//!          <-------------------------- scanned --------------------------^ stack pointer
//! ```
//!
//! Guest code has a reference as the 32 bits it is, or as the address of the object or of something in it.
//!
//! # Invariant
//!
//! A reference that guest code has in flight is in a frame between the stack's base and the stack pointer, or in a callee-saved
//! register, which [`scan_stacks`] spills. Caller-saved registers were saved by whoever called. Where guest code asks for an object, a
//! stub saves them all: then what is below is not looked at, for there is much that others have left. A stack of the store that this
//! code does not run on (another thread waits there) is scanned whole: nothing says where its stack pointer is. A suspended
//! computation's activations are in no list; it says itself where its stack, its registers and its values are.

use crate::activation::Execution;
use crate::arch;
use smallvec::SmallVec;
use std::ops::Range;

/// Calls `found` with every aligned word on the store's stacks. `from` is where on the stack that this runs on references begin, if
/// that is known; then they are in no register.
#[inline(never)]
pub(crate) fn scan_stacks(execution: &Execution, from: Option<usize>, mut found: impl FnMut(u64)) {
    execution
        .computations()
        .scan(|addresses| scan(addresses, &mut found));
    if !execution.is_active() {
        return;
    }
    if from.is_none() {
        let registers = arch::callee_saved_registers();
        registers.into_iter().for_each(&mut found);
    }
    let here = arch::stack_pointer();
    // Activations inside each other share a stack, and there may be many.
    let mut seen: SmallVec<[usize; 4]> = SmallVec::new();
    for stack in execution.stacks_in_use() {
        if seen.contains(&stack.base()) {
            continue;
        }
        seen.push(stack.base());
        let start = if stack.contains(here) {
            from.unwrap_or(here).max(stack.limit())
        } else {
            stack.limit()
        };
        scan(start..stack.base(), &mut found);
    }
}

fn scan(addresses: Range<usize>, found: &mut impl FnMut(u64)) {
    // Down to a whole word: stacks, values and saved registers begin at one anyway.
    let start = addresses.start & !(align_of::<u64>() - 1);
    for address in (start..addresses.end).step_by(size_of::<u64>()) {
        // SAFETY: the words of a stack between its limit and its base are mapped and readable. They may be anything, also another
        // frame's live variables: a volatile read of plain bytes looks without disturbing.
        found(unsafe { std::ptr::with_exposed_provenance::<u64>(address).read_volatile() });
    }
}
