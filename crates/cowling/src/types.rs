//! Types of values, functions, tables, memories, globals and tags, as embedders see them.
//!
//! | file | types |
//! |---|---|
//! | [`value`] | [`ValType`], [`RefType`], [`HeapType`] |
//! | [`defined`] | [`FuncType`], [`StructType`], [`ArrayType`], [`FieldType`], [`StorageType`], [`Finality`], [`Mutability`] |
//! | [`entity`] | [`TableType`], [`MemoryType`], [`GlobalType`], [`TagType`], [`ExnType`], [`ExternType`] |
//! | [`import_export`] | [`ImportType`], [`ExportType`] |
//!
//! All of them print in the notation of the text format: `(func (param i32) (result i64))`.

pub(crate) mod defined;
pub(crate) mod entity;
pub(crate) mod import_export;
pub(crate) mod value;

pub use defined::{ArrayType, FieldType, Finality, FuncType, Mutability, StorageType, StructType};
pub use entity::{
    ExnType, ExternType, GlobalType, MemoryType, MemoryTypeBuilder, TableType, TagType,
};
pub use import_export::{ExportType, ImportType};
pub use value::{HeapType, RefType, ValType};
