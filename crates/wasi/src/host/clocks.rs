//! Clocks: what time it is for the guest, and how it waits.
//!
//! The wall clock and the monotonic clock can each be replaced. A replacement that is not tied to real time
//! can also take over *waiting*: see [`HostMonotonicClock::skip`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, Timespec};

/// The clock that tells the time of day.
pub trait HostWallClock: Send + Sync {
    /// The smallest step of this clock.
    fn resolution(&self) -> Duration;

    /// The time since 1970-01-01T00:00:00Z.
    fn now(&self) -> Duration;
}

/// The clock that never goes back, for measuring and waiting.
pub trait HostMonotonicClock: Send + Sync {
    /// The smallest step of this clock, in nanoseconds.
    fn resolution(&self) -> u64;

    /// Nanoseconds since a moment of the clock's choosing.
    fn now(&self) -> u64;

    /// Asks the clock to pass `nanoseconds` without waiting.
    ///
    /// A clock that is not tied to real time moves itself forward and answers `true`; the guest then goes on
    /// at once. The default answers `false`, and the guest waits in real time.
    fn skip(&self, nanoseconds: u64) -> bool {
        let _ = nanoseconds;
        false
    }
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

/// Nanoseconds in a [`Duration`], or the largest number where they do not fit (584 years).
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The operating system's time of day.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemWallClock;

impl HostWallClock for SystemWallClock {
    fn resolution(&self) -> Duration {
        duration(rustix::time::clock_getres(ClockId::Realtime))
    }

    fn now(&self) -> Duration {
        duration(rustix::time::clock_gettime(ClockId::Realtime))
    }
}

/// The operating system's monotonic clock, counted from when this value was made: a guest does not learn
/// how long the machine has been up.
#[derive(Clone, Copy, Debug)]
pub struct SystemMonotonicClock {
    start: u64,
}

impl SystemMonotonicClock {
    /// A clock that starts near zero now.
    pub fn new() -> Self {
        SystemMonotonicClock { start: Self::raw() }
    }

    fn raw() -> u64 {
        nanoseconds(duration(rustix::time::clock_gettime(ClockId::Monotonic)))
    }
}

impl Default for SystemMonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl HostMonotonicClock for SystemMonotonicClock {
    fn resolution(&self) -> u64 {
        nanoseconds(duration(rustix::time::clock_getres(ClockId::Monotonic)))
    }

    fn now(&self) -> u64 {
        Self::raw().saturating_sub(self.start)
    }
}

/// A clock that moves only when it is read, waited on or told to: runs are repeatable.
///
/// Clones share the same time, so one value can serve as both the wall clock and the monotonic clock.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    shared: Arc<VirtualTime>,
}

#[derive(Debug)]
struct VirtualTime {
    epoch: Duration,
    elapsed: AtomicU64,
    step: u64,
}

impl VirtualClock {
    /// A clock whose time of day starts at `epoch` (since 1970) and whose monotonic time starts at zero.
    ///
    /// Each reading moves it forward by `step`, so that a guest that spins until a moment gets there.
    pub fn new(epoch: Duration, step: Duration) -> Self {
        VirtualClock {
            shared: Arc::new(VirtualTime {
                epoch,
                elapsed: AtomicU64::new(0),
                step: nanoseconds(step),
            }),
        }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.shared
            .elapsed
            .fetch_add(nanoseconds(by), Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.shared
            .elapsed
            .fetch_add(self.shared.step, Ordering::Relaxed)
    }
}

impl HostWallClock for VirtualClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.shared
            .epoch
            .saturating_add(Duration::from_nanos(self.read()))
    }
}

impl HostMonotonicClock for VirtualClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.read()
    }

    fn skip(&self, nanoseconds: u64) -> bool {
        self.advance(Duration::from_nanos(nanoseconds));
        true
    }
}

/// The clocks of one guest.
pub(crate) struct Clocks {
    pub(crate) wall: Box<dyn HostWallClock>,
    pub(crate) monotonic: Box<dyn HostMonotonicClock>,
}

impl Default for Clocks {
    fn default() -> Self {
        Clocks {
            wall: Box::new(SystemWallClock),
            monotonic: Box::new(SystemMonotonicClock::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clocks_move_forward_and_have_a_resolution() {
        let clocks = Clocks::default();
        assert!(clocks.wall.now() > Duration::from_secs(1_600_000_000));
        assert!(clocks.wall.resolution() > Duration::ZERO);
        let first = clocks.monotonic.now();
        assert!(first < 1_000_000_000, "starts near zero, not at boot");
        std::thread::sleep(Duration::from_millis(2));
        assert!(clocks.monotonic.now() >= first + 2_000_000);
        assert!(clocks.monotonic.resolution() > 0);
    }

    #[test]
    fn a_virtual_clock_steps_on_reading_and_skips_on_waiting() {
        let clock = VirtualClock::new(Duration::from_secs(100), Duration::from_nanos(5));
        let same = clock.clone();
        assert_eq!(HostMonotonicClock::now(&clock), 0);
        assert_eq!(HostMonotonicClock::now(&same), 5);
        assert!(clock.skip(1_000));
        assert_eq!(
            HostWallClock::now(&same),
            Duration::from_secs(100) + Duration::from_nanos(1_010)
        );
    }
}
