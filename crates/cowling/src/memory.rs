//! Linear memories.

use crate::error::Result;
use crate::func::asynchronous::asking;
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use crate::types::MemoryType;
use cowling_abi as abi;
use cowling_vm::{GrowError, MemoryHandle};
use std::ops::Range;

/// A linear memory in a store.
///
/// Used with another store, methods that return a `Result` fail with [`WrongStore`](crate::WrongStore); the others see a
/// memory of 0 bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Memory(MemoryHandle);

/// Bytes outside a memory were to be read or written. Nothing was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of bounds memory access: {len} bytes at {offset:#x} of a memory of {size} bytes")]
#[non_exhaustive]
pub struct MemoryAccessError {
    /// First byte.
    pub offset: usize,
    /// Number of bytes.
    pub len: usize,
    /// Size of the memory in bytes; 0 if it is another store's.
    pub size: usize,
}

impl Memory {
    /// A memory of its minimum size, filled with zeros.
    ///
    /// # Errors
    /// When the type's limits make no sense, the store's limiter says no or [has to be waited for](Self::new_async), or there is no
    /// room.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Memory> {
        let handle = store
            .as_context_mut()
            .inner_mut()
            .create_memory(ty.to_abi())?;
        Ok(Memory(handle))
    }

    /// As [`Memory::new`], for stores whose limiter has to be waited for: see
    /// [`Store::limiter_async`](crate::Store::limiter_async).
    ///
    /// # Errors
    /// As [`Memory::new`].
    pub async fn new_async(
        mut store: impl AsContextMut<Data: Send>,
        ty: MemoryType,
    ) -> Result<Memory> {
        let ty = ty.to_abi();
        let mut store = store.as_context_mut();
        let made = asking(&mut store, move |store| store.create_memory(ty));
        Ok(Memory(made.await?))
    }

    /// Its type; the minimum is the size it was made with.
    pub fn ty(&self, store: impl AsContext) -> MemoryType {
        let ty = store.as_context().inner().memory_type(self.0);
        ty.map_or_else(|_| MemoryType::new(0, Some(0)), MemoryType::from_abi)
    }

    /// Fills `buffer` from the bytes at `offset`.
    ///
    /// # Errors
    /// When they reach outside the memory.
    pub fn read(
        &self,
        store: impl AsContext,
        offset: usize,
        buffer: &mut [u8],
    ) -> Result<(), MemoryAccessError> {
        let store = store.as_context();
        let data = self.data(store);
        let bytes = data.get(range(offset, buffer.len(), data.len())?);
        // `range` checked that they are there.
        buffer.copy_from_slice(bytes.unwrap_or_default());
        Ok(())
    }

    /// Writes `buffer` to the bytes at `offset`.
    ///
    /// # Errors
    /// When they reach outside the memory.
    pub fn write(
        &self,
        mut store: impl AsContextMut,
        offset: usize,
        buffer: &[u8],
    ) -> Result<(), MemoryAccessError> {
        let data = self.data_mut(store.as_context_mut());
        let range = range(offset, buffer.len(), data.len())?;
        data[range].copy_from_slice(buffer);
        Ok(())
    }

    /// Its bytes.
    pub fn data<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a [u8] {
        store.into().inner().memory_data(self.0).unwrap_or_default()
    }

    /// Its bytes, for change.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> &'a mut [u8] {
        let inner = store.into().0.into_inner_mut();
        inner.memory_data_mut(self.0).unwrap_or_default()
    }

    /// Its bytes and the embedder's data, both for change.
    pub fn data_and_store_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> (&'a mut [u8], &'a mut T) {
        let (bytes, data) = store.into().0.into_memory_and_data(self.0);
        (bytes, &mut data.data)
    }

    /// Address of its first byte in this process. It is good until the memory grows or the store is dropped. Null for a
    /// memory of another store.
    pub fn data_ptr(&self, store: impl AsContext) -> *mut u8 {
        let base = store.as_context().inner().memory_base_ptr(self.0);
        base.unwrap_or(std::ptr::null_mut())
    }

    /// Its size in bytes.
    pub fn data_size(&self, store: impl AsContext) -> usize {
        self.data(store.as_context()).len()
    }

    /// Its size in pages.
    pub fn size(&self, store: impl AsContext) -> u64 {
        store
            .as_context()
            .inner()
            .memory_pages(self.0)
            .unwrap_or_default()
    }

    /// Bytes in one of its pages.
    pub fn page_size(&self, store: impl AsContext) -> u64 {
        let ty = store.as_context().inner().memory_type(self.0);
        ty.map_or(abi::WASM_PAGE_SIZE, |ty| ty.page_size())
    }

    /// Bytes in one of its pages, as a power of two.
    pub fn page_size_log2(&self, store: impl AsContext) -> u8 {
        self.page_size(store).trailing_zeros() as u8
    }

    /// Grows it by `delta` pages of zeros. Gives the size in pages before.
    ///
    /// # Errors
    /// [`GrowError`](crate::GrowError) when it would pass its maximum, the store's limiter says no or
    /// [has to be waited for](Self::grow_async), or the system gives no memory. It is unchanged then.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64) -> Result<u64> {
        let mut store = store.as_context_mut();
        let grown = store.inner_mut().memory_grow(self.0, delta);
        grown.map_err(GrowError::into_error)
    }

    /// As [`grow`](Self::grow), for stores whose limiter has to be waited for: see
    /// [`Store::limiter_async`](crate::Store::limiter_async).
    ///
    /// # Errors
    /// As [`grow`](Self::grow).
    pub async fn grow_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        delta: u64,
    ) -> Result<u64> {
        let memory = self.0;
        let mut store = store.as_context_mut();
        asking(&mut store, move |store| {
            store
                .memory_grow(memory, delta)
                .map_err(GrowError::into_error)
        })
        .await
    }

    pub(crate) fn from_vm(handle: MemoryHandle) -> Memory {
        Memory(handle)
    }

    pub(crate) fn to_vm(self) -> MemoryHandle {
        self.0
    }
}

fn range(offset: usize, len: usize, size: usize) -> Result<Range<usize>, MemoryAccessError> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(offset..end),
        _ => Err(MemoryAccessError { offset, len, size }),
    }
}
