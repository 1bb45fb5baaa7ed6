//! Suspending a computation, and resuming, cancelling or abandoning it.

use crate::activation::Execution;
use crate::error::Result;
use crate::func::TypedHandle;
use crate::store::{FuncHandle, StoreMut};
use crate::values::{AbiValues, Value};
use std::any::{Any, TypeId};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// A value that crosses a suspension, in either direction.
pub type YieldValue = Box<dyn Any + Send>;

/// The type of value that a suspended computation expects: its identity, and its name for messages.
pub type Expects = (TypeId, &'static str);

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
    /// It is being cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
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

impl Execution {
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
        let _ = (execution, why);
        todo!()
    }

    /// Suspends the computation whose guest was interrupted at any instruction. Runs on any stack that stays as it is
    /// until the computation is resumed. A plain call is suspended, too: its driver asks the interruption handler what to do
    /// and resumes it.
    ///
    /// `registers` is where the guest's registers were saved: a collection takes every half-word there for a reference.
    ///
    /// # Errors
    /// Why the guest must be raised: it was cancelled, or the interruption handler failed.
    ///
    /// # Safety
    /// The thread's current activation is this store's innermost.
    pub(crate) unsafe fn suspend_interrupted(
        execution: NonNull<Execution>,
        why: Interruption,
        registers: Range<usize>,
    ) -> Result<()> {
        let _ = (execution, why, registers);
        todo!()
    }
}

impl<T: 'static> StoreMut<'_, T> {
    /// Begins a computation that can be suspended: calls a function. From a host function this begins one inside the one that
    /// runs.
    ///
    /// # Errors
    /// As [`call`](StoreMut::call), and [`StoreSuspended`].
    ///
    /// # Panics
    /// With the payload of a host function that panicked.
    pub fn start(&mut self, func: FuncHandle, args: &[Value]) -> Result<Progress> {
        let _ = (func, args);
        todo!()
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
        let _ = (func, params);
        todo!()
    }

    /// [`start`](Self::start) with a function of the host that runs on the guest stack. It has no results to take.
    ///
    /// # Errors
    /// [`StoreSuspended`], or what `body` returns.
    pub fn start_with(&mut self, body: ComputationBody<T>) -> Result<Progress> {
        let _ = body;
        todo!()
    }

    /// Resumes the suspended computation. The value is checked before anything runs.
    ///
    /// # Errors
    /// [`ResumeError`]: then nothing happened. Otherwise as [`call`](StoreMut::call), and the computation is over.
    ///
    /// # Panics
    /// With the payload of a host function that panicked.
    pub fn resume(&mut self, value: Option<YieldValue>) -> Result<Progress> {
        let _ = value;
        todo!()
    }

    /// Takes the results of the computation that has [returned](Progress::Returned); references are rooted in the current
    /// scope.
    ///
    /// # Errors
    /// [`NoResults`], or [`CallError`](crate::CallError) when there are not as many places: then they can still be taken.
    pub fn take_results(&mut self, results: &mut [Value]) -> Result<()> {
        let _ = results;
        todo!()
    }

    /// [`take_results`](Self::take_results) of a function whose type was checked.
    ///
    /// # Errors
    /// [`NoResults`], also when they are another function's.
    pub fn take_typed_results<P: AbiValues, R: AbiValues>(
        &mut self,
        func: &TypedHandle<P, R>,
    ) -> Result<R, NoResults> {
        let _ = func;
        todo!()
    }

    /// Ends the suspended computation, if there is one: the host call that suspended it returns [`Cancelled`], and so does every
    /// further attempt to suspend it or to enter a guest in it; its guests do not continue.
    ///
    /// # Panics
    /// When a host function or destructor in it panics, after it has ended, unless this thread is panicking already.
    pub fn cancel(&mut self) {
        todo!()
    }

    /// Is a computation suspended?
    pub fn is_suspended(&self) -> bool {
        todo!()
    }

    /// Why it is suspended, and what it expects: `None` if nothing is.
    pub fn suspended_expects(&self) -> Option<Option<Expects>> {
        todo!()
    }

    /// Suspends the computation around the host function that calls this, hands `value` to whoever drives it, and returns what
    /// it is resumed with: a value of the type in `expects`, or `None` if that is `None`.
    ///
    /// # Errors
    /// [`CannotSuspend`].
    pub fn yield_now(
        &mut self,
        value: Option<YieldValue>,
        expects: Option<Expects>,
    ) -> Result<Option<YieldValue>, CannotSuspend> {
        let _ = (value, expects);
        todo!()
    }

    /// Waits for the future that `make` returns, which may use the store. While it is pending the computation is suspended.
    ///
    /// # Errors
    /// [`CannotSuspend`]: `NoTask` before `make` is called, `Cancelled` after the future was dropped.
    pub fn await_future<R>(
        &mut self,
        make: impl for<'b> FnOnce(StoreMut<'b, T>) -> HostFuture<'b, R>,
    ) -> Result<R, CannotSuspend> {
        let _ = make;
        todo!()
    }
}

/// What a [`CallFuture`] does when it is polled first.
enum Begin<T: 'static> {
    Call(FuncHandle, Vec<Value>),
    Body(ComputationBody<T>),
    Resume(Option<YieldValue>),
    Begun,
}

/// A computation driven by polling. Nothing runs before the first poll.
///
/// It ends with [`Progress::Returned`], or with [`Progress::Suspended`] when a host function yields: the computation may then
/// be resumed like any other. Waiting host functions make it pending; so do fuel and interruptions, after waking the task.
///
/// Dropped before its end, it [cancels](StoreMut::cancel) the computation. Forgotten before its end, it leaves a computation that
/// nobody can ever resume, because what runs in it may have borrowed from the store: cancelling it, or dropping the store,
/// leaks its stack and what lies there.
pub struct CallFuture<'a, T: 'static> {
    store: StoreMut<'a, T>,
    begin: Begin<T>,
}

impl<'a, T: 'static> CallFuture<'a, T> {
    /// Calls a function. Its results are in the store when the future is done.
    pub fn call(store: StoreMut<'a, T>, func: FuncHandle, args: &[Value]) -> Self {
        CallFuture {
            store,
            begin: Begin::Call(func, args.to_vec()),
        }
    }

    /// Calls a function of the host on the guest stack.
    pub fn run(store: StoreMut<'a, T>, body: ComputationBody<T>) -> Self {
        CallFuture {
            store,
            begin: Begin::Body(body),
        }
    }

    /// Resumes a suspended computation.
    pub fn resume(store: StoreMut<'a, T>, value: Option<YieldValue>) -> Self {
        CallFuture {
            store,
            begin: Begin::Resume(value),
        }
    }

    /// The store.
    pub fn store(&mut self) -> StoreMut<'_, T> {
        self.store.reborrow()
    }
}

impl<T: 'static> Future for CallFuture<'_, T> {
    type Output = Result<Progress>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let _ = (context, &self.begin);
        todo!()
    }
}
