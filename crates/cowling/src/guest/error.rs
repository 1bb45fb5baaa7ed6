//! What can go wrong with a guest.

use super::fault::FaultDetails;
use super::limits::LimitError;
use super::state::State;
use super::termination::TerminationDetails;
use crate::error::{CallError, Error, TypeMismatch};
use crate::types::ExternType;
use cowling_vm::{FuelError, ResumeError};

/// What went wrong with a guest.
///
/// Only [`Faulted`](Self::Faulted), [`Terminated`](Self::Terminated) and [`StartYielded`](Self::StartYielded) say that guest code
/// may have run; after every other error the guest is in the state it was in before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// Every slot of the region is in use.
    #[error("region is full: all of its {0} slots are in use")]
    RegionFull(usize),
    /// A limit makes no sense.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The module needs more than the region gives a guest.
    #[error("module needs {needed} {unit} of `{limit}`, the guest may have {allowed}")]
    LimitsExceeded {
        /// The limit.
        limit: &'static str,
        /// `bytes`, `globals` or `elements`.
        unit: &'static str,
        /// How much the module needs before it grows.
        needed: u64,
        /// What the limit is.
        allowed: u64,
    },
    /// The module could not be instantiated.
    #[error("guest cannot be instantiated: {0:#}")]
    Instantiate(Error),
    /// The guest has a start function, which must run first.
    #[error("guest is not started: its start function must run first")]
    NotStarted,
    /// The start function has run, or has been tried.
    #[error("guest is started already: its start function runs once until it is reset")]
    AlreadyStarted,
    /// The start function yielded. The guest is terminated.
    #[error("start function yielded, which only functions that are run may")]
    StartYielded,
    /// The guest is suspended: it can be resumed or reset.
    #[error("guest cannot be run: it is {state}, and must be resumed or reset first")]
    Suspended {
        /// How.
        state: State,
    },
    /// The guest cannot go on before it is reset.
    #[error("guest cannot be run: it is {state}, and must be reset first")]
    NeedsReset {
        /// Its state.
        state: State,
    },
    /// The guest was not resumed. If it is suspended, it still is.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// There is no such export.
    #[error("guest has no export {name:?}")]
    UnknownExport {
        /// Its name.
        name: String,
    },
    /// The export is not a function.
    #[error("export {name:?} is not a function but of type {ty}")]
    NotAFunction {
        /// Its name.
        name: String,
        /// What it is.
        ty: ExternType,
    },
    /// There is no such table, or it does not hold functions.
    #[error("guest has no table {table} of functions")]
    UnknownTable {
        /// Its index in the module.
        table: u32,
    },
    /// The table does not have that many elements.
    #[error("table {table} has no element {index}: its size is {size}")]
    TableIndex {
        /// The table's index in the module.
        table: u32,
        /// The element's index.
        index: u64,
        /// The table's size in elements.
        size: u64,
    },
    /// The element of the table is null.
    #[error("element {index} of table {table} is null")]
    NullElement {
        /// The table's index in the module.
        table: u32,
        /// The element's index.
        index: u64,
    },
    /// Wrong number or types of arguments.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The function is not of the type that was asked for.
    #[error(transparent)]
    Type(#[from] TypeMismatch),
    /// Instructions are not counted, or the bound is 0.
    #[error(transparent)]
    Fuel(#[from] FuelError),
    /// The guest trapped.
    #[error("guest faulted: {0}")]
    Faulted(Box<FaultDetails>),
    /// The guest was stopped.
    #[error("guest terminated: {0}")]
    Terminated(TerminationDetails),
    /// The runtime could not do its part: no memory for a stack, no timer.
    #[error(transparent)]
    Runtime(Error),
}
