//! Numbers of 32 bits that loops carry along as indices are carried as 64 bits.
//!
//! ```text
//!   loop(i: i32):                          loop(w: i64):
//!       a = uextend.i64 i           ->         i = ireduce.i32 w
//!       ... load m + a ...                     ... load m + w ...
//!       j = iadd i, 4                          j = iadd i, 4
//!       brif c, loop(j)                        x = uextend.i64 j
//!                                              brif c, loop(x)
//! ```
//!
//! An index of a memory is extended by zeros before it becomes part of an address. What a 32-bit instruction computes already has zeros above
//! it, and the code generator knows that, so `x` costs nothing; but of what comes along an edge it knows nothing, and `a` is an instruction in
//! every round.
//!
//! Parameters of blocks are widened that are extended in the innermost loop around the block, if that saves more instructions there than it
//! adds, and those in the same loop that these get their values from. Blocks that a table of branches or a call leads to are left alone.

use super::look;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::entity::{EntitySet, SecondaryMap};
use cranelift_codegen::ir::{
    Block, BlockArg, DataFlowGraph, Function, Inst, InstBuilder, InstructionData, Opcode, Value,
    ValueDef, types,
};
use cranelift_codegen::packed_option::PackedOption;
use std::collections::HashMap;

/// What a branch gives a parameter.
#[derive(Copy, Clone)]
struct Argument {
    param: Value,
    value: Value,
    branch: Inst,
    /// Which of the branch's destinations.
    destination: u32,
    /// Which of the destination's parameters.
    position: u32,
}

/// Widens what is worth it.
pub(super) fn run(function: &mut Function) {
    let extensions = extensions(function);
    if extensions.is_empty() {
        return;
    }
    let loops = Loops::new(function);
    let arguments = arguments(function, &loops);
    let params = choose(function, &extensions, &loops, &arguments);

    let mut wide: SecondaryMap<Value, PackedOption<Value>> = SecondaryMap::new();
    for &param in &params {
        wide[param] = widen(function, param).into();
    }
    for (extension, param) in extensions {
        if let Some(wide) = wide[param].expand() {
            let result = function.dfg.first_result(extension);
            function.layout.remove_inst(extension);
            function.dfg.detach_inst_results(extension);
            function.dfg.change_to_alias(result, wide);
        }
    }
    let mut extended: HashMap<(Inst, Value), Value> = HashMap::new();
    let mut replaced: Vec<Argument> = Vec::new();
    for argument in arguments.iter().filter(|a| wide[a.param].is_some()) {
        let value = wide[argument.value].expand().unwrap_or_else(|| {
            *(extended.entry((argument.branch, argument.value)))
                .or_insert_with(|| extend(function, argument))
        });
        replaced.push(Argument { value, ..*argument });
    }
    replaced.sort_by_key(|a| (a.branch, a.destination, a.position));
    for arguments in
        replaced.chunk_by(|a, b| (a.branch, a.destination) == (b.branch, b.destination))
    {
        replace(function, arguments);
    }
}

/// The parameters to widen.
fn choose(
    function: &Function,
    extensions: &[(Inst, Value)],
    loops: &Loops,
    arguments: &[Argument],
) -> Vec<Value> {
    let dfg = &function.dfg;
    let block_of = |param: Value| dfg.value_def(param).unwrap_block();
    let is_in_loop_of = |inst: Inst, param: Value| {
        let block = function.layout.inst_block(inst);
        block.is_some_and(|block| loops.is_inside(block, block_of(param)))
    };
    let mut saved: SecondaryMap<Value, usize> = SecondaryMap::new();
    for &(extension, param) in extensions {
        saved[param] += usize::from(is_in_loop_of(extension, param));
    }
    let is_worth_it = |param: Value, saved: usize| {
        let added = arguments_of(arguments, param).filter(|argument| {
            is_in_loop_of(argument.branch, param) && !is_free(dfg, argument.value)
        });
        saved > added.count()
    };
    let mut todo: Vec<Value> = extensions.iter().map(|&(_, param)| param).collect();
    todo.sort_unstable();
    todo.dedup();
    todo.retain(|&param| is_worth_it(param, saved[param]));

    let mut judged: EntitySet<Value> = EntitySet::new();
    judged.extend(todo.iter().copied());
    let mut chosen = Vec::new();
    while let Some(param) = todo.pop() {
        let values = arguments_of(arguments, param).map(|argument| argument.value);
        todo.extend(values.filter(|&value| match dfg.value_def(value) {
            // One that is wide is not extended on the edge from it.
            ValueDef::Param(block, _) => {
                loops.is_inside(block, block_of(param))
                    && judged.insert(value)
                    && is_worth_it(value, saved[value] + 1)
            }
            _ => false,
        }));
        chosen.push(param);
    }
    // What no argument is for may not be widened.
    chosen.retain(|&param| arguments_of(arguments, param).next().is_some());
    chosen
}

/// What a parameter gets.
fn arguments_of(arguments: &[Argument], param: Value) -> impl Iterator<Item = &Argument> {
    let start = arguments.partition_point(|argument| argument.param < param);
    arguments[start..]
        .iter()
        .take_while(move |argument| argument.param == param)
}

/// Instructions that extend a parameter of a block from 32 to 64 bits, and the parameter.
fn extensions(function: &Function) -> Vec<(Inst, Value)> {
    let dfg = &function.dfg;
    let insts = (function.layout.blocks()).flat_map(|block| function.layout.block_insts(block));
    let extensions = insts.filter_map(|inst| {
        let InstructionData::Unary {
            opcode: Opcode::Uextend,
            arg,
        } = dfg.insts[inst]
        else {
            return None;
        };
        let param = dfg.resolve_aliases(arg);
        let is_param = matches!(dfg.value_def(param), ValueDef::Param(..));
        let widens =
            dfg.value_type(param) == types::I32 && look::is_64(dfg, dfg.first_result(inst));
        (is_param && widens).then_some((inst, param))
    });
    extensions.collect()
}

/// Does it cost nothing to extend a value of 32 bits, because the instruction that makes it leaves zeros above it? For what is a parameter
/// itself that cannot be told; mostly it becomes wide, too.
fn is_free(dfg: &DataFlowGraph, value: Value) -> bool {
    let Some(inst) = look::maker(dfg, value) else {
        return true;
    };
    matches!(
        dfg.insts[inst].opcode(),
        Opcode::Iconst
            | Opcode::Iadd
            | Opcode::Isub
            | Opcode::Imul
            | Opcode::Band
            | Opcode::Bor
            | Opcode::Bxor
            | Opcode::Ishl
            | Opcode::Ushr
    )
}

/// Which loop blocks are in: the innermost, by the places of its first block and of what follows its last.
///
/// A loop reaches from a block that something behind it leads back to, to the last that does: lowering keeps what is in it there.
struct Loops {
    /// Where each block is among all.
    places: SecondaryMap<Block, u32>,
    /// Empty for blocks in no loop.
    innermost: SecondaryMap<Block, (u32, u32)>,
}

impl Loops {
    fn new(function: &Function) -> Loops {
        let dfg = &function.dfg;
        let mut places: SecondaryMap<Block, u32> = SecondaryMap::new();
        for (place, block) in (0..).zip(function.layout.blocks()) {
            places[block] = place;
        }
        let mut ends: SecondaryMap<Block, u32> = SecondaryMap::new();
        for block in function.layout.blocks() {
            if let Some(branch) = function.layout.last_inst(block) {
                let destinations =
                    dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
                for destination in destinations {
                    let to = destination.block(&dfg.value_lists);
                    if places[to] <= places[block] {
                        ends[to] = ends[to].max(places[block] + 1);
                    }
                }
            }
        }
        let mut innermost: SecondaryMap<Block, (u32, u32)> = SecondaryMap::new();
        let mut open: Vec<(u32, u32)> = Vec::new();
        for (place, block) in (0..).zip(function.layout.blocks()) {
            while open.pop_if(|(_, end)| *end <= place).is_some() {}
            if ends[block] > 0 {
                open.push((place, ends[block]));
            }
            innermost[block] = open.last().copied().unwrap_or_default();
        }
        Loops { places, innermost }
    }

    /// Is a block in the innermost loop of another, or in one inside of it?
    fn is_inside(&self, block: Block, of: Block) -> bool {
        let (start, end) = self.innermost[of];
        (start..end).contains(&self.places[block])
    }
}

/// What the parameters get that may be widened, sorted by parameter.
fn arguments(function: &Function, loops: &Loops) -> Vec<Argument> {
    let dfg = &function.dfg;
    let mut arguments = Vec::new();
    let mut fixed: EntitySet<Block> = EntitySet::new();
    fixed.extend(function.layout.entry_block());
    for block in function.layout.blocks() {
        let Some(branch) = function.layout.last_inst(block) else {
            continue;
        };
        let data = &dfg.insts[branch];
        let destinations = data.branch_destination(&dfg.jump_tables, &dfg.exception_tables);
        for (destination, call) in (0..).zip(destinations) {
            let to = call.block(&dfg.value_lists);
            if !matches!(data.opcode(), Opcode::Jump | Opcode::Brif) {
                fixed.insert(to);
            }
            if !loops.is_inside(to, to) || fixed.contains(to) {
                continue;
            }
            let params = dfg.block_params(to).iter();
            for ((position, &param), value) in (0..).zip(params).zip(call.args(&dfg.value_lists)) {
                if let Some(value) = value.as_value()
                    && dfg.value_type(param) == types::I32
                {
                    arguments.push(Argument {
                        param,
                        value: dfg.resolve_aliases(value),
                        branch,
                        destination,
                        position,
                    });
                }
            }
        }
    }
    arguments.retain(|argument| match dfg.value_def(argument.param) {
        ValueDef::Param(block, _) => !fixed.contains(block),
        _ => false,
    });
    arguments.sort_by_key(|argument| argument.param);
    arguments
}

/// Makes a parameter 64 bits wide. What it was is computed from that, at the start of its block.
fn widen(function: &mut Function, param: Value) -> Value {
    let block = function.dfg.value_def(param).unwrap_block();
    let wide = function.dfg.replace_block_param(param, types::I64);
    let mut cursor = FuncCursor::new(function).at_first_insertion_point(block);
    let location = cursor.current_inst().map(|inst| cursor.func.srcloc(inst));
    cursor.set_srcloc(location.unwrap_or_default());
    let narrow = cursor.ins().ireduce(types::I32, wide);
    cursor.func.dfg.change_to_alias(param, narrow);
    wide
}

/// Extends an argument in front of its branch.
fn extend(function: &mut Function, argument: &Argument) -> Value {
    let location = function.srcloc(argument.branch);
    let mut cursor = FuncCursor::new(function)
        .at_inst(argument.branch)
        .with_srcloc(location);
    cursor.ins().uextend(types::I64, argument.value)
}

/// Replaces arguments of one destination of a branch, which are sorted by position.
fn replace(function: &mut Function, arguments: &[Argument]) {
    let Argument {
        branch,
        destination,
        ..
    } = arguments[0];
    let dfg = &mut function.dfg;
    let destinations =
        dfg.insts[branch].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
    let mut arguments = arguments.iter().peekable();
    let mut positions = 0..;
    destinations[destination as usize].update_args(&mut dfg.value_lists, |old| {
        let position: Option<u32> = positions.next();
        match arguments.next_if(|argument| Some(argument.position) == position) {
            Some(argument) => BlockArg::Value(argument.value),
            None => old,
        }
    });
}
