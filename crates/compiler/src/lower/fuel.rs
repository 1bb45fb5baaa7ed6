//! Fuel: counting what is executed, in the pinned register.
//!
//! ```text
//!   operators in a straight line       their costs are added up here, at compile time
//!     |
//!   branch that meets other paths,     taken from the count in one step, before
//!     call, return
//!
//!   loop header, first call of a       is some left? no -> out_of_fuel (cold) ---.
//!     function on a path                 | yes   <-------------------------------'
//! ```
//!
//! What an operator costs is a setting ([`crate::operator_cost`]). Where the cost depends on an operand it is taken at once, and the count
//! checked: the operator may do more than anybody has fuel for.
//!
//! What neither loops nor calls ends soon by itself, so it is not checked. Entry trampolines check, too: no guest runs on nothing.
//!
//! The count is in the store while the host has control ([`cowling_abi::builtins`] says who moves it when): calls of builtins
//! store it before. Host functions' shims and entry trampolines do the same on their side.
//!
//! A fault must not lose what is pending. A memory access has it in its trap code, from where it gets into the artifact's trap
//! table; before any other operator that may trap it is taken.
//!
//! Invariant: nothing is pending where paths meet, so that each has taken exactly what was executed on it. Both arms of an `if`
//! begin with what was pending before it.

use super::regions::Region;
use super::state::{FuncLowering, POINTER};
use super::traps;
use cowling_abi::TrapSite;
use cowling_abi::builtins::BuiltinIndex;
use cowling_abi::layout::{StoreContext, VmHeader};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, TrapCode, Value, types};
use std::mem::offset_of;
use wasmparser::Operator;

/// More bytes or elements than anything has.
const MOST_UNITS: i64 = 1 << 48;

/// What is known at the current position.
#[derive(Copy, Clone)]
pub(super) struct Counter {
    enabled: bool,
    /// What has been executed and not been taken from the count.
    pending: u64,
    /// Was the count checked on every path from the function's start to here?
    checked: bool,
}

impl Counter {
    pub(super) fn new(enabled: bool) -> Counter {
        Counter {
            enabled,
            pending: 0,
            checked: false,
        }
    }

    /// Is something pending?
    pub(super) fn is_pending(&self) -> bool {
        self.pending != 0
    }

    /// Notes that another path comes here.
    pub(super) fn meet(&mut self, other: &Counter) {
        self.checked &= other.checked;
    }

    /// At a place that no path comes to so far, in the same function.
    pub(super) fn unmet(&self) -> Counter {
        Counter {
            pending: 0,
            checked: true,
            ..*self
        }
    }
}

/// May it trap other than by a memory access or in the runtime?
fn may_trap(operator: &Operator<'_>) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::I32DivS
            | O::I32DivU
            | O::I32RemS
            | O::I32RemU
            | O::I64DivS
            | O::I64DivU
            | O::I64RemS
            | O::I64RemU
            | O::I32TruncF32S
            | O::I32TruncF32U
            | O::I32TruncF64S
            | O::I32TruncF64U
            | O::I64TruncF32S
            | O::I64TruncF32U
            | O::I64TruncF64S
            | O::I64TruncF64U
            | O::TableGet { .. }
            | O::TableSet { .. }
            | O::CallIndirect { .. }
            | O::ReturnCallIndirect { .. }
            | O::CallRef { .. }
            | O::ReturnCallRef { .. }
            | O::RefAsNonNull
            | O::Unreachable
            | O::StructGet { .. }
            | O::StructGetS { .. }
            | O::StructGetU { .. }
            | O::StructSet { .. }
            | O::ArrayGet { .. }
            | O::ArrayGetS { .. }
            | O::ArrayGetU { .. }
            | O::ArraySet { .. }
            | O::ArrayLen
            | O::ArrayFill { .. }
            | O::ArrayCopy { .. }
            | O::ArrayInitData { .. }
            | O::ArrayInitElem { .. }
            | O::I31GetS
            | O::I31GetU
            | O::RefCastNonNull { .. }
            | O::RefCastNullable { .. }
    )
}

impl FuncLowering<'_> {
    /// Counts an operator that is about to be executed.
    pub(super) fn count(&mut self, operator: &Operator<'_>) {
        if self.counter.enabled {
            // Functions have less than 2^32 bytes, and costs less than 2^8.
            self.counter.pending += u64::from(self.env.costs.of(operator));
            let per_unit = self.env.costs.per_unit(operator);
            if per_unit > 0 {
                self.count_units(per_unit);
            } else if may_trap(operator) {
                self.take_fuel();
            }
        }
    }

    /// Counts an operator that does as much as its topmost operand says, at so much for each unit of it, and goes on only if something
    /// is left: it is the runtime that does the work, and it does not look at the count.
    fn count_units(&mut self, cost: u8) {
        let units = self.stack.last().copied();
        let units = units.expect("the validator checked that operands are there");
        let units = match self.builder.func.dfg.value_type(units) {
            types::I64 => {
                // What is never left anyway, so that the product is one, too.
                let most = self.builder.ins().iconst(types::I64, MOST_UNITS);
                let cond = IntCC::UnsignedLessThan;
                let fits = self.builder.ins().icmp(cond, units, most);
                self.builder.ins().select(fits, units, most)
            }
            _ => self.builder.ins().uextend(types::I64, units),
        };
        let units = self.builder.ins().imul_imm_u(units, i64::from(cost));
        let count = self.take();
        let count = self.builder.ins().isub(count, units);
        self.builder.ins().set_pinned_reg(count);
        self.check_fuel();
    }

    /// Takes what is pending from the count. To be called before control flow leaves the straight line.
    pub(super) fn take_fuel(&mut self) {
        if self.counter.is_pending() {
            self.take();
        }
    }

    /// Takes what is pending from the count and returns it.
    fn take(&mut self) -> Value {
        let count = self.builder.ins().get_pinned_reg(POINTER);
        match std::mem::take(&mut self.counter.pending) {
            0 => count,
            pending => {
                // An addition: in measurements of recursive calls a subtraction took longer.
                let cost = self.builder.ins().iconst(POINTER, -(pending as i64));
                let count = self.builder.ins().iadd(count, cost);
                self.builder.ins().set_pinned_reg(count);
                count
            }
        }
    }

    /// Takes what is pending before a call, and goes on only if something is left, unless that was checked before.
    pub(super) fn take_fuel_for_call(&mut self) {
        if self.counter.checked {
            self.take_fuel();
        } else {
            self.check_fuel();
        }
    }

    /// Begins an inlined body. It is looked for fuel where that would be done if it were a function of its own, so that what a guest can do
    /// with its fuel does not depend on what is inlined.
    pub(super) fn begin_inlined(&mut self) {
        if !self.counter.checked {
            self.check_fuel();
        }
        self.counter.checked = false;
    }

    /// Ends an inlined body. In front of it something was left.
    pub(super) fn end_inlined(&mut self) {
        self.counter.checked = true;
    }

    /// The trap code of a memory access here.
    pub(super) fn out_of_bounds(&mut self) -> TrapCode {
        if self.counter.pending > TrapSite::MAX_UNTAKEN.into() {
            self.take_fuel();
        }
        // It fits now.
        traps::out_of_bounds(self.counter.pending as u8)
    }

    /// Takes what is pending, and goes on only if something is left.
    pub(super) fn check_fuel(&mut self) {
        if !self.counter.enabled {
            return;
        }
        let count = self.take();
        self.counter.checked = true;
        let cond = IntCC::SignedLessThanOrEqual;
        let empty = self.builder.ins().icmp_imm_s(cond, count, 0);
        let out = self.builder.create_block();
        self.builder.set_cold_block(out);
        let next = self.builder.create_block();
        self.builder.ins().brif(empty, out, &[], next, &[]);
        self.enter(out);
        let store = self.load_field_for_call(self.vmctx, VmHeader::STORE);
        self.put_fuel(store);
        let (code, signature) = self.builtin(BuiltinIndex::out_of_fuel);
        // It loads the new count itself.
        (self.builder.ins()).call_indirect(signature, code, &[self.vmctx]);
        self.reload_memories();
        self.builder.ins().jump(next, &[]);
        self.enter(next);
    }

    /// Puts the count where the runtime finds it. To be called before the runtime is.
    pub(super) fn store_fuel(&mut self) {
        if self.counter.enabled {
            self.take_fuel();
            let store = self.load_header(offset_of!(VmHeader, store));
            self.put_fuel(store);
        }
    }

    fn put_fuel(&mut self, store: Value) {
        let count = self.builder.ins().get_pinned_reg(POINTER);
        let flags = self.flags(MemFlagsData::trusted(), Region::Runtime);
        let offset = offset_of!(StoreContext, fuel) as i32;
        self.builder.ins().store(flags, count, store, offset);
    }

    /// Begins a handler of exceptions. What threw is behind a check, be it a call or an operator of this function.
    pub(super) fn begin_handler(&mut self) {
        self.counter = self.counter.unmet();
    }
}
