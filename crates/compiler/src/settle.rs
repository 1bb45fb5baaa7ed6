//! Settles which operator each instruction is of, between the code generator's optimisations and its selection of machine instructions.
//!
//! Its optimisations leave new instructions without a location. Its selection makes a load a part of the instruction that uses it, and
//! gives the result the location of that one, so that the trap of a load would be said to be its user's:
//!
//! ```text
//!   @4  v3 = load.i32 v2            @4  v3 = load.i32 v2                @4   add eax, [rdi+rsi]     ; may trap
//!   @9  v4 = iadd v1, v3      ->    @4  v4 = iadd v1, v3      then
//! ```
//!
//! It does so only when nothing happens between the two that anybody could notice, and nothing else uses what is loaded. Whatever a load
//! may become a part of takes the load's location here. It is the right one when that comes true, and close to it when it does not: of
//! an instruction that cannot trap nobody asks but a profiler. What traps on a condition has a location of its own, so it is kept apart
//! from the load, by an instruction that is none of the machine's.
//!
//! Aliases are resolved by then. One pass over the instructions counts uses, one goes forward for the loads, and one backward in each
//! block for what has no location.

use crate::optimize::is_pure;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::entity::packed_option::PackedOption;
use cranelift_codegen::ir::{
    Block, DataFlowGraph, Function, Inst, InstBuilder, InstructionData, Opcode, SourceLoc, Value,
};

/// A load that may trap, and may be left to what uses a value.
#[derive(Copy, Clone, Default)]
struct Pending {
    load: PackedOption<Inst>,
    /// Loads are numbered in the order of the code.
    number: u32,
    /// Something was calculated with what was loaded. It may become a part of storing the result where that was.
    calculated: bool,
}

/// How often a value is used, as far as that matters.
#[derive(Copy, Clone, Default, PartialEq, Eq)]
enum Uses {
    #[default]
    None,
    One,
    Several,
}

/// Changes locations, those of instructions only that cannot trap or do so together with a load, and keeps loads apart from what traps on a
/// condition. The machine code computes the same.
pub(crate) fn run(function: &mut Function) {
    let mut loads = Loads {
        uses: count_uses(function),
        pending: SecondaryMap::new(),
        first: 1,
        next: 1,
    };
    let mut next = function.layout.entry_block();
    while let Some(block) = next {
        next = function.layout.next_block(block);
        loads.give_locations(function, block);
        fill(function, block);
    }
}

fn count_uses(function: &Function) -> SecondaryMap<Value, Uses> {
    let mut uses = SecondaryMap::with_capacity(function.dfg.num_values());
    for block in function.layout.blocks() {
        for inst in function.layout.block_insts(block) {
            for value in function.dfg.inst_values(inst) {
                debug_assert!(
                    !function.dfg.value_is_alias(value),
                    "nothing is left of aliases"
                );
                let uses = &mut uses[value];
                *uses = match uses {
                    Uses::None => Uses::One,
                    Uses::One | Uses::Several => Uses::Several,
                };
            }
        }
    }
    uses
}

struct Loads {
    uses: SecondaryMap<Value, Uses>,
    pending: SecondaryMap<Value, Pending>,
    /// Number of the first load behind everything that none can be moved over.
    first: u32,
    /// Number of the next load.
    next: u32,
}

impl Loads {
    fn give_locations(&mut self, function: &mut Function, block: Block) {
        self.first = self.next;
        let mut next = function.layout.first_inst(block);
        while let Some(inst) = next {
            next = function.layout.next_inst(inst);
            let opcode = function.dfg.insts[inst].opcode();
            let operand = self.operand(&function.dfg, inst);
            if let Some(operand) = operand
                && let Some(load) = operand.load.expand()
                && takes_part(&function.dfg, inst, load, operand.calculated)
            {
                let location = function.srcloc(load);
                if location == function.srcloc(inst) {
                    // They may become one.
                } else if let InstructionData::CondTrap { .. } = function.dfg.insts[inst] {
                    let mut cursor = FuncCursor::new(function).at_inst(inst);
                    cursor.set_srcloc(location);
                    cursor.ins().sequence_point();
                } else {
                    function.set_srcloc(inst, location);
                }
            }
            let result = match *function.dfg.inst_results(inst) {
                [result] if self.uses[result] == Uses::One => Some(result),
                _ => None,
            };
            if let InstructionData::Load { flags, .. } = function.dfg.insts[inst] {
                let may_trap = !function.dfg.mem_flags[flags].notrap();
                if let Some(result) = result.filter(|_| may_trap) {
                    self.pending[result] = Pending {
                        load: inst.into(),
                        number: self.next,
                        calculated: false,
                    };
                }
                self.next += 1;
            } else if !is_pure(opcode) {
                self.first = self.next;
            } else if let (Some(result), Some(operand)) = (result, operand) {
                self.pending[result] = Pending {
                    calculated: operand.calculated || !is_looked_through(opcode),
                    ..operand
                };
            }
        }
    }

    /// The last load that may become a part of this.
    fn operand(&self, dfg: &DataFlowGraph, inst: Inst) -> Option<Pending> {
        let pending = dfg.inst_args(inst).iter().map(|&value| self.pending[value]);
        pending
            .filter(|pending| pending.load.is_some() && pending.number >= self.first)
            .max_by_key(|pending| pending.number)
    }
}

/// Is it selected together with what uses its result, so that a load which is its operand may become part of that?
fn is_looked_through(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::Uextend
            | Opcode::Sextend
            | Opcode::Ireduce
            | Opcode::Bitcast
            | Opcode::Bswap
            | Opcode::Splat
            | Opcode::ScalarToVector
            | Opcode::Icmp
            | Opcode::Fcmp
            | Opcode::Band
    )
}

/// May the load become a part of `inst`, one of whose operands was loaded, or `calculated` from that?
fn takes_part(dfg: &DataFlowGraph, inst: Inst, load: Inst, calculated: bool) -> bool {
    match dfg.insts[inst] {
        InstructionData::Brif { .. } | InstructionData::CondTrap { .. } => !calculated,
        // Stored where it came from: if as much can be loaded there it can be stored.
        InstructionData::Store {
            opcode: Opcode::Store,
            args: [value, to],
            offset: to_offset,
            ..
        } => match dfg.insts[load] {
            InstructionData::Load {
                opcode: Opcode::Load,
                arg: from,
                offset,
                ..
            } => {
                to == from
                    && offset == to_offset
                    && dfg.value_type(value) == dfg.value_type(dfg.first_result(load))
            }
            _ => false,
        },
        ref data => !calculated && is_pure(data.opcode()),
    }
}

/// Gives each instruction that makes a value and has no location that of the next one that has.
fn fill(function: &mut Function, block: Block) {
    let mut known = SourceLoc::default();
    let mut next = function.layout.last_inst(block);
    while let Some(inst) = next {
        next = function.layout.prev_inst(inst);
        let location = function.srcloc(inst);
        if !location.is_default() {
            known = location;
        } else if !known.is_default() && is_pure(function.dfg.insts[inst].opcode()) {
            function.set_srcloc(inst, known);
        }
    }
}
