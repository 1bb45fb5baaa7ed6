//! Linear memories: addresses, loads, stores, and operations on whole ranges.
//!
//! ```text
//!   base                     plan               address                                 check
//!   in the slot              guarded            [vmctx + index + (distance + offset)]   none, up to the guard
//!   in a VmMemory record     guarded            [base + index + offset]                 none, up to the guard
//!   in a VmMemory record     not guarded        [base + index + offset]                 against byte_len
//! ```
//!
//! Invariant: an access either lies inside the memory, or faults with the trap code of its flags. Where the reservation and
//! guard behind a memory cannot promise that, the address is compared first and replaced by null when it is outside; the
//! replacement is made without a branch, so that it holds in speculation too.

use super::CompileError;
use super::regions::Region;
use super::state::{FuncLowering, POINTER};
use cowling_abi::builtins::BuiltinIndex;
use cowling_abi::layout::VmMemory;
use cowling_abi::plan::{MemoryBase, MemoryPlan};
use cowling_abi::{MemoryIndex, MemoryType, WASM_PAGE_SIZE};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, Endianness, InstBuilder, MemFlagsData, Value, types};
use std::mem::offset_of;
use wasmparser::{MemArg, MemArgTarget};

/// Where to access a memory: `flags`, `base` and `offset` of a CLIF load or store.
pub(crate) struct HeapAccess {
    /// Little-endian, traps as out of bounds, in the alias region of its memory.
    pub(crate) flags: MemFlagsData,
    /// An address.
    pub(crate) base: Value,
    /// What to add to it.
    pub(crate) offset: i32,
}

/// Addresses below this are never mapped, whatever the system: a null pointer with an offset this small still faults.
const NULL_PAGE: u64 = 4096;

impl FuncLowering<'_> {
    /// Pops an index and says where to access `size` bytes there.
    ///
    /// # Errors
    /// When the instruction names something that is not a memory.
    pub(crate) fn memory_address(
        &mut self,
        memarg: &MemArg,
        size: u32,
    ) -> Result<HeapAccess, CompileError> {
        let MemArgTarget::Memory(memory) = memarg.target else {
            return Err(self.unsupported("access to a GC array"));
        };
        let memory = MemoryIndex::from_u32(memory);
        let env = self.env;
        let ty = &env.info.memories[memory];
        let plan = MemoryPlan::new(env.info, memory, env.knobs);
        let region = Region::Memory(env.info.defined_memory(memory));
        let trap = self.out_of_bounds();
        let flags = MemFlagsData::new()
            .with_endianness(Endianness::Little)
            .with_trap_code(Some(trap));
        let flags = self.flags(flags, region);
        let index = self.pop1();
        let (base, offset) = self.address(memory, ty, &plan, index, memarg.offset, u64::from(size));
        Ok(HeapAccess {
            flags,
            base,
            offset,
        })
    }

    fn address(
        &mut self,
        memory: MemoryIndex,
        ty: &MemoryType,
        plan: &MemoryPlan,
        index: Value,
        offset: u64,
        size: u64,
    ) -> (Value, i32) {
        let minimum = ty.minimum_bytes().unwrap_or(u64::MAX);
        let span = offset.checked_add(size);
        // Pages of another size need not end where the machine's pages do.
        let faults_past_end = ty.page_size() == WASM_PAGE_SIZE;
        let unchecked = plan.guarded && faults_past_end && span.is_some_and(|s| s <= plan.guard);

        if let Some(constant) = self.constant(index) {
            let start = constant.checked_add(offset);
            let inside = start
                .and_then(|s| s.checked_add(size))
                .is_some_and(|end| end <= minimum);
            if let Some(start) = start
                && (inside || unchecked)
            {
                let (base, distance) = self.memory_base(memory, plan);
                return self.with_offset(base, distance, start);
            }
        }

        let index = self.index64(index);
        if unchecked {
            let (base, distance) = self.memory_base(memory, plan);
            let base = self.builder.ins().iadd(base, index);
            return self.with_offset(base, distance, offset);
        }
        let Some(span) = span else {
            // The access ends behind any 64-bit address.
            let always = self.builder.ins().iconst(types::I8, 1);
            let trap = self.out_of_bounds();
            self.builder.ins().trapnz(always, trap);
            return (self.zero(POINTER), 0);
        };

        let outside = if faults_past_end && span <= plan.guard {
            // The guard stops what begins inside and ends behind. Accesses at one index with different offsets share this check.
            let len = self.memory_len(memory, ty);
            let cond = IntCC::UnsignedGreaterThanOrEqual;
            self.builder.ins().icmp(cond, index, len)
        } else if span <= minimum {
            // Cannot wrap: a memory never shrinks.
            let len = self.memory_len(memory, ty);
            let span = self.builder.ins().iconst(types::I64, span as i64);
            let last = self.builder.ins().isub(len, span);
            let cond = IntCC::UnsignedGreaterThan;
            self.builder.ins().icmp(cond, index, last)
        } else {
            let span = self.builder.ins().iconst(types::I64, span as i64);
            let end = if ty.memory64 {
                let trap = self.out_of_bounds();
                self.builder.ins().uadd_overflow_trap(index, span, trap)
            } else {
                // Neither reaches 2^33.
                self.builder.ins().iadd(index, span)
            };
            let len = self.memory_len(memory, ty);
            let cond = IntCC::UnsignedGreaterThan;
            self.builder.ins().icmp(cond, end, len)
        };
        let (base, distance) = self.memory_base(memory, plan);
        let base = self.builder.ins().iadd(base, index);
        let (base, offset) = if span <= NULL_PAGE && distance == 0 {
            (base, offset as i32)
        } else {
            let whole = u64::from(distance).wrapping_add(offset);
            let whole = self.builder.ins().iconst(POINTER, whole as i64);
            (self.builder.ins().iadd(base, whole), 0)
        };
        let null = self.zero(POINTER);
        let base = self.builder.ins().select_spectre_guard(outside, null, base);
        (base, offset)
    }

    /// An address and offset that together are `base + distance + offset`.
    fn with_offset(&mut self, base: Value, distance: u32, offset: u64) -> (Value, i32) {
        let whole = u64::from(distance).wrapping_add(offset);
        match i32::try_from(whole) {
            Ok(whole) => (base, whole),
            Err(_) => {
                let whole = self.builder.ins().iconst(POINTER, whole as i64);
                (self.builder.ins().iadd(base, whole), 0)
            }
        }
    }

    /// A value and a constant that together are the address of a memory's first byte.
    fn memory_base(&mut self, memory: MemoryIndex, plan: &MemoryPlan) -> (Value, u32) {
        match plan.base {
            MemoryBase::Slot => (self.vmctx, self.env.layout.memory0_distance()),
            MemoryBase::Record => {
                let (record, offset) = self.memory_record(memory);
                let field = offset + offset_of!(VmMemory, base) as u32;
                let base = if plan.movable {
                    self.load_field(POINTER, record, field)
                } else {
                    self.load_constant_field(POINTER, record, field)
                };
                (base, 0)
            }
        }
    }

    /// A memory's size in bytes.
    fn memory_len(&mut self, memory: MemoryIndex, ty: &MemoryType) -> Value {
        if let Some(len) = fixed_len(ty) {
            return self.builder.ins().iconst(types::I64, len as i64);
        }
        let (record, offset) = self.memory_record(memory);
        let field = offset + offset_of!(VmMemory, byte_len) as u32;
        self.load_field(types::I64, record, field)
    }

    /// A value and a constant that together are the address of a memory's record.
    fn memory_record(&mut self, memory: MemoryIndex) -> (Value, u32) {
        let env = self.env;
        match env.info.defined_memory(memory) {
            Some(defined) => (self.vmctx, env.layout.defined_memory(defined)),
            None => {
                let pointer = env.layout.imported_memory(memory);
                (self.load_constant_field(POINTER, self.vmctx, pointer), 0)
            }
        }
    }

    // --- loads and stores ---

    /// A load of a whole value.
    pub(super) fn load(&mut self, ty: ir::Type, memarg: &MemArg) -> Result<(), CompileError> {
        let at = self.memory_address(memarg, ty.bytes())?;
        let value = self.builder.ins().load(ty, at.flags, at.base, at.offset);
        self.push(value);
        Ok(())
    }

    /// A load of a narrower integer, extended to `ty`.
    pub(super) fn load_extend(
        &mut self,
        ty: ir::Type,
        narrow: ir::Type,
        signed: bool,
        memarg: &MemArg,
    ) -> Result<(), CompileError> {
        let at = self.memory_address(memarg, narrow.bytes())?;
        let HeapAccess {
            flags,
            base,
            offset,
        } = at;
        let ins = self.builder.ins();
        let value = match (narrow, signed) {
            (types::I8, false) => ins.uload8(ty, flags, base, offset),
            (types::I8, true) => ins.sload8(ty, flags, base, offset),
            (types::I16, false) => ins.uload16(ty, flags, base, offset),
            (types::I16, true) => ins.sload16(ty, flags, base, offset),
            (_, false) => ins.uload32(flags, base, offset),
            (_, true) => ins.sload32(flags, base, offset),
        };
        self.push(value);
        Ok(())
    }

    /// A store of the low bytes of a value, as many as `narrow` has.
    pub(super) fn store(&mut self, narrow: ir::Type, memarg: &MemArg) -> Result<(), CompileError> {
        let value = self.pop1();
        let at = self.memory_address(memarg, narrow.bytes())?;
        let whole = self.type_of(value).bits() == narrow.bits();
        let ins = self.builder.ins();
        match narrow {
            _ if whole => ins.store(at.flags, value, at.base, at.offset),
            types::I8 => ins.istore8(at.flags, value, at.base, at.offset),
            types::I16 => ins.istore16(at.flags, value, at.base, at.offset),
            _ => ins.istore32(at.flags, value, at.base, at.offset),
        };
        Ok(())
    }

    // --- operations on memories ---

    /// `memory.size`
    pub(super) fn memory_size(&mut self, memory: u32) {
        let memory = MemoryIndex::from_u32(memory);
        let env = self.env;
        let ty = &env.info.memories[memory];
        let len = self.memory_len(memory, ty);
        let pages = self
            .builder
            .ins()
            .ushr_imm_u(len, i64::from(ty.page_size_log2));
        let pages = self.narrow_index(pages, ty.memory64);
        self.push(pages);
    }

    /// `memory.grow`
    pub(super) fn memory_grow(&mut self, memory: u32) {
        let delta = self.pop1();
        let delta = self.index64(delta);
        let index = self.immediate(memory);
        let old = self.call_builtin_for_result(BuiltinIndex::memory_grow, &[index, delta]);
        let memory64 = self.env.info.memories[MemoryIndex::from_u32(memory)].memory64;
        // All ones stay all ones.
        let old = self.narrow_index(old, memory64);
        self.push(old);
    }

    /// `memory.copy`
    pub(super) fn memory_copy(&mut self, dst_memory: u32, src_memory: u32) {
        let (dst, src, len) = self.pop_range();
        let dst_memory = self.immediate(dst_memory);
        let src_memory = self.immediate(src_memory);
        let args = [dst_memory, src_memory, dst, src, len];
        self.call_builtin(BuiltinIndex::memory_copy, &args);
    }

    /// `memory.fill`
    pub(super) fn memory_fill(&mut self, memory: u32) {
        let (dst, value, len) = self.pop3();
        let dst = self.index64(dst);
        let len = self.index64(len);
        let memory = self.immediate(memory);
        self.call_builtin(BuiltinIndex::memory_fill, &[memory, dst, value, len]);
    }

    /// `memory.init`
    pub(super) fn memory_init(&mut self, memory: u32, data: u32) {
        let (dst, src, len) = self.pop3();
        let dst = self.index64(dst);
        let memory = self.immediate(memory);
        let data = self.immediate(data);
        self.call_builtin(BuiltinIndex::memory_init, &[memory, data, dst, src, len]);
    }

    /// `data.drop`
    pub(super) fn data_drop(&mut self, data: u32) {
        let data = self.immediate(data);
        self.call_builtin(BuiltinIndex::data_drop, &[data]);
    }

    /// Pops destination, source and length as 64 bits.
    pub(super) fn pop_range(&mut self) -> (Value, Value, Value) {
        let (dst, src, len) = self.pop3();
        (self.index64(dst), self.index64(src), self.index64(len))
    }

    /// A size or index of 64 bits as a memory or table gives it.
    pub(super) fn narrow_index(&mut self, value: Value, is_64: bool) -> Value {
        if is_64 {
            value
        } else {
            self.builder.ins().ireduce(types::I32, value)
        }
    }

    /// An immediate of an instruction as an argument.
    pub(super) fn immediate(&mut self, value: u32) -> Value {
        self.builder.ins().iconst(types::I32, i64::from(value))
    }
}

/// The size in bytes of a memory that cannot grow.
fn fixed_len(ty: &MemoryType) -> Option<u64> {
    if ty.maximum == Some(ty.minimum) {
        ty.minimum_bytes()
    } else {
        None
    }
}
