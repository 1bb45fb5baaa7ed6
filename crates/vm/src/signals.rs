//! Faults of guests become traps. (Interruptions are in [`crate::interrupt`].)
//!
//! ```text
//!   what the processor reports          pc in guest code                      pc elsewhere
//!   access to the guard of the stack    StackOverflow                         StackOverflow
//!     of the current activation
//!   anything else                       what the trap table says of this      not a guest's: passed on
//!                                       instruction; nothing: passed on
//! ```
//!
//! A host function may overflow the stack like a guest does, and is then left without running its destructors: what it held is
//! leaked, a lock it held stays locked. The stack reserve that it is promised makes that a host function's own fault.
//!
//! Invariant: a fault is taken only from a thread that runs a guest, and only when the innermost activation can be raised. What
//! runs here is async-signal-safe.

use crate::activation::{Activation, FaultSite};
use crate::arch;
use crate::interrupt;
use crate::registry;
use crate::repair::{Failed, Repairs};
use crate::sys::signal::{self, Fault};
use crate::sys::{PAGE_SIZE, altstack};
use crate::test_points::Point;
use cowling_abi::Trap;
use std::io;
use std::sync::OnceLock;

/// Installs the signal handlers, the first time it is called in the process.
///
/// # Errors
/// When the system refuses, or has pages of another size than artifacts are made for.
pub(crate) fn init() -> io::Result<()> {
    static RESULT: OnceLock<Result<(), (io::ErrorKind, String)>> = OnceLock::new();
    let result =
        RESULT.get_or_init(|| install().map_err(|error| (error.kind(), error.to_string())));
    result
        .clone()
        .map_err(|(kind, message)| io::Error::new(kind, message))
}

/// Prepares this thread for running guests, and the process if that has not been done. What the first call of a guest does otherwise,
/// which also reports what goes wrong.
pub fn prepare_thread() {
    let prepared = init().and_then(|()| altstack::prepare_thread());
    if let Err(error) = prepared {
        tracing::debug!("this thread cannot be prepared for guests: {error}");
    }
}

fn install() -> io::Result<()> {
    let page = rustix::param::page_size();
    if page != PAGE_SIZE {
        let message =
            format!("this machine has pages of {page} bytes, guests need pages of {PAGE_SIZE}");
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    // Before the first thread is prepared: one that is can rely on it.
    signal::install(handle, interrupt::handle)?;
    altstack::prepare_thread()
}

fn handle(fault: &mut Fault<'_>) -> bool {
    let Some(activation) = Activation::current() else {
        return false;
    };
    if !fault.may_be_guests() || !activation.can_be_raised() {
        return false;
    }
    let pc = fault.pc();
    // Is it guest code, and if so: what does the trap table say, and has the function not made its frame yet?
    let guest = registry::with_region(pc, |region| {
        (
            region.trap_at(pc),
            region.is_function_start(pc),
            region.counts_fuel(),
        )
    });
    let stack = activation.stack();
    let address = fault.address();
    let overflow = address.is_some_and(|address| stack.guard_contains(address));
    let (trap, untaken) = if overflow && stack.contains(fault.stack_pointer()) {
        // Where frames are made everything has been taken.
        (Trap::StackOverflow, 0)
    } else {
        match guest {
            Some((Some(site), ..)) => (site.trap, site.untaken),
            _ => return false,
        }
    };
    if let Some((.., true)) = guest {
        activation.store_fuel(fault.fuel_register().wrapping_sub(untaken.into()));
    }
    let site = guest.map(|(_, frameless, _)| FaultSite {
        pc,
        fp: fault.frame_pointer(),
        return_address: (frameless && stack.holds_word(fault.stack_pointer())).then(|| {
            // SAFETY: the word is on the stack, which is mapped; a function that has not made its frame was just called.
            unsafe { *(fault.stack_pointer() as *const usize) }
        }),
    });
    // SAFETY: an execution outlives its activations.
    let execution = unsafe { activation.execution().as_ref() };
    execution.interrupts().point(Point::Faulted);
    if trap == Trap::MemoryOutOfBounds
        && let (Some(site), Some(address)) = (site, address)
    {
        let counts = guest.is_some_and(|(.., counts)| counts);
        let failed = Failed {
            trap,
            site,
            address,
            untaken: counts.then_some(untaken.into()),
        };
        if Repairs::wait(execution, fault.interrupted(), failed) {
            return true;
        }
    }
    activation.record_fault(trap, site, address);
    fault.resume_in(arch::raise, activation);
    true
}

#[cfg(test)]
mod tests;
