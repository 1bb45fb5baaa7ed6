//! Removing things from a store that lives on.
//!
//! What is removed is freed as soon as nothing in the store reaches it. `docs/freeing.md` says what that means.

use crate::error::Result;
use crate::exception::Tag;
use crate::func::Func;
use crate::global::Global;
use crate::instance::Instance;
use crate::memory::Memory;
use crate::store::AsContextMut;
use crate::table::Table;
use cowling_vm as vm;

/// What became of something that was removed from its store.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// It is gone. What it took can be used again: slot, memories, tables, and its part of the store's limits.
    Freed,
    /// Something in the store still reaches it. It stays for that, and is freed when nothing reaches it any more: the next removal from
    /// the store, or [`Store::gc`](crate::Store::gc), finds out.
    Kept(Holder),
}

impl Removal {
    /// Is it gone?
    pub fn is_freed(&self) -> bool {
        matches!(self, Removal::Freed)
    }
}

/// What keeps something that was removed: the first thing found, of perhaps many.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// An instance: it imports it, or has a reference to one of its functions in a table or global. A table or global that the host
    /// made counts as an instance without exports.
    Instance(Instance),
    /// An object or exception that is alive refers to one of its functions or tags.
    Object,
    /// It runs or is suspended, or something that does has a reference to it, or it has the slot whose stack the store is using.
    Stack,
    /// Nothing can be freed now: a guest of the store was interrupted between two instructions, the store's call hook runs, or another
    /// thread waits for this call in a host function.
    Interrupted,
}

impl Removal {
    fn from_vm(removal: vm::Removal) -> Removal {
        match removal {
            vm::Removal::Freed => Removal::Freed,
            vm::Removal::Kept(vm::Holder::Instance(handle)) => {
                Removal::Kept(Holder::Instance(Instance::from_vm(handle)))
            }
            vm::Removal::Kept(vm::Holder::Object) => Removal::Kept(Holder::Object),
            vm::Removal::Kept(vm::Holder::Stack) => Removal::Kept(Holder::Stack),
            vm::Removal::Kept(vm::Holder::Interrupted) => Removal::Kept(Holder::Interrupted),
        }
    }
}

impl Instance {
    /// Removes the instance from its store.
    ///
    /// This and every other handle to it, and to functions, tables, memories, globals and tags that it defines, is no good from now on:
    /// methods fail with [`Removed`](crate::Removed), or answer as for another store. It is freed at once if nothing in the store
    /// reaches it: no import, table, global, object or exception, and nothing that runs or is suspended. Otherwise it stays as
    /// it is for whatever reaches it, and new handles to its functions may be had from there.
    ///
    /// The store is looked through for this: its instances with their tables, what is on its stacks, and its heap if objects in it
    /// may refer to functions or there are exceptions.
    ///
    /// ```
    /// use cowling::{Engine, Instance, Module, Removed, Store};
    ///
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, "(module (func (export \"seven\") (result i32) i32.const 7))")?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let seven = instance.get_typed_func::<(), i32>(&mut store, "seven")?;
    /// assert_eq!(seven.call(&mut store, ())?, 7);
    /// assert!(instance.remove(&mut store)?.is_freed());
    /// let error = seven.call(&mut store, ()).unwrap_err();
    /// assert!(error.is::<Removed>());
    /// # Ok::<(), cowling::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`WrongStore`](crate::WrongStore), and [`Removed`](crate::Removed) if it was removed before.
    pub fn remove(self, mut store: impl AsContextMut) -> Result<Removal> {
        let mut store = store.as_context_mut();
        let removal = store.inner_mut().remove_instance(self.to_vm())?;
        store.0.data_mut().forget_modules();
        Ok(Removal::from_vm(removal))
    }
}

macro_rules! made_by_the_host {
    ($($ty:ident $what:literal $remove:ident;)*) => {$(
        impl $ty {
            #[doc = concat!("Removes a ", $what, " that the host has made in a store. See [`Instance::remove`].")]
            ///
            /// # Errors
            #[doc = concat!("[`RemoveError`](crate::RemoveError) for a ", $what, " that an instance defines: it goes with that. ")]
            /// [`WrongStore`](crate::WrongStore), and [`Removed`](crate::Removed) if it was removed before.
            pub fn remove(self, mut store: impl AsContextMut) -> Result<Removal> {
                let mut store = store.as_context_mut();
                Ok(Removal::from_vm(store.inner_mut().$remove(self.to_vm())?))
            }
        }
    )*};
}

made_by_the_host! {
    Func "function" remove_func;
    Memory "memory" remove_memory;
    Table "table" remove_table;
    Global "global" remove_global;
    Tag "tag" remove_tag;
}
