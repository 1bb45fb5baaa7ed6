//! The types of what modules import and export.

use super::{FuncType, RefType, ValType};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes in a page of a linear memory that does not choose its own page size.
pub const WASM_PAGE_SIZE: u64 = 1 << 16;

/// The type of a table. Sizes are in elements.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableType {
    /// Type of the elements.
    pub element: RefType,
    /// Initial size in elements.
    pub minimum: u64,
    /// Largest size in elements, if limited.
    pub maximum: Option<u64>,
    /// Indexed by `i64` rather than `i32`?
    pub table64: bool,
}

impl TableType {
    /// The most elements it can have: its maximum, or what its indices reach.
    pub fn largest(&self) -> u64 {
        let reach = if self.table64 {
            u64::MAX
        } else {
            u32::MAX.into()
        };
        self.maximum.unwrap_or(reach)
    }
}

impl fmt::Display for TableType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(table ")?;
        if self.table64 {
            f.write_str("i64 ")?;
        }
        write!(f, "{}", self.minimum)?;
        if let Some(max) = self.maximum {
            write!(f, " {max}")?;
        }
        write!(f, " {})", self.element)
    }
}

/// The type of a linear memory. Sizes are in pages of the memory's own page size.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemoryType {
    /// Initial size in pages.
    pub minimum: u64,
    /// Largest size in pages, if limited.
    pub maximum: Option<u64>,
    /// Indexed by `i64` rather than `i32`?
    pub memory64: bool,
    /// May several threads use it at once?
    pub shared: bool,
    /// Bytes in a page, as a power of two: 16 unless the memory chose its own.
    pub page_size_log2: u8,
}

impl MemoryType {
    /// Bytes in a page of this memory.
    pub fn page_size(&self) -> u64 {
        1 << self.page_size_log2
    }

    /// Does it end where pages of the machine do, so that what lies behind it can be made inaccessible?
    pub fn has_whole_pages(&self) -> bool {
        self.page_size() >= crate::artifact::IMAGE_ALIGN
    }

    /// The most pages it can have: its maximum, or what its addresses reach.
    pub fn largest(&self) -> u64 {
        let reach = if self.memory64 { u64::MAX } else { 1 << 32 };
        self.maximum.unwrap_or(reach / self.page_size())
    }

    /// Initial size in bytes, or `None` if it does not fit in 64 bits.
    pub fn minimum_bytes(&self) -> Option<u64> {
        self.minimum.checked_mul(self.page_size())
    }

    /// The most pages this memory may ever have, by its type and the width of its index.
    pub fn maximum_pages(&self) -> u64 {
        let addressable = if self.memory64 {
            // 2^64 pages of one byte do not fit in a u64; one less is beyond any machine anyway.
            1u64.checked_shl(64 - u32::from(self.page_size_log2))
                .unwrap_or(u64::MAX)
        } else {
            (1 << 32) >> self.page_size_log2
        };
        self.maximum.map_or(addressable, |m| m.min(addressable))
    }

    /// The most bytes this memory may ever have, as [`maximum_pages`](Self::maximum_pages); `u64::MAX` if they do not fit in 64 bits.
    pub fn maximum_bytes(&self) -> u64 {
        self.maximum_pages().saturating_mul(self.page_size())
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(memory ")?;
        if self.memory64 {
            f.write_str("i64 ")?;
        }
        write!(f, "{}", self.minimum)?;
        if let Some(max) = self.maximum {
            write!(f, " {max}")?;
        }
        if self.shared {
            f.write_str(" shared")?;
        }
        if self.page_size_log2 != 16 {
            write!(f, " (pagesize {})", self.page_size())?;
        }
        f.write_str(")")
    }
}

/// The type of a global.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GlobalType {
    /// Type of the value.
    pub content: ValType,
    /// May it be assigned?
    pub mutable: bool,
}

impl fmt::Display for GlobalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mutable {
            write!(f, "(global (mut {}))", self.content)
        } else {
            write!(f, "(global {})", self.content)
        }
    }
}

/// The type of an exception tag: a function type whose parameters are what an exception carries. It has no results.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TagType {
    /// Types of the values an exception with this tag carries.
    pub params: Box<[ValType]>,
}

impl fmt::Display for TagType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(tag")?;
        if !self.params.is_empty() {
            f.write_str(" (param")?;
            for ty in &self.params {
                write!(f, " {ty}")?;
            }
            f.write_str(")")?;
        }
        f.write_str(")")
    }
}

/// The type of an import or export, whatever its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntityType {
    /// A function.
    Func(FuncType),
    /// A table.
    Table(TableType),
    /// A memory.
    Memory(MemoryType),
    /// A global.
    Global(GlobalType),
    /// An exception tag.
    Tag(TagType),
}

impl fmt::Display for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntityType::Func(t) => t.fmt(f),
            EntityType::Table(t) => t.fmt(f),
            EntityType::Memory(t) => t.fmt(f),
            EntityType::Global(t) => t.fmt(f),
            EntityType::Tag(t) => t.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_print_in_text_format_notation() {
        let func = FuncType {
            params: [ValType::I32, ValType::FUNCREF].into(),
            results: [ValType::V128].into(),
        };
        assert_eq!(func.to_string(), "(func (param i32 funcref) (result v128))");
        let memory = MemoryType {
            minimum: 1,
            maximum: Some(2),
            memory64: true,
            shared: true,
            page_size_log2: 0,
        };
        assert_eq!(memory.to_string(), "(memory i64 1 2 shared (pagesize 1))");
    }

    #[test]
    fn a_32_bit_memory_never_passes_4_gib() {
        let memory = MemoryType {
            minimum: 0,
            maximum: Some(1 << 20),
            memory64: false,
            shared: false,
            page_size_log2: 16,
        };
        assert_eq!(memory.maximum_pages(), 1 << 16);
    }
}
