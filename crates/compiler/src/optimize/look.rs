//! How a value was made, seen through aliases.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    DataFlowGraph, Inst, InstructionData, Opcode, Type, Value, ValueDef, types,
};

/// The low half of 64 bits.
pub(super) const LOW_HALF: u64 = 0xffff_ffff;

/// The instruction whose only or first result a value is.
pub(super) fn maker(dfg: &DataFlowGraph, value: Value) -> Option<Inst> {
    match dfg.value_def(value) {
        ValueDef::Result(inst, 0) => Some(inst),
        _ => None,
    }
}

/// The operands of the binary instruction that made a value, if it is of this kind.
pub(super) fn binary(dfg: &DataFlowGraph, opcode: Opcode, value: Value) -> Option<[Value; 2]> {
    match dfg.insts[maker(dfg, value)?] {
        InstructionData::Binary { opcode: o, args } if o == opcode => {
            Some(args.map(|arg| dfg.resolve_aliases(arg)))
        }
        _ => None,
    }
}

/// The operand of the unary instruction that made a value, if it is of this kind.
pub(super) fn unary(dfg: &DataFlowGraph, opcode: Opcode, value: Value) -> Option<Value> {
    match dfg.insts[maker(dfg, value)?] {
        InstructionData::Unary { opcode: o, arg } if o == opcode => Some(dfg.resolve_aliases(arg)),
        _ => None,
    }
}

/// The comparison of integers that made a value.
pub(super) fn comparison(dfg: &DataFlowGraph, value: Value) -> Option<(IntCC, [Value; 2])> {
    match dfg.insts[maker(dfg, value)?] {
        InstructionData::IntCompare { cond, args, .. } => {
            Some((cond, args.map(|arg| dfg.resolve_aliases(arg))))
        }
        _ => None,
    }
}

/// The number that a value always is. Narrow ones are extended by zeros.
pub(super) fn constant(dfg: &DataFlowGraph, value: Value) -> Option<u64> {
    match dfg.insts[maker(dfg, value)?] {
        InstructionData::UnaryImm {
            opcode: Opcode::Iconst,
            imm,
        } => {
            let bits = dfg.value_type(value).bits().min(64);
            Some(imm.bits() as u64 & (u64::MAX >> (64 - bits)))
        }
        _ => None,
    }
}

/// Is it an integer of 64 bits?
pub(super) fn is_64(dfg: &DataFlowGraph, value: Value) -> bool {
    dfg.value_type(value) == types::I64
}

/// What was shifted right by 32 bits, zeros coming in, to make this value of 64 bits.
pub(super) fn high_half_of(dfg: &DataFlowGraph, value: Value) -> Option<Value> {
    let [whole, by] = binary(dfg, Opcode::Ushr, value)?;
    // Only the low six bits of a distance count.
    let by = constant(dfg, by)? & 63;
    (by == 32 && is_64(dfg, whole)).then_some(whole)
}

/// The value of 64 bits whose low half, extended by zeros, this value of 64 bits is.
pub(super) fn low_half_of(dfg: &DataFlowGraph, value: Value) -> Option<Value> {
    if let Some([left, right]) = binary(dfg, Opcode::Band, value) {
        let is_mask = |v| constant(dfg, v) == Some(LOW_HALF);
        return match (is_mask(left), is_mask(right)) {
            (false, true) => Some(left),
            (true, false) => Some(right),
            _ => None,
        }
        .filter(|&whole| is_64(dfg, whole));
    }
    let narrow = extended_from(dfg, value, types::I32)?;
    unary(dfg, Opcode::Ireduce, narrow).filter(|&whole| is_64(dfg, whole))
}

/// The value of this type that was extended by zeros to make this one.
pub(super) fn extended_from(dfg: &DataFlowGraph, value: Value, narrow: Type) -> Option<Value> {
    unary(dfg, Opcode::Uextend, value).filter(|&v| dfg.value_type(v) == narrow)
}

/// Does an instruction of this kind nothing but make a value of others?
pub(crate) fn is_pure(opcode: Opcode) -> bool {
    !(opcode.can_trap()
        || opcode.can_load()
        || opcode.can_store()
        || opcode.is_call()
        || opcode.is_terminator()
        || opcode.other_side_effects())
}
