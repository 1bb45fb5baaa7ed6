//! Tables.

use crate::error::Result;
use crate::func::asynchronous::asking;
use crate::store::{AsContext, AsContextMut};
use crate::types::{RefType, TableType};
use crate::val::Ref;
use cowling_vm::{GrowError, TableHandle};

/// A table in a store.
///
/// Used with another store, methods that return a `Result` fail with [`WrongStore`](crate::WrongStore); the others see an
/// empty table.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table(TableHandle);

impl Table {
    /// A table of its minimum size, every element `init`.
    ///
    /// # Errors
    /// When `init` does not fit, the type's limits make no sense, the store's limiter says no, or there is no room.
    pub fn new(mut store: impl AsContextMut, ty: TableType, init: Ref) -> Result<Table> {
        let mut store = store.as_context_mut();
        let ty = ty.adopt(store.engine().types())?;
        let handle = store.inner_mut().create_table(ty.to_abi(), init.to_vm())?;
        Ok(Table(handle))
    }

    /// As [`Table::new`], for stores whose limiter has to be waited for: see
    /// [`Store::limiter_async`](crate::Store::limiter_async).
    ///
    /// # Errors
    /// As [`Table::new`].
    pub async fn new_async(
        mut store: impl AsContextMut<Data: Send>,
        ty: TableType,
        init: Ref,
    ) -> Result<Table> {
        let mut store = store.as_context_mut();
        let ty = ty.adopt(store.engine().types())?.to_abi();
        let init = init.to_vm();
        let made = asking(&mut store, move |store| store.create_table(ty, init));
        Ok(Table(made.await?))
    }

    /// Its type; the minimum is the size it was made with.
    pub fn ty(&self, store: impl AsContext) -> TableType {
        let store = store.as_context();
        store.inner().table_type(self.0).map_or_else(
            |_| TableType::new(RefType::FUNCREF, 0, Some(0)),
            |ty| TableType::from_abi(store.engine().types(), ty),
        )
    }

    /// The element at `index`, or `None` if that is outside.
    pub fn get(&self, mut store: impl AsContextMut, index: u64) -> Option<Ref> {
        let mut store = store.as_context_mut();
        let value = store.inner_mut().table_get(self.0, index).ok().flatten()?;
        Ref::from_vm(value)
    }

    /// Sets the element at `index`.
    ///
    /// # Errors
    /// [`AccessError`](crate::AccessError) when that is outside, or the value does not fit.
    pub fn set(&self, mut store: impl AsContextMut, index: u64, value: Ref) -> Result<()> {
        let mut store = store.as_context_mut();
        Ok(store.inner_mut().table_set(self.0, index, value.to_vm())?)
    }

    /// Its size in elements.
    pub fn size(&self, store: impl AsContext) -> u64 {
        store
            .as_context()
            .inner()
            .table_size(self.0)
            .unwrap_or_default()
    }

    /// Grows it by `delta` elements, each `init`. Gives the size before.
    ///
    /// # Errors
    /// [`GrowError`](crate::GrowError) when it would pass its maximum, `init` does not fit, the store's limiter says no, or the
    /// system gives no memory. It is unchanged then.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64, init: Ref) -> Result<u64> {
        let mut store = store.as_context_mut();
        let grown = store.inner_mut().table_grow(self.0, delta, init.to_vm());
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
        init: Ref,
    ) -> Result<u64> {
        let (table, init) = (self.0, init.to_vm());
        let mut store = store.as_context_mut();
        asking(&mut store, move |store| {
            store
                .table_grow(table, delta, init)
                .map_err(GrowError::into_error)
        })
        .await
    }

    /// Sets `len` elements from `dst` on.
    ///
    /// # Errors
    /// [`AccessError`](crate::AccessError) when some are outside, or the value does not fit. Nothing is set then.
    pub fn fill(&self, mut store: impl AsContextMut, dst: u64, value: Ref, len: u64) -> Result<()> {
        let mut store = store.as_context_mut();
        Ok(store
            .inner_mut()
            .table_fill(self.0, dst, value.to_vm(), len)?)
    }

    /// Copies `len` elements of `src_table` from `src_index` on to `dst_index` of `dst_table`, which may be the same table.
    ///
    /// # Errors
    /// [`AccessError`](crate::AccessError) when some are outside, or the tables hold different things. Nothing is copied then.
    pub fn copy(
        mut store: impl AsContextMut,
        dst_table: &Table,
        dst_index: u64,
        src_table: &Table,
        src_index: u64,
        len: u64,
    ) -> Result<()> {
        let mut store = store.as_context_mut();
        let inner = store.inner_mut();
        Ok(inner.table_copy(dst_table.0, dst_index, src_table.0, src_index, len)?)
    }

    pub(crate) fn from_vm(handle: TableHandle) -> Table {
        Table(handle)
    }

    pub(crate) fn to_vm(self) -> TableHandle {
        self.0
    }
}
