//! Numbers: constants, comparisons, arithmetic, conversions.
//!
//! Traps come with the instructions: division by zero and overflow from `udiv`, `sdiv`, `urem`, `srem` (where the remainder of
//! the smallest integer by -1 is 0), NaN and out of range from `fcvt_to_sint`, `fcvt_to_uint`.

use super::state::FuncLowering;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, Value, types};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::Operator;

/// Replaces the topmost value by `instruction` of it; with a type, by its conversion to that type.
macro_rules! unary {
    ($lowering:ident, $instruction:ident $($ty:ident)?) => {{
        let value = $lowering.pop1();
        let result = $lowering.builder.ins().$instruction($(types::$ty,)? value);
        $lowering.push(result);
    }};
}

/// Replaces the topmost two values by `instruction` of them.
macro_rules! binary {
    ($lowering:ident, $instruction:ident) => {{
        let (left, right) = $lowering.pop2();
        let result = $lowering.builder.ins().$instruction(left, right);
        $lowering.push(result);
    }};
}

impl FuncLowering<'_> {
    /// Lowers an operator on numbers; `false` if it is not one.
    pub(super) fn lower_numeric(&mut self, operator: &Operator<'_>) -> bool {
        use Operator as O;
        match operator {
            O::I32Const { value } => {
                let value = i64::from(*value as u32);
                let value = self.builder.ins().iconst(types::I32, value);
                self.push(value);
            }
            O::I64Const { value } => {
                let value = self.builder.ins().iconst(types::I64, *value);
                self.push(value);
            }
            O::F32Const { value } => {
                let bits = Ieee32::with_bits(value.bits());
                let value = self.builder.ins().f32const(bits);
                self.push(value);
            }
            O::F64Const { value } => {
                let bits = Ieee64::with_bits(value.bits());
                let value = self.builder.ins().f64const(bits);
                self.push(value);
            }

            O::I32Eqz | O::I64Eqz => {
                let value = self.pop_condition();
                let is_zero = self.builder.ins().icmp_imm_u(IntCC::Equal, value, 0);
                self.push_bool(is_zero);
            }
            O::I32Eq | O::I64Eq => self.compare(IntCC::Equal),
            O::I32Ne | O::I64Ne => self.compare(IntCC::NotEqual),
            O::I32LtS | O::I64LtS => self.compare(IntCC::SignedLessThan),
            O::I32LtU | O::I64LtU => self.compare(IntCC::UnsignedLessThan),
            O::I32GtS | O::I64GtS => self.compare(IntCC::SignedGreaterThan),
            O::I32GtU | O::I64GtU => self.compare(IntCC::UnsignedGreaterThan),
            O::I32LeS | O::I64LeS => self.compare(IntCC::SignedLessThanOrEqual),
            O::I32LeU | O::I64LeU => self.compare(IntCC::UnsignedLessThanOrEqual),
            O::I32GeS | O::I64GeS => self.compare(IntCC::SignedGreaterThanOrEqual),
            O::I32GeU | O::I64GeU => self.compare(IntCC::UnsignedGreaterThanOrEqual),
            O::F32Eq | O::F64Eq => self.compare_floats(FloatCC::Equal),
            O::F32Ne | O::F64Ne => self.compare_floats(FloatCC::NotEqual),
            O::F32Lt | O::F64Lt => self.compare_floats(FloatCC::LessThan),
            O::F32Gt | O::F64Gt => self.compare_floats(FloatCC::GreaterThan),
            O::F32Le | O::F64Le => self.compare_floats(FloatCC::LessThanOrEqual),
            O::F32Ge | O::F64Ge => self.compare_floats(FloatCC::GreaterThanOrEqual),

            O::I32Clz | O::I64Clz => unary!(self, clz),
            O::I32Ctz | O::I64Ctz => unary!(self, ctz),
            O::I32Popcnt | O::I64Popcnt => unary!(self, popcnt),
            O::I32Add | O::I64Add => binary!(self, iadd),
            O::I32Sub | O::I64Sub => binary!(self, isub),
            O::I32Mul | O::I64Mul => binary!(self, imul),
            O::I32DivS | O::I64DivS => binary!(self, sdiv),
            O::I32DivU | O::I64DivU => binary!(self, udiv),
            O::I32RemS | O::I64RemS => binary!(self, srem),
            O::I32RemU | O::I64RemU => binary!(self, urem),
            O::I32And | O::I64And => binary!(self, band),
            O::I32Or | O::I64Or => binary!(self, bor),
            O::I32Xor | O::I64Xor => binary!(self, bxor),
            O::I32Shl | O::I64Shl => binary!(self, ishl),
            O::I32ShrS | O::I64ShrS => binary!(self, sshr),
            O::I32ShrU | O::I64ShrU => binary!(self, ushr),
            O::I32Rotl | O::I64Rotl => binary!(self, rotl),
            O::I32Rotr | O::I64Rotr => binary!(self, rotr),

            O::F32Abs | O::F64Abs => unary!(self, fabs),
            O::F32Neg | O::F64Neg => unary!(self, fneg),
            O::F32Ceil | O::F64Ceil => unary!(self, ceil),
            O::F32Floor | O::F64Floor => unary!(self, floor),
            O::F32Trunc | O::F64Trunc => unary!(self, trunc),
            O::F32Nearest | O::F64Nearest => unary!(self, nearest),
            O::F32Sqrt | O::F64Sqrt => unary!(self, sqrt),
            O::F32Add | O::F64Add => binary!(self, fadd),
            O::F32Sub | O::F64Sub => binary!(self, fsub),
            O::F32Mul | O::F64Mul => binary!(self, fmul),
            O::F32Div | O::F64Div => binary!(self, fdiv),
            O::F32Min | O::F64Min => binary!(self, fmin),
            O::F32Max | O::F64Max => binary!(self, fmax),
            O::F32Copysign | O::F64Copysign => binary!(self, fcopysign),

            O::I32WrapI64 => unary!(self, ireduce I32),
            O::I64ExtendI32S => unary!(self, sextend I64),
            O::I64ExtendI32U => unary!(self, uextend I64),
            O::I32Extend8S => self.sign_extend(types::I8, types::I32),
            O::I32Extend16S => self.sign_extend(types::I16, types::I32),
            O::I64Extend8S => self.sign_extend(types::I8, types::I64),
            O::I64Extend16S => self.sign_extend(types::I16, types::I64),
            O::I64Extend32S => self.sign_extend(types::I32, types::I64),

            O::I32TruncF32S | O::I32TruncF64S => unary!(self, fcvt_to_sint I32),
            O::I32TruncF32U | O::I32TruncF64U => unary!(self, fcvt_to_uint I32),
            O::I64TruncF32S | O::I64TruncF64S => unary!(self, fcvt_to_sint I64),
            O::I64TruncF32U | O::I64TruncF64U => unary!(self, fcvt_to_uint I64),
            O::I32TruncSatF32S | O::I32TruncSatF64S => unary!(self, fcvt_to_sint_sat I32),
            O::I32TruncSatF32U | O::I32TruncSatF64U => unary!(self, fcvt_to_uint_sat I32),
            O::I64TruncSatF32S | O::I64TruncSatF64S => unary!(self, fcvt_to_sint_sat I64),
            O::I64TruncSatF32U | O::I64TruncSatF64U => unary!(self, fcvt_to_uint_sat I64),
            O::F32ConvertI32S | O::F32ConvertI64S => unary!(self, fcvt_from_sint F32),
            O::F32ConvertI32U | O::F32ConvertI64U => unary!(self, fcvt_from_uint F32),
            O::F64ConvertI32S | O::F64ConvertI64S => unary!(self, fcvt_from_sint F64),
            O::F64ConvertI32U | O::F64ConvertI64U => unary!(self, fcvt_from_uint F64),
            O::F32DemoteF64 => unary!(self, fdemote F32),
            O::F64PromoteF32 => unary!(self, fpromote F64),
            O::I32ReinterpretF32 => self.reinterpret(types::I32),
            O::I64ReinterpretF64 => self.reinterpret(types::I64),
            O::F32ReinterpretI32 => self.reinterpret(types::F32),
            O::F64ReinterpretI64 => self.reinterpret(types::F64),

            O::I64Add128 => self.wide_binary(|i, a, b| i.iadd(a, b)),
            O::I64Sub128 => self.wide_binary(|i, a, b| i.isub(a, b)),
            O::I64MulWideS => self.wide_product(|i, a| i.sextend(types::I128, a)),
            O::I64MulWideU => self.wide_product(|i, a| i.uextend(types::I128, a)),
            _ => return false,
        }
        true
    }

    fn compare(&mut self, condition: IntCC) {
        let (left, right) = self.pop2();
        let result = self.builder.ins().icmp(condition, left, right);
        self.push_bool(result);
    }

    fn compare_floats(&mut self, condition: FloatCC) {
        let (left, right) = self.pop2();
        let result = self.builder.ins().fcmp(condition, left, right);
        self.push_bool(result);
    }

    /// Extends the low bits of the topmost value, as many as `narrow` has.
    fn sign_extend(&mut self, narrow: ir::Type, ty: ir::Type) {
        let value = self.pop1();
        let low = self.builder.ins().ireduce(narrow, value);
        let extended = self.builder.ins().sextend(ty, low);
        self.push(extended);
    }

    /// Two integers of 128 bits, each as its low and its high half, to one.
    fn wide_binary(
        &mut self,
        operation: impl FnOnce(FuncInstBuilder<'_, '_>, Value, Value) -> Value,
    ) {
        let (low, high) = self.pop2();
        let right = self.builder.ins().iconcat(low, high);
        let (low, high) = self.pop2();
        let left = self.builder.ins().iconcat(low, high);
        let result = operation(self.builder.ins(), left, right);
        self.push_halves(result);
    }

    /// The product of two integers of 64 bits, whole.
    fn wide_product(&mut self, extend: impl Fn(FuncInstBuilder<'_, '_>, Value) -> Value) {
        let (left, right) = self.pop2();
        let left = extend(self.builder.ins(), left);
        let right = extend(self.builder.ins(), right);
        let product = self.builder.ins().imul(left, right);
        self.push_halves(product);
    }

    /// Pushes the low half of 128 bits, then the high half.
    fn push_halves(&mut self, value: Value) {
        let (low, high) = self.builder.ins().isplit(value);
        self.push(low);
        self.push(high);
    }

    fn reinterpret(&mut self, ty: ir::Type) {
        let value = self.pop1();
        let bits = self.builder.ins().bitcast(ty, MemFlagsData::new(), value);
        self.push(bits);
    }
}
