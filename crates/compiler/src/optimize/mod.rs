//! The mid-end: what is done with a function's CLIF before the code generator gets it, where that alone would miss something.
//!
//! ```text
//!   operators ──lower──> CLIF ──optimize──> CLIF ──Cranelift──> machine code
//!                               │
//!                               ├ known     checks and branches on what was found out     ->  nothing, jumps
//!                               ├ forward   what is read from a memory and is known       ->  the value
//!                               ├ product   64 by 64 to 128 bits, made of 32-bit pieces   ->  one multiplication
//!                               ├ carry     comparisons that find a carry or a borrow     ->  `adc`, `sbb`
//!                               ├ widen     indices that loops carry along                ->  64 bits wide
//!                               ├ latch     ends of loops                                 ->  one jump, no move
//!                               └ dead_end  branches to a trap                            ->  conditional traps
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
//! definitions; `flow` knows where blocks are come to from, and `interval` how large counters get. Order matters: each works on what those
//! before it made.

mod carry;
mod dead_end;
mod flow;
mod forward;
mod interval;
mod known;
mod latch;
mod look;
mod product;
mod widen;

use cowling_abi::ModuleInfo;
use cowling_abi::knobs::{Knobs, OptLevel};
use cranelift_codegen::ir::Function;
use flow::Flow;
use interval::Intervals;
pub(crate) use look::is_pure;

/// Runs all passes, if the settings want code to be optimised.
pub(crate) fn run(function: &mut Function, info: &ModuleInfo, knobs: &Knobs) {
    if knobs.cranelift_opt_level == OptLevel::None {
        return;
    }
    if info.has_object_types() {
        known::run(function);
    }
    let flow = Flow::new(function);
    let mut intervals = Intervals::default();
    forward::run(function, info, &flow, &mut intervals);
    product::run(function);
    carry::run(function);
    widen::run(function);
    latch::run(function);
    dead_end::run(function);
}
