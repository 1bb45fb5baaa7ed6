//! Exceptions: their tags, references to them, and throwing them.
//!
//! An exception that no guest catches comes out of a call as a [`ThrownException`]. A host function throws by returning one:
//! that of a guest it called, or one made with [`StoreContextMut::throw`](crate::StoreContextMut::throw).

use crate::engine::Engine;
use crate::error::{InstantiateError, Result, ensure};
use crate::gc::object_error;
use crate::rooted::{OwnedRooted, Rooted};
use crate::store::{AsContext, AsContextMut, StoreContextMut};
use crate::types::{ExnType, FuncType, HeapType, TagType};
use crate::val::{Val, Values};
use cowling_vm::{TagHandle, UncaughtException as ThrownException};

/// The tag of a kind of exceptions, in a store.
///
/// Used with another store, methods that return a `Result` fail with [`WrongStore`](crate::WrongStore); its type is `(tag)`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(TagHandle);

impl Tag {
    /// A tag that is different from all others.
    ///
    /// # Errors
    /// When there is no room.
    pub fn new(mut store: impl AsContextMut, ty: &TagType) -> Result<Tag> {
        let mut store = store.as_context_mut();
        let ty = ty.ty().adopt(store.engine().types())?;
        Ok(Tag(store.inner_mut().create_tag(ty.registered())?))
    }

    /// Its type.
    pub fn ty(&self, store: impl AsContext) -> TagType {
        let store = store.as_context();
        let ty = store.inner().tag_registered_type(self.0);
        TagType::new(ty.map_or_else(
            |_| FuncType::empty(store.engine().types()),
            FuncType::from_registered,
        ))
    }

    /// Are both the same tag? Tags of another store are not.
    pub fn eq(a: &Tag, b: &Tag, store: impl AsContext) -> bool {
        let id = store.as_context().0.id();
        a.0 == b.0 && a.0.store_id() == id
    }

    pub(crate) fn from_vm(handle: TagHandle) -> Tag {
        Tag(handle)
    }

    pub(crate) fn to_vm(self) -> TagHandle {
        self.0
    }
}

/// An exception that guests hold as an `exnref`. Behind a [`Rooted`] or [`OwnedRooted`].
///
/// ```
/// # use cowling::*;
/// let mut store = Store::<()>::default();
/// let ty = ExnType::new(store.engine(), [ValType::I32])?;
/// let tag = Tag::new(&mut store, &ty.tag_type())?;
/// let pre = ExnRefPre::new(&mut store, ty);
/// let exception = ExnRef::new(&mut store, &pre, &tag, &[Val::I32(7)])?;
/// assert_eq!(exception.field(&mut store, 0)?.i32(), Some(7));
/// assert!(Tag::eq(&exception.tag(&mut store)?, &tag, &store));
/// # Ok::<(), Error>(())
/// ```
#[derive(Copy, Clone, Debug)]
pub struct ExnRef(pub(crate) cowling_vm::ExnRef);

/// What is needed to make exceptions of one type.
#[derive(Clone, Debug)]
pub struct ExnRefPre {
    ty: ExnType,
}

impl ExnRefPre {
    /// For exceptions of this type, in this store. A type of another engine is noticed when an exception is made.
    pub fn new(_store: impl AsContextMut, ty: ExnType) -> ExnRefPre {
        ExnRefPre { ty }
    }
}

impl ExnRef {
    /// Makes an exception. Nothing is thrown yet.
    ///
    /// # Errors
    /// When number or types of the values are not what the tag says, the tag is another store's, or not of the allocator's type, or that
    /// another engine's.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &ExnRefPre,
        tag: &Tag,
        fields: &[Val],
    ) -> Result<Rooted<ExnRef>> {
        let fields: Values<_> = fields.iter().map(|v| v.to_vm()).collect();
        let mut store = store.as_context_mut();
        if !Engine::same(allocator.ty.engine(), store.engine()) {
            return Err(InstantiateError::WrongEngine {
                what: "exception's type",
            }
            .into());
        }
        let found = TagType::new(FuncType::from_registered(
            store.inner().tag_registered_type(tag.0)?,
        ));
        let expected = allocator.ty.tag_type();
        ensure!(
            found == expected,
            "the exception is to be of type {expected}, and its tag is of type {found}"
        );
        let exception = store.inner_mut().exception_new(tag.0, &fields)?;
        Ok(Rooted::from_vm(exception))
    }

    /// As [`new`](Self::new): making an exception never waits.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub async fn new_async(
        store: impl AsContextMut,
        allocator: &ExnRefPre,
        tag: &Tag,
        fields: &[Val],
    ) -> Result<Rooted<ExnRef>> {
        Self::new(store, allocator, tag, fields)
    }

    /// What guest code knows by this number, if that is an exception. `None` for null, and for numbers of nothing that is alive.
    ///
    /// A number is that of the same thing as long as something keeps that alive.
    pub fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<ExnRef>> {
        let mut store = store.as_context_mut();
        Some(Rooted::from_vm(store.inner_mut().exn_ref_from_raw(raw)?))
    }

    /// The number by which guest code knows it. It keeps nothing alive.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn to_raw(&self, store: impl AsContext) -> Result<u32> {
        let store = store.as_context();
        Ok(store.inner().exn_ref_raw(self.0)?)
    }

    /// Its type.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn ty(&self, store: impl AsContext) -> Result<ExnType> {
        let store = store.as_context();
        let tag = Tag(store.inner().exception_tag(self.0)?);
        ExnType::from_tag_type(&tag.ty(store))
    }

    /// Is the exception of this type?
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn matches_ty(&self, store: impl AsContext, ty: &HeapType) -> Result<bool> {
        Ok(HeapType::ConcreteExn(self.ty(store)?).matches(ty))
    }

    /// The exception's tag.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn tag(&self, store: impl AsContext) -> Result<Tag> {
        let store = store.as_context();
        Ok(Tag(store.inner().exception_tag(self.0)?))
    }

    /// The values it carries.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn fields<'a, T: 'static>(
        &'a self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let mut store = store.into();
        let count = store.inner().exception_len(self.0)?;
        let exception = self.0;
        Ok((0..count).map(move |index| {
            let value = store.inner_mut().exception_value(exception, index);
            // Nobody ends its scope while the store is borrowed.
            value.map_or_else(|_| unreachable!("it has this value"), Val::from_vm)
        }))
    }

    /// The value number `index` that it carries, counted from 0.
    ///
    /// # Errors
    /// When there are fewer; as [`fields`](Self::fields).
    pub fn field(&self, mut store: impl AsContextMut, index: usize) -> Result<Val> {
        let mut store = store.as_context_mut();
        let value = store.inner_mut().exception_value(self.0, index);
        value.map(Val::from_vm).map_err(object_error)
    }
}

impl From<&ThrownException> for OwnedRooted<ExnRef> {
    /// The exception that was thrown.
    fn from(thrown: &ThrownException) -> Self {
        OwnedRooted::from_vm(thrown.exception().clone())
    }
}
