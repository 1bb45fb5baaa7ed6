//! Structs, arrays, 31-bit numbers, casts.
//!
//! ```text
//!   structs   struct.new, struct.get, struct.set
//!   arrays    array.new, array.get, array.set, ranges of elements
//!   casts     ref.test, ref.cast, br_on_cast, i31, ref.eq
//!   this      which operator goes where; where objects are, and how they are made
//! ```
//!
//! An object is at the heap's base plus its reference; [`cowling_abi::gc_heap`] draws that. An object's header never changes, and there
//! is one for null, too, of zeros. So loads of it are pure: the code generator may merge them, move them out of loops and past calls.
//!
//! # Invariant
//!
//! A value whose type says that it is null or refers to a struct or array is one of these wherever the value is available, not only behind
//! the operator that found out: its header may be read earlier. So a cast from a type that has other references in it does not
//! hand on the value it was given, but one that is null if that was no object.

mod arrays;
mod casts;
mod structs;

use super::CompileError;
use super::regions::Region;
use super::state::{FuncLowering, POINTER};
use super::traps;
use cowling_abi::builtins::BuiltinIndex;
use cowling_abi::gc_heap::{
    GRANULE, HEADER_SIZE, HEAP_FIRST, LARGE_OBJECT, STARTS_DISTANCE, VmGcHeap,
};
use cowling_abi::gc_layout::{ArrayLayout, GcLayout, StructLayout};
use cowling_abi::layout::{StoreContext, VmHeader};
use cowling_abi::{FieldType, StorageType, Trap, TypeIndex, ValType};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlagsData, Value, types};
use std::collections::HashMap;
use std::mem::offset_of;
use std::rc::Rc;
use wasmparser::Operator;

/// What lowering knows of objects in one function.
#[derive(Default)]
pub(super) struct Objects {
    /// Layouts of types that the function uses.
    layouts: HashMap<TypeIndex, Layout>,
    /// The type of the operand that the current operator takes for an object; `None` if it is not known.
    operand: Option<wasmparser::RefType>,
}

/// How objects of a type are laid out. A struct may have ten thousand fields.
#[derive(Clone)]
enum Layout {
    Struct(Rc<StructLayout>),
    Array(ArrayLayout),
}

/// Which operand of an operator is the object that it is about, counted from the topmost.
fn object_operand(operator: &Operator<'_>) -> Option<usize> {
    use Operator as O;
    Some(match operator {
        O::StructGet { .. }
        | O::StructGetS { .. }
        | O::StructGetU { .. }
        | O::ArrayLen
        | O::I31GetS
        | O::I31GetU
        | O::RefTestNonNull { .. }
        | O::RefTestNullable { .. }
        | O::RefCastNonNull { .. }
        | O::RefCastNullable { .. } => 0,
        O::StructSet { .. } | O::ArrayGet { .. } | O::ArrayGetS { .. } | O::ArrayGetU { .. } => 1,
        O::ArraySet { .. } => 2,
        O::ArrayFill { .. } => 3,
        O::ArrayInitData { .. } | O::ArrayInitElem { .. } => 3,
        O::ArrayCopy { .. } => 4,
        _ => return None,
    })
}

impl FuncLowering<'_> {
    /// Looks at the types of an operator's operands, before the validator takes them away.
    pub(super) fn note_operand(
        &mut self,
        operator: &Operator<'_>,
        operand: impl FnOnce(usize) -> Option<wasmparser::ValType>,
    ) {
        if let Some(depth) = object_operand(operator) {
            self.objects.operand = match operand(depth) {
                Some(wasmparser::ValType::Ref(ty)) => Some(ty),
                _ => None,
            };
        }
    }

    /// May the object that the current operator is about be null?
    fn may_be_null(&self) -> bool {
        self.objects.operand.is_none_or(|ty| ty.is_nullable())
    }

    /// Lowers an operator of this family. Says whether it is one.
    ///
    /// # Errors
    /// When something is not translated.
    pub(super) fn lower_gc(&mut self, operator: &Operator<'_>) -> Result<bool, CompileError> {
        use Operator as O;
        let ty = TypeIndex::from_u32;
        match *operator {
            O::StructNew { struct_type_index } => self.struct_new(ty(struct_type_index)),
            O::StructNewDefault { struct_type_index } => {
                self.struct_new_default(ty(struct_type_index));
            }
            O::StructGet {
                struct_type_index,
                field_index,
            }
            | O::StructGetU {
                struct_type_index,
                field_index,
            } => self.struct_get(ty(struct_type_index), field_index, false),
            O::StructGetS {
                struct_type_index,
                field_index,
            } => self.struct_get(ty(struct_type_index), field_index, true),
            O::StructSet {
                struct_type_index,
                field_index,
            } => self.struct_set(ty(struct_type_index), field_index),

            O::ArrayNew { array_type_index } => self.array_new(ty(array_type_index)),
            O::ArrayNewDefault { array_type_index } => {
                self.array_new_default(ty(array_type_index));
            }
            O::ArrayNewFixed {
                array_type_index,
                array_size,
            } => self.array_new_fixed(ty(array_type_index), array_size),
            O::ArrayNewData {
                array_type_index,
                array_data_index,
            } => self.array_new_segment(
                BuiltinIndex::array_new_data,
                array_type_index,
                array_data_index,
            ),
            O::ArrayNewElem {
                array_type_index,
                array_elem_index,
            } => self.array_new_segment(
                BuiltinIndex::array_new_elem,
                array_type_index,
                array_elem_index,
            ),
            O::ArrayGet { array_type_index } | O::ArrayGetU { array_type_index } => {
                self.array_get(ty(array_type_index), false);
            }
            O::ArrayGetS { array_type_index } => self.array_get(ty(array_type_index), true),
            O::ArraySet { array_type_index } => self.array_set(ty(array_type_index)),
            O::ArrayLen => self.array_len(),
            O::ArrayFill { array_type_index } => self.array_fill(ty(array_type_index)),
            O::ArrayCopy { .. } => self.array_copy(),
            O::ArrayInitData {
                array_data_index, ..
            } => self.array_init(BuiltinIndex::array_init_data, array_data_index),
            O::ArrayInitElem {
                array_elem_index, ..
            } => self.array_init(BuiltinIndex::array_init_elem, array_elem_index),

            O::RefI31 => self.ref_i31(),
            O::I31GetS => self.i31_get(true),
            O::I31GetU => self.i31_get(false),
            O::RefEq => self.ref_eq(),
            // References of both hierarchies look the same.
            O::AnyConvertExtern | O::ExternConvertAny => {}
            O::RefTestNonNull { hty } => self.ref_test(hty, false)?,
            O::RefTestNullable { hty } => self.ref_test(hty, true)?,
            O::RefCastNonNull { hty } => self.ref_cast(hty, false)?,
            O::RefCastNullable { hty } => self.ref_cast(hty, true)?,
            O::BrOnCast {
                relative_depth,
                from_ref_type,
                to_ref_type,
            } => self.br_on_cast(relative_depth, from_ref_type, to_ref_type)?,
            O::BrOnCastFail {
                relative_depth,
                from_ref_type,
                to_ref_type,
            } => self.br_on_cast_fail(relative_depth, from_ref_type, to_ref_type)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    // --- types ---

    fn object_layout(&mut self, ty: TypeIndex) -> Layout {
        if let Some(known) = self.objects.layouts.get(&ty) {
            return known.clone();
        }
        let layout = GcLayout::new(&self.env.info.types[ty].composite);
        let layout = match layout.expect("the validator checked that it is a type of objects") {
            GcLayout::Struct(layout) => Layout::Struct(Rc::new(layout)),
            GcLayout::Array(layout) => Layout::Array(layout),
        };
        self.objects.layouts.insert(ty, layout.clone());
        layout
    }

    fn struct_layout(&mut self, ty: TypeIndex) -> Rc<StructLayout> {
        match self.object_layout(ty) {
            Layout::Struct(layout) => layout,
            Layout::Array(_) => unreachable!("the validator checked that it is a struct type"),
        }
    }

    fn array_layout(&mut self, ty: TypeIndex) -> ArrayLayout {
        match self.object_layout(ty) {
            Layout::Array(layout) => layout,
            Layout::Struct(_) => unreachable!("the validator checked that it is an array type"),
        }
    }

    // --- where objects are ---

    fn store_context(&mut self) -> Value {
        self.load_header(offset_of!(VmHeader, store))
    }

    /// What references count from.
    fn heap_base(&mut self) -> Value {
        let store = self.store_context();
        let offset = (offset_of!(StoreContext, gc_heap) + offset_of!(VmGcHeap, base)) as i32;
        if self.env.info.has_object_types() {
            self.load_constant_field(POINTER, store, offset)
        } else {
            // The store may get its heap while this code has called somebody else.
            self.load_field(POINTER, store, offset)
        }
    }

    /// The address of what a reference refers to: behind its header.
    fn object_address(&mut self, reference: Value) -> Value {
        let base = self.heap_base();
        let distance = self.builder.ins().uextend(types::I64, reference);
        self.builder.ins().iadd(base, distance)
    }

    /// Loads 32 bits of an object's header, or of null's, by their offset from its start.
    fn load_object_header(&mut self, reference: Value, offset: u32) -> Value {
        let address = self.object_address(reference);
        let flags = if self.env.info.has_object_types() {
            MemFlagsData::trusted().with_readonly().with_can_move()
        } else {
            MemFlagsData::trusted().with_readonly()
        };
        let offset = offset as i32 - HEADER_SIZE as i32;
        self.builder.ins().load(types::I32, flags, address, offset)
    }

    /// Traps if a reference is null.
    fn null_check(&mut self, reference: Value) {
        let trap = traps::to_clif(Trap::NullReference);
        self.builder.ins().trapz(reference, trap);
    }

    /// Flags for accesses to a field that ends at `end`, counted from the object's start. If the object may be null, the access
    /// traps, or a check before it does.
    fn field_flags(&mut self, reference: Value, end: u32, region: Region) -> MemFlagsData {
        let flags = self.flags(MemFlagsData::trusted(), region);
        if !self.may_be_null() {
            return flags;
        }
        if end > HEAP_FIRST {
            self.null_check(reference);
            return flags;
        }
        flags.with_trap_code(Some(traps::to_clif(Trap::NullReference)))
    }

    /// Loads a field or element.
    fn load_storage(
        &mut self,
        storage: StorageType,
        signed: bool,
        flags: MemFlagsData,
        address: Value,
        offset: i32,
    ) -> Value {
        let ins = self.builder.ins();
        match (storage, signed) {
            (StorageType::I8, false) => ins.uload8(types::I32, flags, address, offset),
            (StorageType::I8, true) => ins.sload8(types::I32, flags, address, offset),
            (StorageType::I16, false) => ins.uload16(types::I32, flags, address, offset),
            (StorageType::I16, true) => ins.sload16(types::I32, flags, address, offset),
            (StorageType::Val(ty), _) => ins.load(super::clif_type(ty), flags, address, offset),
        }
    }

    /// Stores a field or element.
    fn store_storage(
        &mut self,
        storage: StorageType,
        flags: MemFlagsData,
        value: Value,
        address: Value,
        offset: i32,
    ) {
        let value = self.canonical(value);
        let ins = self.builder.ins();
        match storage {
            StorageType::I8 => ins.istore8(flags, value, address, offset),
            StorageType::I16 => ins.istore16(flags, value, address, offset),
            StorageType::Val(_) => ins.store(flags, value, address, offset),
        };
    }

    /// Is it the value that new objects have there anyway?
    fn is_zero(&self, value: Value) -> bool {
        self.constant(value) == Some(0)
    }

    // --- making objects ---

    /// Makes an object with all contents 0. `size` is what it takes, as a value or a constant, a multiple of a granule; `word` an
    /// array's length.
    fn new_object(&mut self, ty: TypeIndex, size: Size, word: Option<Value>) -> Value {
        // Paths meet.
        self.take_fuel();
        let type_id = self.type_id(ty);
        let store = self.store_context();
        let field = |offset: usize| (offset_of!(StoreContext, gc_heap) + offset) as i32;
        let (next_field, limit_field, cycle_field) = (
            field(offset_of!(VmGcHeap, next)),
            field(offset_of!(VmGcHeap, limit)),
            field(offset_of!(VmGcHeap, cycle)),
        );
        let flags = self.flags(MemFlagsData::trusted(), Region::Allocation);
        if matches!(size, Size::Constant(size) if size >= LARGE_OBJECT.into()) {
            return self.call_gc_new(type_id, word);
        }
        let ins = self.builder.ins();
        let next = ins.load(types::I64, flags, store, next_field);
        let limit = self
            .builder
            .ins()
            .load(types::I64, flags, store, limit_field);
        let (end, too_large) = match size {
            Size::Constant(size) => (self.builder.ins().iadd_imm_s(next, size as i64), None),
            Size::Value { size, too_large } => {
                (self.builder.ins().iadd(next, size), Some(too_large))
            }
        };
        let cond = IntCC::UnsignedGreaterThan;
        let mut no_room = self.builder.ins().icmp(cond, end, limit);
        if let Some(too_large) = too_large {
            no_room = self.builder.ins().bor(no_room, too_large);
        }
        let slow = self.create_block();
        self.builder.set_cold_block(slow);
        let fast = self.create_block();
        let done = self.create_block();
        let object = self.builder.append_block_param(done, types::I32);
        self.builder.ins().brif(no_room, slow, &[], fast, &[]);

        self.enter(slow);
        let made = self.call_gc_new(type_id, word);
        self.builder.ins().jump(done, &[BlockArg::Value(made)]);

        self.enter(fast);
        self.builder.ins().store(flags, end, store, next_field);
        let base = self.heap_base();
        let address = self.builder.ins().iadd(base, next);
        let header = self.flags(MemFlagsData::trusted(), Region::ObjectHeaders);
        let start = -(HEADER_SIZE as i32);
        self.builder.ins().store(header, type_id, address, start);
        if let Some(word) = word {
            self.builder.ins().store(header, word, address, start + 4);
        }
        let cycle = self
            .builder
            .ins()
            .uload8(types::I32, flags, store, cycle_field);
        let granule = i64::from(GRANULE.trailing_zeros());
        let granule = self.builder.ins().ushr_imm_u(next, granule);
        let place = self.builder.ins().iadd(base, granule);
        let starts = self.flags(MemFlagsData::trusted(), Region::ObjectStarts);
        let distance = -(STARTS_DISTANCE as i32);
        self.builder.ins().istore8(starts, cycle, place, distance);
        let made = self.builder.ins().ireduce(types::I32, next);
        self.builder.ins().jump(done, &[BlockArg::Value(made)]);

        self.enter(done);
        object
    }

    /// Has the runtime make an object.
    fn call_gc_new(&mut self, type_id: Value, word: Option<Value>) -> Value {
        self.store_fuel();
        let (code, signature) = self.builtin(BuiltinIndex::gc_new);
        let word = match word {
            Some(word) => word,
            None => self.immediate(0),
        };
        let args = [self.vmctx, type_id, word];
        (self.builder.ins()).call_indirect(signature, code, &args);
        let store = self.store_context();
        let made = offset_of!(StoreContext, gc_heap) + offset_of!(VmGcHeap, made);
        let flags = self.flags(MemFlagsData::trusted(), Region::Allocation);
        self.builder
            .ins()
            .load(types::I32, flags, store, made as i32)
    }
}

/// How many bytes an object takes.
#[derive(Copy, Clone)]
enum Size {
    Constant(u64),
    /// Not known before; and a condition under which it is too large for compiled code to make it.
    Value {
        size: Value,
        too_large: Value,
    },
}

impl Size {
    /// A whole number of granules.
    fn constant(bytes: u64) -> Size {
        Size::Constant(bytes.next_multiple_of(u64::from(GRANULE)))
    }
}

/// The alias region of a struct's field. The same field of a subtype is at the same offset.
fn field_region(offset: u32) -> Region {
    Region::StructFields(offset / 4)
}

/// The alias region of an array's elements: those of different width, or kind of register, are in different arrays.
fn element_region(element: &FieldType) -> Region {
    let ty = match element.storage {
        StorageType::I8 => 0,
        StorageType::I16 => 1,
        StorageType::Val(ty) => match super::clif_type(ty) {
            types::I32 if matches!(ty, ValType::Ref(_)) => 2,
            types::I32 => 3,
            types::I64 if matches!(ty, ValType::Ref(_)) => 4,
            types::I64 => 5,
            types::F32 => 6,
            types::F64 => 7,
            _ => 8,
        },
    };
    Region::ArrayElements(ty)
}

/// The immediate by which a field is reached from what a reference refers to.
fn displacement(offset: u32) -> i32 {
    offset as i32 - HEADER_SIZE as i32
}

/// The CLIF type of a value in a field or element.
fn storage_type(storage: StorageType) -> ir::Type {
    match storage {
        StorageType::I8 | StorageType::I16 => types::I32,
        StorageType::Val(ty) => super::clif_type(ty),
    }
}
