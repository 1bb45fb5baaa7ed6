//! One thread that watches the clock for all stores: deadlines, quanta, and signals that were sent in vain.
//!
//! ```text
//!   heap of (when, store, what for) --- earliest is due ---> Deadline: request DEADLINE
//!                                                            Slice:    request PREEMPT, if the guest has run for a quantum
//!                                                            Reminder: is a request still unanswered? signal again
//! ```
//!
//! The thread starts when it is first needed and sleeps while nothing is due. A store has at most one entry of each kind in the
//! heap for which anything will be done, so a store that is entered a million times a second pays for reading the clock, and
//! for a lock only once per quantum.
//!
//! Invariant: a store whose quantum or request is unanswered has its entry in the heap (`queued`, `reminded`).

use crate::control::{Control, Phase, Word};
use crate::error::Result;
use crate::store::StoreMut;
use crate::sys::thread;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The first reminder comes after this time, the next after twice that.
const FIRST_REMINDER: Duration = Duration::from_micros(50);
/// No reminder is later than this.
const LAST_REMINDER: Duration = Duration::from_millis(2);

/// A store's times.
#[derive(Debug)]
pub(crate) struct Times {
    /// When its deadline is, in nanoseconds since [`origin`]; `u64::MAX` for none.
    deadline: AtomicU64,
    /// The earliest deadline entry in the heap; `u64::MAX` for none.
    deadline_entry: AtomicU64,
    /// How long a computation may run before it is preempted, in nanoseconds; 0 for as long as it wants.
    quantum: AtomicU64,
    /// When it was entered or resumed last.
    slice_start: AtomicU64,
    /// Has it a slice entry in the heap?
    queued: AtomicBool,
    /// Has it a reminder in the heap?
    reminded: AtomicBool,
}

impl Times {
    pub(crate) const fn new() -> Times {
        Times {
            deadline: AtomicU64::new(u64::MAX),
            deadline_entry: AtomicU64::new(u64::MAX),
            quantum: AtomicU64::new(0),
            slice_start: AtomicU64::new(0),
            queued: AtomicBool::new(false),
            reminded: AtomicBool::new(false),
        }
    }

    /// When the slice that runs is over; `None` without a quantum.
    fn slice_end(&self) -> Option<u64> {
        let quantum = self.quantum.load(SeqCst);
        (quantum != 0).then(|| self.slice_start.load(SeqCst).saturating_add(quantum))
    }
}

/// A suspendable computation of the store runs from now on.
pub(crate) fn begin_slice(control: &Arc<Control>) {
    if control.times.quantum.load(SeqCst) == 0 {
        return;
    }
    control.times.slice_start.store(now(), SeqCst);
    queue_slice(control);
}

fn queue_slice(control: &Arc<Control>) {
    if let Some(end) = control.times.slice_end()
        && !control.times.queued.swap(true, SeqCst)
    {
        push(end, control, Event::Slice);
    }
}

fn queue_deadline(control: &Arc<Control>, at: u64) {
    if at < control.times.deadline_entry.fetch_min(at, SeqCst) {
        push(at, control, Event::Deadline(at));
    }
}

/// Signals the store's thread again and again until its request needs no signal any more.
pub(crate) fn remind(control: &Arc<Control>) {
    if !control.times.reminded.swap(true, SeqCst) {
        push(
            now() + FIRST_REMINDER.as_nanos() as u64,
            control,
            Event::Reminder(FIRST_REMINDER),
        );
    }
}

/// When the process first asked for the time.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// Nanoseconds since [`origin`]: enough for five centuries.
fn nanoseconds(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(origin()).as_nanos()).unwrap_or(u64::MAX)
}

fn now() -> u64 {
    nanoseconds(Instant::now())
}

enum Event {
    /// A deadline, and when this is due.
    Deadline(u64),
    Slice,
    /// The time waited for it.
    Reminder(Duration),
}

struct Entry {
    at: u64,
    control: Weak<Control>,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

struct Timer {
    heap: Mutex<BinaryHeap<Reverse<Entry>>>,
    /// Something earlier than what the thread waits for was pushed.
    earlier: Condvar,
}

static TIMER: Timer = Timer {
    heap: Mutex::new(BinaryHeap::new()),
    earlier: Condvar::new(),
};

/// Starts the thread, the first time it is called in the process.
///
/// # Errors
/// When the system refuses; the next call tries again.
pub(crate) fn start() -> io::Result<()> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        std::thread::Builder::new()
            .name("cowling-timer".to_string())
            .stack_size(128 << 10)
            .spawn(run)?;
        *started = true;
    }
    Ok(())
}

fn heap() -> MutexGuard<'static, BinaryHeap<Reverse<Entry>>> {
    TIMER.heap.lock().unwrap_or_else(PoisonError::into_inner)
}

fn push(at: u64, control: &Arc<Control>, event: Event) {
    let mut heap = heap();
    let first = heap.peek().is_none_or(|Reverse(first)| at < first.at);
    heap.push(Reverse(Entry {
        at,
        control: Arc::downgrade(control),
        event,
    }));
    drop(heap);
    if first {
        TIMER.earlier.notify_one();
    }
}

fn run() {
    thread::refuse_signals();
    thread::wake_promptly();
    let mut waiting = heap();
    loop {
        let now = now();
        let next = waiting.peek().map(|Reverse(entry)| entry.at);
        waiting = match next {
            Some(at) if at <= now => {
                let entry = waiting.pop();
                drop(waiting);
                if let Some(Reverse(entry)) = entry {
                    entry.happen(now);
                }
                heap()
            }
            Some(at) => {
                let timeout = Duration::from_nanos(at - now);
                let woken = TIMER.earlier.wait_timeout(waiting, timeout);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let woken = TIMER.earlier.wait(waiting);
                woken.unwrap_or_else(PoisonError::into_inner)
            }
        };
    }
}

impl Entry {
    fn happen(self, now: u64) {
        let Some(control) = self.control.upgrade() else {
            return;
        };
        let times = &control.times;
        match self.event {
            Event::Deadline(at) => {
                // Only the earliest entry counts: what it finds may be a later deadline.
                let earliest = times
                    .deadline_entry
                    .compare_exchange(at, u64::MAX, SeqCst, SeqCst);
                let deadline = times.deadline.load(SeqCst);
                if earliest.is_ok() && deadline <= now {
                    control.request(Word::DEADLINE);
                    // It may have been taken back between.
                    if times.deadline.load(SeqCst) != deadline {
                        control.forget_deadline();
                    }
                } else if earliest.is_ok() {
                    queue_deadline(&control, deadline);
                }
            }
            Event::Slice => match times.slice_end() {
                Some(end) if control.word().phase() == Phase::Running => {
                    if end <= now {
                        control.request(Word::PREEMPT);
                        // If it is not preempted, because a host function keeps on running, it is again a quantum later.
                        times.slice_start.store(now, SeqCst);
                    }
                    if let Some(end) = times.slice_end() {
                        push(end, &control, Event::Slice);
                    }
                }
                _ => {
                    times.queued.store(false, SeqCst);
                    if control.word().phase() == Phase::Running {
                        queue_slice(&control);
                    }
                }
            },
            Event::Reminder(waited) => {
                if control.needs_reminder() {
                    control.signal();
                    let wait = (waited * 2).min(LAST_REMINDER);
                    push(
                        now + wait.as_nanos() as u64,
                        &control,
                        Event::Reminder(wait),
                    );
                } else {
                    times.reminded.store(false, SeqCst);
                    if control.needs_reminder() {
                        remind(&control);
                    }
                }
            }
        }
    }
}

impl<T: 'static> StoreMut<'_, T> {
    /// Ends the store's guests, the one that runs and all that come, with [`Terminated::Deadline`](crate::Terminated::Deadline)
    /// when that time has come; `None` lets them run as long as they want.
    ///
    /// # Errors
    /// When the timer's thread cannot be started.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) -> Result<()> {
        start()?;
        let control = self.inner().control();
        let at = deadline.map_or(u64::MAX, |deadline| nanoseconds(deadline).min(u64::MAX - 1));
        // In this order a timer that sees the old deadline takes its request back.
        control.times.deadline.store(at, SeqCst);
        control.forget_deadline();
        if deadline.is_some() {
            if at <= now() {
                control.request(Word::DEADLINE);
            } else {
                queue_deadline(&control, at);
            }
        }
        Ok(())
    }

    /// Preempts computations that can be suspended when they have run for this long since they were started or resumed;
    /// `None` lets them run. Takes effect with the next start or resumption.
    ///
    /// # Errors
    /// When the timer's thread cannot be started.
    pub fn set_quantum(&mut self, quantum: Option<Duration>) -> Result<()> {
        start()?;
        let control = self.inner().control();
        let quantum = quantum.map_or(0, |quantum| {
            u64::try_from(quantum.as_nanos()).map_or(u64::MAX, |quantum| quantum.max(1))
        });
        control.times.quantum.store(quantum, SeqCst);
        Ok(())
    }
}
