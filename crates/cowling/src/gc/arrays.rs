//! References to arrays.

use super::object_error;
use crate::error::Result;
use crate::rooted::Rooted;
use crate::store::{AsContext, AsContextMut, StoreContextMut};
use crate::types::ArrayType;
use crate::val::{Val, Values};

/// An array. Behind a [`Rooted`] or [`OwnedRooted`](crate::OwnedRooted).
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
#[derive(Copy, Clone, Debug)]
pub struct ArrayRef(pub(crate) cowling_vm::AnyRef);

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

    /// Makes an array of these bytes; its type is one whose elements are of type `i8`.
    ///
    /// ```
    /// # use cowling::*;
    /// let mut store = Store::<()>::default();
    /// let ty = ArrayType::new(store.engine(), FieldType::new(Mutability::Var, StorageType::I8));
    /// let pre = ArrayRefPre::new(&mut store, ty);
    /// let array = ArrayRef::new_from_i8_slice(&mut store, &pre, b"bytes")?;
    /// let mut bytes = [0; 5];
    /// array.copy_to_i8_slice(&mut store, &mut bytes)?;
    /// assert_eq!(&bytes, b"bytes");
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new), and when elements are of another type.
    pub fn new_from_i8_slice(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elems: &[u8],
    ) -> Result<Rooted<ArrayRef>> {
        let mut store = store.as_context_mut();
        let made = (store.inner_mut()).array_new_bytes(allocator.ty.registered(), elems);
        made.map(Rooted::from_vm).map_err(object_error)
    }

    /// As [`new_from_i8_slice`](Self::new_from_i8_slice): making an object never waits.
    ///
    /// # Errors
    /// As [`new_from_i8_slice`](Self::new_from_i8_slice).
    pub async fn new_from_i8_slice_async(
        store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elems: &[u8],
    ) -> Result<Rooted<ArrayRef>> {
        Self::new_from_i8_slice(store, allocator, elems)
    }

    /// The array's type.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn ty(&self, store: impl AsContext) -> Result<ArrayType> {
        let store = store.as_context();
        let ty = store.inner().object_registered_type(self.0)?;
        let ty = ty.unwrap_or_else(|| unreachable!("it refers to an object"));
        Ok(ArrayType::from_registered(ty))
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
        let len = store.as_context().inner().array_len(self.0);
        len.map_err(object_error)
    }

    /// The values of all elements.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn elems<'a, T: 'static>(
        &'a self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let mut store = store.into();
        let len = self.len(&store)? as usize;
        let array = self.0;
        Ok((0..len).map(move |index| {
            let value = store.inner_mut().array_get(array, index as u32);
            // Nobody ends its scope while the store is borrowed.
            value.map_or_else(|_| unreachable!("it has this element"), Val::from_vm)
        }))
    }

    /// Copies the elements, which are of type `i8`, to as many places.
    ///
    /// # Errors
    /// When elements are of another type, or there are not as many as places; [`RefError`](crate::RefError) when the scope has ended
    /// or the store is another one.
    pub fn copy_to_i8_slice(&self, store: impl AsContext, dst: &mut [u8]) -> Result<()> {
        let store = store.as_context();
        let read = store.inner().array_read_bytes(self.0, dst);
        read.map_err(object_error)
    }

    /// The value of element number `index`, counted from 0. Packed elements have no sign.
    ///
    /// # Errors
    /// When there are fewer; [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn get(&self, mut store: impl AsContextMut, index: u32) -> Result<Val> {
        let mut store = store.as_context_mut();
        let value = store.inner_mut().array_get(self.0, index);
        value.map(Val::from_vm).map_err(object_error)
    }

    /// Assigns element number `index`, counted from 0.
    ///
    /// # Errors
    /// When there are fewer, elements are constant or the value of another type; [`RefError`](crate::RefError) when a scope has
    /// ended or the store is another one.
    pub fn set(&self, mut store: impl AsContextMut, index: u32, value: Val) -> Result<()> {
        let mut store = store.as_context_mut();
        let set = (store.inner_mut()).array_set(self.0, index, &value.to_vm());
        set.map_err(object_error)
    }
}
