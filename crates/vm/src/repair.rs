//! Failed accesses that the embedder may repair: the guest waits at the instruction, and tries it again.
//!
//! ```text
//!   signal handler              the save area's stack             the embedder's stack
//!   access to memory failed
//!   registers saved ----------> waiting: suspend ===============> driver: callback(store, failed access)
//!                               callback says retry:  <============  (may grow the memory in place)
//!                                 rt_sigreturn, same instruction
//!                               says trap, or fails: raised, like any other trap
//! ```
//!
//! This is an [interruption](crate::interrupt) that the processor asks for. Only accesses to linear memories are repaired: their
//! instructions change nothing when they fail, so they can be executed again with the registers they had. What has been read into
//! those registers must still be true; that is why nothing moves while a guest is interrupted.
//!
//! Invariant: [`Repairs::failed`] is set from the signal handler's redirection until the guest goes on or is raised.

use crate::activation::{self, Activation, Execution, FaultSite};
use crate::arch;
use crate::backtrace::{Backtrace, MemoryFault};
use crate::epoch;
use crate::error::Result;
use crate::interrupt;
use crate::store::{StoreInner, StoreMut};
use crate::suspend::Interruption;
use crate::sys::sigframe::Interrupted;
use cowling_abi::Trap;
use std::cell::Cell;
use std::ptr::NonNull;

/// An access of a guest's that failed, while the guest still waits there.
#[derive(Clone, Debug)]
pub struct FailedAccess {
    /// The trap it will be if it is not tried again.
    pub trap: Trap,
    /// Where it was.
    pub memory: MemoryFault,
    /// The functions that are active.
    pub backtrace: Backtrace,
}

/// What becomes of a guest whose access failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The access is tried again.
    Retry,
    /// It traps.
    Trap,
}

/// A store's callback for failed accesses, by its first part: see `with_repair_callback` in `store`.
pub(crate) type RepairCallback = unsafe fn(NonNull<StoreInner>, FailedAccess) -> Result<Repair>;

/// What the signal handler notes of an access that failed.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) trap: Trap,
    pub(crate) site: FaultSite,
    pub(crate) address: usize,
    /// Fuel that the instruction's code has not taken from the count yet; `None` if it does not count.
    pub(crate) untaken: Option<i64>,
}

/// A store's part in repairs.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    wanted: Cell<bool>,
    failed: Cell<Option<Failed>>,
    retry: Cell<bool>,
}

impl Repairs {
    /// Lets a guest wait whose access failed, if there is a callback to ask. Async-signal-safe.
    pub(crate) fn wait(
        execution: &Execution,
        interrupted: &mut Interrupted<'_>,
        failed: Failed,
    ) -> bool {
        let repairs = execution.repairs();
        if !repairs.wanted.get() {
            return false;
        }
        let area = execution.interrupts().area();
        let Some(area) = area.filter(|area| interrupted.save(area)) else {
            return false;
        };
        repairs.failed.set(Some(failed));
        let argument = std::ptr::from_ref(execution).addr();
        let function = waiting as *const () as usize;
        interrupted.redirect(function, argument, Some(area.stack_base()));
        true
    }
}

/// Where a guest goes whose access failed: on its save area's stack.
///
/// # Safety
/// As for the interruption of a guest: only the signal handler lets a thread go here, with the execution whose save area it has
/// filled and whose activation is the thread's innermost.
unsafe extern "C" fn waiting(execution: NonNull<Execution>) -> ! {
    // SAFETY: the handler has passed the execution of the thread's innermost activation, whose guest is in the save area. No
    // reference to the store is alive while guest code runs, and those here end before it is suspended.
    unsafe {
        let this = execution.as_ref();
        let (Some(failed), Some(area)) = (this.repairs().failed.get(), this.interrupts().area())
        else {
            unreachable!("the handler has filled both")
        };
        let saved = area.saved();
        let exit = this.replace_exit((failed.site.pc.wrapping_add(1), failed.site.fp));
        this.repairs().retry.set(false);
        let mut resumed =
            Execution::suspend_interrupted(execution, Interruption::Fault, saved.clone());
        let this = execution.as_ref();
        if resumed.is_ok() && this.repairs().retry.get() {
            if this.interrupts().is_asked() {
                resumed = interrupt::look_with(execution, saved);
            }
            if resumed.is_ok() {
                let this = execution.as_ref();
                this.repairs().failed.set(None);
                this.replace_exit(exit);
                let Some(area) = this.interrupts().area() else {
                    unreachable!("it stays as long as the store")
                };
                if let Some(untaken) = failed.untaken {
                    let count = this.fuel_count().wrapping_add(untaken);
                    area.set_register(libc::REG_R15, count as u64);
                }
                area.resume()
            }
        }
        let this = execution.as_ref();
        this.repairs().failed.set(None);
        if let Err(reason) = resumed {
            activation::raise(execution, reason);
        }
        this.replace_exit(exit);
        let Some(activation) = Activation::current() else {
            unreachable!("its guest waits here")
        };
        activation.record_fault(failed.trap, Some(failed.site), Some(failed.address));
        arch::raise(activation)
    }
}

/// Asks the callback. Runs on the embedder's stack.
///
/// # Errors
/// What the callback fails with: the guest is raised with that.
///
/// # Safety
/// `store` may be used, and no reference to it is alive.
pub(crate) unsafe fn decide(store: NonNull<StoreInner>) -> Result<()> {
    // SAFETY: as the caller says; each reference ends with its statement.
    let (callback, access) = unsafe {
        let store = store.as_ref();
        let failed = store.execution().repairs().failed.get();
        let access = failed.and_then(|failed| {
            Some(FailedAccess {
                trap: failed.trap,
                memory: MemoryFault::find(store, failed.address)?,
                backtrace: Backtrace::capture(store),
            })
        });
        (store.repair_callback(), access)
    };
    // One that is in no memory is nothing to repair.
    if let (Some(callback), Some(access)) = (callback, access) {
        // SAFETY: as the caller says.
        let repair = unsafe { callback(store, access)? };
        // SAFETY: as above.
        let repairs = unsafe { store.as_ref() }.execution().repairs();
        repairs.retry.set(repair == Repair::Retry);
    }
    Ok(())
}

impl<T: 'static> StoreMut<'_, T> {
    /// Calls `callback` when a guest's access to a memory fails, outside the guest, which waits there. It may repair the cause and
    /// let the access be tried again. If it fails, the guest ends with that error. Accesses that the runtime makes for a guest,
    /// or finds wrong by comparing numbers, are not asked about.
    ///
    /// # Errors
    /// When there is no memory for what this needs.
    pub fn set_repair_callback(
        &mut self,
        callback: impl FnMut(StoreMut<'_, T>, FailedAccess) -> Result<Repair> + Send + Sync + 'static,
    ) -> Result<()> {
        let execution = self.inner().execution();
        execution.interrupts().provide_area()?;
        execution.repairs().wanted.set(true);
        execution
            .computations()
            .set_interruption_handler(Some(epoch::decide));
        self.replace_repair_callback(Box::new(callback));
        Ok(())
    }
}
