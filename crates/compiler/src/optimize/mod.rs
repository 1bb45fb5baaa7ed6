//! The mid-end: what is done with a function's CLIF before the code generator gets it, where that alone would miss something.
//!
//! ```text
//!   operators ──lower──> CLIF ──optimize──> CLIF ──Cranelift──> machine code
//!                               │
//!                               ├ product   64 by 64 to 128 bits, made of 32-bit pieces   ->  one multiplication
//!                               ├ carry     comparisons that find a carry or a borrow     ->  `adc`, `sbb`
//!                               └ latch     ends of loops                                 ->  one jump, no move
//! ```
//!
//! Invariants, of every pass:
//!
//! * The function computes what it did, bit by bit, and traps where it did, with the same code. What is removed could not trap.
//! * New instructions have the source location of what they replace.
//! * Time is linear in the size of the function: what is looked at around an instruction has a limit, and nothing recurses deeper than
//!   that. Functions are a guest's, so any shape is to be expected.
//! * The result depends on the function only, so that artifacts are the same whenever and wherever they are made.
//! * What is not needed any more is left where it is: the code generator emits nothing for pure instructions without uses.
//!
//! Passes run at the levels that optimise (knob `cranelift_opt_level`). Values are looked at through [`look`], which knows nothing but
//! definitions; order matters, as `carry` works on what `product` made.

mod carry;
mod latch;
mod look;
mod product;

use cowling_abi::knobs::{Knobs, OptLevel};
use cranelift_codegen::ir::Function;

/// Runs all passes, if the settings want code to be optimised.
pub(crate) fn run(function: &mut Function, knobs: &Knobs) {
    if knobs.cranelift_opt_level == OptLevel::None {
        return;
    }
    product::run(function);
    carry::run(function);
    latch::run(function);
}
