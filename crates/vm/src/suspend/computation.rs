//! The mechanism: computations, and how they are driven, suspended, cancelled and abandoned.

use super::task::PollFrame;
use super::{
    Cancelled, CannotSuspend, ComputationBody, Expects, Interruption, Progress, StoreSuspended,
    Suspension, YieldValue,
};
use crate::activation::{self, Execution, Outside, Run, RunningOn, Suspended};
use crate::arch;
use crate::error::{Error, Result};
use crate::func;
use crate::host;
use crate::host_ref::HeldRoots;
use crate::signals;
use crate::slot::MapError;
use crate::stack::{GuestStack, StackBounds};
use crate::store::{FuncHandle, StoreInner, StoreMut};
use crate::sys::altstack;
use crate::trap::{Raised, TrapReason};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use cowling_abi::layout::VmValue;
use smallvec::SmallVec;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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

/// What a suspended computation waits for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// A value of this type, or nothing in particular.
    Value(Option<Expects>),
    /// Being polled again.
    Poll,
}

/// What runs in a computation.
pub(super) enum Entry<T: 'static> {
    Func(FuncHandle),
    Body(ComputationBody<T>),
}

/// A computation that may be suspended: everything between being started and returning.
pub(crate) struct Computation {
    run: UnsafeCell<Option<Run>>,
    coroutine: UnsafeCell<Option<Coroutine<(), (), (), StackBounds>>>,
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
    waits_for: Cell<WaitsFor>,
    /// Why it is suspended, on the way out, and what it is resumed with, on the way in.
    why: Cell<Option<Suspension>>,
    answer: Cell<Option<YieldValue>>,
    failure: Cell<Option<TrapReason>>,
    /// How it ended.
    outcome: Cell<Option<Result<(), Raised>>>,
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
            coroutine: UnsafeCell::new(None),
            stack: UnsafeCell::new(None),
            on_own_stack: Cell::new(false),
            state: Cell::new(State::Idle),
            cancelled: Cell::new(false),
            outside: Cell::new(None),
            suspended: Cell::new(None),
            stack_pointer: Cell::new(0),
            registers: Cell::new((0, 0)),
            held: Cell::default(),
            waits_for: Cell::new(WaitsFor::Value(None)),
            why: Cell::new(None),
            answer: Cell::new(None),
            failure: Cell::new(None),
            outcome: Cell::new(None),
            waker: Cell::new(ptr::null()),
            polled: Cell::new(0),
            polls: Cell::new(ptr::null()),
            values: UnsafeCell::new(SmallVec::new()),
            func: Cell::new(None),
        }
    }

    pub(super) fn waits_for(&self) -> WaitsFor {
        self.waits_for.get()
    }

    pub(super) fn set_answer(&self, answer: Option<YieldValue>) {
        self.answer.set(answer);
    }

    pub(super) fn waker(&self) -> *const Waker {
        self.waker.get()
    }

    pub(super) fn polled(&self) -> u64 {
        self.polled.get()
    }

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

    /// Who decides about interruptions.
    pub(crate) fn set_interruption_handler(&self, handler: Option<InterruptionHandler>) {
        self.interruption_handler.set(handler);
    }

    /// The computation that the code that runs started last, whatever its state.
    pub(super) fn next(&self) -> Option<&Computation> {
        self.at(self.level.get())
    }

    /// [`next`](Self::next), if it is suspended.
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

    /// Numbers that may be references: where computations that are suspended or have returned keep them.
    pub(crate) fn scan(&self, mut scan: impl FnMut(Range<usize>)) {
        // SAFETY: as for `at`.
        for computation in unsafe { (&*self.all.get()).iter().map(|one| one.as_ref()) } {
            if matches!(computation.state.get(), State::Suspended | State::Returned) {
                // SAFETY: nobody uses the values of a computation that does not run.
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
    }

    /// Asks what to do about a plain call that was interrupted. Called by its driver.
    ///
    /// # Safety
    /// The execution is a store's, which may be used.
    #[cold]
    pub(crate) unsafe fn plain_interrupted(execution: NonNull<Execution>) {
        // SAFETY: as the caller says; each reference ends with its statement.
        unsafe {
            let why = execution.as_ref().computations().interruption.take();
            if let Err(reason) = decide(execution, why) {
                let computations = execution.as_ref().computations();
                computations.interruption_failure.set(Some(reason));
            }
        }
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
    // SAFETY: as the caller says.
    match catch_unwind(AssertUnwindSafe(|| unsafe {
        handler(execution.cast(), why)
    })) {
        Ok(decision) => decision.map_err(TrapReason::Host),
        Err(payload) => Err(TrapReason::Panic(payload)),
    }
}

impl Execution {
    /// The computation that the code that runs may suspend.
    ///
    /// # Errors
    /// When there is none, it cannot be suspended from here, or is cancelled.
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
    #[inline]
    pub(super) unsafe fn switch(
        computation: NonNull<Computation>,
        why: Suspension,
    ) -> Result<Option<YieldValue>, Cancelled> {
        // SAFETY: a computation lives until it has ended; the reference is not used by anybody else for change.
        let this = unsafe { computation.as_ref() };
        PollFrame::keep_wakers(this.polls.get());
        this.why.set(Some(why));
        this.stack_pointer.set(arch::stack_pointer());
        // SAFETY: it is running, so it has a run, and its driver expects this.
        unsafe {
            if let Some(run) = &*this.run.get() {
                run.switch_to_driver();
            }
        }
        if this.cancelled.get() {
            return Err(Cancelled);
        }
        Ok(this.answer.take())
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
            // SAFETY: the execution is valid; each reference ends with its statement. The driver of a plain call expects this.
            unsafe {
                execution
                    .as_ref()
                    .computations()
                    .interruption
                    .set(Some(why));
                run.switch_to_driver();
                let failure = execution
                    .as_ref()
                    .computations()
                    .interruption_failure
                    .take();
                return failure.map_or(Ok(()), Err);
            }
        };
        // SAFETY: a run's computation lives as long as it does.
        let this = unsafe { computation.as_ref() };
        if this.cancelled.get() {
            return Err(TrapReason::Host(Cancelled.into()));
        }
        this.registers.set((registers.start, registers.end));
        // SAFETY: the caller vouches for what `suspendable` would check.
        let resumed = unsafe { Self::switch(computation, Suspension::Interrupted(why)) };
        this.registers.set((0, 0));
        resumed.map_err(|cancelled| TrapReason::Host(cancelled.into()))?;
        this.failure.take().map_or(Ok(()), Err)
    }
}

/// Starts a computation.
///
/// # Errors
/// When it does not begin, or ends with an error.
///
/// # Safety
/// `store` points to all of a store with data type `T`, which may be used; `values` fit the function.
pub(super) unsafe fn start<T: 'static>(
    store: NonNull<StoreInner>,
    entry: Entry<T>,
    values: impl FnOnce(&StoreInner, &mut SmallVec<[VmValue; 16]>) -> Result<()>,
    waker: Option<&Waker>,
) -> Result<Progress> {
    signals::init()?;
    let execution: NonNull<Execution> = store.cast();
    let (place, stack) = {
        // SAFETY: the execution is the store's first part; the reference ends with this block.
        let this = unsafe { execution.as_ref() };
        let computations = this.computations();
        if computations.is_cancelling() {
            return Err(Cancelled.into());
        }
        if computations.is_blocked() {
            return Err(StoreSuspended.into());
        }
        let computation = computations.next_or_new();
        computation.state.set(State::Idle);
        // SAFETY: nobody uses the values of a computation that is not running; the reference to the store ends with the
        // statement.
        unsafe { values(store.as_ref(), &mut *computation.values.get())? };
        if this.run().is_null() {
            this.interrupts().prepare(true)?;
        }
        (NonNull::from(computation), provide_run(this, computation)?)
    };
    // SAFETY: a computation stays where it is until its store is dropped, and changes behind shared references only.
    let computation = unsafe { place.as_ref() };
    let run = computation.run.get();
    let func = match &entry {
        Entry::Func(func) => Some(*func),
        Entry::Body(_) => None,
    };
    computation.func.set(func);
    computation.cancelled.set(false);
    let body = move |yielder: &Yielder<(), ()>, ()| {
        // SAFETY: the computation lives until it has ended, and has a run.
        let computation = unsafe {
            if let Some(run) = &*run {
                run.begin(yielder);
            }
            place.as_ref()
        };
        // SAFETY: the caller of `start` vouches for the store and the values.
        let outcome = unsafe { enter(store, entry, (*computation.values.get()).as_mut_ptr()) };
        computation.outcome.set(Some(outcome));
    };
    // SAFETY: nothing that the closure holds is borrowed but from the store, which drops a computation only when it has ended;
    // one that is abandoned keeps its stack for ever. The stack is not in use.
    unsafe {
        let coroutine = Coroutine::with_stack_unchecked(stack, body);
        *computation.coroutine.get() = Some(coroutine);
        drive(store, place, waker)
    }
}

/// Gives a computation a run, on the store's own stack if that is free.
fn provide_run(execution: &Execution, computation: &Computation) -> Result<StackBounds, Error> {
    let free = execution.run().is_null();
    let made: Result<Run, MapError> = (|| {
        if free {
            return Ok(execution.provided_run()?.another());
        }
        // SAFETY: a computation that does not run does not use its stack, and nobody else refers to it.
        let stack = unsafe { &mut *computation.stack.get() };
        let stack = match stack {
            Some(stack) => stack,
            None => stack.insert(GuestStack::new(execution.stack_spec())?),
        };
        Ok(execution.run_on(stack))
    })();
    let run = made.map_err(activation::EnterError::from)?;
    run.set_computation(computation);
    let stack = *run.stack();
    computation.on_own_stack.set(free);
    // SAFETY: nobody refers to the run of a computation that is over.
    unsafe { *computation.run.get() = Some(run) };
    Ok(stack)
}

/// What runs at the root of a computation's stack. Never panics.
///
/// # Safety
/// As for [`start`].
unsafe fn enter<T: 'static>(
    store: NonNull<StoreInner>,
    entry: Entry<T>,
    values: *mut VmValue,
) -> Result<(), Raised> {
    let called = match entry {
        Entry::Func(func) => {
            // SAFETY: a funcref lives as long as its store and does not change once it has been handed out.
            let (is_host, entry, ctx, code) = unsafe {
                let func = func.func.as_ref();
                (func.is_host == 1, func.entry, func.ctx, func.code)
            };
            if !is_host {
                // SAFETY: the caller vouches for the store and the values; this is the run that was just begun.
                return unsafe { activation::enter(store.cast(), entry, ctx, code, values) };
            }
            // SAFETY: as above.
            catch_unwind(AssertUnwindSafe(|| unsafe {
                host::call_directly(store, ctx.cast(), values)
            }))
        }
        Entry::Body(body) => {
            // SAFETY: the store's data type is `T`, and its caller lets us use it.
            catch_unwind(AssertUnwindSafe(|| unsafe {
                body(StoreMut::from_inner(store))
            }))
        }
    };
    let reason = match called {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => TrapReason::Host(error),
        Err(payload) => TrapReason::Panic(payload),
    };
    Err(Raised {
        reason,
        frames: Vec::new(),
    })
}

/// How driving a computation has ended.
enum Driven {
    Suspended(Suspension),
    Ended(Result<(), Raised>),
}

/// Drives a computation until it is suspended or over, and says which.
///
/// # Errors
/// What the computation ends with.
///
/// # Safety
/// As for [`start`]; the computation is the next one, begun and neither running nor over.
pub(super) unsafe fn drive(
    store: NonNull<StoreInner>,
    computation: NonNull<Computation>,
    waker: Option<&Waker>,
) -> Result<Progress> {
    altstack::prepare_thread().map_err(activation::EnterError::Thread)?;
    // SAFETY: as the caller says.
    match unsafe { switch_to(store, computation, waker) } {
        Driven::Suspended(why) => Ok(Progress::Suspended(why)),
        // SAFETY: a computation lives as long as its store; the reference ends with its statement.
        Driven::Ended(Ok(())) => {
            unsafe { computation.as_ref() }.state.set(State::Returned);
            Ok(Progress::Returned)
        }
        // SAFETY: nothing of the computation runs any more; the reference ends with its statement.
        Driven::Ended(Err(raised)) => Err(func::stopped(unsafe { store.as_ref() }, raised)),
    }
}

/// [`drive`] without results or a message for the error.
///
/// # Safety
/// As for [`drive`], except that this thread need not be prepared if no guest code is going to run.
unsafe fn switch_to(
    store: NonNull<StoreInner>,
    place: NonNull<Computation>,
    waker: Option<&Waker>,
) -> Driven {
    let execution: NonNull<Execution> = store.cast();
    // SAFETY: it stays where it is until its store is dropped, and changes behind shared references only.
    let computation = unsafe { place.as_ref() };
    // SAFETY: the store may be used; references to it end with the block.
    let (outside, run, was_cancelling, is_outermost) = unsafe {
        let this = execution.as_ref();
        let is_outermost = this.run().is_null();
        if is_outermost {
            this.interrupts().run();
        }
        let was_cancelling = this.computations().step_in(computation.cancelled.get());
        let outside = Outside::of(this);
        if let Some(suspended) = computation.suspended.take() {
            outside.link(this, suspended);
        }
        let Some(run) = &*computation.run.get() else {
            unreachable!("a computation that was begun has a run")
        };
        (outside, ptr::from_ref(run), was_cancelling, is_outermost)
    };
    // Its roots are its own business again; those of one that is suspended inside it are not.
    // SAFETY: the store may be used; the references end with their statements.
    unsafe {
        let inner = execution.as_ref().computations().suspended();
        let inner = inner.map_or(HeldRoots::default(), |inner| inner.held.get());
        let objects = (*store.as_ptr()).objects_mut();
        computation.held.set(objects.exchange_held(inner));
    }
    computation.outside.set(Some(outside));
    computation
        .waker
        .set(waker.map_or(ptr::null(), ptr::from_ref));
    computation
        .polled
        .set(computation.polled.get().wrapping_add(1));
    computation.state.set(State::Running);
    // SAFETY: the run lives as long as the computation does.
    let running = unsafe { RunningOn::switch(execution, run) };
    let why = loop {
        // SAFETY: nobody else uses the coroutine. What is at its root never unwinds.
        let result = match unsafe { &mut *computation.coroutine.get() } {
            Some(coroutine) => coroutine.resume(()),
            None => unreachable!("a computation that was begun has a coroutine"),
        };
        if let CoroutineResult::Return(()) = result {
            break None;
        }
        let why = computation.why.take();
        let Some(Suspension::Interrupted(interruption)) = why else {
            break why;
        };
        // SAFETY: the store may be used: the guest that was interrupted waits.
        match unsafe { decide(execution, Some(interruption)) } {
            Ok(true) => break why,
            Ok(false) => {}
            Err(reason) => computation.failure.set(Some(reason)),
        }
    };
    computation.waker.set(ptr::null());
    let Some(why) = why else {
        computation.state.set(State::Idle);
        // SAFETY: it has ended; the store may be used, references to it end with their statements.
        unsafe {
            let outcome = finish(store, computation, was_cancelling);
            drop(running);
            if is_outermost {
                execution.as_ref().interrupts().end();
            }
            return Driven::Ended(outcome);
        }
    };
    drop(running);
    computation.waits_for.set(match &why {
        Suspension::Yielded(yielded) => WaitsFor::Value(yielded.expects),
        Suspension::Awaiting => WaitsFor::Poll,
        Suspension::OutOfFuel | Suspension::Interrupted(_) => WaitsFor::Value(None),
    });
    // SAFETY: as above; `outside` is what was found when it was driven.
    unsafe {
        let objects = (*store.as_ptr()).objects_mut();
        let inner_held = objects.hold_roots(computation.held.get());
        let this = execution.as_ref();
        if let Some(inner) = this.computations().suspended() {
            inner.held.set(inner_held);
        }
        computation.suspended.set(outside.unlink(this));
        this.computations().step_out(was_cancelling, true);
    }
    computation.state.set(State::Suspended);
    if is_outermost {
        // SAFETY: as above.
        unsafe { execution.as_ref() }.interrupts().suspend();
    }
    Driven::Suspended(why)
}

/// What is left to do when a computation has ended: those that it has started and left suspended end with it.
///
/// # Safety
/// As for [`switch_to`].
unsafe fn finish(
    store: NonNull<StoreInner>,
    computation: &Computation,
    was_cancelling: bool,
) -> Result<(), Raised> {
    // SAFETY: it has ended, so nobody uses the coroutine.
    unsafe { *computation.coroutine.get() = None };
    let outcome = computation.outcome.take();
    // SAFETY: the store may be used, as the code that has ended did.
    let inner = catch_unwind(AssertUnwindSafe(|| unsafe { end(store, End::Cancel) }));
    // SAFETY: the store may be used; references to it end with their statements.
    unsafe {
        (*store.as_ptr())
            .objects_mut()
            .release_roots(computation.held.get());
        let computations = store.cast::<Execution>().as_ref().computations();
        computations.step_out(was_cancelling, false);
    }
    match (outcome, inner) {
        (None, _) => unreachable!("a computation that has ended says how"),
        (Some(Ok(())), Err(payload)) => Err(Raised {
            reason: TrapReason::Panic(payload),
            frames: Vec::new(),
        }),
        (Some(outcome), _) => outcome,
    }
}

/// What becomes of a suspended computation that nobody will resume.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What runs in it returns, except where only a future may resume it and has not: then it is abandoned.
    Cancel,
    /// The future that polls it cancels it.
    CancelPolled,
}

/// Ends the computation that is suspended, if one is.
///
/// # Panics
/// When something in it panics. It has ended nevertheless.
///
/// # Safety
/// `store` points to all of a store, which may be used.
pub(super) unsafe fn end(store: NonNull<StoreInner>, how: End) {
    // SAFETY: as the caller says; the reference ends with its statement.
    let suspended = unsafe { store.cast::<Execution>().as_ref() }
        .computations()
        .suspended();
    let Some(place) = suspended.map(NonNull::from) else {
        return;
    };
    // SAFETY: it stays where it is until its store is dropped, and changes behind shared references only.
    let computation = unsafe { place.as_ref() };
    if computation.waits_for.get() == WaitsFor::Poll && how != End::CancelPolled {
        // SAFETY: as the caller says.
        unsafe { abandon(store) };
        return;
    }
    computation.cancelled.set(true);
    computation.answer.take();
    // Only host code runs, with a signal stack or without: a fault of its own kills the process in either case.
    drop(altstack::prepare_thread());
    // SAFETY: as the caller says; the computation is suspended.
    let driven = unsafe { switch_to(store, place, None) };
    computation.cancelled.set(false);
    match driven {
        Driven::Ended(Err(Raised {
            reason: TrapReason::Panic(payload),
            ..
        })) => resume_unwind(payload),
        Driven::Ended(_) => {}
        Driven::Suspended(_) => unreachable!("a computation that is cancelled cannot be suspended"),
    }
}

/// Gives up the suspended computation and those inside it without running them. What is on their stacks stays there for ever.
///
/// # Safety
/// As for [`end`].
unsafe fn abandon(store: NonNull<StoreInner>) {
    // SAFETY: as the caller says; references end with the block.
    unsafe {
        let this = store.cast::<Execution>().as_ref();
        let computations = this.computations();
        let all = &mut *computations.all.get();
        for abandoned in all.drain(computations.level.get()..) {
            if abandoned.as_ref().state.get() != State::Suspended {
                drop(Box::from_raw(abandoned.as_ptr()));
            } else if abandoned.as_ref().on_own_stack.get() {
                // The computation itself is leaked, and any other stack with it. Nothing else runs on a stack where one is
                // suspended.
                mem::forget(this.take_stack());
            }
        }
        computations.blocked.set(false);
        let objects = (*store.as_ptr()).objects_mut();
        objects.exchange_held(HeldRoots::default());
        if store.cast::<Execution>().as_ref().run().is_null() {
            store.cast::<Execution>().as_ref().interrupts().end();
        }
    }
}
