//! References to arrays.

use super::{AnyRef, EqRef, object_error};
use crate::error::Result;
use crate::externref::Rooted;
use crate::store::{AsContext, AsContextMut};
use crate::types::ArrayType;
use crate::val::{Val, Values};

/// An array. Always behind a [`Rooted`] or [`OwnedRooted`](crate::OwnedRooted).
///
/// ```
/// # use cowling::*;
/// let mut store = Store::<()>::default();
/// let element = FieldType::new(Mutability::Var, StorageType::ValType(ValType::I64));
/// let ty = ArrayType::new(store.engine(), element);
/// let pre = ArrayRefPre::new(&mut store, ty);
/// let array = ArrayRef::new(&mut store, &pre, &Val::I64(7), 3)?;
/// array.set(&mut store, 1, Val::I64(8))?;
/// let values: Vec<_> = array.elems(&mut store)?.map(|v| v.i64()).collect();
/// assert_eq!(values, [Some(7), Some(8), Some(7)]);
/// assert!(array.get(&mut store, 3).is_err());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub enum ArrayRef {}

/// What is needed to make arrays of one type.
#[derive(Clone, Debug)]
pub struct ArrayRefPre {
    ty: ArrayType,
}

impl ArrayRefPre {
    /// For arrays of this type, in this store.
    pub fn new(_store: impl AsContextMut, ty: ArrayType) -> ArrayRefPre {
        ArrayRefPre { ty }
    }
}

impl ArrayRef {
    /// Makes an array of `len` elements of one value. Packed elements take the lower bits of an `i32`.
    ///
    /// # Errors
    /// [`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory) when there is no room,
    /// [`Trap::AllocationTooLarge`](crate::Trap::AllocationTooLarge) when it is larger than any heap; when the value is of another type,
    /// the type another engine's, or a reference another store's.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elem: &Val,
        len: u32,
    ) -> Result<Rooted<ArrayRef>> {
        let mut store = store.as_context_mut();
        let ty = allocator.ty.registered();
        let made = store.inner_mut().array_new(ty, &elem.to_vm(), len);
        made.map(Rooted::from_vm).map_err(object_error)
    }

    /// As [`new`](Self::new): making an object never waits.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub async fn new_async(
        store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elem: &Val,
        len: u32,
    ) -> Result<Rooted<ArrayRef>> {
        Self::new(store, allocator, elem, len)
    }

    /// Makes an array of these elements.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_fixed(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elems: &[Val],
    ) -> Result<Rooted<ArrayRef>> {
        let elems: Values<_> = elems.iter().map(|v| v.to_vm()).collect();
        let mut store = store.as_context_mut();
        let made = (store.inner_mut()).array_new_fixed(allocator.ty.registered(), &elems);
        made.map(Rooted::from_vm).map_err(object_error)
    }

    /// As [`new_fixed`](Self::new_fixed): making an object never waits.
    ///
    /// # Errors
    /// As [`new_fixed`](Self::new_fixed).
    pub async fn new_fixed_async(
        store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elems: &[Val],
    ) -> Result<Rooted<ArrayRef>> {
        Self::new_fixed(store, allocator, elems)
    }
}

impl Rooted<ArrayRef> {
    /// The array's type.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn ty(&self, store: impl AsContext) -> Result<ArrayType> {
        let ty = Rooted::<AnyRef>::from(*self).ty(store)?;
        Ok(ty.unwrap_concrete_array().clone())
    }

    /// Is the array of this type, or one below it?
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ArrayType) -> Result<bool> {
        Ok(self.ty(store)?.matches(ty))
    }

    /// How many elements it has.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn len(&self, store: impl AsContext) -> Result<u32> {
        let len = store.as_context().inner().array_len(self.to_vm());
        len.map_err(object_error)
    }

    /// The values of all elements.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn elems(
        &self,
        mut store: impl AsContextMut,
    ) -> Result<impl ExactSizeIterator<Item = Val>> {
        let len = self.len(store.as_context())?;
        let values: Result<Vec<Val>> = (0..len).map(|index| self.get(&mut store, index)).collect();
        Ok(values?.into_iter())
    }

    /// The value of element number `index`, counted from 0. Packed elements have no sign.
    ///
    /// # Errors
    /// When there are fewer; [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn get(&self, mut store: impl AsContextMut, index: u32) -> Result<Val> {
        let mut store = store.as_context_mut();
        let value = store.inner_mut().array_get(self.to_vm(), index);
        value.map(Val::from_vm).map_err(object_error)
    }

    /// Assigns element number `index`, counted from 0.
    ///
    /// # Errors
    /// When there are fewer, elements are constant or the value of another type; [`RefError`](crate::RefError) when a scope has
    /// ended or the store is another one.
    pub fn set(&self, mut store: impl AsContextMut, index: u32, value: Val) -> Result<()> {
        let mut store = store.as_context_mut();
        let set = (store.inner_mut()).array_set(self.to_vm(), index, &value.to_vm());
        set.map_err(object_error)
    }

    /// The same reference, of the most general type.
    pub fn to_anyref(self) -> Rooted<AnyRef> {
        self.into()
    }

    /// The same reference, of a more general type.
    pub fn to_eqref(self) -> Rooted<EqRef> {
        self.into()
    }
}
