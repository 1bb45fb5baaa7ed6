//! Finding references on guest stacks: every aligned 32-bit half-word in use is taken for one.
//!
//! ```text
//!   base   | guest frames | shims, host functions, more guest frames ... | this code |        unused       | guard |
//!          <-------------------------- scanned --------------------------^ stack pointer
//! ```
//!
//! # Invariant
//!
//! A reference that guest code has in flight is in a frame between the stack's base and the stack pointer, or in a callee-saved
//! register, which [`scan_stacks`] spills. Caller-saved registers were saved by whoever called. A stack of the store that this
//! code does not run on (another thread waits there) is scanned whole: nothing says where its stack pointer is. A suspended
//! computation's activations are in no list; it says itself where its stack, its registers and its values are.

use crate::activation::Execution;
use crate::arch;
use std::ops::Range;

/// Calls `found` with every number on the store's stacks that may be a reference.
#[inline(never)]
pub(crate) fn scan_stacks(execution: &Execution, mut found: impl FnMut(u32)) {
    execution
        .computations()
        .scan(|addresses| scan(addresses, &mut found));
    if !execution.is_active() {
        return;
    }
    let registers = arch::callee_saved_registers();
    for register in registers {
        found(register as u32);
        found((register >> 32) as u32);
    }
    for stack in execution.stacks_in_use() {
        let here = arch::stack_pointer();
        let start = if stack.contains(here) {
            here.max(stack.limit())
        } else {
            stack.limit()
        };
        scan(start..stack.base(), &mut found);
    }
}

fn scan(addresses: Range<usize>, found: &mut impl FnMut(u32)) {
    let start = addresses.start.next_multiple_of(align_of::<u32>());
    for address in (start..addresses.end).step_by(size_of::<u32>()) {
        // SAFETY: the words of a stack between its limit and its base are mapped and readable. They may be anything, also another
        // frame's live variables: a volatile read of plain bytes looks without disturbing.
        found(unsafe { std::ptr::with_exposed_provenance::<u32>(address).read_volatile() });
    }
}
