//! Calls through tables that never change: what is in them is known, and listed beside the code. See
//! [`fixed_tables`](crate::fixed_tables) for the list.
//!
//! ```text
//!   index ── inside? ── element of the list ── type as expected? ── list + distance ── call
//!              │ no                               │ no
//!              └─ trap                            └─ trap: null, or of another type
//! ```

use super::call::Callee;
use super::state::{FuncLowering, POINTER};
use super::traps;
use crate::code::Piece;
use crate::fixed_tables::{ELEMENT_SIZE, FixedCall};
use cowling_abi::Trap;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    ExternalName, GlobalValueData, InstBuilder, MemFlagsData, Value, types,
};

impl FuncLowering<'_> {
    /// The function at an index of a fixed table. Traps if there is none, or one of another type.
    pub(super) fn fixed_callee(&mut self, call: &FixedCall, index: Value) -> Callee {
        let env = self.env;
        if let Some(index) = self.constant(index)
            && let Some(function) = env.fixed_tables.callee(env.info, call, index)
        {
            return Callee::Direct(self.callee(function));
        }
        let list = self.list(call);
        let index = self.index64(index);
        let shift = i64::from(ELEMENT_SIZE.trailing_zeros());
        let distance = self.builder.ins().ishl_imm_u(index, shift);
        let address = self.builder.ins().iadd(list, distance);
        let table = env.info.table_index(call.table);
        let len = env.info.tables[table].minimum as i64;
        let cond = IntCC::UnsignedGreaterThanOrEqual;
        let outside = self.builder.ins().icmp_imm_u(cond, index, len);
        let flags = MemFlagsData::trusted().with_readonly();
        let (address, flags) = self.keep_inside(address, outside, flags);
        let element = self.builder.ins().load(types::I64, flags, address, 0);

        let found = self.builder.ins().ireduce(types::I32, element);
        let cond = IntCC::NotEqual;
        let expected = i64::from(call.number);
        let differ = self.builder.ins().icmp_imm_u(cond, found, expected);
        let wrong = self.create_block_in(true);
        let next = self.create_block();
        self.builder.ins().brif(differ, wrong, &[], next, &[]);
        self.enter(wrong);
        let null = traps::to_clif(Trap::IndirectCallToNull);
        self.builder.ins().trapz(found, null);
        self.builder.ins().trap(traps::to_clif(Trap::BadSignature));
        self.enter(next);
        let distance = self.builder.ins().ushr_imm_u(element, 32);
        Callee::Indirect(self.builder.ins().iadd(list, distance))
    }

    /// The address of a table's list.
    fn list(&mut self, call: &FixedCall) -> Value {
        let list = match self.lists.get(&call.table) {
            Some(&known) => known,
            None => {
                let name = Piece::List(call.table).name();
                let name = self.builder.func.declare_imported_user_function(name);
                let list = self.builder.create_global_value(GlobalValueData::Symbol {
                    name: ExternalName::user(name),
                    offset: 0.into(),
                    colocated: true,
                    tls: false,
                });
                self.lists.insert(call.table, list);
                list
            }
        };
        self.builder.ins().symbol_value(POINTER, list)
    }
}
