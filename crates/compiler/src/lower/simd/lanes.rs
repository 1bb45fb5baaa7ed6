//! Lanes in and out of vectors, lanes moved about, and bits of the whole vector.

use super::super::state::FuncLowering;
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use wasmparser::Operator;

impl FuncLowering<'_> {
    /// Lowers an operator that moves lanes or looks at bits; `false` if it does neither.
    pub(super) fn lower_vector_lanes(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        match operator {
            O::I8x16Splat => self.splat(I8X16),
            O::I16x8Splat => self.splat(I16X8),
            O::I32x4Splat => self.splat(I32X4),
            O::I64x2Splat => self.splat(I64X2),
            O::F32x4Splat => self.splat(F32X4),
            O::F64x2Splat => self.splat(F64X2),

            O::I8x16ExtractLaneS { lane } => self.extract_extend(I8X16, *lane, true),
            O::I8x16ExtractLaneU { lane } => self.extract_extend(I8X16, *lane, false),
            O::I16x8ExtractLaneS { lane } => self.extract_extend(I16X8, *lane, true),
            O::I16x8ExtractLaneU { lane } => self.extract_extend(I16X8, *lane, false),
            O::I32x4ExtractLane { lane } => self.extract(I32X4, *lane),
            O::I64x2ExtractLane { lane } => self.extract(I64X2, *lane),
            O::F32x4ExtractLane { lane } => self.extract(F32X4, *lane),
            O::F64x2ExtractLane { lane } => self.extract(F64X2, *lane),

            O::I8x16ReplaceLane { lane } => self.replace(I8X16, *lane),
            O::I16x8ReplaceLane { lane } => self.replace(I16X8, *lane),
            O::I32x4ReplaceLane { lane } => self.replace(I32X4, *lane),
            O::I64x2ReplaceLane { lane } => self.replace(I64X2, *lane),
            O::F32x4ReplaceLane { lane } => self.replace(F32X4, *lane),
            O::F64x2ReplaceLane { lane } => self.replace(F64X2, *lane),

            O::I8x16Shuffle { lanes } => {
                let lanes = self.builder.func.dfg.immediates.push(lanes[..].into());
                self.vector_binary(I8X16, |i, a, b| i.shuffle(a, b, lanes));
            }
            O::I8x16Swizzle => self.vector_binary(I8X16, |i, a, b| i.swizzle(a, b)),

            O::V128Not => self.vector_unary(I8X16, |i, a| i.bnot(a)),
            O::V128And => self.vector_binary(I8X16, |i, a, b| i.band(a, b)),
            O::V128AndNot => self.vector_binary(I8X16, |i, a, b| i.band_not(a, b)),
            O::V128Or => self.vector_binary(I8X16, |i, a, b| i.bor(a, b)),
            O::V128Xor => self.vector_binary(I8X16, |i, a, b| i.bxor(a, b)),
            O::V128Bitselect => {
                let (ones, zeros, mask) = self.pop3();
                // In the mask's own shape: a comparison's result is a mask of whole lanes, which select faster.
                let shape = self.type_of(mask);
                let ones = self.as_vector(ones, shape);
                let zeros = self.as_vector(zeros, shape);
                let result = self.builder.ins().bitselect(mask, ones, zeros);
                self.push(result);
            }

            O::V128AnyTrue => {
                let vector = self.pop_vector(I8X16);
                let any = self.builder.ins().vany_true(vector);
                self.push_bool(any);
            }
            O::I8x16AllTrue => self.all_true(I8X16),
            O::I16x8AllTrue => self.all_true(I16X8),
            O::I32x4AllTrue => self.all_true(I32X4),
            O::I64x2AllTrue => self.all_true(I64X2),

            O::I8x16Bitmask => self.vector_unary(I8X16, |i, a| i.vhigh_bits(I32, a)),
            O::I16x8Bitmask => self.vector_unary(I16X8, |i, a| i.vhigh_bits(I32, a)),
            O::I32x4Bitmask => self.vector_unary(I32X4, |i, a| i.vhigh_bits(I32, a)),
            O::I64x2Bitmask => self.vector_unary(I64X2, |i, a| i.vhigh_bits(I32, a)),

            _ => return false,
        }
        true
    }

    /// Pops a scalar as a lane of this shape: lanes of less than 32 bits come as `i32`.
    fn pop_lane(&mut self, ty: Type) -> Value {
        let scalar = self.pop1();
        let lane = ty.lane_type();
        if lane.is_int() && lane.bits() < 32 {
            self.builder.ins().ireduce(lane, scalar)
        } else {
            scalar
        }
    }

    fn splat(&mut self, ty: Type) {
        let lane = self.pop_lane(ty);
        let result = self.builder.ins().splat(ty, lane);
        self.push(result);
    }

    fn extract(&mut self, ty: Type, lane: u8) {
        self.vector_unary(ty, |i, a| i.extractlane(a, lane));
    }

    fn extract_extend(&mut self, ty: Type, lane: u8, signed: bool) {
        let vector = self.pop_vector(ty);
        let lane = self.builder.ins().extractlane(vector, lane);
        let result = if signed {
            self.builder.ins().sextend(I32, lane)
        } else {
            self.builder.ins().uextend(I32, lane)
        };
        self.push(result);
    }

    fn replace(&mut self, ty: Type, lane: u8) {
        let value = self.pop_lane(ty);
        let vector = self.pop_vector(ty);
        let result = self.builder.ins().insertlane(vector, value, lane);
        self.push(result);
    }

    fn all_true(&mut self, ty: Type) {
        let vector = self.pop_vector(ty);
        let all = self.builder.ins().vall_true(vector);
        self.push_bool(all);
    }
}
