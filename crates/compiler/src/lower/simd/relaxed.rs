//! Relaxed operators: where the standard leaves a result open, it is what this processor computes fastest.
//!
//! Under the knob `relaxed_simd_deterministic` each has the result of the standard's deterministic profile instead, whatever the
//! processor.
//!
//! | operator | fast, on x86-64 | deterministic |
//! |---|---|---|
//! | swizzle | `pshufb` | `swizzle` |
//! | truncation, signed | `cvttps2dq`, `cvttpd2dq` | saturating |
//! | multiply-add | fused if the processor can, in two steps if not | fused |
//! | lane select | by the top bit of a lane, or bitwise for 16-bit lanes | bitwise |
//! | minimum, maximum | `minps` and its kin | as the plain operators |
//! | Q15 product | `pmulhrsw` | saturating |
//! | dot product | `pmaddubsw` | both operands signed, wrapping |

use super::super::CompileError;
use super::super::state::FuncLowering;
use super::integer::Half;
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use target_lexicon::Architecture;
use wasmparser::Operator;

impl FuncLowering<'_> {
    /// Lowers a relaxed operator; `false` if it is none.
    ///
    /// # Errors
    /// When its result must not depend on the processor, but the processor cannot compute it.
    pub(super) fn lower_vector_relaxed(
        &mut self,
        operator: &Operator<'_>,
    ) -> Result<bool, CompileError> {
        use Operator as O;
        let fast = self.takes_x86_results();
        match operator {
            O::I8x16RelaxedSwizzle if fast => {
                self.vector_binary(I8X16, |i, a, b| i.x86_pshufb(a, b));
            }
            O::I8x16RelaxedSwizzle => self.vector_binary(I8X16, |i, a, b| i.swizzle(a, b)),

            O::I32x4RelaxedTruncF32x4S if fast => {
                self.vector_unary(F32X4, |i, a| i.x86_cvtt2dq(I32X4, a));
            }
            O::I32x4RelaxedTruncF32x4S => {
                self.vector_unary(F32X4, |i, a| i.fcvt_to_sint_sat(I32X4, a));
            }
            O::I32x4RelaxedTruncF32x4U => {
                self.vector_unary(F32X4, |i, a| i.fcvt_to_uint_sat(I32X4, a));
            }
            O::I32x4RelaxedTruncF64x2SZero => {
                let vector = self.pop_vector(F64X2);
                let lanes = if fast {
                    self.builder.ins().x86_cvtt2dq(I64X2, vector)
                } else {
                    self.builder.ins().fcvt_to_sint_sat(I64X2, vector)
                };
                let zero = self.zero_i64x2();
                let result = self.builder.ins().snarrow(lanes, zero);
                self.push(result);
            }
            O::I32x4RelaxedTruncF64x2UZero => {
                self.vector_unary(F64X2, |i, a| i.fcvt_to_uint_sat(I64X2, a));
                let zero = self.zero_i64x2();
                self.vector_unary(I64X2, |i, a| i.uunarrow(a, zero));
            }

            O::F32x4RelaxedMadd => self.multiply_add(F32X4, false)?,
            O::F32x4RelaxedNmadd => self.multiply_add(F32X4, true)?,
            O::F64x2RelaxedMadd => self.multiply_add(F64X2, false)?,
            O::F64x2RelaxedNmadd => self.multiply_add(F64X2, true)?,

            O::I8x16RelaxedLaneselect => self.lane_select(I8X16, fast),
            // No instruction selects by the top bits of 16-bit lanes.
            O::I16x8RelaxedLaneselect => self.lane_select(I16X8, false),
            O::I32x4RelaxedLaneselect => self.lane_select(I32X4, fast),
            O::I64x2RelaxedLaneselect => self.lane_select(I64X2, fast),

            O::F32x4RelaxedMin if fast => self.pseudo_minmax(F32X4, |a, b| (b, a)),
            O::F64x2RelaxedMin if fast => self.pseudo_minmax(F64X2, |a, b| (b, a)),
            O::F32x4RelaxedMax if fast => self.pseudo_minmax(F32X4, |a, b| (a, b)),
            O::F64x2RelaxedMax if fast => self.pseudo_minmax(F64X2, |a, b| (a, b)),
            O::F32x4RelaxedMin => self.vector_binary(F32X4, |i, a, b| i.fmin(a, b)),
            O::F64x2RelaxedMin => self.vector_binary(F64X2, |i, a, b| i.fmin(a, b)),
            O::F32x4RelaxedMax => self.vector_binary(F32X4, |i, a, b| i.fmax(a, b)),
            O::F64x2RelaxedMax => self.vector_binary(F64X2, |i, a, b| i.fmax(a, b)),

            O::I16x8RelaxedQ15mulrS if fast => {
                self.vector_binary(I16X8, |i, a, b| i.x86_pmulhrsw(a, b));
            }
            O::I16x8RelaxedQ15mulrS => {
                self.vector_binary(I16X8, |i, a, b| i.sqmul_round_sat(a, b));
            }

            O::I16x8RelaxedDotI8x16I7x16S => {
                let (a, b) = self.pop_vector2(I8X16);
                let result = self.dot_product(a, b, fast);
                self.push(result);
            }
            O::I32x4RelaxedDotI8x16I7x16AddS => {
                let sum = self.pop_vector(I32X4);
                let (a, b) = self.pop_vector2(I8X16);
                let products = self.dot_product(a, b, fast);
                let low = self.widen(products, Half::Low, true);
                let high = self.widen(products, Half::High, true);
                let pairs = self.builder.ins().iadd_pairwise(low, high);
                let result = self.builder.ins().iadd(pairs, sum);
                self.push(result);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// May results be those of x86-64's instructions?
    fn takes_x86_results(&self) -> bool {
        !self.env.knobs.relaxed_simd_deterministic
            && self.env.isa.triple().architecture == Architecture::X86_64
    }

    /// Can the machine multiply and add with one rounding? Every other architecture's vectors can.
    fn fuses(&self) -> bool {
        let isa = self.env.isa;
        let has = |name| {
            let mut flags = isa.isa_flags().into_iter();
            flags.any(|flag| flag.name == name && flag.as_bool() == Some(true))
        };
        isa.triple().architecture != Architecture::X86_64 || (has("has_avx") && has("has_fma"))
    }

    /// `a * b + c`, or `c - a * b`
    fn multiply_add(&mut self, ty: Type, negated: bool) -> Result<(), CompileError> {
        let c = self.pop_vector(ty);
        let (a, b) = self.pop_vector2(ty);
        let a = if negated {
            self.builder.ins().fneg(a)
        } else {
            a
        };
        let result = if self.fuses() {
            self.builder.ins().fma(a, b, c)
        } else if self.env.knobs.relaxed_simd_deterministic {
            return Err(self.unsupported(
                "deterministic relaxed multiply-add on a processor without fused multiply-add",
            ));
        } else {
            let product = self.builder.ins().fmul(a, b);
            self.builder.ins().fadd(product, c)
        };
        self.push(result);
        Ok(())
    }

    /// Lanes of the first operand where the third has ones, of the second where it has zeros.
    fn lane_select(&mut self, ty: Type, by_top_bit: bool) {
        let mask = self.pop_vector(ty);
        let (a, b) = self.pop_vector2(ty);
        let result = if by_top_bit {
            self.builder.ins().blendv(mask, a, b)
        } else {
            self.builder.ins().bitselect(mask, a, b)
        };
        self.push(result);
    }

    /// For each pair of lanes the sum of the products with their counterparts, in 16 bits.
    fn dot_product(&mut self, a: Value, b: Value, fast: bool) -> Value {
        if fast {
            // The second operand is read as unsigned.
            return self.builder.ins().x86_pmaddubsw(a, b);
        }
        let mut product = |half| {
            let a = self.widen(a, half, true);
            let b = self.widen(b, half, true);
            self.builder.ins().imul(a, b)
        };
        let (low, high) = (product(Half::Low), product(Half::High));
        self.builder.ins().iadd_pairwise(low, high)
    }
}
