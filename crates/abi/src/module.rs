//! The facts of a module: everything the binary says except function bodies and data bytes.
//!
//! The compiler fills a [`ModuleInfo`] while it parses; the artifact stores it; the runtime instantiates from it.

mod functions;

use crate::entity::{EntityRef, PrimaryMap};
use crate::index::*;
use crate::types::*;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The facts of one module.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// The name given by the name section.
    pub name: Option<String>,
    /// Types, as declared (equal types may occur twice). They name each other by [`TypeRef::Module`]; in a module that has been
    /// loaded, everything names types by [`TypeRef::Engine`].
    pub types: PrimaryMap<TypeIndex, SubType>,
    /// Where each recursion group of `types` ends: the index behind its last type. The groups cover all types, in order.
    pub group_ends: Vec<TypeIndex>,
    /// Imports, in order of declaration.
    pub imports: Vec<Import>,
    /// Exports, in order of declaration.
    pub exports: IndexMap<String, EntityIndex>,
    /// All functions, imported first.
    #[serde(with = "functions")]
    pub functions: PrimaryMap<FuncIndex, FunctionInfo>,
    /// All tables, imported first.
    pub tables: PrimaryMap<TableIndex, TableType>,
    /// All memories, imported first.
    pub memories: PrimaryMap<MemoryIndex, MemoryType>,
    /// All globals, imported first.
    pub globals: PrimaryMap<GlobalIndex, GlobalType>,
    /// All exception tags, imported first, each by the function type that declares it.
    pub tags: PrimaryMap<TagIndex, TypeIndex>,
    /// How many of `functions` are imported.
    pub imported_functions: u32,
    /// How many of `tables` are imported.
    pub imported_tables: u32,
    /// How many of `memories` are imported.
    pub imported_memories: u32,
    /// How many of `globals` are imported.
    pub imported_globals: u32,
    /// How many of `tags` are imported.
    pub imported_tags: u32,
    /// How many functions escape, that is: length of the VMContext's funcref array.
    pub escaping_functions: u32,
    /// Initial values of defined globals.
    pub global_inits: PrimaryMap<DefinedGlobalIndex, ConstExpr>,
    /// Initial contents of defined tables.
    pub table_inits: PrimaryMap<DefinedTableIndex, TableInit>,
    /// Element segments.
    pub elements: PrimaryMap<ElemIndex, ElementSegment>,
    /// Data segments.
    pub data: PrimaryMap<DataIndex, DataSegment>,
    /// Initial contents of defined memories: what could be laid out ahead of time.
    pub memory_images: PrimaryMap<DefinedMemoryIndex, Option<MemoryImage>>,
    /// The start function.
    pub start: Option<FuncIndex>,
    /// Has the binary debug information? Whether the artifact keeps it is another question.
    pub has_debug_info: bool,
    /// Bytes of the largest stack frame of its code. Known when it has been compiled; 0 before.
    pub largest_frame: u32,
}

/// One import.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Import {
    /// First part of the name.
    pub module: String,
    /// Second part of the name.
    pub field: String,
    /// Which entity it becomes.
    pub entity: EntityIndex,
}

/// What is known of a function besides its body.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Its type.
    pub ty: TypeIndex,
    /// Its place in the VMContext's funcref array, if it escapes.
    pub funcref: Option<FuncRefIndex>,
}

/// A constant expression: a little stack machine, run at instantiation.
///
/// The expression is valid: it was checked when the module was. Evaluation needs no more than `ops.len()` stack entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConstExpr {
    /// Operators in order; the one value left at the end is the result.
    pub ops: Vec<ConstOp>,
}

/// One operator of a constant expression. Floats are kept as their bits.
#[derive(Debug, Copy, Clone, PartialEq, Serialize, Deserialize)]
pub enum ConstOp {
    /// `i32.const`
    I32Const(i32),
    /// `i64.const`
    I64Const(i64),
    /// `f32.const`, bits
    F32Const(u32),
    /// `f64.const`, bits
    F64Const(u64),
    /// `v128.const`, bits
    V128Const(u128),
    /// `global.get`
    GlobalGet(GlobalIndex),
    /// `ref.null`
    RefNull(HeapType),
    /// `ref.func`
    RefFunc(FuncIndex),
    /// `i32.add`
    I32Add,
    /// `i32.sub`
    I32Sub,
    /// `i32.mul`
    I32Mul,
    /// `i64.add`
    I64Add,
    /// `i64.sub`
    I64Sub,
    /// `i64.mul`
    I64Mul,
    /// `struct.new`
    StructNew(TypeIndex),
    /// `struct.new_default`
    StructNewDefault(TypeIndex),
    /// `array.new`
    ArrayNew(TypeIndex),
    /// `array.new_default`
    ArrayNewDefault(TypeIndex),
    /// `array.new_fixed`, and how many elements
    ArrayNewFixed(TypeIndex, u32),
    /// `ref.i31`
    RefI31,
}

impl ConstOp {
    /// Does it make an object?
    pub fn makes_object(&self) -> bool {
        matches!(
            self,
            ConstOp::StructNew(_)
                | ConstOp::StructNewDefault(_)
                | ConstOp::ArrayNew(_)
                | ConstOp::ArrayNewDefault(_)
                | ConstOp::ArrayNewFixed(..)
        )
    }
}

impl ConstExpr {
    /// Does it make objects, new ones each time it is evaluated?
    pub fn makes_objects(&self) -> bool {
        self.ops.iter().any(ConstOp::makes_object)
    }

    /// The value, if the expression is a single `i32.const` or `i64.const`: an offset known ahead of time.
    /// An `i32` is read as unsigned, as offsets are.
    pub fn constant_offset(&self) -> Option<u64> {
        match self.ops[..] {
            [ConstOp::I32Const(v)] => Some(u64::from(v as u32)),
            [ConstOp::I64Const(v)] => Some(v as u64),
            _ => None,
        }
    }
}

/// Initial contents of a defined table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableInit {
    /// What every element starts as, unless `functions` says otherwise. `None` is null.
    pub fill: Option<ConstExpr>,
    /// Functions laid out ahead of time from leading active segments with constant offsets, from element 0 on; the table's
    /// elements there are built on first use. Shorter than the table or as long. Segments folded in here are marked
    /// [`SegmentMode::Folded`].
    pub functions: Vec<Option<FuncIndex>>,
}

/// How a segment is applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum SegmentMode<Target> {
    /// Copied at instantiation to `offset` of `target`.
    Active {
        /// The table or memory.
        target: Target,
        /// Where to, in elements or bytes.
        offset: ConstExpr,
    },
    /// Was active, is contained in a [`TableInit`] or [`MemoryImage`]: nothing to do, and dropped from the start.
    Folded,
    /// Used by `table.init` or `memory.init`.
    Passive,
    /// Declares functions for `ref.func` only; dropped from the start.
    Declared,
}

/// An element segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ElementSegment {
    /// How it is applied.
    pub mode: SegmentMode<TableIndex>,
    /// Type of its elements.
    pub ty: RefType,
    /// Its elements. Empty if folded or declared.
    pub items: ElementItems,
}

/// Elements of a segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ElementItems {
    /// All are functions.
    Functions(Vec<FuncIndex>),
    /// Each is the value of an expression.
    Expressions(Vec<ConstExpr>),
}

impl ElementItems {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            ElementItems::Functions(f) => f.len(),
            ElementItems::Expressions(e) => e.len(),
        }
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Do expressions make objects? Then each is evaluated once for an instance.
    pub fn make_objects(&self) -> bool {
        match self {
            ElementItems::Functions(_) => false,
            ElementItems::Expressions(e) => e.iter().any(ConstExpr::makes_objects),
        }
    }
}

/// A data segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DataSegment {
    /// How it is applied.
    pub mode: SegmentMode<MemoryIndex>,
    /// Where its bytes are in the artifact's [`crate::artifact::SECTION_DATA`]. Empty if folded.
    pub bytes: Range<u64>,
}

/// Initial contents of a memory, laid out ahead of time, ready to be mapped copy-on-write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MemoryImage {
    /// First byte of the memory it covers. A multiple of [`crate::artifact::IMAGE_ALIGN`].
    pub memory_offset: u64,
    /// Where its bytes are in the artifact's [`crate::artifact::SECTION_IMAGE`]. The start is a multiple of
    /// [`crate::artifact::IMAGE_ALIGN`] and so is the length; it may reach past the memory's initial size, with zeros, when
    /// the page size of the memory is smaller.
    pub bytes: Range<u64>,
}

macro_rules! index_spaces {
    ($($imported:ident, $space:ident, $Index:ident, $DefinedIndex:ident, $defined:ident, $full:ident, $is_imported:ident, $defined_count:ident;)*) => {
        impl ModuleInfo {$(
            #[doc = concat!("The `", stringify!($DefinedIndex), "` of this entity, or `None` if it is imported.")]
            pub fn $defined(&self, index: $Index) -> Option<$DefinedIndex> {
                index.index().checked_sub(self.$imported as usize).map($DefinedIndex::new)
            }

            #[doc = concat!("The position in the whole index space of a `", stringify!($DefinedIndex), "`.")]
            pub fn $full(&self, index: $DefinedIndex) -> $Index {
                $Index::new(index.index() + self.$imported as usize)
            }

            #[doc = "Is this entity imported?"]
            pub fn $is_imported(&self, index: $Index) -> bool {
                index.index() < self.$imported as usize
            }

            #[doc = "How many the module defines itself."]
            pub fn $defined_count(&self) -> usize {
                self.$space.len() - self.$imported as usize
            }
        )*}
    };
}

index_spaces! {
    imported_functions, functions, FuncIndex, DefinedFuncIndex, defined_func, func_index, is_imported_func, defined_func_count;
    imported_tables, tables, TableIndex, DefinedTableIndex, defined_table, table_index, is_imported_table, defined_table_count;
    imported_memories, memories, MemoryIndex, DefinedMemoryIndex, defined_memory, memory_index, is_imported_memory, defined_memory_count;
    imported_globals, globals, GlobalIndex, DefinedGlobalIndex, defined_global, global_index, is_imported_global, defined_global_count;
    imported_tags, tags, TagIndex, DefinedTagIndex, defined_tag, tag_index, is_imported_tag, defined_tag_count;
}

impl ModuleInfo {
    /// Does it define types of objects? Then its code finds the store's heap in place.
    pub fn has_object_types(&self) -> bool {
        let is_object = |ty: &SubType| !matches!(ty.composite, CompositeType::Func(_));
        self.types.values().any(is_object)
    }

    /// A type that is a function's.
    ///
    /// # Panics
    /// If the module has no such type, or it is not a function type.
    pub fn signature(&self, index: TypeIndex) -> &FuncType {
        match &self.types[index].composite {
            CompositeType::Func(ty) => ty,
            other => panic!("{index} is not a function type: {other}"),
        }
    }

    /// Adds a type, in a recursion group of its own.
    pub fn push_type(&mut self, ty: impl Into<SubType>) -> TypeIndex {
        let index = self.types.push(ty.into());
        self.group_ends.push(self.types.next_key());
        index
    }

    /// The recursion groups, in order: which types each has.
    pub fn groups(&self) -> impl Iterator<Item = Range<TypeIndex>> + '_ {
        let starts = std::iter::once(TypeIndex::new(0)).chain(self.group_ends.iter().copied());
        starts
            .zip(self.group_ends.iter().copied())
            .map(|(start, end)| start..end)
    }

    /// Is a type final, without a supertype, and alone in its recursion group? Then it is what its structure says.
    pub fn is_plain_type(&self, index: TypeIndex) -> bool {
        let ty = &self.types[index];
        let group = self.group_ends.partition_point(|end| *end <= index);
        let start = group
            .checked_sub(1)
            .map_or(0, |before| self.group_ends[before].index());
        ty.is_final
            && ty.supertype.is_none()
            && start == index.index()
            && self
                .group_ends
                .get(group)
                .is_some_and(|end| end.index() == start + 1)
    }

    /// Renames every defined type that anything names.
    pub fn rename_types(&mut self, rename: &mut impl FnMut(TypeRef) -> TypeRef) {
        self.types.values_mut().for_each(|ty| ty.rename(rename));
        self.tables
            .values_mut()
            .for_each(|table| table.element.rename(rename));
        self.globals
            .values_mut()
            .for_each(|global| global.content.rename(rename));
        let mut in_expression = |expr: &mut ConstExpr| {
            for op in &mut expr.ops {
                if let ConstOp::RefNull(heap) = op {
                    heap.rename(rename);
                }
            }
        };
        self.global_inits.values_mut().for_each(&mut in_expression);
        let fills = self
            .table_inits
            .values_mut()
            .filter_map(|init| init.fill.as_mut());
        fills.for_each(&mut in_expression);
        for segment in self.elements.values_mut() {
            if let ElementItems::Expressions(exprs) = &mut segment.items {
                exprs.iter_mut().for_each(&mut in_expression);
            }
        }
        self.elements
            .values_mut()
            .for_each(|segment| segment.ty.rename(rename));
    }

    /// The type of a function.
    ///
    /// # Panics
    /// If the module has no such function.
    pub fn func_type(&self, index: FuncIndex) -> &FuncType {
        self.signature(self.functions[index].ty)
    }

    /// The type of a tag.
    ///
    /// # Panics
    /// If the module has no such tag.
    pub fn tag_type(&self, index: TagIndex) -> TagType {
        TagType {
            params: self.signature(self.tags[index]).params.clone(),
        }
    }

    /// The type of any entity.
    ///
    /// # Panics
    /// If the module has no such entity.
    pub fn entity_type(&self, index: EntityIndex) -> EntityType {
        match index {
            EntityIndex::Func(i) => EntityType::Func(self.func_type(i).clone()),
            EntityIndex::Table(i) => EntityType::Table(self.tables[i]),
            EntityIndex::Memory(i) => EntityType::Memory(self.memories[i]),
            EntityIndex::Global(i) => EntityType::Global(self.globals[i]),
            EntityIndex::Tag(i) => EntityType::Tag(self.tag_type(i)),
        }
    }

    /// Notes that a function escapes and gives its place in the VMContext's funcref array.
    pub fn mark_escaping(&mut self, index: FuncIndex) -> FuncRefIndex {
        let function = &mut self.functions[index];
        *function.funcref.get_or_insert_with(|| {
            let place = FuncRefIndex::from_u32(self.escaping_functions);
            self.escaping_functions += 1;
            place
        })
    }
}
