//! Branches to a trap, as `if (...) { unreachable }` has them.
//!
//! ```text
//!   @4  brif c, stop, go_on                @6  trapnz c, unreachable
//!   stop:                           ->     @4  jump go_on
//!   @6  trap unreachable
//! ```
//!
//! The code generator does the same, but then the trap is said to be where the branch was. Both also do it where values are made in front of
//! the trap, as nobody gets them.

use super::look;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{
    Block, Function, InstBuilder, InstructionData, Opcode, SourceLoc, TrapCode,
};

/// Changes all such branches.
pub(super) fn run(function: &mut Function) {
    let mut traps = SecondaryMap::with_capacity(function.dfg.num_blocks());
    for block in function.layout.blocks() {
        traps[block] = trap_of(function, block);
    }
    let mut next = function.layout.entry_block();
    while let Some(block) = next {
        next = function.layout.next_block(block);
        if let Some(branch) = function.layout.last_inst(block)
            && let InstructionData::Brif { arg, blocks, .. } = function.dfg.insts[branch]
        {
            let to = blocks.map(|call| traps[call.block(&function.dfg.value_lists)]);
            let (trap, go_on, if_not_zero) = match to {
                [Some(trap), _] => (trap, blocks[1], true),
                [None, Some(trap)] => (trap, blocks[0], false),
                [None, None] => continue,
            };
            let (location, code) = trap;
            let mut cursor = FuncCursor::new(function).at_inst(branch);
            cursor.set_srcloc(location);
            match if_not_zero {
                true => cursor.ins().trapnz(arg, code),
                false => cursor.ins().trapz(arg, code),
            };
            function.dfg.insts[branch] = InstructionData::Jump {
                opcode: Opcode::Jump,
                destination: go_on,
            };
        }
    }
}

/// The trap that a block leads to whatever happens, and where it is.
fn trap_of(function: &Function, block: Block) -> Option<(SourceLoc, TrapCode)> {
    let dfg = &function.dfg;
    let last = function.layout.last_inst(block)?;
    let InstructionData::Trap { code, .. } = dfg.insts[last] else {
        return None;
    };
    let harmless = |inst| match dfg.insts[inst] {
        InstructionData::Load { flags, .. } => {
            let flags = dfg.mem_flags[flags];
            flags.readonly() && flags.notrap() && flags.can_move()
        }
        ref data => inst == last || look::is_pure(data.opcode()),
    };
    (function.layout.block_insts(block).all(harmless)).then(|| (function.srcloc(last), code))
}
