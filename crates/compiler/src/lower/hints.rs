//! Branch hints: what the producer of a module says is rarely executed.
//!
//! ```text
//!   hint on                what becomes cold: its code lies behind the function's other code
//!   if, unlikely           the first arm
//!   if, likely             the second arm
//!   br_if, unlikely        the edge
//!   br_if, likely          what follows, to the end of the enclosing block; unless it is a loop that goes round again
//! ```
//!
//! Blocks inside of what is cold are cold, too. Hints change where code lies and nothing else, so wrong ones do no harm.

use super::state::FuncLowering;
use cranelift_codegen::ir::Block;
use wasmparser::{BranchHint, FunctionBody};

/// The hints of a function.
#[derive(Default)]
pub(super) struct Hints<'a> {
    /// In the order of their places.
    all: &'a [BranchHint],
    /// Where the function's body begins in the binary: hints count from there.
    start: u64,
}

impl<'a> Hints<'a> {
    pub(super) fn new(hints: Option<&'a Vec<BranchHint>>, body: &FunctionBody<'_>) -> Hints<'a> {
        Hints {
            all: hints.map_or(&[], Vec::as_slice),
            start: body.range().start,
        }
    }

    /// Is the branch at this offset of the binary likely to be taken, if that is known?
    fn at(&self, offset: u64) -> Option<bool> {
        let place = offset.checked_sub(self.start)?;
        let found = self
            .all
            .binary_search_by_key(&place, |hint| hint.func_offset.into());
        Some(self.all[found.ok()?].taken)
    }
}

impl FuncLowering<'_> {
    /// Is the current operator, a branch, likely to be taken, if that is known?
    pub(super) fn hint(&self) -> Option<bool> {
        self.hints.at(self.offset)
    }

    /// Makes a block, as cold as what it is made in.
    pub(super) fn create_block(&mut self) -> Block {
        self.create_block_in(self.cold)
    }

    /// Makes a block.
    pub(super) fn create_block_in(&mut self, cold: bool) -> Block {
        let block = self.builder.create_block();
        if cold {
            self.builder.set_cold_block(block);
        }
        block
    }
}
