//! Structs: fields at constant offsets. An access to a field of null faults, and that fault is the trap.

use super::super::state::FuncLowering;
use super::{HEADER_SIZE, Size, displacement, field_region};
use cowling_abi::gc_layout::storage_size_log2;
use cowling_abi::{CompositeType, FieldType, TypeIndex};
use cranelift_codegen::ir::MemFlagsData;

impl FuncLowering<'_> {
    fn fields(&self, ty: TypeIndex) -> &[FieldType] {
        match &self.env.info.types[ty].composite {
            CompositeType::Struct(ty) => &ty.fields,
            _ => unreachable!("the validator checked that it is a struct type"),
        }
    }

    /// `struct.new_default`
    pub(super) fn struct_new_default(&mut self, ty: TypeIndex) {
        let size = self.struct_layout(ty).size;
        let object = self.new_object(ty, Size::constant(size.max(HEADER_SIZE).into()), None);
        self.push(object);
    }

    /// `struct.new`
    pub(super) fn struct_new(&mut self, ty: TypeIndex) {
        let layout = self.struct_layout(ty);
        let values = self
            .stack
            .split_off(self.stack.len() - layout.offsets.len());
        self.struct_new_default(ty);
        let object = self.pop1();
        let address = self.object_address(object);
        for (index, (&offset, &value)) in layout.offsets.iter().zip(&values).enumerate() {
            if self.is_zero(value) {
                continue;
            }
            let storage = self.fields(ty)[index].storage;
            let flags = self.flags(MemFlagsData::trusted(), field_region(offset));
            self.store_storage(storage, flags, value, address, displacement(offset));
        }
        self.push(object);
    }

    /// `struct.get`, `struct.get_s` and `struct.get_u`
    pub(super) fn struct_get(&mut self, ty: TypeIndex, field: u32, signed: bool) {
        let object = self.pop1();
        let offset = self.struct_layout(ty).offsets[field as usize];
        let storage = self.fields(ty)[field as usize].storage;
        let end = offset + (1 << storage_size_log2(storage));
        let flags = self.field_flags(object, end, field_region(offset));
        let address = self.object_address(object);
        let value = self.load_storage(storage, signed, flags, address, displacement(offset));
        self.push(value);
    }

    /// `struct.set`
    pub(super) fn struct_set(&mut self, ty: TypeIndex, field: u32) {
        let (object, value) = self.pop2();
        let offset = self.struct_layout(ty).offsets[field as usize];
        let storage = self.fields(ty)[field as usize].storage;
        let end = offset + (1 << storage_size_log2(storage));
        let flags = self.field_flags(object, end, field_region(offset));
        let address = self.object_address(object);
        self.store_storage(storage, flags, value, address, displacement(offset));
    }
}
