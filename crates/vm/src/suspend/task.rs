//! Waiting for futures on a guest stack, and polling a computation as a future.

use super::computation::{self, Computation, Driven, End, Entry, Why};
use super::{
    Cancelled, CannotSuspend, ComputationBody, HostFuture, Progress, ResumeError, Suspension,
    YieldValue,
};
use crate::activation::{EnterError, Execution};
use crate::error::Result;
use crate::func;
use crate::store::{FuncHandle, StoreMut};
use crate::sys::altstack;
use crate::values::Value;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};

/// A future that is being polled on a guest stack.
///
/// While it is, the computation may be suspended (by something that the future calls). Then the task that polls is over, but
/// the future goes on using the context it was given; so that context is one made here, and the waker in it is made to last.
pub(super) struct PollFrame {
    /// A copy of the task's, without its share until `kept`.
    waker: ManuallyDrop<Waker>,
    /// Has the waker a share of its own? Then the computation has been suspended since the frame was made.
    kept: Cell<bool>,
    outer: *const PollFrame,
}

impl PollFrame {
    /// # Safety
    /// `waker` is valid until the frame is dropped, or [`keep_wakers`](Self::keep_wakers) has been called.
    unsafe fn new(waker: *const Waker, outer: *const PollFrame) -> PollFrame {
        PollFrame {
            // SAFETY: as the caller says. A copy that is not dropped does not count as another waker.
            waker: ManuallyDrop::new(unsafe { waker.read() }),
            kept: Cell::new(false),
            outer,
        }
    }

    /// Gives all these wakers a share of their own.
    #[inline]
    pub(super) fn keep_wakers(mut frame: *const PollFrame) {
        // SAFETY: frames are in the list while they are on the stack.
        while let Some(this) = unsafe { frame.as_ref() } {
            if !this.kept.replace(true) {
                std::mem::forget(Waker::clone(&this.waker));
            }
            frame = this.outer;
        }
    }
}

impl Drop for PollFrame {
    fn drop(&mut self) {
        if self.kept.get() {
            // SAFETY: it has a share of its own, which nobody else gives up.
            unsafe { ManuallyDrop::drop(&mut self.waker) };
        }
    }
}

/// Takes the innermost frame out of its list when dropped, by a panic too.
struct Listed<'a> {
    list: &'a Cell<*const PollFrame>,
    outer: *const PollFrame,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.list.set(self.outer);
    }
}

impl<T: 'static> StoreMut<'_, T> {
    /// Waits for the future that `make` returns, which may use the store. While it is pending the computation is suspended.
    ///
    /// # Errors
    /// [`CannotSuspend`]: `NoTask` before `make` is called, `Cancelled` after the future was dropped.
    #[inline]
    pub fn await_future<R>(
        &mut self,
        make: impl for<'b> FnOnce(StoreMut<'b, T>) -> HostFuture<'b, R>,
    ) -> Result<R, CannotSuspend> {
        let execution: NonNull<Execution> = self.as_ptr().cast();
        let computation = {
            // SAFETY: the execution is the store's first part; the reference ends with this block.
            let computation = unsafe { execution.as_ref() }.suspendable()?;
            if computation.waker().is_null() {
                return Err(CannotSuspend::NoTask);
            }
            NonNull::from(computation)
        };
        // SAFETY: it lives as long as it runs, and changes behind shared references only.
        let this = unsafe { &*computation.as_ptr() };
        let mut future = make(self.reborrow());
        loop {
            let waker = this.waker();
            if waker.is_null() {
                return Err(CannotSuspend::NoTask);
            }
            let (poll, suspended) = {
                let outer = this.polls().get();
                // SAFETY: the task's waker is valid until the computation is suspended, which calls `keep_wakers`.
                let frame = unsafe { PollFrame::new(waker, outer) };
                this.polls().set(&raw const frame);
                let _listed = Listed {
                    list: this.polls(),
                    outer,
                };
                let poll = future.as_mut().poll(&mut Context::from_waker(&frame.waker));
                (poll, frame.kept.get())
            };
            match poll {
                Poll::Ready(value) => return Ok(value),
                // It has been suspended meanwhile, and there is another task now that the future does not know.
                Poll::Pending if suspended => {}
                Poll::Pending => {
                    // What the future did may have ended the right to suspend.
                    // SAFETY: as above; no reference to the store is alive but in the future, which nobody uses meanwhile.
                    unsafe { Execution::suspend(execution, Why::Awaiting)? };
                }
            }
        }
    }
}

/// What a [`CallFuture`] does when it is polled next.
enum Next<T: 'static> {
    Call(FuncHandle, Vec<Value>),
    Body(ComputationBody<T>),
    Resume(Option<YieldValue>),
    /// Polls the computation again.
    Poll,
    /// Nothing: it is done.
    Done,
}

/// A computation driven by polling. Nothing runs before the first poll.
///
/// It ends with [`Progress::Returned`], or with [`Progress::Suspended`] when a host function yields: the computation may then
/// be resumed like any other. (Polled by a host function inside another computation, it suspends that with what was yielded
/// instead.) Waiting host functions make it pending; so do fuel and interruptions, after waking the task.
///
/// Dropped before its end, it [cancels](StoreMut::cancel) the computation. Forgotten before its end, it leaves a computation that
/// nobody can ever resume, because what waits in it may have borrowed from the store: cancelling it, or dropping the store,
/// leaks its stack and what lies there.
pub struct CallFuture<'a, T: 'static> {
    store: StoreMut<'a, T>,
    next: Next<T>,
}

impl<'a, T: 'static> CallFuture<'a, T> {
    /// Calls a function. Its results are in the store when the future is done.
    pub fn call(store: StoreMut<'a, T>, func: FuncHandle, args: &[Value]) -> Self {
        CallFuture {
            store,
            next: Next::Call(func, args.to_vec()),
        }
    }

    /// Calls a function of the host on the guest stack.
    pub fn run(store: StoreMut<'a, T>, body: ComputationBody<T>) -> Self {
        CallFuture {
            store,
            next: Next::Body(body),
        }
    }

    /// Resumes a suspended computation.
    pub fn resume(store: StoreMut<'a, T>, value: Option<YieldValue>) -> Self {
        CallFuture {
            store,
            next: Next::Resume(value),
        }
    }

    /// The store: to take the results when the future is done.
    pub fn store(&mut self) -> StoreMut<'_, T> {
        self.store.reborrow()
    }

    /// Drives the computation once.
    fn advance(&mut self, waker: &Waker) -> Result<Progress> {
        let store = self.store.as_ptr();
        match std::mem::replace(&mut self.next, Next::Poll) {
            Next::Call(func, args) => {
                let ty = self.store.inner().func_type(func)?;
                // SAFETY: the store is borrowed for change; the arguments are checked against the function's type.
                unsafe {
                    computation::start::<T>(
                        store,
                        Entry::Func(func),
                        |store, values| func::lower_args(store, &ty, &args, values),
                        Some(waker),
                    )
                }
            }
            Next::Body(body) => {
                // SAFETY: the store is borrowed for change; there are no values.
                unsafe { computation::start(store, Entry::Body(body), |_, _| Ok(()), Some(waker)) }
            }
            Next::Resume(value) => {
                let suspended = self.store.check_resume(value.as_ref())?;
                // SAFETY: the store is borrowed for change; the computation is suspended and the thread prepared.
                unsafe {
                    suspended.as_ref().put_value(value);
                    let driven = computation::drive(store, suspended, Some(waker));
                    computation::progress(store, suspended, driven)
                }
            }
            Next::Poll => {
                let suspended = self.store.inner().execution().computations().suspended();
                let Some(suspended) = suspended.map(NonNull::from) else {
                    return Err(ResumeError::NotSuspended.into());
                };
                altstack::prepare_thread().map_err(EnterError::Thread)?;
                // SAFETY: the store is borrowed for change, and has been since this future suspended the computation.
                unsafe {
                    let driven = computation::drive(store, suspended, Some(waker));
                    computation::progress(store, suspended, driven)
                }
            }
            Next::Done => Err(ResumeError::NotSuspended.into()),
        }
    }

    /// The computation that this future has begun, if it is to be polled again, and may be by this thread.
    #[inline(always)]
    fn polled(&self) -> Option<NonNull<Computation>> {
        let Next::Poll = self.next else { return None };
        let computations = self.store.inner().execution().computations();
        if computations.is_cancelling() || !altstack::is_prepared() {
            return None;
        }
        computations.suspended().map(NonNull::from)
    }

    /// What to do about what was driven, when it does not just wait.
    fn settle(
        &mut self,
        mut progress: Result<Progress>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Progress>> {
        loop {
            match progress {
                Ok(Progress::Suspended(Suspension::Awaiting)) => return Poll::Pending,
                Ok(Progress::Suspended(Suspension::OutOfFuel | Suspension::Interrupted(_))) => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(Progress::Suspended(Suspension::Yielded(yielded))) => {
                    let execution: NonNull<Execution> = self.store.as_ptr().cast();
                    // SAFETY: the execution is the store's first part; the reference ends with its statement.
                    if unsafe { execution.as_ref() }.suspendable().is_err() {
                        self.next = Next::Done;
                        return Poll::Ready(Ok(Progress::Suspended(Suspension::Yielded(yielded))));
                    }
                    // SAFETY: no reference to the store is alive.
                    match unsafe { Execution::suspend_yielding(execution, yielded) } {
                        Ok(value) => self.next = Next::Resume(value),
                        // Being dropped, this cancels what it polled.
                        Err(error) => return Poll::Ready(Err(error.into())),
                    }
                }
                done => {
                    self.next = Next::Done;
                    return Poll::Ready(done);
                }
            }
            progress = self.advance(context.waker());
        }
    }

    /// # Safety
    /// As for [`computation::progress`].
    #[cold]
    #[inline(never)]
    unsafe fn settle_driven(
        &mut self,
        computation: NonNull<Computation>,
        driven: Driven,
        context: &mut Context<'_>,
    ) -> Poll<Result<Progress>> {
        // SAFETY: the caller's promises are the same.
        let progress = unsafe { computation::progress(self.store.as_ptr(), computation, driven) };
        self.settle(progress, context)
    }

    /// [`poll`](Future::poll) when the computation cannot just be polled.
    #[cold]
    #[inline(never)]
    fn poll_slowly(&mut self, context: &mut Context<'_>) -> Poll<Result<Progress>> {
        let computations = self.store.inner().execution().computations();
        if computations.is_cancelling() {
            return Poll::Ready(Err(Cancelled.into()));
        }
        let progress = self.advance(context.waker());
        self.settle(progress, context)
    }
}

impl<T: 'static> Future for CallFuture<'_, T> {
    type Output = Result<Progress>;

    /// What happens when it is pending again goes into the caller: see `arch::switch`.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(computation) = this.polled() else {
            return this.poll_slowly(context);
        };
        let store = this.store.as_ptr();
        // SAFETY: the store is borrowed for change, and has been since this future suspended the computation, which stays where it is
        // until its store is dropped. The thread is prepared.
        unsafe {
            let driven = computation::drive(store, computation, Some(context.waker()));
            if driven != Driven::Suspended(Why::Awaiting) {
                return this.settle_driven(computation, driven, context);
            }
        }
        Poll::Pending
    }
}

impl<T: 'static> Drop for CallFuture<'_, T> {
    fn drop(&mut self) {
        if let Next::Poll = self.next {
            let computations = self.store.inner().execution().computations();
            let awaiting = computations
                .suspended()
                .is_some_and(|one| one.is_awaiting());
            self.store.end(if awaiting {
                End::CancelPolled
            } else {
                End::Cancel
            });
        }
    }
}

impl<T: 'static> fmt::Debug for CallFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
