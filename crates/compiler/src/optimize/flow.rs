//! Where blocks are come to from.

use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{Block, Function, Inst, Value};
use smallvec::SmallVec;

/// Edges to a block that are kept. A block with more of them has many.
const KEPT: usize = 2;

/// An edge: the block it comes from, the branch at that block's end, and which of its destinations it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: Block,
    pub(super) branch: Inst,
    pub(super) position: usize,
}

/// The edges to one block.
#[derive(Clone, Default)]
struct Edges {
    kept: SmallVec<[Edge; KEPT]>,
    more: bool,
}

/// For each block the edges to it.
pub(super) struct Flow(SecondaryMap<Block, Edges>);

impl Flow {
    pub(super) fn new(function: &Function) -> Flow {
        let dfg = &function.dfg;
        let mut edges: SecondaryMap<Block, Edges> = SecondaryMap::with_capacity(dfg.num_blocks());
        for from in function.layout.blocks() {
            let Some(branch) = function.layout.last_inst(from) else {
                continue;
            };
            let calls =
                dfg.insts[branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
            for (position, call) in calls.iter().enumerate() {
                let to = &mut edges[call.block(&dfg.value_lists)];
                if to.kept.len() < KEPT {
                    to.kept.push(Edge {
                        from,
                        branch,
                        position,
                    });
                } else {
                    to.more = true;
                }
            }
        }
        Flow(edges)
    }

    /// The edges to a block, unless there are more than two.
    pub(super) fn edges(&self, block: Block) -> Option<&[Edge]> {
        let edges = &self.0[block];
        (!edges.more).then_some(&edges.kept)
    }

    /// The only edge to a block.
    pub(super) fn only_edge(&self, block: Block) -> Option<Edge> {
        match self.edges(block)? {
            [edge] => Some(*edge),
            _ => None,
        }
    }
}

/// What a block is given by an edge to it.
pub(super) fn argument(function: &Function, edge: Edge, position: usize) -> Option<Value> {
    let dfg = &function.dfg;
    let calls = dfg.insts[edge.branch].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
    let argument = calls[edge.position].args(&dfg.value_lists).nth(position)?;
    Some(dfg.resolve_aliases(argument.as_value()?))
}
