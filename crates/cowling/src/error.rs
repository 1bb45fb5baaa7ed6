//! Errors.
//!
//! Everything that can fail returns [`Error`], which carries the cause as a type that `downcast_ref` finds:
//!
//! | cause | what it says |
//! |---|---|
//! | [`Trap`](crate::Trap) | guest code stopped, and why |
//! | [`WasmBacktrace`](crate::WasmBacktrace) | where guest code was; present with traps and errors of host functions |
//! | an error of your own | what a host function returned |
//! | [`LinkError`], [`UnknownImportError`] | imports that do not fit or are missing |
//! | [`CallError`], [`TypeMismatch`] | a function called or typed the wrong way |
//! | [`ValueError`], [`AccessError`], [`GrowError`], [`RefError`], [`WrongStore`] | a table, global, memory or reference used the wrong way |
//! | [`Removed`], [`RemoveError`] | something used after it was removed from its store; something that cannot be removed by itself |
//! | [`CannotSuspend`], [`StoreSuspended`] | a host function that has to wait in a call that cannot; a call while another waits |
//! | [`NeedsAsync`] | a call that is not asynchronous, in a store whose limiter or call hook is |
//! | [`FuelError`] | fuel set or read where none is counted |
//! | [`InstantiateError`] | no instance for lack of room, or of the wrong engine |
//! | [`TypeError`], [`OutOfMemory`] | a defined type that cannot be had |
//! | [`PoolConcurrencyLimitError`](crate::PoolConcurrencyLimitError) | a limit of the pool is reached |
//! | [`LoadError`], [`HeaderError`] | an artifact that does not load |
//! | [`CompileError`](crate::CompileError) | a module that does not compile |
//! | [`KnobError`](crate::KnobError) | a setting that does not exist |

pub use anyhow::{Chain, Context, Error, Ok, anyhow as format_err, bail, ensure};
pub use cowling_abi::artifact::HeaderError;
pub use cowling_vm::{
    AccessError, CallError, Cancelled, CannotSuspend, FuelError, GrowError, InstanceNumber,
    InstantiateError, LinkError, LoadError, NeedsAsync, RefError, RemoveError, Removed,
    StoreSuspended, TypeError, TypeMismatch, ValueError, WrongStore,
};

/// Result with [`Error`] unless it names another.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An import for which nothing was defined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown import: {module:?}.{name:?} of type {ty} is not defined")]
pub struct UnknownImportError {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) ty: crate::ExternType,
}

impl UnknownImportError {
    /// First part of the import's name.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Second part of the import's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the module asks for.
    pub fn ty(&self) -> crate::ExternType {
        self.ty.clone()
    }
}

/// There is no room for something.
///
/// When the system refuses memory for a part of the host's own data, the process ends instead, as in any Rust program.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of memory: no room for {what}")]
pub struct OutOfMemory {
    what: &'static str,
}

impl OutOfMemory {
    pub(crate) fn new(what: &'static str) -> OutOfMemory {
        OutOfMemory { what }
    }
}
