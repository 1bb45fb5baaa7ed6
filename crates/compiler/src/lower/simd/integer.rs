//! Integer lanes.

use super::super::state::FuncLowering;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::Operator;

/// Which half of a vector's lanes.
#[derive(Copy, Clone)]
pub(super) enum Half {
    /// Lanes from 0 on.
    Low,
    /// The others.
    High,
}

impl FuncLowering<'_> {
    /// Lowers an operator on integer lanes; `false` if it is none.
    pub(super) fn lower_vector_integer(&mut self, operator: &Operator<'_>) -> bool {
        self.lower_vector_icmp(operator)
            || self.lower_vector_arithmetic(operator)
            || self.lower_vector_widening(operator)
    }

    fn lower_vector_icmp(&mut self, operator: &Operator<'_>) -> bool {
        use IntCC as C;
        use Operator as O;
        let (shape, condition) = match operator {
            O::I8x16Eq => (I8X16, C::Equal),
            O::I8x16Ne => (I8X16, C::NotEqual),
            O::I8x16LtS => (I8X16, C::SignedLessThan),
            O::I8x16LtU => (I8X16, C::UnsignedLessThan),
            O::I8x16GtS => (I8X16, C::SignedGreaterThan),
            O::I8x16GtU => (I8X16, C::UnsignedGreaterThan),
            O::I8x16LeS => (I8X16, C::SignedLessThanOrEqual),
            O::I8x16LeU => (I8X16, C::UnsignedLessThanOrEqual),
            O::I8x16GeS => (I8X16, C::SignedGreaterThanOrEqual),
            O::I8x16GeU => (I8X16, C::UnsignedGreaterThanOrEqual),

            O::I16x8Eq => (I16X8, C::Equal),
            O::I16x8Ne => (I16X8, C::NotEqual),
            O::I16x8LtS => (I16X8, C::SignedLessThan),
            O::I16x8LtU => (I16X8, C::UnsignedLessThan),
            O::I16x8GtS => (I16X8, C::SignedGreaterThan),
            O::I16x8GtU => (I16X8, C::UnsignedGreaterThan),
            O::I16x8LeS => (I16X8, C::SignedLessThanOrEqual),
            O::I16x8LeU => (I16X8, C::UnsignedLessThanOrEqual),
            O::I16x8GeS => (I16X8, C::SignedGreaterThanOrEqual),
            O::I16x8GeU => (I16X8, C::UnsignedGreaterThanOrEqual),

            O::I32x4Eq => (I32X4, C::Equal),
            O::I32x4Ne => (I32X4, C::NotEqual),
            O::I32x4LtS => (I32X4, C::SignedLessThan),
            O::I32x4LtU => (I32X4, C::UnsignedLessThan),
            O::I32x4GtS => (I32X4, C::SignedGreaterThan),
            O::I32x4GtU => (I32X4, C::UnsignedGreaterThan),
            O::I32x4LeS => (I32X4, C::SignedLessThanOrEqual),
            O::I32x4LeU => (I32X4, C::UnsignedLessThanOrEqual),
            O::I32x4GeS => (I32X4, C::SignedGreaterThanOrEqual),
            O::I32x4GeU => (I32X4, C::UnsignedGreaterThanOrEqual),

            O::I64x2Eq => (I64X2, C::Equal),
            O::I64x2Ne => (I64X2, C::NotEqual),
            O::I64x2LtS => (I64X2, C::SignedLessThan),
            O::I64x2GtS => (I64X2, C::SignedGreaterThan),
            O::I64x2LeS => (I64X2, C::SignedLessThanOrEqual),
            O::I64x2GeS => (I64X2, C::SignedGreaterThanOrEqual),

            _ => return false,
        };
        self.vector_binary(shape, |i, a, b| i.icmp(condition, a, b));
        true
    }

    fn lower_vector_arithmetic(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        match operator {
            O::I8x16Abs => self.vector_unary(I8X16, |i, a| i.iabs(a)),
            O::I16x8Abs => self.vector_unary(I16X8, |i, a| i.iabs(a)),
            O::I32x4Abs => self.vector_unary(I32X4, |i, a| i.iabs(a)),
            O::I64x2Abs => self.vector_unary(I64X2, |i, a| i.iabs(a)),
            O::I8x16Neg => self.vector_unary(I8X16, |i, a| i.ineg(a)),
            O::I16x8Neg => self.vector_unary(I16X8, |i, a| i.ineg(a)),
            O::I32x4Neg => self.vector_unary(I32X4, |i, a| i.ineg(a)),
            O::I64x2Neg => self.vector_unary(I64X2, |i, a| i.ineg(a)),
            O::I8x16Popcnt => self.vector_unary(I8X16, |i, a| i.popcnt(a)),

            O::I8x16Shl => self.vector_shift(I8X16, |i, a, n| i.ishl(a, n)),
            O::I16x8Shl => self.vector_shift(I16X8, |i, a, n| i.ishl(a, n)),
            O::I32x4Shl => self.vector_shift(I32X4, |i, a, n| i.ishl(a, n)),
            O::I64x2Shl => self.vector_shift(I64X2, |i, a, n| i.ishl(a, n)),
            O::I8x16ShrS => self.vector_shift(I8X16, |i, a, n| i.sshr(a, n)),
            O::I16x8ShrS => self.vector_shift(I16X8, |i, a, n| i.sshr(a, n)),
            O::I32x4ShrS => self.vector_shift(I32X4, |i, a, n| i.sshr(a, n)),
            O::I64x2ShrS => self.vector_shift(I64X2, |i, a, n| i.sshr(a, n)),
            O::I8x16ShrU => self.vector_shift(I8X16, |i, a, n| i.ushr(a, n)),
            O::I16x8ShrU => self.vector_shift(I16X8, |i, a, n| i.ushr(a, n)),
            O::I32x4ShrU => self.vector_shift(I32X4, |i, a, n| i.ushr(a, n)),
            O::I64x2ShrU => self.vector_shift(I64X2, |i, a, n| i.ushr(a, n)),

            O::I8x16Add => self.vector_binary(I8X16, |i, a, b| i.iadd(a, b)),
            O::I16x8Add => self.vector_binary(I16X8, |i, a, b| i.iadd(a, b)),
            O::I32x4Add => self.vector_binary(I32X4, |i, a, b| i.iadd(a, b)),
            O::I64x2Add => self.vector_binary(I64X2, |i, a, b| i.iadd(a, b)),
            O::I8x16Sub => self.vector_binary(I8X16, |i, a, b| i.isub(a, b)),
            O::I16x8Sub => self.vector_binary(I16X8, |i, a, b| i.isub(a, b)),
            O::I32x4Sub => self.vector_binary(I32X4, |i, a, b| i.isub(a, b)),
            O::I64x2Sub => self.vector_binary(I64X2, |i, a, b| i.isub(a, b)),
            O::I16x8Mul => self.vector_binary(I16X8, |i, a, b| i.imul(a, b)),
            O::I32x4Mul => self.vector_binary(I32X4, |i, a, b| i.imul(a, b)),
            O::I64x2Mul => self.vector_binary(I64X2, |i, a, b| i.imul(a, b)),

            O::I8x16AddSatS => self.vector_binary(I8X16, |i, a, b| i.sadd_sat(a, b)),
            O::I8x16AddSatU => self.vector_binary(I8X16, |i, a, b| i.uadd_sat(a, b)),
            O::I16x8AddSatS => self.vector_binary(I16X8, |i, a, b| i.sadd_sat(a, b)),
            O::I16x8AddSatU => self.vector_binary(I16X8, |i, a, b| i.uadd_sat(a, b)),
            O::I8x16SubSatS => self.vector_binary(I8X16, |i, a, b| i.ssub_sat(a, b)),
            O::I8x16SubSatU => self.vector_binary(I8X16, |i, a, b| i.usub_sat(a, b)),
            O::I16x8SubSatS => self.vector_binary(I16X8, |i, a, b| i.ssub_sat(a, b)),
            O::I16x8SubSatU => self.vector_binary(I16X8, |i, a, b| i.usub_sat(a, b)),

            O::I8x16MinS => self.vector_binary(I8X16, |i, a, b| i.smin(a, b)),
            O::I8x16MinU => self.vector_binary(I8X16, |i, a, b| i.umin(a, b)),
            O::I8x16MaxS => self.vector_binary(I8X16, |i, a, b| i.smax(a, b)),
            O::I8x16MaxU => self.vector_binary(I8X16, |i, a, b| i.umax(a, b)),
            O::I16x8MinS => self.vector_binary(I16X8, |i, a, b| i.smin(a, b)),
            O::I16x8MinU => self.vector_binary(I16X8, |i, a, b| i.umin(a, b)),
            O::I16x8MaxS => self.vector_binary(I16X8, |i, a, b| i.smax(a, b)),
            O::I16x8MaxU => self.vector_binary(I16X8, |i, a, b| i.umax(a, b)),
            O::I32x4MinS => self.vector_binary(I32X4, |i, a, b| i.smin(a, b)),
            O::I32x4MinU => self.vector_binary(I32X4, |i, a, b| i.umin(a, b)),
            O::I32x4MaxS => self.vector_binary(I32X4, |i, a, b| i.smax(a, b)),
            O::I32x4MaxU => self.vector_binary(I32X4, |i, a, b| i.umax(a, b)),

            O::I8x16AvgrU => self.vector_binary(I8X16, |i, a, b| i.avg_round(a, b)),
            O::I16x8AvgrU => self.vector_binary(I16X8, |i, a, b| i.avg_round(a, b)),
            O::I16x8Q15MulrSatS => self.vector_binary(I16X8, |i, a, b| i.sqmul_round_sat(a, b)),

            O::I8x16NarrowI16x8S => self.vector_binary(I16X8, |i, a, b| i.snarrow(a, b)),
            O::I8x16NarrowI16x8U => self.vector_binary(I16X8, |i, a, b| i.unarrow(a, b)),
            O::I16x8NarrowI32x4S => self.vector_binary(I32X4, |i, a, b| i.snarrow(a, b)),
            O::I16x8NarrowI32x4U => self.vector_binary(I32X4, |i, a, b| i.unarrow(a, b)),

            _ => return false,
        }
        true
    }

    fn lower_vector_widening(&mut self, operator: &Operator<'_>) -> bool {
        use Half::{High, Low};
        use Operator as O;
        match operator {
            O::I16x8ExtendLowI8x16S => self.extend(I8X16, Low, true),
            O::I16x8ExtendHighI8x16S => self.extend(I8X16, High, true),
            O::I16x8ExtendLowI8x16U => self.extend(I8X16, Low, false),
            O::I16x8ExtendHighI8x16U => self.extend(I8X16, High, false),
            O::I32x4ExtendLowI16x8S => self.extend(I16X8, Low, true),
            O::I32x4ExtendHighI16x8S => self.extend(I16X8, High, true),
            O::I32x4ExtendLowI16x8U => self.extend(I16X8, Low, false),
            O::I32x4ExtendHighI16x8U => self.extend(I16X8, High, false),
            O::I64x2ExtendLowI32x4S => self.extend(I32X4, Low, true),
            O::I64x2ExtendHighI32x4S => self.extend(I32X4, High, true),
            O::I64x2ExtendLowI32x4U => self.extend(I32X4, Low, false),
            O::I64x2ExtendHighI32x4U => self.extend(I32X4, High, false),

            O::I16x8ExtMulLowI8x16S => self.extended_multiply(I8X16, Low, true),
            O::I16x8ExtMulHighI8x16S => self.extended_multiply(I8X16, High, true),
            O::I16x8ExtMulLowI8x16U => self.extended_multiply(I8X16, Low, false),
            O::I16x8ExtMulHighI8x16U => self.extended_multiply(I8X16, High, false),
            O::I32x4ExtMulLowI16x8S => self.extended_multiply(I16X8, Low, true),
            O::I32x4ExtMulHighI16x8S => self.extended_multiply(I16X8, High, true),
            O::I32x4ExtMulLowI16x8U => self.extended_multiply(I16X8, Low, false),
            O::I32x4ExtMulHighI16x8U => self.extended_multiply(I16X8, High, false),
            O::I64x2ExtMulLowI32x4S => self.extended_multiply(I32X4, Low, true),
            O::I64x2ExtMulHighI32x4S => self.extended_multiply(I32X4, High, true),
            O::I64x2ExtMulLowI32x4U => self.extended_multiply(I32X4, Low, false),
            O::I64x2ExtMulHighI32x4U => self.extended_multiply(I32X4, High, false),

            O::I16x8ExtAddPairwiseI8x16S => self.extended_add_pairs(I8X16, true),
            O::I16x8ExtAddPairwiseI8x16U => self.extended_add_pairs(I8X16, false),
            O::I32x4ExtAddPairwiseI16x8S => self.extended_add_pairs(I16X8, true),
            O::I32x4ExtAddPairwiseI16x8U => self.extended_add_pairs(I16X8, false),

            O::I32x4DotI16x8S => {
                let (a, b) = self.pop_vector2(I16X8);
                let low = self.product(a, b, Low, true);
                let high = self.product(a, b, High, true);
                let result = self.builder.ins().iadd_pairwise(low, high);
                self.push(result);
            }

            _ => return false,
        }
        true
    }

    /// Shifts each lane by an `i32`, modulo the width of a lane, which is how CLIF shifts.
    fn vector_shift(
        &mut self,
        ty: Type,
        operation: impl FnOnce(FuncInstBuilder<'_, '_>, Value, Value) -> Value,
    ) {
        let amount = self.pop1();
        self.vector_unary(ty, |i, a| operation(i, a, amount));
    }

    /// Half of a vector's lanes, each widened to twice its size.
    pub(super) fn widen(&mut self, vector: Value, half: Half, signed: bool) -> Value {
        let ins = self.builder.ins();
        match (half, signed) {
            (Half::Low, true) => ins.swiden_low(vector),
            (Half::High, true) => ins.swiden_high(vector),
            (Half::Low, false) => ins.uwiden_low(vector),
            (Half::High, false) => ins.uwiden_high(vector),
        }
    }

    fn extend(&mut self, ty: Type, half: Half, signed: bool) {
        let vector = self.pop_vector(ty);
        let result = self.widen(vector, half, signed);
        self.push(result);
    }

    /// The products, in full, of half of the lanes.
    fn product(&mut self, a: Value, b: Value, half: Half, signed: bool) -> Value {
        let a = self.widen(a, half, signed);
        let b = self.widen(b, half, signed);
        self.builder.ins().imul(a, b)
    }

    fn extended_multiply(&mut self, ty: Type, half: Half, signed: bool) {
        let (a, b) = self.pop_vector2(ty);
        let result = self.product(a, b, half, signed);
        self.push(result);
    }

    fn extended_add_pairs(&mut self, ty: Type, signed: bool) {
        let vector = self.pop_vector(ty);
        let low = self.widen(vector, Half::Low, signed);
        let high = self.widen(vector, Half::High, signed);
        let result = self.builder.ins().iadd_pairwise(low, high);
        self.push(result);
    }
}
