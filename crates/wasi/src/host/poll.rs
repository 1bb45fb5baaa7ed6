//! Waiting for descriptors and for time to pass.

use std::time::Duration;

use rustix::event::{PollFd, Timespec};
use rustix::io::Errno;

use super::clocks::HostMonotonicClock;
use super::error::Result;

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// At least one descriptor is ready; the entries say which.
    Ready,
    /// The time is over.
    TimedOut,
}

/// Waits until one of `fds` is ready or `timeout` nanoseconds have passed; without a timeout, for ever.
pub(crate) fn wait(
    fds: &mut [PollFd<'_>],
    timeout: Option<u64>,
    clock: &dyn HostMonotonicClock,
) -> Result<Waited> {
    if let Some(timeout) = timeout {
        if !fds.is_empty() && poll(fds, Some(0), clock)? == Waited::Ready {
            return Ok(Waited::Ready);
        }
        if timeout == 0 || clock.skip(timeout) {
            return Ok(Waited::TimedOut);
        }
    }
    poll(fds, timeout, clock)
}

fn poll(
    fds: &mut [PollFd<'_>],
    timeout: Option<u64>,
    clock: &dyn HostMonotonicClock,
) -> Result<Waited> {
    let start = clock.now();
    let mut left = timeout;
    loop {
        let time = left.map(|nanoseconds| {
            let duration = Duration::from_nanos(nanoseconds);
            Timespec {
                // At most 584 years.
                tv_sec: duration.as_secs().cast_signed(),
                tv_nsec: duration.subsec_nanos().into(),
            }
        });
        match rustix::event::poll(fds, time.as_ref()) {
            Ok(0) => return Ok(Waited::TimedOut),
            Ok(_) => return Ok(Waited::Ready),
            Err(Errno::INTR) => {
                let passed = clock.now().saturating_sub(start);
                left = timeout.map(|timeout| timeout.saturating_sub(passed));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};
    use std::time::Instant;

    use rustix::event::PollFlags;

    use super::*;
    use crate::host::clocks::{SystemMonotonicClock, VirtualClock};

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn a_timeout_passes_in_real_time() {
        let start = Instant::now();
        let waited = wait(&mut [], Some(20_000_000), &SystemMonotonicClock::new());
        assert_eq!(waited, Ok(Waited::TimedOut));
        assert!(start.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn a_virtual_clock_passes_an_hour_at_once() {
        let clock = VirtualClock::new(Duration::ZERO, Duration::ZERO);
        let (reader, _writer) = pipe().unwrap();
        let mut fds = [PollFd::new(&reader, PollFlags::IN)];
        assert_eq!(wait(&mut fds, Some(HOUR), &clock), Ok(Waited::TimedOut));
        assert_eq!(HostMonotonicClock::now(&clock), HOUR);
    }

    #[test]
    fn a_ready_descriptor_ends_the_wait_and_does_not_move_a_virtual_clock() {
        let clock = VirtualClock::new(Duration::ZERO, Duration::ZERO);
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"x").unwrap();
        let mut fds = [PollFd::new(&reader, PollFlags::IN)];
        assert_eq!(wait(&mut fds, Some(HOUR), &clock), Ok(Waited::Ready));
        assert!(fds[0].revents().contains(PollFlags::IN));
        assert_eq!(HostMonotonicClock::now(&clock), 0);
        assert_eq!(wait(&mut fds, None, &clock), Ok(Waited::Ready));
    }
}
