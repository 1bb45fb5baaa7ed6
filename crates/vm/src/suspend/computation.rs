//! Computations, and how what runs in them suspends them. How they are driven is in `drive`.

mod drive;

pub(super) use drive::{End, Entry, drive, end, start};

use super::task::PollFrame;
use super::{Cancelled, CannotSuspend, Expects, Interruption, Suspension, YieldValue, Yielded};
use crate::activation::{Execution, Outside, Run, Suspended};
use crate::arch;
use crate::error::Result;
use crate::host_ref::HeldRoots;
use crate::stack::GuestStack;
use crate::store::{FuncHandle, StoreInner};
use crate::trap::{Raised, TrapReason};
use cowling_abi::layout::VmValue;
use smallvec::SmallVec;
use std::any::TypeId;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::task::Waker;

/// Bytes below the stack pointer of [`Execution::suspend`] where the switch itself may have saved registers.
const SWITCH_FRAME: usize = 512;

/// Decides what becomes of an interrupted guest, on the stack of whoever called it: `true` to suspend its computation, if it is
/// one that can be; `false` to continue it. An error stops the guest.
pub(crate) type InterruptionHandler = unsafe fn(NonNull<StoreInner>, Interruption) -> Result<bool>;

/// What a store knows of its computations.
#[derive(Default)]
pub(crate) struct Computations {
    /// Is the innermost run part of a computation that is being cancelled? Then no guest is entered.
    cancelling: Cell<bool>,
    /// Is the computation at `level` suspended? Then nothing else is started there.
    blocked: Cell<bool>,
    /// How many computations are running, each inside the one before: the position in `all` of the next.
    level: Cell<usize>,
    /// By level. Kept for the next when they are over.
    all: UnsafeCell<Vec<NonNull<Computation>>>,
    /// Why a plain call was interrupted, on the way out, and what came of it, on the way in.
    interruption: Cell<Option<Interruption>>,
    interruption_failure: Cell<Option<TrapReason>>,
    interruption_handler: Cell<Option<InterruptionHandler>>,
    /// Does a guest wait at an instruction that need not be a call? Then it relies on everything it has in registers.
    at_instruction: Cell<bool>,
    /// Where more registers of a plain call's guest are, while it waits like that.
    plain_registers: Cell<(usize, usize)>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    Idle,
    /// Its code, or code that it called, runs.
    Running,
    /// It waits to be driven on.
    Suspended,
    /// It has left results.
    Returned,
}

/// Why a computation is suspended. What else [`Suspension`] says is put where it stays, as moving it would take as long as the
/// switch.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// With a value in `value`, and waiting for one of type `expects` if `expecting`.
    Yielded,
    Awaiting,
    OutOfFuel,
    Interrupted(Interruption),
}

/// A computation that may be suspended: everything between being started and returning.
pub(crate) struct Computation {
    run: UnsafeCell<Option<Run>>,
    /// The stack it runs on when the store's own is not free. Kept.
    stack: UnsafeCell<Option<GuestStack>>,
    on_own_stack: Cell<bool>,
    state: Cell<State>,
    cancelled: Cell<bool>,
    outside: Cell<Option<Outside>>,
    suspended: Cell<Option<Suspended>>,
    /// Where its stack is in use, while it is suspended.
    stack_pointer: Cell<usize>,
    /// Where more registers of its guest are, while it is suspended.
    registers: Cell<(usize, usize)>,
    /// Roots that stay while it is suspended, whatever scopes outside end. Kept here while they are not the ones that count.
    held: Cell<HeldRoots>,
    /// Why it is, or was last, suspended.
    why: Cell<Why>,
    /// The value yielded, on the way out, and the one it is resumed with, on the way in.
    value: Cell<Option<YieldValue>>,
    expecting: Cell<bool>,
    expects: Cell<Expects>,
    failure: Cell<Option<TrapReason>>,
    /// How it ended.
    outcome: Cell<Option<Result<(), Box<Raised>>>>,
    /// Whom to wake, while it is polled.
    waker: Cell<*const Waker>,
    /// How often it was polled.
    polled: Cell<u64>,
    /// Futures that are being polled in it.
    polls: Cell<*const PollFrame>,
    /// Arguments, then results.
    values: UnsafeCell<SmallVec<[VmValue; 16]>>,
    func: Cell<Option<FuncHandle>>,
}

impl Computation {
    fn new() -> Computation {
        Computation {
            run: UnsafeCell::new(None),
            stack: UnsafeCell::new(None),
            on_own_stack: Cell::new(false),
            state: Cell::new(State::Idle),
            cancelled: Cell::new(false),
            outside: Cell::new(None),
            suspended: Cell::new(None),
            stack_pointer: Cell::new(0),
            registers: Cell::new((0, 0)),
            held: Cell::default(),
            why: Cell::new(Why::Awaiting),
            value: Cell::new(None),
            expecting: Cell::new(false),
            expects: Cell::new((TypeId::of::<()>(), "()")),
            failure: Cell::new(None),
            outcome: Cell::new(None),
            waker: Cell::new(ptr::null()),
            polled: Cell::new(0),
            polls: Cell::new(ptr::null()),
            values: UnsafeCell::new(SmallVec::new()),
            func: Cell::new(None),
        }
    }

    /// Does it wait for being polled, and nothing else?
    #[inline]
    pub(super) fn is_awaiting(&self) -> bool {
        self.why.get() == Why::Awaiting
    }

    /// The type of value that it waits for.
    #[inline]
    pub(super) fn expects(&self) -> Option<Expects> {
        (self.why.get() == Why::Yielded && self.expecting.get()).then(|| self.expects.get())
    }

    #[inline]
    pub(super) fn set_answer(&self, answer: Option<YieldValue>) {
        self.value.set(answer);
    }

    #[inline(always)]
    fn set_why(&self, why: Suspension) {
        self.why.set(match why {
            Suspension::Yielded(yielded) => {
                self.value.set(yielded.value);
                self.expecting.set(yielded.expects.is_some());
                if let Some(expects) = yielded.expects {
                    self.expects.set(expects);
                }
                Why::Yielded
            }
            Suspension::Awaiting => Why::Awaiting,
            Suspension::OutOfFuel => Why::OutOfFuel,
            Suspension::Interrupted(why) => Why::Interrupted(why),
        });
    }

    #[inline(always)]
    fn suspension(&self) -> Suspension {
        if self.why.get() == Why::Yielded {
            return Suspension::Yielded(Yielded {
                value: self.value.take(),
                expects: self.expects(),
            });
        }
        self.other_suspension()
    }

    #[inline(never)]
    fn other_suspension(&self) -> Suspension {
        match self.why.get() {
            Why::Yielded => Suspension::Yielded(Yielded::default()),
            Why::Awaiting => Suspension::Awaiting,
            Why::OutOfFuel => Suspension::OutOfFuel,
            Why::Interrupted(why) => Suspension::Interrupted(why),
        }
    }

    #[inline]
    pub(super) fn waker(&self) -> *const Waker {
        self.waker.get()
    }

    #[inline]
    pub(super) fn polled(&self) -> u64 {
        self.polled.get()
    }

    #[inline]
    pub(super) fn polls(&self) -> &Cell<*const PollFrame> {
        &self.polls
    }

    /// The function whose results it holds.
    pub(super) fn returned(&self) -> Option<FuncHandle> {
        match self.state.get() {
            State::Returned => self.func.get(),
            _ => None,
        }
    }

    /// Arguments, then results.
    pub(super) fn values(&self) -> *mut SmallVec<[VmValue; 16]> {
        self.values.get()
    }

    /// Its results are not needed any more.
    pub(super) fn forget_results(&self) {
        self.state.set(State::Idle);
    }
}

impl fmt::Debug for Computation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("Computation").field("state", &self.state)).finish_non_exhaustive()
    }
}

impl Computations {
    /// Is the innermost run part of a computation that is being cancelled?
    #[inline]
    pub(crate) fn is_cancelling(&self) -> bool {
        self.cancelling.get()
    }

    /// Is the computation suspended that the code that runs started last?
    #[inline]
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    /// Does a guest of the store wait where it was interrupted? What it has read from the VMContext must not change then: the
    /// addresses of tables and memories.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.at_instruction.get()
    }

    /// Who decides about interruptions.
    pub(crate) fn set_interruption_handler(&self, handler: Option<InterruptionHandler>) {
        self.interruption_handler.set(handler);
    }

    /// The computation that the code that runs started last, whatever its state.
    #[inline]
    pub(super) fn next(&self) -> Option<&Computation> {
        self.at(self.level.get())
    }

    /// [`next`](Self::next), if it is suspended.
    #[inline]
    pub(super) fn suspended(&self) -> Option<&Computation> {
        self.next()
            .filter(|next| next.state.get() == State::Suspended)
    }

    /// The next computation becomes one that runs. Returns whether what runs now is being cancelled, for `step_out`.
    fn step_in(&self, cancelled: bool) -> bool {
        self.level.set(self.level.get() + 1);
        self.blocked.set(self.suspended().is_some());
        self.cancelling.replace(cancelled)
    }

    /// The innermost running computation is over or `suspended`.
    fn step_out(&self, was_cancelling: bool, suspended: bool) {
        self.level.set(self.level.get() - 1);
        self.blocked.set(suspended);
        self.cancelling.set(was_cancelling);
    }

    #[inline]
    fn at(&self, level: usize) -> Option<&Computation> {
        // SAFETY: nobody keeps a reference to the list. A computation stays where it is, changes behind shared references only, and
        // is dropped with the store.
        unsafe { (&*self.all.get()).get(level).map(|one| one.as_ref()) }
    }

    fn next_or_new(&self) -> &Computation {
        let level = self.level.get();
        // SAFETY: as for `at`. Those running have filled the list up to `level`.
        unsafe {
            let all = &mut *self.all.get();
            if all.len() <= level {
                all.push(NonNull::from(Box::leak(Box::new(Computation::new()))));
            }
            all[level].as_ref()
        }
    }

    /// Where there may be references that are in no activation's frames: values, and what belongs to suspended computations.
    pub(crate) fn scan(&self, mut scan: impl FnMut(Range<usize>)) {
        // SAFETY: as for `at`.
        for computation in unsafe { (&*self.all.get()).iter().map(|one| one.as_ref()) } {
            if computation.state.get() != State::Idle {
                // SAFETY: only the address is used, which nobody changes now.
                let values = unsafe { &*computation.values.get() }.as_ptr_range();
                scan(values.start.expose_provenance()..values.end.expose_provenance());
            }
            if computation.state.get() == State::Suspended {
                // SAFETY: a computation that is suspended has a run.
                let stack = unsafe { (*computation.run.get()).as_ref() }.map(|run| *run.stack());
                let Some(stack) = stack else { continue };
                let stack_pointer = computation.stack_pointer.get();
                let start = if stack.contains(stack_pointer) {
                    (stack_pointer - SWITCH_FRAME).max(stack.limit())
                } else {
                    stack.limit()
                };
                scan(start..stack.base());
                let (start, end) = computation.registers.get();
                scan(start..end);
            }
        }
        let (start, end) = self.plain_registers.get();
        scan(start..end);
    }
}

impl Drop for Computations {
    fn drop(&mut self) {
        for computation in self.all.get_mut().drain(..) {
            // SAFETY: it came from a box. None is suspended: the store has ended them all.
            drop(unsafe { Box::from_raw(computation.as_ptr()) });
        }
    }
}

impl fmt::Debug for Computations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("Computations").field("level", &self.level))
            .field("blocked", &self.blocked)
            .finish_non_exhaustive()
    }
}

/// Asks what to do about a plain call that was interrupted, on the stack of its caller.
///
/// # Safety
/// The execution is a store's, which may be used.
unsafe extern "C" fn plain_interrupted(execution: *mut u8) {
    // SAFETY: as the caller says; each reference ends with its statement.
    unsafe {
        let execution = NonNull::new_unchecked(execution).cast::<Execution>();
        let why = execution.as_ref().computations().interruption.take();
        if let Err(reason) = decide(execution, why) {
            let computations = execution.as_ref().computations();
            computations.interruption_failure.set(Some(reason));
        }
    }
}

/// Asks the interruption handler: is the computation to be suspended? Yes if there is none.
///
/// # Errors
/// Why the guest is to stop: the handler failed or panicked.
///
/// # Safety
/// The execution is a store's, which may be used.
#[cold]
unsafe fn decide(
    execution: NonNull<Execution>,
    why: Option<Interruption>,
) -> Result<bool, TrapReason> {
    // SAFETY: as the caller says; the reference ends with its statement.
    let handler = unsafe { execution.as_ref() }
        .computations()
        .interruption_handler
        .get();
    let (Some(handler), Some(why)) = (handler, why) else {
        return Ok(true);
    };
    // There is one place for an interrupted guest's registers: no other guest runs while one is there.
    // SAFETY: as the caller says; the reference ends with its statement.
    let blocked = unsafe { execution.as_ref() }
        .computations()
        .blocked
        .replace(true);
    // SAFETY: as the caller says.
    let decision = catch_unwind(AssertUnwindSafe(|| unsafe {
        handler(execution.cast(), why)
    }));
    // SAFETY: as above.
    unsafe { execution.as_ref() }
        .computations()
        .blocked
        .set(blocked);
    match decision {
        Ok(decision) => decision.map_err(TrapReason::Host),
        Err(payload) => Err(TrapReason::Panic(payload)),
    }
}

impl Execution {
    /// The computation that the code that runs may suspend.
    ///
    /// # Errors
    /// When there is none, it cannot be suspended from here, or is cancelled.
    #[inline(always)]
    pub(super) fn suspendable(&self) -> Result<&Computation, CannotSuspend> {
        // SAFETY: a store's run is valid while it is its run.
        let Some(run) = (unsafe { self.run().as_ref() }) else {
            return Err(CannotSuspend::PlainCall);
        };
        // SAFETY: a run's computation lives as long as it does.
        let Some(computation) = (unsafe { run.computation().as_ref() }) else {
            return Err(CannotSuspend::PlainCall);
        };
        if computation.cancelled.get() {
            return Err(Cancelled.into());
        }
        let here = run.stack().contains(arch::stack_pointer());
        let outside = computation.outside.get();
        if !here || !outside.is_some_and(|outside| outside.is_innermost_of_thread(self)) {
            return Err(CannotSuspend::InBetween);
        }
        if std::thread::panicking() {
            return Err(CannotSuspend::Panicking);
        }
        Ok(computation)
    }

    /// Suspends the computation that called the host function or builtin that runs now, until it is resumed; returns the value
    /// it is resumed with.
    ///
    /// # Errors
    /// When it cannot be suspended, or is cancelled: then the caller returns, or raises, as soon as it can.
    ///
    /// # Safety
    /// `execution` is valid, and no reference to the store is alive.
    #[inline(always)]
    pub(crate) unsafe fn suspend(
        execution: NonNull<Execution>,
        why: Suspension,
    ) -> Result<Option<YieldValue>, CannotSuspend> {
        // SAFETY: as the caller says.
        let computation = NonNull::from(unsafe { execution.as_ref() }.suspendable()?);
        // SAFETY: it was just found to be the one to suspend.
        let answer = unsafe { Self::switch(computation, why)? };
        // SAFETY: as the caller says.
        match unsafe { execution.as_ref() }.interrupts().shall_end() {
            None => Ok(answer),
            Some(why) => Err(why.into()),
        }
    }

    /// Switches to the driver of a computation, until that drives it on.
    ///
    /// # Safety
    /// What [`suspendable`](Self::suspendable) checks has just been checked, or is otherwise known.
    #[inline(always)]
    pub(super) unsafe fn switch(
        computation: NonNull<Computation>,
        why: Suspension,
    ) -> Result<Option<YieldValue>, Cancelled> {
        // SAFETY: a computation lives until it has ended; the reference is not used by anybody else for change.
        let this = unsafe { computation.as_ref() };
        PollFrame::keep_wakers(this.polls.get());
        this.set_why(why);
        this.stack_pointer.set(arch::stack_pointer());
        // SAFETY: it is running, so it has a run, and its driver expects this.
        unsafe {
            if let Some(run) = &*this.run.get() {
                arch::switch(run.link());
            }
        }
        if this.cancelled.get() {
            return Err(Cancelled);
        }
        Ok(this.value.take())
    }

    /// Suspends the computation whose guest was interrupted at any instruction. Runs on any stack that stays as it is
    /// until the computation is resumed. What the interruption handler decides is done; a plain call is never suspended for longer
    /// than that takes.
    ///
    /// `registers` is where the guest's registers were saved: a collection takes every half-word there for a reference.
    ///
    /// # Errors
    /// Why the guest must be raised: it was cancelled, or the interruption handler failed.
    ///
    /// # Safety
    /// The thread's current activation is this store's innermost and belongs to its innermost run.
    pub(crate) unsafe fn suspend_interrupted(
        execution: NonNull<Execution>,
        why: Interruption,
        registers: Range<usize>,
    ) -> Result<(), TrapReason> {
        // SAFETY: as the caller says: there is a run.
        let run = unsafe { &*execution.as_ref().run() };
        let Some(computation) = NonNull::new(run.computation().cast_mut()) else {
            // SAFETY: the execution is valid; each reference ends with its statement. The run is a plain call's.
            unsafe {
                let computations = execution.as_ref().computations();
                computations.interruption.set(Some(why));
                (computations.plain_registers).set((registers.start, registers.end));
                computations.at_instruction.set(true);
                run.call_outside(plain_interrupted, execution.as_ptr().cast());
                let computations = execution.as_ref().computations();
                computations.at_instruction.set(false);
                computations.plain_registers.set((0, 0));
                let failure = computations.interruption_failure.take();
                return failure.map_or(Ok(()), Err);
            }
        };
        // SAFETY: a run's computation lives as long as it does.
        let this = unsafe { computation.as_ref() };
        if this.cancelled.get() {
            return Err(TrapReason::Host(Cancelled.into()));
        }
        this.registers.set((registers.start, registers.end));
        let at_instruction = |is| {
            // SAFETY: the execution is valid; the reference ends with its statement.
            let computations = unsafe { execution.as_ref() }.computations();
            computations.at_instruction.set(is);
        };
        at_instruction(true);
        // SAFETY: the caller vouches for what `suspendable` would check.
        let resumed = unsafe { Self::switch(computation, Suspension::Interrupted(why)) };
        at_instruction(false);
        this.registers.set((0, 0));
        resumed.map_err(|cancelled| TrapReason::Host(cancelled.into()))?;
        this.failure.take().map_or(Ok(()), Err)
    }
}
