//! Defined types: functions, structs and arrays, with their place among sub- and supertypes.

use super::{FuncType, HeapType, TypeRef, ValType};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is stored in a field of a struct or an element of an array.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StorageType {
    /// 8 bits, an `i32` when read.
    I8,
    /// 16 bits, an `i32` when read.
    I16,
    /// A value.
    Val(ValType),
}

impl fmt::Display for StorageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageType::I8 => f.write_str("i8"),
            StorageType::I16 => f.write_str("i16"),
            StorageType::Val(ty) => ty.fmt(f),
        }
    }
}

/// The type of a field of a struct, or of the elements of an array.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FieldType {
    /// What is stored.
    pub storage: StorageType,
    /// May it be assigned?
    pub mutable: bool,
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mutable {
            write!(f, "(mut {})", self.storage)
        } else {
            self.storage.fmt(f)
        }
    }
}

/// The type of a struct.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StructType {
    /// Its fields, in order.
    pub fields: Box<[FieldType]>,
}

impl fmt::Display for StructType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(struct")?;
        for field in &self.fields {
            write!(f, " (field {field})")?;
        }
        f.write_str(")")
    }
}

/// The type of an array.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ArrayType {
    /// Its elements.
    pub element: FieldType,
}

impl fmt::Display for ArrayType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(array {})", self.element)
    }
}

/// The structure of a defined type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CompositeType {
    /// A function.
    Func(FuncType),
    /// A struct.
    Struct(StructType),
    /// An array.
    Array(ArrayType),
}

impl CompositeType {
    /// The function type, if it is one.
    pub fn as_func(&self) -> Option<&FuncType> {
        match self {
            CompositeType::Func(ty) => Some(ty),
            _ => None,
        }
    }

    /// The struct type, if it is one.
    pub fn as_struct(&self) -> Option<&StructType> {
        match self {
            CompositeType::Struct(ty) => Some(ty),
            _ => None,
        }
    }

    /// The array type, if it is one.
    pub fn as_array(&self) -> Option<&ArrayType> {
        match self {
            CompositeType::Array(ty) => Some(ty),
            _ => None,
        }
    }

    /// References to a type of this kind by this name.
    pub fn heap_type(&self, name: TypeRef) -> HeapType {
        match self {
            CompositeType::Func(_) => HeapType::ConcreteFunc(name),
            CompositeType::Struct(_) => HeapType::ConcreteStruct(name),
            CompositeType::Array(_) => HeapType::ConcreteArray(name),
        }
    }
}

impl fmt::Display for CompositeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompositeType::Func(ty) => ty.fmt(f),
            CompositeType::Struct(ty) => ty.fmt(f),
            CompositeType::Array(ty) => ty.fmt(f),
        }
    }
}

/// A defined type: its structure, and its place among its sub- and supertypes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SubType {
    /// May no type have it as its supertype?
    pub is_final: bool,
    /// The type it is declared a subtype of.
    pub supertype: Option<TypeRef>,
    /// Its structure.
    pub composite: CompositeType,
}

/// Most types above a defined type.
pub const MAX_SUBTYPING_DEPTH: u32 = 63;

impl From<FuncType> for SubType {
    /// The type that `(type (func ...))` declares: final, and without a supertype.
    fn from(ty: FuncType) -> SubType {
        SubType {
            is_final: true,
            supertype: None,
            composite: CompositeType::Func(ty),
        }
    }
}

impl SubType {
    /// Every value type in it.
    pub fn val_types(&self) -> impl Iterator<Item = ValType> + '_ {
        let (func, fields): (Option<&FuncType>, &[FieldType]) = match &self.composite {
            CompositeType::Func(ty) => (Some(ty), &[]),
            CompositeType::Struct(ty) => (None, &ty.fields),
            CompositeType::Array(ty) => (None, std::slice::from_ref(&ty.element)),
        };
        let values = func
            .into_iter()
            .flat_map(|ty| ty.params.iter().chain(&ty.results));
        let fields = fields.iter().filter_map(|field| match &field.storage {
            StorageType::Val(ty) => Some(ty),
            StorageType::I8 | StorageType::I16 => None,
        });
        values.chain(fields).copied()
    }

    /// Every defined type it names.
    pub fn type_refs(&self) -> impl Iterator<Item = TypeRef> + '_ {
        let named = self.val_types().filter_map(|ty| match ty {
            ValType::Ref(ty) => ty.heap.concrete(),
            _ => None,
        });
        self.supertype.into_iter().chain(named)
    }

    /// Renames every defined type it names.
    pub fn rename(&mut self, rename: &mut impl FnMut(TypeRef) -> TypeRef) {
        if let Some(supertype) = &mut self.supertype {
            *supertype = rename(*supertype);
        }
        match &mut self.composite {
            CompositeType::Func(ty) => ty.rename(rename),
            CompositeType::Struct(ty) => {
                for field in &mut ty.fields {
                    field.storage.rename(rename);
                }
            }
            CompositeType::Array(ty) => ty.element.storage.rename(rename),
        }
    }
}

impl StorageType {
    fn rename(&mut self, rename: &mut impl FnMut(TypeRef) -> TypeRef) {
        if let StorageType::Val(ty) = self {
            ty.rename(rename);
        }
    }
}
