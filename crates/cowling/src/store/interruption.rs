//! Interrupting guests that do not stop by themselves: deadlines, epochs, quanta, kill switches.
//!
//! None of these costs guest code anything, and none has to be decided before a module is compiled: a guest that is to be
//! interrupted gets a signal, wherever it is.
//!
//! | | who asks | what happens to the guest |
//! |---|---|---|
//! | [`Store::set_deadline`] | the clock | ends with [`Terminated::Deadline`] |
//! | [`Store::set_epoch_deadline`] | the embedder, for all stores of an engine: [`Engine::increment_epoch`] | ends, waits, or goes on, as the store says |
//! | [`Store::set_async_quantum`] | the clock | lets the executor run others |
//! | [`Store::kill_switch`] | another thread | ends with [`Terminated::Remote`] |
//! | [`Store::end_on_signal`] | whoever sends the process a signal | ends with [`Terminated::Remote`] |
//!
//! [`Engine::increment_epoch`]: crate::Engine::increment_epoch

use super::{AsContextMut, Store, StoreContextMut, StoreData};
use crate::error::{Error, Result};
use cowling_abi::Trap;
use cowling_vm::{EpochUpdate, KillSwitch, StoreMut, Terminated};
use std::fmt;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// What an asynchronous call waits for after an epoch callback.
pub(crate) type EpochWait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What an epoch callback wants. See [`Store::epoch_deadline_callback`]. The next deadline is at least one tick from now: 0 is as 1, since
/// a guest whose deadline is always there would never get on.
#[non_exhaustive]
pub enum UpdateDeadline {
    /// The guest ends as with [`Store::epoch_deadline_trap`].
    Interrupt,
    /// The guest goes on; the next deadline is so many ticks from now.
    Continue(u64),
    /// The executor may run others before the guest goes on; the next deadline is so many ticks from then. In a call that is not
    /// asynchronous this is `Continue`.
    Yield(u64),
    /// The guest goes on when a future is ready; the next deadline is so many ticks from then. In a call that is not
    /// asynchronous this is `Continue`, and the future is dropped.
    YieldCustom(u64, Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl fmt::Debug for UpdateDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpdateDeadline::Interrupt => f.write_str("Interrupt"),
            UpdateDeadline::Continue(ticks) => f.debug_tuple("Continue").field(ticks).finish(),
            UpdateDeadline::Yield(ticks) => f.debug_tuple("Yield").field(ticks).finish(),
            UpdateDeadline::YieldCustom(ticks, _) => {
                f.debug_tuple("YieldCustom").field(ticks).finish()
            }
        }
    }
}

impl<T: 'static> Store<T> {
    /// Ends guests of this store when the time has come: the one that runs then, and each that is called later, with
    /// [`Trap::Interrupt`](crate::Trap::Interrupt) and [`Terminated::Deadline`]. A host function is not interrupted; the guest
    /// that called it ends when it returns. `None` lets guests run as long as they want.
    ///
    /// ```
    /// # use cowling::*;
    /// # use std::time::{Duration, Instant};
    /// let mut store = Store::<()>::default();
    /// let module = Module::new(store.engine(), r#"(module (func (export "spin") (loop (br 0))))"#)?;
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let spin = instance.get_typed_func::<(), ()>(&mut store, "spin")?;
    /// store.set_deadline(Instant::now() + Duration::from_millis(10))?;
    /// let error = spin.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    /// assert_eq!(error.downcast_ref::<Terminated>(), Some(&Terminated::Deadline));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When the system refuses the thread that watches the clock.
    pub fn set_deadline(&mut self, deadline: impl Into<Option<Instant>>) -> Result<()> {
        self.as_context_mut().set_deadline(deadline)
    }

    /// [`set_deadline`](Self::set_deadline), that long from now. One that is too far away to be told is none.
    ///
    /// # Errors
    /// As `set_deadline`.
    pub fn set_timeout(&mut self, timeout: Duration) -> Result<()> {
        self.as_context_mut().set_timeout(timeout)
    }

    /// Lets asynchronous calls run for so long at a time: then their future is pending, after waking its task, so that the
    /// executor comes to run others. What runs is preempted at any instruction. `None`, as it is at first, lets guests run until
    /// they return or wait.
    ///
    /// # Errors
    /// When the system refuses the thread that watches the clock.
    pub fn set_async_quantum(&mut self, quantum: impl Into<Option<Duration>>) -> Result<()> {
        self.as_context_mut().set_async_quantum(quantum)
    }

    /// Interrupts guests of this store when the engine's epoch has been
    /// [incremented](crate::Engine::increment_epoch) so often from now. What happens then is set by
    /// [`epoch_deadline_trap`](Self::epoch_deadline_trap), which is how it is at first,
    /// [`epoch_deadline_callback`](Self::epoch_deadline_callback) or
    /// [`epoch_deadline_async_yield_and_update`](Self::epoch_deadline_async_yield_and_update). A store for which this was never
    /// called has no epoch deadline.
    pub fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        self.as_context_mut()
            .set_epoch_deadline(ticks_beyond_current);
    }

    /// At the epoch deadline guests end with [`Trap::Interrupt`](crate::Trap::Interrupt) and [`Terminated::Epoch`].
    pub fn epoch_deadline_trap(&mut self) {
        self.as_context_mut().epoch_deadline_trap();
    }

    /// At the epoch deadline `callback` decides. An error of its ends the guest, and is that of the call.
    ///
    /// It may come between any two instructions of the guest, which waits where it is: calling into the store in it is a
    /// [`StoreSuspended`](crate::StoreSuspended), and a memory or table that would have to move does not grow.
    pub fn epoch_deadline_callback(
        &mut self,
        callback: impl FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline> + Send + Sync + 'static,
    ) {
        self.as_context_mut().epoch_deadline_callback(callback);
    }

    /// At the epoch deadline asynchronous calls let the executor run others; the next deadline is `delta` ticks after
    /// the guest goes on, at least one. Other calls just go on.
    pub fn epoch_deadline_async_yield_and_update(&mut self, delta: u64) {
        self.as_context_mut()
            .epoch_deadline_async_yield_and_update(delta);
    }

    /// A switch by which any thread ends what runs in this store now, or else the next call.
    pub fn kill_switch(&mut self) -> KillSwitch {
        self.as_context_mut().inner().control().kill_switch()
    }

    /// Lets a signal that is sent to the process end what runs in this store, or what runs in it next, as a
    /// [kill switch](Self::kill_switch) does: what a program that runs one guest for somebody at a terminal wants of Ctrl-C. When the
    /// signal comes a second time, the process exits at once, with 128 and the signal's number as its exit code.
    ///
    /// This is about the process as a whole: its handlers of this signal and of `SIGALRM` are replaced, and of all stores only the
    /// last one that this was called for is meant. A signal that the process ignores stays ignored. No thread is needed for it.
    ///
    /// ```no_run
    /// # use cowling::*;
    /// const SIGINT: i32 = 2;
    /// let mut store = Store::<()>::default();
    /// store.end_on_signal(SIGINT)?;
    /// let module = Module::new(store.engine(), r#"(module (func (export "spin") (loop (br 0))))"#)?;
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let spin = instance.get_typed_func::<(), ()>(&mut store, "spin")?;
    /// let error = spin.call(&mut store, ()).unwrap_err(); // until somebody presses Ctrl-C
    /// assert_eq!(error.downcast_ref::<Terminated>(), Some(&Terminated::Remote));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such signal, or it cannot be handled.
    pub fn end_on_signal(&mut self, signal: i32) -> Result<()> {
        Ok(self.as_context_mut().inner().end_on_signal(signal)?)
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// See [`Store::set_deadline`].
    ///
    /// # Errors
    /// As [`Store::set_deadline`].
    pub fn set_deadline(&mut self, deadline: impl Into<Option<Instant>>) -> Result<()> {
        self.0.set_deadline(deadline.into())
    }

    /// See [`Store::set_timeout`].
    ///
    /// # Errors
    /// As [`Store::set_deadline`].
    pub fn set_timeout(&mut self, timeout: Duration) -> Result<()> {
        self.set_deadline(Instant::now().checked_add(timeout))
    }

    /// See [`Store::set_async_quantum`].
    ///
    /// # Errors
    /// As [`Store::set_async_quantum`].
    pub fn set_async_quantum(&mut self, quantum: impl Into<Option<Duration>>) -> Result<()> {
        self.0.set_quantum(quantum.into())
    }

    /// See [`Store::set_epoch_deadline`].
    pub fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        if let Err(error) = self.0.set_epoch_deadline(ticks_beyond_current) {
            // The deadline is set all the same. What is missing is the thread that sends a signal again when it came at a moment
            // when nothing could be done.
            tracing::error!("epoch deadlines may be noticed late: {error:#}");
        }
    }

    /// See [`Store::epoch_deadline_trap`].
    pub fn epoch_deadline_trap(&mut self) {
        self.0.epoch_deadline_trap();
    }

    /// See [`Store::epoch_deadline_callback`].
    pub fn epoch_deadline_callback(
        &mut self,
        mut callback: impl FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline>
        + Send
        + Sync
        + 'static,
    ) {
        let set = self
            .0
            .epoch_deadline_callback(move |mut store: StoreMut<'_, StoreData<T>>| {
                let update = callback(StoreContextMut(store.reborrow()))?;
                Ok(match update {
                    UpdateDeadline::Interrupt => return Err(interrupted()),
                    UpdateDeadline::Continue(ticks) => EpochUpdate::Continue(ticks),
                    UpdateDeadline::Yield(ticks) => EpochUpdate::Yield(ticks),
                    UpdateDeadline::YieldCustom(ticks, future) => {
                        *store.data_mut().epoch_wait() = Some(future);
                        EpochUpdate::Yield(ticks)
                    }
                })
            });
        self.or_trap(set);
    }

    /// See [`Store::epoch_deadline_async_yield_and_update`].
    pub fn epoch_deadline_async_yield_and_update(&mut self, delta: u64) {
        let set = self.0.epoch_deadline_yield(delta);
        self.or_trap(set);
    }

    /// Without memory for keeping a guest's registers it cannot go on after its deadline: it ends, as it would by default.
    fn or_trap(&mut self, set: Result<()>) {
        if let Err(error) = set {
            tracing::error!("guests will end at their epoch deadline: {error:#}");
            self.0.epoch_deadline_trap();
        }
    }
}

/// What a guest ends with at its epoch deadline.
fn interrupted() -> Error {
    Error::new(Trap::Interrupt).context(Terminated::Epoch)
}
