//! Types of what a module imports, defines and exports.

use super::defined::{FieldType, Finality, FuncType, Mutability, StorageType};
use super::value::{RefType, ValType};
use crate::engine::Engine;
use crate::error::{Result, bail};
use cowling_abi as abi;
use cowling_vm::{CompiledModule, TypeRegistry};
use std::fmt;
use std::sync::Arc;

/// The type of a table. Sizes are in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableType {
    element: RefType,
    minimum: u64,
    maximum: Option<u64>,
    table64: bool,
}

impl TableType {
    /// A table indexed by `i32`, of at least `min` and, if given, at most `max` elements.
    pub fn new(element: RefType, min: u32, max: Option<u32>) -> TableType {
        TableType {
            element,
            minimum: min.into(),
            maximum: max.map(u64::from),
            table64: false,
        }
    }

    /// A table indexed by `i64`.
    pub fn new64(element: RefType, min: u64, max: Option<u64>) -> TableType {
        TableType {
            element,
            minimum: min,
            maximum: max,
            table64: true,
        }
    }

    /// The type of the elements.
    pub fn element(&self) -> &RefType {
        &self.element
    }

    /// Initial size in elements.
    pub fn minimum(&self) -> u64 {
        self.minimum
    }

    /// Largest size in elements, if limited.
    pub fn maximum(&self) -> Option<u64> {
        self.maximum
    }

    /// Is it indexed by `i64`?
    pub fn is_64(&self) -> bool {
        self.table64
    }

    /// The same type in an engine, which may be another than it was made for.
    pub(crate) fn adopt(&self, types: &Arc<TypeRegistry>) -> Result<TableType> {
        Ok(TableType {
            element: self.element.adopt(types)?,
            ..self.clone()
        })
    }

    pub(crate) fn from_abi(types: &Arc<TypeRegistry>, ty: abi::TableType) -> TableType {
        TableType {
            element: RefType::from_abi(types, ty.element),
            minimum: ty.minimum,
            maximum: ty.maximum,
            table64: ty.table64,
        }
    }

    pub(crate) fn to_abi(&self) -> abi::TableType {
        abi::TableType {
            element: self.element.to_abi(),
            minimum: self.minimum,
            maximum: self.maximum,
            table64: self.table64,
        }
    }
}

impl fmt::Display for TableType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_abi().fmt(f)
    }
}

/// The type of a linear memory. Sizes are in pages of the memory's own page size.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemoryType(abi::MemoryType);

impl MemoryType {
    /// A memory indexed by `i32` with pages of 64 KiB, of at least `minimum` and, if given, at most `maximum` pages.
    ///
    /// Limits that make no sense (more than 65,536 pages, a maximum below the minimum) are refused when the memory is created.
    pub fn new(minimum: u32, maximum: Option<u32>) -> MemoryType {
        MemoryType(abi::MemoryType {
            minimum: minimum.into(),
            maximum: maximum.map(u64::from),
            memory64: false,
            shared: false,
            page_size_log2: 16,
        })
    }

    /// A memory indexed by `i64` with pages of 64 KiB.
    pub fn new64(minimum: u64, maximum: Option<u64>) -> MemoryType {
        MemoryType(abi::MemoryType {
            minimum,
            maximum,
            memory64: true,
            shared: false,
            page_size_log2: 16,
        })
    }

    /// A [shared memory](crate::SharedMemory), indexed by `i32`, with pages of 64 KiB.
    pub fn shared(minimum: u32, maximum: u32) -> MemoryType {
        MemoryType(abi::MemoryType {
            shared: true,
            ..MemoryType::new(minimum, Some(maximum)).0
        })
    }

    /// Starts with a memory of 0 pages and sets what is given to the builder.
    pub fn builder() -> MemoryTypeBuilder {
        MemoryTypeBuilder::default()
    }

    /// Is it indexed by `i64`?
    pub fn is_64(&self) -> bool {
        self.0.memory64
    }

    /// May several threads use it at once?
    pub fn is_shared(&self) -> bool {
        self.0.shared
    }

    /// Initial size in pages.
    pub fn minimum(&self) -> u64 {
        self.0.minimum
    }

    /// Largest size in pages, if limited.
    pub fn maximum(&self) -> Option<u64> {
        self.0.maximum
    }

    /// Bytes in a page.
    pub fn page_size(&self) -> u64 {
        self.0.page_size()
    }

    /// Bytes in a page, as a power of two.
    pub fn page_size_log2(&self) -> u8 {
        self.0.page_size_log2
    }

    pub(crate) fn from_abi(ty: abi::MemoryType) -> MemoryType {
        MemoryType(ty)
    }

    pub(crate) fn to_abi(&self) -> abi::MemoryType {
        self.0
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Builds a [`MemoryType`].
#[derive(Clone, Debug)]
pub struct MemoryTypeBuilder(abi::MemoryType);

impl Default for MemoryTypeBuilder {
    fn default() -> Self {
        MemoryTypeBuilder(MemoryType::new(0, None).0)
    }
}

impl MemoryTypeBuilder {
    /// For a memory of 0 pages of 64 KiB, indexed by `i32`.
    pub fn new() -> MemoryTypeBuilder {
        MemoryTypeBuilder::default()
    }

    /// Sets the initial size in pages.
    pub fn min(&mut self, minimum: u64) -> &mut Self {
        self.0.minimum = minimum;
        self
    }

    /// Sets or lifts the limit of the size in pages.
    pub fn max(&mut self, maximum: Option<u64>) -> &mut Self {
        self.0.maximum = maximum;
        self
    }

    /// Chooses `i64` indices.
    pub fn memory64(&mut self, memory64: bool) -> &mut Self {
        self.0.memory64 = memory64;
        self
    }

    /// Lets several threads use it at once. Such a memory needs a maximum.
    pub fn shared(&mut self, shared: bool) -> &mut Self {
        self.0.shared = shared;
        self
    }

    /// Sets the bytes in a page, as a power of two: 16 or 0.
    pub fn page_size_log2(&mut self, page_size_log2: u8) -> &mut Self {
        self.0.page_size_log2 = page_size_log2;
        self
    }

    /// The finished type.
    ///
    /// # Errors
    /// When the page size is not one WebAssembly knows, the limits are out of order or beyond what an index reaches, or a shared
    /// memory has no maximum.
    pub fn build(&self) -> Result<MemoryType> {
        let ty = self.0;
        if !matches!(ty.page_size_log2, 0 | 16) {
            bail!("a page has 1 or 65536 bytes, not 2^{}", ty.page_size_log2);
        }
        if ty.shared && ty.maximum.is_none() {
            bail!("a shared memory needs a maximum");
        }
        if ty.maximum.is_some_and(|max| max < ty.minimum) {
            bail!("{ty}: the maximum is below the minimum");
        }
        let reach = abi::MemoryType {
            maximum: None,
            ..ty
        }
        .maximum_pages();
        if ty.maximum.unwrap_or(ty.minimum) > reach {
            bail!("{ty}: its index reaches no more than {reach} pages");
        }
        Ok(MemoryType(ty))
    }
}

/// The type of a global.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GlobalType {
    content: ValType,
    mutability: Mutability,
}

impl GlobalType {
    /// A global type from the type of its value and whether it may be assigned.
    pub fn new(content: ValType, mutability: Mutability) -> GlobalType {
        GlobalType {
            content,
            mutability,
        }
    }

    /// Type of the value.
    pub fn content(&self) -> &ValType {
        &self.content
    }

    /// May it be assigned?
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    /// The same type in an engine, which may be another than it was made for.
    pub(crate) fn adopt(&self, types: &Arc<TypeRegistry>) -> Result<GlobalType> {
        Ok(GlobalType::new(self.content.adopt(types)?, self.mutability))
    }

    pub(crate) fn from_abi(types: &Arc<TypeRegistry>, ty: abi::GlobalType) -> GlobalType {
        GlobalType {
            content: ValType::from_abi(types, ty.content),
            mutability: Mutability::of(ty.mutable),
        }
    }

    pub(crate) fn to_abi(&self) -> abi::GlobalType {
        abi::GlobalType {
            content: self.content.to_abi(),
            mutable: self.mutability.is_var(),
        }
    }
}

impl fmt::Display for GlobalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_abi().fmt(f)
    }
}

/// The type of an exception tag: a function type whose parameters are what an exception with this tag carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TagType {
    ty: FuncType,
}

impl TagType {
    /// A tag type from a function type. Its results play no part.
    pub fn new(ty: FuncType) -> TagType {
        TagType { ty }
    }

    /// The function type.
    pub fn ty(&self) -> &FuncType {
        &self.ty
    }
}

impl fmt::Display for TagType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ty = abi::TagType {
            params: self.ty.as_abi().params.clone(),
        };
        ty.fmt(f)
    }
}

/// The type of an exception: that of its tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExnType {
    tag: TagType,
}

impl ExnType {
    /// The type of exceptions that carry these.
    ///
    /// # Errors
    /// [`TypeError`](crate::TypeError) when there are too many types.
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = ValType>) -> Result<ExnType> {
        let ty = FuncType::with_finality_and_supertype(engine, Finality::Final, None, fields, [])?;
        Ok(ExnType {
            tag: TagType::new(ty),
        })
    }

    /// The type of exceptions with a tag of this type.
    ///
    /// # Errors
    /// None today.
    pub fn from_tag_type(tag: &TagType) -> Result<ExnType> {
        Ok(ExnType { tag: tag.clone() })
    }

    /// The type of its tag.
    pub fn tag_type(&self) -> TagType {
        self.tag.clone()
    }

    /// The engine it belongs to.
    pub fn engine(&self) -> &Engine {
        self.tag.ty().engine()
    }

    /// The type of what it carries at `i`, counted from 0: a constant field.
    pub fn field(&self, i: usize) -> Option<FieldType> {
        self.tag.ty().param(i).map(constant)
    }

    /// The types of what it carries: constant fields.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = FieldType> + '_ {
        self.tag.ty().params().map(constant)
    }

    /// Is it the other, or below it? Types of different engines never are.
    pub fn matches(&self, other: &ExnType) -> bool {
        self.tag.ty().matches(other.tag.ty())
    }
}

fn constant(ty: ValType) -> FieldType {
    FieldType::new(Mutability::Const, StorageType::ValType(ty))
}

impl fmt::Display for ExnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tag.fmt(f)
    }
}

/// The type of an import or export, whatever its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A global.
    Global(GlobalType),
    /// A table.
    Table(TableType),
    /// A memory.
    Memory(MemoryType),
    /// An exception tag.
    Tag(TagType),
}

macro_rules! extern_type_accessors {
    ($($variant:ident $ty:ident $get:ident $unwrap:ident $what:literal;)*) => {
        impl ExternType {$(
            #[doc = concat!("The type, if it is that of a ", $what, ".")]
            pub fn $get(&self) -> Option<&$ty> {
                match self {
                    ExternType::$variant(ty) => Some(ty),
                    _ => None,
                }
            }

            #[doc = concat!("The type of a ", $what, ".")]
            ///
            /// # Panics
            #[doc = concat!("If it is not that of a ", $what, ".")]
            pub fn $unwrap(&self) -> &$ty {
                self.$get().expect(concat!("type of a ", $what))
            }
        )*}

        $(impl From<$ty> for ExternType {
            fn from(ty: $ty) -> ExternType {
                ExternType::$variant(ty)
            }
        })*
    };
}

extern_type_accessors! {
    Func FuncType func unwrap_func "function";
    Global GlobalType global unwrap_global "global";
    Table TableType table unwrap_table "table";
    Memory MemoryType memory unwrap_memory "memory";
    Tag TagType tag unwrap_tag "tag";
}

impl ExternType {
    /// The type of something that a module imports, defines or exports.
    pub(crate) fn of_entity(module: &CompiledModule, entity: abi::EntityIndex) -> ExternType {
        let (info, types) = (module.info(), module.type_registry());
        let function = |ty| FuncType::from_registered(module.registered_type(ty));
        match entity {
            abi::EntityIndex::Func(i) => ExternType::Func(function(info.functions[i].ty)),
            abi::EntityIndex::Table(i) => {
                ExternType::Table(TableType::from_abi(types, info.tables[i]))
            }
            abi::EntityIndex::Memory(i) => {
                ExternType::Memory(MemoryType::from_abi(info.memories[i]))
            }
            abi::EntityIndex::Global(i) => {
                ExternType::Global(GlobalType::from_abi(types, info.globals[i]))
            }
            abi::EntityIndex::Tag(i) => ExternType::Tag(TagType::new(function(info.tags[i]))),
        }
    }
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExternType::Func(t) => t.fmt(f),
            ExternType::Global(t) => t.fmt(f),
            ExternType::Table(t) => t.fmt(f),
            ExternType::Memory(t) => t.fmt(f),
            ExternType::Tag(t) => t.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_types_that_make_no_sense_are_refused() {
        let build = |change: fn(&mut MemoryTypeBuilder)| {
            let mut builder = MemoryType::builder();
            change(&mut builder);
            builder.build().map_err(|e| e.to_string())
        };
        assert!(build(|b| _ = b.min(1).max(Some(2))).is_ok());
        assert!(build(|b| _ = b.min(65536)).is_ok());
        assert!(build(|b| _ = b.min(1 << 32).page_size_log2(0)).is_ok());
        assert!(build(|b| _ = b.min(1 << 20).memory64(true)).is_ok());
        for (change, expected) in [
            (
                (|b| _ = b.min(2).max(Some(1))) as fn(&mut MemoryTypeBuilder),
                "maximum is below",
            ),
            (|b| _ = b.min(65537), "no more than 65536"),
            (|b| _ = b.max(Some(65537)), "no more than 65536"),
            (|b| _ = b.page_size_log2(12), "2^12"),
            (|b| _ = b.shared(true), "needs a maximum"),
        ] {
            let error = build(change).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
