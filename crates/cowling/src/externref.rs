//! References to objects that guests can hold but not look into: host values and exceptions.
//!
//! A guest keeps such an object alive wherever it stores a reference: in a global, a table, on its stack. The host does so with
//! a [`Rooted`], which is good until the scope ends in which it was made (every call of a host function is one, every
//! [`RootScope`] is one, and the store itself), or with an [`OwnedRooted`], which is good until it is dropped.

use crate::error::Result;
use crate::exception::ExnRef;
use crate::gc::AnyRef;
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use cowling_vm::StoreInner;
use std::any::Any;
use std::fmt;

/// A kind of thing that a [`Rooted`] refers to: [`ExternRef`], [`ExnRef`], [`AnyRef`] or one of those below it.
pub trait GcRef: sealed::Sealed + 'static {
    #[doc(hidden)]
    type Root: Copy + fmt::Debug + Send + Sync;

    #[doc(hidden)]
    type Owned: Clone + fmt::Debug + Send + Sync;

    #[doc(hidden)]
    fn own(store: &mut StoreInner, root: Self::Root) -> Result<Self::Owned>;

    #[doc(hidden)]
    fn root(store: &mut StoreInner, owned: &Self::Owned) -> Result<Self::Root>;

    #[doc(hidden)]
    fn raw(store: &StoreInner, root: Self::Root) -> Result<u32>;
}

pub(crate) mod sealed {
    /// Keeps the set of kinds to those the runtime knows.
    pub trait Sealed {}
    impl Sealed for super::ExternRef {}
    impl Sealed for super::ExnRef {}
}

/// A host value that guests hold as an `externref`. Always behind a [`Rooted`] or [`OwnedRooted`].
#[derive(Debug)]
pub enum ExternRef {}

impl GcRef for ExternRef {
    type Root = cowling_vm::HostRef;
    type Owned = cowling_vm::OwnedHostRef;

    fn own(store: &mut StoreInner, root: Self::Root) -> Result<Self::Owned> {
        Ok(store.host_ref_to_owned(root)?)
    }

    fn root(store: &mut StoreInner, owned: &Self::Owned) -> Result<Self::Root> {
        Ok(store.host_ref_from_owned(owned)?)
    }

    fn raw(store: &StoreInner, root: Self::Root) -> Result<u32> {
        Ok(store.host_ref_raw(root)?)
    }
}

impl GcRef for ExnRef {
    type Root = cowling_vm::ExnRef;
    type Owned = cowling_vm::OwnedExnRef;

    fn own(store: &mut StoreInner, root: Self::Root) -> Result<Self::Owned> {
        Ok(store.exn_ref_to_owned(root)?)
    }

    fn root(store: &mut StoreInner, owned: &Self::Owned) -> Result<Self::Root> {
        Ok(store.exn_ref_from_owned(owned)?)
    }

    fn raw(store: &StoreInner, root: Self::Root) -> Result<u32> {
        Ok(store.exn_ref_raw(root)?)
    }
}

impl ExternRef {
    /// The same reference as one of the `extern` hierarchy.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn convert_any(
        mut store: impl AsContextMut,
        anyref: Rooted<AnyRef>,
    ) -> Result<Rooted<ExternRef>> {
        let mut store = store.as_context_mut();
        Ok(Rooted(store.inner_mut().any_ref_to_extern(anyref.0)?))
    }

    /// Gives a value to the store, for guests to hold.
    ///
    /// ```
    /// # use cowling::*;
    /// let mut store = Store::<()>::default();
    /// let hello = ExternRef::new(&mut store, String::from("hello"))?;
    /// let value = hello.data(&store)?.and_then(|v| v.downcast_ref::<String>());
    /// assert_eq!(value.map(String::as_str), Some("hello"));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// None today.
    pub fn new<V: Any + Send + Sync>(
        mut store: impl AsContextMut,
        value: V,
    ) -> Result<Rooted<ExternRef>> {
        let mut store = store.as_context_mut();
        Ok(Rooted(store.inner_mut().host_ref_new(Box::new(value))?))
    }
}

/// A reference to an object, good until the scope ends in which it was made.
///
/// Using it later, or with another store, is an error: [`RefError`](crate::RefError).
pub struct Rooted<R: GcRef>(R::Root);

impl<R: GcRef> Rooted<R> {
    /// A reference to the same object that is good until it is dropped.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn to_owned_rooted(&self, mut store: impl AsContextMut) -> Result<OwnedRooted<R>> {
        Ok(OwnedRooted(R::own(
            store.as_context_mut().inner_mut(),
            self.0,
        )?))
    }

    /// Do both refer to the same?
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope of one has ended or the store is another one.
    pub fn ref_eq(store: impl AsContext, a: &Rooted<R>, b: &Rooted<impl GcRef>) -> Result<bool> {
        let store = store.as_context();
        Ok(a.raw(store.inner())? == b.raw(store.inner())?)
    }

    fn raw(&self, store: &StoreInner) -> Result<u32> {
        R::raw(store, self.0)
    }

    pub(crate) fn from_vm(root: R::Root) -> Self {
        Rooted(root)
    }

    pub(crate) fn to_vm(self) -> R::Root {
        self.0
    }
}

impl Rooted<ExternRef> {
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
}

impl<R: GcRef> Clone for Rooted<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: GcRef> Copy for Rooted<R> {}

impl<R: GcRef> fmt::Debug for Rooted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A reference to an object that is good until it is dropped.
pub struct OwnedRooted<R: GcRef>(R::Owned);

impl<R: GcRef> OwnedRooted<R> {
    pub(crate) fn from_vm(owned: R::Owned) -> Self {
        OwnedRooted(owned)
    }

    pub(crate) fn into_vm(self) -> R::Owned {
        self.0
    }

    /// A reference to the same object in the current scope.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the store is another one.
    pub fn to_rooted(&self, mut store: impl AsContextMut) -> Result<Rooted<R>> {
        Ok(Rooted(R::root(
            store.as_context_mut().inner_mut(),
            &self.0,
        )?))
    }
}

impl<R: GcRef> Clone for OwnedRooted<R> {
    fn clone(&self) -> Self {
        OwnedRooted(self.0.clone())
    }
}

impl<R: GcRef> fmt::Debug for OwnedRooted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A scope for [`Rooted`] references: those made through it end with it.
///
/// ```
/// # use cowling::*;
/// let mut store = Store::<()>::default();
/// let inside = {
///     let mut scope = RootScope::new(&mut store);
///     ExternRef::new(&mut scope, 1u32)?
/// };
/// assert!(inside.data(&store).is_err());
/// # Ok::<(), Error>(())
/// ```
pub struct RootScope<C: AsContextMut> {
    store: C,
    scope: Option<cowling_vm::RootScope>,
}

impl<C: AsContextMut> RootScope<C> {
    /// Begins a scope.
    pub fn new(mut store: C) -> RootScope<C> {
        let scope = store.as_context_mut().inner_mut().root_scope_enter();
        RootScope {
            store,
            scope: Some(scope),
        }
    }
}

impl<C: AsContextMut> Drop for RootScope<C> {
    fn drop(&mut self) {
        if let Some(scope) = self.scope.take() {
            self.store
                .as_context_mut()
                .inner_mut()
                .root_scope_exit(scope);
        }
    }
}

impl<C: AsContextMut> AsContext for RootScope<C> {
    type Data = C::Data;

    fn as_context(&self) -> StoreContext<'_, C::Data> {
        self.store.as_context()
    }
}

impl<C: AsContextMut> AsContextMut for RootScope<C> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, C::Data> {
        self.store.as_context_mut()
    }
}

impl<C: AsContextMut> fmt::Debug for RootScope<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootScope").finish_non_exhaustive()
    }
}
