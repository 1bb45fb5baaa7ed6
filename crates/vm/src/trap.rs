//! Why guest code stopped, as it travels from where it happened to the host code that entered the guest.

use crate::control::Terminated;
use cowling_abi::Trap;
use std::any::Any;

/// Why guest code stopped.
#[derive(Debug)]
pub(crate) enum TrapReason {
    /// A trap of WebAssembly's.
    Wasm {
        /// Which.
        trap: Trap,
        /// The address it could not access, for traps that the processor noticed.
        fault_address: Option<usize>,
    },
    /// It was ended from outside.
    Terminated(Terminated),
    /// A host function failed or the guest left through an error of the runtime's.
    Host(anyhow::Error),
    /// A host function panicked with this payload, which continues in the host code that entered the guest.
    Panic(Box<dyn Any + Send>),
}

/// What entering a guest ends with when the guest does not return.
#[derive(Debug)]
pub(crate) struct Raised {
    /// Why.
    pub(crate) reason: TrapReason,
    /// The guest frames of the store when it happened, innermost first, across host frames in between: for each an address inside
    /// the instruction it was executing (so not a return address, which may belong to the next line). Of the innermost
    /// activation at most [`crate::activation::MAX_TRAP_FRAMES`].
    pub(crate) frames: Vec<usize>,
    /// After how many of them others were left out, if any were.
    pub(crate) cut_after: Option<usize>,
}
