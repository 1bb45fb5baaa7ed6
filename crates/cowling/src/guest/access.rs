//! What a guest and its host functions see of the guest's memory, globals and tables.
//!
//! [`Guest`](super::Guest) and [`Caller`] have the same methods; both are thin faces of the functions here, which take a store and
//! an instance in it. An instance of another store, and no instance, have no memory, no globals and no tables.

use super::Guest;
use super::contexts::Contexts;
use super::error::GuestError;
use crate::error::{AccessError, GrowError};
use crate::func::{Caller, Func};
use crate::store::{AsContext, AsContextMut};
use crate::val::Val;
use cowling_abi::{EntityIndex, GlobalIndex, MemoryIndex, TableIndex};
use cowling_vm::{
    ExternHandle, GlobalHandle, InstanceHandle, MemoryHandle, StoreInner, StoreMut, Value,
};
use std::fmt;

/// A guest's globals, in the order of their indices, imported ones first.
pub struct GlobalsMut<'a> {
    store: &'a mut StoreInner,
    handles: Vec<GlobalHandle>,
}

impl GlobalsMut<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    /// The value of one.
    pub fn get(&mut self, index: u32) -> Option<Val> {
        let handle = *self.handles.get(index as usize)?;
        self.store.global_get(handle).ok().map(Val::from_vm)
    }

    /// Assigns one.
    ///
    /// # Errors
    /// When there is no such global, it is constant, or the value is of another type.
    pub fn set(&mut self, index: u32, value: Val) -> Result<(), GlobalError> {
        let handle = self.handles.get(index as usize);
        let handle = *handle.ok_or(GlobalError::Unknown { index })?;
        Ok(self.store.global_set(handle, value.to_vm())?)
    }
}

impl fmt::Debug for GlobalsMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobalsMut")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// A global was not assigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GlobalError {
    /// There is no such global.
    #[error("guest has no global {index}")]
    Unknown {
        /// Its index in the module.
        index: u32,
    },
    /// It is constant, or the value is of another type.
    #[error(transparent)]
    Access(#[from] AccessError),
}

fn memory_of(store: &StoreInner, instance: Option<InstanceHandle>) -> Option<MemoryHandle> {
    store
        .instance_memory(instance?, MemoryIndex::from_u32(0))
        .ok()?
}

fn bytes(store: &StoreInner, instance: Option<InstanceHandle>) -> &[u8] {
    let memory = memory_of(store, instance);
    let bytes = memory.and_then(|memory| store.memory_data(memory).ok());
    bytes.unwrap_or_default()
}

fn bytes_mut(store: &mut StoreInner, instance: Option<InstanceHandle>) -> &mut [u8] {
    let memory = memory_of(store, instance);
    let bytes = memory.and_then(|memory| store.memory_data_mut(memory).ok());
    bytes.unwrap_or_default()
}

fn contains(bytes: &[u8], address: usize, len: usize) -> bool {
    let start = bytes.as_ptr().addr();
    let end = start + bytes.len();
    address >= start && address <= end && len <= end - address
}

fn grow(
    store: &mut StoreInner,
    instance: Option<InstanceHandle>,
    delta: u64,
) -> Result<u64, GrowError> {
    match memory_of(store, instance) {
        Some(memory) => store.memory_grow(memory, delta),
        None if delta == 0 => Ok(0),
        None => Err(GrowError::BeyondMaximum {
            what: "memory",
            unit: "pages",
            current: 0,
            delta,
            maximum: 0,
        }),
    }
}

fn globals(store: &mut StoreInner, instance: Option<InstanceHandle>) -> GlobalsMut<'_> {
    let mut handles = Vec::new();
    if let Some(instance) = instance {
        let entity = |index| EntityIndex::Global(GlobalIndex::from_u32(index));
        let global = |index| match store.instance_entity(instance, entity(index)) {
            Ok(Some(ExternHandle::Global(global))) => Some(global),
            _ => None,
        };
        handles.extend((0..).map_while(global));
    }
    GlobalsMut { store, handles }
}

fn all_globals(store: &mut StoreInner, instance: Option<InstanceHandle>) -> Vec<Val> {
    let mut globals = globals(store, instance);
    (0..).map_while(|index| globals.get(index)).collect()
}

pub(super) fn table_func(
    store: &mut StoreInner,
    instance: Option<InstanceHandle>,
    table: u32,
    index: u64,
) -> Result<Func, GuestError> {
    let unknown = GuestError::UnknownTable { table };
    let entity = EntityIndex::Table(TableIndex::from_u32(table));
    let handle = match instance.map(|instance| store.instance_entity(instance, entity)) {
        Some(Ok(Some(ExternHandle::Table(handle)))) => handle,
        _ => return Err(unknown),
    };
    match store.table_get(handle, index) {
        Ok(Some(Value::FuncRef(Some(func)))) => Ok(Func::from_vm(func)),
        Ok(Some(Value::FuncRef(None))) => Err(GuestError::NullElement { table, index }),
        Ok(None) => Err(GuestError::TableIndex {
            table,
            index,
            size: store.table_size(handle).unwrap_or_default(),
        }),
        _ => Err(unknown),
    }
}

macro_rules! access {
    ($Type:ident $(, $lifetime:lifetime)?) => {
        impl<T: 'static> $Type<$($lifetime,)? T> {
            /// The bytes of memory 0, exported or not. Empty if there is none, or if it is shared.
            pub fn heap(&self) -> &[u8] {
                bytes(self.as_context().inner(), self.instance_handle())
            }

            /// The bytes of memory 0, for change.
            pub fn heap_mut(&mut self) -> &mut [u8] {
                let instance = self.instance_handle();
                bytes_mut(self.as_context_mut().0.into_inner_mut(), instance)
            }

            /// Memory 0 as words of 32 bits. What is left over at its end is left out.
            pub fn heap_u32(&self) -> &[u32] {
                cowling_vm::words(self.heap())
            }

            /// Memory 0 as words of 32 bits, for change.
            pub fn heap_u32_mut(&mut self) -> &mut [u32] {
                cowling_vm::words_mut(self.heap_mut())
            }

            /// Are these `len` bytes at an address of this process all in memory 0?
            pub fn check_heap<P>(&self, address: *const P, len: usize) -> bool {
                contains(self.heap(), address.addr(), len)
            }

            /// Grows memory 0 by a number of pages of zeros. Gives its size in pages before. Growing by 0 is allowed.
            ///
            /// # Errors
            /// When it would pass its maximum or a limit, the system gives no memory, or it would have to move under a guest
            /// that was interrupted. It is unchanged then. A guest without memory has one of 0 pages that cannot grow.
            pub fn grow_memory(&mut self, delta: u64) -> Result<u64, GrowError> {
                let instance = self.instance_handle();
                grow(self.as_context_mut().inner_mut(), instance, delta)
            }

            /// The values of all globals, exported or not, in the order of their indices.
            pub fn globals(&mut self) -> Vec<Val> {
                let instance = self.instance_handle();
                all_globals(self.as_context_mut().inner_mut(), instance)
            }

            /// All globals, exported or not, for change.
            pub fn globals_mut(&mut self) -> GlobalsMut<'_> {
                let instance = self.instance_handle();
                globals(self.as_context_mut().0.into_inner_mut(), instance)
            }

            /// The function at `index` of a table, exported or not.
            ///
            /// # Errors
            /// When there is no such table of functions, no such element, or it is null.
            pub fn get_func_from_idx(&mut self, table: u32, index: u64) -> Result<Func, GuestError> {
                let instance = self.instance_handle();
                table_func(self.as_context_mut().inner_mut(), instance, table, index)
            }

            /// The embedder's contexts.
            pub fn contexts(&mut self) -> &mut Contexts {
                self.as_context_mut().0.into_data_mut().contexts()
            }

            /// Memory 0 and the embedder's contexts, both for change.
            pub fn heap_and_contexts(&mut self) -> (&mut [u8], &mut Contexts) {
                let instance = self.instance_handle();
                let store: StoreMut<'_, _> = self.as_context_mut().0;
                match memory_of(store.inner(), instance) {
                    Some(memory) => {
                        let (bytes, data) = store.into_memory_and_data(memory);
                        (bytes, data.contexts())
                    }
                    None => (Default::default(), store.into_data_mut().contexts()),
                }
            }
        }
    };
}

access!(Guest);
access!(Caller, '_);
