//! Linear memories: loads, stores, and operations on whole ranges. Addresses and their checks are [`heap`](super::heap)'s, ranges of a few
//! bytes [`bulk`](super::bulk)'s.

use super::CompileError;
use super::heap::HeapAccess;
use super::state::FuncLowering;
use cowling_abi::MemoryIndex;
use cowling_abi::builtins::BuiltinIndex;
use cranelift_codegen::ir::{self, InstBuilder, Value, types};
use wasmparser::MemArg;

impl FuncLowering<'_> {
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
        let (dst, src, len) = self.pop3();
        if let Some(len) = self.few_bytes(len) {
            let [to, from] = [dst_memory, src_memory].map(MemoryIndex::from_u32);
            self.copy_in_place((to, dst), (from, src), len);
            return;
        }
        let [dst, src, len] = [dst, src, len].map(|value| self.index64(value));
        let dst_memory = self.immediate(dst_memory);
        let src_memory = self.immediate(src_memory);
        let args = [dst_memory, src_memory, dst, src, len];
        self.call_builtin(BuiltinIndex::memory_copy, &args);
    }

    /// `memory.fill`
    pub(super) fn memory_fill(&mut self, memory: u32) {
        let (dst, value, len) = self.pop3();
        if let Some(len) = self.few_bytes(len) {
            self.fill_in_place(MemoryIndex::from_u32(memory), dst, value, len);
            return;
        }
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
