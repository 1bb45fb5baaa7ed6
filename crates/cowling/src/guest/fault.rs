//! Faults: what is known of a trap, and who may have a say in what becomes of the guest.
//!
//! ```text
//!   access to memory failed ──> the guest's fault handler    Continue       the guest tries the access again
//!     (the guest waits)                                      Default        it traps, as below, without asking again
//!                                                            Terminate(p)   run or resume returns Terminated(Provided(p))
//!
//!   trap ──> FaultDetails ──> the guest's fault handler      Default        run or resume returns Faulted
//!               │                                            Terminate(p)   ... returns Terminated(Provided(p))
//!               │ fatal
//!               └───────────> the process's fatal handler    returns        run or resume returns Faulted
//!                              (default: message, abort)
//! ```
//!
//! A handler is called on the embedder's stack, not in a signal handler: it may do whatever it likes. Signals that are no guest's go
//! to the handlers that the embedder had installed before, untouched.

use super::termination::{Payload, Terminate};
use crate::backtrace::{FrameInfo, WasmBacktrace};
use crate::error::{Error, Result};
use crate::func::Caller;
use crate::store::StoreData;
use cowling_abi::Trap;
use cowling_vm::{
    FailedAccess, FatalFault, HostCaller, InstanceHandle, MemoryFault, Repair, StoreInner,
    StoreMut, Terminated,
};
use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known of a guest's trap.
#[derive(Clone, Debug)]
pub struct FaultDetails {
    trap: Trap,
    memory: Option<MemoryFault>,
    backtrace: Option<WasmBacktrace>,
    fatal: Option<FatalFault>,
    waits: bool,
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
            waits: false,
        })
    }

    /// The details of an access that has not become a trap yet.
    fn of_access(store: &StoreInner, access: FailedAccess) -> FaultDetails {
        FaultDetails {
            trap: access.trap,
            memory: Some(access.memory),
            backtrace: Some(WasmBacktrace::of_access(store, Some(access.backtrace))),
            fatal: None,
            waits: true,
        }
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

    /// Does the guest wait at the instruction, so that a handler may let it [continue](FaultAction::Continue)?
    pub fn can_continue(&self) -> bool {
        self.waits
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
    /// It tries the access again that failed, as if nothing had happened. If the cause was not removed, it fails again and the
    /// handler is asked again. As `Default` unless [`FaultDetails::can_continue`].
    Continue,
    /// It is terminated with this payload.
    Terminate(Box<dyn Any + Send>),
}

/// Decides what becomes of a guest that faulted: see [`Guest::set_fault_handler`](crate::Guest::set_fault_handler).
type FaultHandler<T> = Box<dyn FnMut(Caller<'_, T>, &FaultDetails) -> FaultAction + Send>;

/// A guest's fault handler. The guest has it, and so has the guest's store, which asks it while the guest waits.
pub(super) struct SharedHandler<T: 'static>(Arc<Mutex<Handling<T>>>);

struct Handling<T: 'static> {
    handler: FaultHandler<T>,
    /// Address of the instruction it was asked about last.
    asked: Option<usize>,
}

impl<T: 'static> SharedHandler<T> {
    pub(super) fn new(
        handler: impl FnMut(Caller<'_, T>, &FaultDetails) -> FaultAction + Send + 'static,
    ) -> Self {
        SharedHandler(Arc::new(Mutex::new(Handling {
            handler: Box::new(handler),
            asked: None,
        })))
    }

    /// Lets a store ask, on behalf of an instance in it.
    ///
    /// # Errors
    /// When there is no memory for what this needs.
    pub(super) fn arm(
        &self,
        store: &mut StoreMut<'_, StoreData<T>>,
        instance: Option<InstanceHandle>,
    ) -> Result<()> {
        let this = SharedHandler(self.0.clone());
        store.set_repair_callback(move |store, access| {
            let details = FaultDetails::of_access(store.inner(), access);
            match this.ask(store, instance, &details) {
                FaultAction::Default => Ok(Repair::Trap),
                FaultAction::Continue => Ok(Repair::Retry),
                FaultAction::Terminate(payload) => Err(Terminate(Payload::new(payload)).into()),
            }
        })
    }

    /// Asks what becomes of a guest that has faulted, unless that was asked while it waited.
    pub(super) fn settle(
        &self,
        store: StoreMut<'_, StoreData<T>>,
        instance: Option<InstanceHandle>,
        details: &FaultDetails,
    ) -> FaultAction {
        let asked = self.lock().asked.take();
        if details.memory().is_some()
            && asked.is_some()
            // Without backtraces it is not known where; every access that fails is asked about.
            && details.pc().is_none_or(|pc| asked == Some(pc))
        {
            return FaultAction::Default;
        }
        self.ask(store, instance, details)
    }

    fn ask(
        &self,
        store: StoreMut<'_, StoreData<T>>,
        instance: Option<InstanceHandle>,
        details: &FaultDetails,
    ) -> FaultAction {
        let mut handling = self.lock();
        handling.asked = details.pc();
        (handling.handler)(Caller::from_vm(HostCaller { store, instance }), details)
    }

    fn lock(&self) -> MutexGuard<'_, Handling<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
            waits: false,
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
