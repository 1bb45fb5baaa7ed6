//! References, and `select`, which chooses between values of any type.

use super::CompileError;
use super::state::FuncLowering;
use super::traps;
use super::types::heap_type as reference_type;
use crate::parse::convert::heap_type;
use cowling_abi::Trap;
use cowling_abi::builtins::BuiltinIndex;
use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::condcodes::IntCC;
use wasmparser::HeapType;

impl FuncLowering<'_> {
    /// `ref.null`
    ///
    /// # Errors
    /// When references of this kind are not translated.
    pub(super) fn ref_null(&mut self, heap: HeapType) -> Result<(), CompileError> {
        let heap = heap_type(heap, &self.env.info.types, self.offset)?;
        let null = self.zero(reference_type(heap));
        self.push(null);
        Ok(())
    }

    /// `ref.is_null`
    pub(super) fn ref_is_null(&mut self) {
        let reference = self.pop1();
        let is_null = self.builder.ins().icmp_imm_u(IntCC::Equal, reference, 0);
        self.push_bool(is_null);
    }

    /// `ref.as_non_null`
    pub(super) fn ref_as_non_null(&mut self) {
        let reference = self.pop1();
        let trap = traps::to_clif(Trap::NullReference);
        self.builder.ins().trapz(reference, trap);
        self.push(reference);
    }

    /// `br_on_null`
    pub(super) fn br_on_null(&mut self, depth: u32) {
        let reference = self.pop1();
        let is_null = self.builder.ins().icmp_imm_u(IntCC::Equal, reference, 0);
        self.br_if_value(depth, is_null);
        self.push(reference);
    }

    /// `br_on_non_null`
    pub(super) fn br_on_non_null(&mut self, depth: u32) {
        let reference = self.pop1();
        self.push(reference);
        self.br_if_value(depth, reference);
        self.pop1();
    }

    /// `ref.func`
    pub(super) fn ref_func(&mut self, function: u32) {
        let function = self.immediate(function);
        let reference = self.call_builtin_for_result(BuiltinIndex::ref_func, &[function]);
        self.push(reference);
    }

    /// `select`, with or without a type
    pub(super) fn select(&mut self) {
        let condition = self.pop_condition();
        let (on_true, on_false) = self.pop2();
        let on_true = self.canonical(on_true);
        let on_false = self.canonical(on_false);
        let value = self.builder.ins().select(condition, on_true, on_false);
        self.push(value);
    }
}
