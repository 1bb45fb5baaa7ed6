//! `poll_oneoff`: waiting for whichever comes first of many.

use rustix::event::{PollFd, PollFlags};
use rustix::io::ioctl_fionread;

use super::WasiP1Ctx;
use super::abi::{
    ClockId, EVENT_SIZE, Errno, Event, EventType, Rights, SUBSCRIPTION_SIZE, Subscription,
};
use super::memory::GuestMemory;
use crate::host::poll::{Waited, wait};
use crate::host::stdio::Readiness;

/// The most subscriptions of one call; more are refused with `EINVAL`, as `poll` refuses more descriptors than may be open.
const MAX_SUBSCRIPTIONS: u32 = 16_384;

/// What a subscription waits for, once looked up.
enum Pending {
    /// Nothing: it is over, with this many bytes at hand or an error.
    Over(Result<u64, Errno>),
    /// The descriptor at this index.
    Descriptor(usize),
    /// This many nanoseconds from the start of the call.
    Time(u64),
}

impl WasiP1Ctx {
    pub(super) fn poll_oneoff(
        &mut self,
        memory: &mut GuestMemory<'_>,
        subscriptions: u32,
        events: u32,
        count: u32,
        result: u32,
    ) -> Result<(), Errno> {
        if count == 0 || count > MAX_SUBSCRIPTIONS {
            return Err(Errno::Inval);
        }
        let result = memory.slot(result)?;
        let events_size = count * EVENT_SIZE as u32;
        memory.slice(events, events_size)?;
        let subscriptions = memory.slice(subscriptions, count * SUBSCRIPTION_SIZE as u32)?;
        let subscriptions = subscriptions
            .as_chunks()
            .0
            .iter()
            .map(Subscription::decode)
            .collect::<Result<Vec<_>, _>>()?;

        let happened = self.wait_for(&subscriptions)?;
        let places = memory.slice_mut(events, events_size)?;
        for (place, event) in places.chunks_exact_mut(EVENT_SIZE).zip(&happened) {
            place.copy_from_slice(&event.encode());
        }
        memory.put(result, (happened.len() as u32).to_le_bytes());
        Ok(())
    }

    /// Waits until at least one of `subscriptions`, each with its user data, is over; answers those that are.
    fn wait_for(&self, subscriptions: &[(u64, Subscription)]) -> Result<Vec<Event>, Errno> {
        let start = self.now(ClockId::Monotonic);
        let mut fds = Vec::new();
        let mut timeout = None;
        let mut at_most = |time: u64| timeout = Some(timeout.map_or(time, |t: u64| t.min(time)));
        let mut pending = Vec::with_capacity(subscriptions.len());
        for &(_, subscription) in subscriptions {
            let wait = self.pending(subscription, &mut fds);
            match wait {
                Pending::Over(_) => at_most(0),
                Pending::Time(time) => at_most(time),
                Pending::Descriptor(_) => {}
            }
            pending.push(wait);
        }

        let waited = wait(&mut fds, timeout, &*self.clocks.monotonic)?;
        let mut elapsed = self.now(ClockId::Monotonic).saturating_sub(start);
        if waited == Waited::TimedOut {
            // Whatever the clock says, and whoever made it: the time has been waited for.
            elapsed = elapsed.max(timeout.unwrap_or(0));
        }

        let mut events = Vec::new();
        for (&(userdata, subscription), pending) in subscriptions.iter().zip(pending) {
            let mut hangup = false;
            let outcome = match pending {
                Pending::Over(outcome) => outcome,
                Pending::Time(time) if time <= elapsed => Ok(0),
                Pending::Time(_) => continue,
                Pending::Descriptor(index) => {
                    let fd = &fds[index];
                    let flags = fd.revents();
                    if flags.is_empty() {
                        continue;
                    }
                    hangup = flags.intersects(PollFlags::HUP | PollFlags::ERR);
                    if flags.contains(PollFlags::NVAL) {
                        Err(Errno::BadF)
                    } else if matches!(subscription, Subscription::Read(_)) {
                        // Not everything can say how many; 0 is "not known".
                        Ok(ioctl_fionread(fd).unwrap_or(0))
                    } else {
                        Ok(0)
                    }
                }
            };
            events.push(Event {
                userdata,
                error: outcome.err(),
                event_type: match subscription {
                    Subscription::Clock { .. } => EventType::Clock,
                    Subscription::Read(_) => EventType::FdRead,
                    Subscription::Write(_) => EventType::FdWrite,
                },
                bytes: outcome.unwrap_or(0),
                hangup,
            });
        }
        Ok(events)
    }

    /// Looks up what `subscription` waits for; a descriptor to wait for goes to the end of `fds`.
    fn pending<'a>(&'a self, subscription: Subscription, fds: &mut Vec<PollFd<'a>>) -> Pending {
        let (fd, writing) = match subscription {
            Subscription::Clock {
                id,
                timeout,
                absolute,
            } => {
                return match ClockId::from_number(id) {
                    Ok(clock) if absolute => Pending::Time(timeout.saturating_sub(self.now(clock))),
                    Ok(_) => Pending::Time(timeout),
                    Err(errno) => Pending::Over(Err(errno)),
                };
            }
            Subscription::Read(fd) => (fd, false),
            Subscription::Write(fd) => (fd, true),
        };
        match self.readiness(fd, writing) {
            Ok(Readiness::Now(bytes)) => Pending::Over(Ok(bytes)),
            Ok(Readiness::Descriptor(fd)) => {
                let flags = if writing {
                    PollFlags::OUT
                } else {
                    PollFlags::IN
                };
                fds.push(PollFd::from_borrowed_fd(fd, flags));
                Pending::Descriptor(fds.len() - 1)
            }
            Err(errno) => Pending::Over(Err(errno)),
        }
    }

    fn readiness(&self, fd: u32, writing: bool) -> Result<Readiness<'_>, Errno> {
        let descriptor = self.table.get(fd)?;
        let readiness = descriptor.readiness(writing)?;
        descriptor.require(if writing {
            Rights::FD_WRITE
        } else {
            Rights::FD_READ
        })?;
        Ok(readiness)
    }
}
