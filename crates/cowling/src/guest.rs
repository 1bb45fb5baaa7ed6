//! Guests: instances with a life of their own.
//!
//! | file | job |
//! |---|---|
//! | this | [`Guest`]: what it consists of, reset |
//! | [`region`], [`limits`], [`builder`] | slots for guests, what each may take, making one |
//! | [`state`] | the states, drawn, and what is allowed in which |
//! | [`run`] | running and resuming |
//! | [`kill`] | stopping from other threads, deadlines |
//! | [`fault`], [`termination`] | why a guest stopped |
//! | [`access`], [`contexts`] | memory, globals, tables, and the embedder's contexts |
//! | [`caller`] | what host functions can do: yield, terminate |
//! | [`error`] | errors |
//!
//! A guest is a store with one instance in it, and a state. There is no mechanism here: suspension, interruption and counting are
//! the runtime's, and a [`Store`](crate::Store) has them too.

pub(crate) mod access;
mod builder;
mod caller;
pub(crate) mod contexts;
mod error;
mod fault;
mod kill;
mod limits;
mod permits;
mod region;
mod run;
mod state;
mod termination;

pub use access::{GlobalError, GlobalsMut};
pub use builder::GuestBuilder;
pub use contexts::{ContextError, Contexts};
pub use error::GuestError;
pub use fault::{FaultAction, FaultDetails, reset_fatal_handler, set_fatal_handler};
pub use kill::{
    KillError, KillSuccess, KillSwitch, PreemptError, PreemptSuccess, Preempter, Terminated,
};
pub use limits::{LIMIT_PAGE, LimitError, Limits};
pub use region::{Region, RegionBuilder};
pub use run::{RunResult, YieldedValue};
pub use state::State;
pub use termination::{Payload, TerminationDetails};

use crate::func::{Caller, Func};
use crate::instance::{Instance, PreInner};
use crate::store::{AsContext, AsContextMut, Store, StoreContext, StoreContextMut};
use cowling_vm::spread::Share;
use cowling_vm::{FuelError, InstanceHandle};
use fault::SharedHandler;
use region::SlotPermit;
use run::Run;
use std::fmt;
use std::sync::Arc;

/// An instance in a slot of a [`Region`], with the life of a guest: it is run, yields, is resumed, preempted, killed and reset, and
/// says what went wrong when it faults.
///
/// ```
/// # use cowling::*;
/// let engine = Engine::default();
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap("host", "ask", |mut caller: Caller<'_, ()>, question: i32| -> Result<i32> {
///     caller.yield_val_expecting_val(question) // suspends the guest until somebody answers
/// })?;
/// let module = Module::new(&engine, r#"(module
///     (import "host" "ask" (func $ask (param i32) (result i32)))
///     (func (export "run") (result i32) (i32.add (call $ask (i32.const 1)) (call $ask (i32.const 2)))))"#)?;
///
/// let region = Region::builder().slots(100).build()?;
/// let mut guest = region.guest(&linker.instantiate_pre(&module)?, ()).build()?;
/// let mut result = guest.run("run", &[])?;
/// while let RunResult::Yielded(question) = result {
///     let question = question.downcast_ref::<i32>().copied().unwrap_or(0);
///     result = guest.resume_with_val(question * 10)?;
/// }
/// let RunResult::Returned(sum) = result else { unreachable!() };
/// assert_eq!(sum[0].i32(), Some(30));
/// # Ok::<(), Error>(())
/// ```
///
/// What is allowed when is drawn in `docs/guest.md`. A guest is `Send` if `T` is, and may be resumed on another thread than
/// the one it was suspended on. It may run inside a host function of another guest. Dropping it in any state gives everything
/// back; host functions that are suspended return an error and run their destructors.
///
/// It is also a store: everything that takes an [`AsContextMut`] takes a guest. Calling functions that way goes past its state:
/// it is neither checked nor changed.
pub struct Guest<T: 'static> {
    store: Store<T>,
    pre: Arc<Share<PreInner<T>>>,
    /// `None` when instantiating it again failed.
    instance: Option<Instance>,
    start: Option<Func>,
    state: State,
    run: Run,
    fault: Option<Box<FaultDetails>>,
    fault_handler: Option<SharedHandler<T>>,
    bound: Option<u64>,
    /// Last, so that the slot is free when everything else is gone.
    _slot: SlotPermit,
}

impl<T: 'static> Guest<T> {
    /// A guest without instance.
    fn empty(store: Store<T>, pre: Arc<Share<PreInner<T>>>, slot: SlotPermit) -> Self {
        Guest {
            store,
            pre,
            instance: None,
            start: None,
            state: State::Terminated,
            run: Run::default(),
            fault: None,
            fault_handler: None,
            bound: None,
            _slot: slot,
        }
    }

    /// Makes the instance.
    fn instantiate(&mut self) -> Result<(), GuestError> {
        if self.counts() {
            let store = &mut self.store.vm_mut();
            // All there is: the count is to be read, not to stop the guest.
            store.inner_mut().set_fuel(u64::MAX)?;
            store.inner_mut().set_fuel_yield_interval(self.bound)?;
        }
        let instance = self.pre.instantiate_without_start(&mut self.store);
        let instance = instance.map_err(GuestError::Instantiate)?;
        let mut store = self.store.vm_mut();
        let start = store.inner_mut().instance_start(instance.to_vm());
        let start = start.map_err(|error| GuestError::Instantiate(error.into()))?;
        self.instance = Some(instance);
        if let Some(handler) = &self.fault_handler {
            let armed = handler.arm(&mut store, Some(instance.to_vm()));
            armed.map_err(GuestError::Instantiate)?;
        }
        self.start = start.map(Func::from_vm);
        self.state = match start {
            Some(_) => State::NotStarted,
            None => State::Ready,
        };
        Ok(())
    }

    /// Makes the guest as new, whatever its state: memory, globals and tables as its module says, its start function not yet
    /// run, kill switches and preempters without effect, no deadline, no epoch deadline and no quantum. A suspended run is cancelled.
    ///
    /// The embedder's data and contexts stay, and so do the handlers, the bound of [`set_bound`](Self::set_bound) (one that
    /// [`run_async`](Self::run_async) was given ends with its run) and the instruction count. Functions, memories
    /// and other handles from before belong to what is no more: using them is [`WrongStore`](crate::WrongStore).
    ///
    /// # Errors
    /// [`GuestError::Instantiate`] when there is no room any more, or the limiter says no. It can be reset again later.
    ///
    /// # Panics
    /// If the destructor of a host function that was made in the guest's store panics. The guest is terminated then; it can be reset again.
    pub fn reset(&mut self) -> Result<(), GuestError> {
        let count = self.instruction_count();
        self.end(State::Terminated);
        self.instance = None;
        self.start = None;
        self.store.reset();
        self.instantiate()?;
        count.map_or(Ok(()), |count| self.set_instruction_count(count))
    }

    // --- state ---

    /// Where it is in its life.
    pub fn state(&self) -> State {
        self.state
    }

    /// Can it be run, without having faulted?
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Has a host function yielded?
    pub fn is_yielded(&self) -> bool {
        matches!(self.state, State::Yielded { .. })
    }

    /// Was it preempted?
    pub fn is_preempted(&self) -> bool {
        self.state == State::Preempted
    }

    /// Has it trapped?
    pub fn is_faulted(&self) -> bool {
        matches!(self.state, State::Faulted { .. })
    }

    /// Was it stopped by something other than a trap?
    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    /// What is known of the fault, if the last thing it did was to fault.
    pub fn fault(&self) -> Option<&FaultDetails> {
        self.fault.as_deref()
    }

    /// Lets a handler decide what becomes of the guest when it faults; it gets the guest as a host function would, and what is
    /// known of the fault. Handlers of signals that are no guest's are not affected.
    ///
    /// An access to a memory that the processor refuses has not become a trap when the handler is asked: the guest still waits at
    /// the instruction, and can [continue](FaultAction::Continue) there if the handler has grown the memory. Meanwhile its store
    /// does not run other functions of guests: that is [`StoreSuspended`](crate::StoreSuspended). After any other trap the run is
    /// over when the handler is asked.
    ///
    /// ```
    /// # use cowling::*;
    /// # let engine = Engine::default();
    /// # let module = Module::new(&engine, r#"(module (memory 1 10)
    /// #     (func (export "run") (param i32) (result i32) (i32.load (local.get 0))))"#)?;
    /// # let pre = Linker::<()>::new(&engine).instantiate_pre(&module)?;
    /// # let mut guest = Region::builder().build()?.guest(&pre, ()).build()?;
    /// guest.set_fault_handler(|mut caller, details| {
    ///     if details.can_continue() && caller.grow_memory(1).is_ok() {
    ///         return FaultAction::Continue; // it has what it wanted
    ///     }
    ///     FaultAction::Default
    /// })?;
    /// assert_eq!(guest.run("run", &[Val::I32(9 * 65536)])?.returned().unwrap()[0].i32(), Some(0));
    /// assert!(matches!(guest.run("run", &[Val::I32(10 * 65536)]), Err(GuestError::Faulted(_))));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is no memory for what this needs.
    pub fn set_fault_handler(
        &mut self,
        handler: impl FnMut(Caller<'_, T>, &FaultDetails) -> FaultAction + Send + 'static,
    ) -> Result<(), GuestError> {
        let handler = SharedHandler::new(handler);
        let instance = self.instance_handle();
        let armed = handler.arm(&mut self.store.vm_mut(), instance);
        armed.map_err(GuestError::Runtime)?;
        self.fault_handler = Some(handler);
        Ok(())
    }

    // --- counting ---

    /// The cost of all instructions executed so far, resets included. `None` unless the engine's setting `consume_fuel` is on.
    /// What each operator costs is said in `docs/guest.md`.
    pub fn instruction_count(&self) -> Option<u64> {
        let store = self.store.as_context();
        store.inner().executed_cost().ok()
    }

    /// Lets the instruction count go on from another number.
    ///
    /// # Errors
    /// [`GuestError::Fuel`] when instructions are not counted.
    pub fn set_instruction_count(&mut self, count: u64) -> Result<(), GuestError> {
        Ok(self.store.vm_mut().inner_mut().set_executed_cost(count)?)
    }

    /// Suspends the guest with [`RunResult::BoundExpired`] each time it has executed about that many instructions; `None`: never.
    /// An asynchronous run yields to the executor instead.
    ///
    /// # Errors
    /// [`GuestError::Fuel`] when instructions are not counted, or the bound is 0.
    pub fn set_bound(&mut self, bound: Option<u64>) -> Result<(), GuestError> {
        self.set_interval(bound)?;
        self.bound = bound;
        Ok(())
    }

    fn set_interval(&mut self, bound: Option<u64>) -> Result<(), FuelError> {
        let mut store = self.store.vm_mut();
        store.inner_mut().set_fuel_yield_interval(bound)
    }

    fn counts(&self) -> bool {
        self.store.engine().config().knobs().consume_fuel
    }

    // --- what it consists of ---

    /// The embedder's data.
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The embedder's data, for change.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// Drops everything but the embedder's data.
    pub fn into_data(self) -> T {
        self.store.into_data()
    }

    /// The instance. `None` when instantiating it again failed in [`reset`](Self::reset).
    pub fn instance(&self) -> Option<Instance> {
        self.instance
    }

    fn instance_handle(&self) -> Option<InstanceHandle> {
        self.instance.map(Instance::to_vm)
    }
}

impl<T: 'static> AsContext for Guest<T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        self.store.as_context()
    }
}

impl<T: 'static> AsContextMut for Guest<T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        self.store.as_context_mut()
    }
}

impl<T: 'static> fmt::Debug for Guest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("module", self.pre.module())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
