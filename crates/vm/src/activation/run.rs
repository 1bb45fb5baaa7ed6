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
use crate::stack::{self, GuestStack, StackBounds};
use crate::suspend::Computation;
use crate::sys::altstack;
use crate::sys::thread::ThreadId;
use std::cell::Cell;
use std::hint::black_box;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};

/// What is on one stack, from the switch to it to its end.
#[derive(Debug)]
pub(crate) struct Run {
    pub(super) stack: StackBounds,
    /// Down to where the stack may be used when the host is called.
    pub(super) host_stack_limit: usize,
    /// A computation's: where the other of its stack and its driver's continues. A plain call's: how far the caller's stack is in
    /// use.
    link: Cell<usize>,
    /// The computation it is the run of; null for a plain call.
    computation: Cell<*const Computation>,
}

/// Offset of [`Run`]'s link, for the assembly.
pub(crate) const LINK: usize = std::mem::offset_of!(Run, link);
/// Offset of the base of [`Run`]'s stack, for the assembly.
pub(crate) const BASE: usize = std::mem::offset_of!(Run, stack) + stack::BASE;

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
        // What guests have in these registers is saved where nobody looks for references, if the function uses them. This is on
        // their own stack, which is scanned.
        let registers = arch::callee_saved_registers();
        // SAFETY: the caller waits in `call_on_stack` or `enter_in_registers`, which has noted how far its stack is in use.
        unsafe { arch::call_on_stack(function, argument, self.link.get(), &mut 0) };
        black_box(&registers);
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
        let stack = execution.as_ref().new_stack()?;
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
pub(super) unsafe fn run_plain<F: FnOnce() -> R, R>(
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
struct RunningOn {
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
    unsafe fn switch(execution: NonNull<Execution>, run: *const Run) -> RunningOn {
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
    unsafe fn restore(&self) {
        // SAFETY: as for `switch`.
        unsafe {
            let this = self.execution.as_ref();
            this.run.set(self.outside);
            (*this.context.get()).host_stack_limit = self.outside_limit;
        }
    }
}

/// Activations of one run that are not in the lists, because the run is suspended.
#[derive(Debug)]
pub(crate) struct Suspended {
    innermost: Cell<*const Activation>,
    /// Null if there are none.
    outermost: Cell<*const Activation>,
    /// Return address and frame pointer of the innermost one's last call to the host. The former is 0 if they are still in the
    /// `StoreContext`: they stay there if the store has no activation outside, as nobody looks at them then and no guest is entered
    /// that would change them.
    exit_pc: Cell<usize>,
    exit_fp: Cell<usize>,
}

impl Suspended {
    pub(crate) const fn none() -> Suspended {
        Suspended {
            innermost: Cell::new(ptr::null()),
            outermost: Cell::new(ptr::null()),
            exit_pc: Cell::new(0),
            exit_fp: Cell::new(0),
        }
    }

    /// There are none any more.
    pub(crate) fn forget(&self) {
        self.outermost.set(ptr::null());
    }
}

/// What is around a computation that is driven: noted when it is, restored when it stops. What the store's and the thread's innermost
/// activation was is noted in the computation's outermost one.
///
/// It stays where it is and is written and read word by word, and no word that need not be: a processor does three reads and writes
/// at a time, and these are what a resumption consists of.
#[derive(Debug)]
pub(crate) struct Outside {
    /// The thread's innermost activation.
    current: Cell<*const Activation>,
    run: Cell<*const Run>,
    /// The stack limit, if there is a run.
    limit: Cell<usize>,
}

impl Outside {
    pub(crate) const fn nowhere() -> Outside {
        Outside {
            current: Cell::new(ptr::null()),
            run: Cell::new(ptr::null()),
            limit: Cell::new(0),
        }
    }

    /// Notes how things are, and puts the store into a computation's run, with the activations that were suspended with it.
    ///
    /// # Safety
    /// The activations live, and so does the run, which is going to be driven on this thread, until this is undone.
    #[inline(always)]
    pub(crate) unsafe fn leave(&self, execution: &Execution, run: *const Run, inside: &Suspended) {
        let (current, outside) = (CURRENT.get(), execution.run.replace(run));
        self.current.set(current);
        self.run.set(outside);
        // SAFETY: only this thread's code for the store uses the context, and none runs right now; the run lives.
        unsafe {
            let limit = &raw mut (*execution.context.get()).host_stack_limit;
            if !outside.is_null() {
                self.limit.set(limit.read());
            }
            limit.write((*run).host_stack_limit);
        }
        // SAFETY: as the caller says.
        if let Some(outermost) = unsafe { inside.outermost.get().as_ref() } {
            let outer = execution.innermost.get();
            outermost.previous.set(current);
            outermost.outer.set(outer);
            // A host function of a plain call may have begun the computation; that has outlived it if there is nothing outside now.
            if !outer.is_null() || inside.exit_pc.get() != 0 {
                let (pc, fp) = execution.exit();
                outermost.outer_exit_pc.set(pc);
                outermost.outer_exit_fp.set(fp);
                execution.set_exit((word(&inside.exit_pc), word(&inside.exit_fp)));
            }
            let innermost = inside.innermost.get();
            execution.innermost.set(innermost);
            CURRENT.set(innermost);
        }
    }

    /// Puts the store back to where it was, after the run was suspended, and notes the run's activations.
    ///
    /// # Safety
    /// To be called once for [`leave`](Self::leave), on the same thread, with the same run.
    #[inline(always)]
    pub(crate) unsafe fn return_from_suspended(
        &self,
        execution: &Execution,
        run: *const Run,
        inside: &Suspended,
    ) {
        // SAFETY: as the caller says.
        unsafe { self.return_from_ended(execution) };
        let innermost = execution.innermost.get();
        let of_run = |activation: *const Activation| {
            // SAFETY: activations live while they are in the list.
            unsafe { activation.as_ref() }.is_some_and(|one| ptr::eq(one.run, run))
        };
        if !of_run(innermost) {
            inside.forget();
            return;
        }
        // SAFETY: activations of one run are neighbours in the list, and live.
        let outermost = unsafe {
            let mut outermost = &*innermost;
            while of_run(outermost.outer.get()) {
                outermost = &*outermost.outer.get();
            }
            outermost
        };
        let outer = outermost.outer.get();
        inside.innermost.set(innermost);
        inside.outermost.set(outermost);
        if outer.is_null() {
            inside.exit_pc.set(0);
        } else {
            let (pc, fp) = execution.exit();
            inside.exit_pc.set(pc);
            inside.exit_fp.set(fp);
            let exit = (
                word(&outermost.outer_exit_pc),
                word(&outermost.outer_exit_fp),
            );
            execution.set_exit(exit);
        }
        execution.innermost.set(outer);
        CURRENT.set(outermost.previous.get());
    }

    /// Puts the store back to where it was, after the run has ended, and all its activations with it.
    ///
    /// # Safety
    /// As for [`return_from_suspended`](Self::return_from_suspended).
    #[inline(always)]
    pub(crate) unsafe fn return_from_ended(&self, execution: &Execution) {
        let outside = self.run.get();
        execution.run.set(outside);
        if !outside.is_null() {
            // SAFETY: only this thread's code for the store uses the context, and none runs right now.
            unsafe { (*execution.context.get()).host_stack_limit = self.limit.get() };
        }
    }

    /// Was it noted outside every run of the store?
    #[inline(always)]
    pub(crate) fn is_outermost(&self) -> bool {
        self.run.get().is_null()
    }

    /// Is the innermost activation of the run that was driven from there also the thread's, or has neither one?
    #[inline(always)]
    pub(crate) fn is_innermost_of_thread(&self, execution: &Execution, run: *const Run) -> bool {
        let innermost = execution.innermost.get();
        // SAFETY: activations live while they are in the list.
        match unsafe { innermost.as_ref() } {
            Some(activation) if ptr::eq(activation.run, run) => CURRENT.get() == innermost,
            _ => CURRENT.get() == self.current.get(),
        }
    }
}

/// Reads a word that was written by itself, and not together with the next one as a compiler likes to do for copies: a processor
/// does not forward two writes to one read, which then takes as long as a quarter of a resumption.
#[inline(always)]
fn word(cell: &Cell<usize>) -> usize {
    // SAFETY: a cell may always be read.
    unsafe { cell.as_ptr().read_volatile() }
}
