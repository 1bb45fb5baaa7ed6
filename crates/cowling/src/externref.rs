//! References to host values.

use crate::error::Result;
use crate::gc::AnyRef;
use crate::rooted::Rooted;
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use std::any::Any;

/// A host value that guests hold as an `externref`. Behind a [`Rooted`] or [`OwnedRooted`](crate::OwnedRooted).
///
/// ```
/// # use cowling::*;
/// let mut store = Store::<()>::default();
/// let hello = ExternRef::new(&mut store, String::from("hello"))?;
/// let value = hello.data(&store)?.and_then(|v| v.downcast_ref::<String>());
/// assert_eq!(value.map(String::as_str), Some("hello"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Copy, Clone, Debug)]
pub struct ExternRef(pub(crate) cowling_vm::HostRef);

impl ExternRef {
    /// Gives a value to the store, for guests to hold.
    ///
    /// # Errors
    /// When there are 2^30 of them already.
    pub fn new<T: Any + Send + Sync>(
        mut store: impl AsContextMut,
        value: T,
    ) -> Result<Rooted<ExternRef>> {
        let mut store = store.as_context_mut();
        let root = store.inner_mut().host_ref_new(Box::new(value))?;
        Ok(Rooted::from_vm(root))
    }

    /// As [`new`](Self::new): giving a value to the store never waits.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub async fn new_async<T: Any + Send + Sync>(
        store: impl AsContextMut,
        value: T,
    ) -> Result<Rooted<ExternRef>> {
        Self::new(store, value)
    }

    /// The same reference as one of the `extern` hierarchy.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn convert_any(
        mut context: impl AsContextMut,
        anyref: Rooted<AnyRef>,
    ) -> Result<Rooted<ExternRef>> {
        let mut store = context.as_context_mut();
        let root = store.inner_mut().any_ref_to_extern(anyref.to_vm())?;
        Ok(Rooted::from_vm(root))
    }

    /// The host value; `None` if it is something that guests have made.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn data<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> Result<Option<&'a (dyn Any + Send + Sync)>> {
        let inner = store.into().inner();
        if !inner.is_host_value(self.0)? {
            return Ok(None);
        }
        Ok(Some(inner.host_ref_get(self.0)?))
    }

    /// The host value, for change, as with [`data`](Self::data).
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<Option<&'a mut (dyn Any + Send + Sync)>> {
        let inner = store.into().0.into_inner_mut();
        if !inner.is_host_value(self.0)? {
            return Ok(None);
        }
        Ok(Some(inner.host_ref_get_mut(self.0)?))
    }

    /// What guest code knows by this number. `None` for null, and for numbers of nothing that is alive.
    ///
    /// A number is that of the same thing as long as something keeps that alive.
    pub fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<ExternRef>> {
        let mut store = store.as_context_mut();
        Some(Rooted::from_vm(store.inner_mut().host_ref_from_raw(raw)?))
    }

    /// The number by which guest code knows it. It keeps nothing alive.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn to_raw(&self, store: impl AsContext) -> Result<u32> {
        let store = store.as_context();
        Ok(store.inner().host_ref_raw(self.0)?)
    }
}
