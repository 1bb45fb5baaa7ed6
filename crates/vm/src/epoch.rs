//! Epochs: a clock that the embedder advances, and stores that are interrupted when it reaches their deadline.
//!
//! ```text
//!   increment                                 the thread that enters a store
//!     now += 1                                  phase := Running
//!     for stores with deadline <= now           deadline <= now ?
//!        that are Running: request, signal
//! ```
//!
//! Both orders are sequentially consistent, so at least one of the two sees the other: a deadline is not missed by a store
//! that is just being entered. Guest code does nothing for it.

use crate::control::{Control, Terminated, Word};
use crate::error::Result;
use crate::interrupt::{self, OnEpoch};
use crate::repair;
use crate::store::{StoreInner, StoreMut};
use crate::suspend::Interruption;
use crate::timer;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The clock of an engine's epochs. It stands still until it is [incremented](Self::increment).
#[derive(Debug, Default)]
pub struct EpochClock {
    now: AtomicU64,
    /// Stores that have, or had, a deadline.
    stores: Mutex<Vec<Weak<Control>>>,
}

/// A store's deadline on the clock.
#[derive(Debug)]
pub(crate) struct EpochDeadline {
    /// `u64::MAX` for none.
    at: AtomicU64,
    /// How far away the deadline is from when the guest goes on that waits now; `u64::MAX` if it has one already.
    after_yield: AtomicU64,
    /// Is the store among those the clock looks at?
    listed: AtomicBool,
}

/// What an epoch callback wants: see [`StoreMut::epoch_deadline_callback`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum EpochUpdate {
    /// The guest goes on, with a deadline so many ticks from now.
    Continue(u64),
    /// The computation is suspended, with a deadline so many ticks from when it goes on: others may take as long as they want. A
    /// computation that cannot be suspended goes on at once.
    Yield(u64),
}

impl EpochClock {
    /// The epoch it is.
    pub fn current(&self) -> u64 {
        self.now.load(SeqCst)
    }

    /// Begins the next epoch, and interrupts the guests whose deadline it is.
    pub fn increment(&self) {
        let now = self.now.fetch_add(1, SeqCst) + 1;
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|control| {
            let Some(control) = control.upgrade() else {
                return false;
            };
            if control.epoch.at.load(SeqCst) <= now {
                control.request(Word::EPOCH);
            }
            true
        });
    }
}

impl EpochDeadline {
    pub(crate) const fn none() -> EpochDeadline {
        EpochDeadline {
            at: AtomicU64::new(u64::MAX),
            after_yield: AtomicU64::new(u64::MAX),
            listed: AtomicBool::new(false),
        }
    }

    /// Is it at or before this epoch?
    pub(crate) fn has_come(&self, now: u64) -> bool {
        self.at.load(SeqCst) <= now
    }
}

impl Control {
    fn set_epoch_deadline(self: &Arc<Self>, ticks: u64) {
        let at = self.clock.current().saturating_add(ticks);
        self.epoch.after_yield.store(u64::MAX, SeqCst);
        self.epoch.at.store(at, SeqCst);
        if !self.epoch.listed.swap(true, SeqCst) {
            let stores = self.clock.stores.lock();
            let mut stores = stores.unwrap_or_else(PoisonError::into_inner);
            stores.push(Arc::downgrade(self));
        }
        // The clock may have gone on between.
        if self.epoch.has_come(self.clock.current()) {
            self.request(Word::EPOCH);
        }
    }

    /// No deadline while the guest waits, and one so many ticks away when it goes on.
    fn set_epoch_deadline_after_yield(&self, ticks: u64) {
        self.epoch.at.store(u64::MAX, SeqCst);
        self.epoch.after_yield.store(ticks, SeqCst);
    }

    /// A guest that was interrupted for its epoch deadline goes on.
    pub(crate) fn goes_on_after_epoch(self: &Arc<Self>) {
        let ticks = self.epoch.after_yield.load(SeqCst);
        // Unless it was set otherwise meanwhile.
        if ticks != u64::MAX {
            self.set_epoch_deadline(ticks);
        }
    }
}

/// A store's epoch callback, by its first part: see `with_epoch_callback` in `store`.
pub(crate) type EpochCallback = unsafe fn(NonNull<StoreInner>) -> Result<EpochUpdate>;

/// Decides what becomes of an interrupted computation: is it to be suspended? Sets the next deadline. Runs on the stack of the
/// embedder, whose callback cannot be interrupted.
///
/// # Errors
/// When the callback fails: the guest is to be raised with that error.
///
/// # Safety
/// `store` may be used, and no reference to it is alive.
pub(crate) unsafe fn decide(store: NonNull<StoreInner>, why: Interruption) -> Result<bool> {
    match why {
        Interruption::Preempted => return Ok(true),
        Interruption::Fault => {
            // SAFETY: as the caller says. Requests made meanwhile are looked at when the guest goes on.
            unsafe {
                let _host = HostCode::begin(store);
                repair::decide(store)?;
            }
            return Ok(false);
        }
        Interruption::Epoch => {}
    }
    // SAFETY: as the caller says; each reference ends with its statement.
    let (on_epoch, callback) = unsafe {
        let store = store.as_ref();
        (
            store.execution().interrupts().on_epoch(),
            store.epoch_callback(),
        )
    };
    let update = match (on_epoch, callback) {
        (OnEpoch::Yield(ticks), _) => EpochUpdate::Yield(ticks),
        (OnEpoch::Call, Some(callback)) => {
            // SAFETY: as the caller says. Requests made meanwhile are looked at when the computation is resumed.
            unsafe {
                let _host = HostCode::begin(store);
                callback(store)?
            }
        }
        // It was changed since the interruption.
        (OnEpoch::Trap | OnEpoch::Call, _) => return Err(interrupt::ended(Terminated::Epoch)),
    };
    // SAFETY: as the caller says.
    let control = unsafe { store.as_ref() }.control();
    // What has come already would come again before the guest has executed an instruction, without end.
    Ok(match update {
        EpochUpdate::Continue(ticks) => {
            control.set_epoch_deadline(ticks.max(1));
            false
        }
        EpochUpdate::Yield(ticks) => {
            control.set_epoch_deadline_after_yield(ticks.max(1));
            true
        }
    })
}

/// Code of the host that a guest's interruption has called, until it is dropped.
struct HostCode(NonNull<StoreInner>);

impl HostCode {
    /// # Safety
    /// The store is valid until this is dropped.
    unsafe fn begin(store: NonNull<StoreInner>) -> HostCode {
        // SAFETY: as the caller says.
        unsafe { store.as_ref() }
            .execution()
            .interrupts()
            .host_begins();
        HostCode(store)
    }
}

impl Drop for HostCode {
    fn drop(&mut self) {
        // SAFETY: as `begin` says. What was asked is looked at later.
        unsafe { self.0.as_ref() }
            .execution()
            .interrupts()
            .host_ends();
    }
}

impl<T: 'static> StoreMut<'_, T> {
    /// Interrupts the store's guests when the engine's epoch is `ticks` further than now. What happens then is set by
    /// [`epoch_deadline_trap`](Self::epoch_deadline_trap), which is how it begins, and its siblings.
    ///
    /// # Errors
    /// When the timer's thread cannot be started.
    pub fn set_epoch_deadline(&mut self, ticks: u64) -> Result<()> {
        timer::start()?;
        self.inner().control().set_epoch_deadline(ticks);
        Ok(())
    }

    /// At its epoch deadline the guest is ended with [`Terminated::Epoch`](crate::Terminated::Epoch).
    pub fn epoch_deadline_trap(&mut self) {
        self.inner().execution().interrupts().trap_at_epoch();
    }

    /// At its epoch deadline the computation is suspended, with [`Interruption::Epoch`], and the next deadline is `ticks` after it goes on.
    /// A computation that cannot be suspended goes on.
    ///
    /// # Errors
    /// When there is no memory for what this needs.
    pub fn epoch_deadline_yield(&mut self, ticks: u64) -> Result<()> {
        self.set_on_epoch(OnEpoch::Yield(ticks))
    }

    /// At the epoch deadline `callback` is called, outside the guest. If it fails, the guest ends with that error.
    ///
    /// # Errors
    /// When there is no memory for what this needs.
    pub fn epoch_deadline_callback(
        &mut self,
        callback: impl FnMut(StoreMut<'_, T>) -> Result<EpochUpdate> + Send + Sync + 'static,
    ) -> Result<()> {
        self.set_epoch_callback(Box::new(callback));
        self.set_on_epoch(OnEpoch::Call)
    }

    fn set_on_epoch(&mut self, on_epoch: OnEpoch) -> Result<()> {
        let execution = self.inner().execution();
        execution.interrupts().set_on_epoch(on_epoch)?;
        execution
            .computations()
            .set_interruption_handler(Some(decide));
        Ok(())
    }
}
