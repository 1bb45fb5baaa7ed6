//! Float lanes.

use super::super::state::FuncLowering;
use super::integer::Half;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32X4, F64X2, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use wasmparser::Operator;

impl FuncLowering<'_> {
    /// Lowers an operator on float lanes; `false` if it is none.
    pub(super) fn lower_vector_float(&mut self, operator: &Operator<'_>) -> bool {
        self.lower_vector_fcmp(operator)
            || self.lower_vector_float_arithmetic(operator)
            || self.lower_vector_conversion(operator)
    }

    fn lower_vector_fcmp(&mut self, operator: &Operator<'_>) -> bool {
        use FloatCC as C;
        use Operator as O;
        let (shape, condition) = match operator {
            O::F32x4Eq => (F32X4, C::Equal),
            O::F32x4Ne => (F32X4, C::NotEqual),
            O::F32x4Lt => (F32X4, C::LessThan),
            O::F32x4Gt => (F32X4, C::GreaterThan),
            O::F32x4Le => (F32X4, C::LessThanOrEqual),
            O::F32x4Ge => (F32X4, C::GreaterThanOrEqual),
            O::F64x2Eq => (F64X2, C::Equal),
            O::F64x2Ne => (F64X2, C::NotEqual),
            O::F64x2Lt => (F64X2, C::LessThan),
            O::F64x2Gt => (F64X2, C::GreaterThan),
            O::F64x2Le => (F64X2, C::LessThanOrEqual),
            O::F64x2Ge => (F64X2, C::GreaterThanOrEqual),
            _ => return false,
        };
        self.vector_binary(shape, |i, a, b| i.fcmp(condition, a, b));
        true
    }

    fn lower_vector_float_arithmetic(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        match operator {
            O::F32x4Abs => self.vector_unary(F32X4, |i, a| i.fabs(a)),
            O::F64x2Abs => self.vector_unary(F64X2, |i, a| i.fabs(a)),
            O::F32x4Neg => self.vector_unary(F32X4, |i, a| i.fneg(a)),
            O::F64x2Neg => self.vector_unary(F64X2, |i, a| i.fneg(a)),
            O::F32x4Sqrt => self.vector_unary(F32X4, |i, a| i.sqrt(a)),
            O::F64x2Sqrt => self.vector_unary(F64X2, |i, a| i.sqrt(a)),
            O::F32x4Ceil => self.vector_unary(F32X4, |i, a| i.ceil(a)),
            O::F64x2Ceil => self.vector_unary(F64X2, |i, a| i.ceil(a)),
            O::F32x4Floor => self.vector_unary(F32X4, |i, a| i.floor(a)),
            O::F64x2Floor => self.vector_unary(F64X2, |i, a| i.floor(a)),
            O::F32x4Trunc => self.vector_unary(F32X4, |i, a| i.trunc(a)),
            O::F64x2Trunc => self.vector_unary(F64X2, |i, a| i.trunc(a)),
            O::F32x4Nearest => self.vector_unary(F32X4, |i, a| i.nearest(a)),
            O::F64x2Nearest => self.vector_unary(F64X2, |i, a| i.nearest(a)),

            O::F32x4Add => self.vector_binary(F32X4, |i, a, b| i.fadd(a, b)),
            O::F64x2Add => self.vector_binary(F64X2, |i, a, b| i.fadd(a, b)),
            O::F32x4Sub => self.vector_binary(F32X4, |i, a, b| i.fsub(a, b)),
            O::F64x2Sub => self.vector_binary(F64X2, |i, a, b| i.fsub(a, b)),
            O::F32x4Mul => self.vector_binary(F32X4, |i, a, b| i.fmul(a, b)),
            O::F64x2Mul => self.vector_binary(F64X2, |i, a, b| i.fmul(a, b)),
            O::F32x4Div => self.vector_binary(F32X4, |i, a, b| i.fdiv(a, b)),
            O::F64x2Div => self.vector_binary(F64X2, |i, a, b| i.fdiv(a, b)),
            O::F32x4Min => self.vector_binary(F32X4, |i, a, b| i.fmin(a, b)),
            O::F64x2Min => self.vector_binary(F64X2, |i, a, b| i.fmin(a, b)),
            O::F32x4Max => self.vector_binary(F32X4, |i, a, b| i.fmax(a, b)),
            O::F64x2Max => self.vector_binary(F64X2, |i, a, b| i.fmax(a, b)),

            // The second operand where it is smaller (larger), the first where it is not or where they do not compare.
            O::F32x4PMin => self.pseudo_minmax(F32X4, |a, b| (b, a)),
            O::F64x2PMin => self.pseudo_minmax(F64X2, |a, b| (b, a)),
            O::F32x4PMax => self.pseudo_minmax(F32X4, |a, b| (a, b)),
            O::F64x2PMax => self.pseudo_minmax(F64X2, |a, b| (a, b)),

            _ => return false,
        }
        true
    }

    fn lower_vector_conversion(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        match operator {
            O::I32x4TruncSatF32x4S => {
                self.vector_unary(F32X4, |i, a| i.fcvt_to_sint_sat(I32X4, a));
            }
            O::I32x4TruncSatF32x4U => {
                self.vector_unary(F32X4, |i, a| i.fcvt_to_uint_sat(I32X4, a));
            }
            O::F32x4ConvertI32x4S => self.vector_unary(I32X4, |i, a| i.fcvt_from_sint(F32X4, a)),
            O::F32x4ConvertI32x4U => self.vector_unary(I32X4, |i, a| i.fcvt_from_uint(F32X4, a)),
            O::F64x2ConvertLowI32x4S => {
                let vector = self.pop_vector(I32X4);
                let low = self.widen(vector, Half::Low, true);
                let result = self.builder.ins().fcvt_from_sint(F64X2, low);
                self.push(result);
            }
            O::F64x2ConvertLowI32x4U => {
                let vector = self.pop_vector(I32X4);
                let low = self.widen(vector, Half::Low, false);
                let result = self.builder.ins().fcvt_from_uint(F64X2, low);
                self.push(result);
            }
            O::I32x4TruncSatF64x2SZero => {
                self.vector_unary(F64X2, |i, a| i.fcvt_to_sint_sat(I64X2, a));
                // Narrowing saturates again, to 32 bits.
                let zero = self.zero_i64x2();
                self.vector_unary(I64X2, |i, a| i.snarrow(a, zero));
            }
            O::I32x4TruncSatF64x2UZero => {
                self.vector_unary(F64X2, |i, a| i.fcvt_to_uint_sat(I64X2, a));
                let zero = self.zero_i64x2();
                self.vector_unary(I64X2, |i, a| i.uunarrow(a, zero));
            }
            O::F32x4DemoteF64x2Zero => self.vector_unary(F64X2, |i, a| i.fvdemote(a)),
            O::F64x2PromoteLowF32x4 => self.vector_unary(F32X4, |i, a| i.fvpromote_low(a)),
            _ => return false,
        }
        true
    }

    /// `order` says for operands `(a, b)` what must be less than what for `b` to be the result.
    pub(super) fn pseudo_minmax(
        &mut self,
        ty: Type,
        order: impl FnOnce(Value, Value) -> (Value, Value),
    ) {
        let (a, b) = self.pop_vector2(ty);
        let (less, than) = order(a, b);
        let mask = self.builder.ins().fcmp(FloatCC::LessThan, less, than);
        let mask = self.as_vector(mask, ty);
        let result = self.builder.ins().bitselect(mask, b, a);
        self.push(result);
    }

    pub(super) fn zero_i64x2(&mut self) -> Value {
        let zero = self.builder.func.dfg.constants.insert([0; 16][..].into());
        self.builder.ins().vconst(I64X2, zero)
    }
}
