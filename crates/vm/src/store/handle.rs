//! Handles: what the world outside a store holds of the things inside it.
//!
//! A handle is a pointer into a store's instances and the store's id. The id is never reused, and everything a handle can point
//! at lives exactly as long as its store; so a handle whose id is that of a living store is good, and the pointer is never
//! looked at before the id was compared. That makes handles freely copyable, sendable and comparable.

use super::StoreId;
use crate::error::WrongStore;
use crate::instance::Instance;
use cowling_abi::layout::{VmFuncRef, VmTag};
use cowling_abi::{DefinedGlobalIndex, DefinedMemoryIndex, DefinedTableIndex};
use std::ptr::NonNull;

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $ty:ty),* })*) => {$(
        $(#[$doc])*
        ///
        /// Two handles are equal exactly when they name the same thing.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name {
            store: StoreId,
            $(pub(crate) $field: $ty,)*
        }

        // SAFETY: the pointer is only followed by a method of the store it belongs to, after comparing ids, under the
        // `&StoreInner` or `&mut StoreInner` that method has; the handle itself is plain data.
        unsafe impl Send for $name {}
        // SAFETY: as above.
        unsafe impl Sync for $name {}

        impl $name {
            pub(crate) fn new(store: StoreId, $($field: $ty),*) -> Self {
                Self { store, $($field),* }
            }

            /// The store it belongs to.
            pub fn store_id(&self) -> StoreId {
                self.store
            }

            /// Checks that it belongs to this store.
            pub(crate) fn check(&self, store: StoreId) -> Result<(), WrongStore> {
                if self.store == store { Ok(()) } else { Err(WrongStore) }
            }
        }
    )*};
}

handles! {
    /// A function in a store.
    FuncHandle { func: NonNull<VmFuncRef> }
    /// A table in a store, named by the instance that defines it.
    TableHandle { instance: NonNull<Instance>, index: DefinedTableIndex }
    /// A memory in a store, named by the instance that defines it.
    MemoryHandle { instance: NonNull<Instance>, index: DefinedMemoryIndex }
    /// A global in a store, named by the instance that defines it.
    GlobalHandle { instance: NonNull<Instance>, index: DefinedGlobalIndex }
    /// An exception tag in a store.
    TagHandle { tag: NonNull<VmTag> }
    /// An instance in a store.
    InstanceHandle { instance: NonNull<Instance> }
}

/// Something an instance can export or import.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExternHandle {
    /// A function.
    Func(FuncHandle),
    /// A table.
    Table(TableHandle),
    /// A memory.
    Memory(MemoryHandle),
    /// A global.
    Global(GlobalHandle),
    /// An exception tag.
    Tag(TagHandle),
}

impl ExternHandle {
    /// The store it belongs to.
    pub fn store_id(&self) -> StoreId {
        match self {
            ExternHandle::Func(h) => h.store_id(),
            ExternHandle::Table(h) => h.store_id(),
            ExternHandle::Memory(h) => h.store_id(),
            ExternHandle::Global(h) => h.store_id(),
            ExternHandle::Tag(h) => h.store_id(),
        }
    }
}
