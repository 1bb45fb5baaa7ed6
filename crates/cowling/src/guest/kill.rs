//! Stopping a guest from another thread: for good, or for now.
//!
//! The mechanism is the runtime's: see the head of `vm/src/control.rs`. A switch is for one execution, which is what a run is,
//! with everything it is resumed for.
//!
//! | when [`KillSwitch::terminate`] is called | it returns | the run |
//! |---|---|---|
//! | before the run | `Ok(Cancelled)` | terminated (Remote); no guest code runs |
//! | in guest code | `Ok(Signalled)`, when it has stopped | terminated (Remote) |
//! | in a host function | `Ok(Pending)` | terminated (Remote) when that returns; its own failure wins |
//! | yielded, preempted, awaiting, at its bound | `Ok(Pending)` | terminated (Remote) when resumed |
//! | a second time | `Err(NotTerminable)` | |
//! | racing an exit | `Ok(Signalled)` or `Err(NotTerminable)` | terminated (Remote), or returned |
//! | racing a fault | `Ok(Signalled)` or `Err(NotTerminable)` | the fault wins |
//! | after the run, a reset, the guest | `Err(Invalid)` | later runs are not affected |

pub use cowling_vm::{
    KillError, KillSuccess, KillSwitch, PreemptError, PreemptSuccess, Terminated,
};

use super::Guest;
use super::error::GuestError;
use cowling_vm::Control;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Preempts a guest from any thread. Unlike a [`KillSwitch`] it is good for every run, until the guest is reset or dropped.
#[derive(Clone, Debug)]
pub struct Preempter {
    control: Weak<Control>,
}

impl Preempter {
    /// Stops the guest so that it can be resumed: its run returns [`RunResult::Preempted`](crate::RunResult::Preempted). Blocks
    /// until that is done, or known to happen.
    ///
    /// # Errors
    /// When the guest does not run.
    pub fn preempt(&self) -> Result<PreemptSuccess, PreemptError> {
        let control = self.control.upgrade().ok_or(PreemptError::NotRunning)?;
        control.preempt()
    }
}

impl<T: 'static> Guest<T> {
    /// A switch that ends the run that is suspended, or else the next one.
    pub fn kill_switch(&mut self) -> KillSwitch {
        self.control().kill_switch()
    }

    /// What preempts this guest from other threads.
    pub fn preempter(&mut self) -> Preempter {
        Preempter {
            control: Arc::downgrade(&self.control()),
        }
    }

    fn control(&mut self) -> Arc<Control> {
        self.store.vm_mut().inner_mut().control()
    }

    /// Terminates whatever run, or resumed run, is under way at this time; `None`: never. It lasts until it is set again, or the
    /// guest is reset. [`run_for`](Self::run_for) sets it for one run.
    ///
    /// # Errors
    /// When the timer cannot be started.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) -> Result<(), GuestError> {
        let mut store = self.store.vm_mut();
        store.set_deadline(deadline).map_err(GuestError::Runtime)
    }

    /// Preempts the guest whenever it has run for that long without a pause; `None`: never. It lasts until it is set again or
    /// the guest is reset.
    ///
    /// # Errors
    /// When the timer cannot be started.
    pub fn set_quantum(&mut self, quantum: Option<Duration>) -> Result<(), GuestError> {
        let mut store = self.store.vm_mut();
        store.set_quantum(quantum).map_err(GuestError::Runtime)
    }
}
