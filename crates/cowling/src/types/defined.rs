//! Defined types: functions, structs and arrays.
//!
//! Each belongs to an engine, and two of the same structure and declaration are the same type, whoever declares them. A type made here
//! is alone in its recursion group; one of a group comes from a module that declares it.

use super::value::{RefType, ValType};
use crate::engine::Engine;
use crate::error::{OutOfMemory, Result};
use cowling_abi as abi;
use cowling_vm::{RegisteredType, TypeRegistry};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// May other types be declared below one?
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Finality {
    /// No.
    Final,
    /// Yes.
    NonFinal,
}

impl Finality {
    /// Is it [`Finality::Final`]?
    pub fn is_final(&self) -> bool {
        *self == Finality::Final
    }

    /// Is it [`Finality::NonFinal`]?
    pub fn is_non_final(&self) -> bool {
        *self == Finality::NonFinal
    }
}

/// May a global, a field or an element be assigned?
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mutability {
    /// It keeps its first value.
    Const,
    /// It may be assigned.
    Var,
}

impl Mutability {
    pub(crate) fn of(mutable: bool) -> Mutability {
        if mutable {
            Mutability::Var
        } else {
            Mutability::Const
        }
    }

    /// Is it [`Mutability::Const`]?
    pub fn is_const(&self) -> bool {
        *self == Mutability::Const
    }

    /// Is it [`Mutability::Var`]?
    pub fn is_var(&self) -> bool {
        *self == Mutability::Var
    }
}

/// Registers a type of this structure.
fn register(
    engine: &Engine,
    finality: Finality,
    supertype: Option<&RegisteredType>,
    composite: abi::CompositeType,
) -> Result<RegisteredType> {
    let supertype = supertype.map(|ty| ty.adopt(engine.types())).transpose()?;
    let supertype = supertype.as_ref();
    Ok(engine.types().register(abi::SubType {
        is_final: finality.is_final(),
        supertype: supertype.map(|ty| abi::TypeRef::Engine(ty.id())),
        composite,
    })?)
}

macro_rules! defined_types {
    ($($Ty:ident $variant:ident $Abi:ident;)*) => {$(
        impl $Ty {
            pub(crate) fn from_registered(ty: RegisteredType) -> $Ty {
                let engine = Engine::of_types(ty.registry());
                $Ty { ty, engine }
            }

            /// The engine it belongs to.
            pub fn engine(&self) -> &Engine {
                &self.engine
            }

            pub(crate) fn registered(&self) -> &RegisteredType {
                &self.ty
            }

            pub(crate) fn as_abi(&self) -> &abi::$Abi {
                match &self.ty.ty().composite {
                    abi::CompositeType::$variant(ty) => ty,
                    _ => unreachable!("it was made of a type of its kind"),
                }
            }

            fn types(&self) -> &Arc<TypeRegistry> {
                self.ty.registry()
            }

            /// May types be declared below it?
            pub fn finality(&self) -> Finality {
                if self.ty.ty().is_final {
                    Finality::Final
                } else {
                    Finality::NonFinal
                }
            }

            /// The type it is declared a subtype of.
            pub fn supertype(&self) -> Option<$Ty> {
                self.ty.supertype().map($Ty::from_registered)
            }

            /// Is it the other, or declared below it? Types of different engines never are.
            pub fn matches(&self, other: &$Ty) -> bool {
                self.ty.is_subtype(&other.ty)
            }
        }

        impl PartialEq for $Ty {
            fn eq(&self, other: &$Ty) -> bool {
                self.ty == other.ty
            }
        }

        impl Eq for $Ty {}

        impl Hash for $Ty {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.ty.hash(state);
            }
        }

        impl fmt::Debug for $Ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($Ty)).field(&self.ty).finish()
            }
        }

        impl fmt::Display for $Ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.as_abi().fmt(f)
            }
        }
    )*};
}

defined_types! {
    FuncType Func FuncType;
    StructType Struct StructType;
    ArrayType Array ArrayType;
}

/// The type of a function.
#[derive(Clone)]
pub struct FuncType {
    ty: RegisteredType,
    engine: Engine,
}

impl FuncType {
    /// A final function type from its parameter and result types.
    ///
    /// # Panics
    /// If there are 16,777,215 types in the engine already.
    pub fn new(
        engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> FuncType {
        let ty = Self::with_finality_and_supertype(engine, Finality::Final, None, params, results);
        ty.expect("room for another type")
    }

    /// As [`new`](Self::new), which panics where this is an error.
    ///
    /// # Errors
    /// When there are 16,777,215 types in the engine already.
    pub fn try_new(
        engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Result<FuncType, OutOfMemory> {
        let ty = Self::with_finality_and_supertype(engine, Finality::Final, None, params, results);
        // Its supertype cannot be wrong, as it has none.
        ty.map_err(|_| OutOfMemory::new("another type of the engine"))
    }

    /// A function type from its parameter and result types, below another one.
    ///
    /// ```
    /// # use cowling::*;
    /// let engine = Engine::default();
    /// let any = FuncType::with_finality_and_supertype(&engine, Finality::NonFinal, None, [], [ValType::FUNCREF])?;
    /// let none = FuncType::with_finality_and_supertype(&engine, Finality::Final, Some(&any), [], [ValType::NULLFUNCREF])?;
    /// assert!(none.matches(&any) && !any.matches(&none));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TypeError`](crate::TypeError) when the supertype is final or does not match, or there are too many types.
    pub fn with_finality_and_supertype(
        engine: &Engine,
        finality: Finality,
        supertype: Option<&FuncType>,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Result<FuncType> {
        // Kept until the type keeps what it names.
        let adopt = |ty: ValType| ty.adopt(engine.types());
        let params = params.into_iter().map(adopt).collect::<Result<Vec<_>>>()?;
        let results = results.into_iter().map(adopt).collect::<Result<Vec<_>>>()?;
        let composite = abi::CompositeType::Func(abi::FuncType {
            params: params.iter().map(ValType::to_abi).collect(),
            results: results.iter().map(ValType::to_abi).collect(),
        });
        register(engine, finality, supertype.map(|ty| &ty.ty), composite)
            .map(FuncType::from_registered)
    }

    fn value(&self, ty: &abi::ValType) -> ValType {
        ValType::from_abi(self.types(), *ty)
    }

    /// The parameter types, first to last.
    pub fn params(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        self.as_abi().params.iter().map(|t| self.value(t))
    }

    /// The result types, first to last.
    pub fn results(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        self.as_abi().results.iter().map(|t| self.value(t))
    }

    /// The type of parameter number `i`, counted from 0.
    pub fn param(&self, i: usize) -> Option<ValType> {
        self.as_abi().params.get(i).map(|t| self.value(t))
    }

    /// The type of result number `i`, counted from 0.
    pub fn result(&self, i: usize) -> Option<ValType> {
        self.as_abi().results.get(i).map(|t| self.value(t))
    }

    /// The same type in an engine, which may be another than it was made for.
    pub(crate) fn adopt(&self, types: &Arc<TypeRegistry>) -> Result<FuncType> {
        Ok(FuncType::from_registered(self.ty.adopt(types)?))
    }

    /// The type `(func)`.
    pub(crate) fn empty(types: &Arc<TypeRegistry>) -> FuncType {
        let ty = abi::FuncType {
            params: Box::default(),
            results: Box::default(),
        };
        FuncType::from_registered(types.register(ty.into()).expect("room for another type"))
    }
}

/// The type of a struct.
#[derive(Clone)]
pub struct StructType {
    ty: RegisteredType,
    engine: Engine,
}

impl StructType {
    /// A final struct type from its fields.
    ///
    /// # Errors
    /// [`TypeError`](crate::TypeError) when there are too many types.
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = FieldType>) -> Result<StructType> {
        Self::with_finality_and_supertype(engine, Finality::Final, None, fields)
    }

    /// A struct type from its fields, below another one.
    ///
    /// # Errors
    /// [`TypeError`](crate::TypeError) when the supertype is final or does not match, or there are too many types; and when there
    /// are more than 10,000 fields.
    pub fn with_finality_and_supertype(
        engine: &Engine,
        finality: Finality,
        supertype: Option<&StructType>,
        fields: impl IntoIterator<Item = FieldType>,
    ) -> Result<StructType> {
        let fields = fields.into_iter().map(|field| field.adopt(engine.types()));
        let fields = fields.collect::<Result<Vec<_>>>()?;
        crate::error::ensure!(
            fields.len() <= MAX_FIELDS,
            "a struct type of {} fields: {MAX_FIELDS} are supported",
            fields.len()
        );
        let composite = abi::CompositeType::Struct(abi::StructType {
            fields: fields.iter().map(FieldType::to_abi).collect(),
        });
        register(engine, finality, supertype.map(|ty| &ty.ty), composite)
            .map(StructType::from_registered)
    }

    /// The type of field number `i`, counted from 0.
    pub fn field(&self, i: usize) -> Option<FieldType> {
        let field = self.as_abi().fields.get(i)?;
        Some(FieldType::from_abi(self.types(), field))
    }

    /// The types of its fields, first to last.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = FieldType> + '_ {
        let fields = self.as_abi().fields.iter();
        fields.map(|field| FieldType::from_abi(self.types(), field))
    }
}

/// Most fields of a struct: as many as modules may declare.
const MAX_FIELDS: usize = 10_000;

/// The type of an array.
#[derive(Clone)]
pub struct ArrayType {
    ty: RegisteredType,
    engine: Engine,
}

impl ArrayType {
    /// A final array type from the type of its elements.
    ///
    /// # Panics
    /// If there are 16,777,215 types in the engine already.
    pub fn new(engine: &Engine, field_type: FieldType) -> ArrayType {
        let ty = Self::with_finality_and_supertype(engine, Finality::Final, None, field_type);
        ty.expect("room for another type")
    }

    /// An array type from the type of its elements, below another one.
    ///
    /// # Errors
    /// [`TypeError`](crate::TypeError) when the supertype is final or does not match, or there are too many types.
    pub fn with_finality_and_supertype(
        engine: &Engine,
        finality: Finality,
        supertype: Option<&ArrayType>,
        field_type: FieldType,
    ) -> Result<ArrayType> {
        let field = field_type.adopt(engine.types())?;
        let composite = abi::CompositeType::Array(abi::ArrayType {
            element: field.to_abi(),
        });
        register(engine, finality, supertype.map(|ty| &ty.ty), composite)
            .map(ArrayType::from_registered)
    }

    /// The type of its elements, and whether they may be assigned.
    pub fn field_type(&self) -> FieldType {
        FieldType::from_abi(self.types(), &self.as_abi().element)
    }

    /// May its elements be assigned?
    pub fn mutability(&self) -> Mutability {
        self.field_type().mutability
    }

    /// The type of its elements.
    pub fn element_type(&self) -> StorageType {
        self.field_type().element_type
    }
}

/// The type of a field of a struct, or of the elements of an array.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldType {
    mutability: Mutability,
    element_type: StorageType,
}

impl FieldType {
    /// A field that stores this.
    pub fn new(mutability: Mutability, element_type: StorageType) -> FieldType {
        FieldType {
            mutability,
            element_type,
        }
    }

    /// May it be assigned?
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    /// What it stores.
    pub fn element_type(&self) -> &StorageType {
        &self.element_type
    }

    /// May a field of this type be where `other` is declared?
    pub fn matches(&self, other: &FieldType) -> bool {
        self.mutability == other.mutability
            && match self.mutability {
                Mutability::Const => self.element_type.matches(&other.element_type),
                Mutability::Var => self.element_type == other.element_type,
            }
    }

    fn from_abi(types: &Arc<TypeRegistry>, field: &abi::FieldType) -> FieldType {
        let element_type = match field.storage {
            abi::StorageType::I8 => StorageType::I8,
            abi::StorageType::I16 => StorageType::I16,
            abi::StorageType::Val(ty) => StorageType::ValType(ValType::from_abi(types, ty)),
        };
        FieldType::new(Mutability::of(field.mutable), element_type)
    }

    fn adopt(self, types: &Arc<TypeRegistry>) -> Result<FieldType> {
        let element_type = match self.element_type {
            StorageType::ValType(ty) => StorageType::ValType(ty.adopt(types)?),
            packed => packed,
        };
        Ok(FieldType::new(self.mutability, element_type))
    }

    fn to_abi(&self) -> abi::FieldType {
        abi::FieldType {
            storage: match &self.element_type {
                StorageType::I8 => abi::StorageType::I8,
                StorageType::I16 => abi::StorageType::I16,
                StorageType::ValType(ty) => abi::StorageType::Val(ty.to_abi()),
            },
            mutable: self.mutability.is_var(),
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_abi().fmt(f)
    }
}

/// What a field or an element stores.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StorageType {
    /// 8 bits, an `i32` when read.
    I8,
    /// 16 bits, an `i32` when read.
    I16,
    /// A value.
    ValType(ValType),
}

impl StorageType {
    /// Is it `i8`?
    pub fn is_i8(&self) -> bool {
        matches!(self, StorageType::I8)
    }

    /// Is it `i16`?
    pub fn is_i16(&self) -> bool {
        matches!(self, StorageType::I16)
    }

    /// Does it store a value?
    pub fn is_val_type(&self) -> bool {
        self.as_val_type().is_some()
    }

    /// The type of the value it stores, if it stores one.
    pub fn as_val_type(&self) -> Option<&ValType> {
        match self {
            StorageType::ValType(ty) => Some(ty),
            _ => None,
        }
    }

    /// The type of the value it stores.
    ///
    /// # Panics
    /// If it stores none.
    pub fn unwrap_val_type(&self) -> &ValType {
        self.as_val_type().expect("type of a value")
    }

    /// The type of what is read: `i32` for what is packed.
    pub fn unpack(&self) -> &ValType {
        self.as_val_type().unwrap_or(&ValType::I32)
    }

    /// May what is stored as this be used where `other` is expected?
    pub fn matches(&self, other: &StorageType) -> bool {
        match (self, other) {
            (StorageType::ValType(a), StorageType::ValType(b)) => a.matches(b),
            (a, b) => a == b,
        }
    }
}

impl From<ValType> for StorageType {
    fn from(ty: ValType) -> StorageType {
        StorageType::ValType(ty)
    }
}

impl From<RefType> for StorageType {
    fn from(ty: RefType) -> StorageType {
        StorageType::ValType(ty.into())
    }
}

impl fmt::Display for StorageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageType::I8 => f.write_str("i8"),
            StorageType::I16 => f.write_str("i16"),
            StorageType::ValType(ty) => ty.fmt(f),
        }
    }
}
