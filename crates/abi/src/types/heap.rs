//! What references refer to, and which of these are below which.

use crate::index::TypeIndex;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of a reference.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RefType {
    /// May it be null?
    pub nullable: bool,
    /// What it refers to.
    pub heap: HeapType,
}

/// What a reference refers to.
///
/// ```text
///   any                      func                      extern        exn
///   |- eq                    |- concrete functions     '- noextern   '- noexn
///   |  |- i31                '- nofunc
///   |  |- struct
///   |  |  '- concrete structs
///   |  '- array
///   |     '- concrete arrays
///   '- none (below all of them)
/// ```
///
/// In compiled code a reference of the `func` hierarchy is the address of a [`crate::layout::VmFuncRef`]; any other is 32 bits, of
/// which [`crate::gc_layout`] says what they mean. Null is 0.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HeapType {
    /// Any function.
    Func,
    /// A function of this type.
    ConcreteFunc(TypeRef),
    /// No function: only null.
    NoFunc,
    /// A host value.
    Extern,
    /// No host value: only null.
    NoExtern,
    /// An exception.
    Exn,
    /// No exception: only null.
    NoExn,
    /// Anything that guests make themselves, or a host value that was made one of these.
    Any,
    /// What can be compared.
    Eq,
    /// A 31-bit integer.
    I31,
    /// Any struct.
    Struct,
    /// A struct of this type.
    ConcreteStruct(TypeRef),
    /// Any array.
    Array,
    /// An array of this type.
    ConcreteArray(TypeRef),
    /// Nothing of [`Any`](HeapType::Any): only null.
    None,
}

/// Names a defined type.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TypeRef {
    /// By its position in the type section: what a compiler's output says.
    Module(TypeIndex),
    /// By its position in the recursion group that the name occurs in: the form in which groups are compared.
    Group(u32),
    /// By its number in an engine: what there is once a module has been loaded.
    Engine(u32),
}

/// The four hierarchies of what references refer to: no type of one is a subtype of one of another.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hierarchy {
    /// Below `any`.
    Any,
    /// Below `func`.
    Func,
    /// Below `extern`.
    Extern,
    /// Below `exn`.
    Exn,
}

impl HeapType {
    /// The hierarchy it belongs to.
    pub const fn hierarchy(self) -> Hierarchy {
        match self {
            HeapType::Func | HeapType::ConcreteFunc(_) | HeapType::NoFunc => Hierarchy::Func,
            HeapType::Extern | HeapType::NoExtern => Hierarchy::Extern,
            HeapType::Exn | HeapType::NoExn => Hierarchy::Exn,
            HeapType::Any
            | HeapType::Eq
            | HeapType::I31
            | HeapType::Struct
            | HeapType::ConcreteStruct(_)
            | HeapType::Array
            | HeapType::ConcreteArray(_)
            | HeapType::None => Hierarchy::Any,
        }
    }

    /// Does it refer to functions (or to nothing that would be one)?
    pub const fn is_func(self) -> bool {
        matches!(self.hierarchy(), Hierarchy::Func)
    }

    /// Does nothing belong to it but null?
    pub const fn is_bottom(self) -> bool {
        matches!(
            self,
            HeapType::NoFunc | HeapType::NoExtern | HeapType::NoExn | HeapType::None
        )
    }

    /// The defined type, if it is one.
    pub const fn concrete(self) -> Option<TypeRef> {
        match self {
            HeapType::ConcreteFunc(ty)
            | HeapType::ConcreteStruct(ty)
            | HeapType::ConcreteArray(ty) => Some(ty),
            _ => None,
        }
    }

    fn concrete_mut(&mut self) -> Option<&mut TypeRef> {
        match self {
            HeapType::ConcreteFunc(ty)
            | HeapType::ConcreteStruct(ty)
            | HeapType::ConcreteArray(ty) => Some(ty),
            _ => None,
        }
    }

    /// Is everything of this type also of type `other`? `is_subtype` answers that for two defined types of one kind.
    pub fn matches(
        self,
        other: HeapType,
        is_subtype: impl FnOnce(TypeRef, TypeRef) -> bool,
    ) -> bool {
        use HeapType::*;
        match (self, other) {
            (ConcreteFunc(a), ConcreteFunc(b))
            | (ConcreteStruct(a), ConcreteStruct(b))
            | (ConcreteArray(a), ConcreteArray(b)) => a == b || is_subtype(a, b),
            (a, b) if a == b => true,
            (a, b) if a.hierarchy() != b.hierarchy() => false,
            (a, _) if a.is_bottom() => true,
            (_, Func | Extern | Exn | Any) => true,
            (I31 | Struct | ConcreteStruct(_) | Array | ConcreteArray(_), Eq) => true,
            (ConcreteStruct(_), Struct) | (ConcreteArray(_), Array) => true,
            _ => false,
        }
    }
}

impl RefType {
    /// May a reference of this type be used where `other` is expected? `is_subtype` is as in [`HeapType::matches`].
    pub fn matches(
        self,
        other: RefType,
        is_subtype: impl FnOnce(TypeRef, TypeRef) -> bool,
    ) -> bool {
        (other.nullable || !self.nullable) && self.heap.matches(other.heap, is_subtype)
    }

    /// `funcref`
    pub const FUNCREF: RefType = RefType {
        nullable: true,
        heap: HeapType::Func,
    };
    /// `externref`
    pub const EXTERNREF: RefType = RefType {
        nullable: true,
        heap: HeapType::Extern,
    };
    /// `exnref`
    pub const EXNREF: RefType = RefType {
        nullable: true,
        heap: HeapType::Exn,
    };
    /// `anyref`
    pub const ANYREF: RefType = RefType {
        nullable: true,
        heap: HeapType::Any,
    };

    /// Renames the defined type it names, if it does.
    pub fn rename(&mut self, rename: &mut impl FnMut(TypeRef) -> TypeRef) {
        self.heap.rename(rename);
    }
}

impl HeapType {
    /// Renames the defined type it names, if it does.
    pub fn rename(&mut self, rename: &mut impl FnMut(TypeRef) -> TypeRef) {
        if let Some(ty) = self.concrete_mut() {
            *ty = rename(*ty);
        }
    }
}

impl fmt::Display for HeapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let concrete = |f: &mut fmt::Formatter<'_>, kind: &str, ty: &TypeRef| match ty {
            TypeRef::Module(index) => write!(f, "{}", index.as_u32()),
            TypeRef::Group(position) => write!(f, "$rec.{position}"),
            TypeRef::Engine(id) => write!(f, "${kind}.{id}"),
        };
        f.write_str(match self {
            HeapType::ConcreteFunc(ty) => return concrete(f, "func", ty),
            HeapType::ConcreteStruct(ty) => return concrete(f, "struct", ty),
            HeapType::ConcreteArray(ty) => return concrete(f, "array", ty),
            HeapType::Func => "func",
            HeapType::NoFunc => "nofunc",
            HeapType::Extern => "extern",
            HeapType::NoExtern => "noextern",
            HeapType::Exn => "exn",
            HeapType::NoExn => "noexn",
            HeapType::Any => "any",
            HeapType::Eq => "eq",
            HeapType::I31 => "i31",
            HeapType::Struct => "struct",
            HeapType::Array => "array",
            HeapType::None => "none",
        })
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heap = self.heap;
        match (self.nullable, heap) {
            (true, HeapType::NoFunc) => f.write_str("nullfuncref"),
            (true, HeapType::NoExtern) => f.write_str("nullexternref"),
            (true, HeapType::NoExn) => f.write_str("nullexnref"),
            (true, HeapType::None) => f.write_str("nullref"),
            (true, heap) if heap.concrete().is_none() => write!(f, "{heap}ref"),
            (true, heap) => write!(f, "(ref null {heap})"),
            (false, heap) => write!(f, "(ref {heap})"),
        }
    }
}
