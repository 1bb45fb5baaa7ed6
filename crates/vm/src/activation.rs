//! Activations: one stretch of guest code, from the host's call into it to its return or trap.
//!
//! ```text
//!                     the thread's own stack              the store's guest stack
//!                    +-----------------------+      base +---------------------------+
//!   embedder ------> | call_on_guest_stack   | ========> | closure of the runtime    |
//!                    |   or drive  (waits)   |           | enter: Activation A       | <-+ outer, previous
//!                    +-----------------------+           | entry trampoline          |   |
//!                                                        | guest frames              |   |  exit_fp/exit_pc of A's guest
//!                                                        | host shim, host function  |   |  code are saved in B
//!                                                        | enter: Activation B ------|---+
//!                                                        | entry trampoline          |
//!                                                        | guest frames              |
//!                                                        | ...                       |
//!                                                  limit +---------------------------+
//! ```
//!
//! Two lists run through the activations, which all lie on stacks: `previous` joins those of one thread, innermost first, for
//! the signal handler, which starts at the thread-local [`CURRENT`]; `outer` joins those of one store, for backtraces, and starts
//! at [`Execution::innermost`]. They differ when a host function of one store runs another store.
//!
//! A *run* is what is on one stack, from the switch to it to its end: of a plain call, or of a [computation](crate::suspend) that
//! may be suspended. [`Execution::run`] is the innermost of a store.
//!
//! A guest stops early by [`raise`]: the reason is put into the innermost activation and the registers saved by
//! [`arch::enter_guest`] are restored, as if the guest had returned. Nothing is unwound: guest frames own nothing, and
//! the host's frames between have run their destructors before.
//!
//! Invariants:
//! * An activation is in both lists exactly while `enter_guest` runs it and its run is not suspended. Then its neighbours in the
//!   lists may be gone: whoever resumes it puts it into the lists that are there then.
//! * Code between `enter_guest` and the end of `enter` may be on another thread than the code before: nothing that belongs to a
//!   thread is kept across.
//! * `StoreContext::exit_pc` and `exit_fp` always describe the innermost activation's last call to the host, or are 0 when it
//!   has made none: they are saved when an activation begins and restored when it ends, however it ends. A store without activation
//!   has any.
//! * [`Execution::run`] is on the stack that the store's code runs on, exactly while it does.

mod execution;
mod frames;
mod leave;
mod plain;
mod run;

pub(crate) use execution::{Execution, Stacks, THROWER_REGISTERS};
pub(crate) use frames::{FaultSite, Frame, Frames};
use frames::{capture, take_captured};
pub(crate) use leave::{continue_in_handler, raise, raise_stack_overflow, raise_trap};
pub(crate) use plain::call_in_registers;
use run::OwnStack;
pub(crate) use run::{BASE, LINK, Outside, Run, Suspended, call_on_guest_stack};

use crate::arch;
use crate::call_hook;
use crate::interrupt;
use crate::slot::MapError;
use crate::stack::StackBounds;
use crate::suspend::Cancelled;
use crate::test_points::Point;
use crate::trap::{Raised, TrapReason};
use cowling_abi::Trap;
use cowling_abi::layout::{VmFuncRef, VmValue};
use std::cell::{Cell, UnsafeCell};
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::atomic::{Ordering::SeqCst, compiler_fence};

/// How many frames of the innermost activation a trap records. There is no room for more where it may not allocate.
pub(crate) const MAX_TRAP_FRAMES: usize = 64;

/// Stack that must be left for entering a guest, in bytes: so much that the entry itself cannot overflow.
const ENTRY_STACK: usize = 8 << 10;

thread_local! {
    /// The activation this thread runs. Without destructor, so that a signal handler can read it.
    static CURRENT: Cell<*const Activation> = const { Cell::new(ptr::null()) };
}

/// The guest cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// There is no memory for its stack.
    #[error(transparent)]
    Stack(#[from] MapError),
    /// The thread cannot be made ready to handle the guest's faults.
    #[error("cannot prepare this thread for running guests: {0}")]
    Thread(#[source] io::Error),
}

/// One stretch of guest code. Lives in the frame of [`enter`].
#[repr(C)]
pub(crate) struct Activation {
    /// Stack pointer inside `enter_guest`, at which everything that has to be restored lies. Written by assembly.
    resume_sp: Cell<usize>,
    /// Frame pointer of `enter_guest`: where a walk over guest frames ends. Written by assembly.
    entry_fp: Cell<usize>,
    execution: NonNull<Execution>,
    run: *const Run,
    /// The function, if it is entered with its arguments in registers; else null.
    func: *const VmFuncRef,
    previous: Cell<*const Activation>,
    outer: Cell<*const Activation>,
    /// `exit_pc` and `exit_fp` of the outer activation.
    outer_exit_pc: Cell<usize>,
    outer_exit_fp: Cell<usize>,
    /// Why it was raised. Taken before the activation is gone, so there is nothing to drop.
    reason: UnsafeCell<ManuallyDrop<Option<TrapReason>>>,
}

/// Offset of [`Activation`]'s stack pointer, for the assembly.
pub(crate) const RESUME_SP: usize = std::mem::offset_of!(Activation, resume_sp);
/// Offset of [`Activation`]'s frame pointer, for the assembly.
pub(crate) const ENTRY_FP: usize = std::mem::offset_of!(Activation, entry_fp);

/// Offset of [`Activation`]'s run, for the assembly.
pub(crate) const RUN: usize = std::mem::offset_of!(Activation, run);
/// Offset of [`Activation`]'s function, for the assembly.
pub(crate) const FUNC: usize = std::mem::offset_of!(Activation, func);

impl Activation {
    /// One that is not linked yet. The places for the guest's last call to the host are emptied for it.
    ///
    /// # Safety
    /// The execution and the run stay valid as long as it; no guest code of the store runs on this thread right now.
    #[inline(always)]
    unsafe fn new(
        execution: NonNull<Execution>,
        run: *const Run,
        func: *const VmFuncRef,
    ) -> Activation {
        // SAFETY: the reference ends here; only this thread's code for the store uses the context.
        let (innermost, exit) = unsafe {
            let this = execution.as_ref();
            (this.innermost.get(), this.replace_exit((0, 0)))
        };
        Activation {
            resume_sp: Cell::new(0),
            entry_fp: Cell::new(0),
            execution,
            run,
            func,
            previous: Cell::new(CURRENT.get()),
            outer: Cell::new(innermost),
            outer_exit_pc: Cell::new(exit.0),
            outer_exit_fp: Cell::new(exit.1),
            reason: UnsafeCell::new(ManuallyDrop::new(None)),
        }
    }

    /// One that is not linked yet, of a store that has no other.
    ///
    /// # Safety
    /// As for [`new`](Self::new); nothing of the store runs.
    #[inline(always)]
    unsafe fn outermost(
        execution: NonNull<Execution>,
        run: *const Run,
        func: *const VmFuncRef,
    ) -> Activation {
        // SAFETY: as the caller says; the reference ends here.
        unsafe {
            debug_assert!(!execution.as_ref().is_active());
            execution.as_ref().replace_exit((0, 0));
        }
        Activation {
            resume_sp: Cell::new(0),
            entry_fp: Cell::new(0),
            execution,
            run,
            func,
            previous: Cell::new(CURRENT.get()),
            outer: Cell::new(ptr::null()),
            outer_exit_pc: Cell::new(0),
            outer_exit_fp: Cell::new(0),
            reason: UnsafeCell::new(ManuallyDrop::new(None)),
        }
    }

    /// Puts it into both lists, from where its guest code can be interrupted. Returns whether something was asked of the guest
    /// before, which has to be looked at then.
    ///
    /// # Safety
    /// It is entered or unlinked next, and stays where it is until it is unlinked.
    #[inline(always)]
    unsafe fn link(&self) -> bool {
        // SAFETY: the execution outlives its activations; the reference ends here.
        let execution = unsafe { self.execution.as_ref() };
        execution.innermost.set(self);
        // From here on the signal handler may look at it.
        compiler_fence(SeqCst);
        // Not `set`, which is a call.
        CURRENT.with(|current| current.set(self));
        execution.interrupts.host_ends()
    }

    /// Takes it out of the store's list. The caller takes it out of the thread's.
    ///
    /// # Safety
    /// Its guest does not run any more.
    #[inline(always)]
    unsafe fn unlink(&self) {
        // SAFETY: the execution outlives its activations; the reference ends here.
        let execution = unsafe { self.execution.as_ref() };
        execution.innermost.set(self.outer.get());
        execution.set_exit(self.outer_exit());
        execution.interrupts.guest_left();
    }

    /// Was its guest entered by an entry trampoline?
    fn by_trampoline(&self) -> bool {
        self.func.is_null()
    }

    /// Has its guest been stopped?
    ///
    /// # Safety
    /// The guest does not run any more.
    #[inline(always)]
    unsafe fn was_raised(&self) -> bool {
        // SAFETY: whoever raises puts the reason there before the guest stops, and nobody does any more.
        unsafe { (*self.reason.get()).is_some() }
    }

    /// Why its guest has been stopped.
    ///
    /// # Safety
    /// It has, and is unlinked.
    #[cold]
    unsafe fn raised(&self) -> Box<Raised> {
        let (mut frames, cut_after) = take_captured();
        // SAFETY: nobody else looks at the reason any more.
        let reason = unsafe { (*self.reason.get()).take() };
        frames.extend(self.outer_frames());
        let Some(reason) = reason else {
            unreachable!("raising begins with a reason")
        };
        Box::new(Raised {
            reason,
            frames,
            cut_after,
        })
    }

    /// The activation that this thread runs. Async-signal-safe.
    pub(crate) fn current() -> Option<&'static Activation> {
        // SAFETY: CURRENT holds an activation only while it lives. It outlives every use here: those happen inside it.
        unsafe { CURRENT.get().as_ref() }
    }

    /// The stack it runs on.
    pub(crate) fn stack(&self) -> &StackBounds {
        // SAFETY: a run outlives its activations.
        &unsafe { &*self.run }.stack
    }

    /// Its store's execution.
    pub(crate) fn execution(&self) -> NonNull<Execution> {
        self.execution
    }

    /// The activation outside this one on the thread. Async-signal-safe.
    pub(crate) fn previous(&self) -> Option<&Activation> {
        // SAFETY: the activations of a thread are nested, so those further out live at least as long.
        unsafe { self.previous.get().as_ref() }
    }

    /// Is it the innermost of its store? Async-signal-safe.
    pub(crate) fn is_innermost_of_store(&self) -> bool {
        // SAFETY: an execution outlives its activations.
        ptr::eq(unsafe { self.execution.as_ref() }.innermost.get(), self)
    }

    /// Can it be [raised](arch::raise)? Not in its first and last instructions. Async-signal-safe.
    pub(crate) fn can_be_raised(&self) -> bool {
        self.resume_sp.get() != 0
    }

    /// Stores the fuel count that guest code had in its register. Async-signal-safe.
    pub(crate) fn store_fuel(&self, count: i64) {
        // SAFETY: the execution outlives its activations.
        unsafe { self.execution.as_ref() }.set_fuel_count(count);
    }

    /// Notes a trap that the processor noticed. Async-signal-safe. The caller makes the thread continue in
    /// [`arch::raise`].
    ///
    /// `guest` says where the guest was when it trapped itself; `None` if the host did, called by the guest.
    pub(crate) fn record_fault(
        &self,
        trap: Trap,
        guest: Option<FaultSite>,
        fault_address: Option<usize>,
    ) {
        let reason = TrapReason::Wasm {
            trap,
            fault_address,
        };
        self.record(reason, guest);
    }

    /// Notes why the guest will be raised, with its frames. The rest is as for [`record_fault`](Self::record_fault).
    pub(crate) fn record(&self, reason: TrapReason, guest: Option<FaultSite>) {
        // SAFETY: the execution outlives its activations.
        let execution = unsafe { self.execution.as_ref() };
        // What is made of the reason is made by more than a few frames, perhaps on this stack.
        execution.note_host_frames();
        match guest {
            Some(site) => {
                let mut rest = self.frames(site.return_address.unwrap_or(site.pc), site.fp);
                if site.return_address.is_none() {
                    rest.next();
                }
                let frames = std::iter::once(site.pc).chain(rest.map(Frame::call_site));
                capture(frames, self.by_trampoline());
            }
            None => {
                let (pc, fp) = execution.exit();
                let frames = self.frames(pc, fp).map(Frame::call_site);
                capture(frames, self.by_trampoline());
            }
        }
        // SAFETY: nobody else looks at the reason while the guest runs; it is None, so nothing is overwritten undropped.
        unsafe { **self.reason.get() = Some(reason) };
    }

    fn frames(&self, pc: usize, fp: usize) -> Frames {
        Frames {
            pc,
            fp,
            entry_fp: self.entry_fp.get(),
            stack: *self.stack(),
        }
    }

    fn outer_exit(&self) -> (usize, usize) {
        (self.outer_exit_pc.get(), self.outer_exit_fp.get())
    }

    /// Frames of the activations of the same store outside this one.
    fn outer_frames(&self) -> impl Iterator<Item = usize> {
        let mut inner = self;
        std::iter::from_fn(move || {
            // SAFETY: activations of a store are nested, so outer ones outlive inner ones.
            let outer = unsafe { inner.outer.get().as_ref()? };
            let (pc, fp) = inner.outer_exit();
            let frames = outer.frames(pc, fp);
            inner = outer;
            Some(frames.map(Frame::call_site))
        })
        .flatten()
    }
}

/// Sets [`CURRENT`] after guest code has run, perhaps on another thread than before: a function of its own, so that no address of
/// the thread that was is reused.
#[inline(never)]
fn set_current(activation: *const Activation) {
    CURRENT.set(activation);
}

/// Calls guest code through its entry trampoline and waits for it to return or stop. Tells the store's call hook.
///
/// # Errors
/// Why the guest or the hook stopped early, or a stack overflow if there is hardly any stack left to begin with.
///
/// # Safety
/// * Runs inside [`call_on_guest_stack`] or a computation of the same `execution`, which stays valid during the call.
/// * No Rust reference to the store or to anything the guest reaches is held across the call.
/// * `entry` is the entry trampoline of the type of the function at `code`, `ctx` the context to call it with, and `values` points
///   to as many values as it has parameters or results, whichever are more.
/// * [`signals::init`](crate::signals::init) has succeeded.
pub(crate) unsafe fn enter(
    execution: NonNull<Execution>,
    entry: *const u8,
    ctx: *mut u8,
    code: *const u8,
    values: *mut VmValue,
) -> Result<(), Box<Raised>> {
    // SAFETY: the caller's promises are the same; the reference ends with its statement.
    unsafe {
        if execution.as_ref().computations.is_hooked() {
            let call = || enter_unwatched(execution, entry, ctx, code, values);
            return call_hook::around_guest(execution.cast(), call);
        }
        enter_unwatched(execution, entry, ctx, code, values)
    }
}

/// [`enter`] for which the call hook is not called.
///
/// # Errors
/// As [`enter`].
///
/// # Safety
/// As for [`enter`].
#[inline(always)]
unsafe fn enter_unwatched(
    execution: NonNull<Execution>,
    entry: *const u8,
    ctx: *mut u8,
    code: *const u8,
    values: *mut VmValue,
) -> Result<(), Box<Raised>> {
    let activation = {
        // SAFETY: the caller keeps the execution valid; this reference ends before the guest runs.
        let this = unsafe { execution.as_ref() };
        let run = this.run.get();
        // SAFETY: guests are entered inside call_on_guest_stack or a computation, so there is a run.
        let stack = &unsafe { &*run }.stack;
        if this.is_cancelling() {
            return Err(Box::new(Raised {
                reason: TrapReason::Host(Cancelled.into()),
                frames: Vec::new(),
                cut_after: None,
            }));
        }
        if arch::stack_pointer() < stack.limit().saturating_add(ENTRY_STACK) {
            return Err(Box::new(Raised {
                reason: TrapReason::Wasm {
                    trap: Trap::StackOverflow,
                    fault_address: None,
                },
                frames: this.backtrace(),
                cut_after: None,
            }));
        }
        // SAFETY: as the caller says.
        unsafe { Activation::new(execution, run, ptr::null()) }
    };
    // SAFETY: as the caller says; what was asked of the guest before now is looked at here; the signal handler sees to what comes
    // later.
    let refused = unsafe {
        match activation.link() {
            true => interrupt::look(execution).err(),
            false => None,
        }
    };
    if refused.is_none() {
        let address = ptr::from_ref(&activation);
        // SAFETY: as above.
        unsafe { execution.as_ref() }
            .interrupts
            .point(Point::EnteringGuest);
        // SAFETY: the caller vouches for what is called; the activation is linked as raising and the signal handler need it.
        unsafe { arch::enter_guest(address, entry, ctx, code, values) }
    } else {
        // SAFETY: nobody else looks at the reason.
        unsafe { **activation.reason.get() = refused };
    }
    // SAFETY: as above, the guest does not run any more.
    unsafe { execution.as_ref() }
        .interrupts
        .point(Point::GuestReturned);
    set_current(activation.previous.get());
    // SAFETY: as the caller says, the guest does not run any more.
    unsafe {
        activation.unlink();
        if activation.was_raised() {
            return Err(activation.raised());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
