//! How much is spent on making a function's code good.
//!
//! What the code generator does to optimise takes more than linear time or memory in some directions: it looks at every loop around a block,
//! finds many equal forms of long chains of arithmetic, goes through what is above each block with a handler, and its register allocator undoes decisions
//! and looks at everything that is alive, at each block and each call. That is right for functions as compilers
//! make them. Functions beyond these limits, which are several times what large programs have, are a generator's or an attacker's: they are compiled without optimisation and with the register allocator that passes once, in time in proportion to
//! their size.
//!
//! It depends on the function only, so artifacts are the same whenever and wherever they are made.

use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{Block, Function, Value};

/// Instructions in a row, without a branch.
const MAX_BLOCK: usize = 1 << 16;

/// Blocks of a function.
const MAX_BLOCKS: usize = 1 << 15;

/// Blocks of a function, times edges that lead back.
const MAX_LOOPED: usize = 1 << 26;

/// Blocks of a function, times calls with handlers. A function of yosys has a fifth of that.
const MAX_HANDLED: usize = 1 << 29;

/// Handlers that calls list, of all calls together. A function of yosys lists a fifth of that.
const MAX_LISTED: usize = 1 << 16;

/// Instructions of a function, times loops inside each other.
const MAX_NESTED: usize = 1 << 21;

/// Values that are alive, of all blocks and calls together. A function of yosys has half of what it may have.
const MAX_ALIVE: usize = 1 << 24;

/// The same, for each instruction.
const MAX_ALIVE_EACH: usize = 1 << 10;

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
        let (blocks, insts) = (function.dfg.num_blocks(), function.dfg.num_insts());
        let mut places = SecondaryMap::with_capacity(blocks);
        let handled = function.dfg.exception_tables.len();
        let mut back = 0;
        for (place, block) in (1usize..).zip(function.layout.blocks()) {
            places[block] = place;
            if insts > MAX_BLOCK
                && (function.layout.block_insts(block))
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
        let may_be_beyond = insts.saturating_mul(back) > MAX_NESTED
            || function.dfg.num_values().saturating_mul(insts) > MAX_ALIVE;
        let beyond = blocks > MAX_BLOCKS
            || blocks.saturating_mul(back) > MAX_LOOPED
            || blocks.saturating_mul(handled) > MAX_HANDLED
            || listed(function) > MAX_LISTED
            || (may_be_beyond && is_beyond(function, insts));
        match beyond {
            true => Effort::Least,
            false => Effort::Full,
        }
    }
}

/// Where in a function something is, in the order of its code.
#[derive(Copy, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    /// Blocks up to here.
    block: u32,
    /// Blocks and calls up to here.
    passed: u32,
}

/// A loop: from the block that is come back to, to the last that leads there.
#[derive(Copy, Clone)]
struct Loop {
    first: u32,
    end: Point,
    /// The one around it.
    outer: Option<u32>,
    /// How many there are around it, itself counted in.
    depth: usize,
}

/// How many handlers calls list.
fn listed(function: &Function) -> usize {
    let tables = function.dfg.exception_tables.values();
    tables.map(|table| table.all_branches().len()).sum()
}

/// Is too much alive, or are loops too deep inside each other?
///
/// About how many values are alive, of all blocks and calls together, is counted. Each is taken to be from where it is made to its last use, or to the end
/// of a loop that begins in between.
fn is_beyond(function: &Function, insts: usize) -> bool {
    let dfg = &function.dfg;
    let mut made: SecondaryMap<Value, Point> = SecondaryMap::with_capacity(dfg.num_values());
    let mut used: SecondaryMap<Value, Point> = SecondaryMap::with_capacity(dfg.num_values());
    let mut begins: SecondaryMap<Block, u32> = SecondaryMap::with_capacity(dfg.num_blocks());
    // The end of the loop that a block begins, by the number of the block.
    let mut ends = vec![Point::default(); dfg.num_blocks() + 1];
    let mut point = Point::default();
    for block in function.layout.blocks() {
        point.block += 1;
        point.passed += 1;
        begins[block] = point.block;
        for &param in dfg.block_params(block) {
            made[param] = point;
        }
        for inst in function.layout.block_insts(block) {
            for value in dfg.inst_values(inst) {
                used[dfg.resolve_aliases(value)] = point;
            }
            let data = &dfg.insts[inst];
            point.passed += u32::from(data.opcode().is_call());
            for &result in dfg.inst_results(inst) {
                made[result] = point;
            }
            for call in data.branch_destination(&dfg.jump_tables, &dfg.exception_tables) {
                // Zero where it leads on.
                let first = begins[call.block(&dfg.value_lists)];
                if first > 0 {
                    ends[first as usize] = point;
                }
            }
        }
    }
    let loops = Loops::new(&ends);
    let alive = dfg.values().map(|value| {
        let (made, used) = (made[value], loops.end(made[value], used[value]));
        used.passed.saturating_sub(made.passed) as usize
    });
    let most = MAX_ALIVE.saturating_add(insts.saturating_mul(MAX_ALIVE_EACH));
    insts.saturating_mul(loops.depth()) > MAX_NESTED || alive.sum::<usize>() > most
}

/// The loops of a function.
struct Loops {
    all: Vec<Loop>,
    /// The innermost loop around each block, by the number of the block.
    around: Vec<Option<u32>>,
}

impl Loops {
    /// `ends` has for each block the end of the loop that it begins, if there is one.
    fn new(ends: &[Point]) -> Loops {
        let mut all: Vec<Loop> = Vec::new();
        let mut inside: Option<u32> = None;
        let around = (0u32..).zip(ends).map(|(block, &end)| {
            while let Some(number) = inside
                && all[number as usize].end.block < block
            {
                inside = all[number as usize].outer;
            }
            if end != Point::default() {
                let outside = inside.map_or(0, |number| all[number as usize].depth);
                all.push(Loop {
                    first: block,
                    end,
                    outer: inside,
                    depth: outside + 1,
                });
                inside = Some(all.len() as u32 - 1);
            }
            inside
        });
        let around = around.collect();
        Loops { all, around }
    }

    /// Most loops inside each other.
    fn depth(&self) -> usize {
        self.all.iter().map(|found| found.depth).max().unwrap_or(0)
    }

    /// Where a value ends that is made and used last at these points: behind the outermost loop that begins in between.
    fn end(&self, made: Point, mut used: Point) -> Point {
        let mut inside = self.around[used.block as usize];
        while let Some(number) = inside
            && self.all[number as usize].first > made.block
        {
            used = used.max(self.all[number as usize].end);
            inside = self.all[number as usize].outer;
        }
        used
    }
}
