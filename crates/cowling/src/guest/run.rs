//! Running and resuming a guest, synchronously and asynchronously: one way in, one way out.
//!
//! ```text
//!   run, run_func_idx, run_typed, run_for, run_start ─┐                       ┌─ returned   ── results ── Ready
//!                                                     ├─ begin ─> step ─> settle ─ suspended ── why ────── Yielded, ...
//!   resume, resume_with_val ──────────────────────────┘                       └─ failed     ── why ────── Faulted, Terminated
//!   run_async, resume_async ─ the same, with `step` polled
//! ```
//!
//! Whether an operation is allowed is decided before `step`, from the state alone; [`settle`](Guest::settle) decides which comes
//! next. `Running` is a state only where somebody may see it: while the future of an asynchronous run lives.
//!
//! A resumption that leads to another yield, as nearly all do, takes none of these ways but goes into the caller as a whole.

use super::error::GuestError;
use super::fault::{self, FaultAction, FaultDetails};
use super::state::State;
use super::termination::{Payload, TerminationDetails};
use super::{Guest, access};
use crate::backtrace;
use crate::error::{CallError, Error, Result, TypeMismatch};
use crate::externs::Extern;
use crate::func::{Func, WasmParams, WasmResults};
use crate::instance::Instance;
use crate::store::{AsContext, StoreData};
use crate::val::{Val, Values};
use cowling_vm::{
    CallFuture, EnterError, Expects, FuncHandle, Halt, Progress, ResumeError, StoreMut,
    StoreSuspended, Suspension, Value, Yielded,
};
use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};
use std::{mem, thread};

/// How a run went that neither faulted nor was terminated.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunResult<R = Vec<Val>> {
    /// The function returned this.
    Returned(R),
    /// A host function yielded; the guest waits to be resumed.
    Yielded(YieldedValue),
    /// The guest was interrupted; it waits to be resumed.
    Preempted,
    /// The guest has executed as much as it may in one stretch; it waits to be resumed.
    BoundExpired,
}

impl<R> RunResult<R> {
    /// What the function returned, if it did.
    pub fn returned(self) -> Option<R> {
        match self {
            RunResult::Returned(results) => Some(results),
            _ => None,
        }
    }

    /// What a host function yielded, if one did.
    pub fn yielded(self) -> Option<YieldedValue> {
        match self {
            RunResult::Yielded(value) => Some(value),
            _ => None,
        }
    }
}

/// What a host function yielded.
#[derive(Debug)]
pub struct YieldedValue(Yielded);

impl YieldedValue {
    /// Was no value yielded?
    pub fn is_none(&self) -> bool {
        self.0.value.is_none()
    }

    /// Was a value of this type yielded?
    pub fn is<A: Any>(&self) -> bool {
        self.downcast_ref::<A>().is_some()
    }

    /// The value, if one of this type was yielded.
    pub fn downcast_ref<A: Any>(&self) -> Option<&A> {
        self.0.value.as_ref()?.downcast_ref()
    }

    /// The value, if one of this type was yielded.
    ///
    /// # Errors
    /// Gives it back if another one was, or none.
    pub fn downcast<A: Any>(mut self) -> Result<Box<A>, YieldedValue> {
        match self.0.value.take().map(|value| value.downcast()) {
            Some(Ok(value)) => Ok(value),
            Some(Err(value)) => {
                self.0.value = Some(value);
                Err(self)
            }
            None => Err(self),
        }
    }

    /// Does the host function want to be resumed with a value of this type?
    pub fn expects<V: Any>(&self) -> bool {
        self.0
            .expects
            .is_some_and(|expects| expects == Expects::of::<V>())
    }

    /// Name of the type of the value that the host function wants to be resumed with.
    pub fn expected_type(&self) -> Option<&'static str> {
        self.0.expects.map(Expects::name)
    }
}

/// What a guest remembers of a run that is under way.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// How many results it will have.
    results: usize,
    /// Is it the start function's?
    is_start: bool,
    /// Does the store's deadline go with it?
    has_deadline: bool,
    /// Has it a bound of its own?
    has_bound: bool,
}

impl<T: 'static> Guest<T> {
    // --- the ways in ---

    /// Runs an exported function.
    ///
    /// # Errors
    /// [`UnknownExport`](GuestError::UnknownExport), [`NotAFunction`](GuestError::NotAFunction), [`Call`](GuestError::Call) for
    /// arguments that do not fit; [`NotStarted`](GuestError::NotStarted), [`Suspended`](GuestError::Suspended),
    /// [`NeedsReset`](GuestError::NeedsReset) when the guest's state does not allow it; [`Faulted`](GuestError::Faulted) and
    /// [`Terminated`](GuestError::Terminated) when the run was not to the end.
    pub fn run(&mut self, name: &str, args: &[Val]) -> Result<RunResult, GuestError> {
        let func = self.runnable(name)?;
        self.begin(func, args)
    }

    /// Runs the function at `index` of a table, which is named by its own index in the module.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`UnknownTable`](GuestError::UnknownTable), [`TableIndex`](GuestError::TableIndex) or
    /// [`NullElement`](GuestError::NullElement) instead of what is about exports.
    pub fn run_func_idx(
        &mut self,
        table: u32,
        index: u64,
        args: &[Val],
    ) -> Result<RunResult, GuestError> {
        self.state.check_run()?;
        let instance = self.instance_handle();
        let func = access::table_func(self.store.vm_mut().inner_mut(), instance, table, index)?;
        self.begin(func, args)
    }

    /// Runs an exported function with Rust types. When it is suspended, what it returns after being resumed comes as [`Val`]s.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`Type`](GuestError::Type) when the function is of another type.
    pub fn run_typed<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &str,
        params: P,
    ) -> Result<RunResult<R>, GuestError> {
        self.state.check_run()?;
        let func = self.export(name)?;
        let handle = self.store.vm_mut().typed::<P::Abi, R::Abi>(func.to_vm())?;
        self.run.results = self.result_count(handle.func())?;
        let params = params.into_abi();
        self.step(
            |store| store.start_typed(&handle, params),
            |store| Ok(R::from_abi(store.take_typed_results(&handle)?)),
        )
    }

    /// Runs an exported function, and terminates it with [`TerminationDetails::Deadline`] when that much time has passed. Time
    /// during which it is suspended counts. Replaces the deadline that [`set_deadline`](Self::set_deadline) has set.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`Runtime`](GuestError::Runtime) when the timer cannot be started.
    pub fn run_for(
        &mut self,
        time: Duration,
        name: &str,
        args: &[Val],
    ) -> Result<RunResult, GuestError> {
        let func = self.runnable(name)?;
        // Later than any clock goes is never.
        self.set_deadline(Instant::now().checked_add(time))?;
        self.run.has_deadline = true;
        self.begin(func, args)
    }

    /// Runs the start function. Does nothing if there is none.
    ///
    /// # Errors
    /// [`AlreadyStarted`](GuestError::AlreadyStarted) when it has run since the guest was made or reset.
    /// [`StartYielded`](GuestError::StartYielded) when a host function yields; then, and when it faults, the guest has to be
    /// reset. Otherwise as [`run`](Self::run).
    pub fn run_start(&mut self) -> Result<(), GuestError> {
        let Some(start) = self.start else {
            return Ok(());
        };
        if self.state != State::NotStarted {
            return Err(GuestError::AlreadyStarted);
        }
        self.run.is_start = true;
        let mut result = self.begin(start, &[]);
        loop {
            match result {
                Ok(RunResult::Preempted | RunResult::BoundExpired) => result = self.resume(),
                Ok(RunResult::Yielded(_)) => {
                    self.cancel();
                    return Err(GuestError::StartYielded);
                }
                other => return other.map(drop),
            }
        }
    }

    /// Resumes a guest that expects no value.
    ///
    /// # Errors
    /// [`Resume`](GuestError::Resume) when it is not suspended or expects a value: it is as it was then. Otherwise as
    /// [`run`](Self::run).
    // Into the caller, with everything that happens when a host function yields again: see `StoreMut::resume_to_yield`.
    #[inline(always)]
    pub fn resume(&mut self) -> Result<RunResult, GuestError> {
        self.check_resume()?;
        self.continue_with(None)
    }

    /// Resumes a guest that expects a value of this type.
    ///
    /// # Errors
    /// [`Resume`](GuestError::Resume) when it is not suspended, expects no value or one of another type: it is as it was then,
    /// and the value is gone. Otherwise as [`run`](Self::run).
    #[inline(always)]
    pub fn resume_with_val<V: Any + Send>(&mut self, value: V) -> Result<RunResult, GuestError> {
        self.check_resume()?;
        self.continue_with(Some(Box::new(value)))
    }

    /// Runs an exported function; asynchronous host functions that it calls may wait, and the guest yields to the executor when
    /// its quantum is over, or each time it has executed another `bound` instructions. Without a bound of its own the run has that of
    /// [`set_bound`](Self::set_bound).
    ///
    /// When a host function yields, the future is ready with [`RunResult::Yielded`]. Dropping the future before it is ready
    /// terminates the guest.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`Fuel`](GuestError::Fuel) for a bound when the engine's code does not count.
    pub async fn run_async(
        &mut self,
        name: &str,
        args: &[Val],
        bound: Option<u64>,
    ) -> Result<RunResult, GuestError>
    where
        T: Send,
    {
        let func = self.runnable(name)?;
        if bound.is_some() {
            self.set_interval(bound)?;
            self.run.has_bound = true;
        }
        let args: Values<Value> = args.iter().map(|v| v.to_vm()).collect();
        self.run.results = self.result_count(func.to_vm())?;
        self.step_async(|store| CallFuture::call(store, func.to_vm(), &args))
            .await
    }

    /// [`resume`](Self::resume) in the manner of [`run_async`](Self::run_async).
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    pub async fn resume_async(&mut self) -> Result<RunResult, GuestError>
    where
        T: Send,
    {
        self.check_resume()?;
        self.step_async(|store| CallFuture::resume(store, None))
            .await
    }

    /// [`resume_with_val`](Self::resume_with_val) in the manner of [`run_async`](Self::run_async).
    ///
    /// # Errors
    /// As [`resume_with_val`](Self::resume_with_val).
    pub async fn resume_with_val_async<V: Any + Send>(
        &mut self,
        value: V,
    ) -> Result<RunResult, GuestError>
    where
        T: Send,
    {
        self.check_resume()?;
        self.step_async(|store| CallFuture::resume(store, Some(Box::new(value))))
            .await
    }

    // --- before ---

    /// An exported function, if the guest may run one now.
    fn runnable(&mut self, name: &str) -> Result<Func, GuestError> {
        self.state.check_run()?;
        self.export(name)
    }

    fn export(&mut self, name: &str) -> Result<Func, GuestError> {
        let instance = self.instance;
        match instance.and_then(|instance| instance.get_export(&mut self.store, name)) {
            Some(Extern::Func(func)) => Ok(func),
            Some(other) => Err(GuestError::NotAFunction {
                name: name.to_string(),
                ty: other.ty(&self.store),
            }),
            None => Err(GuestError::UnknownExport {
                name: name.to_string(),
            }),
        }
    }

    fn result_count(&mut self, func: FuncHandle) -> Result<usize, GuestError> {
        let ty = self.store.as_context().inner().func_type(func);
        Ok(ty.map_err(TypeMismatch::from)?.results.len())
    }

    /// Is the guest suspended? Whether it wants a value is the runtime's to check.
    #[inline(always)]
    fn check_resume(&self) -> Result<(), ResumeError> {
        match self.state.is_suspended() {
            true => Ok(()),
            false => Err(ResumeError::NotSuspended),
        }
    }

    // --- the step ---

    fn begin(&mut self, func: Func, args: &[Val]) -> Result<RunResult, GuestError> {
        let args: Values<Value> = args.iter().map(|v| v.to_vm()).collect();
        self.run.results = self.result_count(func.to_vm())?;
        self.step_dynamic(|store| store.start(func.to_vm(), &args))
    }

    /// Resumes the guest with a value that it expects, or none.
    #[inline(always)]
    fn continue_with(
        &mut self,
        value: Option<Box<dyn Any + Send>>,
    ) -> Result<RunResult, GuestError> {
        match self.store.vm_mut().resume_to_yield(value) {
            Ok(yielded) => Ok(self.yielded(yielded)),
            Err(halt) => *self.halted(halt),
        }
    }

    /// [`settle`](Self::settle) of a resumption that did not just lead to another yield. In a box, so that what it leads to
    /// otherwise need not be in memory.
    #[cold]
    #[inline(never)]
    #[expect(
        clippy::boxed_local,
        reason = "it comes in a box, which is taken apart where nobody is in a hurry"
    )]
    fn halted(&mut self, halt: Box<Halt>) -> Box<Result<RunResult, GuestError>> {
        let results = self.run.results;
        Box::new(self.settle(*halt, |store| take_results(store, results)))
    }

    fn step_dynamic(
        &mut self,
        step: impl FnOnce(&mut StoreMut<'_, StoreData<T>>) -> Result<Progress>,
    ) -> Result<RunResult, GuestError> {
        let results = self.run.results;
        self.step(step, |store| take_results(store, results))
    }

    fn step<R>(
        &mut self,
        step: impl FnOnce(&mut StoreMut<'_, StoreData<T>>) -> Result<Progress>,
        results: impl FnOnce(&mut StoreMut<'_, StoreData<T>>) -> Result<R>,
    ) -> Result<RunResult<R>, GuestError> {
        let mut store = self.store.vm_mut();
        // A panic of a host function's ends this guest, not the embedder.
        let outcome = catch_unwind(AssertUnwindSafe(|| step(&mut store)));
        self.settle(outcome, results)
    }

    async fn step_async(
        &mut self,
        call: impl for<'s> FnOnce(StoreMut<'s, StoreData<T>>) -> CallFuture<'s, StoreData<T>>,
    ) -> Result<RunResult, GuestError> {
        let before = mem::replace(&mut self.state, State::Running);
        let outcome = {
            let unfinished = Unfinished(&mut self.state);
            let mut call = call(self.store.vm_mut());
            let outcome = poll_fn(|context| {
                let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut call).poll(context)));
                match polled {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(progress)) => Poll::Ready(Ok(progress)),
                    Err(panic) => Poll::Ready(Err(panic)),
                }
            })
            .await;
            mem::forget(unfinished);
            outcome
        };
        self.state = before;
        let results = self.run.results;
        self.settle(outcome, |store| take_results(store, results))
    }

    // --- after ---

    /// Brings the guest to the state where a step has led: the one it was in before if the step was refused.
    fn settle<R>(
        &mut self,
        outcome: thread::Result<Result<Progress>>,
        results: impl FnOnce(&mut StoreMut<'_, StoreData<T>>) -> Result<R>,
    ) -> Result<RunResult<R>, GuestError> {
        match outcome {
            Ok(Ok(Progress::Returned)) => {
                self.end(State::Ready);
                let results = results(&mut self.store.vm_mut()).map_err(GuestError::Runtime)?;
                Ok(RunResult::Returned(results))
            }
            Ok(Ok(Progress::Suspended(why))) => self.suspended(why),
            Ok(Err(error)) => match refused(error) {
                Ok(refusal) => {
                    if !self.state.is_suspended() {
                        self.end_run();
                    }
                    Err(refusal)
                }
                Err(error) => Err(self.failed(error)),
            },
            Err(panic) => {
                self.end(State::Terminated);
                let details = TerminationDetails::OtherPanic(Payload::new(panic));
                Err(GuestError::Terminated(details))
            }
        }
    }

    fn suspended<R>(&mut self, why: Suspension) -> Result<RunResult<R>, GuestError> {
        let (state, result) = match why {
            Suspension::Yielded(yielded) => return Ok(self.yielded(yielded)),
            Suspension::Interrupted(_) => (State::Preempted, RunResult::Preempted),
            Suspension::OutOfFuel => (State::BoundExpired, RunResult::BoundExpired),
            Suspension::Awaiting => {
                self.cancel();
                let details = TerminationDetails::BlockOnNeedsAsync;
                return Err(GuestError::Terminated(details));
            }
        };
        self.state = state;
        Ok(result)
    }

    /// A host function has yielded.
    #[inline(always)]
    fn yielded<R>(&mut self, yielded: Yielded) -> RunResult<R> {
        self.state = match yielded.expects {
            None => State::Yielded { expects: None },
            Some(expects) => State::Yielded {
                expects: Some(expects.name()),
            },
        };
        RunResult::Yielded(YieldedValue(yielded))
    }

    /// The run has failed: what that means for the guest, and what whoever ran it gets to know.
    fn failed(&mut self, error: Error) -> GuestError {
        let is_start = self.run.is_start;
        self.end(State::Terminated);
        let Some(details) = FaultDetails::of(&error).map(Box::new) else {
            return GuestError::Terminated(TerminationDetails::of(error));
        };
        let fatal = details.is_fatal();
        self.state = State::Faulted {
            recoverable: !fatal && !is_start,
        };
        self.fault = Some(details.clone());
        if fatal {
            fault::fatal(&details);
        } else if let Some(handler) = &self.fault_handler {
            let instance = self.instance.map(Instance::to_vm);
            let action = handler.settle(self.store.vm_mut(), instance, &details);
            if let FaultAction::Terminate(payload) = action {
                self.state = State::Terminated;
                let details = TerminationDetails::Provided(Payload::new(payload));
                return GuestError::Terminated(details);
            }
        }
        GuestError::Faulted(details)
    }

    /// Ends the suspended run.
    pub(super) fn cancel(&mut self) {
        self.end(State::Terminated);
        self.store.vm_mut().cancel();
    }

    /// The run is over, and the guest in this state.
    pub(super) fn end(&mut self, state: State) {
        self.state = state;
        self.fault = None;
        self.end_run();
    }

    /// Forgets what is only about the run that was under way.
    fn end_run(&mut self) {
        let run = mem::take(&mut self.run);
        if run.has_deadline {
            // Taking a deadline back needs no timer, so it cannot fail.
            drop(self.store.vm_mut().set_deadline(None));
        }
        if run.has_bound {
            // It could be set, so it can be set back.
            let _could = self.set_interval(self.bound);
        }
    }
}

/// Terminates the guest of an asynchronous run that is dropped before its end.
struct Unfinished<'a>(&'a mut State);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        *self.0 = State::Terminated;
    }
}

/// The error for a step that was refused before anything ran.
///
/// # Errors
/// Gives the error back if it is another one.
fn refused(error: Error) -> Result<GuestError, Error> {
    if backtrace::stopped_a_guest(&error) {
        return Err(error);
    }
    if let Some(resume) = error.downcast_ref::<ResumeError>() {
        return Ok(GuestError::Resume(resume.clone()));
    }
    if let Some(call) = error.downcast_ref::<CallError>() {
        return Ok(GuestError::Call(call.clone()));
    }
    if error.is::<EnterError>() || error.is::<StoreSuspended>() {
        return Ok(GuestError::Runtime(error));
    }
    Err(error)
}

fn take_results<T: 'static>(
    store: &mut StoreMut<'_, StoreData<T>>,
    count: usize,
) -> Result<Vec<Val>> {
    let mut values: Values<Value> = (0..count).map(|_| Value::I32(0)).collect();
    store.take_results(&mut values)?;
    Ok(values.into_iter().map(Val::from_vm).collect())
}
