//! Which types are below which, at run time.
//!
//! A type is below another if that one is at its own depth in the type's row; a final one is below itself only. Types are named by
//! their engine-wide ids. No type has id 0.

use super::state::FuncLowering;
use cowling_abi::builtins::BuiltinIndex;
use cowling_abi::layout::{DISPLAY_LEN, TypeRow, VmHeader};
use cowling_abi::{TypeIndex, TypeRef};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use std::mem::offset_of;

impl FuncLowering<'_> {
    /// The engine-wide id of a type of this module.
    pub(super) fn type_id(&mut self, ty: TypeIndex) -> Value {
        let type_ids = self.load_header(offset_of!(VmHeader, type_ids));
        let offset = (ty.as_u32() * size_of::<u32>() as u32) as i32;
        self.load_constant_field(types::I32, type_ids, offset)
    }

    /// How many types are above one of this module.
    fn depth(&self, ty: TypeIndex) -> usize {
        let mut next = self.env.info.types[ty].supertype;
        let mut depth = 0;
        while let Some(TypeRef::Module(above)) = next {
            depth += 1;
            next = self.env.info.types[above].supertype;
        }
        depth
    }

    /// Is a type of this module declared below another one, or the same?
    pub(super) fn is_declared_below(&self, below: TypeRef, above: TypeRef) -> bool {
        let mut next = Some(below);
        while let Some(ty) = next {
            if ty == above {
                return true;
            }
            let TypeRef::Module(index) = ty else {
                return false;
            };
            next = self.env.info.types[index].supertype;
        }
        false
    }

    /// A field of a type's row.
    pub(super) fn load_row(&mut self, id: Value, offset: usize) -> Value {
        let rows = self.load_header(offset_of!(VmHeader, type_rows));
        let id = self.builder.ins().uextend(types::I64, id);
        let shift = i64::from(size_of::<TypeRow>().trailing_zeros());
        let distance = self.builder.ins().ishl_imm_u(id, shift);
        let row = self.builder.ins().iadd(rows, distance);
        self.load_constant_field(types::I32, row, offset as i32)
    }

    /// Is a type one of this module, or below it?
    pub(super) fn id_is(&mut self, id: Value, ty: TypeIndex) -> Value {
        let expected = self.type_id(ty);
        if self.env.info.types[ty].is_final {
            return self.builder.ins().icmp(IntCC::Equal, id, expected);
        }
        let depth = self.depth(ty);
        if depth < DISPLAY_LEN {
            let offset = offset_of!(TypeRow, display) + depth * size_of::<u32>();
            let found = self.load_row(id, offset);
            return self.builder.ins().icmp(IntCC::Equal, found, expected);
        }
        // Paths meet.
        self.take_fuel();
        let found = self.call_builtin_for_result(BuiltinIndex::is_subtype, &[id, expected]);
        self.builder.ins().icmp_imm_u(IntCC::NotEqual, found, 0)
    }
}
