//! What other threads may ask of a store's guest: to stop for good, or to stop for now.
//!
//! One atomic word says where the store is, what was asked of it, and which execution that is about:
//!
//! ```text
//!   63                       16 15                      2 1     0
//!   | generation               | requests and answers    | phase |
//!
//!                 enter                        suspend
//!      +------+ ----------> +---------+ -----------------> +-----------+
//!      | Idle |             | Running |                    | Suspended |
//!      +------+ <---------- +---------+ <----------------- +-----------+
//!          |      leave                        resume           |
//!          |      generation + 1                                | cancel: resume, leave
//!          v                                                    v
//!       +------+   store dropped: generation + 1
//!       | Gone |
//!       +------+
//! ```
//!
//! An *execution* is everything between `enter` and `leave`: suspensions are inside. A [`KillSwitch`] names one by its
//! generation, and changes the word only while that is the word's, so it cannot hit another.
//!
//! | bit | set by | cleared by |
//! |---|---|---|
//! | `KILL` | `terminate`, whatever the phase | `leave` |
//! | `DEADLINE` | the timer, whatever the phase | a new deadline: it lasts over executions |
//! | `PREEMPT`, `EPOCH` | others, only while Running | whoever acts on it; `suspend`, `leave` |
//! | `HOST` | the signal handler, when the guest is in a host function | the look for requests when that returns |
//! | `TAKEN` | whoever acts on `KILL` | `leave` |
//! | `DEFERRED` | the signal handler, with `HOST`, for a kill; `suspend`; a killer on the guest's own thread | `leave` |
//! | `AWAITED` | a killer that wants to know what became of its request | the killer; `leave` |
//! | `WATCHED` | who preempts, to be woken | `suspend`, `leave` |
//!
//! The table of the kill switch as transitions:
//!
//! | when `terminate` is called | the word before | what happens | answer |
//! |---|---|---|---|
//! | before the run | Idle | `+KILL`; `enter` sees it, and no guest code runs | `Cancelled` |
//! | in guest code | Running | `+KILL +AWAITED`, signal; the handler finds guest code: `+TAKEN`, the guest is raised | `Signalled` |
//! | in a host function | Running | as above; the handler finds host code: `+HOST +DEFERRED`; the return finds it: `+TAKEN` | `Pending` |
//! | … which fails itself | Running, `DEFERRED` | `leave` without `TAKEN`: the failure wins | `Pending` |
//! | yielded, awaiting, preempted, out of fuel | Suspended | `+KILL`; `resume` sees it | `Pending` |
//! | about to be suspended | Running, `AWAITED` | `suspend`: `+DEFERRED` | `Pending` |
//! | a second time | `KILL` set, same generation | nothing | `NotTerminable` |
//! | racing an exit or a fault | Running, `AWAITED` | `leave` without `TAKEN` | `NotTerminable` |
//! | … and winning | Running, `AWAITED` | `+TAKEN` before the exit | `Signalled` |
//! | after the execution, a reset, the store | another generation | nothing | `Invalid` |
//!
//! The table of preemption:
//!
//! | when `preempt` is called | the word before | what happens | answer |
//! |---|---|---|---|
//! | nothing runs, or it is suspended | Idle, Suspended, Gone | nothing | `NotRunning` |
//! | in a call that cannot be suspended | Running | nothing | `NotSuspendable` |
//! | in guest code | Running | `+PREEMPT`, signal; the handler saves the registers; `suspend` | `Stopped` |
//! | in a host function | Running | `+PREEMPT`, signal, `+HOST`; suspended when the host function returns | `Pending` |
//! | racing an exit | Running | `leave` | `NotRunning` |
//!
//! Invariants:
//! * The phase is Running exactly while a thread is between `enter`/`resume` and `suspend`/`leave`; `thread` is its id.
//! * `KILL` set in Running is acted on before the execution runs guest code for ever: whoever set it signals again and again until
//!   it sees `TAKEN`, `DEFERRED`, or another generation; and `HOST` is set only while a host function runs, whose end looks here.
//! * Nothing here takes a lock but [`Kills`], which only a killer and an execution that ends while a killer waits take.

use crate::epoch::{EpochClock, EpochDeadline};
use crate::sys::thread::{self, ThreadId};
use crate::test_points::{Point, point};
use crate::timer;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Where a store is, as its word has it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Phase {
    /// Nothing runs.
    Idle = 0,
    /// A thread runs it.
    Running = 1,
    /// A computation waits to be resumed.
    Suspended = 2,
    /// The store is no more.
    Gone = 3,
}

/// A value of the word.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    pub(crate) const KILL: u64 = 1 << 2;
    pub(crate) const DEADLINE: u64 = 1 << 3;
    pub(crate) const PREEMPT: u64 = 1 << 4;
    pub(crate) const EPOCH: u64 = 1 << 5;
    pub(crate) const HOST: u64 = 1 << 6;
    pub(crate) const TAKEN: u64 = 1 << 7;
    pub(crate) const DEFERRED: u64 = 1 << 8;
    pub(crate) const AWAITED: u64 = 1 << 9;
    pub(crate) const WATCHED: u64 = 1 << 10;
    /// What can be asked.
    pub(crate) const REQUESTS: u64 = Self::KILL | Self::DEADLINE | Self::PREEMPT | Self::EPOCH;
    const PHASE: u64 = 3;
    const GENERATION: u32 = 16;

    pub(crate) fn phase(self) -> Phase {
        match self.0 & Self::PHASE {
            0 => Phase::Idle,
            1 => Phase::Running,
            2 => Phase::Suspended,
            _ => Phase::Gone,
        }
    }

    fn generation(self) -> u64 {
        self.0 >> Self::GENERATION
    }

    pub(crate) fn has(self, bits: u64) -> bool {
        self.0 & bits != 0
    }

    fn with(self, bits: u64) -> Word {
        Word(self.0 | bits)
    }

    fn without(self, bits: u64) -> Word {
        Word(self.0 & !bits)
    }

    fn in_phase(self, phase: Phase) -> Word {
        Word(self.0 & !Self::PHASE | phase as u64)
    }

    /// What an execution that ends leaves behind.
    fn next_generation(self, phase: Phase) -> Word {
        let generation = self.generation().wrapping_add(1) << Self::GENERATION;
        Word(generation | self.0 & Self::DEADLINE | phase as u64)
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = [
            (Self::KILL, "KILL"),
            (Self::DEADLINE, "DEADLINE"),
            (Self::PREEMPT, "PREEMPT"),
            (Self::EPOCH, "EPOCH"),
            (Self::HOST, "HOST"),
            (Self::TAKEN, "TAKEN"),
            (Self::DEFERRED, "DEFERRED"),
            (Self::AWAITED, "AWAITED"),
            (Self::WATCHED, "WATCHED"),
        ];
        write!(f, "{:?} #{}", self.phase(), self.generation())?;
        for (_, name) in bits.into_iter().filter(|&(bit, _)| self.has(bit)) {
            write!(f, " {name}")?;
        }
        Ok(())
    }
}

/// What threads other than the one that runs a store know of it and may ask of it. Made when it is first
/// [wanted](crate::StoreInner::control); until then, entering a store costs nothing for it.
#[derive(Debug)]
pub struct Control {
    word: AtomicU64,
    /// The thread that runs the store, while the phase is Running.
    thread: AtomicI32,
    /// Can the execution be suspended for a preemption?
    suspendable: AtomicBool,
    pub(crate) clock: Arc<EpochClock>,
    pub(crate) times: timer::Times,
    pub(crate) epoch: EpochDeadline,
    kills: Kills,
}

/// What became of the kill of each execution that ended while its killer was waiting, until the killer has read it.
type Kills = Mutex<Vec<(u64, Result<KillSuccess, KillError>)>>;

/// Ends one execution, from any thread and at any time.
///
/// An execution is one call into a store, suspensions included; a switch that was made while none was under way is for the next
/// one.
#[derive(Clone, Debug)]
pub struct KillSwitch {
    control: Weak<Control>,
    generation: u64,
}

/// What [`KillSwitch::terminate`] has done.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum KillSuccess {
    /// The execution had not begun. It ends with [`Terminated::Remote`] before any guest code runs.
    Cancelled,
    /// The guest was stopped in its code. The execution ends with [`Terminated::Remote`].
    Signalled,
    /// The guest was in a host function or suspended. The execution ends with [`Terminated::Remote`] when the host function
    /// returns, unless that fails itself, or when it is resumed.
    Pending,
}

/// Why [`KillSwitch::terminate`] has done nothing.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KillError {
    /// The execution was killed before, or it ended while this tried to kill it.
    #[error("the execution cannot be terminated: it has been terminated before, or has just ended")]
    NotTerminable,
    /// The execution is over, or its store is gone.
    #[error("the kill switch is no longer valid: its execution is over")]
    Invalid,
}

/// What [`Control::preempt`] has done.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum PreemptSuccess {
    /// The guest does not run any more. It can be resumed.
    Stopped,
    /// The guest is in a host function, and will be stopped when that returns.
    Pending,
}

/// Why [`Control::preempt`] has done nothing.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreemptError {
    /// No guest runs, or it has just returned.
    #[error("no guest of the store is running")]
    NotRunning,
    /// The guest was entered by a plain call, which returns only when it is over.
    #[error("the guest was called in a way that cannot be suspended")]
    NotSuspendable,
}

/// Why an execution was ended from outside. Errors that contain this contain [`Trap::Interrupt`](cowling_abi::Trap::Interrupt),
/// too.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Terminated {
    /// By its [`KillSwitch`].
    #[error("guest terminated by its kill switch")]
    Remote,
    /// The time it was given is over.
    #[error("guest terminated: its deadline has passed")]
    Deadline,
    /// The epoch it was to reach has come.
    #[error("guest terminated: its epoch deadline has passed")]
    Epoch,
}

impl Control {
    /// A control for a store in this phase, which this thread runs if any does.
    pub(crate) fn new(
        clock: &Arc<EpochClock>,
        phase: Phase,
        thread: ThreadId,
        suspendable: bool,
    ) -> Arc<Control> {
        Arc::new(Control {
            word: AtomicU64::new(phase as u64),
            thread: AtomicI32::new(thread.0),
            suspendable: AtomicBool::new(suspendable),
            clock: clock.clone(),
            times: timer::Times::new(),
            epoch: EpochDeadline::none(),
            kills: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn word(&self) -> Word {
        Word(self.word.load(SeqCst))
    }

    /// Changes the word. Returns it as it was before; `None` from `change` leaves it like that. Async-signal-safe.
    fn update(&self, mut change: impl FnMut(Word) -> Option<Word>) -> Result<Word, Word> {
        let change = |word| change(Word(word)).map(|word| word.0);
        self.word
            .try_update(SeqCst, SeqCst, change)
            .map(Word)
            .map_err(Word)
    }

    // --- asked by other threads ---

    /// A switch for the execution that is under way, or else for the next one.
    pub fn kill_switch(self: &Arc<Self>) -> KillSwitch {
        KillSwitch {
            control: Arc::downgrade(self),
            generation: self.word().generation(),
        }
    }

    /// Stops the running guest for now, so that it can be resumed. Blocks until that is done or known to happen.
    ///
    /// # Errors
    /// When no guest runs, or it cannot be suspended.
    pub fn preempt(self: &Arc<Self>) -> Result<PreemptSuccess, PreemptError> {
        let before = self.update(|word| {
            let possible = word.phase() == Phase::Running && self.suspendable.load(SeqCst);
            possible.then(|| word.with(Word::PREEMPT | Word::WATCHED))
        });
        let generation = match before {
            Ok(word) => word.generation(),
            Err(word) if word.phase() == Phase::Running => {
                return Err(PreemptError::NotSuspendable);
            }
            Err(_) => return Err(PreemptError::NotRunning),
        };
        let mut patience = Patience::new();
        loop {
            let word = self.word();
            match word {
                _ if word.generation() != generation => return Err(PreemptError::NotRunning),
                _ if word.phase() != Phase::Running || !word.has(Word::PREEMPT) => {
                    return Ok(PreemptSuccess::Stopped);
                }
                _ if word.has(Word::HOST) => return Ok(PreemptSuccess::Pending),
                _ if word.has(Word::TAKEN) => return Err(PreemptError::NotRunning),
                _ => {}
            }
            self.signal();
            if self.is_this_thread() && self.word() == word {
                self.nag();
                return Ok(PreemptSuccess::Pending);
            }
            self.wait_for_change(word, patience.next());
        }
    }

    /// Does the calling thread run the store? Then it finds its guest's host function with the signal that it sends itself; if not, it is
    /// in code that the runtime has called, which can wait for nothing.
    fn is_this_thread(&self) -> bool {
        self.thread.load(SeqCst) == thread::id().0
    }

    /// Leaves it to the timer to signal until the request is noticed.
    fn nag(self: &Arc<Self>) {
        match timer::start() {
            Ok(()) => timer::remind(self),
            Err(error) => tracing::warn!(%error, "a guest may go on although it was asked to stop"),
        }
    }

    fn kill(self: &Arc<Self>, generation: u64) -> Result<KillSuccess, KillError> {
        let before = self.update(|word| {
            let possible = word.generation() == generation
                && word.phase() != Phase::Gone
                && !word.has(Word::KILL);
            possible.then(|| match word.phase() {
                Phase::Running => word.with(Word::KILL | Word::AWAITED),
                _ => word.with(Word::KILL),
            })
        });
        match before {
            Err(word) if word.generation() != generation || word.phase() == Phase::Gone => {
                Err(KillError::Invalid)
            }
            Err(_) => Err(KillError::NotTerminable),
            Ok(word) if word.phase() == Phase::Running => self.await_kill(generation),
            Ok(word) if word.phase() == Phase::Suspended => Ok(KillSuccess::Pending),
            Ok(_) => Ok(KillSuccess::Cancelled),
        }
    }

    /// Signals until the kill that was requested of a running execution is acted on, or known to be.
    fn await_kill(self: &Arc<Self>, generation: u64) -> Result<KillSuccess, KillError> {
        point(Point::KillRequested, &**self);
        let mut patience = Patience::new();
        loop {
            let word = self.word();
            if word.generation() != generation {
                let mut kills = self.kills.lock().unwrap_or_else(PoisonError::into_inner);
                let at = kills.iter().position(|&(of, _)| of == generation);
                // The execution that ended has put it there.
                return at.map_or(Err(KillError::NotTerminable), |at| kills.swap_remove(at).1);
            }
            if let Some(answer) = word.kill_answer() {
                if self.take_answer(word) {
                    return Ok(answer);
                }
                continue;
            }
            self.signal();
            point(Point::KillSignalled, &**self);
            if self.is_this_thread() && self.word() == word {
                self.word.fetch_or(Word::DEFERRED, SeqCst);
                self.nag();
                continue;
            }
            self.wait_for_change(word, patience.next());
        }
    }

    /// The killer does not wait any more; `false` if the word has changed meanwhile.
    fn take_answer(&self, word: Word) -> bool {
        let done = word.without(Word::AWAITED);
        self.word
            .compare_exchange(word.0, done.0, SeqCst, SeqCst)
            .is_ok()
    }

    /// Asks a running guest for something, and makes sure that it is noticed, without waiting for it: what the timer and epochs do.
    /// Preemption is asked only of what can be suspended.
    pub(crate) fn request(self: &Arc<Self>, bit: u64) {
        let asked = self.update(|word| {
            let wanted = match bit {
                Word::DEADLINE => true,
                Word::PREEMPT => word.phase() == Phase::Running && self.suspendable.load(SeqCst),
                _ => word.phase() == Phase::Running,
            };
            wanted.then(|| word.with(bit))
        });
        if asked.is_ok_and(Word::may_need_signal) {
            self.signal();
            timer::remind(self);
        }
    }

    /// Asks whatever runs, or runs next, to end, without waiting for it; `true` if it has to be signalled until it has noticed, for
    /// which the caller answers. Async-signal-safe.
    pub(crate) fn ask_to_end(&self) -> bool {
        let asked =
            self.update(|word| (word.phase() != Phase::Gone).then(|| word.with(Word::KILL)));
        asked.is_ok_and(Word::may_need_signal)
    }

    /// Is there still a request that needs a signal to be noticed? Async-signal-safe.
    pub(crate) fn needs_reminder(&self) -> bool {
        let word = self.word();
        word.may_need_signal() && word.has(Word::REQUESTS)
    }

    /// Takes a deadline back that has passed.
    pub(crate) fn forget_deadline(&self) {
        self.word.fetch_and(!Word::DEADLINE, SeqCst);
    }

    /// Sends a signal to the thread that runs the store. It may have stopped doing so, then the signal has no effect.
    /// Async-signal-safe.
    pub(crate) fn signal(&self) {
        thread::interrupt(ThreadId(self.thread.load(SeqCst)));
    }

    fn wait_for_change(&self, from: Word, at_most: Duration) {
        thread::wait_while(&self.word, from.0, at_most);
    }

    // --- told by the thread that runs the store ---

    /// The store is entered or resumed by this thread, which calls. Returns the requests there are.
    pub(crate) fn enter(&self, thread: ThreadId, suspendable: bool) -> Word {
        // Ordered before the word by the change of that. Nearly always they are right already, and reading them costs nothing.
        if self.thread.load(Relaxed) != thread.0 {
            self.thread.store(thread.0, Relaxed);
        }
        if self.suspendable.load(Relaxed) != suspendable {
            self.suspendable.store(suspendable, Relaxed);
        }
        let running = |word: Word| Some(word.in_phase(Phase::Running));
        let entered = self.update(running);
        debug_assert!(entered.is_ok_and(|word| word.phase() != Phase::Gone));
        // What is published now is seen by whoever advances the clock after we have read it.
        if self.epoch.has_come(self.clock.current()) {
            self.word.fetch_or(Word::EPOCH, SeqCst);
        }
        self.word()
    }

    /// The thread that runs the store from now on; returns the one that did. For a store entered on a second thread while the
    /// first one waits.
    pub(crate) fn change_thread(&self, thread: ThreadId) -> ThreadId {
        ThreadId(self.thread.swap(thread.0, SeqCst))
    }

    /// The computation becomes suspended.
    pub(crate) fn suspend(&self) {
        let before = self.update(|word| {
            let mut next = word
                .in_phase(Phase::Suspended)
                .without(Word::PREEMPT | Word::EPOCH | Word::HOST | Word::WATCHED);
            if word.has(Word::KILL) {
                next = next.with(Word::DEFERRED);
            }
            Some(next)
        });
        self.tell(before);
    }

    /// The execution is over.
    pub(crate) fn leave(&self) {
        let simple = self
            .update(|word| (!word.has(Word::AWAITED)).then(|| word.next_generation(Phase::Idle)));
        if simple.is_ok() {
            return self.tell(simple);
        }
        let mut kills = self.kills.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.update(|word| Some(word.next_generation(Phase::Idle)));
        if let Ok(word) = before
            && word.has(Word::AWAITED)
        {
            let answer = word.kill_answer().ok_or(KillError::NotTerminable);
            kills.push((word.generation(), answer));
        }
        drop(kills);
        self.tell(before);
    }

    /// The store is dropped.
    pub(crate) fn gone(&self) {
        let before = self.update(|word| Some(word.next_generation(Phase::Gone)));
        self.tell(before);
    }

    /// The signal handler found the guest in a host function, which will look for requests when it returns. Async-signal-safe.
    pub(crate) fn defer(&self) {
        let before = self.update(|word| {
            let deferred = if word.has(Word::KILL) {
                Word::DEFERRED
            } else {
                0
            };
            Some(word.with(Word::HOST | deferred))
        });
        self.tell(before);
    }

    /// What was asked, for whoever will do it now: it is taken off the word, or marked as taken. Async-signal-safe.
    pub(crate) fn take_requests(&self) -> Requests {
        let before = self.update(|word| {
            let taken = if word.has(Word::KILL) { Word::TAKEN } else { 0 };
            let rest = word.without(Word::HOST | Word::PREEMPT | Word::EPOCH);
            Some(rest.with(taken))
        });
        self.tell(before);
        let word = before.unwrap_or_else(|word| word);
        Requests {
            ends: word.ends(),
            epoch: word.has(Word::EPOCH),
            preempt: word.has(Word::PREEMPT),
        }
    }

    /// Wakes whoever waits for the change that was made.
    fn tell(&self, before: Result<Word, Word>) {
        if before.is_ok_and(|word| word.has(Word::AWAITED | Word::WATCHED)) {
            thread::wake_all(&self.word);
        }
    }
}

/// What was asked of a guest.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Requests {
    /// To end, for this reason.
    pub(crate) ends: Option<Terminated>,
    /// To look at the epoch.
    pub(crate) epoch: bool,
    /// To stop for now.
    pub(crate) preempt: bool,
}

impl Word {
    /// What a killer is told when the word is this, if it can be told already.
    fn kill_answer(self) -> Option<KillSuccess> {
        if self.has(Self::DEFERRED | Self::HOST) {
            Some(KillSuccess::Pending)
        } else if self.has(Self::TAKEN) {
            Some(KillSuccess::Signalled)
        } else {
            None
        }
    }

    /// Why the execution has to end, if it has.
    pub(crate) fn ends(self) -> Option<Terminated> {
        match self {
            _ if self.has(Self::KILL) => Some(Terminated::Remote),
            _ if self.has(Self::DEADLINE) => Some(Terminated::Deadline),
            _ => None,
        }
    }

    fn may_need_signal(self) -> bool {
        self.phase() == Phase::Running && !self.has(Self::HOST | Self::TAKEN)
    }
}

impl KillSwitch {
    /// Ends the execution: see the table at the head of this file. Blocks until a guest that runs its own code has stopped.
    ///
    /// # Errors
    /// When the execution was killed before or is over.
    pub fn terminate(&self) -> Result<KillSuccess, KillError> {
        let control = self.control.upgrade().ok_or(KillError::Invalid)?;
        control.kill(self.generation)
    }
}

/// How long to wait before signalling again: at first as long as a signal takes, then longer and longer.
struct Patience(Duration);

impl Patience {
    fn new() -> Patience {
        Patience(Duration::from_micros(50))
    }

    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(Duration::from_millis(2));
        now
    }
}
