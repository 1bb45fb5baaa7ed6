//! Constant expressions: initial values of globals and elements, offsets of segments.
//!
//! Validation has made sure that an expression has the type its place wants; an artifact is trusted to hold valid ones. Still
//! nothing here is undefined for a wrong one: an operand that is not there counts as zero.

use crate::error::GcError;
use cowling_abi::layout::{VmFuncRef, VmValue};
use cowling_abi::module::{ConstExpr, ConstOp};
use cowling_abi::{FuncIndex, GlobalIndex, TypeIndex};
use smallvec::SmallVec;
use std::ptr;

/// What an expression may refer to.
pub(crate) trait ConstScope {
    /// The value of a global that has one already.
    fn global(&mut self, index: GlobalIndex) -> VmValue;
    /// A reference to a function; null if the module has no reference to it.
    fn func_ref(&mut self, index: FuncIndex) -> *mut VmFuncRef;
    /// How many fields a struct type of the module has.
    fn field_count(&self, ty: TypeIndex) -> usize;
    /// A new object of a type of the module. It stays alive until the expression has its place.
    fn new_object(&mut self, ty: TypeIndex, contents: Contents<'_>) -> Result<VmValue, GcError>;
}

/// What an object begins with.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Contents<'a> {
    /// Zeros and nulls: a struct.
    Default,
    /// These fields, or elements.
    Values(&'a [VmValue]),
    /// So many elements of one value.
    Repeated(VmValue, u32),
}

/// The value of a `funcref`.
pub(crate) fn func_ref_value(func: *mut VmFuncRef) -> VmValue {
    VmValue::from_u64(func.expose_provenance() as u64)
}

/// The function a `funcref` refers to, or null.
pub(crate) fn value_func_ref(value: &VmValue) -> *mut VmFuncRef {
    ptr::with_exposed_provenance_mut(value.u64() as usize)
}

/// Evaluates an expression.
///
/// # Errors
/// When an object cannot be had.
pub(crate) fn evaluate(expr: &ConstExpr, scope: &mut impl ConstScope) -> Result<VmValue, GcError> {
    let mut stack: SmallVec<[VmValue; 4]> = SmallVec::new();
    for op in &expr.ops {
        let mut binary = |apply: fn(VmValue, VmValue) -> VmValue| {
            let right = stack.pop().unwrap_or_default();
            let left = stack.pop().unwrap_or_default();
            apply(left, right)
        };
        let value = match *op {
            ConstOp::I32Const(v) => VmValue::from_i32(v),
            ConstOp::I64Const(v) => VmValue::from_i64(v),
            ConstOp::F32Const(v) => VmValue::from_u32(v),
            ConstOp::F64Const(v) => VmValue::from_u64(v),
            ConstOp::V128Const(v) => VmValue::from_u128(v),
            ConstOp::GlobalGet(index) => scope.global(index),
            ConstOp::RefNull(_) => VmValue::default(),
            ConstOp::RefFunc(index) => func_ref_value(scope.func_ref(index)),
            ConstOp::I32Add => binary(|a, b| VmValue::from_i32(a.i32().wrapping_add(b.i32()))),
            ConstOp::I32Sub => binary(|a, b| VmValue::from_i32(a.i32().wrapping_sub(b.i32()))),
            ConstOp::I32Mul => binary(|a, b| VmValue::from_i32(a.i32().wrapping_mul(b.i32()))),
            ConstOp::I64Add => binary(|a, b| VmValue::from_i64(a.i64().wrapping_add(b.i64()))),
            ConstOp::I64Sub => binary(|a, b| VmValue::from_i64(a.i64().wrapping_sub(b.i64()))),
            ConstOp::I64Mul => binary(|a, b| VmValue::from_i64(a.i64().wrapping_mul(b.i64()))),
            ConstOp::RefI31 => {
                let value = stack.pop().unwrap_or_default().u32();
                VmValue::from_u32(value << 1 | 1)
            }
            ConstOp::StructNewDefault(ty) => scope.new_object(ty, Contents::Default)?,
            ConstOp::ArrayNewDefault(ty) => {
                let len = stack.pop().unwrap_or_default().u32();
                scope.new_object(ty, Contents::Repeated(VmValue::default(), len))?
            }
            ConstOp::ArrayNew(ty) => {
                let len = stack.pop().unwrap_or_default().u32();
                let value = stack.pop().unwrap_or_default();
                scope.new_object(ty, Contents::Repeated(value, len))?
            }
            ConstOp::StructNew(ty) => {
                let values = pop_many(&mut stack, scope.field_count(ty));
                scope.new_object(ty, Contents::Values(&values))?
            }
            ConstOp::ArrayNewFixed(ty, len) => {
                let values = pop_many(&mut stack, len as usize);
                scope.new_object(ty, Contents::Values(&values))?
            }
        };
        stack.push(value);
    }
    Ok(stack.pop().unwrap_or_default())
}

fn pop_many(stack: &mut SmallVec<[VmValue; 4]>, count: usize) -> Vec<VmValue> {
    stack.drain(stack.len().saturating_sub(count)..).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cowling_abi::HeapType;

    struct Scope;

    impl ConstScope for Scope {
        fn global(&mut self, index: GlobalIndex) -> VmValue {
            VmValue::from_u64(u64::from(index.as_u32()) + 100)
        }

        fn func_ref(&mut self, index: FuncIndex) -> *mut VmFuncRef {
            ptr::without_provenance_mut(index.as_u32() as usize * 32)
        }

        fn field_count(&self, _: TypeIndex) -> usize {
            2
        }

        /// Says what was asked for.
        fn new_object(&mut self, _: TypeIndex, contents: Contents<'_>) -> Result<VmValue, GcError> {
            let sum = |values: &[VmValue]| -> u32 { values.iter().map(VmValue::u32).sum() };
            Ok(VmValue::from_u32(match contents {
                Contents::Default => 1000,
                Contents::Values(values) => 2000 + sum(values),
                Contents::Repeated(value, len) => 3000 + 100 * value.u32() + len,
            }))
        }
    }

    #[test]
    fn expressions_evaluate_as_the_specification_says() {
        use ConstOp::*;
        let ty = TypeIndex::from_u32(0);
        let global = |i| GlobalGet(GlobalIndex::from_u32(i));
        let cases: &[(&[ConstOp], VmValue)] = &[
            (&[I32Const(-7)], VmValue::from_i32(-7)),
            (&[I64Const(i64::MIN)], VmValue::from_i64(i64::MIN)),
            (&[F32Const(0x7fa0_0001)], VmValue::from_u32(0x7fa0_0001)),
            (&[F64Const(1 << 63)], VmValue::from_u64(1 << 63)),
            (&[V128Const(1 << 100)], VmValue::from_u128(1 << 100)),
            (&[global(3)], VmValue::from_u64(103)),
            (&[RefNull(HeapType::Func)], VmValue::from_u64(0)),
            (&[RefFunc(FuncIndex::from_u32(2))], VmValue::from_u64(64)),
            (
                &[I32Const(i32::MAX), I32Const(1), I32Add],
                VmValue::from_i32(i32::MIN),
            ),
            (&[I32Const(2), I32Const(5), I32Sub], VmValue::from_i32(-3)),
            (
                &[I32Const(1 << 31), I32Const(3), I32Mul],
                VmValue::from_i32(i32::MIN),
            ),
            (
                &[I64Const(2), I64Const(5), I64Sub, global(0), I64Add],
                VmValue::from_i64(97),
            ),
            (
                &[I64Const(i64::MAX), I64Const(2), I64Mul],
                VmValue::from_i64(-2),
            ),
            (
                &[I64Const(5), I64Const(7), global(1), I64Mul, I64Sub],
                VmValue::from_i64(5 - 707),
            ),
            (&[I32Const(-1), RefI31], VmValue::from_u32(u32::MAX)),
            (&[StructNewDefault(ty)], VmValue::from_u32(1000)),
            (
                &[I32Const(9), I32Const(3), I32Const(4), StructNew(ty), I32Add],
                VmValue::from_u32(2016),
            ),
            (
                &[I32Const(3), I32Const(4), I32Const(5), ArrayNewFixed(ty, 3)],
                VmValue::from_u32(2012),
            ),
            (
                &[I32Const(3), I32Const(4), ArrayNew(ty)],
                VmValue::from_u32(3304),
            ),
            (&[I32Const(4), ArrayNewDefault(ty)], VmValue::from_u32(3004)),
        ];
        for (ops, expected) in cases {
            let expr = ConstExpr { ops: ops.to_vec() };
            assert_eq!(evaluate(&expr, &mut Scope).unwrap(), *expected, "{ops:?}");
        }
    }
}
