//! Waiting at an address of a shared memory, until another thread wakes it.
//!
//! ```text
//!   address -> | longest waiting | ... | came last |      one queue for each address where somebody waits
//! ```
//!
//! A waiter sleeps in the system. It gets up when it is woken, when its time is over, and whenever its thread has handled a
//! signal: a guest that waits must answer to whoever interrupts it. The system only lets a sleep end for a signal if it has a
//! timeout, so every sleep has one; it is also how late a signal is noticed that came just before the thread fell asleep, if it
//! does not come again.
//!
//! # Invariants
//!
//! * Whether the value is as expected is decided under the lock: who changes it and then wakes others finds the waiter in its queue,
//!   or the waiter finds the changed value.
//! * A waiter is in its queue exactly until somebody wakes it or it gives up, whichever comes first under the lock. So a wake-up
//!   that was counted is never lost to a timeout.

use crate::sys::thread;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// No sleep is longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How a wait ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum WaitResult {
    /// Somebody woke the waiter.
    Ok = 0,
    /// The value was not the expected one; there was no wait.
    Mismatch = 1,
    /// Nobody woke the waiter in time.
    TimedOut = 2,
}

/// Who waits at which address, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Queues>);

type Queues = HashMap<u64, VecDeque<Arc<Waiter>>>;

/// One thread that waits.
#[derive(Debug)]
struct Waiter(AtomicU64);

const ASLEEP: u64 = 0;
const WOKEN: u64 = 1;

impl Waiter {
    fn is_woken(&self) -> bool {
        self.0.load(SeqCst) == WOKEN
    }

    fn wake(&self) {
        self.0.store(WOKEN, SeqCst);
        thread::wake_all(&self.0);
    }

    /// May return early.
    fn sleep(&self, at_most: Option<Duration>) {
        let at_most = at_most.map_or(LONGEST_SLEEP, |at_most| at_most.min(LONGEST_SLEEP));
        thread::wait_while(&self.0, ASLEEP, at_most);
    }
}

impl Waiting {
    /// The queues are valid at every step.
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes at most `count` waiters at an address, longest waiting first. Returns how many.
    pub(super) fn notify(&self, address: u64, count: u32) -> u32 {
        let mut queues = self.queues();
        let Some(queue) = queues.get_mut(&address) else {
            return 0;
        };
        let woken = queue.len().min(count as usize);
        queue.drain(..woken).for_each(|waiter| waiter.wake());
        if queue.is_empty() {
            queues.remove(&address);
        }
        woken as u32
    }

    /// Waits at an address if the value there is as expected, for ever without a timeout. `look` is called whenever the sleep was
    /// disturbed, and now and then; what it fails with ends the wait.
    ///
    /// # Errors
    /// What `look` failed with.
    pub(super) fn wait<E>(
        &self,
        address: u64,
        as_expected: impl FnOnce() -> bool,
        timeout: Option<Duration>,
        mut look: impl FnMut() -> Result<(), E>,
    ) -> Result<WaitResult, E> {
        // The clock does not reach so far that it makes a difference to have none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let waiter = Arc::new(Waiter(AtomicU64::new(ASLEEP)));
        {
            let mut queues = self.queues();
            if !as_expected() {
                return Ok(WaitResult::Mismatch);
            }
            queues.entry(address).or_default().push_back(waiter.clone());
        }
        loop {
            if waiter.is_woken() {
                return Ok(WaitResult::Ok);
            }
            if let Err(error) = look() {
                self.give_up(address, &waiter);
                return Err(error);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(match self.give_up(address, &waiter) {
                    true => WaitResult::TimedOut,
                    false => WaitResult::Ok,
                });
            }
            waiter.sleep(left);
        }
    }

    /// How many wait at an address.
    #[cfg(test)]
    pub(super) fn waiters(&self, address: u64) -> usize {
        self.queues().get(&address).map_or(0, VecDeque::len)
    }

    /// Takes a waiter out of its queue. Was it still there?
    fn give_up(&self, address: u64, waiter: &Arc<Waiter>) -> bool {
        let mut queues = self.queues();
        let Some(queue) = queues.get_mut(&address) else {
            return false;
        };
        let before = queue.len();
        queue.retain(|other| !Arc::ptr_eq(other, waiter));
        let was_there = queue.len() < before;
        if queue.is_empty() {
            queues.remove(&address);
        }
        was_there
    }
}
