//! `poll_oneoff`: waiting for whichever comes first of many.

use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::ioctl_fionread;

use super::abi::{ClockId, EVENT_SIZE, Errno, Event, EventType, Rights, Subscription};
use super::descriptor::wanted;
use super::memory::GuestMemory;
use super::{Stop, WasiP1Ctx};
use crate::host::clocks::nanoseconds;
use crate::host::patience::{Began, On, Patience, nothing, poll};
use crate::host::stdio::Readiness;

/// The most subscriptions of one call; more are refused with `EINVAL`, as `poll` refuses more descriptors than may be open.
const MAX_SUBSCRIPTIONS: u32 = 16_384;

/// Reads the user data and the subscription in bytes.
pub(super) type Decode<const SIZE: usize> = fn(&[u8; SIZE]) -> Result<(u64, Subscription), Errno>;

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
        patience: &mut Patience,
    ) -> Result<(), Stop> {
        let decode = Subscription::decode;
        self.poll(
            memory,
            (subscriptions, decode),
            events,
            count,
            result,
            patience,
        )
    }

    /// `poll_oneoff`, with `count` subscriptions of `SIZE` bytes that are read by `decode`.
    pub(super) fn poll<const SIZE: usize>(
        &mut self,
        memory: &mut GuestMemory<'_>,
        (subscriptions, decode): (u32, Decode<SIZE>),
        events: u32,
        count: u32,
        result: u32,
        patience: &mut Patience,
    ) -> Result<(), Stop> {
        if count == 0 || count > MAX_SUBSCRIPTIONS {
            return Err(Errno::Inval.into());
        }
        let result = memory.slot(result)?;
        let events_size = count * EVENT_SIZE as u32;
        memory.slice(events, events_size)?;
        let subscriptions = memory.slice(subscriptions, count * SIZE as u32)?;
        let subscriptions = subscriptions
            .as_chunks()
            .0
            .iter()
            .map(decode)
            .collect::<Result<Vec<_>, _>>()?;

        let happened = self.wait_for(&subscriptions, patience)?;
        let places = memory.slice_mut(events, events_size)?;
        for (place, event) in places.chunks_exact_mut(EVENT_SIZE).zip(&happened) {
            place.copy_from_slice(&event.encode());
        }
        memory.put(result, (happened.len() as u32).to_le_bytes());
        Ok(())
    }

    /// Which of `subscriptions`, each with its user data, are over; waits if none is.
    fn wait_for(
        &self,
        subscriptions: &[(u64, Subscription)],
        patience: &mut Patience,
    ) -> Result<Vec<Event>, Stop> {
        let monotonic = &self.clocks.monotonic;
        let began = *patience.began.get_or_insert_with(|| Began {
            monotonic: monotonic.now(),
            wall: self.now(ClockId::Realtime),
        });
        // Whatever the clock says, and whoever made it: what has been waited for is over.
        let elapsed =
            |waited| nanoseconds(waited).max(monotonic.now().saturating_sub(began.monotonic));
        let mut on = Vec::new();
        let mut shortest: Option<u64> = None;
        let mut pending = Vec::with_capacity(subscriptions.len());
        for &(_, subscription) in subscriptions {
            let wait = self.pending(subscription, began, &mut on);
            let at = match wait {
                Pending::Over(_) => Some(0),
                Pending::Time(time) => Some(time),
                Pending::Descriptor(_) => None,
            };
            shortest = at
                .map(|at| shortest.map_or(at, |other| other.min(at)))
                .or(shortest);
            pending.push(wait);
        }

        let mut passed = elapsed(patience.waited);
        let mut reached = poll(&on, Duration::ZERO)?;
        if nothing(&reached) && shortest.is_none_or(|time| time > passed) {
            let left = shortest.map(|time| time - passed);
            if left.is_some_and(|left| monotonic.skip(left)) {
                passed = elapsed(patience.waited).max(shortest.unwrap_or(0));
            } else {
                reached = patience.wait(&on, left.map(Duration::from_nanos))?;
                passed = elapsed(patience.waited);
                if nothing(&reached) && shortest.is_none_or(|time| time > passed) {
                    return Err(Stop::Wait);
                }
            }
        }

        let mut events = Vec::new();
        for (&(userdata, subscription), pending) in subscriptions.iter().zip(pending) {
            let mut hangup = false;
            let outcome = match pending {
                Pending::Over(outcome) => outcome,
                Pending::Time(time) if time <= passed => Ok(0),
                Pending::Time(_) => continue,
                Pending::Descriptor(index) => {
                    let flags = reached[index];
                    if flags.is_empty() {
                        continue;
                    }
                    hangup = flags.intersects(PollFlags::HUP | PollFlags::ERR);
                    if flags.contains(PollFlags::NVAL) {
                        Err(Errno::BadF)
                    } else if matches!(subscription, Subscription::Read(_)) {
                        // Not everything can say how many; 0 is "not known".
                        Ok(ioctl_fionread(on[index].0).unwrap_or(0))
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

    /// Looks up what `subscription` of a call that began then waits for; a descriptor to wait for goes to the end of `on`.
    fn pending<'a>(
        &'a self,
        subscription: Subscription,
        began: Began,
        on: &mut Vec<On<'a>>,
    ) -> Pending {
        let (fd, writing) = match subscription {
            Subscription::Clock {
                id,
                timeout,
                absolute,
            } => {
                return match ClockId::from_number(id) {
                    Ok(clock) if absolute => {
                        let began = match clock {
                            ClockId::Realtime => began.wall,
                            ClockId::Monotonic => began.monotonic,
                            ClockId::ProcessCpu | ClockId::ThreadCpu => {
                                began.monotonic.saturating_sub(self.start)
                            }
                        };
                        Pending::Time(timeout.saturating_sub(began))
                    }
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
                on.push((fd, wanted(writing)));
                Pending::Descriptor(on.len() - 1)
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
