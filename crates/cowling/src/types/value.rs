//! Types of values.

use super::defined::{ArrayType, FuncType, StructType};
use super::entity::ExnType;
use crate::error::Result;
use crate::val::Val;
use cowling_abi as abi;
use cowling_vm::{RegisteredType, TypeRegistry};
use std::fmt;
use std::sync::Arc;

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 128-bit vector.
    V128,
    /// A reference.
    Ref(RefType),
}

impl ValType {
    /// `funcref`: a function or null.
    pub const FUNCREF: ValType = ValType::Ref(RefType::FUNCREF);
    /// `nullfuncref`: null, for a function.
    pub const NULLFUNCREF: ValType = ValType::Ref(RefType::NULLFUNCREF);
    /// `externref`: a host value or null.
    pub const EXTERNREF: ValType = ValType::Ref(RefType::EXTERNREF);
    /// `nullexternref`: null, for a host value.
    pub const NULLEXTERNREF: ValType = ValType::Ref(RefType::NULLEXTERNREF);
    /// `exnref`: an exception or null.
    pub const EXNREF: ValType = ValType::Ref(RefType::EXNREF);
    /// `nullexnref`: null, for an exception.
    pub const NULLEXNREF: ValType = ValType::Ref(RefType::NULLEXNREF);
    /// `anyref`: anything that guests make themselves, or null.
    pub const ANYREF: ValType = ValType::Ref(RefType::ANYREF);
    /// `eqref`: anything that can be compared, or null.
    pub const EQREF: ValType = ValType::Ref(RefType::EQREF);
    /// `i31ref`: a 31-bit integer or null.
    pub const I31REF: ValType = ValType::Ref(RefType::I31REF);
    /// `structref`: a struct or null.
    pub const STRUCTREF: ValType = ValType::Ref(RefType::STRUCTREF);
    /// `arrayref`: an array or null.
    pub const ARRAYREF: ValType = ValType::Ref(RefType::ARRAYREF);
    /// `nullref`: null, for anything that guests make themselves.
    pub const NULLREF: ValType = ValType::Ref(RefType::NULLREF);

    /// Is it a number: `i32`, `i64`, `f32` or `f64`?
    pub fn is_num(&self) -> bool {
        matches!(
            self,
            ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64
        )
    }

    /// Is it `i32`?
    pub fn is_i32(&self) -> bool {
        matches!(self, ValType::I32)
    }

    /// Is it `i64`?
    pub fn is_i64(&self) -> bool {
        matches!(self, ValType::I64)
    }

    /// Is it `f32`?
    pub fn is_f32(&self) -> bool {
        matches!(self, ValType::F32)
    }

    /// Is it `f64`?
    pub fn is_f64(&self) -> bool {
        matches!(self, ValType::F64)
    }

    /// Is it `v128`?
    pub fn is_v128(&self) -> bool {
        matches!(self, ValType::V128)
    }

    /// Is it a reference?
    pub fn is_ref(&self) -> bool {
        matches!(self, ValType::Ref(_))
    }

    /// Is it `funcref`?
    pub fn is_funcref(&self) -> bool {
        *self == ValType::FUNCREF
    }

    /// Is it `externref`?
    pub fn is_externref(&self) -> bool {
        *self == ValType::EXTERNREF
    }

    /// Is it `anyref`?
    pub fn is_anyref(&self) -> bool {
        *self == ValType::ANYREF
    }

    /// Is it `exnref`?
    pub fn is_exnref(&self) -> bool {
        *self == ValType::EXNREF
    }

    /// The reference type.
    ///
    /// # Panics
    /// If it is not one.
    pub fn unwrap_ref(&self) -> &RefType {
        self.as_ref().expect("type of a reference")
    }

    /// Zero or null: the value a local of this type starts with. `None` for references that cannot be null.
    pub fn default_value(&self) -> Option<Val> {
        Val::default_for_ty(self)
    }

    /// The reference type, if it is one.
    pub fn as_ref(&self) -> Option<&RefType> {
        match self {
            ValType::Ref(r) => Some(r),
            _ => None,
        }
    }

    /// May a value of this type be used where `other` is expected?
    pub fn matches(&self, other: &ValType) -> bool {
        match (self, other) {
            (ValType::Ref(a), ValType::Ref(b)) => a.matches(b),
            (a, b) => a == b,
        }
    }

    /// A type that names defined types of `types`.
    pub(crate) fn from_abi(types: &Arc<TypeRegistry>, ty: abi::ValType) -> ValType {
        ValType::resolve(ty, &|id| types.get(id))
    }

    /// A type that names no defined types.
    pub(crate) fn of_rust(ty: abi::ValType) -> ValType {
        ValType::resolve(ty, &|_| None)
    }

    fn resolve(ty: abi::ValType, get: &dyn Fn(u32) -> Option<RegisteredType>) -> ValType {
        match ty {
            abi::ValType::I32 => ValType::I32,
            abi::ValType::I64 => ValType::I64,
            abi::ValType::F32 => ValType::F32,
            abi::ValType::F64 => ValType::F64,
            abi::ValType::V128 => ValType::V128,
            abi::ValType::Ref(r) => ValType::Ref(RefType::resolve(r, get)),
        }
    }

    /// The same type in an engine, which may be another than it was made for.
    pub(crate) fn adopt(&self, types: &Arc<TypeRegistry>) -> Result<ValType> {
        Ok(match self {
            ValType::Ref(r) => ValType::Ref(r.adopt(types)?),
            other => other.clone(),
        })
    }

    pub(crate) fn to_abi(&self) -> abi::ValType {
        match self {
            ValType::I32 => abi::ValType::I32,
            ValType::I64 => abi::ValType::I64,
            ValType::F32 => abi::ValType::F32,
            ValType::F64 => abi::ValType::F64,
            ValType::V128 => abi::ValType::V128,
            ValType::Ref(r) => abi::ValType::Ref(r.to_abi()),
        }
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_abi().fmt(f)
    }
}

impl From<RefType> for ValType {
    fn from(ty: RefType) -> ValType {
        ValType::Ref(ty)
    }
}

/// The type of a reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RefType {
    nullable: bool,
    heap_type: HeapType,
}

impl RefType {
    /// `funcref`: a function or null.
    pub const FUNCREF: RefType = RefType::new(true, HeapType::Func);
    /// `nullfuncref`: null, for a function.
    pub const NULLFUNCREF: RefType = RefType::new(true, HeapType::NoFunc);
    /// `externref`: a host value or null.
    pub const EXTERNREF: RefType = RefType::new(true, HeapType::Extern);
    /// `nullexternref`: null, for a host value.
    pub const NULLEXTERNREF: RefType = RefType::new(true, HeapType::NoExtern);
    /// `exnref`: an exception or null.
    pub const EXNREF: RefType = RefType::new(true, HeapType::Exn);
    /// `nullexnref`: null, for an exception.
    pub const NULLEXNREF: RefType = RefType::new(true, HeapType::NoExn);
    /// `anyref`: anything that guests make themselves, or null.
    pub const ANYREF: RefType = RefType::new(true, HeapType::Any);
    /// `eqref`: anything that can be compared, or null.
    pub const EQREF: RefType = RefType::new(true, HeapType::Eq);
    /// `i31ref`: a 31-bit integer or null.
    pub const I31REF: RefType = RefType::new(true, HeapType::I31);
    /// `structref`: a struct or null.
    pub const STRUCTREF: RefType = RefType::new(true, HeapType::Struct);
    /// `arrayref`: an array or null.
    pub const ARRAYREF: RefType = RefType::new(true, HeapType::Array);
    /// `nullref`: null, for anything that guests make themselves.
    pub const NULLREF: RefType = RefType::new(true, HeapType::None);

    /// A reference to `heap_type`, which may be null if `is_nullable`.
    pub const fn new(is_nullable: bool, heap_type: HeapType) -> RefType {
        RefType {
            nullable: is_nullable,
            heap_type,
        }
    }

    /// May it be null?
    pub fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// What it refers to.
    pub fn heap_type(&self) -> &HeapType {
        &self.heap_type
    }

    /// May a reference of this type be used where `other` is expected?
    pub fn matches(&self, other: &RefType) -> bool {
        (other.nullable || !self.nullable) && self.heap_type.matches(&other.heap_type)
    }

    /// A type that names defined types of `types`.
    pub(crate) fn from_abi(types: &Arc<TypeRegistry>, ty: abi::RefType) -> RefType {
        RefType::resolve(ty, &|id| types.get(id))
    }

    fn resolve(ty: abi::RefType, get: &dyn Fn(u32) -> Option<RegisteredType>) -> RefType {
        RefType::new(ty.nullable, HeapType::resolve(ty.heap, get))
    }

    /// The same type in an engine, which may be another than it was made for.
    pub(crate) fn adopt(&self, types: &Arc<TypeRegistry>) -> Result<RefType> {
        Ok(RefType::new(self.nullable, self.heap_type.adopt(types)?))
    }

    pub(crate) fn to_abi(&self) -> abi::RefType {
        abi::RefType {
            nullable: self.nullable,
            heap: self.heap_type.to_abi(),
        }
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_abi().fmt(f)
    }
}

/// What a reference refers to.
///
/// ```text
///   any                  func                 extern        exn
///   |- eq                |- concrete func     '- noextern   |- concrete exn
///   |  |- i31            '- nofunc                          '- noexn
///   |  |- struct
///   |  |  '- concrete struct
///   |  '- array
///   |     '- concrete array
///   '- none (below all of them)
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HeapType {
    /// Any host value.
    Extern,
    /// No host value: only null.
    NoExtern,
    /// Any function.
    Func,
    /// A function of this type.
    ConcreteFunc(FuncType),
    /// No function: only null.
    NoFunc,
    /// Anything that guests make themselves, and host values they were given as such.
    Any,
    /// Anything that can be compared: integers, structs, arrays.
    Eq,
    /// A 31-bit integer.
    I31,
    /// Any array.
    Array,
    /// An array of this type.
    ConcreteArray(ArrayType),
    /// Any struct.
    Struct,
    /// A struct of this type.
    ConcreteStruct(StructType),
    /// Any exception.
    Exn,
    /// An exception of this type. Only the host tells exceptions apart by their types: where a type of a guest is made of this one, it
    /// is [`HeapType::Exn`].
    ConcreteExn(ExnType),
    /// No exception: only null.
    NoExn,
    /// Nothing that guests make themselves: only null.
    None,
}

macro_rules! plain_kinds {
    ($($variant:ident $is:ident $name:literal;)*) => {
        impl HeapType {$(
            #[doc = concat!("Is it `", $name, "`?")]
            pub fn $is(&self) -> bool {
                matches!(self, HeapType::$variant)
            }
        )*}
    };
}

plain_kinds! {
    Extern is_extern "extern";
    NoExtern is_no_extern "noextern";
    Func is_func "func";
    NoFunc is_no_func "nofunc";
    Any is_any "any";
    Eq is_eq "eq";
    I31 is_i31 "i31";
    Array is_array "array";
    Struct is_struct "struct";
    Exn is_exn "exn";
    NoExn is_no_exn "noexn";
    None is_none "none";
}

macro_rules! concrete_kinds {
    ($($variant:ident $Ty:ident $is:ident $as:ident $unwrap:ident $what:literal;)*) => {
        impl HeapType {$(
            #[doc = concat!("Is it a defined ", $what, " type?")]
            pub fn $is(&self) -> bool {
                self.$as().is_some()
            }

            #[doc = concat!("The defined ", $what, " type, if it is one.")]
            pub fn $as(&self) -> Option<&$Ty> {
                match self {
                    HeapType::$variant(ty) => Some(ty),
                    _ => None,
                }
            }

            #[doc = concat!("The defined ", $what, " type.")]
            ///
            /// # Panics
            #[doc = concat!("If it is not a defined ", $what, " type.")]
            pub fn $unwrap(&self) -> &$Ty {
                self.$as().expect(concat!("a defined ", $what, " type"))
            }
        )*}

        $(impl From<$Ty> for HeapType {
            fn from(ty: $Ty) -> HeapType {
                HeapType::$variant(ty)
            }
        })*
    };
}

concrete_kinds! {
    ConcreteFunc FuncType is_concrete_func as_concrete_func unwrap_concrete_func "function";
    ConcreteArray ArrayType is_concrete_array as_concrete_array unwrap_concrete_array "array";
    ConcreteStruct StructType is_concrete_struct as_concrete_struct unwrap_concrete_struct "struct";
    ConcreteExn ExnType is_concrete_exn as_concrete_exn unwrap_concrete_exn "exception";
}

impl HeapType {
    fn registered(&self) -> Option<&RegisteredType> {
        match self {
            HeapType::ConcreteFunc(ty) => Some(ty.registered()),
            HeapType::ConcreteArray(ty) => Some(ty.registered()),
            HeapType::ConcreteStruct(ty) => Some(ty.registered()),
            _ => None,
        }
    }

    /// Is it a defined type?
    pub fn is_concrete(&self) -> bool {
        self.registered().is_some() || self.is_concrete_exn()
    }

    /// Is it a type that every engine has?
    pub fn is_abstract(&self) -> bool {
        !self.is_concrete()
    }

    /// The type below all others of its hierarchy: `none`, `nofunc`, `noextern` or `noexn`.
    pub fn bottom(&self) -> HeapType {
        match self.to_abi().hierarchy() {
            abi::Hierarchy::Any => HeapType::None,
            abi::Hierarchy::Func => HeapType::NoFunc,
            abi::Hierarchy::Extern => HeapType::NoExtern,
            abi::Hierarchy::Exn => HeapType::NoExn,
        }
    }

    /// The type above all others of its hierarchy: `any`, `func`, `extern` or `exn`.
    pub fn top(&self) -> HeapType {
        match self.to_abi().hierarchy() {
            abi::Hierarchy::Any => HeapType::Any,
            abi::Hierarchy::Func => HeapType::Func,
            abi::Hierarchy::Extern => HeapType::Extern,
            abi::Hierarchy::Exn => HeapType::Exn,
        }
    }

    /// Is it above all others of its hierarchy?
    pub fn is_top(&self) -> bool {
        *self == self.top()
    }

    /// Is it below all others of its hierarchy, so that only null belongs to it?
    pub fn is_bottom(&self) -> bool {
        self.to_abi().is_bottom()
    }

    /// Is every object of this type also one of `other`? Defined types of different engines never are.
    pub fn matches(&self, other: &HeapType) -> bool {
        match (self.registered(), other.registered()) {
            (Some(a), Some(b)) => a.is_subtype(b),
            _ if other.is_concrete_exn() => match (self, other) {
                (HeapType::ConcreteExn(a), HeapType::ConcreteExn(b)) => a.matches(b),
                _ => self.is_no_exn(),
            },
            _ => self.to_abi().matches(other.to_abi(), |_, _| false),
        }
    }

    /// A type that names defined types of `types`.
    pub(crate) fn from_abi(types: &Arc<TypeRegistry>, ty: abi::HeapType) -> HeapType {
        HeapType::resolve(ty, &|id| types.get(id))
    }

    fn resolve(ty: abi::HeapType, get: &dyn Fn(u32) -> Option<RegisteredType>) -> HeapType {
        let defined = match ty.concrete() {
            Some(abi::TypeRef::Engine(id)) => get(id).map(HeapType::of_defined),
            _ => None,
        };
        defined.unwrap_or(match ty {
            abi::HeapType::Func | abi::HeapType::ConcreteFunc(_) => HeapType::Func,
            abi::HeapType::NoFunc => HeapType::NoFunc,
            abi::HeapType::Extern => HeapType::Extern,
            abi::HeapType::NoExtern => HeapType::NoExtern,
            abi::HeapType::Exn => HeapType::Exn,
            abi::HeapType::NoExn => HeapType::NoExn,
            abi::HeapType::Any => HeapType::Any,
            abi::HeapType::Eq => HeapType::Eq,
            abi::HeapType::I31 => HeapType::I31,
            abi::HeapType::Struct | abi::HeapType::ConcreteStruct(_) => HeapType::Struct,
            abi::HeapType::Array | abi::HeapType::ConcreteArray(_) => HeapType::Array,
            abi::HeapType::None => HeapType::None,
        })
    }

    /// References to a defined type.
    pub(crate) fn of_defined(ty: RegisteredType) -> HeapType {
        match &ty.ty().composite {
            abi::CompositeType::Func(_) => HeapType::ConcreteFunc(FuncType::from_registered(ty)),
            abi::CompositeType::Struct(_) => {
                HeapType::ConcreteStruct(StructType::from_registered(ty))
            }
            abi::CompositeType::Array(_) => HeapType::ConcreteArray(ArrayType::from_registered(ty)),
        }
    }

    /// The same type in an engine, which may be another than it was made for.
    pub(crate) fn adopt(&self, types: &Arc<TypeRegistry>) -> Result<HeapType> {
        Ok(match self.registered() {
            Some(ty) => HeapType::of_defined(ty.adopt(types)?),
            None => self.clone(),
        })
    }

    pub(crate) fn to_abi(&self) -> abi::HeapType {
        if let Some(ty) = self.registered() {
            return (ty.ty().composite).heap_type(abi::TypeRef::Engine(ty.id()));
        }
        match self {
            HeapType::Func | HeapType::ConcreteFunc(_) => abi::HeapType::Func,
            HeapType::NoFunc => abi::HeapType::NoFunc,
            HeapType::Extern => abi::HeapType::Extern,
            HeapType::NoExtern => abi::HeapType::NoExtern,
            HeapType::Exn | HeapType::ConcreteExn(_) => abi::HeapType::Exn,
            HeapType::NoExn => abi::HeapType::NoExn,
            HeapType::Any => abi::HeapType::Any,
            HeapType::Eq => abi::HeapType::Eq,
            HeapType::I31 => abi::HeapType::I31,
            HeapType::Struct | HeapType::ConcreteStruct(_) => abi::HeapType::Struct,
            HeapType::Array | HeapType::ConcreteArray(_) => abi::HeapType::Array,
            HeapType::None => abi::HeapType::None,
        }
    }
}

impl fmt::Display for HeapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeapType::ConcreteExn(ty) => write!(f, "(exn {ty})"),
            ty => ty.to_abi().fmt(f),
        }
    }
}
