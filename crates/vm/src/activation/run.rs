//! Runs: what is on one stack, from the switch to it to its end, and how the stack is switched to.
//!
//! ```text
//!   Execution::run ---> innermost run ---> (noted by whoever switched: RunningOn) the run outside ---> ... ---> null
//!                         stack, limit, link
//!                         computation: null for a plain call
//! ```
//!
//! A plain call's run is driven to its end where it was begun, so its activations stay in the lists even while an
//! interruption is decided about on the stack of its caller. A computation's may be suspended: its activations are then taken out of
//! the lists, as one piece, and put in again where it is driven next.
//!
//! # Invariants
//!
//! * A run is valid while it is a store's run, while an activation is on its stack, and while it is suspended.
//! * The activations of one run are neighbours in both lists: another store's guest in between runs on another stack, and what that
//!   calls in this store runs on yet another one, in a run of its own.

use super::{Activation, CURRENT, EnterError, Execution};
use crate::arch;
use crate::stack::{GuestStack, StackBounds};
use crate::suspend::Computation;
use crate::sys::altstack;
use crate::sys::thread::ThreadId;
use std::cell::Cell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};

/// What is on one stack, from the switch to it to its end.
#[derive(Debug)]
pub(crate) struct Run {
    pub(super) stack: StackBounds,
    /// Down to where the stack may be used when the host is called.
    host_stack_limit: usize,
    /// A computation's: where the other of its stack and its driver's continues. A plain call's: how far the caller's stack is in
    /// use.
    link: Cell<usize>,
    /// The computation it is the run of; null for a plain call.
    computation: Cell<*const Computation>,
}

impl Run {
    /// A run on a stack of which the lowest `reserve` bytes are for host functions.
    pub(crate) fn new(stack: StackBounds, reserve: usize) -> Run {
        Run {
            stack,
            host_stack_limit: stack.limit().saturating_add(reserve).min(stack.base()),
            link: Cell::new(0),
            computation: Cell::new(ptr::null()),
        }
    }

    /// Another run on the same stack.
    pub(crate) fn another(&self) -> Run {
        Run {
            link: Cell::new(0),
            computation: Cell::new(ptr::null()),
            ..*self
        }
    }

    /// Its stack.
    #[inline]
    pub(crate) fn stack(&self) -> &StackBounds {
        &self.stack
    }

    /// The computation it is the run of; null for a plain call.
    #[inline]
    pub(crate) fn computation(&self) -> *const Computation {
        self.computation.get()
    }

    /// Makes it the run of a computation.
    pub(crate) fn set_computation(&self, computation: *const Computation) {
        self.computation.set(computation);
    }

    /// Where the other of a computation's stack and its driver's continues.
    #[inline]
    pub(crate) fn link(&self) -> *mut usize {
        self.link.as_ptr()
    }

    /// Calls `function(argument)` on the stack of the plain call's caller.
    ///
    /// # Safety
    /// It is a plain call's run, and the store's. The function does not unwind.
    pub(crate) unsafe fn call_outside(
        &self,
        function: unsafe extern "C" fn(*mut u8),
        argument: *mut u8,
    ) {
        // SAFETY: the caller waits in `call_on_stack`, which has noted how far its stack is in use.
        unsafe { arch::call_on_stack(function, argument, self.link.get(), &mut 0) };
    }
}

/// The stack that a store keeps, with its run.
#[derive(Debug)]
pub(super) struct OwnStack {
    pub(super) stack: GuestStack,
    pub(super) run: Run,
}

/// Runs `f` on the store's guest stack: on a fresh one when called from outside, in place when the store is running there already.
///
/// A panic of `f` continues here.
///
/// # Errors
/// When there is no memory for a stack; `f` has not been called then.
///
/// # Safety
/// `execution` must stay valid during the call, and what `f` captures must be usable from another stack of this thread (which
/// everything but the address of a stack variable used as a stack limit is).
// Into the caller: what `f` captures and returns is copied word by word otherwise, and the copies take as long as the call.
#[inline(always)]
pub(crate) unsafe fn call_on_guest_stack<R>(
    execution: NonNull<Execution>,
    f: impl FnOnce() -> R,
) -> Result<R, EnterError> {
    // SAFETY: the caller keeps the execution valid; references to it end before `f` runs.
    let outside = unsafe { execution.as_ref() }.run.get();
    if outside.is_null() {
        altstack::prepare_thread().map_err(EnterError::Thread)?;
        // SAFETY: as above. The store's stack is free as nothing of the store runs or is suspended.
        return unsafe {
            let run = ptr::from_ref(execution.as_ref().provided_run()?);
            execution.as_ref().interrupts.prepare(false)?;
            execution.as_ref().interrupts.run();
            let _ended = Ended(execution);
            Ok(run_plain(execution, run, f))
        };
    }
    // SAFETY: a store's run is valid while it is its run.
    if unsafe { &*outside }.stack.contains(arch::stack_pointer()) {
        return Ok(f());
    }
    // SAFETY: the caller's promises are the same.
    unsafe { call_on_another_stack(execution, f) }
}

/// [`call_on_guest_stack`] when the store's stack is in use by code that waits for this: a host function that made another thread
/// call the guest. The store needs another one for the time of this call.
///
/// # Safety
/// As for [`call_on_guest_stack`].
#[cold]
#[inline(never)]
unsafe fn call_on_another_stack<R>(
    execution: NonNull<Execution>,
    f: impl FnOnce() -> R,
) -> Result<R, EnterError> {
    altstack::prepare_thread().map_err(EnterError::Thread)?;
    // SAFETY: as the caller says.
    unsafe {
        let stack = GuestStack::new(execution.as_ref().stack_spec)?;
        let run = execution.as_ref().run_on(&stack);
        let thread = execution.as_ref().interrupts.run_on_this_thread();
        let _back = RunsOnThread(execution, thread);
        Ok(run_plain(execution, &run, f))
    }
}

/// The execution is over when this is dropped, by a panic too.
struct Ended(NonNull<Execution>);

impl Drop for Ended {
    fn drop(&mut self) {
        // SAFETY: `call_on_guest_stack` keeps the execution valid for the life of this value.
        unsafe { self.0.as_ref() }.interrupts.end();
    }
}

/// The store runs on that thread again when this is dropped, by a panic too.
struct RunsOnThread(NonNull<Execution>, ThreadId);

impl Drop for RunsOnThread {
    fn drop(&mut self) {
        // SAFETY: as for `Ended`.
        unsafe { self.0.as_ref() }.interrupts.run_on(self.1);
    }
}

/// Runs `f` on the stack of a run, which is no computation's, to its end.
///
/// # Safety
/// As for [`call_on_guest_stack`]; the run is valid and its stack not in use.
#[inline(always)]
unsafe fn run_plain<F: FnOnce() -> R, R>(
    execution: NonNull<Execution>,
    run: *const Run,
    f: F,
) -> R {
    /// A function to call, and a place for what comes of it. Addresses, as copies would take as long as the call.
    struct Called<F, R> {
        function: *mut F,
        result: *mut MaybeUninit<std::thread::Result<R>>,
    }

    unsafe extern "C" fn call<F: FnOnce() -> R, R>(called: *mut u8) {
        // SAFETY: it is called once, with the function there.
        unsafe {
            let called = &*called.cast::<Called<F, R>>();
            let function = called.function.read();
            let result = catch_unwind(AssertUnwindSafe(function));
            (*called.result).write(result);
        }
    }

    let mut function = ManuallyDrop::new(f);
    let mut result = MaybeUninit::uninit();
    let mut called = Called {
        function: &raw mut *function,
        result: &raw mut result,
    };
    // SAFETY: as the caller says; `call` takes the function and leaves a result.
    unsafe {
        let outside = RunningOn::switch(execution, run);
        let (base, link) = ((*run).stack.base(), (*run).link());
        arch::call_on_stack(call::<F, R>, (&raw mut called).cast(), base, link);
        outside.restore();
        match result.assume_init() {
            Ok(result) => result,
            Err(payload) => resume_unwind(payload),
        }
    }
}

/// What is outside the run that a store is in.
pub(crate) struct RunningOn {
    execution: NonNull<Execution>,
    outside: *const Run,
    outside_limit: usize,
}

impl RunningOn {
    /// Puts the store into a run.
    ///
    /// # Safety
    /// The execution and the run are valid until [`restore`](Self::restore) has been called.
    #[inline(always)]
    pub(crate) unsafe fn switch(execution: NonNull<Execution>, run: *const Run) -> RunningOn {
        // SAFETY: as the caller says. Only this thread's code for the store uses the context, and none runs right now.
        unsafe {
            let this = execution.as_ref();
            let limit = &mut (*this.context.get()).host_stack_limit;
            RunningOn {
                execution,
                outside: this.run.replace(run),
                outside_limit: std::mem::replace(limit, (*run).host_stack_limit),
            }
        }
    }

    /// Puts the store into the run where it was before.
    ///
    /// # Safety
    /// To be called once, where [`switch`](Self::switch) was.
    #[inline(always)]
    pub(crate) unsafe fn restore(&self) {
        // SAFETY: as for `switch`.
        unsafe {
            let this = self.execution.as_ref();
            this.run.set(self.outside);
            (*this.context.get()).host_stack_limit = self.outside_limit;
        }
    }
}

/// Activations of one run that are not in the lists, because the run is suspended.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Suspended {
    innermost: *const Activation,
    outermost: *const Activation,
    /// Return address and frame pointer of the innermost one's last call to the host.
    exit: (usize, usize),
}

/// The ends of the lists, as code outside a run sees them: what is restored when the run is suspended.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Outside {
    current: *const Activation,
    innermost: *const Activation,
    exit: (usize, usize),
}

impl Outside {
    /// As it is now.
    #[inline]
    pub(crate) fn of(execution: &Execution) -> Outside {
        Outside {
            current: CURRENT.get(),
            innermost: execution.innermost.get(),
            exit: execution.exit(),
        }
    }

    /// Puts the activations of a suspended run into the lists, on this thread.
    ///
    /// # Safety
    /// They live, their run is going to be driven on this thread, and this is how the lists end now.
    #[inline]
    pub(crate) unsafe fn link(&self, execution: &Execution, run: Suspended) {
        // SAFETY: as the caller says.
        let outermost = unsafe { &*run.outermost };
        outermost.previous.set(self.current);
        outermost.outer.set(self.innermost);
        outermost.outer_exit.set(self.exit);
        execution.innermost.set(run.innermost);
        execution.set_exit(run.exit);
        CURRENT.set(run.innermost);
    }

    /// Takes the activations of a run that was suspended out of the lists; `None` if it has none.
    ///
    /// # Safety
    /// This is what was found before the run was driven, on this thread.
    #[inline]
    pub(crate) unsafe fn unlink(&self, execution: &Execution) -> Option<Suspended> {
        let innermost = execution.innermost.get();
        if innermost == self.innermost {
            return None;
        }
        let mut outermost = innermost;
        // SAFETY: activations of a store are nested, so all between the innermost and the one outside belong to the run and live.
        unsafe {
            while (*outermost).outer.get() != self.innermost {
                outermost = (*outermost).outer.get();
            }
        }
        let exit = execution.exit();
        CURRENT.set(self.current);
        execution.innermost.set(self.innermost);
        execution.set_exit(self.exit);
        Some(Suspended {
            innermost,
            outermost,
            exit,
        })
    }

    /// Is the innermost activation of the run that was driven from there also the thread's, or has neither one?
    #[inline]
    pub(crate) fn is_innermost_of_thread(&self, execution: &Execution) -> bool {
        let innermost = execution.innermost.get();
        if innermost == self.innermost {
            CURRENT.get() == self.current
        } else {
            CURRENT.get() == innermost
        }
    }
}
