//! References to objects that guests can hold: how the host keeps them.
//!
//! A guest keeps an object alive wherever it stores a reference: in a global, a table, on its stack. The host does so with
//! a [`Rooted`], which is good until the scope ends in which it was made (every call of a host function is one, every
//! [`RootScope`] is one, and the store itself), or with an [`OwnedRooted`], which is good until it is dropped.
//!
//! ```text
//!   Rooted<StructRef>      --- Deref ---+
//!                                       +--> StructRef: what can be done with the object; names a root of the store
//!   OwnedRooted<StructRef> --- Deref ---+
//! ```
//!
//! What they deref to is a name that the store looks up at each use, so one that was copied out of its `Rooted` is as good as that:
//! using it too late, or with another store, is a [`RefError`](crate::RefError).

use crate::error::Result;
use crate::exception::ExnRef;
use crate::externref::ExternRef;
use crate::gc::{AnyRef, ArrayRef, EqRef, StructRef};
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use cowling_vm::StoreInner;
use sealed::{GcRefImpl, RootedGcRefImpl};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// A kind of thing that a [`Rooted`] refers to: [`ExternRef`], [`ExnRef`], [`AnyRef`] or one of those below it.
pub trait GcRef: GcRefImpl {}

/// A [`Rooted`] or an [`OwnedRooted`].
pub trait RootedGcRef<T: GcRef>: RootedGcRefImpl<T> + Deref<Target = T> {}

impl<T: GcRef> RootedGcRef<T> for Rooted<T> {}
impl<T: GcRef> RootedGcRef<T> for OwnedRooted<T> {}

pub(crate) mod sealed {
    use crate::error::Result;
    use cowling_vm::StoreInner;
    use std::fmt;
    use std::hash::Hash;

    /// What the runtime does with references of a kind. Keeps the set of kinds to those it knows.
    pub trait GcRefImpl: Copy + fmt::Debug + Send + Sync + 'static {
        /// The runtime's name of a root.
        type Root: Copy + fmt::Debug + Eq + Hash + Send + Sync;

        /// The runtime's name of a root that is good until it is dropped.
        type Owned: Clone + fmt::Debug + Send + Sync;

        fn from_root(root: Self::Root) -> Self;

        fn root(self) -> Self::Root;

        fn root_of(owned: &Self::Owned) -> Self::Root;

        /// A name that is good until it is dropped.
        fn own(store: &mut StoreInner, root: Self::Root) -> Result<Self::Owned>;

        /// A name that is good in the current scope.
        fn root_again(store: &mut StoreInner, owned: &Self::Owned) -> Result<Self::Root>;

        /// The number by which guests know it.
        fn raw(store: &StoreInner, root: Self::Root) -> Result<u32>;
    }

    /// Keeps the set of containers to the two there are.
    pub trait RootedGcRefImpl<T> {}
}

impl<T: GcRef> RootedGcRefImpl<T> for Rooted<T> {}
impl<T: GcRef> RootedGcRefImpl<T> for OwnedRooted<T> {}

macro_rules! kinds {
    ($($Ty:ident $Root:ident $Owned:ident $own:ident $again:ident $raw:ident;)*) => {$(
        impl GcRef for $Ty {}

        impl GcRefImpl for $Ty {
            type Root = cowling_vm::$Root;
            type Owned = cowling_vm::$Owned;

            fn from_root(root: Self::Root) -> Self {
                $Ty(root)
            }

            fn root(self) -> Self::Root {
                self.0
            }

            fn root_of(owned: &Self::Owned) -> Self::Root {
                owned.reference()
            }

            fn own(store: &mut StoreInner, root: Self::Root) -> Result<Self::Owned> {
                Ok(store.$own(root)?)
            }

            fn root_again(store: &mut StoreInner, owned: &Self::Owned) -> Result<Self::Root> {
                Ok(store.$again(owned)?)
            }

            fn raw(store: &StoreInner, root: Self::Root) -> Result<u32> {
                Ok(store.$raw(root)?)
            }
        }
    )*};
}

kinds! {
    ExternRef HostRef OwnedHostRef host_ref_to_owned host_ref_from_owned host_ref_raw;
    ExnRef ExnRef OwnedExnRef exn_ref_to_owned exn_ref_from_owned exn_ref_raw;
    AnyRef AnyRef OwnedAnyRef any_ref_to_owned any_ref_from_owned any_ref_raw;
    EqRef AnyRef OwnedAnyRef any_ref_to_owned any_ref_from_owned any_ref_raw;
    StructRef AnyRef OwnedAnyRef any_ref_to_owned any_ref_from_owned any_ref_raw;
    ArrayRef AnyRef OwnedAnyRef any_ref_to_owned any_ref_from_owned any_ref_raw;
}

/// A reference to an object, good until the scope ends in which it was made.
///
/// Its methods are those of what it refers to. Using it too late, or with another store, is an error:
/// [`RefError`](crate::RefError).
///
/// ```
/// # use cowling::*;
/// let mut store = Store::<()>::default();
/// let a = ExternRef::new(&mut store, "hello")?;
/// let owned = a.to_owned_rooted(&mut store)?;
/// let b = owned.to_rooted(&mut store);
/// // Two roots of one object.
/// assert!(!Rooted::rooted_eq(a, b) && Rooted::ref_eq(&store, &a, &b)?);
/// assert!(b.data(&store)?.unwrap().is::<&str>());
/// # Ok::<(), Error>(())
/// ```
pub struct Rooted<T: GcRef> {
    inner: T,
}

impl<T: GcRef> Rooted<T> {
    /// A reference to the same object that is good until it is dropped.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn to_owned_rooted(&self, mut store: impl AsContextMut) -> Result<OwnedRooted<T>> {
        let mut store = store.as_context_mut();
        Ok(OwnedRooted::from_vm(T::own(
            store.inner_mut(),
            self.inner.root(),
        )?))
    }

    /// Do both refer to the same object?
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope of one has ended or the store is another one.
    pub fn ref_eq(
        store: impl AsContext,
        a: &impl RootedGcRef<T>,
        b: &impl RootedGcRef<T>,
    ) -> Result<bool> {
        ref_eq::<T>(store, a, b)
    }

    /// Hashes what it refers to: references to one object have one hash.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn ref_hash<H: Hasher>(&self, store: impl AsContext, state: &mut H) -> Result<()> {
        T::raw(store.as_context().inner(), self.inner.root())?.hash(state);
        Ok(())
    }

    /// Are both the same root? Two roots of one object are not.
    pub fn rooted_eq(a: Self, b: Self) -> bool {
        a.inner.root() == b.inner.root()
    }

    /// Hashes the root.
    pub fn rooted_hash<H: Hasher>(&self, state: &mut H) {
        self.inner.root().hash(state);
    }

    pub(crate) fn from_vm(root: T::Root) -> Self {
        Rooted {
            inner: T::from_root(root),
        }
    }

    pub(crate) fn to_vm(self) -> T::Root {
        self.inner.root()
    }
}

fn ref_eq<T: GcRef>(store: impl AsContext, a: &T, b: &T) -> Result<bool> {
    let store = store.as_context();
    Ok(T::raw(store.inner(), a.root())? == T::raw(store.inner(), b.root())?)
}

impl<T: GcRef> Deref for Rooted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: GcRef> Clone for Rooted<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: GcRef> Copy for Rooted<T> {}

impl<T: GcRef> fmt::Debug for Rooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.root().fmt(f)
    }
}

/// A reference to an object that is good until it is dropped. Its methods are those of what it refers to.
///
/// ```
/// # use cowling::*;
/// let mut store = Store::<()>::default();
/// let kept = {
///     let mut scope = RootScope::new(&mut store);
///     ExternRef::new(&mut scope, 1u32)?.to_owned_rooted(&mut scope)?
/// };
/// assert_eq!(kept.data(&store)?.and_then(|v| v.downcast_ref()), Some(&1u32));
/// # Ok::<(), Error>(())
/// ```
pub struct OwnedRooted<T: GcRef> {
    inner: T,
    owned: T::Owned,
}

impl<T: GcRef> OwnedRooted<T> {
    pub(crate) fn from_vm(owned: T::Owned) -> Self {
        OwnedRooted {
            inner: T::from_root(T::root_of(&owned)),
            owned,
        }
    }

    pub(crate) fn into_vm(self) -> T::Owned {
        self.owned
    }

    /// A reference to the same object in the current scope.
    ///
    /// # Panics
    /// When the store is another one.
    pub fn to_rooted(&self, mut context: impl AsContextMut) -> Rooted<T> {
        let mut store = context.as_context_mut();
        let root = T::root_again(store.inner_mut(), &self.owned);
        Rooted::from_vm(root.expect("a reference of this store"))
    }

    /// Do both refer to the same object?
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope of one has ended or the store is another one.
    pub fn ref_eq(
        store: impl AsContext,
        a: &impl RootedGcRef<T>,
        b: &impl RootedGcRef<T>,
    ) -> Result<bool> {
        ref_eq::<T>(store, a, b)
    }

    /// Hashes what it refers to: references to one object have one hash. With another store, as [`rooted_hash`](Self::rooted_hash).
    pub fn ref_hash<H: Hasher>(&self, store: impl AsContext, state: &mut H) {
        match T::raw(store.as_context().inner(), self.inner.root()) {
            Ok(raw) => raw.hash(state),
            Err(_) => self.rooted_hash(state),
        }
    }

    /// Hashes the root: clones have one hash.
    pub fn rooted_hash<H: Hasher>(&self, state: &mut H) {
        self.inner.root().hash(state);
    }
}

impl<T: GcRef> Deref for OwnedRooted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: GcRef> Clone for OwnedRooted<T> {
    fn clone(&self) -> Self {
        OwnedRooted::from_vm(self.owned.clone())
    }
}

impl<T: GcRef> fmt::Debug for OwnedRooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.root().fmt(f)
    }
}

/// A reference of one kind as one of a more general kind.
macro_rules! upcasts {
    ($($Below:ident to $Above:ident by $to:ident;)*) => {$(
        impl From<Rooted<$Below>> for Rooted<$Above> {
            fn from(reference: Rooted<$Below>) -> Self {
                Rooted::from_vm(reference.to_vm())
            }
        }

        impl From<OwnedRooted<$Below>> for OwnedRooted<$Above> {
            fn from(reference: OwnedRooted<$Below>) -> Self {
                OwnedRooted::from_vm(reference.into_vm())
            }
        }

        impl Rooted<$Below> {
            /// The same reference, of a more general type.
            pub fn $to(self) -> Rooted<$Above> {
                self.into()
            }
        }

        impl OwnedRooted<$Below> {
            /// The same reference, of a more general type.
            pub fn $to(self) -> OwnedRooted<$Above> {
                self.into()
            }
        }
    )*};
}

upcasts! {
    EqRef to AnyRef by to_anyref;
    StructRef to AnyRef by to_anyref;
    ArrayRef to AnyRef by to_anyref;
    StructRef to EqRef by to_eqref;
    ArrayRef to EqRef by to_eqref;
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

    /// Makes room for so many references, so that making them allocates nothing.
    pub fn reserve(&mut self, additional: usize) {
        let mut store = self.store.as_context_mut();
        store.inner_mut().reserve_roots(additional);
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
