//! Typed indices.
//!
//! WebAssembly numbers imported entities first and defined ones after them, in one *index space* per kind. `XxxIndex` is a
//! position in that space; `DefinedXxxIndex` counts the defined ones only. [`crate::ModuleInfo`] converts between them.

use cranelift_entity::entity_impl;
use serde::{Deserialize, Serialize};

macro_rules! indices {
    ($($(#[$doc:meta])* $name:ident $prefix:literal,)*) => {$(
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(u32);
        entity_impl!($name, $prefix);
    )*};
}

indices! {
    /// A type in the module's type section.
    TypeIndex "type",
    /// A function, imported or defined.
    FuncIndex "func",
    /// A function defined in this module.
    DefinedFuncIndex "defined_func",
    /// A table, imported or defined.
    TableIndex "table",
    /// A table defined in this module.
    DefinedTableIndex "defined_table",
    /// A memory, imported or defined.
    MemoryIndex "memory",
    /// A memory defined in this module.
    DefinedMemoryIndex "defined_memory",
    /// A global, imported or defined.
    GlobalIndex "global",
    /// A global defined in this module.
    DefinedGlobalIndex "defined_global",
    /// An exception tag, imported or defined.
    TagIndex "tag",
    /// An exception tag defined in this module.
    DefinedTagIndex "defined_tag",
    /// An element segment.
    ElemIndex "elem",
    /// A data segment.
    DataIndex "data",
    /// A position in the VMContext's array of funcrefs: one for each function that *escapes* (is exported, in an element
    /// segment, or named by `ref.func`).
    FuncRefIndex "funcref",
}

/// One entity of any kind, by its index.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntityIndex {
    /// A function.
    Func(FuncIndex),
    /// A table.
    Table(TableIndex),
    /// A memory.
    Memory(MemoryIndex),
    /// A global.
    Global(GlobalIndex),
    /// An exception tag.
    Tag(TagIndex),
}
