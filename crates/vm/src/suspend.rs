//! Computations that stop midway and go on later, perhaps on another thread.
//!
//! A *computation* is everything on one guest stack since somebody started it: guests, the host functions they called, the guests
//! those called. Suspending it is one switch of stacks, back to whoever drives it:
//!
//! ```text
//!   the driver's stack                        the guest stack                       Box<Computation>, in the store
//!  +--------------------------+      base +---------------------------+           +---------------------------------+
//!  | StoreMut::resume, poll   |           | root: catches panics      |           | run (stack, limit, link)        |
//!  |   and, inlined into      |           | Activation A (outermost)  | <-------- | activations: innermost and      |
//!  |   their callers, drive:  |  resume   | guest, shim               |           |   outermost, exit of the former |
//!  |     step_in, returns     | ========> | host function             |           | outside: CURRENT, run, stack    |
//!  |     switch               |           | Activation B (innermost)  |           |   limit of the driver           |
//!  |     step_out, returns    | <======== | guest, shim               |           | why, value, registers, roots    |
//!  |                          |  suspend  | host function             |           | arguments, then results         |
//!  +--------------------------+           | yield_now, await_future   |           | waker, while it is polled       |
//!                                   limit +---------------------------+           +---------------------------------+
//! ```
//!
//! What is saved where when it is suspended, and how it comes back:
//!
//! | what | saved in | when it is driven again |
//! |---|---|---|
//! | callee-saved registers, return address | its stack, by the switch (a preempted guest's others: in its signal frame) | the switch |
//! | `exit_pc`, `exit_fp` of its innermost activation | `Computation::activations`, if the store has activations outside; otherwise left where they are | put into the `StoreContext`; those outside go to the outermost activation's `outer_exit` |
//! | `CURRENT` of the thread | nowhere: reset to what it was outside | its innermost activation |
//! | `Execution::innermost` | `Computation::activations`; reset to what it was outside | its innermost activation |
//! | `previous` and `outer` of its outermost activation | nowhere: they point at what may be gone | the thread's and the store's innermost of then |
//! | `Execution::run`, `host_stack_limit` | nowhere: reset to those outside | those of its run |
//! | the thread's signal stack | – | made ready on the thread of then |
//! | where a collection looks | link, registers and values in the `Computation` | looks at the running stack itself |
//! | root scopes of its host functions | stay open in the store's stack of roots | go on |
//!
//! # What it costs
//!
//! About as much as four calls of a host function, if a resumption avoids two things that cost as much again, each time:
//!
//! * *Returns that are mispredicted*, as `arch::switch` explains: one on either side of the switch for each function
//!   that returns between the driver's loop and the switch. So all that happens there when the computation is suspended again, in the
//!   way that was expected, goes into the caller; what is rare is a function of its own. How deep the host function is does not matter:
//!   its side makes the same calls and returns each time.
//! * *Reads that are wider than the writes before them*, as copies of structures are: what is noted at a switch is written and read word
//!   by word, where it stays; what the driver is told is in registers, and rare results in a box.
//!
//! What is left are reads and writes of memory, of which a processor does three at a time. So a word that follows from others is not
//! noted: whether a computation runs follows from its level, what the store is doing from its runs.
//!
//! # Levels
//!
//! A host function may start a computation of its own, inside the one that called it; it runs on another stack. That is how a host
//! function uses a guest as a generator, and how a future polls a call of the same store beside other futures. The store's list
//! of computations has one for each level: first those that run, each inside the one before, then those that are suspended. Code
//! that runs inside `n` of them sees the one at position `n`, and no other. When one ends, those inside it that are still
//! suspended are cancelled.
//!
//! # Roots
//!
//! A host function's root scope is open while it is suspended, so what it yields may be looked at outside. Scopes that end outside
//! meanwhile end nothing that the computation may use; they take effect when it is over. What is rooted outside meanwhile lies
//! above its scopes, and is gone when the innermost of these ends.
//!
//! # Polling
//!
//! While a computation is polled, `waker` points at the task's. Nothing keeps it longer: a host function that waits looks there
//! anew each time it is resumed. A future that is *being polled* on the guest stack when the computation is suspended (it called
//! a guest that yielded) still has the context it was given: that is on the guest stack too, with a copy of the waker that
//! gets a share of its own at that moment. It is polled again at once when it then returns pending, because its task is over.
//!
//! # Cancelling and abandoning
//!
//! A computation is cancelled by driving it with a mark: what suspended it returns [`Cancelled`], further attempts do, no guest is
//! entered, and a host function that returns to a guest returns past it, to the host function outside. So destructors run,
//! and guest code does not. The exception is one that waits for a future whose [`CallFuture`] was forgotten. What waits there may
//! have borrowed from the store for as long as that future holds it; the borrow is over, so that code must never run again. It is
//! abandoned: its stack and its `Computation` are leaked.
//!
//! # Why the store stays `Send`
//!
//! A suspended computation moves between threads with its store. On its stack are:
//!
//! * guest frames and the runtime's: addresses within the store, nothing of a thread. The runtime keeps no reference to anything
//!   thread-local across a switch.
//! * host functions: closures that are `Send + Sync`, arguments that are plain values, a [`StoreMut`] that is `Send` if the store
//!   is, and what crosses a suspension, `Box<dyn Any + Send>`. A future that waits is `Send`, and so is all it keeps while it
//!   waits.
//! * local variables of host functions that have called a guest or `yield_now` and wait for it. No bound can reach these. What the
//!   host function made itself and shares with nobody may move, whatever its type. What it must not keep across such a call is a
//!   share of something that stays on the thread: a borrow from a thread-local variable, one of several `Rc`s, a lock's guard
//!   that must be released where it was taken. An embedder whose host functions do that resumes and drops the store on the thread
//!   that started the computation.
//!
//! # Invariants
//!
//! * Only whoever drives a computation touches what is in the first two columns' places; what runs in it only switches.
//! * It is suspended only from its own stack (or, interrupted, from the signal's), while its innermost activation is the store's
//!   and the thread's: so all activations between that and its outermost one are its own, on its own stack, and the piece can be
//!   taken out of the lists.
//! * A store with a suspended computation at the level of the code that runs starts nothing else there: its stack may be in use.
//! * A `Computation` is freed, and its stack reused, only when it is over.

mod computation;
mod owning;
mod task;

pub(crate) use computation::{Computation, Computations, Mark, Values, Why};
pub use owning::{CallDriver, OwningCall, StoreLender};
pub use task::CallFuture;

use crate::activation::{EnterError, Execution};
use crate::control::Terminated;
use crate::error::{Error, Result};
use crate::func::{self, TypedHandle};
use crate::interrupt;
use crate::store::{FuncHandle, StoreInner, StoreMut, StoreRef};
use crate::sys::altstack;
use crate::values::{AbiValues, TypedBuffer, Value};
use computation::{Driven, End, Entry};
use cowling_abi::layout::VmValue;
use std::any::{Any, TypeId};
use std::fmt;
use std::future::Future;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::ptr::NonNull;

/// A value that crosses a suspension, in either direction.
pub type YieldValue = Box<dyn Any + Send>;

/// The type of value that a suspended computation expects. One word, so that it is moved in a register.
#[derive(Copy, Clone)]
pub struct Expects(fn() -> (TypeId, &'static str));

impl Expects {
    /// That type.
    pub fn of<V: Any>() -> Expects {
        Expects(|| (TypeId::of::<V>(), std::any::type_name::<V>()))
    }

    /// Its identity.
    pub fn id(self) -> TypeId {
        (self.0)().0
    }

    /// Its name, for messages.
    pub fn name(self) -> &'static str {
        (self.0)().1
    }
}

impl PartialEq for Expects {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Expects {}

impl fmt::Debug for Expects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expects").field(&self.name()).finish()
    }
}

/// How far a computation has come.
#[derive(Debug)]
pub enum Progress {
    /// It has returned. Its results wait to be [taken](StoreMut::take_results).
    Returned,
    /// It waits to be [resumed](StoreMut::resume).
    Suspended(Suspension),
}

/// Why a computation is suspended.
#[derive(Debug)]
pub enum Suspension {
    /// A host function yielded.
    Yielded(Yielded),
    /// An asynchronous host function waits for something. Seen only by the [`CallFuture`] that polls the computation.
    Awaiting,
    /// The fuel for this stretch is used up.
    OutOfFuel,
    /// Somebody outside interrupted it.
    Interrupted(Interruption),
}

/// Why a running guest was interrupted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// Its quantum is over, or another thread asked.
    Preempted,
    /// The epoch it was to reach has come.
    Epoch,
    /// Its access to a memory failed; the repair callback is asked. Never the reason of a [`Suspension`].
    Fault,
}

/// What a host function yielded.
#[derive(Debug, Default)]
pub struct Yielded {
    /// The value it yielded.
    pub value: Option<YieldValue>,
    /// What it wants to be resumed with.
    pub expects: Option<Expects>,
}

/// A computation was not resumed. It is as it was: if it is suspended, it still can be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// None is suspended.
    #[error("cannot resume: no computation of this store is suspended")]
    NotSuspended,
    /// It is polled by a future, and only that may resume it.
    #[error("cannot resume: the computation waits for an asynchronous host function")]
    Awaiting,
    /// It expects a value.
    #[error("cannot resume: a value of type {expected} is expected, none was given")]
    Missing {
        /// Name of the type.
        expected: &'static str,
    },
    /// It expects no value.
    #[error("cannot resume: a value was given, none is expected")]
    Unexpected,
    /// It expects a value of another type.
    #[error("cannot resume: a value of type {expected} is expected, one of another type was given")]
    WrongType {
        /// Name of the type.
        expected: &'static str,
    },
}

/// A host function cannot suspend the computation that called it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotSuspend {
    /// No guest runs, or it was entered by a plain call, which has nowhere to return to before it ends.
    #[error("cannot suspend: the computation was not started as one that can be resumed")]
    PlainCall,
    /// A guest of another store, or another thread, is between this host function and the computation's start.
    #[error("cannot suspend: another store or another thread is in between")]
    InBetween,
    /// Nobody polls it.
    #[error("cannot wait for a future: the computation was not started by an asynchronous call")]
    NoTask,
    /// The thread is unwinding from a panic.
    #[error("cannot suspend: a panic is unwinding")]
    Panicking,
    /// It is being cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// It was suspended, and has been ended from outside meanwhile.
    #[error(transparent)]
    Terminated(#[from] Terminated),
}

/// Something of a store's is asynchronous, and was needed where nothing can wait for it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store's {what} is asynchronous: use the `_async` variant of what was called")]
pub struct NeedsAsync {
    /// `limiter` or `call hook`.
    pub what: &'static str,
    /// Why it cannot be waited for.
    pub source: CannotSuspend,
}

impl CannotSuspend {
    /// The error where `what` had to be waited for.
    pub fn waiting_for(self, what: &'static str) -> Error {
        match self {
            CannotSuspend::PlainCall | CannotSuspend::InBetween | CannotSuspend::NoTask => {
                NeedsAsync { what, source: self }.into()
            }
            other => other.into(),
        }
    }
}

/// The computation was cancelled while it was suspended.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("computation cancelled while it was suspended")]
pub struct Cancelled;

/// The store cannot run this: one of its computations is suspended.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a computation of this store is suspended: resume or cancel it first")]
pub struct StoreSuspended;

/// There are no results to take, or they are of another type.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no computation of this store has returned with results that were not taken yet")]
pub struct NoResults;

/// A function that runs as a computation of its own on the guest stack: what it calls can suspend it.
pub type ComputationBody<T> = Box<dyn FnOnce(StoreMut<'_, T>) -> Result<()> + Send>;

/// What a call of an asynchronous host function waits for.
pub type HostFuture<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

impl<T: 'static> StoreMut<'_, T> {
    /// Begins a computation that can be suspended: calls a function. In a host function this begins one inside the one that runs,
    /// driven by that host function.
    ///
    /// # Errors
    /// As [`call`](StoreMut::call), and [`StoreSuspended`].
    ///
    /// # Panics
    /// With the payload of a host function that panicked.
    pub fn start(&mut self, func: FuncHandle, args: &[Value]) -> Result<Progress> {
        let ty = self.inner().func_type(func)?;
        // SAFETY: the store is borrowed for change; the arguments are checked against the function's type.
        unsafe {
            computation::start::<T>(
                self.as_ptr(),
                Entry::Func(func),
                |store, values| func::lower_args(store, &ty, args, values),
                None,
            )
        }
    }

    /// [`start`](Self::start) for a function whose type was checked.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_typed<P: AbiValues, R: AbiValues>(
        &mut self,
        func: &TypedHandle<P, R>,
        params: P,
    ) -> Result<Progress> {
        self.inner().check(&func.func())?;
        let mut buffer: TypedBuffer = [MaybeUninit::uninit(); _];
        params.lower_all(self.inner(), &mut buffer)?;
        // SAFETY: `lower_all` has made them values of these types; the function was just found to be this store's.
        unsafe { func.check_arguments(self.inner_mut(), &buffer)? };
        let lower = |_: &StoreInner, values: &mut Values| {
            values.clear();
            // SAFETY: `lower_all` has initialised as many as there are types.
            let lowered = buffer[..P::TYPES.len()]
                .iter()
                .map(|value| unsafe { value.assume_init_read() });
            values.extend(lowered);
            values.resize(P::TYPES.len().max(R::TYPES.len()), VmValue::default());
            Ok(())
        };
        // SAFETY: the store is borrowed for change; the function has the type that was checked when the handle was made, and takes the
        // arguments. Nothing is collected before they are on its stack.
        unsafe { computation::start::<T>(self.as_ptr(), Entry::Func(func.func()), lower, None) }
    }

    /// [`start`](Self::start) with a function of the host that runs on the guest stack. It has no results to take.
    ///
    /// # Errors
    /// [`StoreSuspended`], or what `body` returns.
    ///
    /// # Panics
    /// When `body` does.
    pub fn start_with(&mut self, body: ComputationBody<T>) -> Result<Progress> {
        // SAFETY: the store is borrowed for change; there are no values.
        unsafe { computation::start(self.as_ptr(), Entry::Body(body), |_, _| Ok(()), None) }
    }

    /// Resumes the suspended computation. The value is checked before anything runs.
    ///
    /// # Errors
    /// [`ResumeError`]: then nothing happened. Otherwise as [`call`](StoreMut::call), and the computation is over.
    ///
    /// # Panics
    /// With the payload of a host function that panicked.
    pub fn resume(&mut self, value: Option<YieldValue>) -> Result<Progress> {
        match self.resume_to_yield(value) {
            Ok(yielded) => Ok(Progress::Suspended(Suspension::Yielded(yielded))),
            Err(other) => other.unwrap_or_else(|payload| resume_unwind(payload)),
        }
    }

    /// [`resume`](Self::resume) for those who count on a yield, and want panics as values.
    ///
    /// All of it that happens when a host function yields again goes into the caller, as `arch::switch`
    /// explains: a loop that resumes a computation loses half of what a resumption costs for each function between it and this.
    ///
    /// # Errors
    /// Everything but a yield: what [`resume`](Self::resume) returns, or the payload it panics with.
    #[inline(always)]
    pub fn resume_to_yield(&mut self, value: Option<YieldValue>) -> Result<Yielded, Box<Halt>> {
        let suspended = match self.check_resume(value.as_ref()) {
            Ok(suspended) => suspended,
            Err(error) => return Err(refused(error)),
        };
        // SAFETY: a computation stays where it is until its store is dropped, and changes behind shared references only.
        let computation = unsafe { &*suspended.as_ptr() };
        computation.put_value(value);
        // SAFETY: the store is borrowed for change; the computation is suspended, and the thread prepared.
        let driven = unsafe { computation::drive(self.as_ptr(), suspended, None) };
        if driven == Driven::Suspended(Why::Yielded) {
            return Ok(computation.yielded());
        }
        // SAFETY: as above; this is what became of it.
        Err(unsafe { halted(self.as_ptr(), suspended, driven) })
    }

    /// The suspended computation, if it may be resumed by this thread with this value.
    #[inline(always)]
    fn check_resume(&self, value: Option<&YieldValue>) -> Result<NonNull<Computation>> {
        let computations = self.inner().execution().computations();
        if computations.is_cancelling() {
            return Err(Cancelled.into());
        }
        let Some(suspended) = computations.suspended() else {
            return Err(ResumeError::NotSuspended.into());
        };
        if suspended.is_awaiting() {
            return Err(ResumeError::Awaiting.into());
        }
        match (suspended.expects(), value) {
            (None, None) => {}
            (None, Some(_)) => return Err(ResumeError::Unexpected.into()),
            (Some(expects), None) => {
                let expected = expects.name();
                return Err(ResumeError::Missing { expected }.into());
            }
            (Some(expects), Some(value)) => {
                if (**value).type_id() != expects.id() {
                    let expected = expects.name();
                    return Err(ResumeError::WrongType { expected }.into());
                }
            }
        }
        altstack::prepare_thread().map_err(EnterError::Thread)?;
        Ok(NonNull::from(suspended))
    }

    /// Takes the results of the computation that has [returned](Progress::Returned); references are rooted in the current
    /// scope.
    ///
    /// # Errors
    /// [`NoResults`], or [`CallError`](crate::error::CallError) when there are not as many places: then they can still be taken.
    pub fn take_results(&mut self, results: &mut [Value]) -> Result<()> {
        let computation = self.inner().execution().computations().next();
        let returned = computation.and_then(|one| Some((NonNull::from(one), one.returned()?)));
        let (computation, func) = returned.ok_or(NoResults)?;
        let ty = self.inner().func_type(func)?;
        func::check_results(&ty, results)?;
        // SAFETY: it stays where it is until its store is dropped, and nobody uses its values; they have these types.
        unsafe {
            let values = &*computation.as_ref().values();
            func::lift_results(self.inner_mut(), &ty, values, results);
            computation.as_ref().forget_results();
        }
        Ok(())
    }

    /// [`take_results`](Self::take_results) of a function whose type was checked.
    ///
    /// # Errors
    /// [`NoResults`], also when they are another function's.
    pub fn take_typed_results<P: AbiValues, R: AbiValues>(
        &mut self,
        func: &TypedHandle<P, R>,
    ) -> Result<R, NoResults> {
        let computation = self.inner().execution().computations().next();
        let returned = computation.filter(|one| one.returned() == Some(func.func()));
        let computation = NonNull::from(returned.ok_or(NoResults)?);
        // SAFETY: it stays where it is until its store is dropped, and nobody uses its values; the function has left as many, of
        // these types.
        unsafe {
            let values = &*computation.as_ref().values();
            let mut buffer: TypedBuffer = [MaybeUninit::uninit(); _];
            for (place, value) in buffer.iter_mut().zip(values) {
                place.write(*value);
            }
            computation.as_ref().forget_results();
            Ok(R::lift_all(self.inner_mut(), &buffer))
        }
    }

    /// Ends the suspended computation, if there is one: the host call that suspended it returns [`Cancelled`], and so does every
    /// further attempt to suspend it or to enter a guest in it; its guests do not continue.
    ///
    /// # Panics
    /// When a host function or destructor in it panics, after it has ended.
    pub fn cancel(&mut self) {
        self.end(End::Cancel);
    }

    fn end(&mut self, how: End) {
        // SAFETY: the store is borrowed for change.
        unsafe { computation::end(self.as_ptr(), how) }
    }

    /// Is a computation suspended?
    pub fn is_suspended(&self) -> bool {
        self.as_ref().is_suspended()
    }

    /// Suspends the computation around the host function that calls this, hands `value` to whoever drives it, and returns what
    /// it is resumed with: a value of the type in `expects`, or `None` if that is `None`.
    ///
    /// The computation may be resumed on another thread: see the module's documentation for what a host function must not keep.
    ///
    /// # Errors
    /// [`CannotSuspend`].
    #[inline(always)]
    pub fn yield_now(
        &mut self,
        value: Option<YieldValue>,
        expects: Option<Expects>,
    ) -> Result<Option<YieldValue>, CannotSuspend> {
        let yielded = Yielded { value, expects };
        // SAFETY: the store is borrowed for change, so no other reference to it is alive.
        unsafe { Execution::suspend_yielding(self.as_ptr().cast(), yielded) }
    }
}

impl<T: 'static> StoreMut<'_, T> {
    /// For host functions that take long: does what other threads and clocks have asked for since the guest called, as far as
    /// that can be done from here.
    ///
    /// The computation may be suspended and resumed on another thread, as by [`yield_now`](Self::yield_now).
    ///
    /// # Errors
    /// Why the guest shall end. The host function should return.
    #[inline]
    pub fn heed_requests(&mut self) -> Result<()> {
        // SAFETY: the store is borrowed for change, so no other reference to it is alive.
        unsafe { interrupt::look_in_host(self.as_ptr().cast()) }
    }
}

/// What a resumption led to that was no yield: what it returns, or the payload of a panic.
pub type Halt = std::thread::Result<Result<Progress>>;

#[cold]
#[inline(never)]
fn refused(error: Error) -> Box<Halt> {
    Box::new(Ok(Err(error)))
}

/// # Safety
/// As for [`computation::progress`].
#[cold]
#[inline(never)]
unsafe fn halted(
    store: NonNull<StoreInner>,
    computation: NonNull<Computation>,
    driven: Driven,
) -> Box<Halt> {
    // SAFETY: the caller's promises are the same.
    let progress = || unsafe { computation::progress(store, computation, driven) };
    Box::new(catch_unwind(AssertUnwindSafe(progress)))
}

impl<T: 'static> StoreRef<'_, T> {
    /// Is a computation suspended?
    pub fn is_suspended(&self) -> bool {
        self.inner().execution().computations().is_blocked()
    }
}
