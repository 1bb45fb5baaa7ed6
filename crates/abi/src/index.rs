//! Typed indices.
//!
//! WebAssembly numbers imported entities first and defined ones after them, in one *index space* per kind. `XxxIndex` is a
//! position in that space; `DefinedXxxIndex` counts the defined ones only. [`crate::ModuleInfo`] converts between them.

use crate::entity::EntityRef;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! indices {
    ($($(#[$doc:meta])* $name:ident $prefix:literal,)*) => {$(
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(u32);

        impl $name {
            /// The index of this number.
            pub const fn from_u32(number: u32) -> $name {
                $name(number)
            }

            /// Its number.
            pub const fn as_u32(self) -> u32 {
                self.0
            }
        }

        impl EntityRef for $name {
            fn new(position: usize) -> $name {
                $name(u32::try_from(position).expect("indices have 32 bits"))
            }

            fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
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
