//! The heap: what happens when it is full.

use crate::error::{Error, Result};
use cowling_vm::{GcError, StoreInner};
use std::fmt;

/// The garbage-collected heap has no room for an object, and may not grow.
///
/// It comes with a value that was to go into the object, if there was one. A guest that makes an object traps instead, with
/// [`Trap::GcHeapOutOfMemory`](crate::Trap::GcHeapOutOfMemory).
pub struct GcHeapOutOfMemory<T> {
    inner: T,
    bytes_needed: u64,
    reason: String,
}

impl<T> GcHeapOutOfMemory<T> {
    /// How many bytes were asked for.
    pub fn bytes_needed(&self) -> u64 {
        self.bytes_needed
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// The value, and the error without it.
    pub fn take_inner(self) -> (T, GcHeapOutOfMemory<()>) {
        let GcHeapOutOfMemory {
            inner,
            bytes_needed,
            reason,
        } = self;
        let error = GcHeapOutOfMemory {
            inner: (),
            bytes_needed,
            reason,
        };
        (inner, error)
    }
}

impl<T> fmt::Debug for GcHeapOutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcHeapOutOfMemory")
            .field("bytes_needed", &self.bytes_needed)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for GcHeapOutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl<T> std::error::Error for GcHeapOutOfMemory<T> {}

/// Collects, and makes room for an object of so many bytes.
pub(crate) fn make_room(store: &mut StoreInner, bytes: Option<u64>) -> Result<()> {
    let Some(bytes) = bytes else {
        store.collect();
        return Ok(());
    };
    match store.make_room(bytes) {
        Err(GcError::Limiter(error)) => Err(error),
        // Whoever tries again will hear of it.
        _ => Ok(()),
    }
}

/// The error of an object that was not made: a limiter's as it is, and what is too large as the trap that guests get.
pub(super) fn gc_error(error: GcError) -> Error {
    let bytes_needed = match &error {
        GcError::Full { wanted, .. } => *wanted,
        _ => 0,
    };
    match error {
        GcError::Limiter(error) => error,
        GcError::Pool(full) => full.into(),
        GcError::TooLarge => crate::Trap::AllocationTooLarge.into(),
        error => GcHeapOutOfMemory {
            inner: (),
            bytes_needed,
            reason: error.to_string(),
        }
        .into(),
    }
}
