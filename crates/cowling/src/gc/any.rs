//! References to anything, and to what can be compared.

use super::{ArrayRef, I31, StructRef};
use crate::error::{Result, format_err};
use crate::externref::ExternRef;
use crate::rooted::Rooted;
use crate::store::{AsContext, AsContextMut};
use crate::types::HeapType;

/// Something of the `any` hierarchy: a struct, an array, a number, or a host value that was converted. Behind a [`Rooted`] or
/// [`OwnedRooted`](crate::OwnedRooted).
///
/// ```
/// # use cowling::*;
/// let mut store = Store::<()>::default();
/// let seven = AnyRef::from_i31(&mut store, I31::wrapping_u32(7));
/// assert_eq!(seven.as_i31(&store)?, I31::new_u32(7));
/// assert!(seven.matches_ty(&store, &HeapType::Eq)? && !seven.is_struct(&store)?);
/// # Ok::<(), Error>(())
/// ```
#[derive(Copy, Clone, Debug)]
pub struct AnyRef(pub(crate) cowling_vm::AnyRef);

/// Something that can be compared: a struct, an array, a number. Behind a [`Rooted`] or
/// [`OwnedRooted`](crate::OwnedRooted).
#[derive(Copy, Clone, Debug)]
pub struct EqRef(pub(crate) cowling_vm::AnyRef);

impl AnyRef {
    /// A reference to a number.
    pub fn from_i31(mut store: impl AsContextMut, value: I31) -> Rooted<AnyRef> {
        let mut store = store.as_context_mut();
        Rooted::from_vm(store.inner_mut().any_ref_from_i31(value.get_u32()))
    }

    /// The same reference as one of the `any` hierarchy.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn convert_extern(
        mut store: impl AsContextMut,
        externref: Rooted<ExternRef>,
    ) -> Result<Rooted<AnyRef>> {
        let mut store = store.as_context_mut();
        let reference = store.inner_mut().any_ref_from_extern(externref.to_vm())?;
        Ok(Rooted::from_vm(reference))
    }

    /// What guest code knows by this number. `None` for null, for numbers of nothing that is alive, and for objects while a guest of the
    /// store is interrupted between two instructions.
    ///
    /// A number is that of the same thing as long as something keeps that alive.
    pub fn from_raw(mut store: impl AsContextMut, raw: u32) -> Option<Rooted<AnyRef>> {
        let mut store = store.as_context_mut();
        Some(Rooted::from_vm(store.inner_mut().any_ref_from_raw(raw)?))
    }

    /// The number by which guest code knows it. It keeps nothing alive.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn to_raw(&self, store: impl AsContext) -> Result<u32> {
        let store = store.as_context();
        Ok(store.inner().any_ref_raw(self.0)?)
    }
}

impl EqRef {
    /// A reference to a number.
    pub fn from_i31(store: impl AsContextMut, value: I31) -> Rooted<EqRef> {
        Rooted::from_vm(AnyRef::from_i31(store, value).to_vm())
    }
}

macro_rules! questions {
    ($Ty:ident) => {
        impl $Ty {
            /// What it refers to: the most precise type.
            ///
            /// # Errors
            /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
            pub fn ty(&self, store: impl AsContext) -> Result<HeapType> {
                let store = store.as_context();
                let ty = store.inner().any_ref_type(self.0)?;
                Ok(HeapType::from_abi(store.engine().types(), ty))
            }

            /// Is what it refers to of this type?
            ///
            /// # Errors
            /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
            pub fn matches_ty(&self, store: impl AsContext, ty: &HeapType) -> Result<bool> {
                Ok(self.ty(store)?.matches(ty))
            }

            /// Is it a number?
            ///
            /// # Errors
            /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
            pub fn is_i31(&self, store: impl AsContext) -> Result<bool> {
                Ok(self.as_i31(store)?.is_some())
            }

            /// The number, if it is one.
            ///
            /// # Errors
            /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
            pub fn as_i31(&self, store: impl AsContext) -> Result<Option<I31>> {
                let store = store.as_context();
                let value = store.inner().any_ref_as_i31(self.0)?;
                Ok(value.map(I31::wrapping_u32))
            }

            /// The number.
            ///
            /// # Errors
            /// When it is none, and as [`as_i31`](Self::as_i31).
            pub fn unwrap_i31(&self, store: impl AsContext) -> Result<I31> {
                let value = self.as_i31(store)?;
                value.ok_or_else(|| format_err!("expected an i31 reference"))
            }

            /// Is it a struct?
            ///
            /// # Errors
            /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
            pub fn is_struct(&self, store: impl AsContext) -> Result<bool> {
                Ok(self.as_struct(store)?.is_some())
            }

            /// The reference as one to a struct, if it is.
            ///
            /// # Errors
            /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
            pub fn as_struct(&self, store: impl AsContext) -> Result<Option<Rooted<StructRef>>> {
                let is = self.matches_ty(store, &HeapType::Struct)?;
                Ok(is.then(|| Rooted::from_vm(self.0)))
            }

            /// The reference as one to a struct.
            ///
            /// # Errors
            /// When it is not, and as [`as_struct`](Self::as_struct).
            pub fn unwrap_struct(&self, store: impl AsContext) -> Result<Rooted<StructRef>> {
                let reference = self.as_struct(store)?;
                reference.ok_or_else(|| format_err!("expected a struct reference"))
            }

            /// Is it an array?
            ///
            /// # Errors
            /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
            pub fn is_array(&self, store: impl AsContext) -> Result<bool> {
                Ok(self.as_array(store)?.is_some())
            }

            /// The reference as one to an array, if it is.
            ///
            /// # Errors
            /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
            pub fn as_array(&self, store: impl AsContext) -> Result<Option<Rooted<ArrayRef>>> {
                let is = self.matches_ty(store, &HeapType::Array)?;
                Ok(is.then(|| Rooted::from_vm(self.0)))
            }

            /// The reference as one to an array.
            ///
            /// # Errors
            /// When it is not, and as [`as_array`](Self::as_array).
            pub fn unwrap_array(&self, store: impl AsContext) -> Result<Rooted<ArrayRef>> {
                let reference = self.as_array(store)?;
                reference.ok_or_else(|| format_err!("expected an array reference"))
            }
        }
    };
}

questions!(AnyRef);
questions!(EqRef);

impl AnyRef {
    /// Can it be compared: is it a number, a struct or an array?
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn is_eqref(&self, store: impl AsContext) -> Result<bool> {
        self.matches_ty(store, &HeapType::Eq)
    }

    /// The reference as one to something that can be compared, if it is.
    ///
    /// # Errors
    /// [`RefError`](crate::RefError) when the scope has ended or the store is another one.
    pub fn as_eqref(&self, store: impl AsContext) -> Result<Option<Rooted<EqRef>>> {
        let is = self.is_eqref(store)?;
        Ok(is.then(|| Rooted::from_vm(self.0)))
    }

    /// The reference as one to something that can be compared.
    ///
    /// # Errors
    /// When it is not, and as [`as_eqref`](Self::as_eqref).
    pub fn unwrap_eqref(&self, store: impl AsContext) -> Result<Rooted<EqRef>> {
        let reference = self.as_eqref(store)?;
        reference.ok_or_else(|| format_err!("expected an eq reference"))
    }
}
