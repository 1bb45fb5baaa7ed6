//! Sums and differences of more than 64 bits, as guests make them: a comparison finds out whether the low limb overflowed.
//!
//! ```text
//!   s = iadd a, b                               l = iconcat a, X      r = uextend.i128 b
//!   c = uextend (icmp ult s, a)         ->      s, h = isplit (iadd l, r)                   add, adc
//!   h = iadd X, c
//!
//!   d = isub a, b                               l = iconcat a, X      r = uextend.i128 b
//!   c = uextend (icmp ult a, b)         ->      d, h = isplit (isub l, r)                   sub, sbb
//!   h = isub X, c
//! ```
//!
//! If X is a sum that nothing else needs, `iadd m, n`, then `r = iconcat b, n` adds it along. The comparison disappears where nothing
//! else uses it.
//!
//! `isplit` has two results, so the code generator leaves it where it is, and X has to be there. It goes to where the low limb is
//! computed, or right behind X, if it can take the low limb's place. Else it goes to where the high limb is computed and the low limb is computed
//! twice, which is still cheaper than a comparison whose result is made a number.

use super::look;
use cranelift_codegen::cursor::{Cursor, CursorPosition, FuncCursor};
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    Block, DataFlowGraph, Function, Inst, InstBuilder, InstructionData, Opcode, Value, types,
};
use smallvec::SmallVec;
use std::collections::HashMap;

/// Instructions and their operands, between a low limb and the high limb, that are searched for uses of the former.
const MAX_DISTANCE: usize = 256;

/// A high limb with the carry or borrow that goes into it.
#[derive(Copy, Clone)]
struct Limb {
    /// `iadd` or `isub`.
    opcode: Opcode,
    /// The high limb but for the carry.
    high: Value,
    /// What is added or subtracted below.
    low: [Value; 2],
    /// The low limb, where it is known.
    sum: Option<Value>,
    /// The comparison, extended.
    carry: Value,
}

/// Where things are in a function: instructions by ascending even numbers, and how often values are used.
struct Places {
    order: SecondaryMap<Inst, u32>,
    uses: SecondaryMap<Value, u32>,
    /// Differences, by block and operands.
    differences: HashMap<(Block, [Value; 2]), Inst>,
}

/// Replaces comparisons that find carries and borrows.
pub(super) fn run(function: &mut Function) {
    let mut candidates = Vec::new();
    for block in function.layout.blocks() {
        for inst in function.layout.block_insts(block) {
            if limb(&function.dfg, inst).is_some() {
                candidates.push((block, inst));
            }
        }
    }
    if candidates.is_empty() {
        return;
    }
    let mut places = Places::new(function);
    for (block, inst) in candidates {
        // What was replaced meanwhile may have changed what this is, or been this: the low limb of another one.
        if function.layout.inst_block(inst).is_some()
            && let Some(limb) = limb(&function.dfg, inst)
        {
            places.replace(function, block, inst, limb);
        }
    }
}

/// What a sum or difference of 64 bits is, if one of its operands is a carry or a borrow.
fn limb(dfg: &DataFlowGraph, inst: Inst) -> Option<Limb> {
    let InstructionData::Binary { opcode, args } = dfg.insts[inst] else {
        return None;
    };
    if !matches!(opcode, Opcode::Iadd | Opcode::Isub) {
        return None;
    }
    let [left, right] = args.map(|arg| dfg.resolve_aliases(arg));
    if !look::is_64(dfg, left) {
        return None;
    }
    if opcode == Opcode::Isub {
        let (low, high) = less_than(dfg, right)?;
        return Some(Limb {
            opcode,
            high: left,
            low: [low, high],
            sum: None,
            carry: right,
        });
    }
    [(left, right), (right, left)]
        .into_iter()
        .find_map(|(high, flag)| {
            let (sum, addend) = less_than(dfg, flag)?;
            let [a, b] = look::binary(dfg, Opcode::Iadd, sum)?;
            let (a, b) = match (same(dfg, a, addend), same(dfg, b, addend)) {
                (true, _) => (a, b),
                (_, true) => (b, a),
                _ => return None,
            };
            Some(Limb {
                opcode,
                high,
                low: [a, b],
                sum: Some(sum),
                carry: flag,
            })
        })
}

/// Is it the same number?
fn same(dfg: &DataFlowGraph, a: Value, b: Value) -> bool {
    a == b || look::constant(dfg, a).is_some_and(|c| look::constant(dfg, b) == Some(c))
}

/// The numbers of 64 bits of which this one says, by 1 or 0, whether the first is less than the second.
fn less_than(dfg: &DataFlowGraph, flag: Value) -> Option<(Value, Value)> {
    let narrow = look::unary(dfg, Opcode::Uextend, flag)?;
    let condition = look::unary(dfg, Opcode::Uextend, narrow).unwrap_or(narrow);
    let (cond, [left, right]) = look::comparison(dfg, condition)?;
    let pair = match cond {
        IntCC::UnsignedLessThan => (left, right),
        IntCC::UnsignedGreaterThan => (right, left),
        _ => return None,
    };
    look::is_64(dfg, left).then_some(pair)
}

impl Places {
    fn new(function: &Function) -> Places {
        let dfg = &function.dfg;
        let mut places = Places {
            order: SecondaryMap::with_capacity(dfg.num_insts()),
            uses: SecondaryMap::with_capacity(dfg.num_values()),
            differences: HashMap::new(),
        };
        let mut next = 2;
        for block in function.layout.blocks() {
            for inst in function.layout.block_insts(block) {
                places.order[inst] = next;
                next += 2;
                for value in dfg.inst_values(inst) {
                    places.uses[dfg.resolve_aliases(value)] += 1;
                }
                if let InstructionData::Binary {
                    opcode: Opcode::Isub,
                    args,
                } = dfg.insts[inst]
                {
                    let args = args.map(|arg| dfg.resolve_aliases(arg));
                    places.differences.entry((block, args)).or_insert(inst);
                }
            }
        }
        places
    }

    /// From where on a value is there, in this block.
    fn made(&self, function: &Function, block: Block, value: Value) -> u32 {
        let inst = function.dfg.value_def(value).inst();
        match inst.filter(|&inst| function.layout.inst_block(inst) == Some(block)) {
            Some(inst) => self.order[inst],
            None => 0,
        }
    }

    fn replace(&mut self, function: &mut Function, block: Block, inst: Inst, limb: Limb) {
        let dfg = &function.dfg;
        // The high limbs, if X is what nothing else needs.
        let highs = look::binary(dfg, limb.opcode, limb.high);
        let highs = highs.filter(|_| self.uses[limb.high] == 1);
        let high = [limb.high];
        let high = highs.as_ref().map_or(&high[..], |highs| &highs[..]);
        let needed = high.iter().map(|&v| self.made(function, block, v)).max();
        let needed = needed.unwrap_or(0);
        let sum = match limb.sum {
            Some(sum) => look::maker(dfg, sum),
            None => self.differences.get(&(block, limb.low)).copied(),
        };
        // A limb that is above itself, too, cannot come from what it goes into.
        let sum = sum.filter(|&sum| {
            function.layout.inst_block(sum) == Some(block) && !high.contains(&dfg.first_result(sum))
        });

        let carry = self.needed_once(dfg, limb.carry);
        let (position, number, sum) = match sum {
            Some(sum) if needed < self.order[sum].min(self.order[inst]) => {
                // At the low limb, or at the high limb if that comes first.
                let first = match self.order[sum] < self.order[inst] {
                    true => sum,
                    false => inst,
                };
                (CursorPosition::At(first), self.order[first], Some(sum))
            }
            Some(sum) => match self.behind(function, sum, needed, &carry) {
                Some(next) => (CursorPosition::At(next), needed | 1, Some(sum)),
                None => (CursorPosition::At(inst), self.order[inst], None),
            },
            None => (CursorPosition::At(inst), self.order[inst], None),
        };

        let mut cursor = FuncCursor::new(function).at_position(position);
        cursor.use_srcloc(sum.unwrap_or(inst));
        let [a, b] = limb.low;
        let (left, right) = match highs {
            Some([m, n]) => (cursor.ins().iconcat(a, m), cursor.ins().iconcat(b, n)),
            None => (
                cursor.ins().iconcat(a, limb.high),
                cursor.ins().uextend(types::I128, b),
            ),
        };
        let whole = match limb.opcode {
            Opcode::Iadd => cursor.ins().iadd(left, right),
            _ => cursor.ins().isub(left, right),
        };
        let (low, high) = cursor.ins().isplit(whole);
        for operand in [left, right] {
            if let Some(made) = function.dfg.value_def(operand).inst() {
                for value in function.dfg.inst_args(made) {
                    self.uses[function.dfg.resolve_aliases(*value)] += 1;
                }
            }
        }
        if let Some(made) = function.dfg.value_def(low).inst() {
            self.order[made] = number;
        }
        let high_limb = Some((inst, high));
        for (inst, by) in high_limb.into_iter().chain(sum.map(|sum| (sum, low))) {
            let result = function.dfg.first_result(inst);
            self.uses[by] = self.uses[result];
            function.dfg.clear_results(inst);
            function.dfg.change_to_alias(result, by);
            function.layout.remove_inst(inst);
        }
        for inst in carry {
            function.layout.remove_inst(inst);
        }
    }

    /// The comparison that a carry was made by, and its extensions, if they are needed for nothing else.
    fn needed_once(&self, dfg: &DataFlowGraph, carry: Value) -> SmallVec<[Inst; 3]> {
        let mut made = SmallVec::new();
        let mut value = Some(carry);
        while let Some(result) = value {
            match look::maker(dfg, result) {
                Some(inst) if self.uses[result] == 1 => made.push(inst),
                _ => return SmallVec::new(),
            }
            value = look::unary(dfg, Opcode::Uextend, result);
        }
        made
    }

    /// The instruction behind the place with this number, if nothing between a low limb and it needs the limb, but for the carry.
    fn behind(&self, function: &Function, sum: Inst, place: u32, carry: &[Inst]) -> Option<Inst> {
        let limb = function.dfg.first_result(sum);
        let mut next = function.layout.next_inst(sum)?;
        let mut left = MAX_DISTANCE;
        loop {
            if self.order[next] > place {
                return Some(next);
            }
            let looked_at = 1 + function.dfg.inst_args(next).len();
            left = left.checked_sub(looked_at)?;
            let mut values = function.dfg.inst_values(next);
            if values.any(|value| function.dfg.resolve_aliases(value) == limb)
                && !carry.contains(&next)
            {
                return None;
            }
            next = function.layout.next_inst(next)?;
        }
    }
}
