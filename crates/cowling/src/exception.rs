//! Exceptions: their tags, references to them, and throwing them.
//!
//! An exception that no guest catches comes out of a call as a [`ThrownException`]. A host function throws by returning one:
//! that of a guest it called, or one made with [`StoreContextMut::throw`](crate::StoreContextMut::throw).

use crate::error::{Result, format_err};
use crate::externref::{OwnedRooted, Rooted};
use crate::store::{AsContext, AsContextMut};
use crate::types::{ExnType, FuncType, TagType};
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

    pub(crate) fn from_vm(handle: TagHandle) -> Tag {
        Tag(handle)
    }

    pub(crate) fn to_vm(self) -> TagHandle {
        self.0
    }
}

/// An exception that guests hold as an `exnref`. Always behind a [`Rooted`](crate::Rooted) or
/// [`OwnedRooted`](crate::OwnedRooted).
#[derive(Debug)]
pub enum ExnRef {}

impl ExnRef {
    /// Makes an exception. Nothing is thrown yet.
    ///
    /// # Errors
    /// When number or types of the values are not what the tag says, or the tag is another store's.
    pub fn new(mut store: impl AsContextMut, tag: &Tag, fields: &[Val]) -> Result<Rooted<ExnRef>> {
        let fields: Values<_> = fields.iter().map(|v| v.to_vm()).collect();
        let mut store = store.as_context_mut();
        let exception = store.inner_mut().exception_new(tag.0, &fields)?;
        Ok(Rooted::from_vm(exception))
    }
}

impl Rooted<ExnRef> {
    /// Its type.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn ty(&self, store: impl AsContext) -> Result<ExnType> {
        let store = store.as_context();
        ExnType::from_tag_type(&self.tag(store)?.ty(store))
    }

    /// The exception's tag.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn tag(&self, store: impl AsContext) -> Result<Tag> {
        let store = store.as_context();
        Ok(Tag(store.inner().exception_tag(self.to_vm())?))
    }

    /// The values it carries.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn fields(
        &self,
        mut store: impl AsContextMut,
    ) -> Result<impl ExactSizeIterator<Item = Val>> {
        let mut store = store.as_context_mut();
        let fields = store.inner_mut().exception_values(self.to_vm())?;
        Ok(fields.into_iter().map(Val::from_vm))
    }

    /// The value number `index` that it carries, counted from 0.
    ///
    /// # Errors
    /// When there are fewer; as [`fields`](Self::fields).
    pub fn field(&self, store: impl AsContextMut, index: usize) -> Result<Val> {
        let mut fields = self.fields(store)?;
        let len = fields.len();
        fields
            .nth(index)
            .ok_or_else(|| format_err!("exception has {len} fields, none at {index}"))
    }
}

impl From<&ThrownException> for OwnedRooted<ExnRef> {
    /// The exception that was thrown.
    fn from(thrown: &ThrownException) -> Self {
        OwnedRooted::from_vm(thrown.exception().clone())
    }
}
