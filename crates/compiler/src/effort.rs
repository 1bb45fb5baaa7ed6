//! How much is spent on making a function's code good.
//!
//! What the code generator does to optimise takes more than linear time or memory in some directions: it looks at every loop around a block,
//! finds many equal forms of long chains of arithmetic, goes through what is above each block with a handler, and its register allocator undoes decisions. That is right for functions as compilers
//! make them. Functions beyond these limits, which are several times what large programs have, are a generator's or an attacker's: they are compiled without optimisation and with the register allocator that passes once, in time in proportion to
//! their size.
//!
//! It depends on the function only, so artifacts are the same whenever and wherever they are made.

use cranelift_codegen::ir::Function;

/// Instructions in a row, without a branch.
const MAX_BLOCK: usize = 1 << 16;

/// Blocks of a function.
const MAX_BLOCKS: usize = 1 << 15;

/// Blocks of a function, times edges that lead back.
const MAX_LOOPED: usize = 1 << 26;

/// Blocks of a function, times calls with handlers. A function of yosys has a fifth of that.
const MAX_HANDLED: usize = 1 << 29;

/// How code is made.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// As the settings say.
    Full,
    /// In time and memory in proportion to the function.
    Least,
}

impl Effort {
    /// For this function.
    pub(crate) fn for_function(function: &Function) -> Effort {
        let blocks = function.dfg.num_blocks();
        if function.dfg.num_insts() <= MAX_BLOCK && blocks.saturating_mul(blocks) <= MAX_LOOPED {
            // No limit can be passed.
            return Effort::Full;
        }
        let mut places = cranelift_codegen::entity::SecondaryMap::with_capacity(blocks);
        let handled = function.dfg.exception_tables.len();
        let mut back = 0;
        for (place, block) in (1usize..).zip(function.layout.blocks()) {
            places[block] = place;
            if function
                .layout
                .block_insts(block)
                .take(MAX_BLOCK + 1)
                .count()
                > MAX_BLOCK
            {
                return Effort::Least;
            }
            let dfg = &function.dfg;
            if let Some(branch) = function.layout.last_inst(block) {
                let destinations =
                    dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
                back += destinations
                    .iter()
                    .filter(|call| places[call.block(&dfg.value_lists)] > 0)
                    .count();
            }
        }
        let beyond = blocks > MAX_BLOCKS
            || blocks.saturating_mul(back) > MAX_LOOPED
            || blocks.saturating_mul(handled) > MAX_HANDLED;
        match beyond {
            true => Effort::Least,
            false => Effort::Full,
        }
    }
}
