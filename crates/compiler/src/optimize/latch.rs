//! Loops that end where their counter, one step further, reaches a constant.
//!
//! ```text
//!   loop(i):                                          loop(i):
//!     ...                                               ...
//!     j = iadd i, 4                                     j = iadd i, 4
//!     c = icmp ne j, 400                       ->       w = uextend.i64 j
//!     brif c, loop(j), behind                           c = icmp ne w, 400
//!                                                       brif c, loop(j), behind
//! ```
//!
//! The code generator turns `i + 4 != 400` into `i != 396`, which is right where j is needed for nothing else. Here it is: both i and j
//! would be needed at the end of each turn, so they could not share a register, and each turn would end in a move and a second
//! jump. In a comparison of 64 bits it does not see the sum, and the extension costs nothing, as instructions on 32 bits clear the
//! others.

use super::look;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    Block, Function, Inst, InstBuilder, InstructionData, Opcode, Value, types,
};

/// Changes all such comparisons.
pub(super) fn run(function: &mut Function) {
    let mut next = function.layout.entry_block();
    while let Some(block) = next {
        next = function.layout.next_block(block);
        change(function, block);
    }
}

/// Changes the comparison at the end of a block, if it is such a one.
fn change(function: &mut Function, block: Block) -> Option<()> {
    let dfg = &function.dfg;
    let branch = function.layout.last_inst(block)?;
    let InstructionData::Brif { arg, blocks, .. } = dfg.insts[branch] else {
        return None;
    };
    let condition = dfg.resolve_aliases(arg);
    let condition = look::unary(dfg, Opcode::Uextend, condition).unwrap_or(condition);
    let (cond @ (IntCC::Equal | IntCC::NotEqual), [counter, limit]) =
        look::comparison(dfg, condition)?
    else {
        return None;
    };
    if dfg.value_type(counter) != types::I32 {
        return None;
    }
    let [_, step] = look::binary(dfg, Opcode::Iadd, counter)
        .or_else(|| look::binary(dfg, Opcode::Isub, counter))?;
    look::constant(dfg, step)?;
    // As an immediate operand it is extended by its sign.
    let limit = i32::try_from(look::constant(dfg, limit)?).ok()?;
    let goes_on = passes_on(function, branch, counter)
        || blocks.iter().any(|call| {
            let next = function.layout.last_inst(call.block(&dfg.value_lists));
            next.is_some_and(|next| passes_on(function, next, counter))
        });
    if !goes_on {
        return None;
    }
    let mut cursor = FuncCursor::new(function).at_inst(branch);
    cursor.use_srcloc(branch);
    let wide = cursor.ins().uextend(types::I64, counter);
    let limit = cursor.ins().iconst(types::I64, i64::from(limit));
    let condition = cursor.ins().icmp(cond, wide, limit);
    function.dfg.inst_args_mut(branch)[0] = condition;
    Some(())
}

/// Does a branch give a value to the block behind it?
fn passes_on(function: &Function, branch: Inst, value: Value) -> bool {
    let dfg = &function.dfg;
    let calls = dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
    // Of many blocks and many values only some are looked at.
    let calls = calls.iter().take(2);
    let args = calls.flat_map(|call| call.args(&dfg.value_lists).take(64));
    let mut values = args.filter_map(|arg| arg.as_value());
    values.any(|v| dfg.resolve_aliases(v) == value)
}
