//! Starting computations and driving them: to where they are suspended, to their end, or to an early one.

use super::{Computation, Mark, State, Why, decide};
use crate::activation::{self, Execution, Run};
use crate::error::{Error, Result};
use crate::host_ref::HeldRoots;
use crate::slot::MapError;
use crate::store::{FuncHandle, StoreInner, StoreMut};
use crate::suspend::{Cancelled, ComputationBody, Progress, StoreSuspended, Values};
use crate::sys::altstack;
use crate::trap::{Raised, TrapReason};
use crate::{arch, func, host, signals};
use cowling_abi::layout::VmValue;
use std::mem::{self, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};
use std::task::Waker;

/// What runs in a computation.
pub(in crate::suspend) enum Entry<T: 'static> {
    Func(FuncHandle),
    Body(ComputationBody<T>),
}

/// Starts a computation.
///
/// # Errors
/// When it does not begin, or ends with an error.
///
/// # Safety
/// `store` points to all of a store with data type `T`, which may be used; `values` fit the function.
pub(in crate::suspend) unsafe fn start<T: 'static>(
    store: NonNull<StoreInner>,
    entry: Entry<T>,
    values: impl FnOnce(&StoreInner, &mut Values) -> Result<()>,
    waker: Option<&Waker>,
) -> Result<Progress> {
    signals::init()?;
    altstack::prepare_thread().map_err(activation::EnterError::Thread)?;
    let execution: NonNull<Execution> = store.cast();
    let place = {
        // SAFETY: the execution is the store's first part; the reference ends with this block.
        let this = unsafe { execution.as_ref() };
        let computations = this.computations();
        if computations.is_cancelling() {
            return Err(Cancelled.into());
        }
        if computations.is_blocked() {
            return Err(StoreSuspended.into());
        }
        let computation = computations.next_or_new(this.room());
        computation.state.set(State::Idle);
        // SAFETY: nobody uses the values of a computation that is not running; the reference to the store ends with the
        // statement.
        unsafe { values(store.as_ref(), &mut *computation.values.get())? };
        if this.run().is_null() {
            this.interrupts().prepare(true)?;
        }
        provide_run(this, computation)?;
        NonNull::from(computation)
    };
    // SAFETY: a computation stays where it is until its store is dropped, and changes behind shared references only.
    let computation = unsafe { place.as_ref() };
    let func = match &entry {
        Entry::Func(func) => Some(*func),
        Entry::Body(_) => None,
    };
    computation.func.set(func);
    computation.activations.forget();
    computation.inside.set(ptr::null());
    computation.state.set(State::Begun);
    computation.cancelled.set(false);
    let mut beginning = MaybeUninit::new(Beginning {
        store,
        computation: place,
        entry,
    });
    // SAFETY: the stack is not in use; what begins on it is in `beginning`, and takes it before anything else.
    unsafe {
        let link = step_in(store, place, waker);
        let mut ended = arch::begin(link, root::<T>, beginning.as_mut_ptr().cast());
        loop {
            match step_out(store, place, ended) {
                Driven::NotYet => ended = arch::switch(link),
                driven => return progress(store, place, driven),
            }
        }
    }
}

/// What a computation begins with.
struct Beginning<T: 'static> {
    store: NonNull<StoreInner>,
    computation: NonNull<Computation>,
    entry: Entry<T>,
}

/// The root of a computation's stack.
///
/// # Safety
/// `argument` points to a [`Beginning`], which is taken; the rest is as for [`start`].
unsafe extern "C" fn root<T: 'static>(link: *mut usize, argument: *mut u8) -> ! {
    // SAFETY: as the caller says; nothing that needs dropping is left when the stack is. The computation lives until it has ended.
    unsafe {
        let Beginning {
            store,
            computation,
            entry,
        } = argument.cast::<Beginning<T>>().read();
        let values = (*computation.as_ref().values.get()).as_mut_ptr();
        let outcome = enter(store, entry, values);
        computation.as_ref().outcome.set(Some(outcome));
        arch::end(link)
    }
}

/// Gives a computation a run, on the store's own stack if that is free.
fn provide_run(execution: &Execution, computation: &Computation) -> Result<(), Error> {
    let free = execution.run().is_null();
    let made: Result<Run, MapError> = (|| {
        if free {
            return Ok(execution.provided_run()?.another());
        }
        // SAFETY: a computation that does not run does not use its stack, and nobody else refers to it.
        let stack = unsafe { &mut *computation.stack.get() };
        let stack = match stack {
            Some(stack) => stack,
            None => stack.insert(execution.new_stack()?),
        };
        Ok(execution.run_on(stack))
    })();
    let run = made.map_err(activation::EnterError::from)?;
    run.set_computation(computation);
    // SAFETY: the link is nobody else's yet.
    unsafe { *run.link() = run.stack().base() };
    computation.on_own_stack.set(free);
    // SAFETY: nobody refers to the run of a computation that is over.
    unsafe { *computation.run.get() = Some(run) };
    Ok(())
}

/// What runs at the root of a computation's stack. Never panics.
///
/// # Safety
/// As for [`start`].
unsafe fn enter<T: 'static>(
    store: NonNull<StoreInner>,
    entry: Entry<T>,
    values: *mut VmValue,
) -> Result<(), Box<Raised>> {
    let called = match entry {
        Entry::Func(func) => {
            // SAFETY: a funcref lives as long as its store and does not change once it has been handed out.
            let (is_host, entry, ctx, code) = unsafe {
                let func = func.pointer().as_ref();
                (func.is_host == 1, func.entry, func.ctx, func.code)
            };
            if !is_host {
                // SAFETY: the caller vouches for the store and the values; this is the run that was just begun.
                return unsafe { activation::enter(store.cast(), entry, ctx, code, values) };
            }
            // SAFETY: as above.
            catch_unwind(AssertUnwindSafe(|| unsafe {
                host::call_directly(store, NonNull::new_unchecked(ctx.cast()), values)
            }))
        }
        Entry::Body(body) => {
            // SAFETY: the store's data type is `T`, and its caller lets us use it.
            unsafe { store.as_ref() }.execution().note_host_frames();
            // SAFETY: as above.
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
    Err(Box::new(Raised {
        reason,
        frames: Vec::new(),
        cut_after: None,
    }))
}

/// What a computation that has switched back has done.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::suspend) enum Driven {
    /// Nothing: it is to be switched to once more.
    NotYet,
    /// It is suspended for this reason.
    Suspended(Why),
    /// [`progress`] says how.
    Ended,
}

/// Drives a computation until it is suspended or over, and says which.
///
/// The switch goes into whoever calls this, what comes before and after it does not: see [`arch::switch`] about calls.
///
/// # Safety
/// As for [`start`]; the computation is the next one, begun and neither running nor over. This thread is prepared, if guest code may
/// run.
#[inline(always)]
pub(in crate::suspend) unsafe fn drive(
    store: NonNull<StoreInner>,
    place: NonNull<Computation>,
    waker: Option<&Waker>,
) -> Driven {
    // SAFETY: as the caller says.
    unsafe {
        let link = step_in(store, place, waker);
        loop {
            let ended = arch::switch(link);
            let driven = step_out(store, place, ended);
            if driven != Driven::NotYet {
                return driven;
            }
        }
    }
}

/// What a computation that was [driven](drive) has come to.
///
/// # Errors
/// What it has ended with.
///
/// # Panics
/// If it has ended with a panic.
///
/// # Safety
/// As for [`drive`], which has returned `driven` for it.
#[inline(never)]
pub(in crate::suspend) unsafe fn progress(
    store: NonNull<StoreInner>,
    computation: NonNull<Computation>,
    driven: Driven,
) -> Result<Progress> {
    // SAFETY: it stays where it is until its store is dropped, and changes behind shared references only.
    let this = unsafe { computation.as_ref() };
    if let Driven::Suspended(_) = driven {
        return Ok(Progress::Suspended(this.suspension()));
    }
    match this.outcome.take() {
        Some(Ok(())) => {
            this.state.set(State::Returned);
            Ok(Progress::Returned)
        }
        // SAFETY: the store may be used, as nothing of the computation runs any more; the reference ends with its statement.
        Some(Err(raised)) => Err(func::stopped(unsafe { store.as_ref() }, raised)),
        None => unreachable!("a computation that has ended says how"),
    }
}

/// All that has to be done before the switch to a computation. Returns the link to switch by.
///
/// This and [`step_out`] end with a jump to what is rarely needed, so that they need no frame for it.
///
/// # Safety
/// As for [`drive`], which follows it with the switch.
#[inline(never)]
unsafe fn step_in(
    store: NonNull<StoreInner>,
    place: NonNull<Computation>,
    waker: Option<&Waker>,
) -> *mut usize {
    // SAFETY: the store may be used; the reference ends with the block.
    unsafe {
        let this = store.cast::<Execution>().as_ref();
        if this.run().is_null() && !this.interrupts().run_uncontrolled() {
            return step_in_controlled(store, place, waker);
        }
        put_in(store, place, waker)
    }
}

/// [`step_in`] to a store that other threads may ask for something, or for the first time on a thread.
///
/// # Safety
/// As for [`step_in`].
#[cold]
#[inline(never)]
unsafe fn step_in_controlled(
    store: NonNull<StoreInner>,
    place: NonNull<Computation>,
    waker: Option<&Waker>,
) -> *mut usize {
    // SAFETY: the store may be used; the reference ends with the statement.
    unsafe {
        store.cast::<Execution>().as_ref().interrupts().run();
        put_in(store, place, waker)
    }
}

/// Puts a computation where running ones are: into the lists of activations, runs and computations.
///
/// # Safety
/// As for [`step_in`].
#[inline(always)]
unsafe fn put_in(
    store: NonNull<StoreInner>,
    place: NonNull<Computation>,
    waker: Option<&Waker>,
) -> *mut usize {
    // SAFETY: it stays where it is until its store is dropped, and changes behind shared references only.
    let computation = unsafe { place.as_ref() };
    let waker = waker.map_or(ptr::null(), ptr::from_ref);
    computation.waker.set(waker);
    // SAFETY: nobody changes the run of a computation that has begun.
    let Some(run) = (unsafe { &*computation.run.get() }) else {
        unreachable!("a computation that was begun has a run")
    };
    // SAFETY: the store may be used; references to it end with the block.
    let inner_held = unsafe {
        let this = store.cast::<Execution>().as_ref();
        (computation.outside).leave(this, run, &computation.activations);
        this.computations().step_in(computation)
    };
    // Its roots are its own business again; those of one that is suspended inside it are not.
    // SAFETY: as above, with its statement.
    let held = unsafe { (*store.as_ptr()).objects_mut().exchange_held(inner_held) };
    computation.held.set(held);
    run.link()
}

/// All that has to be done when a computation has switched back; `ended`: for the last time.
///
/// # Safety
/// [`step_in`] was called, and the computation has switched back since then.
#[inline(never)]
unsafe fn step_out(store: NonNull<StoreInner>, place: NonNull<Computation>, ended: bool) -> Driven {
    // SAFETY: it stays where it is until its store is dropped, and changes behind shared references only.
    let why = unsafe { place.as_ref() }.why.get();
    // SAFETY: the caller's promises are the same.
    unsafe {
        if ended || matches!(why, Why::Interrupted(_)) {
            return step_out_slowly(store, place, ended);
        }
        take_out(store, place, why)
    }
}

/// [`step_out`] of a computation that has ended, or whose guest was interrupted.
///
/// # Safety
/// As for [`step_out`].
#[cold]
#[inline(never)]
unsafe fn step_out_slowly(
    store: NonNull<StoreInner>,
    place: NonNull<Computation>,
    ended: bool,
) -> Driven {
    // SAFETY: the caller's promises are the same.
    unsafe {
        match ended_or_interrupted(store, place, ended) {
            Driven::Suspended(why) => take_out(store, place, why),
            driven => driven,
        }
    }
}

/// Takes a computation that is suspended out of the lists where running ones are.
///
/// # Safety
/// As for [`step_out`].
#[inline(always)]
unsafe fn take_out(store: NonNull<StoreInner>, place: NonNull<Computation>, why: Why) -> Driven {
    // SAFETY: it stays where it is until its store is dropped, and changes behind shared references only.
    let computation = unsafe { place.as_ref() };
    // SAFETY: the store may be used; the reference ends with the statement.
    let inner_held = unsafe {
        let objects = (*store.as_ptr()).objects_mut();
        objects.hold_roots(computation.held.get())
    };
    // SAFETY: as above; the run and its activations are what `leave` was called for. References end with the block.
    unsafe {
        let this = store.cast::<Execution>().as_ref();
        this.computations().step_out(computation, inner_held);
        // The innermost run is that of the computation.
        (computation.outside).return_from_suspended(this, this.run(), &computation.activations);
        if computation.outside.is_outermost() && this.interrupts().is_controlled() {
            return suspended_controlled(store, why);
        }
    }
    Driven::Suspended(why)
}

/// The end of [`take_out`] for a store that other threads may ask for something.
///
/// # Safety
/// As for [`take_out`].
#[cold]
#[inline(never)]
unsafe fn suspended_controlled(store: NonNull<StoreInner>, why: Why) -> Driven {
    // SAFETY: the store may be used; the reference ends with the statement.
    unsafe { store.cast::<Execution>().as_ref() }
        .interrupts()
        .suspend();
    Driven::Suspended(why)
}

/// [`step_out`] of a computation that has ended, or whose guest was interrupted: does that suspend it?
///
/// # Safety
/// As for [`step_out`].
unsafe fn ended_or_interrupted(
    store: NonNull<StoreInner>,
    place: NonNull<Computation>,
    ended: bool,
) -> Driven {
    let execution: NonNull<Execution> = store.cast();
    // SAFETY: it stays where it is until its store is dropped, and changes behind shared references only.
    let computation = unsafe { place.as_ref() };
    if !ended {
        let why = computation.why.get();
        let interruption = match why {
            Why::Interrupted(interruption) => Some(interruption),
            _ => None,
        };
        // SAFETY: the store may be used: the guest that was interrupted waits.
        return match unsafe { decide(execution, interruption) } {
            Ok(true) => Driven::Suspended(why),
            Ok(false) => Driven::NotYet,
            Err(reason) => {
                computation.failure.set(Some(reason));
                Driven::NotYet
            }
        };
    }
    computation.waker.set(ptr::null());
    // SAFETY: it has ended; the store may be used, references to it end with their statements.
    unsafe {
        finish(store, computation);
        computation.state.set(State::Idle);
        (computation.outside).return_from_ended(execution.as_ref());
        if computation.outside.is_outermost() {
            execution.as_ref().interrupts().end();
        }
    }
    Driven::Ended
}

/// What is left to do when a computation has ended: those that it has started and left suspended end with it.
///
/// # Safety
/// As for [`drive`].
unsafe fn finish(store: NonNull<StoreInner>, computation: &Computation) {
    // SAFETY: the store may be used, as the code that has ended did.
    let inner = catch_unwind(AssertUnwindSafe(|| unsafe { end(store, End::Cancel) }));
    // SAFETY: the store may be used; references to it end with their statements.
    unsafe {
        (*store.as_ptr())
            .objects_mut()
            .release_roots(computation.held.get());
        store.cast::<Execution>().as_ref().computations().end();
    }
    if let Err(payload) = inner {
        let outcome = computation.outcome.take();
        let outcome = outcome.filter(Result::is_err).unwrap_or_else(|| {
            Err(Box::new(Raised {
                reason: TrapReason::Panic(payload),
                frames: Vec::new(),
                cut_after: None,
            }))
        });
        computation.outcome.set(Some(outcome));
    }
}

/// What becomes of a suspended computation that nobody will resume.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::suspend) enum End {
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
pub(in crate::suspend) unsafe fn end(store: NonNull<StoreInner>, how: End) {
    // SAFETY: as the caller says; the reference ends with its statement.
    let suspended = unsafe { store.cast::<Execution>().as_ref() }
        .computations()
        .suspended();
    let Some(place) = suspended.map(NonNull::from) else {
        return;
    };
    // SAFETY: it stays where it is until its store is dropped, and changes behind shared references only.
    let computation = unsafe { place.as_ref() };
    if computation.is_awaiting() && how != End::CancelPolled {
        // SAFETY: as the caller says.
        unsafe { abandon(store) };
        return;
    }
    computation.cancelled.set(true);
    computation.value.take();
    // Only host code runs, with a signal stack or without: a fault of its own kills the process in either case.
    drop(altstack::prepare_thread());
    let cancel = |is| {
        // SAFETY: as the caller says; the reference ends with the statement.
        let computations = unsafe { store.cast::<Execution>().as_ref() }.computations();
        computations.mark(Mark::Cancelling, is)
    };
    let was_cancelling = cancel(true);
    // SAFETY: as the caller says; the computation is suspended.
    let driven = unsafe { drive(store, place, None) };
    cancel(was_cancelling);
    debug_assert_eq!(
        driven,
        Driven::Ended,
        "a cancelled computation is not suspended"
    );
    computation.cancelled.set(false);
    if let Some(Err(raised)) = computation.outcome.take()
        && let TrapReason::Panic(payload) = raised.reason
    {
        resume_unwind(payload);
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
        let level = computations.level.get();
        for (above, abandoned) in all.drain(level..).enumerate() {
            if abandoned.as_ref().state.get() != State::Begun {
                computations.discard(level + above, abandoned);
                continue;
            }
            computations.leak(level + above);
            if abandoned.as_ref().on_own_stack.get() {
                // Any other stack is the computation's own, and leaked with it. Nothing else runs on a stack where one is suspended.
                mem::forget(this.take_stack());
            }
        }
        computations.suspended.set(ptr::null());
        // What is interrupted is the innermost, if anything is, and is gone with the others.
        if computations.is_interrupted() {
            computations.goes_on();
            this.interrupts().goes_on_after_epoch();
        }
        // A hook that waits there is never called again.
        computations.mark(Mark::InHook, false);
        let objects = (*store.as_ptr()).objects_mut();
        objects.exchange_held(HeldRoots::default());
        if store.cast::<Execution>().as_ref().run().is_null() {
            store.cast::<Execution>().as_ref().interrupts().end();
        }
    }
}
