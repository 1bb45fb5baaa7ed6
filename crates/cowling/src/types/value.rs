//! Types of values.

use cowling_abi as abi;
use std::fmt;

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
    /// `externref`: a host value or null.
    pub const EXTERNREF: ValType = ValType::Ref(RefType::EXTERNREF);
    /// `exnref`: an exception or null.
    pub const EXNREF: ValType = ValType::Ref(RefType::EXNREF);

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

    pub(crate) fn from_abi(ty: abi::ValType) -> ValType {
        match ty {
            abi::ValType::I32 => ValType::I32,
            abi::ValType::I64 => ValType::I64,
            abi::ValType::F32 => ValType::F32,
            abi::ValType::F64 => ValType::F64,
            abi::ValType::V128 => ValType::V128,
            abi::ValType::Ref(r) => ValType::Ref(RefType::from_abi(r)),
        }
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
    /// `externref`: a host value or null.
    pub const EXTERNREF: RefType = RefType::new(true, HeapType::Extern);
    /// `exnref`: an exception or null.
    pub const EXNREF: RefType = RefType::new(true, HeapType::Exn);

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

    pub(crate) fn from_abi(ty: abi::RefType) -> RefType {
        let heap_type = match ty.heap {
            abi::HeapType::Func => HeapType::Func,
            abi::HeapType::Extern => HeapType::Extern,
            abi::HeapType::Exn => HeapType::Exn,
        };
        RefType::new(ty.nullable, heap_type)
    }

    pub(crate) fn to_abi(&self) -> abi::RefType {
        abi::RefType {
            nullable: self.nullable,
            heap: match self.heap_type {
                HeapType::Func => abi::HeapType::Func,
                HeapType::Extern => abi::HeapType::Extern,
                HeapType::Exn => abi::HeapType::Exn,
            },
        }
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_abi().fmt(f)
    }
}

/// What a reference refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeapType {
    /// Any host value.
    Extern,
    /// Any function.
    Func,
    /// Any exception.
    Exn,
}

impl HeapType {
    /// Is every object of this type also one of `other`?
    pub fn matches(&self, other: &HeapType) -> bool {
        self == other
    }
}

impl fmt::Display for HeapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeapType::Extern => "extern",
            HeapType::Func => "func",
            HeapType::Exn => "exn",
        })
    }
}

/// May a global be assigned?
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mutability {
    /// It keeps its first value.
    Const,
    /// It may be assigned.
    Var,
}

impl Mutability {
    /// Is it [`Mutability::Const`]?
    pub fn is_const(&self) -> bool {
        *self == Mutability::Const
    }

    /// Is it [`Mutability::Var`]?
    pub fn is_var(&self) -> bool {
        *self == Mutability::Var
    }
}
