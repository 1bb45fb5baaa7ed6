//! The types of values and functions.

use super::{RefType, TypeRef};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of a value.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// `funcref`
    pub const FUNCREF: ValType = ValType::Ref(RefType::FUNCREF);
    /// `externref`
    pub const EXTERNREF: ValType = ValType::Ref(RefType::EXTERNREF);
    /// `exnref`
    pub const EXNREF: ValType = ValType::Ref(RefType::EXNREF);
    /// `anyref`
    pub const ANYREF: ValType = ValType::Ref(RefType::ANYREF);

    /// May a value of this type be used where `other` is expected? `is_subtype` is as in [`HeapType::matches`](super::HeapType::matches).
    pub fn matches(
        self,
        other: ValType,
        is_subtype: impl FnOnce(TypeRef, TypeRef) -> bool,
    ) -> bool {
        match (self, other) {
            (ValType::Ref(a), ValType::Ref(b)) => a.matches(b, is_subtype),
            (a, b) => a == b,
        }
    }

    /// How compiled code represents it. A subtype's is the same.
    pub const fn representation(self) -> Representation {
        match self {
            ValType::I32 => Representation::I32,
            ValType::I64 => Representation::I64,
            ValType::F32 => Representation::F32,
            ValType::F64 => Representation::F64,
            ValType::V128 => Representation::V128,
            ValType::Ref(r) if r.heap.is_func() => Representation::FuncRef,
            ValType::Ref(_) => Representation::ObjectRef,
        }
    }

    /// Has it a value to start with: zero or null?
    pub const fn is_defaultable(self) -> bool {
        !matches!(
            self,
            ValType::Ref(RefType {
                nullable: false,
                ..
            })
        )
    }

    /// Renames the defined type it names, if it does.
    pub fn rename(&mut self, rename: &mut impl FnMut(TypeRef) -> TypeRef) {
        if let ValType::Ref(ty) = self {
            ty.rename(rename);
        }
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValType::I32 => f.write_str("i32"),
            ValType::I64 => f.write_str("i64"),
            ValType::F32 => f.write_str("f32"),
            ValType::F64 => f.write_str("f64"),
            ValType::V128 => f.write_str("v128"),
            ValType::Ref(r) => r.fmt(f),
        }
    }
}

/// How compiled code represents a value.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Representation {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// A 128-bit vector.
    V128,
    /// An address.
    FuncRef,
    /// 32 bits that name an object.
    ObjectRef,
}

/// The type of a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FuncType {
    /// Parameter types, first to last.
    pub params: Box<[ValType]>,
    /// Result types, first to last.
    pub results: Box<[ValType]>,
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(func")?;
        for (keyword, types) in [("param", &self.params), ("result", &self.results)] {
            if !types.is_empty() {
                write!(f, " ({keyword}")?;
                for ty in types {
                    write!(f, " {ty}")?;
                }
                f.write_str(")")?;
            }
        }
        f.write_str(")")
    }
}

impl FuncType {
    pub(super) fn rename(&mut self, rename: &mut impl FnMut(TypeRef) -> TypeRef) {
        for ty in self.params.iter_mut().chain(&mut self.results) {
            ty.rename(rename);
        }
    }

    /// How compiled code represents its values: functions with the same are called alike.
    pub fn representations(&self) -> impl Iterator<Item = Option<Representation>> + '_ {
        let params = self.params.iter().map(|ty| Some(ty.representation()));
        let results = self.results.iter().map(|ty| Some(ty.representation()));
        params.chain([None]).chain(results)
    }
}
