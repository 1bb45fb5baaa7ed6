//! WebAssembly types, as module facts use them.
//!
//! They print in the notation of the text format, because error messages name types that way.
//!
//! | file | types |
//! |---|---|
//! | [`value`] | [`ValType`], [`FuncType`] |
//! | [`heap`] | [`RefType`], [`HeapType`], [`TypeRef`] |
//! | [`defined`] | [`SubType`], [`CompositeType`], [`StructType`], [`ArrayType`] |
//! | [`entity`] | [`EntityType`], [`TableType`], [`MemoryType`], [`GlobalType`], [`TagType`] |

pub mod defined;
pub mod entity;
pub mod heap;
pub mod value;

pub use defined::{
    ArrayType, CompositeType, FieldType, MAX_SUBTYPING_DEPTH, StorageType, StructType, SubType,
};
pub use entity::{EntityType, GlobalType, MemoryType, TableType, TagType, WASM_PAGE_SIZE};
pub use heap::{HeapType, Hierarchy, RefType, TypeRef};
pub use value::{FuncType, Representation, ValType};
