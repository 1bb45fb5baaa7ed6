//! Vectors: the 128-bit fixed-width operators.
//!
//! | file | operators |
//! |---|---|
//! | `access` | constants, loads and stores, also of single lanes |
//! | `lanes` | splats, lanes in and out, shuffles, bits of the whole vector |
//! | `integer` | integer lanes: comparison, arithmetic, shifts, widening, narrowing |
//! | `float` | float lanes: comparison, arithmetic, conversion |
//! | `relaxed` | operators whose results may depend on the processor |
//!
//! Every operator says how it divides its operands into lanes; a value left by an operator of another shape is reinterpreted,
//! lane 0 first. A comparison's lanes are all ones or all zeros.

mod access;
mod float;
mod integer;
mod lanes;
mod relaxed;

use super::CompileError;
use super::state::FuncLowering;
use cranelift_codegen::ir::{Type, Value};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::Operator;

/// Lowers an operator on vectors; `false` if it is none.
///
/// # Errors
/// When it accesses something that is not a memory, or needs a processor feature that is missing.
pub(super) fn lower(
    lowering: &mut FuncLowering<'_>,
    operator: &Operator<'_>,
) -> Result<bool, CompileError> {
    Ok(lowering.lower_vector_access(operator)?
        || lowering.lower_vector_lanes(operator)
        || lowering.lower_vector_integer(operator)
        || lowering.lower_vector_float(operator)
        || lowering.lower_vector_relaxed(operator)?)
}

/// The shapes most operators have.
impl FuncLowering<'_> {
    /// One vector of this shape to one value.
    fn vector_unary(
        &mut self,
        ty: Type,
        operation: impl FnOnce(FuncInstBuilder<'_, '_>, Value) -> Value,
    ) {
        let operand = self.pop_vector(ty);
        let result = operation(self.builder.ins(), operand);
        self.push(result);
    }

    /// Two vectors of this shape to one value.
    fn vector_binary(
        &mut self,
        ty: Type,
        operation: impl FnOnce(FuncInstBuilder<'_, '_>, Value, Value) -> Value,
    ) {
        let (first, second) = self.pop_vector2(ty);
        let result = operation(self.builder.ins(), first, second);
        self.push(result);
    }
}
