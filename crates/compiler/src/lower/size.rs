//! How large a function may become: what is made of it is in proportion to its bytes.
//!
//! A call takes two bytes and may have a thousand results; a branch table has an entry for each byte, and each entry takes along what is
//! different on the way there. The limits are several times what large programs need: their largest functions have some four values
//! to the byte, and a tenth of a handler.
//!
//! Which limit a function passes depends on it alone, so that a module is compiled, or refused with the same words, whenever and wherever that is.

use super::CompileError;
use super::state::FuncLowering;
use cranelift_codegen::ir::Function;

/// Most loops open at once. The code generator looks at every loop around a block, so that time grows with the product of
/// blocks and depth; what people write is some tens deep.
const MAX_OPEN_LOOPS: usize = 1024;

/// Entries of lists of values from which on it is found out how many of them are arguments of branches.
pub(super) const LISTED: usize = 1 << 20;

/// What a function may need.
#[derive(Copy, Clone, Debug)]
pub(super) struct Limits {
    /// Values that it defines, instructions, and arguments of its branches: each as many. They cost the code generator up to a few hundred
    /// bytes.
    values: usize,
    /// Handlers that its calls list together. A call in deep nesting lists many.
    handlers: usize,
    /// Values that are on the operand stack where blocks begin, of all blocks together: the code generator looks at what is alive in each.
    alive: usize,
    /// Variables, times blocks: the builder has a list by block for each.
    variable_blocks: usize,
    /// Variables, times themselves, times loops: in front of a loop each variable may become a parameter, and to take one of them back is to
    /// go through the others.
    variable_loops: usize,
}

impl Limits {
    /// Of a function with a body of so many bytes.
    pub(super) fn of(bytes: usize) -> Limits {
        let in_proportion = |base: usize, factor: usize, most: usize| {
            base.saturating_add(bytes.saturating_mul(factor)).min(most)
        };
        Limits {
            values: in_proportion(1 << 16, 16, 1 << 22),
            handlers: in_proportion(1 << 13, 2, 1 << 20),
            alive: in_proportion(1 << 25, 1 << 8, usize::MAX),
            variable_blocks: in_proportion(1 << 22, 1 << 6, 1 << 26),
            variable_loops: in_proportion(1 << 27, 1 << 10, usize::MAX),
        }
    }

    /// May there be so many variables, blocks and loops?
    pub(super) fn allow(&self, variables: usize, blocks: usize, loops: usize) -> bool {
        variables <= self.variables(variables, blocks, loops)
    }

    /// How many of so many variables there may be, with so many blocks and loops.
    pub(super) fn variables(&self, wanted: usize, blocks: usize, loops: usize) -> usize {
        let for_loops = (self.variable_loops / (loops + 1)).isqrt();
        wanted
            .min(self.variable_blocks / (blocks + 1))
            .min(for_loops)
    }
}

/// Arguments of all branches of a function.
fn arguments(function: &Function) -> usize {
    let dfg = &function.dfg;
    let branches = function
        .layout
        .blocks()
        .filter_map(|block| function.layout.last_inst(block));
    let arguments = branches.map(|branch| {
        let destinations =
            dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
        let lens = destinations.iter().map(|call| call.len(&dfg.value_lists));
        lens.sum::<usize>()
    });
    arguments.sum()
}

fn too_many(limit: usize, what: &str) -> CompileError {
    CompileError::TooLarge {
        what: format!("more than {limit} {what}"),
    }
}

impl FuncLowering<'_> {
    /// Checks that the function is not out of all proportion.
    ///
    /// # Errors
    /// When it is.
    pub(super) fn check_size(&mut self) -> Result<(), CompileError> {
        let limits = self.limits;
        let dfg = &self.builder.func.dfg;
        let blocks = dfg.num_blocks();
        // The number of blocks was estimated, so they may be twice as many.
        let variable_blocks = self.variables.saturating_mul(blocks) / 2;
        let listed = dfg.value_lists.capacity();
        let counts = [
            (dfg.num_values(), limits.values, "values"),
            (dfg.num_insts(), limits.values, "instructions"),
            (self.carried, limits.values, "arguments of branches"),
            (
                self.listed_handlers,
                limits.handlers,
                "exception handlers at its calls",
            ),
            (self.alive, limits.alive, "operands where its blocks begin"),
            (
                variable_blocks,
                limits.variable_blocks,
                "variables, by block",
            ),
            (self.open_loops, MAX_OPEN_LOOPS, "loops inside each other"),
        ];
        for (count, limit, what) in counts {
            if count > limit {
                return Err(too_many(limit, what));
            }
        }
        // They grow only. So a function that is refused here would be refused at its end, whenever this is looked at.
        if listed > self.listed {
            self.listed = listed.saturating_mul(2);
            self.check_arguments()?;
        }
        Ok(())
    }

    /// Checks how many arguments branches have, those counted in that the builder has added.
    ///
    /// # Errors
    /// When they are out of all proportion.
    pub(super) fn check_arguments(&self) -> Result<(), CompileError> {
        let limit = self.limits.values;
        match arguments(self.builder.func) > limit {
            true => Err(too_many(limit, "arguments of branches")),
            false => Ok(()),
        }
    }
}
