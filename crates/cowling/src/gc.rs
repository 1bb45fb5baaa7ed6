//! References of the `any` hierarchy: structs, arrays and 31-bit integers of guests, and host values that guests treat like these.
//!
//! ```text
//!   AnyRef
//!   |- EqRef           what can be compared
//!   |  |- I31          a number, in the reference itself
//!   |  |- StructRef
//!   |  '- ArrayRef
//!   '- a host value    an ExternRef that was converted
//! ```
//!
//! | file | job |
//! |---|---|
//! | `any` | [`AnyRef`], [`EqRef`]: what a reference is to |
//! | `i31` | [`I31`] |
//! | `structs` | [`StructRef`] |
//! | `arrays` | [`ArrayRef`] |
//! | `memory` | the heap: full, and what its collections cost |

mod any;
mod arrays;
mod i31;
mod memory;
mod structs;

pub use any::{AnyRef, EqRef};
pub use arrays::{ArrayRef, ArrayRefPre};
pub use i31::I31;
pub use memory::GcHeapOutOfMemory;
pub(crate) use memory::make_room;
pub use structs::{StructRef, StructRefPre};

use crate::error::{Error, Result};
use crate::externref::{GcRef, OwnedRooted, Rooted, sealed};
use cowling_vm::{ObjectError, StoreInner};

macro_rules! kinds {
    ($($Ty:ident)*) => {$(
        impl sealed::Sealed for $Ty {}

        impl GcRef for $Ty {
            type Root = cowling_vm::AnyRef;
            type Owned = cowling_vm::OwnedAnyRef;

            fn own(store: &mut StoreInner, root: Self::Root) -> Result<Self::Owned> {
                Ok(store.any_ref_to_owned(root)?)
            }

            fn root(store: &mut StoreInner, owned: &Self::Owned) -> Result<Self::Root> {
                Ok(store.any_ref_from_owned(owned)?)
            }

            fn raw(store: &StoreInner, root: Self::Root) -> Result<u32> {
                Ok(store.any_ref_raw(root)?)
            }
        }
    )*};
}

kinds!(AnyRef EqRef StructRef ArrayRef);

/// A reference of one kind as one of a more general kind.
macro_rules! upcasts {
    ($($Below:ident to $Above:ident;)*) => {$(
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
    )*};
}

upcasts! {
    EqRef to AnyRef;
    StructRef to AnyRef;
    ArrayRef to AnyRef;
    StructRef to EqRef;
    ArrayRef to EqRef;
}

/// The error of an object that was not made or used.
fn object_error(error: ObjectError) -> Error {
    match error {
        ObjectError::Gc(error) => memory::gc_error(error),
        error => error.into(),
    }
}
