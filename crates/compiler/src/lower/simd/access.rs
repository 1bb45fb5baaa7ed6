//! Vectors from and to memory.

use super::super::CompileError;
use super::super::heap::HeapAccess;
use super::super::state::FuncLowering;
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::{MemArg, Operator};

impl FuncLowering<'_> {
    /// Lowers constants, loads and stores; `false` if the operator is none of them.
    pub(super) fn lower_vector_access(
        &mut self,
        operator: &Operator<'_>,
    ) -> Result<bool, CompileError> {
        use Operator as O;
        match operator {
            O::V128Const { value } => {
                let bytes = value.bytes()[..].into();
                let constant = self.builder.func.dfg.constants.insert(bytes);
                let value = self.builder.ins().vconst(I8X16, constant);
                self.push(value);
            }
            O::V128Load { memarg } => self.load(I8X16, memarg)?,
            O::V128Store { memarg } => {
                let value = self.pop1();
                let at = self.memory_address(memarg, 16)?;
                self.builder
                    .ins()
                    .store(at.flags, value, at.base, at.offset);
            }

            O::V128Load8x8S { memarg } => {
                self.load_widening(memarg, |i, f, b, o| i.sload8x8(f, b, o))?;
            }
            O::V128Load8x8U { memarg } => {
                self.load_widening(memarg, |i, f, b, o| i.uload8x8(f, b, o))?;
            }
            O::V128Load16x4S { memarg } => {
                self.load_widening(memarg, |i, f, b, o| i.sload16x4(f, b, o))?;
            }
            O::V128Load16x4U { memarg } => {
                self.load_widening(memarg, |i, f, b, o| i.uload16x4(f, b, o))?;
            }
            O::V128Load32x2S { memarg } => {
                self.load_widening(memarg, |i, f, b, o| i.sload32x2(f, b, o))?;
            }
            O::V128Load32x2U { memarg } => {
                self.load_widening(memarg, |i, f, b, o| i.uload32x2(f, b, o))?;
            }

            O::V128Load8Splat { memarg } => self.load_splat(I8X16, memarg)?,
            O::V128Load16Splat { memarg } => self.load_splat(I16X8, memarg)?,
            O::V128Load32Splat { memarg } => self.load_splat(I32X4, memarg)?,
            O::V128Load64Splat { memarg } => self.load_splat(I64X2, memarg)?,

            O::V128Load32Zero { memarg } => self.load_zero(F32X4, memarg)?,
            O::V128Load64Zero { memarg } => self.load_zero(F64X2, memarg)?,

            O::V128Load8Lane { memarg, lane } => self.load_lane(I8X16, memarg, *lane)?,
            O::V128Load16Lane { memarg, lane } => self.load_lane(I16X8, memarg, *lane)?,
            O::V128Load32Lane { memarg, lane } => self.load_lane(I32X4, memarg, *lane)?,
            O::V128Load64Lane { memarg, lane } => self.load_lane(I64X2, memarg, *lane)?,

            O::V128Store8Lane { memarg, lane } => self.store_lane(I8X16, memarg, *lane)?,
            O::V128Store16Lane { memarg, lane } => self.store_lane(I16X8, memarg, *lane)?,
            O::V128Store32Lane { memarg, lane } => self.store_lane(I32X4, memarg, *lane)?,
            O::V128Store64Lane { memarg, lane } => self.store_lane(I64X2, memarg, *lane)?,

            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Loads eight bytes as lanes and widens each to twice its size.
    fn load_widening(
        &mut self,
        memarg: &MemArg,
        load: impl FnOnce(FuncInstBuilder<'_, '_>, MemFlagsData, Value, i32) -> Value,
    ) -> Result<(), CompileError> {
        let at = self.memory_address(memarg, 8)?;
        let value = load(self.builder.ins(), at.flags, at.base, at.offset);
        self.push(value);
        Ok(())
    }

    /// Pops an index and loads one lane.
    fn load_scalar(&mut self, ty: Type, memarg: &MemArg) -> Result<Value, CompileError> {
        let HeapAccess {
            flags,
            base,
            offset,
        } = self.memory_address(memarg, ty.bytes())?;
        Ok(self.builder.ins().load(ty, flags, base, offset))
    }

    /// Loads one lane into all lanes.
    fn load_splat(&mut self, ty: Type, memarg: &MemArg) -> Result<(), CompileError> {
        let lane = self.load_scalar(ty.lane_type(), memarg)?;
        let value = self.builder.ins().splat(ty, lane);
        self.push(value);
        Ok(())
    }

    /// Loads lane 0; the others are zero.
    fn load_zero(&mut self, ty: Type, memarg: &MemArg) -> Result<(), CompileError> {
        let lane = self.load_scalar(ty.lane_type(), memarg)?;
        let value = self.builder.ins().scalar_to_vector(ty, lane);
        self.push(value);
        Ok(())
    }

    /// Loads one lane of a vector that keeps the others.
    fn load_lane(&mut self, ty: Type, memarg: &MemArg, lane: u8) -> Result<(), CompileError> {
        let vector = self.pop_vector(ty);
        let value = self.load_scalar(ty.lane_type(), memarg)?;
        let value = self.builder.ins().insertlane(vector, value, lane);
        self.push(value);
        Ok(())
    }

    /// Stores one lane of a vector.
    fn store_lane(&mut self, ty: Type, memarg: &MemArg, lane: u8) -> Result<(), CompileError> {
        let vector = self.pop_vector(ty);
        let value = self.builder.ins().extractlane(vector, lane);
        let at = self.memory_address(memarg, ty.lane_type().bytes())?;
        self.builder
            .ins()
            .store(at.flags, value, at.base, at.offset);
        Ok(())
    }
}
