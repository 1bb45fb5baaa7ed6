//! References that many threads make and drop at once.
//!
//! ```text
//!   Spread ──> | OnceLock | OnceLock | ... |       one place for each of as many threads as run at once
//!                   │           │
//!                   v           v
//!              Arc<Share>   Arc<Share>             each with a reference count of its own, in a cache line of its own
//!                   └───────────┴──> Arc<T>
//! ```
//!
//! The count of an `Arc` is memory that every clone and drop writes. When threads do so at once, they wait for each other: some 50 ns each
//! time, where a guest's whole life takes 600. With a count for each thread nobody waits.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, OnceLock};

/// More places than this do not pay: what runs on so many processors does other things besides.
const MOST_PLACES: usize = 64;

/// How many places there are: a power of two.
static PLACES: LazyLock<usize> = LazyLock::new(|| {
    // Not `available_parallelism`, which reads files first to learn of quotas.
    let processors = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize);
    processors.next_power_of_two().clamp(2, MOST_PLACES)
});

/// How many threads have got a place.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The number of this thread, from 1; 0 if it has none yet.
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// How many places there are for things that each thread has on its own.
pub fn places() -> usize {
    *PLACES
}

/// The place of this thread, below [`places`]. Others may have the same one.
#[inline]
pub fn place() -> usize {
    let thread = match THREAD.get() {
        0 => number(),
        thread => thread,
    };
    thread & (places() - 1)
}

#[cold]
fn number() -> usize {
    let number = THREADS.fetch_add(1, Relaxed).wrapping_add(1).max(1);
    THREAD.set(number);
    number
}

/// Something that many threads refer to, and the references they get.
pub struct Spread<T> {
    target: Arc<T>,
    shares: Arc<[OnceLock<Arc<Share<T>>>]>,
}

/// A thread's reference to something: behind an `Arc` whose count is for the threads of one place only.
// Aligned so that the counts in front of it share their cache line, and the one that processors fetch with it, with no others.
#[repr(align(128))]
pub struct Share<T>(Arc<T>);

impl<T> Spread<T> {
    /// A new one.
    pub fn new(target: Arc<T>) -> Spread<T> {
        Spread {
            target,
            shares: (0..places()).map(|_| OnceLock::new()).collect(),
        }
    }

    /// This thread's reference, which may go to other threads.
    #[inline]
    pub fn share(&self) -> Arc<Share<T>> {
        let share = &self.shares[place()];
        match share.get() {
            Some(share) => share.clone(),
            None => self.first_share(share),
        }
    }

    #[cold]
    fn first_share(&self, share: &OnceLock<Arc<Share<T>>>) -> Arc<Share<T>> {
        let share = share.get_or_init(|| Arc::new(Share(self.target.clone())));
        share.clone()
    }
}

impl<T> Clone for Spread<T> {
    fn clone(&self) -> Self {
        Spread {
            target: self.target.clone(),
            shares: self.shares.clone(),
        }
    }
}

impl<T> Deref for Spread<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.target
    }
}

impl<T> Deref for Share<T> {
    type Target = Arc<T>;

    #[inline]
    fn deref(&self) -> &Arc<T> {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Spread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for Share<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_gets_a_reference_and_the_last_of_all_drops_the_target() {
        let target = Arc::new(5);
        let spread = Spread::new(target.clone());
        let shares: Vec<_> = std::thread::scope(|threads| {
            let threads: Vec<_> = (0..3 * places())
                .map(|_| threads.spawn(|| spread.share()))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(shares.iter().all(|share| ****share == 5));
        drop(spread);
        assert!(Arc::strong_count(&target) > 1, "shares keep it");
        drop(shares);
        assert_eq!(Arc::strong_count(&target), 1);
    }
}
