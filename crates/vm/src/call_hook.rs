//! Call hooks: the embedder is told whenever the border between host and guests is crossed.
//!
//! ```text
//!   embedder --- CallingWasm ---> guest --- CallingHost ---> host function
//!                                                              | calls a guest: the same again, inside
//!   embedder <-- ReturningFromWasm -- guest <-- ReturningFromHost --'
//! ```
//!
//! A host function that the host calls itself is told like one that a guest calls that does nothing else: all four transitions.
//! A start function is a call like others. A guest that stops early returns; a host function that fails returns, one that panics does
//! not. Not told are suspensions and resumptions, which leave both sides where they are, calls of the runtime by guests (growing a
//! memory), and what the embedder gives a store besides host functions: limiters, epoch callbacks, fault handlers. While a computation
//! is cancelled nothing is told.
//!
//! When the hook fails before a call, that is not made, and has no return that could be told: the error is what the call would have
//! failed with. When it fails on a return, its error takes the place of whatever was returned.
//!
//! The hook runs where host functions run, on the guest stack, so one that waits for a future suspends the call. It is not called for
//! what it does itself.
//!
//! # Invariant
//!
//! Nothing is collected while the hook runs: references among arguments and results are in buffers and registers then.

use crate::activation::Execution;
use crate::error::Result;
use crate::host::leave;
use crate::host_ref::RootScope;
use crate::interrupt;
use crate::store::StoreInner;
use crate::suspend::{Cancelled, Mark};
use crate::trap::{Raised, TrapReason};
use cowling_abi::Trap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

/// A transition between the host and WebAssembly, as a store's call hook gets it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum CallHook {
    /// The host is about to call a WebAssembly function.
    CallingWasm,
    /// A WebAssembly function is about to return to the host, or has stopped early.
    ReturningFromWasm,
    /// WebAssembly is about to call a function of the host.
    CallingHost,
    /// A function of the host is about to return to WebAssembly, with results or an error.
    ReturningFromHost,
}

impl CallHook {
    /// Will code of the host run next?
    pub fn entering_host(&self) -> bool {
        matches!(self, CallHook::ReturningFromWasm | CallHook::CallingHost)
    }

    /// Will WebAssembly run next?
    pub fn exiting_host(&self) -> bool {
        matches!(self, CallHook::ReturningFromHost | CallHook::CallingWasm)
    }
}

/// A store's call hook is gone: it was waiting in a call whose future was forgotten.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store's call hook is lost: the future of a call was forgotten while the hook waited")]
pub(crate) struct CallHookLost;

/// Calls the hook of a store. See `with_call_hook` in the module `store`.
pub(crate) type HookAccess = unsafe fn(NonNull<StoreInner>, CallHook) -> Result<()>;

/// The hook runs as long as this is there.
struct InHook(NonNull<Execution>);

impl Drop for InHook {
    fn drop(&mut self) {
        // SAFETY: whoever makes one keeps the store alive; the reference ends with the statement.
        unsafe { self.0.as_ref() }
            .computations()
            .mark(Mark::InHook, false);
    }
}

/// The root scope of a call of the hook. It ends when that returns or panics.
struct HookScope(NonNull<StoreInner>, RootScope);

impl Drop for HookScope {
    fn drop(&mut self) {
        // SAFETY: whoever makes one has the right to use the store, and no reference into it when the hook has returned or has been
        // unwound.
        unsafe { (*self.0.as_ptr()).root_scope_exit(self.1) };
    }
}

/// Calls the hook, if there is one that does not run already.
///
/// # Errors
/// What it returns.
///
/// # Safety
/// `store` points to all of a store, which may be used and of which no reference is alive.
unsafe fn call(store: NonNull<StoreInner>, hook: CallHook) -> Result<()> {
    let execution = store.cast::<Execution>();
    // SAFETY: as the caller says; references end with their statements.
    unsafe {
        let Some(access) = store.as_ref().call_hook() else {
            return Ok(());
        };
        let computations = execution.as_ref().computations();
        if computations.any([Mark::Cancelling]) || computations.mark(Mark::InHook, true) {
            return Ok(());
        }
        let _in_hook = InHook(execution);
        execution.as_ref().note_host_frames();
        let _scope = HookScope(store, store.as_ref().root_scope_enter());
        access(store, hook)
    }
}

/// Calls the hook between guest frames.
///
/// # Errors
/// Why the guest must be left.
///
/// # Safety
/// The innermost guest of the thread, of this store, has called a host function, and waits. No reference to the store is alive.
unsafe fn between(store: NonNull<StoreInner>, hook: CallHook) -> Result<(), TrapReason> {
    let execution = store.cast::<Execution>();
    // SAFETY: as the caller says; references end with their statements.
    unsafe {
        execution.as_ref().interrupts().host_begins();
        let called = catch_unwind(AssertUnwindSafe(|| call(store, hook)));
        let asked = execution.as_ref().interrupts().host_ends();
        match called {
            Ok(Ok(())) if execution.as_ref().is_cancelling() => {
                Err(TrapReason::Host(Cancelled.into()))
            }
            Ok(Ok(())) if asked => interrupt::look(execution),
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(TrapReason::Host(error)),
            Err(payload) => Err(TrapReason::Panic(payload)),
        }
    }
}

/// A guest is about to call a host function. Returns only if the hook allows it.
///
/// # Safety
/// As for [`between`]; the caller has nothing to drop.
#[cold]
#[inline(never)]
pub(crate) unsafe fn calling_host(store: NonNull<StoreInner>) {
    // SAFETY: the caller's promises are those of both; the reason is all there is.
    unsafe {
        if let Err(reason) = between(store, CallHook::CallingHost) {
            leave(store, reason)
        }
    }
}

/// A host function has returned to a guest. Does nothing if there is no hook.
///
/// # Errors
/// Why the guest must be left, in place of what the host function returned.
///
/// # Safety
/// As for [`between`].
pub(crate) unsafe fn returning_from_host(store: NonNull<StoreInner>) -> Result<(), TrapReason> {
    // SAFETY: as the caller says; the reference ends with its statement.
    unsafe {
        if !store.as_ref().execution().computations().is_hooked() {
            return Ok(());
        }
        between(store, CallHook::ReturningFromHost)
    }
}

/// Calls a host function from the host, and the hook for every transition that there would be if a guest did.
///
/// # Errors
/// Of the hook, or of the function.
///
/// # Safety
/// As for [`call`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn around_direct_call(
    store: NonNull<StoreInner>,
    function: impl FnOnce() -> Result<()>,
) -> Result<()> {
    // SAFETY: the caller's promise is the same.
    unsafe {
        call(store, CallHook::CallingWasm)?;
        let called = call(store, CallHook::CallingHost).and_then(|()| {
            let returned = function();
            call(store, CallHook::ReturningFromHost).and(returned)
        });
        call(store, CallHook::ReturningFromWasm).and(called)
    }
}

/// Calls a guest, and the hook before and after that.
///
/// # Errors
/// Why the hook or the guest stopped it. Panics of the hook are among that.
///
/// # Safety
/// As for [`call`]; runs where guests may be entered.
#[cold]
#[inline(never)]
pub(crate) unsafe fn around_guest(
    store: NonNull<StoreInner>,
    guest: impl FnOnce() -> Result<(), Box<Raised>>,
) -> Result<(), Box<Raised>> {
    // SAFETY: the caller's promise is the same; references end with their statements.
    unsafe {
        // The hook is promised the host's share of the stack, as host functions are.
        if !store.as_ref().execution().has_host_stack() {
            let frames = store.as_ref().execution().backtrace();
            let reason = TrapReason::Wasm {
                trap: Trap::StackOverflow,
                fault_address: None,
            };
            return Err(raised(reason, frames));
        }
        around(store, CallHook::CallingWasm)?;
        let returned = guest();
        if let Err(raised) = &returned
            && let TrapReason::Panic(_) = raised.reason
        {
            return returned;
        }
        around(store, CallHook::ReturningFromWasm).and(returned)
    }
}

/// Calls the hook outside of guest frames.
///
/// # Errors
/// What it returns, or the payload of its panic.
///
/// # Safety
/// As for [`call`].
unsafe fn around(store: NonNull<StoreInner>, hook: CallHook) -> Result<(), Box<Raised>> {
    // SAFETY: the caller's promise is the same.
    let reason = match catch_unwind(AssertUnwindSafe(|| unsafe { call(store, hook) })) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => TrapReason::Host(error),
        Err(payload) => TrapReason::Panic(payload),
    };
    Err(raised(reason, Vec::new()))
}

fn raised(reason: TrapReason, frames: Vec<usize>) -> Box<Raised> {
    Box::new(Raised {
        reason,
        frames,
        cut_after: None,
    })
}
