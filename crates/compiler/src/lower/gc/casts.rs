//! Casts: what a reference refers to, found out at run time.
//!
//! ```text
//!   reference --> header: type id --> row of the type: its kind, and which type is above it at each depth
//! ```
//!
//! A type is below another if that one is at its own depth in the type's row; a final one is below itself only. Null reads the id 0,
//! whose row has neither kind nor types, so it is of no type until a comparison says that it is allowed.

use super::super::CompileError;
use super::super::state::{FuncLowering, POINTER};
use crate::parse::convert::heap_type;
use cowling_abi::gc_layout::TYPE_ID_OFFSET;
use cowling_abi::layout::{TypeRow, VmFuncRef};
use cowling_abi::{HeapType, Hierarchy, RefType, Trap, TypeIndex, TypeRef};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, MemFlagsData, Value, types};
use std::mem::offset_of;

/// What a reference looks like that is no object and not null: these bits are not all 0.
const NOT_OBJECT: i64 = 0x8000_0001;

/// And if it is a host value, they are these.
const HOST_VALUE: i64 = 0x8000_0000;

/// The index of a type that code names.
fn in_module(ty: TypeRef) -> TypeIndex {
    match ty {
        TypeRef::Module(ty) => ty,
        _ => unreachable!("code names types of its module"),
    }
}

/// What is known of a reference that is cast.
#[derive(Copy, Clone)]
struct Source {
    nullable: bool,
    heap: HeapType,
    /// If it is of the `any` hierarchy: is it an object or null?
    only_objects: bool,
}

impl From<RefType> for Source {
    fn from(RefType { nullable, heap }: RefType) -> Source {
        Source {
            nullable,
            heap,
            only_objects: !matches!(heap, HeapType::Any | HeapType::Eq | HeapType::I31),
        }
    }
}

/// How a cast ended.
struct Cast {
    /// Not 0 if it is of the type.
    matches: Value,
    /// The reference as one of that type.
    value: Value,
}

impl FuncLowering<'_> {
    fn convert_ref(&self, ty: wasmparser::RefType) -> Result<RefType, CompileError> {
        Ok(RefType {
            nullable: ty.is_nullable(),
            heap: self.convert_heap(ty.heap_type())?,
        })
    }

    fn convert_heap(&self, heap: wasmparser::HeapType) -> Result<HeapType, CompileError> {
        heap_type(heap, &self.env.info.types, self.offset)
    }

    /// What is known of the operand, which is cast to `target`.
    fn operand(&self, target: HeapType) -> Result<Source, CompileError> {
        let unknown = Source {
            nullable: true,
            heap: match target.hierarchy() {
                Hierarchy::Any => HeapType::Any,
                Hierarchy::Func => HeapType::Func,
                Hierarchy::Extern => HeapType::Extern,
                Hierarchy::Exn => HeapType::Exn,
            },
            only_objects: false,
        };
        match self.objects.operand {
            // The validator has names of its own for defined types. They are not functions' in this hierarchy.
            Some(ty) if ty.is_concrete_type_ref() => Ok(Source {
                nullable: ty.is_nullable(),
                only_objects: true,
                ..unknown
            }),
            Some(ty) => self.convert_ref(ty).map(Source::from),
            None => Ok(unknown),
        }
    }

    /// `ref.test`
    ///
    /// # Errors
    /// When the type is not translated.
    pub(super) fn ref_test(
        &mut self,
        target: wasmparser::HeapType,
        nullable: bool,
    ) -> Result<(), CompileError> {
        let heap = self.convert_heap(target)?;
        let source = self.operand(heap)?;
        let value = self.pop1();
        let Cast { matches, .. } = self.cast(value, source, RefType { nullable, heap });
        self.push_bool(matches);
        Ok(())
    }

    /// `ref.cast`
    ///
    /// # Errors
    /// When the type is not translated.
    pub(super) fn ref_cast(
        &mut self,
        target: wasmparser::HeapType,
        nullable: bool,
    ) -> Result<(), CompileError> {
        let heap = self.convert_heap(target)?;
        let source = self.operand(heap)?;
        let value = self.pop1();
        let Cast { matches, value } = self.cast(value, source, RefType { nullable, heap });
        let trap = super::traps::to_clif(Trap::CastFailure);
        self.builder.ins().trapz(matches, trap);
        self.push(value);
        Ok(())
    }

    /// `br_on_cast`
    ///
    /// # Errors
    /// When a type is not translated.
    pub(super) fn br_on_cast(
        &mut self,
        depth: u32,
        source: wasmparser::RefType,
        target: wasmparser::RefType,
    ) -> Result<(), CompileError> {
        let (source, target) = (self.convert_ref(source)?, self.convert_ref(target)?);
        let before = self.pop1();
        let Cast { matches, value } = self.cast(before, source.into(), target);
        self.push(value);
        self.br_if_value(depth, matches);
        self.pop1();
        self.push(before);
        Ok(())
    }

    /// `br_on_cast_fail`
    ///
    /// # Errors
    /// When a type is not translated.
    pub(super) fn br_on_cast_fail(
        &mut self,
        depth: u32,
        source: wasmparser::RefType,
        target: wasmparser::RefType,
    ) -> Result<(), CompileError> {
        let (source, target) = (self.convert_ref(source)?, self.convert_ref(target)?);
        let before = self.pop1();
        let Cast { matches, value } = self.cast(before, source.into(), target);
        self.push(before);
        let fails = self.builder.ins().icmp_imm_u(IntCC::Equal, matches, 0);
        self.br_if_value(depth, fails);
        self.pop1();
        self.push(value);
        Ok(())
    }

    /// Finds out whether a reference of one type is of another.
    fn cast(&mut self, value: Value, source: Source, target: RefType) -> Cast {
        let as_it_is = |matches| Cast { matches, value };
        let types_above = |below, above| self.is_declared_below(below, above);
        if source.heap.matches(target.heap, types_above) {
            return as_it_is(if target.nullable || !source.nullable {
                self.builder.ins().iconst(types::I8, 1)
            } else {
                self.is_not_null(value)
            });
        }
        let of_type = match target.heap {
            heap if heap.is_bottom() => {
                let matches = self.allowed_null(value, source, target);
                // What is of a bottom type is null, also where it is available without having been cast: its header may be read there.
                let value = self.zero(self.type_of(value));
                return Cast { matches, value };
            }
            HeapType::Eq => {
                let bits = self.builder.ins().band_imm_u(value, NOT_OBJECT);
                let eq = self
                    .builder
                    .ins()
                    .icmp_imm_u(IntCC::NotEqual, bits, HOST_VALUE);
                return as_it_is(if target.nullable || !source.nullable {
                    eq
                } else {
                    let not_null = self.is_not_null(value);
                    self.builder.ins().band(eq, not_null)
                });
            }
            HeapType::I31 => {
                let bit = self.builder.ins().band_imm_u(value, 1);
                let i31 = self.is_not_null(bit);
                return as_it_is(self.or_allowed_null(i31, value, source, target));
            }
            HeapType::ConcreteFunc(ty) => {
                let of_type = self.func_is(value, source, in_module(ty));
                return as_it_is(self.or_allowed_null(of_type, value, source, target));
            }
            other => other,
        };
        let object = self.object_or_null(value, source);
        let id = self.load_object_header(object, TYPE_ID_OFFSET);
        let of_type = match of_type {
            HeapType::Struct => self.kind_is(id, TypeRow::STRUCT),
            HeapType::Array => self.kind_is(id, TypeRow::ARRAY),
            HeapType::ConcreteStruct(ty) | HeapType::ConcreteArray(ty) => {
                self.id_is(id, in_module(ty))
            }
            // Tops of hierarchies: everything of them is of them.
            _ => unreachable!("handled as a type above the source"),
        };
        Cast {
            matches: self.or_allowed_null(of_type, value, source, target),
            value: object,
        }
    }

    fn is_not_null(&mut self, value: Value) -> Value {
        self.builder.ins().icmp_imm_u(IntCC::NotEqual, value, 0)
    }

    /// Is it null, which the target allows?
    fn allowed_null(&mut self, value: Value, source: Source, target: RefType) -> Value {
        if source.nullable && target.nullable {
            self.builder.ins().icmp_imm_u(IntCC::Equal, value, 0)
        } else {
            self.builder.ins().iconst(types::I8, 0)
        }
    }

    /// Is it of a type as found, or null, if that is allowed?
    fn or_allowed_null(
        &mut self,
        of_type: Value,
        value: Value,
        source: Source,
        target: RefType,
    ) -> Value {
        if source.nullable && target.nullable {
            let null = self.allowed_null(value, source, target);
            return self.builder.ins().bor(of_type, null);
        }
        of_type
    }

    /// The reference if it is to an object, and null if not.
    fn object_or_null(&mut self, value: Value, source: Source) -> Value {
        if source.only_objects {
            return value;
        }
        let bits = self.builder.ins().band_imm_u(value, NOT_OBJECT);
        let object = self.builder.ins().icmp_imm_u(IntCC::Equal, bits, 0);
        let null = self.zero(types::I32);
        self.builder.ins().select(object, value, null)
    }

    /// Is a type of this kind?
    fn kind_is(&mut self, id: Value, kind: u32) -> Value {
        let found = self.load_row(id, offset_of!(TypeRow, kind));
        (self.builder.ins()).icmp_imm_u(IntCC::Equal, found, i64::from(kind))
    }

    /// Is a function, which may be null, of a type of this module?
    fn func_is(&mut self, function: Value, source: Source, ty: TypeIndex) -> Value {
        let load = |this: &mut Self| {
            // Valid only behind the check for null, so it must stay here.
            let flags = MemFlagsData::trusted().with_readonly();
            let offset = offset_of!(VmFuncRef, type_id) as i32;
            (this.builder.ins()).load(types::I32, flags, function, offset)
        };
        debug_assert_eq!(self.type_of(function), POINTER);
        if !source.nullable {
            let id = load(self);
            return self.id_is(id, ty);
        }
        self.take_fuel();
        let check = self.create_block();
        let done = self.create_block();
        let id = self.builder.append_block_param(done, types::I32);
        let none = self.immediate(0);
        (self.builder.ins()).brif(function, check, &[], done, &[BlockArg::Value(none)]);
        self.enter(check);
        let found = load(self);
        self.builder.ins().jump(done, &[BlockArg::Value(found)]);
        self.enter(done);
        self.id_is(id, ty)
    }
}

impl FuncLowering<'_> {
    /// `ref.i31`
    pub(super) fn ref_i31(&mut self) {
        let value = self.pop1();
        let shifted = self.builder.ins().ishl_imm_u(value, 1);
        let reference = self.builder.ins().bor_imm_u(shifted, 1);
        self.push(reference);
    }

    /// `i31.get_s` and `i31.get_u`
    pub(super) fn i31_get(&mut self, signed: bool) {
        let reference = self.pop1();
        if self.may_be_null() {
            self.null_check(reference);
        }
        let ins = self.builder.ins();
        let value = match signed {
            true => ins.sshr_imm_u(reference, 1),
            false => ins.ushr_imm_u(reference, 1),
        };
        self.push(value);
    }

    /// `ref.eq`
    pub(super) fn ref_eq(&mut self) {
        let (a, b) = self.pop2();
        let equal = self.builder.ins().icmp(IntCC::Equal, a, b);
        self.push_bool(equal);
    }
}
