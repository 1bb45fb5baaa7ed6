//! Alias regions: which accesses can never meet.
//!
//! ```text
//!   region                     what lies in it
//!   runtime records            fields of the VMContext and of records it points at, that the runtime may change
//!   memory n                   bytes of a memory this module defines
//!   imported memories          bytes of all imported memories: two imports may be the same memory
//!   table n, imported tables   elements, likewise
//!   global n, imported globals values, likewise
//! ```
//!
//! A defined entity never is also an imported one: an instance's imports exist before the instance does. Another instance
//! may hold a defined entity as its import, but its code runs only inside a call, and nothing is assumed across calls.
//!
//! The numbers below are the same in every function of a module, so that regions stay what they are when one function is
//! inlined into another. The code generator's table of flags has 65,534 entries and a module may define a million globals,
//! therefore only the first few globals (where toolchains keep their stack pointer) have regions of their own.

use cowling_abi::{DefinedGlobalIndex, DefinedMemoryIndex, DefinedTableIndex};
use cranelift_codegen::ir::{AliasRegion, AliasRegionData, Function};
use cranelift_entity::EntityRef;

/// Globals from this one on share a region.
const OWN_GLOBAL_REGIONS: usize = 32;

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
}

impl Region {
    /// Declares the region in a function, once.
    pub(super) fn declare(self, function: &mut Function) -> AliasRegion {
        let (kind, name, position) = match self {
            Region::Runtime => (0, "runtime records", None),
            Region::Memory(index) => (1, "memory", index.map(EntityRef::index)),
            Region::Table(index) => (2, "table", index.map(EntityRef::index)),
            Region::Global(index) => (
                3,
                "global",
                index.map(|i| i.index().min(OWN_GLOBAL_REGIONS)),
            ),
        };
        // Position 0 of a kind is for its imported entities.
        let user_id = kind | position.map_or(0, |p| (p as u32 + 1) << 2);
        if let Some(known) = function.dfg.alias_regions.get(user_id) {
            return known;
        }
        let description = match (self, position) {
            (Region::Runtime, _) => name.into(),
            (Region::Global(_), Some(OWN_GLOBAL_REGIONS)) => "other globals".into(),
            (_, Some(position)) => format!("{name} {position}").into(),
            (_, None) => format!("imported {name}").into(),
        };
        function.dfg.alias_regions.insert(AliasRegionData {
            user_id,
            description,
        })
    }
}
