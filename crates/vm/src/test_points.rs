//! Named points at which a test can stop a thread: how races are forced instead of hoped for.
//!
//! ```text
//!   runtime: point(Point::X, control) --- armed for this control? ---> waits until released
//!   test:    Gate::arm(Point::X, &control) ... gate.wait_reached() ... drop(gate) releases
//! ```
//!
//! Compiled only for tests; elsewhere [`point`] is nothing. Points are reached in signal handlers, too, so a gate is two atomic
//! words and waiting is spinning.
//!
//! Invariant: a thread waits at a point only while a [`Gate`] for that point and control is alive.

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A point in the life of an execution.
        #[cfg_attr(
            not(any(test, feature = "test-points")),
            expect(unreachable_pub, reason = "tests of the crate from outside use it")
        )]
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $name,)*
        }

        #[cfg(any(test, feature = "test-points"))]
        const COUNT: usize = [$(Point::$name),*].len();
    };
}

points! {
    /// A kill was requested of a running guest; no signal has been sent.
    KillRequested,
    /// The killer has sent a signal and will look for its effect.
    KillSignalled,
    /// The signal handler runs, and has not looked at anything.
    HandlerEntered,
    /// The embedder enters the store; it does not run yet.
    Entering,
    /// The store runs; its guest code has not been entered.
    Entered,
    /// The guest is about to be entered: the last look for requests is over.
    EnteringGuest,
    /// Guest code has returned; it is still the store's innermost.
    GuestReturned,
    /// The computation is over; the control does not know yet.
    Leaving,
    /// A host function was called; its body has not begun.
    HostEntered,
    /// A host function's body has returned; requests have not been looked for.
    HostReturned,
    /// The guest's registers are saved; it is not suspended yet.
    Interrupted,
    /// The computation is about to become suspended.
    Suspending,
    /// The computation was resumed; its guest does not run yet.
    Resumed,
    /// The processor reported a fault; the guest has not been raised.
    Faulted,
}

/// Are there any points? What only they need to know need not be looked up otherwise.
pub(crate) const POINTS: bool = cfg!(any(test, feature = "test-points"));

/// Waits here if a test wants it. Async-signal-safe.
#[cfg(not(any(test, feature = "test-points")))]
#[inline(always)]
pub(crate) fn point(_: Point, _: *const crate::control::Control) {}

#[cfg(any(test, feature = "test-points"))]
pub use armed::Gate;
#[cfg(any(test, feature = "test-points"))]
pub(crate) use armed::point;

#[cfg(any(test, feature = "test-points"))]
mod armed {
    use super::{COUNT, Point};
    use crate::control::Control;
    use std::hint::spin_loop;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
    use std::time::{Duration, Instant};

    /// For whom a point is armed, and how many threads have reached it since.
    struct Place {
        target: AtomicUsize,
        reached: AtomicUsize,
    }

    static PLACES: [Place; COUNT] = [const {
        Place {
            target: AtomicUsize::new(0),
            reached: AtomicUsize::new(0),
        }
    }; COUNT];

    static OWNERS: [Mutex<()>; COUNT] = [const { Mutex::new(()) }; COUNT];

    /// Waits here if a test wants it. Async-signal-safe.
    pub(crate) fn point(point: Point, control: *const Control) {
        let place = &PLACES[point as usize];
        let target = place.target.load(SeqCst);
        if target == 0 || target != control.addr() {
            return;
        }
        place.reached.fetch_add(1, SeqCst);
        while place.target.load(SeqCst) == target {
            spin_loop();
            std::thread::yield_now();
        }
    }

    /// Stops threads at a point until it is dropped.
    pub struct Gate {
        point: Point,
        control: Arc<Control>,
        _owner: MutexGuard<'static, ()>,
    }

    impl Gate {
        /// Whoever reaches the point for this control waits, from now on. Waits itself while another test has the point.
        pub fn arm(point: Point, control: &Arc<Control>) -> Gate {
            let owner = OWNERS[point as usize].lock();
            let gate = Gate {
                point,
                control: control.clone(),
                _owner: owner.unwrap_or_else(PoisonError::into_inner),
            };
            let place = &PLACES[point as usize];
            place.reached.store(0, SeqCst);
            place.target.store(Arc::as_ptr(control).addr(), SeqCst);
            gate
        }

        /// Whose threads it stops.
        pub fn control(&self) -> &Arc<Control> {
            &self.control
        }

        /// Waits until a thread has reached it.
        ///
        /// # Panics
        /// When none does within half a minute.
        pub fn wait_reached(&self) {
            let started = Instant::now();
            while !self.is_reached() {
                assert!(
                    started.elapsed() < Duration::from_secs(30),
                    "nobody reaches {:?} of {:p}",
                    self.point,
                    Arc::as_ptr(&self.control)
                );
                std::thread::yield_now();
            }
        }

        /// Has a thread reached it?
        pub fn is_reached(&self) -> bool {
            PLACES[self.point as usize].reached.load(SeqCst) > 0
        }
    }

    impl Drop for Gate {
        fn drop(&mut self) {
            PLACES[self.point as usize].target.store(0, SeqCst);
        }
    }
}
