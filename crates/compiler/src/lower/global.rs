//! `global.get` and `global.set`.
//!
//! A defined global lies in the VMContext, an imported one behind a pointer there. One that nobody can assign is loaded like a
//! constant, or is one if its initial value is.

use super::regions::Region;
use super::state::{FuncLowering, POINTER};
use super::types::clif_type;
use cowling_abi::GlobalIndex;
use cowling_abi::module::ConstOp;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};

impl FuncLowering<'_> {
    /// `global.get`
    pub(super) fn global_get(&mut self, index: u32) {
        let index = GlobalIndex::from_u32(index);
        let ty = self.env.info.globals[index];
        if !ty.mutable
            && let Some(constant) = self.constant_global(index)
        {
            return self.push(constant);
        }
        let (base, offset) = self.global_place(index);
        let clif = clif_type(ty.content);
        let value = if ty.mutable {
            let flags = self.global_flags(index);
            self.builder.ins().load(clif, flags, base, offset)
        } else {
            self.load_constant_field(clif, base, offset)
        };
        self.push(value);
    }

    /// `global.set`
    pub(super) fn global_set(&mut self, index: u32) {
        let index = GlobalIndex::from_u32(index);
        let value = self.pop1();
        let (base, offset) = self.global_place(index);
        let flags = self.global_flags(index);
        self.builder.ins().store(flags, value, base, offset);
    }

    /// The value of a number that is the same in every instance.
    fn constant_global(&mut self, index: GlobalIndex) -> Option<Value> {
        let env = self.env;
        let init = &env.info.global_inits[env.info.defined_global(index)?];
        let &[op] = init.ops.as_slice() else {
            return None;
        };
        let ins = self.builder.ins();
        Some(match op {
            ConstOp::I32Const(value) => ins.iconst(types::I32, i64::from(value as u32)),
            ConstOp::I64Const(value) => ins.iconst(types::I64, value),
            _ => return None,
        })
    }

    /// A value and a constant that together are a global's address.
    fn global_place(&mut self, index: GlobalIndex) -> (Value, i32) {
        let env = self.env;
        match env.info.defined_global(index) {
            Some(defined) => (self.vmctx, env.layout.defined_global(defined)),
            None => {
                let pointer = env.layout.imported_global(index);
                (self.load_constant_field(POINTER, self.vmctx, pointer), 0)
            }
        }
    }

    fn global_flags(&mut self, index: GlobalIndex) -> MemFlagsData {
        let region = Region::Global(self.env.info.defined_global(index));
        self.flags(MemFlagsData::trusted(), region)
    }
}
