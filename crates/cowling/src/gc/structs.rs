//! References to structs.

use super::object_error;
use crate::error::Result;
use crate::rooted::Rooted;
use crate::store::{AsContext, AsContextMut, StoreContextMut};
use crate::types::StructType;
use crate::val::{Val, Values};

/// A struct. Behind a [`Rooted`] or [`OwnedRooted`](crate::OwnedRooted).
///
/// ```
/// # use cowling::*;
/// let mut store = Store::<()>::default();
/// let byte = FieldType::new(Mutability::Var, StorageType::I8);
/// let ty = StructType::new(store.engine(), [byte])?;
/// let pre = StructRefPre::new(&mut store, ty);
/// let object = StructRef::new(&mut store, &pre, &[Val::I32(300)])?;
/// assert_eq!(object.field(&mut store, 0)?.i32(), Some(300 & 0xff));
/// object.set_field(&mut store, 0, Val::I32(5))?;
/// assert_eq!(object.field(&mut store, 0)?.i32(), Some(5));
/// # Ok::<(), Error>(())
/// ```
#[derive(Copy, Clone, Debug)]
pub struct StructRef(pub(crate) cowling_vm::AnyRef);

/// What is needed to make structs of one type.
#[derive(Clone, Debug)]
pub struct StructRefPre {
    ty: StructType,
}

impl StructRefPre {
    /// For structs of this type, in this store.
    pub fn new(_store: impl AsContextMut, ty: StructType) -> StructRefPre {
        StructRefPre { ty }
    }
}

impl StructRef {
    /// Makes a struct. Packed fields take the lower bits of an `i32`.
    ///
    /// # Errors
    /// [`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory) when there is no room; when number or types of the values are not those of
    /// the fields, the type is another engine's, or a reference another store's.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &StructRefPre,
        fields: &[Val],
    ) -> Result<Rooted<StructRef>> {
        let fields: Values<_> = fields.iter().map(|v| v.to_vm()).collect();
        let mut store = store.as_context_mut();
        let made = store
            .inner_mut()
            .struct_new(allocator.ty.registered(), &fields);
        made.map(Rooted::from_vm).map_err(object_error)
    }

    /// As [`new`](Self::new): making an object never waits.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub async fn new_async(
        store: impl AsContextMut,
        allocator: &StructRefPre,
        fields: &[Val],
    ) -> Result<Rooted<StructRef>> {
        Self::new(store, allocator, fields)
    }

    /// The struct's type.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn ty(&self, store: impl AsContext) -> Result<StructType> {
        let store = store.as_context();
        let ty = store.inner().object_registered_type(self.0)?;
        let ty = ty.unwrap_or_else(|| unreachable!("it refers to an object"));
        Ok(StructType::from_registered(ty))
    }

    /// Is the struct of this type, or one below it?
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn matches_ty(&self, store: impl AsContext, ty: &StructType) -> Result<bool> {
        Ok(self.ty(store)?.matches(ty))
    }

    /// The values of all fields.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn fields<'a, T: 'static>(
        &'a self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let mut store = store.into();
        let count = self.ty(&store)?.fields().len();
        let object = self.0;
        Ok((0..count).map(move |index| {
            let value = store.inner_mut().struct_get(object, index);
            // Nobody ends its scope while the store is borrowed.
            value.map_or_else(|_| unreachable!("it has this field"), Val::from_vm)
        }))
    }

    /// The value of field number `index`, counted from 0. Packed fields have no sign.
    ///
    /// # Errors
    /// When there are fewer; [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn field(&self, mut store: impl AsContextMut, index: usize) -> Result<Val> {
        let mut store = store.as_context_mut();
        let value = store.inner_mut().struct_get(self.0, index);
        value.map(Val::from_vm).map_err(object_error)
    }

    /// Assigns field number `index`, counted from 0.
    ///
    /// # Errors
    /// When there are fewer, the field is constant or the value of another type; [`RefError`](crate::RefError) when a scope has
    /// ended or the store is another one.
    pub fn set_field(&self, mut store: impl AsContextMut, index: usize, value: Val) -> Result<()> {
        let mut store = store.as_context_mut();
        let set = (store.inner_mut()).struct_set(self.0, index, &value.to_vm());
        set.map_err(object_error)
    }
}
