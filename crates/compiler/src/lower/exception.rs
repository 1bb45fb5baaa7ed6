//! Exceptions: `try_table`, `throw`, `throw_ref`.
//!
//! ```text
//!   call inside a try_table                  handler, one per catch clause of a try_table
//!   -----------------------                  --------------------------------------------
//!   try_call f(vmctx, ...)                   block(exception: i64)
//!     normal return    -> next block           fetch the values the exception carries
//!     tag t, default   -> handlers  ------->   branch to the clause's label
//! ```
//!
//! Each call lists the clauses of every `try_table` around it, innermost first, up to the first that catches everything. A
//! handler's code follows its `try_table`'s body and exists only if some call lists it.

use super::CompileError;
use super::call::Callee;
use super::state::{FuncLowering, POINTER};
use super::types::clif_type;
use cowling_abi::builtins::BuiltinIndex;
use cowling_abi::layout::VmValue;
use cowling_abi::{TagIndex, Trap};
use cranelift_codegen::ir::{
    AbiParam, Block, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem, ExceptionTag,
    InstBuilder, MemFlagsData, SigRef, StackSlotData, StackSlotKind, Value, types,
};
use wasmparser::{Catch, TryTable};

/// The handlers of one `try_table`: those from this position on.
#[derive(Copy, Clone)]
pub(super) struct Scope {
    first: usize,
}

/// What happens to exceptions of one catch clause.
pub(super) struct Handler {
    clause: Catch,
    block: Block,
    used: bool,
}

impl Handler {
    /// The tag it catches, or `None` if it catches everything.
    fn tag(&self) -> Option<TagIndex> {
        match self.clause {
            Catch::One { tag, .. } | Catch::OneRef { tag, .. } => Some(TagIndex::from_u32(tag)),
            Catch::All { .. } | Catch::AllRef { .. } => None,
        }
    }
}

impl FuncLowering<'_> {
    /// `try_table`
    pub(super) fn try_table(&mut self, table: &TryTable) {
        let scope = Scope {
            first: self.handlers.len(),
        };
        for &clause in table.catches.iter().rev() {
            let block = self.builder.create_block();
            self.builder.set_cold_block(block);
            self.builder.append_block_param(block, POINTER);
            self.handlers.push(Handler {
                clause,
                block,
                used: false,
            });
        }
        self.push_try(table.ty, scope);
    }

    /// Does any call list a handler of this `try_table`?
    pub(super) fn is_handler_used(&self, scope: Scope) -> bool {
        self.handlers[scope.first..].iter().any(|h| h.used)
    }

    /// Ends a `try_table` whose frame has been closed: emits its handlers. The current position is not reachable if any is used.
    ///
    /// # Errors
    /// When they make the function too large.
    pub(super) fn lower_handlers(&mut self, scope: Scope) -> Result<(), CompileError> {
        let handlers = self.handlers.split_off(scope.first);
        for handler in handlers.iter().rev().filter(|h| h.used) {
            self.enter(handler.block);
            let height = self.stack.len();
            self.lower_handler(handler);
            self.stack.truncate(height);
            self.check_size()?;
        }
        Ok(())
    }

    fn lower_handler(&mut self, handler: &Handler) {
        let payload = self.builder.block_params(handler.block)[0];
        self.begin_handler();
        self.reload_memories();
        let exception = self.builder.ins().ireduce(types::I32, payload);
        if let Some(tag) = handler.tag() {
            self.push_exception_values(exception, tag);
        }
        match handler.clause {
            Catch::One { label, .. } | Catch::All { label } => self.br(label),
            Catch::OneRef { label, .. } | Catch::AllRef { label } => {
                self.push(exception);
                self.br(label);
            }
        }
    }

    fn push_exception_values(&mut self, exception: Value, tag: TagIndex) {
        let env = self.env;
        let params = &env.info.signature(env.info.tags[tag]).params;
        if params.is_empty() {
            return;
        }
        let values = self.exception_values_address(params.len());
        self.call_builtin(BuiltinIndex::exception_values, &[exception, values]);
        for (position, &ty) in params.iter().enumerate() {
            let offset = (position * size_of::<VmValue>()) as i32;
            let flags = MemFlagsData::trusted();
            let value = self
                .builder
                .ins()
                .load(clif_type(ty), flags, values, offset);
            self.push(value);
        }
    }

    /// `throw`
    pub(super) fn throw(&mut self, tag: u32) {
        let env = self.env;
        let count = (env.info)
            .signature(env.info.tags[TagIndex::from_u32(tag)])
            .params
            .len();
        let values = self.exception_values_address(count);
        self.canonicalize(count);
        for position in 0..count {
            let value = self.stack[self.stack.len() - count + position];
            let offset = (position * size_of::<VmValue>()) as i32;
            let flags = MemFlagsData::trusted();
            self.builder.ins().store(flags, value, values, offset);
        }
        let tag = self.builder.ins().iconst(types::I32, i64::from(tag));
        self.call_throwing_builtin(BuiltinIndex::throw, &[tag, values]);
    }

    /// `throw_ref`
    pub(super) fn throw_ref(&mut self) {
        let exception = self.pop1();
        self.call_throwing_builtin(BuiltinIndex::throw_ref, &[exception]);
    }

    /// Calls a builtin that does not return but may end in a handler of this function.
    fn call_throwing_builtin(&mut self, builtin: BuiltinIndex, args: &[Value]) {
        // A handler may throw again, and go round like a loop.
        self.take_fuel_for_call();
        self.store_fuel();
        let (callee, signature) = self.builtin(builtin);
        let mut all = vec![self.vmctx];
        all.extend_from_slice(args);
        if self.handlers.is_empty() {
            self.builder.ins().call_indirect(signature, callee, &all);
        } else {
            self.try_call(Callee::Indirect(callee), signature, &all);
        }
        // Never reached; ends the block.
        self.trap(Trap::UnreachableCodeReached);
    }

    /// Address of the stack slot that takes `count` values of an exception.
    fn exception_values_address(&mut self, count: usize) -> Value {
        let size = (count.max(1) * size_of::<VmValue>()) as u32;
        let align_shift = align_of::<VmValue>().trailing_zeros() as u8;
        let slot = match self.exception_values {
            Some(slot) => slot,
            None => self.builder.create_sized_stack_slot(StackSlotData::new(
                StackSlotKind::ExplicitSlot,
                size,
                align_shift,
            )),
        };
        self.exception_values = Some(slot);
        let data = &mut self.builder.func.sized_stack_slots[slot];
        data.size = data.size.max(size);
        self.builder.ins().stack_addr(POINTER, slot, 0)
    }

    /// Makes a call whose exceptions go to the handlers around it. Goes on in the block of its normal return, whose parameters
    /// are the results.
    pub(super) fn try_call(&mut self, callee: Callee, signature: SigRef, args: &[Value]) -> Block {
        let next = self.builder.create_block();
        let func = &mut *self.builder.func;
        let results: Vec<AbiParam> = func.dfg.signatures[signature].returns.to_vec();
        let mut returned = Vec::with_capacity(results.len());
        for (position, result) in results.iter().enumerate() {
            self.builder.append_block_param(next, result.value_type);
            returned.push(BlockArg::TryCallRet(position as u32));
        }
        let pool = &mut self.builder.func.dfg.value_lists;
        let normal = BlockCall::new(next, returned, pool);
        let mut items = vec![ExceptionTableItem::Context(self.vmctx)];
        for handler in self.handlers.iter_mut().rev() {
            handler.used = true;
            let call = BlockCall::new(handler.block, [BlockArg::TryCallExn(0)], pool);
            match handler.tag() {
                Some(tag) => {
                    let tag = ExceptionTag::from_u32(tag.as_u32());
                    items.push(ExceptionTableItem::Tag(tag, call));
                }
                None => {
                    items.push(ExceptionTableItem::Default(call));
                    break;
                }
            }
        }
        self.listed_handlers += items.len();
        let table = ExceptionTableData::new(signature, normal, items);
        let table = self.builder.func.dfg.exception_tables.push(table);
        match callee {
            Callee::Direct(function) => {
                self.builder.ins().try_call(function, args, table);
            }
            Callee::Indirect(address) => {
                self.builder.ins().try_call_indirect(address, args, table);
            }
        }
        self.enter(next);
        next
    }
}
