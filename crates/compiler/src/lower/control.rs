//! Structured control: blocks, branches, and what follows a point that is never passed.
//!
//! ```text
//!   operand stack          | outer values | saved parameters (if only) | parameters, then the block's own values
//!   Frame::height  --------^
//! ```
//!
//! A CLIF block is made only when something jumps to it: a block's exit when the first branch names it, a loop's header always.
//! Its parameters are the WebAssembly block's results (a header's: the loop's parameters); locals become parameters where the
//! builder finds that they must. A block is sealed at the `end` (or `else`) behind which no branch can name it.
//!
//! Nesting costs no recursion here: open blocks are a list.

use super::fuel::Counter;
use super::state::FuncLowering;
use super::{CompileError, exception};
use cowling_abi::{FuncType, Trap, TypeIndex};
use cranelift_codegen::ir::{Block, BlockArg, BlockCall, Inst, InstBuilder, JumpTableData, Value};
use std::collections::HashMap;
use std::mem;
use wasmparser::{BlockType, BrTable};

/// An open block.
pub(super) struct Frame {
    kind: Kind,
    /// Values on the operand stack below what belongs to the block.
    height: usize,
    /// Number of parameters.
    params: usize,
    /// Number of results.
    results: usize,
    /// Where branches to its end go, once there is one.
    exit: Option<Block>,
    /// Fuel on the paths that come there.
    counter: Counter,
    /// Is it rarely executed?
    cold: bool,
}

#[derive(Copy, Clone)]
enum Kind {
    /// `block`, an `if` past its `else`, or the function's body.
    Block,
    Loop {
        header: Block,
    },
    If {
        branch: Inst,
        otherwise: Block,
        /// Fuel at the branch.
        counter: Counter,
        /// Is the second arm rarely executed?
        cold: bool,
    },
    Try(exception::Scope),
}

impl Frame {
    /// The body of a function.
    pub(super) fn function(ty: &FuncType, counter: &Counter) -> Frame {
        Frame {
            kind: Kind::Block,
            height: 0,
            params: 0,
            results: ty.results.len(),
            exit: None,
            counter: counter.unmet(),
            cold: false,
        }
    }

    /// The body of an inlined function, above this height of the operand stack.
    pub(super) fn inlined(ty: &FuncType, height: usize, counter: &Counter, cold: bool) -> Frame {
        Frame {
            height,
            cold,
            ..Frame::function(ty, counter)
        }
    }

    /// How many values a branch to this block carries.
    fn branch_arity(&self) -> usize {
        match self.kind {
            Kind::Loop { .. } => self.params,
            _ => self.results,
        }
    }
}

impl FuncLowering<'_> {
    /// Numbers of parameters and results of a block.
    fn block_arity(&self, ty: BlockType) -> (usize, usize) {
        match ty {
            BlockType::Empty => (0, 0),
            BlockType::Type(_) => (0, 1),
            BlockType::FuncType(index) => {
                let ty = self.env.info.signature(TypeIndex::from_u32(index));
                (ty.params.len(), ty.results.len())
            }
        }
    }

    fn push_frame(&mut self, kind: Kind, ty: BlockType) {
        self.alive += self.stack.len();
        let (params, results) = self.block_arity(ty);
        self.control.push(Frame {
            kind,
            height: self.stack.len() - params,
            params,
            results,
            exit: None,
            counter: self.counter.unmet(),
            cold: self.cold,
        });
    }

    /// `block`
    pub(super) fn block(&mut self, ty: BlockType) {
        self.push_frame(Kind::Block, ty);
    }

    /// `loop`
    pub(super) fn loop_(&mut self, ty: BlockType) {
        let (params, _) = self.block_arity(ty);
        let header = self.create_block_for(params, self.cold);
        self.jump(header, params);
        self.builder.switch_to_block(header);
        self.stack.truncate(self.stack.len() - params);
        self.stack
            .extend_from_slice(self.builder.block_params(header));
        self.check_fuel();
        self.push_frame(Kind::Loop { header }, ty);
        self.open_loops += 1;
    }

    /// `if`
    pub(super) fn if_(&mut self, ty: BlockType) {
        let condition = self.pop_condition();
        let hint = self.hint();
        let cold = self.cold || hint == Some(true);
        let cold_then = self.cold || hint == Some(false);
        let then = self.create_block_in(cold_then);
        // Not cold yet: without an `else` everything that follows is in it.
        let otherwise = self.create_block();
        let branch = self
            .builder
            .ins()
            .brif(condition, then, &[], otherwise, &[]);
        self.builder.seal_block(then);
        self.builder.switch_to_block(then);
        let counter = self.counter;
        let kind = Kind::If {
            branch,
            otherwise,
            counter,
            cold,
        };
        self.push_frame(kind, ty);
        self.cold = cold_then;
        // The parameters stay below as they are, for `else`.
        let saved = self.stack.len() - self.frame().params..;
        self.stack.extend_from_within(saved);
    }

    /// `else`
    pub(super) fn else_(&mut self) {
        if self.reachable {
            self.jump_to_exit();
        }
        let frame = self.frame_mut();
        let kind = mem::replace(&mut frame.kind, Kind::Block);
        let Kind::If {
            otherwise,
            counter,
            cold,
            ..
        } = kind
        else {
            unreachable!("the validator accepts `else` in an `if` only");
        };
        let height = frame.height + frame.params;
        self.stack.truncate(height);
        self.counter = counter;
        self.cold = cold;
        if cold {
            self.builder.set_cold_block(otherwise);
        }
        self.enter(otherwise);
    }

    /// `try_table`, its handlers pushed
    pub(super) fn push_try(&mut self, ty: BlockType, scope: exception::Scope) {
        self.push_frame(Kind::Try(scope), ty);
    }

    /// `end`
    ///
    /// # Errors
    /// When handlers of exceptions make the function too large.
    pub(super) fn end(&mut self) -> Result<(), CompileError> {
        if self.control.len() == 1 {
            self.end_function();
            return Ok(());
        }
        match self.frame().kind {
            Kind::Block | Kind::Try(_) => {}
            Kind::Loop { header } => {
                self.builder.seal_block(header);
                self.open_loops -= 1;
            }
            Kind::If {
                branch,
                otherwise,
                counter,
                ..
            } => self.end_without_else(branch, otherwise, &counter),
        }
        if let Kind::Try(scope) = self.frame().kind
            && self.is_handler_used(scope)
            && self.reachable
        {
            // Handlers come next in the code.
            self.jump_to_exit();
        }
        let frame = self
            .control
            .pop()
            .expect("the function's own block is below");
        if let Kind::Try(scope) = frame.kind {
            self.lower_handlers(scope)?;
        }
        self.leave(&frame);
        Ok(())
    }

    /// Goes on behind a block that has been closed.
    fn leave(&mut self, frame: &Frame) {
        self.cold = frame.cold;
        let Some(exit) = frame.exit else {
            if !self.reachable {
                self.stack.truncate(frame.height);
            }
            return;
        };
        let mut counter = frame.counter;
        if self.reachable {
            counter.meet(&self.counter);
            self.jump(exit, frame.results);
        }
        self.counter = counter;
        self.stack.truncate(frame.height);
        self.enter(exit);
        self.stack
            .extend_from_slice(self.builder.block_params(exit));
    }

    /// The other arm of an `if` without `else`: passes the parameters on.
    fn end_without_else(&mut self, branch: Inst, otherwise: Block, counter: &Counter) {
        let frame = self.frame_mut();
        match (frame.results, frame.exit) {
            (0, exit) if !counter.is_pending() => {
                frame.counter.meet(counter);
                match exit {
                    None => frame.exit = Some(otherwise),
                    Some(exit) => self
                        .builder
                        .change_jump_destination(branch, otherwise, exit),
                }
            }
            _ => {
                if self.reachable {
                    self.jump_to_exit();
                }
                self.else_();
            }
        }
    }

    fn end_function(&mut self) {
        let frame = self
            .control
            .pop()
            .expect("the function's own block is open");
        self.leave(&frame);
        if self.reachable && !self.is_inlined() {
            self.return_values(frame.results);
        }
    }

    /// `br`
    pub(super) fn br(&mut self, depth: u32) {
        if depth as usize + 1 == self.control.len() {
            return self.return_();
        }
        self.jump_out(depth);
    }

    /// `br_if`
    pub(super) fn br_if(&mut self, depth: u32) {
        self.take_fuel();
        let condition = self.pop_condition();
        let (target, arity) = self.target(depth);
        self.gather_args(arity);
        let forward = !matches!(self.frame_at(depth).kind, Kind::Loop { .. });
        let hint = self.hint().filter(|_| forward);
        self.cold |= hint == Some(true);
        let next = self.create_block();
        if hint == Some(false) {
            let edge = self.create_block_in(true);
            let ins = self.builder.ins();
            ins.brif(condition, edge, &[], next, &[]);
            self.enter(edge);
            self.builder.ins().jump(target, &self.block_args);
        } else {
            let ins = self.builder.ins();
            ins.brif(condition, target, &self.block_args, next, &[]);
        }
        self.enter(next);
    }

    /// Branches if a value is not zero, as `br_if` does.
    pub(super) fn br_if_value(&mut self, depth: u32, condition: Value) {
        self.push(condition);
        self.br_if(depth);
    }

    /// `br_table`
    ///
    /// # Errors
    /// When the table cannot be read, or what it takes along makes the function too large.
    pub(super) fn br_table(&mut self, table: &BrTable<'_>) -> Result<(), CompileError> {
        let index = self.pop1();
        if table.is_empty() {
            self.br(table.default());
            return Ok(());
        }
        self.take_fuel();
        // Here, where it is there for all targets: none of the carriers dominates the others.
        self.canonicalize(self.frame_at(table.default()).branch_arity());
        // Values are carried by one block per target, so that a table entry is a label and nothing more.
        let mut carriers = HashMap::new();
        let mut entries = Vec::with_capacity(table.len() as usize);
        for depth in table.targets() {
            entries.push(self.table_entry(depth?, &mut carriers));
        }
        let default = self.table_entry(table.default(), &mut carriers);
        let table = self
            .builder
            .create_jump_table(JumpTableData::new(default, &entries));
        self.builder.ins().br_table(index, table);
        let mut carriers: Vec<(u32, Block)> = carriers.into_iter().collect();
        carriers.sort_unstable_by_key(|&(_, block)| block);
        for (depth, carrier) in carriers {
            self.enter(carrier);
            self.br(depth);
            self.check_size()?;
        }
        self.reachable = false;
        Ok(())
    }

    fn table_entry(&mut self, depth: u32, carriers: &mut HashMap<u32, Block>) -> BlockCall {
        let block = if self.frame_at(depth).branch_arity() == 0 {
            self.target(depth).0
        } else {
            *(carriers.entry(depth)).or_insert_with(|| self.create_block())
        };
        BlockCall::new(block, [], &mut self.builder.func.dfg.value_lists)
    }

    /// `return`
    pub(super) fn return_(&mut self) {
        if self.is_inlined() {
            return self.jump_out(self.control.len() as u32 - 1);
        }
        self.return_values(self.control[0].results);
    }

    fn return_values(&mut self, count: usize) {
        self.take_fuel();
        self.canonicalize(count);
        let values = &self.stack[self.stack.len() - count..];
        self.builder.ins().return_(values);
        self.reachable = false;
    }

    /// `unreachable`
    pub(super) fn unreachable(&mut self) {
        self.trap(Trap::UnreachableCodeReached);
    }

    // --- pieces ---

    fn frame(&self) -> &Frame {
        self.frame_at(0)
    }

    fn frame_mut(&mut self) -> &mut Frame {
        self.control
            .last_mut()
            .expect("operators stand inside the function's own block")
    }

    /// The open block that a branch of this depth names.
    fn frame_at(&self, depth: u32) -> &Frame {
        &self.control[self.control.len() - 1 - depth as usize]
    }

    /// Where a branch of this depth goes, and how many values it takes along: the topmost ones.
    fn target(&mut self, depth: u32) -> (Block, usize) {
        let frame = self.frame_at(depth);
        let arity = frame.branch_arity();
        if let Kind::Loop { header } = frame.kind {
            return (header, arity);
        }
        let exit = frame.exit;
        let position = self.control.len() - 1 - depth as usize;
        self.control[position].counter.meet(&self.counter);
        if let Some(exit) = exit {
            return (exit, arity);
        }
        let cold = self.control[position].cold;
        let exit = self.create_block_for(arity, cold);
        self.control[position].exit = Some(exit);
        (exit, arity)
    }

    /// Makes a block that takes the topmost `arity` values as parameters.
    fn create_block_for(&mut self, arity: usize, cold: bool) -> Block {
        self.canonicalize(arity);
        let block = self.create_block_in(cold);
        for position in self.stack.len() - arity..self.stack.len() {
            let ty = self.type_of(self.stack[position]);
            self.builder.append_block_param(block, ty);
        }
        block
    }

    /// Jumps to a block with the topmost `arity` values.
    fn jump(&mut self, block: Block, arity: usize) {
        self.take_fuel();
        self.gather_args(arity);
        self.builder.ins().jump(block, &self.block_args);
    }

    /// Jumps to where a branch of this depth goes.
    fn jump_out(&mut self, depth: u32) {
        let (target, arity) = self.target(depth);
        self.jump(target, arity);
        self.reachable = false;
    }

    /// Falls through to the end of the innermost block.
    fn jump_to_exit(&mut self) {
        self.jump_out(0);
    }

    fn gather_args(&mut self, arity: usize) {
        self.canonicalize(arity);
        let values = &self.stack[self.stack.len() - arity..];
        self.carried += arity;
        self.block_args.clear();
        self.block_args
            .extend(values.iter().copied().map(BlockArg::Value));
    }

    /// Goes on in a block that nothing else will branch to.
    pub(super) fn enter(&mut self, block: Block) {
        self.builder.seal_block(block);
        self.builder.switch_to_block(block);
        self.alive += self.stack.len();
        self.reachable = true;
    }
}
