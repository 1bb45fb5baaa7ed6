//! What the collector knows of types.

use cowling_abi::gc_heap::{GRANULE, HEADER_SIZE};
use cowling_abi::gc_layout::GcLayout;
use cowling_abi::layout::TypeRow;

/// The types of an engine, for as long as a collection takes: those of a store's objects are alive.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Layouts(*const TypeRow);

impl Layouts {
    /// # Safety
    /// `rows` are an engine's. Only types of objects are asked for, which are alive as long as the objects' store.
    pub(crate) unsafe fn new(rows: *const TypeRow) -> Layouts {
        Layouts(rows)
    }

    /// The layout of a type's objects.
    #[inline]
    pub(crate) fn get(&self, type_id: u32) -> &GcLayout {
        // SAFETY: the type is alive, so its row stays as it is; and it is a type of objects, so there is a layout.
        unsafe { &*(*self.0.add(type_id as usize)).layout }
    }
}

/// Bytes that an object takes, of this layout and with this word behind its type id.
pub(crate) fn object_size(layout: &GcLayout, word: u32) -> u64 {
    let bytes = match layout {
        GcLayout::Struct(layout) => u64::from(layout.size),
        GcLayout::Array(layout) => layout.size(word),
    };
    bytes
        .max(u64::from(HEADER_SIZE))
        .next_multiple_of(u64::from(GRANULE))
}
