//! A value that one thread uses all the time and others hardly ever.
//!
//! ```text
//!   owner                                      visitor (holds the mutex)
//!     busy = true                                wanted = true
//!     (compiler fence)                           membarrier: every thread has executed a full fence
//!     wanted? then busy = false, and             wait until !busy
//!       wait for the mutex; again                use the value
//!     use the value                              wanted = false
//!     busy = false
//! ```
//!
//! The owner's part are plain loads and stores: no locked instruction. That is sound because of the visitor's system call, which makes all
//! threads of the process pass a full fence. If the owner's store of `busy` came before its fence, the visitor sees it
//! and waits; if after, so did the owner's load of `wanted`, and it sees that. Where the system has no such call, the owner executes
//! the fence itself.
//!
//! Invariant: whoever is between `busy = true` with `wanted` unseen and `busy = false`, or between the visitor's wait and
//! `wanted = false`, is the only one that uses the value.

use rustix::thread::{MembarrierCommand, membarrier};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Can visitors make the owners' processors execute fences?
fn visitors_fence() -> bool {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    *REGISTERED.get_or_init(|| membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok())
}

/// A value of one thread, the owner. See the file's head.
pub(crate) struct Owned<T> {
    busy: AtomicBool,
    wanted: AtomicBool,
    visitors: Mutex<()>,
    visitors_fence: bool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is used by one thread at a time, as the file's head argues, so it must be `Send` and no more.
unsafe impl<T: Send> Sync for Owned<T> {}

impl<T> Owned<T> {
    pub(crate) fn new(value: T) -> Owned<T> {
        Owned {
            busy: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            visitors: Mutex::new(()),
            visitors_fence: visitors_fence(),
            value: UnsafeCell::new(value),
        }
    }

    /// For the owner: uses the value. `f` must be short, and neither panic nor call what is not this crate's: visitors wait for it.
    ///
    /// # Safety
    /// Only one thread ever calls this for a value, and not from within `f`.
    #[inline]
    pub(crate) unsafe fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        loop {
            self.busy.store(true, Ordering::Relaxed);
            if self.visitors_fence {
                compiler_fence(Ordering::SeqCst);
            } else {
                fence(Ordering::SeqCst);
            }
            if !self.wanted.load(Ordering::Acquire) {
                break;
            }
            self.make_way();
        }
        let _not_busy = NotBusy(&self.busy);
        // SAFETY: no visitor uses the value now, see the file's head; the caller answers for other users.
        f(unsafe { &mut *self.value.get() })
    }

    #[cold]
    #[inline(never)]
    fn make_way(&self) {
        self.busy.store(false, Ordering::Release);
        drop(self.visitors.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// For everybody else, and for the owner outside of `with`: uses the value. `f` as for `with`.
    pub(crate) fn visit<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let _visitors = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        self.wanted.store(true, Ordering::SeqCst);
        if self.visitors_fence {
            // It cannot fail: it was registered.
            let fenced = membarrier(MembarrierCommand::PrivateExpedited);
            debug_assert!(fenced.is_ok(), "membarrier failed: {fenced:?}");
        }
        fence(Ordering::SeqCst);
        while self.busy.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let _not_wanted = NotBusy(&self.wanted);
        // SAFETY: the owner makes way, other visitors wait for the mutex.
        f(unsafe { &mut *self.value.get() })
    }
}

/// Clears a flag when it is dropped.
struct NotBusy<'a>(&'a AtomicBool);

impl Drop for NotBusy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn owner_and_visitors_never_use_the_value_at_once() {
        const ROUNDS: usize = 20_000;
        let owned = Arc::new(Owned::new((0usize, 0usize)));
        let bump = |pair: &mut (usize, usize)| {
            assert_eq!(pair.0, pair.1);
            pair.0 += 1;
            std::hint::black_box(&mut *pair);
            pair.1 += 1;
        };
        let visits = Arc::new(AtomicUsize::new(0));
        let visitors: Vec<_> = (0..2)
            .map(|_| {
                let (owned, visits) = (owned.clone(), visits.clone());
                std::thread::spawn(move || {
                    for _ in 0..ROUNDS / 100 {
                        owned.visit(bump);
                        visits.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let mut uses = 0;
        while uses < ROUNDS || visits.load(Ordering::SeqCst) < 2 * (ROUNDS / 100) {
            // SAFETY: only this thread does.
            unsafe { owned.with(bump) };
            uses += 1;
        }
        visitors
            .into_iter()
            .for_each(|visitor| visitor.join().unwrap());
        let total = uses + 2 * (ROUNDS / 100);
        assert_eq!(owned.visit(|pair| *pair), (total, total));
    }
}
