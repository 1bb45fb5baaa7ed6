//! Waiting for descriptors and for time to pass, so that others can interrupt it.
//!
//! ```text
//!   front end                         host core
//!   call, with a new Patience ----->  would wait: waits a little, or notes what for
//!             look for requests <---  Stop::Wait
//!   the same call again, with the
//!   same Patience ----------------->  ... done, or Stop::Failed
//! ```
//!
//! A call that has to wait never does so until it is over, because whoever runs the guest may want to end it or to let others run
//! meanwhile. It stops instead, having changed nothing but the `Patience`, and is made again.
//!
//! A signal that comes before a wait begins does not end it, so no wait here is longer than [`SLICE`].

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use smallvec::SmallVec;

use super::error::Result;

/// No wait without a look for requests is longer.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// What descriptors are waited for, and for which of their states.
pub(crate) type On<'a> = (BorrowedFd<'a>, PollFlags);

/// Which states were reached, one entry for each descriptor.
pub(crate) type Reached = SmallVec<[PollFlags; 1]>;

/// How one call of a guest waits, from its first attempt to its last.
#[derive(Debug)]
pub(crate) struct Patience {
    /// What to wait for is noted, not waited for: an executor does.
    notes: Option<Wait>,
    /// How long was waited in all.
    pub(crate) waited: Duration,
    /// When the call began; set by calls that wait for a time.
    pub(crate) began: Option<Began>,
    /// Bytes moved by earlier attempts, in calls that want more than one.
    pub(crate) moved: usize,
}

/// A moment on the guest's clocks, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began {
    pub(crate) monotonic: u64,
    pub(crate) wall: u64,
}

/// What has to happen before a call is made again: any of these. If there are none it is made again as soon as others have had their
/// turn: what it waits for has happened already, or it only lets others look.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    /// One of the descriptors, duplicates of the guest's, each there once, has reached one of the states.
    pub(crate) on: Vec<(OwnedFd, PollFlags)>,
    /// So much time has passed.
    pub(crate) at_most: Option<Duration>,
}

impl Patience {
    /// Blocks the thread, a little at a time.
    pub(crate) fn blocking() -> Self {
        Patience {
            notes: None,
            waited: Duration::ZERO,
            began: None,
            moved: 0,
        }
    }

    /// Notes what to wait for.
    pub(crate) fn noting() -> Self {
        Patience {
            notes: Some(Wait::default()),
            ..Patience::blocking()
        }
    }

    /// What the last attempt wants to wait for. Blocking ones have waited already.
    pub(crate) fn take_wait(&mut self) -> Option<Wait> {
        self.notes.as_mut().map(std::mem::take)
    }

    /// Waits until one of the descriptors is ready or the time has passed, whichever comes first, or begins to.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub(crate) fn wait(&mut self, on: &[On<'_>], at_most: Option<Duration>) -> Result<Reached> {
        let Some(notes) = &mut self.notes else {
            let at_most = at_most.map_or(SLICE, |at_most| at_most.min(SLICE));
            let start = Instant::now();
            let reached = poll(on, at_most)?;
            self.waited += start.elapsed();
            return Ok(reached);
        };
        let reached = poll(on, Duration::ZERO)?;
        if nothing(&reached) {
            notes.at_most = at_most;
            notes.on = distinct(on)?;
        }
        Ok(reached)
    }
}

/// A duplicate of each descriptor, with all the states it is waited for: however often a guest names one, it takes no more of what
/// the process may have open.
fn distinct(on: &[On<'_>]) -> Result<Vec<(OwnedFd, PollFlags)>> {
    let mut all: Vec<(OwnedFd, PollFlags)> = Vec::new();
    let mut places: HashMap<RawFd, usize> = HashMap::new();
    for &(fd, flags) in on {
        match places.get(&fd.as_raw_fd()) {
            Some(&place) => all[place].1 |= flags,
            None => {
                places.insert(fd.as_raw_fd(), all.len());
                all.push((fd.try_clone_to_owned()?, flags));
            }
        }
    }
    Ok(all)
}

/// Has none of the descriptors reached the state it was asked for?
pub(crate) fn nothing(reached: &Reached) -> bool {
    reached.iter().all(|flags| flags.is_empty())
}

/// Which of the descriptors are ready, waiting at most so long for one. A signal ends the wait.
pub(crate) fn poll(on: &[On<'_>], at_most: Duration) -> Result<Reached> {
    let mut fds: SmallVec<[PollFd<'_>; 1]> = on
        .iter()
        .map(|(fd, flags)| PollFd::from_borrowed_fd(fd.as_fd(), *flags))
        .collect();
    let at_most = Timespec {
        // Never more than a slice.
        tv_sec: at_most.as_secs().cast_signed(),
        tv_nsec: at_most.subsec_nanos().into(),
    };
    match rustix::event::poll(&mut fds, Some(&at_most)) {
        Ok(_) => Ok(fds.iter().map(PollFd::revents).collect()),
        Err(Errno::INTR) => Ok(on.iter().map(|_| PollFlags::empty()).collect()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};

    use super::*;

    #[test]
    fn a_blocking_wait_lasts_as_long_as_it_shall_but_a_slice_at_most() {
        for (at_most, lasts) in [
            (Some(Duration::from_millis(20)), Duration::from_millis(20)),
            (Some(Duration::from_secs(3600)), SLICE),
            (None, SLICE),
        ] {
            let mut patience = Patience::blocking();
            patience.wait(&[], at_most).unwrap();
            assert!(patience.waited >= lasts, "{at_most:?}");
            assert!(patience.waited < Duration::from_secs(60), "{at_most:?}");
            assert!(patience.take_wait().is_none());
        }
    }

    #[test]
    fn what_is_noted_is_not_waited_for() {
        let (reader, mut writer) = pipe().unwrap();
        let mut patience = Patience::noting();
        let hour = Some(Duration::from_secs(3600));
        let on = [(reader.as_fd(), PollFlags::IN)];
        assert!(nothing(&patience.wait(&on, hour).unwrap()));
        assert_eq!(patience.waited, Duration::ZERO);
        let wait = patience.take_wait().unwrap();
        assert_eq!((wait.on.len(), wait.at_most), (1, hour));

        writer.write_all(b"x").unwrap();
        assert!(patience.wait(&on, hour).unwrap()[0].contains(PollFlags::IN));
        assert!(patience.take_wait().unwrap().on.is_empty());
    }

    #[test]
    fn a_descriptor_named_often_is_noted_once_with_all_its_states() {
        let (reader, _writer) = pipe().unwrap();
        let (other, _other_writer) = pipe().unwrap();
        let mut on = vec![(reader.as_fd(), PollFlags::IN); 5_000];
        on.push((other.as_fd(), PollFlags::IN));
        on.push((reader.as_fd(), PollFlags::PRI));
        let mut patience = Patience::noting();
        patience.wait(&on, None).unwrap();
        let noted = patience.take_wait().unwrap().on;
        let states: Vec<PollFlags> = noted.iter().map(|(_, flags)| *flags).collect();
        assert_eq!(states, [PollFlags::IN | PollFlags::PRI, PollFlags::IN]);
    }
}
