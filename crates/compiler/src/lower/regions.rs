//! Alias regions: which accesses can never meet.
//!
//! ```text
//!   region                     what lies in it
//!   runtime records            fields of the VMContext and of records it points at, that the runtime may change
//!   memory n                   bytes of a memory this module defines
//!   imported memories          bytes of all imported memories: two imports may be the same memory
//!   table n, imported tables   elements, likewise
//!   global n, imported globals values, likewise
//!   locals                     those that are kept in the frame
//!   objects                    headers; fields of structs by their offset; elements of arrays by their width and kind
//! ```
//!
//! A defined entity never is also an imported one: an instance's imports exist before the instance does. Another instance
//! may hold a defined entity as its import, but its code runs only inside a call, and nothing is assumed across calls.
//!
//! The numbers below are the same in every function of a module, so that regions stay what they are when one function is
//! inlined into another. The code generator's table of flags has 65,534 entries and a module may define a million globals,
//! therefore only the first few globals (where toolchains keep their stack pointer) have regions of their own.

use cowling_abi::entity::EntityRef;
use cowling_abi::{DefinedGlobalIndex, DefinedMemoryIndex, DefinedTableIndex};
use cranelift_codegen::ir::{AliasRegion, AliasRegionData, DataFlowGraph, Function};

/// Globals from this one on share a region.
const OWN_GLOBAL_REGIONS: usize = 32;

/// Fields of structs from this word on share a region.
const OWN_FIELD_REGIONS: u32 = 64;

/// Bits of a region's number that say what kind it is of.
const KIND_BITS: u32 = 3;

/// The kind of memories.
const MEMORY: u32 = 1;

/// The memory of this module that a region is, if it is one.
pub(crate) fn own_memory(dfg: &DataFlowGraph, region: AliasRegion) -> Option<DefinedMemoryIndex> {
    let id = dfg.alias_regions[region].user_id;
    let is_memory = id & ((1 << KIND_BITS) - 1) == MEMORY;
    let position = (id >> KIND_BITS).checked_sub(1).filter(|_| is_memory);
    position.map(DefinedMemoryIndex::from_u32)
}

/// A part of memory that overlaps no other part.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Region {
    /// Records of the runtime.
    Runtime,
    /// A memory; `None` for any imported one.
    Memory(Option<DefinedMemoryIndex>),
    /// The elements of a table; `None` for any imported one.
    Table(Option<DefinedTableIndex>),
    /// A global; `None` for any imported one.
    Global(Option<DefinedGlobalIndex>),
    /// Where the next object goes.
    Allocation,
    /// Headers of objects.
    ObjectHeaders,
    /// The table of where objects start.
    ObjectStarts,
    /// Locals in the frame.
    Locals,
    /// Fields of structs at this offset, in words of 4 bytes.
    StructFields(u32),
    /// Elements of arrays of this width and kind.
    ArrayElements(u32),
}

impl Region {
    /// Declares the region in a function, once.
    pub(super) fn declare(self, function: &mut Function) -> AliasRegion {
        // Position 0 of a kind is for its imported entities.
        let place = |index: Option<usize>| index.map_or(0, |index| index as u32 + 1);
        let (kind, name, position) = match self {
            Region::Runtime => (0, "runtime records", 0),
            Region::Memory(index) => (MEMORY, "memory", place(index.map(EntityRef::index))),
            Region::Table(index) => (2, "table", place(index.map(EntityRef::index))),
            Region::Global(index) => {
                let index = index.map(|i| i.index().min(OWN_GLOBAL_REGIONS));
                (3, "global", place(index))
            }
            Region::Allocation => (4, "allocation", 0),
            Region::ObjectHeaders => (4, "object headers", 1),
            Region::ObjectStarts => (4, "object starts", 2),
            Region::Locals => (4, "locals", 3),
            Region::StructFields(word) => (5, "field at word", word.min(OWN_FIELD_REGIONS)),
            Region::ArrayElements(kind) => (6, "elements of kind", kind),
        };
        let user_id = kind | position << KIND_BITS;
        if let Some(known) = function.dfg.alias_regions.get(user_id) {
            return known;
        }
        let description = match (kind, position) {
            (0 | 4, _) => name.into(),
            (1..=3, 0) => format!("imported {name}").into(),
            (3, position) if position as usize > OWN_GLOBAL_REGIONS => "other globals".into(),
            (1..=3, position) => format!("{name} {}", position - 1).into(),
            (5, OWN_FIELD_REGIONS) => "other fields".into(),
            (_, position) => format!("{name} {position}").into(),
        };
        function.dfg.alias_regions.insert(AliasRegionData {
            user_id,
            description,
        })
    }
}
