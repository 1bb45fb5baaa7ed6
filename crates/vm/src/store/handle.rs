//! Handles: what the world outside a store holds of the things inside it.
//!
//! A handle is an address in a store's instances, the store's id, and the number of the instance that has what it names. Ids are
//! never reused, and neither are numbers within a store: one is given up when its instance is [removed](super::inner), before the
//! instance can go. So a handle whose id is that of a living store and whose number is still given to something there is good, and
//! the address is never looked at before that was checked. That makes handles freely copyable, sendable and comparable.

use super::StoreId;
use crate::error::{HandleError, InstanceNumber, WrongStore};
use crate::instance::Instance;
use cowling_abi::layout::{VmFuncRef, VmTag};
use cowling_abi::{DefinedGlobalIndex, DefinedMemoryIndex, DefinedTableIndex};
use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};

/// What all handles have.
pub(crate) trait Handle {
    /// What it names, for messages.
    const WHAT: &'static str;

    /// The store it belongs to, and who has what it names.
    fn owner(&self) -> (StoreId, InstanceNumber);
}

/// An address that does not look like one. Handles lie on guest stacks, in frames of host functions, and are not what keeps things
/// alive: whoever looks for addresses there is not to find theirs.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
struct Hidden(NonZeroUsize);

impl Hidden {
    #[inline(always)]
    fn new(pointer: NonNull<u8>) -> Hidden {
        let hidden = !pointer.as_ptr().expose_provenance();
        // SAFETY: nothing is at the last address, which is the system's.
        Hidden(unsafe { NonZeroUsize::new_unchecked(hidden) })
    }

    #[inline(always)]
    fn address(self) -> usize {
        !self.0.get()
    }

    #[inline(always)]
    fn pointer(self) -> NonNull<u8> {
        let pointer = ptr::with_exposed_provenance_mut(self.address());
        // SAFETY: it was made of one that is not null.
        unsafe { NonNull::new_unchecked(pointer) }
    }
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident $what:literal $to:ty { $($field:ident: $ty:ty),* })*) => {$(
        $(#[$doc])*
        ///
        /// Two handles are equal exactly when they name the same thing.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name {
            store: StoreId,
            number: InstanceNumber,
            hidden: Hidden,
            $(pub(crate) $field: $ty,)*
        }

        impl $name {
            #[inline(always)]
            pub(crate) fn new(store: StoreId, number: InstanceNumber, to: NonNull<$to>, $($field: $ty),*) -> Self {
                Self { store, number, hidden: Hidden::new(to.cast()), $($field),* }
            }

            /// Where it is. To be followed only after the handle was [checked](super::StoreInner::check).
            #[inline(always)]
            pub(crate) fn pointer(&self) -> NonNull<$to> {
                self.hidden.pointer().cast()
            }

            /// The store it belongs to.
            pub fn store_id(&self) -> StoreId {
                self.store
            }

            /// The instance that has it.
            pub fn instance_number(&self) -> InstanceNumber {
                self.number
            }
        }

        impl Handle for $name {
            const WHAT: &'static str = $what;

            #[inline(always)]
            fn owner(&self) -> (StoreId, InstanceNumber) {
                (self.store, self.number)
            }
        }
    )*};
}

handles! {
    /// A function in a store.
    FuncHandle "function" VmFuncRef {}
    /// A table in a store, named by the instance that defines it.
    TableHandle "table" Instance { index: DefinedTableIndex }
    /// A memory in a store, named by the instance that defines it.
    MemoryHandle "memory" Instance { index: DefinedMemoryIndex }
    /// A global in a store, named by the instance that defines it.
    GlobalHandle "global" Instance { index: DefinedGlobalIndex }
    /// An exception tag in a store.
    TagHandle "tag" VmTag {}
    /// An instance in a store.
    InstanceHandle "exports" Instance {}
}

impl FuncHandle {
    /// The address by which guests know the function.
    #[inline(always)]
    pub(crate) fn address(&self) -> usize {
        self.hidden.address()
    }
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

    /// Checks that it names something of a store.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self, store: &super::StoreInner) -> Result<(), HandleError> {
        match self {
            ExternHandle::Func(h) => store.check(h),
            ExternHandle::Table(h) => store.check(h),
            ExternHandle::Memory(h) => store.check(h),
            ExternHandle::Global(h) => store.check(h),
            ExternHandle::Tag(h) => store.check(h),
        }
    }
}

impl super::StoreInner {
    /// Checks that a handle names something of this store. One comparison as long as nothing was removed from it.
    ///
    /// # Errors
    /// When it is another store's, or what it names has been removed.
    #[inline(always)]
    pub(crate) fn check<H: Handle>(&self, handle: &H) -> Result<(), HandleError> {
        let (store, number) = handle.owner();
        if store == self.unremoved_id() {
            return Ok(());
        }
        self.check_number(store, number, H::WHAT)
    }

    #[inline(never)]
    fn check_number(
        &self,
        store: StoreId,
        instance: InstanceNumber,
        what: &'static str,
    ) -> Result<(), HandleError> {
        if store != self.id() {
            return Err(HandleError::WrongStore(WrongStore));
        }
        match self.places().number(instance.place) == Some(instance) {
            true => Ok(()),
            false => Err(HandleError::Removed(crate::error::Removed {
                what,
                instance,
            })),
        }
    }
}
