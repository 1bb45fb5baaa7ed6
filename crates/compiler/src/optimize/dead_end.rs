//! Branches to a trap, as `if (...) { unreachable }` has them.
//!
//! ```text
//!   @4  brif c, stop, go_on                @6  trapnz c, unreachable
//!   stop:                           ->     @4  jump go_on
//!   @6  trap unreachable
//! ```
//!
//! The code generator does the same, but then the trap is said to be where the branch was.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    BlockCall, Function, Inst, InstBuilder, InstructionData, Opcode, TrapCode,
};

/// Changes all such branches.
pub(super) fn run(function: &mut Function) {
    let mut next = function.layout.entry_block();
    while let Some(block) = next {
        next = function.layout.next_block(block);
        let Some(branch) = function.layout.last_inst(block) else {
            continue;
        };
        let InstructionData::Brif { arg, blocks, .. } = function.dfg.insts[branch] else {
            continue;
        };
        for (taken, (stop, go_on)) in [
            (true, (blocks[0], blocks[1])),
            (false, (blocks[1], blocks[0])),
        ] {
            let Some((trap, code)) = trap_of(function, stop) else {
                continue;
            };
            let location = function.srcloc(trap);
            let mut cursor = FuncCursor::new(function).at_inst(branch);
            cursor.set_srcloc(location);
            match taken {
                true => cursor.ins().trapnz(arg, code),
                false => cursor.ins().trapz(arg, code),
            };
            function.dfg.insts[branch] = InstructionData::Jump {
                opcode: Opcode::Jump,
                destination: go_on,
            };
            break;
        }
    }
}

/// The trap that a block consists of.
fn trap_of(function: &Function, call: BlockCall) -> Option<(Inst, TrapCode)> {
    let block = call.block(&function.dfg.value_lists);
    let first = function.layout.first_inst(block)?;
    match function.dfg.insts[first] {
        InstructionData::Trap { code, .. } => Some((first, code)),
        _ => None,
    }
}
