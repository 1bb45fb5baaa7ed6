//! Computations, and how what runs in them suspends them. How they are driven is in `drive`.

mod drive;

pub(super) use drive::{Driven, End, Entry, drive, end, progress, start};

use super::task::PollFrame;
use super::{Cancelled, CannotSuspend, Expects, Interruption, Suspension, YieldValue, Yielded};
use crate::activation::{Execution, Outside, Run, Suspended};
use crate::arch;
use crate::error::Result;
use crate::host_ref::HeldRoots;
use crate::stack::{GuestStack, ROOM};
use crate::store::{FuncHandle, StoreInner};
use crate::trap::{Raised, TrapReason};
use cowling_abi::layout::VmValue;
use smallvec::SmallVec;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::task::Waker;

/// Decides what becomes of an interrupted guest, on the stack of whoever called it: `true` to suspend its computation, if it is
/// one that can be; `false` to continue it. An error stops the guest.
pub(crate) type InterruptionHandler = unsafe fn(NonNull<StoreInner>, Interruption) -> Result<bool>;

/// What is out of the ordinary in a store, all in one byte: calls that nothing is special about look at it and at nothing else.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The innermost run is part of a computation that is being cancelled: no guest is entered.
    Cancelling = 1,
    /// A guest waits while it is decided whether its interruption suspends it: nothing is started.
    Deciding = 2,
    /// The store has a call hook.
    Hooked = 4,
    /// The call hook runs: it is not called for what it does itself, and nothing is collected, as what the call that it is told of
    /// takes or returns may be where no collection looks.
    InHook = 8,
}

/// What a store knows of its computations.
pub(crate) struct Computations {
    /// The [`Mark`]s that are set.
    marks: Cell<u8>,
    /// How many computations are running, each inside the one before: the position in `all` of the next.
    level: Cell<usize>,
    /// The computation at `level`, if it is suspended: then nothing else is started there. Null otherwise.
    suspended: Cell<*const Computation>,
    /// By level. Kept for the next when they are over. The first is in the [room](GuestStack::room) above the store's stack if there
    /// was one when it was made, the others are boxed.
    all: UnsafeCell<SmallVec<[NonNull<Computation>; 2]>>,
    /// Why a plain call was interrupted, on the way out, and what came of it, on the way in.
    in_room: Cell<bool>,
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
    /// It runs or is suspended. Which of them, the level says.
    Begun,
    /// It has left results.
    Returned,
}

/// Why a computation is suspended. What else [`Suspension`] says stays in the computation until its driver takes it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// With a value in `value` or none, and waiting for one of the type in `expects` or for none.
    Yielded,
    Awaiting,
    OutOfFuel,
    Interrupted(Interruption),
}

/// Arguments or results of a computation. Few have more than are inline; a `Computation` is used again, with what it has on the heap.
pub(crate) type Values = SmallVec<[VmValue; 4]>;

/// A computation that may be suspended: everything between being started and returning.
pub(crate) struct Computation {
    run: UnsafeCell<Option<Run>>,
    /// The stack it runs on when the store's own is not free. Kept.
    stack: UnsafeCell<Option<GuestStack>>,
    on_own_stack: Cell<bool>,
    state: Cell<State>,
    cancelled: Cell<bool>,
    /// What the code that drives it sees: from when it is driven to when it stops.
    outside: Outside,
    /// The suspended computation that it has begun, while it is suspended itself; null if there is none.
    inside: Cell<*const Computation>,
    /// Its activations, while it is suspended.
    activations: Suspended,
    /// Where more registers of its guest are, while it is suspended.
    registers: Cell<(usize, usize)>,
    /// Roots that stay while it is suspended, whatever scopes outside end. Kept here while they are not the ones that count.
    held: Cell<HeldRoots>,
    /// Why it is, or was last, suspended.
    why: Cell<Why>,
    /// The value yielded, from the switch out until its driver has it, and the one it is resumed with, from when that is given
    /// until the host function has it. `None` otherwise, so who yields nothing, or resumes with nothing, leaves it alone.
    value: Cell<Option<YieldValue>>,
    /// The type of value it expects, if it has yielded.
    expects: Cell<Option<Expects>>,
    failure: Cell<Option<TrapReason>>,
    /// How it ended.
    outcome: Cell<Option<Result<(), Box<Raised>>>>,
    /// Whom to wake, while it is polled.
    waker: Cell<*const Waker>,
    /// Futures that are being polled in it.
    polls: Cell<*const PollFrame>,
    /// Arguments, then results.
    values: UnsafeCell<Values>,
    func: Cell<Option<FuncHandle>>,
}

impl Computation {
    const FITS_ITS_ROOM: () =
        assert!(size_of::<Computation>() <= ROOM && align_of::<Computation>() <= 64);

    fn new() -> Computation {
        let () = Self::FITS_ITS_ROOM;
        Computation {
            run: UnsafeCell::new(None),
            stack: UnsafeCell::new(None),
            on_own_stack: Cell::new(false),
            state: Cell::new(State::Idle),
            cancelled: Cell::new(false),
            outside: Outside::nowhere(),
            inside: Cell::new(ptr::null()),
            activations: Suspended::none(),
            registers: Cell::new((0, 0)),
            held: Cell::default(),
            why: Cell::new(Why::Awaiting),
            value: Cell::new(None),
            expects: Cell::new(None),
            failure: Cell::new(None),
            outcome: Cell::new(None),
            waker: Cell::new(ptr::null()),
            polls: Cell::new(ptr::null()),
            values: UnsafeCell::new(SmallVec::new()),
            func: Cell::new(None),
        }
    }

    /// Does it wait for being polled, and nothing else?
    #[inline(always)]
    pub(super) fn is_awaiting(&self) -> bool {
        self.why.get() == Why::Awaiting
    }

    /// The type of value that it waits for.
    #[inline(always)]
    pub(super) fn expects(&self) -> Option<Expects> {
        match self.why.get() {
            Why::Yielded => self.expects.get(),
            _ => None,
        }
    }

    #[inline(always)]
    pub(super) fn put_value(&self, value: Option<YieldValue>) {
        if value.is_some() {
            self.value.set(value);
        }
    }

    #[inline(always)]
    fn take_value(&self) -> Option<YieldValue> {
        // Looked at before it is moved, as it is nearly always `None` and moving that takes as long.
        // SAFETY: only this thread uses the computation; the reference ends with the statement.
        if unsafe { &*self.value.as_ptr() }.is_none() {
            return None;
        }
        self.value.take()
    }

    /// What was yielded by the host function that has suspended it.
    #[inline(always)]
    pub(super) fn yielded(&self) -> Yielded {
        Yielded {
            value: self.take_value(),
            expects: self.expects.get(),
        }
    }

    /// Why it is suspended, with what was yielded.
    pub(super) fn suspension(&self) -> Suspension {
        match self.why.get() {
            Why::Yielded => Suspension::Yielded(self.yielded()),
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
    pub(super) fn values(&self) -> *mut Values {
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

impl Default for Computations {
    fn default() -> Self {
        Computations {
            marks: Cell::new(0),
            level: Cell::new(0),
            suspended: Cell::new(ptr::null()),
            all: UnsafeCell::new(SmallVec::new()),
            in_room: Cell::new(false),
            interruption: Cell::new(None),
            interruption_failure: Cell::new(None),
            interruption_handler: Cell::new(None),
            at_instruction: Cell::new(false),
            plain_registers: Cell::new((0, 0)),
        }
    }
}

impl Computations {
    /// Is one of these marks set?
    #[inline(always)]
    pub(crate) fn any<const N: usize>(&self, marks: [Mark; N]) -> bool {
        let wanted = marks.into_iter().fold(0, |bits, mark| bits | mark as u8);
        self.marks.get() & wanted != 0
    }

    /// Sets a mark, or takes it away. Returns whether it was set.
    pub(crate) fn mark(&self, mark: Mark, set: bool) -> bool {
        let marks = self.marks.get();
        let others = marks & !(mark as u8);
        self.marks
            .set(if set { others | mark as u8 } else { others });
        marks != others
    }

    /// Is the innermost run part of a computation that is being cancelled?
    #[inline]
    pub(crate) fn is_cancelling(&self) -> bool {
        self.any([Mark::Cancelling])
    }

    /// Is there a call hook?
    #[inline(always)]
    pub(crate) fn is_hooked(&self) -> bool {
        self.any([Mark::Hooked])
    }

    /// Is the computation suspended that the code that runs started last?
    #[inline]
    pub(crate) fn is_blocked(&self) -> bool {
        self.any([Mark::Deciding]) || !self.suspended.get().is_null()
    }

    /// May a plain call not just begin? As [`is_blocked`](Self::is_blocked), and when there is a call hook.
    #[inline(always)]
    pub(crate) fn is_special(&self) -> bool {
        self.any([Mark::Deciding, Mark::Hooked]) || !self.suspended.get().is_null()
    }

    /// Is there none that runs, is suspended, or has left results?
    pub(crate) fn is_idle(&self) -> bool {
        // SAFETY: as for `at`.
        let mut all = unsafe { (&*self.all.get()).iter().map(|one| one.as_ref()) };
        !self.any([Mark::Deciding]) && all.all(|one| one.state.get() == State::Idle)
    }

    /// Nothing waits where it was interrupted any more.
    pub(super) fn goes_on(&self) {
        self.at_instruction.set(false);
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
    #[inline(always)]
    pub(super) fn next(&self) -> Option<&Computation> {
        self.at(self.level.get())
    }

    /// [`next`](Self::next), if it is suspended.
    #[inline(always)]
    pub(super) fn suspended(&self) -> Option<&Computation> {
        // SAFETY: as for `at`.
        unsafe { self.suspended.get().as_ref() }
    }

    /// The next computation becomes one that runs. Returns the roots held by one that is suspended inside it.
    #[inline(always)]
    fn step_in(&self, computation: &Computation) -> HeldRoots {
        self.level.set(self.level.get() + 1);
        self.suspended.set(computation.inside.get());
        let inside = self.suspended();
        inside.map_or(HeldRoots::default(), |inside| inside.held.get())
    }

    /// The innermost running computation is suspended; `held` is for one that is suspended inside it.
    #[inline(always)]
    fn step_out(&self, computation: &Computation, held: HeldRoots) {
        self.level.set(self.level.get() - 1);
        if let Some(inside) = self.suspended() {
            inside.held.set(held);
        }
        computation.inside.set(self.suspended.get());
        self.suspended.set(computation);
    }

    /// The innermost running computation is over, and so are those inside it.
    fn end(&self) {
        self.level.set(self.level.get() - 1);
        self.suspended.set(ptr::null());
    }

    #[inline(always)]
    fn at(&self, level: usize) -> Option<&Computation> {
        // SAFETY: nobody keeps a reference to the list. A computation stays where it is, changes behind shared references only, and
        // is dropped with the store.
        unsafe { (&*self.all.get()).get(level).map(|one| one.as_ref()) }
    }

    /// `room` is that of the store's stack, if it has one.
    fn next_or_new(&self, room: Option<NonNull<u8>>) -> &Computation {
        let level = self.level.get();
        // SAFETY: as for `at`. Those running have filled the list up to `level`.
        unsafe {
            let all = &mut *self.all.get();
            if all.len() <= level {
                all.push(self.make(room.filter(|_| level == 0)));
            }
            all[level].as_ref()
        }
    }

    /// # Safety
    /// A room is large enough, aligned, and used for nothing else before [`clear`](Self::clear).
    unsafe fn make(&self, room: Option<NonNull<u8>>) -> NonNull<Computation> {
        let Some(room) = room else {
            return NonNull::from(Box::leak(Box::new(Computation::new())));
        };
        self.in_room.set(true);
        let place = room.cast::<Computation>();
        // SAFETY: as the caller says.
        unsafe { place.write(Computation::new()) };
        place
    }

    /// Drops the computation that was at this position of the list.
    ///
    /// # Safety
    /// It is not in the list any more, and nobody uses it.
    unsafe fn discard(&self, position: usize, computation: NonNull<Computation>) {
        // SAFETY: as the caller says; only the first may be in the room, where nobody else puts anything, and others came from boxes.
        unsafe {
            if position == 0 && self.in_room.replace(false) {
                computation.drop_in_place();
                // What passed through it is nothing for whoever has the slot next.
                computation.as_ptr().write_bytes(0, 1);
            } else {
                drop(Box::from_raw(computation.as_ptr()));
            }
        }
    }

    /// Forgets the computation that was at this position of the list, which is never dropped.
    fn leak(&self, position: usize) {
        if position == 0 {
            self.in_room.set(false);
        }
    }

    /// Drops all computations.
    ///
    /// # Safety
    /// None is suspended or runs.
    pub(crate) unsafe fn clear(&self) {
        // SAFETY: nobody uses a computation that neither runs nor is suspended, and nobody keeps a reference to the list.
        unsafe {
            for (position, computation) in (*self.all.get()).drain(..).enumerate() {
                self.discard(position, computation);
            }
        }
    }

    /// Where there may be references that are in no activation's frames: values, and what belongs to suspended computations.
    pub(crate) fn scan(&self, mut scan: impl FnMut(Range<usize>)) {
        // SAFETY: as for `at`.
        let all = unsafe { (&*self.all.get()).iter().map(|one| one.as_ref()) };
        for (position, computation) in all.enumerate() {
            if computation.state.get() != State::Idle {
                // SAFETY: only the address is used, which nobody changes now.
                let values = unsafe { &*computation.values.get() }.as_ptr_range();
                scan(values.start.expose_provenance()..values.end.expose_provenance());
            }
            if computation.state.get() == State::Begun && position >= self.level.get() {
                // SAFETY: a computation that is suspended has a run.
                let Some(run) = (unsafe { &*computation.run.get() }) else {
                    continue;
                };
                // Where it continues is where its stack is in use from, unless its guest was interrupted.
                // SAFETY: nobody switches now.
                let stack_pointer = unsafe { *run.link() };
                let stack = run.stack();
                let start = match stack.contains(stack_pointer) {
                    true => stack_pointer,
                    false => stack.limit(),
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
        // SAFETY: none is suspended: the store has ended them all.
        unsafe { self.clear() };
    }
}

impl fmt::Debug for Computations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("Computations").field("level", &self.level))
            .field("suspended", &self.suspended())
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
    let deciding = unsafe { execution.as_ref() }
        .computations()
        .mark(Mark::Deciding, true);
    // SAFETY: as the caller says.
    let decision = catch_unwind(AssertUnwindSafe(|| unsafe {
        handler(execution.cast(), why)
    }));
    // SAFETY: as above.
    unsafe { execution.as_ref() }
        .computations()
        .mark(Mark::Deciding, deciding);
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
        if !here || !computation.outside.is_innermost_of_thread(self, run) {
            return Err(CannotSuspend::InBetween);
        }
        if std::thread::panicking() {
            return Err(CannotSuspend::Panicking);
        }
        Ok(computation)
    }

    /// May the code that runs be left for what a request wants? A plain call is never suspended, but left for the embedder to decide.
    pub(crate) fn can_stop_here(&self) -> bool {
        match self.suspendable() {
            Ok(_) => true,
            Err(CannotSuspend::PlainCall) => !std::thread::panicking(),
            Err(_) => false,
        }
    }

    /// Suspends the computation that called the host function or builtin that runs now, until it is resumed.
    ///
    /// # Errors
    /// When it cannot be suspended, or is cancelled: then the caller returns, or raises, as soon as it can.
    ///
    /// # Safety
    /// `execution` is valid, and no reference to the store is alive.
    #[inline(always)]
    pub(crate) unsafe fn suspend(
        execution: NonNull<Execution>,
        why: Why,
    ) -> Result<(), CannotSuspend> {
        // SAFETY: as the caller says.
        let computation = NonNull::from(unsafe { execution.as_ref() }.suspendable()?);
        // SAFETY: it was just found to be the one to suspend.
        unsafe { Self::switch_unless_ended(execution, computation, why) }
    }

    /// [`suspend`](Self::suspend) of the computation that may be suspended.
    ///
    /// # Errors
    /// When it has been cancelled or ended from outside meanwhile.
    ///
    /// # Safety
    /// As for [`suspend`](Self::suspend); the computation is the one that [`suspendable`](Self::suspendable) has just returned.
    #[inline(always)]
    pub(super) unsafe fn switch_unless_ended(
        execution: NonNull<Execution>,
        computation: NonNull<Computation>,
        why: Why,
    ) -> Result<(), CannotSuspend> {
        // SAFETY: as the caller says.
        unsafe { Self::switch(computation, why)? };
        // SAFETY: as the caller says.
        match unsafe { execution.as_ref() }.interrupts().shall_end() {
            None => Ok(()),
            Some(why) => Err(why.into()),
        }
    }

    /// [`suspend`](Self::suspend) with something for whoever drives the computation; returns the value it is resumed with.
    ///
    /// # Errors
    /// As [`suspend`](Self::suspend).
    ///
    /// # Safety
    /// As for [`suspend`](Self::suspend).
    #[inline(always)]
    pub(super) unsafe fn suspend_yielding(
        execution: NonNull<Execution>,
        yielded: Yielded,
    ) -> Result<Option<YieldValue>, CannotSuspend> {
        // SAFETY: as the caller says.
        let computation = NonNull::from(unsafe { execution.as_ref() }.suspendable()?);
        // SAFETY: a computation lives until it has ended, and changes behind shared references only.
        let this = unsafe { &*computation.as_ptr() };
        let is_answered = yielded.expects.is_some();
        this.put_value(yielded.value);
        this.expects.set(yielded.expects);
        // SAFETY: as the caller says; that was just checked.
        let resumed = unsafe { Self::switch_unless_ended(execution, computation, Why::Yielded) };
        let answer = if is_answered { this.take_value() } else { None };
        resumed.map(|()| answer)
    }

    /// Switches to the driver of a computation, until that drives it on.
    ///
    /// # Safety
    /// What [`suspendable`](Self::suspendable) checks has just been checked, or is otherwise known.
    #[inline(always)]
    pub(super) unsafe fn switch(
        computation: NonNull<Computation>,
        why: Why,
    ) -> Result<(), Cancelled> {
        // SAFETY: a computation lives until it has ended; the reference is not used by anybody else for change.
        let this = unsafe { computation.as_ref() };
        PollFrame::keep_wakers(this.polls.get());
        this.why.set(why);
        // SAFETY: it is running, so it has a run, and its driver expects this.
        unsafe {
            if let Some(run) = &*this.run.get() {
                arch::switch(run.link());
            }
        }
        if this.cancelled.get() {
            return Err(Cancelled);
        }
        Ok(())
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
                let before = computations.at_instruction.replace(true);
                run.call_outside(plain_interrupted, execution.as_ptr().cast());
                let computations = execution.as_ref().computations();
                computations.at_instruction.set(before);
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
            computations.at_instruction.replace(is)
        };
        // One inside may wait at an instruction, too.
        let inner = at_instruction(true);
        // SAFETY: the caller vouches for what `suspendable` would check.
        let resumed = unsafe { Self::switch(computation, Why::Interrupted(why)) };
        at_instruction(inner);
        this.registers.set((0, 0));
        resumed.map_err(|cancelled| TrapReason::Host(cancelled.into()))?;
        this.failure.take().map_or(Ok(()), Err)
    }
}
