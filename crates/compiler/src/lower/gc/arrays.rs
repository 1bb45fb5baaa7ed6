//! Arrays: elements behind a length.
//!
//! An index is compared with the length. That of null is 0, so null needs no check on the way; what the trap is called is found out
//! behind the comparison. With the knob `spectre_mitigation` the index is replaced by 0 where it is out of bounds, also while the processor
//! only guesses that it is not. Ranges of elements are the runtime's.

use super::super::state::FuncLowering;
use super::{Size, displacement, element_region, storage_type};
use cowling_abi::builtins::BuiltinIndex;
use cowling_abi::gc_heap::{GRANULE, LARGE_OBJECT};
use cowling_abi::gc_layout::ARRAY_LENGTH_OFFSET;
use cowling_abi::{CompositeType, FieldType, StorageType, Trap, TypeIndex};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, MemFlagsData, Value, types};

impl FuncLowering<'_> {
    fn element_type(&self, ty: TypeIndex) -> FieldType {
        match &self.env.info.types[ty].composite {
            CompositeType::Array(ty) => ty.element,
            _ => unreachable!("the validator checked that it is an array type"),
        }
    }

    /// Makes an array of `len` elements, all 0.
    fn new_array(&mut self, ty: TypeIndex, len: Value) -> Value {
        let layout = self.array_layout(ty);
        if let Some(constant) = self.constant(len) {
            let size = Size::constant(layout.size(constant as u32));
            return self.new_object(ty, size, Some(len));
        }
        let len64 = self.builder.ins().uextend(types::I64, len);
        let shift = i64::from(layout.element_size_log2);
        let bytes = self.builder.ins().ishl_imm_u(len64, shift);
        let up = i64::from(layout.first + GRANULE - 1);
        let bytes = self.builder.ins().iadd_imm_s(bytes, up);
        let whole = -i64::from(GRANULE);
        let size = self.builder.ins().band_imm_s(bytes, whole);
        let limit = i64::from(LARGE_OBJECT);
        let cond = IntCC::UnsignedGreaterThanOrEqual;
        let too_large = self.builder.ins().icmp_imm_u(cond, size, limit);
        self.new_object(ty, Size::Value { size, too_large }, Some(len))
    }

    /// `array.new_default`
    pub(super) fn array_new_default(&mut self, ty: TypeIndex) {
        let len = self.pop1();
        let array = self.new_array(ty, len);
        self.push(array);
    }

    /// `array.new`
    pub(super) fn array_new(&mut self, ty: TypeIndex) {
        let (value, len) = self.pop2();
        let value = self.canonical(value);
        let array = self.new_array(ty, len);
        if !self.is_zero(value) {
            let zero = self.immediate(0);
            self.fill_elements(ty, array, zero, value, len);
        }
        self.push(array);
    }

    /// `array.new_fixed`
    pub(super) fn array_new_fixed(&mut self, ty: TypeIndex, len: u32) {
        let element = self.element_type(ty);
        let layout = self.array_layout(ty);
        let values = self.stack.split_off(self.stack.len() - len as usize);
        let len = self.immediate(len);
        let array = self.new_array(ty, len);
        let address = self.object_address(array);
        let flags = self.flags(MemFlagsData::trusted(), element_region(&element));
        for (index, &value) in values.iter().enumerate() {
            if !self.is_zero(value) {
                // There are at most 10,000 values.
                let offset = layout.size(index as u32) as u32;
                self.store_storage(element.storage, flags, value, address, displacement(offset));
            }
        }
        self.push(array);
    }

    /// `array.new_data` and `array.new_elem`
    pub(super) fn array_new_segment(&mut self, builtin: BuiltinIndex, ty: u32, segment: u32) {
        let (start, len) = self.pop2();
        let ty = self.immediate(ty);
        let segment = self.immediate(segment);
        let array = self.call_builtin_for_result(builtin, &[ty, segment, start, len]);
        self.push(array);
    }

    fn load_len(&mut self, array: Value) -> Value {
        self.load_object_header(array, ARRAY_LENGTH_OFFSET)
    }

    /// `array.len`
    pub(super) fn array_len(&mut self) {
        let array = self.pop1();
        if self.may_be_null() {
            self.null_check(array);
        }
        let len = self.load_len(array);
        self.push(len);
    }

    /// The address of an element less what its array's reference is displaced by, and the displacement. Traps if there is none.
    fn element_address(&mut self, ty: TypeIndex, array: Value, index: Value) -> (Value, i32) {
        let layout = self.array_layout(ty);
        let len = self.load_len(array);
        let cond = IntCC::UnsignedGreaterThanOrEqual;
        let outside = self.builder.ins().icmp(cond, index, len);
        if self.may_be_null() {
            let trap = self.create_block();
            self.builder.set_cold_block(trap);
            let inside = self.create_block();
            self.builder.ins().brif(outside, trap, &[], inside, &[]);
            self.enter(trap);
            self.null_check(array);
            self.trap(Trap::ArrayOutOfBounds);
            self.enter(inside);
        } else {
            self.trap_if(outside, Trap::ArrayOutOfBounds);
        }
        let mut index = self.index64(index);
        if self.env.knobs.spectre_mitigation {
            let zero = self.zero(types::I64);
            let ins = self.builder.ins();
            index = ins.select_spectre_guard(outside, zero, index);
        }
        let address = self.object_address(array);
        let shift = i64::from(layout.element_size_log2);
        let distance = self.builder.ins().ishl_imm_u(index, shift);
        let address = self.builder.ins().iadd(address, distance);
        (address, displacement(layout.first))
    }

    /// `array.get`, `array.get_s` and `array.get_u`
    pub(super) fn array_get(&mut self, ty: TypeIndex, signed: bool) {
        let (array, index) = self.pop2();
        let element = self.element_type(ty);
        let (address, offset) = self.element_address(ty, array, index);
        let flags = self.flags(MemFlagsData::trusted(), element_region(&element));
        let value = self.load_storage(element.storage, signed, flags, address, offset);
        self.push(value);
    }

    /// `array.set`
    pub(super) fn array_set(&mut self, ty: TypeIndex) {
        let (array, index, value) = self.pop3();
        let element = self.element_type(ty);
        let (address, offset) = self.element_address(ty, array, index);
        let flags = self.flags(MemFlagsData::trusted(), element_region(&element));
        self.store_storage(element.storage, flags, value, address, offset);
    }

    // --- ranges ---

    /// `array.fill`
    pub(super) fn array_fill(&mut self, ty: TypeIndex) {
        let (value, len) = self.pop2();
        let value = self.canonical(value);
        let (array, start) = self.pop2();
        if self.may_be_null() {
            self.null_check(array);
        }
        let (low, high) = self.value_bits(value);
        let args = [array, start, low, high, len];
        debug_assert_eq!(
            self.type_of(value),
            storage_type(self.element_type(ty).storage)
        );
        self.call_builtin(BuiltinIndex::array_fill, &args);
    }

    /// Assigns the elements of a new array, the first `len`: large ones and those of packed elements in the runtime.
    fn fill_elements(
        &mut self,
        ty: TypeIndex,
        array: Value,
        start: Value,
        value: Value,
        len: Value,
    ) {
        let element = self.element_type(ty);
        let (low, high) = self.value_bits(value);
        let args = [array, start, low, high, len];
        if matches!(element.storage, StorageType::I8 | StorageType::I16) {
            self.call_builtin(BuiltinIndex::array_fill, &args);
            return;
        }
        // A loop without checks: what calls it makes it short, or asked for that much memory.
        self.take_fuel();
        let layout = self.array_layout(ty);
        let address = self.object_address(array);
        let flags = self.flags(MemFlagsData::trusted(), element_region(&element));
        let size = self.builder.ins().uextend(types::I64, len);
        let shift = i64::from(layout.element_size_log2);
        let size = self.builder.ins().ishl_imm_u(size, shift);
        let end = self.builder.ins().iadd(address, size);
        let header = self.create_block();
        let place = self.builder.append_block_param(header, types::I64);
        let body = self.create_block();
        let done = self.create_block();
        self.builder.ins().jump(header, &[BlockArg::Value(address)]);
        self.builder.switch_to_block(header);
        let more = self.builder.ins().icmp(IntCC::UnsignedLessThan, place, end);
        self.builder.ins().brif(more, body, &[], done, &[]);
        self.enter(body);
        let offset = displacement(layout.first);
        self.store_storage(element.storage, flags, value, place, offset);
        let step = 1 << layout.element_size_log2;
        let next = self.builder.ins().iadd_imm_s(place, step);
        self.builder.ins().jump(header, &[BlockArg::Value(next)]);
        self.builder.seal_block(header);
        self.enter(done);
    }

    /// A value as two numbers of 64 bits, the lower ones first.
    fn value_bits(&mut self, value: Value) -> (Value, Value) {
        let zero = self.zero(types::I64);
        match self.type_of(value) {
            types::I64 => (value, zero),
            types::I32 => (self.builder.ins().uextend(types::I64, value), zero),
            types::F32 => {
                let bits = self.bits(types::I32, value);
                (self.builder.ins().uextend(types::I64, bits), zero)
            }
            types::F64 => (self.bits(types::I64, value), zero),
            _ => {
                let lanes = self.as_vector(value, types::I64X2);
                let low = self.builder.ins().extractlane(lanes, 0);
                (low, self.builder.ins().extractlane(lanes, 1))
            }
        }
    }

    fn bits(&mut self, ty: types::Type, value: Value) -> Value {
        self.builder.ins().bitcast(ty, MemFlagsData::new(), value)
    }

    /// `array.copy`
    pub(super) fn array_copy(&mut self) {
        let (src, src_start, len) = self.pop3();
        let (dst, dst_start) = self.pop2();
        // Only one operand's type is known.
        self.null_check(dst);
        self.null_check(src);
        let args = [dst, dst_start, src, src_start, len];
        self.call_builtin(BuiltinIndex::array_copy, &args);
    }

    /// `array.init_data` and `array.init_elem`
    pub(super) fn array_init(&mut self, builtin: BuiltinIndex, segment: u32) {
        let (start, src, len) = self.pop3();
        let array = self.pop1();
        if self.may_be_null() {
            self.null_check(array);
        }
        let segment = self.immediate(segment);
        self.call_builtin(builtin, &[array, start, segment, src, len]);
    }
}
