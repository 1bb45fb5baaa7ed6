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

use crate::error::Error;
use cowling_vm::ObjectError;

/// The error of an instance that was not made: of its objects, or of the heap for them, as of others.
pub(crate) fn instantiation_error(error: Error) -> Error {
    match error.downcast() {
        Ok(error) => memory::gc_error(error),
        Err(error) => error,
    }
}

/// The error of an object that was not made or used.
pub(crate) fn object_error(error: ObjectError) -> Error {
    match error {
        ObjectError::Gc(error) => memory::gc_error(error),
        error => error.into(),
    }
}
