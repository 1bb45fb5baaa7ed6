//! Tables: elements, and operations on ranges of them.
//!
//! ```text
//!   element of a function table       0: not built yet, ask the runtime | address of a VmFuncRef, or 0 for null, with bit 0 set
//!   element of any other table        the handle itself
//! ```
//!
//! An element's address is compared with the table's size and replaced by null, without a branch, when it is outside: the
//! access then faults, and that fault is the trap. Without the knob `spectre_mitigation` a trap is branched to.

use super::regions::Region;
use super::state::{FuncLowering, POINTER};
use super::traps;
use super::types::heap_type;
use cowling_abi::builtins::BuiltinIndex;
use cowling_abi::layout::{FUNC_ELEMENT_SIZE, OBJECT_ELEMENT_SIZE, TABLE_ELEMENT_BUILT, VmTable};
use cowling_abi::{TableIndex, TableType, Trap};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, MemFlagsData, Value, types};
use std::mem::offset_of;

impl FuncLowering<'_> {
    /// `table.get`
    pub(super) fn table_get(&mut self, table: u32) {
        let table = TableIndex::from_u32(table);
        let index = self.pop1();
        let value = if self.holds_functions(table) {
            self.table_function(table, index)
        } else {
            let ty = heap_type(self.env.info.tables[table].element.heap);
            let (address, flags) = self.element(table, index);
            self.builder.ins().load(ty, flags, address, 0)
        };
        self.push(value);
    }

    /// `table.set`
    pub(super) fn table_set(&mut self, table: u32) {
        let table = TableIndex::from_u32(table);
        let (index, value) = self.pop2();
        let value = if self.holds_functions(table) {
            let built = TABLE_ELEMENT_BUILT as i64;
            self.builder.ins().bor_imm_u(value, built)
        } else {
            value
        };
        let (address, flags) = self.element(table, index);
        self.builder.ins().store(flags, value, address, 0);
    }

    /// Loads an element of a table of functions: the address of a `VmFuncRef`, or 0 for null. Builds it first if need be.
    pub(super) fn table_function(&mut self, table: TableIndex, index: Value) -> Value {
        let (address, flags) = self.element(table, index);
        let element = self.builder.ins().load(types::I64, flags, address, 0);
        let not_built_bit = !(TABLE_ELEMENT_BUILT as i64);
        let built = self.builder.ins().band_imm_s(element, not_built_bit);
        let lazy = self.builder.create_block();
        self.builder.set_cold_block(lazy);
        let done = self.builder.create_block();
        let function = self.builder.append_block_param(done, types::I64);
        self.builder
            .ins()
            .brif(element, done, &[BlockArg::Value(built)], lazy, &[]);
        self.enter(lazy);
        let index = self.index64(index);
        let table = self.immediate(table.as_u32());
        let built = self.call_builtin_for_result(BuiltinIndex::table_get_func, &[table, index]);
        self.builder.ins().jump(done, &[BlockArg::Value(built)]);
        self.enter(done);
        function
    }

    /// The address of an element and the flags to access it with.
    fn element(&mut self, table: TableIndex, index: Value) -> (Value, MemFlagsData) {
        let env = self.env;
        let ty = &env.info.tables[table];
        let size = if ty.element.heap.is_func() {
            FUNC_ELEMENT_SIZE
        } else {
            OBJECT_ELEMENT_SIZE
        };
        let region = Region::Table(env.info.defined_table(table));
        let flags = self.flags(MemFlagsData::trusted(), region);
        // A table never shrinks.
        let inside = self.constant(index).is_some_and(|i| i < ty.minimum);

        let index = self.index64(index);
        let base = self.table_base(table, ty);
        let shift = i64::from(size.trailing_zeros());
        let distance = self.builder.ins().ishl_imm_u(index, shift);
        let address = self.builder.ins().iadd(base, distance);
        if inside {
            return (address, flags);
        }
        let len = self.table_len(table, ty);
        let cond = IntCC::UnsignedGreaterThanOrEqual;
        let outside = self.builder.ins().icmp(cond, index, len);
        self.keep_inside(address, outside, flags)
    }

    /// Where to access an element that may be outside of its table, and the flags to access it with.
    pub(super) fn keep_inside(
        &mut self,
        address: Value,
        outside: Value,
        flags: MemFlagsData,
    ) -> (Value, MemFlagsData) {
        if !self.env.knobs.spectre_mitigation {
            self.trap_if(outside, Trap::TableOutOfBounds);
            return (address, flags);
        }
        let null = self.zero(POINTER);
        let address = self
            .builder
            .ins()
            .select_spectre_guard(outside, null, address);
        let trap = traps::to_clif(Trap::TableOutOfBounds);
        (address, flags.with_trap_code(Some(trap)))
    }

    /// The address of element 0. A table that cannot grow stays where it is.
    fn table_base(&mut self, table: TableIndex, ty: &TableType) -> Value {
        let (record, offset) = self.table_record(table);
        let field = offset + offset_of!(VmTable, base) as i32;
        if is_fixed(ty) {
            self.load_constant_field(POINTER, record, field)
        } else {
            self.load_field(POINTER, record, field)
        }
    }

    /// A table's size in elements.
    fn table_len(&mut self, table: TableIndex, ty: &TableType) -> Value {
        if is_fixed(ty) {
            return self.builder.ins().iconst(types::I64, ty.minimum as i64);
        }
        let (record, offset) = self.table_record(table);
        let field = offset + offset_of!(VmTable, len) as i32;
        self.load_field(types::I64, record, field)
    }

    /// A value and a constant that together are the address of a table's record.
    fn table_record(&mut self, table: TableIndex) -> (Value, i32) {
        let env = self.env;
        match env.info.defined_table(table) {
            Some(defined) => (self.vmctx, env.layout.defined_table(defined)),
            None => {
                let pointer = env.layout.imported_table(table);
                (self.load_constant_field(POINTER, self.vmctx, pointer), 0)
            }
        }
    }

    fn holds_functions(&self, table: TableIndex) -> bool {
        self.env.info.tables[table].element.heap.is_func()
    }

    // --- operations on tables ---

    /// `table.size`
    pub(super) fn table_size(&mut self, table: u32) {
        let table = TableIndex::from_u32(table);
        let env = self.env;
        let ty = &env.info.tables[table];
        let len = self.table_len(table, ty);
        let len = self.narrow_index(len, ty.table64);
        self.push(len);
    }

    /// `table.grow`
    pub(super) fn table_grow(&mut self, table: u32) {
        let (value, delta) = self.pop2();
        let delta = self.index64(delta);
        let index = TableIndex::from_u32(table);
        let builtin = if self.holds_functions(index) {
            BuiltinIndex::table_grow_func
        } else {
            BuiltinIndex::table_grow_extern
        };
        let table = self.immediate(table);
        let old = self.call_builtin_for_result(builtin, &[table, delta, value]);
        // All ones stay all ones.
        let old = self.narrow_index(old, self.env.info.tables[index].table64);
        self.push(old);
    }

    /// `table.fill`
    pub(super) fn table_fill(&mut self, table: u32) {
        let (dst, value, len) = self.pop3();
        let dst = self.index64(dst);
        let len = self.index64(len);
        let builtin = if self.holds_functions(TableIndex::from_u32(table)) {
            BuiltinIndex::table_fill_func
        } else {
            BuiltinIndex::table_fill_extern
        };
        let table = self.immediate(table);
        self.call_builtin(builtin, &[table, dst, value, len]);
    }

    /// `table.copy`
    pub(super) fn table_copy(&mut self, dst_table: u32, src_table: u32) {
        let (dst, src, len) = self.pop_range();
        let dst_table = self.immediate(dst_table);
        let src_table = self.immediate(src_table);
        let args = [dst_table, src_table, dst, src, len];
        self.call_builtin(BuiltinIndex::table_copy, &args);
    }

    /// `table.init`
    pub(super) fn table_init(&mut self, table: u32, elem: u32) {
        let (dst, src, len) = self.pop3();
        let dst = self.index64(dst);
        let table = self.immediate(table);
        let elem = self.immediate(elem);
        self.call_builtin(BuiltinIndex::table_init, &[table, elem, dst, src, len]);
    }

    /// `elem.drop`
    pub(super) fn elem_drop(&mut self, elem: u32) {
        let elem = self.immediate(elem);
        self.call_builtin(BuiltinIndex::elem_drop, &[elem]);
    }
}

/// Is its size known and final?
fn is_fixed(ty: &TableType) -> bool {
    ty.maximum == Some(ty.minimum)
}
