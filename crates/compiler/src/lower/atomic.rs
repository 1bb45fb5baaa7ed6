//! Atomic operators: sequentially consistent accesses, waiting, waking.
//!
//! Their addresses must be multiples of the access's size, whatever the memory: that is checked before anything else. Bounds are
//! [`heap`](super::heap)'s matter as for every access; waiting and waking leave both to the runtime.

use super::CompileError;
use super::heap::HeapAccess;
use super::state::FuncLowering;
use cowling_abi::builtins::BuiltinIndex;
use cowling_abi::{MemoryIndex, Trap};
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, MemFlagsData, Type, Value};
use wasmparser::{MemArg, MemArgTarget, Operator};

/// Calls `$apply!(lowering, operation, memarg, wide, narrow)` for the operators of one kind of read-modify-write.
macro_rules! each_width {
    ($self:ident, $operator:ident, $operation:expr,
     $($variant:ident $ty:ident $narrow:ident),*) => {
        match $operator {
            $(Operator::$variant { memarg } => {
                $self.atomic_rmw($operation, $ty, $narrow, memarg)?;
                return Ok(true);
            })*
            _ => {}
        }
    };
}

impl FuncLowering<'_> {
    /// Lowers an atomic operator; `false` if it is none.
    ///
    /// # Errors
    /// When it accesses something that is not a memory.
    pub(super) fn lower_atomic(&mut self, operator: &Operator<'_>) -> Result<bool, CompileError> {
        use AtomicRmwOp as R;
        use Operator as O;
        match operator {
            O::AtomicFence { .. } => {
                self.builder.ins().fence();
            }
            O::MemoryAtomicNotify { memarg } => self.atomic_notify(memarg)?,
            O::MemoryAtomicWait32 { memarg } => {
                self.atomic_wait(memarg, BuiltinIndex::memory_atomic_wait32)?;
            }
            O::MemoryAtomicWait64 { memarg } => {
                self.atomic_wait(memarg, BuiltinIndex::memory_atomic_wait64)?;
            }

            O::I32AtomicLoad { memarg } => self.atomic_load(I32, I32, memarg)?,
            O::I64AtomicLoad { memarg } => self.atomic_load(I64, I64, memarg)?,
            O::I32AtomicLoad8U { memarg } => self.atomic_load(I32, I8, memarg)?,
            O::I32AtomicLoad16U { memarg } => self.atomic_load(I32, I16, memarg)?,
            O::I64AtomicLoad8U { memarg } => self.atomic_load(I64, I8, memarg)?,
            O::I64AtomicLoad16U { memarg } => self.atomic_load(I64, I16, memarg)?,
            O::I64AtomicLoad32U { memarg } => self.atomic_load(I64, I32, memarg)?,

            O::I32AtomicStore { memarg } => self.atomic_store(I32, memarg)?,
            O::I64AtomicStore { memarg } => self.atomic_store(I64, memarg)?,
            O::I32AtomicStore8 { memarg } | O::I64AtomicStore8 { memarg } => {
                self.atomic_store(I8, memarg)?;
            }
            O::I32AtomicStore16 { memarg } | O::I64AtomicStore16 { memarg } => {
                self.atomic_store(I16, memarg)?;
            }
            O::I64AtomicStore32 { memarg } => self.atomic_store(I32, memarg)?,

            O::I32AtomicRmwCmpxchg { memarg } => self.atomic_cmpxchg(I32, I32, memarg)?,
            O::I64AtomicRmwCmpxchg { memarg } => self.atomic_cmpxchg(I64, I64, memarg)?,
            O::I32AtomicRmw8CmpxchgU { memarg } => self.atomic_cmpxchg(I32, I8, memarg)?,
            O::I32AtomicRmw16CmpxchgU { memarg } => self.atomic_cmpxchg(I32, I16, memarg)?,
            O::I64AtomicRmw8CmpxchgU { memarg } => self.atomic_cmpxchg(I64, I8, memarg)?,
            O::I64AtomicRmw16CmpxchgU { memarg } => self.atomic_cmpxchg(I64, I16, memarg)?,
            O::I64AtomicRmw32CmpxchgU { memarg } => self.atomic_cmpxchg(I64, I32, memarg)?,

            _ => {
                each_width!(self, operator, R::Add,
                    I32AtomicRmwAdd I32 I32, I64AtomicRmwAdd I64 I64,
                    I32AtomicRmw8AddU I32 I8, I32AtomicRmw16AddU I32 I16,
                    I64AtomicRmw8AddU I64 I8, I64AtomicRmw16AddU I64 I16, I64AtomicRmw32AddU I64 I32);
                each_width!(self, operator, R::Sub,
                    I32AtomicRmwSub I32 I32, I64AtomicRmwSub I64 I64,
                    I32AtomicRmw8SubU I32 I8, I32AtomicRmw16SubU I32 I16,
                    I64AtomicRmw8SubU I64 I8, I64AtomicRmw16SubU I64 I16, I64AtomicRmw32SubU I64 I32);
                each_width!(self, operator, R::And,
                    I32AtomicRmwAnd I32 I32, I64AtomicRmwAnd I64 I64,
                    I32AtomicRmw8AndU I32 I8, I32AtomicRmw16AndU I32 I16,
                    I64AtomicRmw8AndU I64 I8, I64AtomicRmw16AndU I64 I16, I64AtomicRmw32AndU I64 I32);
                each_width!(self, operator, R::Or,
                    I32AtomicRmwOr I32 I32, I64AtomicRmwOr I64 I64,
                    I32AtomicRmw8OrU I32 I8, I32AtomicRmw16OrU I32 I16,
                    I64AtomicRmw8OrU I64 I8, I64AtomicRmw16OrU I64 I16, I64AtomicRmw32OrU I64 I32);
                each_width!(self, operator, R::Xor,
                    I32AtomicRmwXor I32 I32, I64AtomicRmwXor I64 I64,
                    I32AtomicRmw8XorU I32 I8, I32AtomicRmw16XorU I32 I16,
                    I64AtomicRmw8XorU I64 I8, I64AtomicRmw16XorU I64 I16, I64AtomicRmw32XorU I64 I32);
                each_width!(self, operator, R::Xchg,
                    I32AtomicRmwXchg I32 I32, I64AtomicRmwXchg I64 I64,
                    I32AtomicRmw8XchgU I32 I8, I32AtomicRmw16XchgU I32 I16,
                    I64AtomicRmw8XchgU I64 I8, I64AtomicRmw16XchgU I64 I16, I64AtomicRmw32XchgU I64 I32);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Pops an index and gives the address of `size` bytes there, a power of two, as one value. Traps if it is not a multiple of `size`.
    ///
    /// # Errors
    /// When the instruction names something that is not a memory.
    pub(super) fn aligned_address(
        &mut self,
        memarg: &MemArg,
        size: u32,
    ) -> Result<(Value, MemFlagsData), CompileError> {
        let mask = u64::from(size) - 1;
        if mask != 0 {
            let index = self.pop1();
            // Whether the sum passes 2^64 or not makes no difference to its low bits.
            let place = match memarg.offset & mask {
                0 => index,
                low => self.builder.ins().iadd_imm_s(index, low as i64),
            };
            let low = self.builder.ins().band_imm_u(place, mask as i64);
            // The trap says nothing of what is pending.
            self.take_fuel();
            self.trap_if(low, Trap::HeapMisaligned);
            self.push(index);
        }
        let HeapAccess {
            flags,
            base,
            offset,
        } = self.memory_address(memarg, size)?;
        let address = match offset {
            0 => base,
            _ => self.builder.ins().iadd_imm_s(base, i64::from(offset)),
        };
        Ok((address, flags.with_aligned()))
    }

    /// The low bytes of a value, as many as `narrow` has.
    fn narrowed(&mut self, value: Value, narrow: Type) -> Value {
        if self.type_of(value) == narrow {
            return value;
        }
        self.builder.ins().ireduce(narrow, value)
    }

    /// Pushes a value, extended with zeros to `ty`.
    fn push_widened(&mut self, value: Value, ty: Type) {
        let value = match self.type_of(value) == ty {
            true => value,
            false => self.builder.ins().uextend(ty, value),
        };
        self.push(value);
    }

    fn atomic_load(&mut self, ty: Type, narrow: Type, memarg: &MemArg) -> Result<(), CompileError> {
        let (address, flags) = self.aligned_address(memarg, narrow.bytes())?;
        let value = self.builder.ins().atomic_load(narrow, flags, address);
        self.push_widened(value, ty);
        Ok(())
    }

    fn atomic_store(&mut self, narrow: Type, memarg: &MemArg) -> Result<(), CompileError> {
        let value = self.pop1();
        let value = self.narrowed(value, narrow);
        let (address, flags) = self.aligned_address(memarg, narrow.bytes())?;
        self.builder.ins().atomic_store(flags, value, address);
        Ok(())
    }

    fn atomic_rmw(
        &mut self,
        operation: AtomicRmwOp,
        ty: Type,
        narrow: Type,
        memarg: &MemArg,
    ) -> Result<(), CompileError> {
        let value = self.pop1();
        let value = self.narrowed(value, narrow);
        let (address, flags) = self.aligned_address(memarg, narrow.bytes())?;
        let ins = self.builder.ins();
        let old = ins.atomic_rmw(narrow, flags, operation, address, value);
        self.push_widened(old, ty);
        Ok(())
    }

    fn atomic_cmpxchg(
        &mut self,
        ty: Type,
        narrow: Type,
        memarg: &MemArg,
    ) -> Result<(), CompileError> {
        let (expected, replacement) = self.pop2();
        let value = self.narrowed(replacement, narrow);
        // The high bits of what is expected play no part in a narrow access.
        let expected = self.narrowed(expected, narrow);
        let (address, flags) = self.aligned_address(memarg, narrow.bytes())?;
        let ins = self.builder.ins();
        let old = ins.atomic_cas(flags, address, expected, value);
        self.push_widened(old, ty);
        Ok(())
    }

    /// The memory of an instruction, and the address it means, neither aligned nor in bounds for certain.
    fn unchecked_address(&mut self, memarg: &MemArg) -> Result<(Value, Value), CompileError> {
        let MemArgTarget::Memory(memory) = memarg.target else {
            return Err(self.unsupported("access to a GC array"));
        };
        let index = self.pop1();
        let index = self.index64(index);
        let offset = self.builder.ins().iconst(I64, memarg.offset as i64);
        let address = if self.env.info.memories[MemoryIndex::from_u32(memory)].memory64 {
            let trap = self.out_of_bounds();
            self.builder.ins().uadd_overflow_trap(index, offset, trap)
        } else {
            self.builder.ins().iadd(index, offset)
        };
        Ok((self.immediate(memory), address))
    }

    fn atomic_notify(&mut self, memarg: &MemArg) -> Result<(), CompileError> {
        let count = self.pop1();
        let (memory, address) = self.unchecked_address(memarg)?;
        let args = [memory, address, count];
        let woken = self.call_builtin_for_result(BuiltinIndex::memory_atomic_notify, &args);
        self.push(woken);
        Ok(())
    }

    fn atomic_wait(&mut self, memarg: &MemArg, builtin: BuiltinIndex) -> Result<(), CompileError> {
        let (expected, timeout) = self.pop2();
        let (memory, address) = self.unchecked_address(memarg)?;
        let args = [memory, address, expected, timeout];
        let result = self.call_builtin_for_result(builtin, &args);
        self.push(result);
        Ok(())
    }
}
