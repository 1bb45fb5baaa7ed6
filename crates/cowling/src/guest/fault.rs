//! Faults: what is known of a trap, and who may have a say in what becomes of the guest.
//!
//! ```text
//!   trap ──> FaultDetails ──> the guest's fault handler      Default        run or resume returns Faulted
//!               │                                            Terminate(p)   ... returns Terminated(Provided(p))
//!               │ fatal
//!               └───────────> the process's fatal handler    returns        run or resume returns Faulted
//!                              (default: message, abort)
//! ```
//!
//! A handler is called after the fault was taken, on the embedder's stack, when nothing of the guest runs any more: it may do
//! whatever it likes. Signals that are no guest's go to the handlers that the embedder had installed before, untouched.

use crate::error::Error;
use crate::func::Caller;
use cowling_abi::Trap;
use cowling_vm::{FatalFault, FrameInfo, MemoryFault, Terminated, WasmBacktrace};
use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What is known of a guest's trap.
#[derive(Clone, Debug)]
pub struct FaultDetails {
    trap: Trap,
    memory: Option<MemoryFault>,
    backtrace: Option<WasmBacktrace>,
    fatal: Option<FatalFault>,
}

impl FaultDetails {
    /// The details in an error, if it is about a trap. A guest that was stopped from outside was interrupted, which has the
    /// form of a trap, but is none of its own.
    pub(super) fn of(error: &Error) -> Option<FaultDetails> {
        if error.is::<Terminated>() {
            return None;
        }
        Some(FaultDetails {
            trap: *error.downcast_ref()?,
            memory: error.downcast_ref().copied(),
            backtrace: error.downcast_ref().cloned(),
            fatal: error.downcast_ref().copied(),
        })
    }

    /// Which trap.
    pub fn trap(&self) -> Trap {
        self.trap
    }

    /// Address of the machine instruction. `None` if the guest had not entered any function.
    pub fn pc(&self) -> Option<usize> {
        self.backtrace.as_ref()?.pc()
    }

    /// The function that trapped, and its module.
    pub fn symbol(&self) -> Option<&FrameInfo> {
        self.backtrace.as_ref()?.frames().first()
    }

    /// For an access outside a memory that the processor noticed: which memory, and where in it.
    pub fn memory(&self) -> Option<&MemoryFault> {
        self.memory.as_ref()
    }

    /// The functions that were active, innermost first.
    pub fn backtrace(&self) -> &[FrameInfo] {
        self.backtrace.as_ref().map_or(&[], WasmBacktrace::frames)
    }

    /// Is it something that a guest cannot do, which means that the engine is broken? Then the fatal handler was called.
    pub fn is_fatal(&self) -> bool {
        self.fatal.is_some()
    }
}

impl fmt::Display for FaultDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.trap)?;
        if let Some(fatal) = &self.fatal {
            write!(f, " ({fatal})")?;
        }
        if let Some(memory) = &self.memory {
            write!(f, ": {memory}")?;
        }
        if let Some(symbol) = self.symbol() {
            write!(f, ", in {symbol}")?;
        }
        Ok(())
    }
}

/// What becomes of a guest that faulted.
#[derive(Debug)]
pub enum FaultAction {
    /// It is faulted: what happens without a handler.
    Default,
    /// It is terminated with this payload.
    Terminate(Box<dyn Any + Send>),
}

/// Decides what becomes of a guest that faulted: see [`Guest::set_fault_handler`](crate::Guest::set_fault_handler).
pub(super) type FaultHandler<T> =
    Box<dyn FnMut(Caller<'_, T>, &FaultDetails) -> FaultAction + Send + Sync>;

type FatalHandler = Arc<dyn Fn(&FaultDetails) + Send + Sync>;

static FATAL_HANDLER: Mutex<Option<FatalHandler>> = Mutex::new(None);

/// Replaces what happens when a guest does what no guest can do: trap at an address that is not its own. Something is broken then,
/// and memory that is not the guest's may have been touched. At first, and after [`reset_fatal_handler`], the process prints what
/// happened to standard error and aborts.
///
/// If the handler returns, the guest is faulted fatally and has to be reset. A handler may also panic; the panic then continues
/// in whoever ran the guest.
pub fn set_fatal_handler(handler: impl Fn(&FaultDetails) + Send + Sync + 'static) {
    replace_fatal_handler(Some(Arc::new(handler)));
}

/// Restores what happens on a fatal fault to printing it and aborting.
pub fn reset_fatal_handler() {
    replace_fatal_handler(None);
}

fn replace_fatal_handler(handler: Option<FatalHandler>) {
    let mut place = FATAL_HANDLER.lock().unwrap_or_else(PoisonError::into_inner);
    *place = handler;
}

/// Calls the fatal handler.
pub(super) fn fatal(details: &FaultDetails) {
    // Cloned out of the lock: the handler may replace itself.
    let handler = FATAL_HANDLER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    match handler {
        Some(handler) => handler(details),
        None => {
            eprintln!("cowling: fatal fault, aborting: {details}");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[test]
    fn the_fatal_handler_is_called_and_may_replace_itself() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let details = FaultDetails {
            trap: Trap::MemoryOutOfBounds,
            memory: None,
            backtrace: None,
            fatal: None,
        };
        set_fatal_handler(|details| {
            assert_eq!(details.trap(), Trap::MemoryOutOfBounds);
            CALLS.fetch_add(1, SeqCst);
            set_fatal_handler(|_| {
                CALLS.fetch_add(10, SeqCst);
            });
        });
        fatal(&details);
        fatal(&details);
        assert_eq!(CALLS.load(SeqCst), 11);
        reset_fatal_handler();
    }
}
