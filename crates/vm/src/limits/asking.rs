//! Asking a store's limiter, and waiting for one that is asynchronous.
//!
//! ```text
//!   asking(store, work)
//!     work(&mut StoreInner) --> may this grow? --> not known: the question is noted, and the work fails
//!     the limiter is asked, and waited for      nobody has a reference to the store meanwhile
//!     work(&mut StoreInner) --> may this grow? --> the answer
//! ```
//!
//! Questions come up in the middle of work on the store. Waiting for an answer suspends the stack, and then nothing there may refer to
//! the store, which others use. So work that meets an open question fails before it has changed anything, and is done again
//! with the answers that there are, in the order in which they were given. A limiter that is not asynchronous is asked at once.
//!
//! # Invariant
//!
//! Work asks before it changes what it would not change in the same way when it is done again.

use super::{ResourceLimiter, ResourceLimiterAsync};
use crate::error::{Error, Result};
use crate::store::{Counts, StoreInner};
use crate::suspend::{CannotSuspend, NeedsAsync};
use std::mem;
use std::ptr::NonNull;

/// What grows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Growing {
    /// A memory or a heap. Sizes are in bytes.
    Memory,
    /// A table. Sizes are in elements.
    Table,
}

/// What a limiter is asked: may this go from `current` to `desired`?
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    pub(crate) what: Growing,
    pub(crate) current: usize,
    pub(crate) desired: usize,
    pub(crate) maximum: Option<usize>,
}

/// A store's limiter, of either kind.
pub(crate) enum AnyLimiter<'a> {
    Plain(&'a mut dyn ResourceLimiter),
    Async(&'a mut dyn ResourceLimiterAsync),
    /// It is gone: a call that waited for it was abandoned. Nothing is allowed any more.
    Lost,
}

/// The store's limiter is gone: it was waited for in a call whose future was forgotten.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store's limiter is lost: the future of a call was forgotten while it was waited for")]
pub(crate) struct LimiterLost;

/// Calls its second argument with the limiter of a store. See `with_limiter` in the module `store`.
pub(crate) type LimiterAccess = unsafe fn(NonNull<StoreInner>, &mut dyn FnMut(AnyLimiter<'_>));

/// Asks the asynchronous limiter of a store and waits. See `ask_and_wait` in the module `store`.
pub(crate) type Ask = unsafe fn(NonNull<StoreInner>, Growth) -> Result<bool>;

/// What is known of an asynchronous limiter's answers.
pub(crate) struct Answers {
    ask: Ask,
    /// Is there somebody who will ask and wait? Otherwise a question fails for good.
    is_asking: bool,
    /// Answers to the work that is being done, in order.
    given: Vec<(Growth, Result<bool>)>,
    /// How many of them it has met so far.
    met: usize,
    /// The question without an answer.
    open: Option<Growth>,
}

impl AnyLimiter<'_> {
    /// How many of each there may be.
    pub(crate) fn counts(&self) -> Counts {
        let (instances, memories, tables) = match self {
            AnyLimiter::Plain(limiter) => {
                (limiter.instances(), limiter.memories(), limiter.tables())
            }
            AnyLimiter::Async(limiter) => {
                (limiter.instances(), limiter.memories(), limiter.tables())
            }
            AnyLimiter::Lost => (0, 0, 0),
        };
        Counts {
            instances,
            memories,
            tables,
        }
    }

    /// May something grow? To be asked of a limiter that is not asynchronous.
    pub(crate) fn growing(self, growth: Growth) -> Result<bool> {
        let Growth {
            what,
            current,
            desired,
            maximum,
        } = growth;
        match (self, what) {
            (AnyLimiter::Plain(limiter), Growing::Memory) => {
                limiter.memory_growing(current, desired, maximum)
            }
            (AnyLimiter::Plain(limiter), Growing::Table) => {
                limiter.table_growing(current, desired, maximum)
            }
            (AnyLimiter::Async(_), _) => Err(needs_async()),
            (AnyLimiter::Lost, _) => Err(LimiterLost.into()),
        }
    }

    /// Something that was allowed to grow did not.
    pub(crate) fn grow_failed(self, what: Growing, error: Error) -> Result<()> {
        match (self, what) {
            (AnyLimiter::Plain(limiter), Growing::Memory) => limiter.memory_grow_failed(error),
            (AnyLimiter::Plain(limiter), Growing::Table) => limiter.table_grow_failed(error),
            (AnyLimiter::Async(limiter), Growing::Memory) => limiter.memory_grow_failed(error),
            (AnyLimiter::Async(limiter), Growing::Table) => limiter.table_grow_failed(error),
            (AnyLimiter::Lost, _) => Err(LimiterLost.into()),
        }
    }
}

fn needs_async() -> Error {
    NeedsAsync {
        what: "limiter",
        source: CannotSuspend::NoTask,
    }
    .into()
}

impl Answers {
    /// None yet.
    pub(crate) fn new(ask: Ask) -> Answers {
        Answers {
            ask,
            is_asking: false,
            given: Vec::new(),
            met: 0,
            open: None,
        }
    }

    /// The answer to the next question of the work that is being done.
    ///
    /// # Errors
    /// What the limiter answered, or that there is no answer yet.
    pub(crate) fn to(&mut self, growth: Growth) -> Result<bool> {
        if !self.is_asking || self.open.is_some() {
            return Err(needs_async());
        }
        if let Some((asked, answer)) = self.given.get_mut(self.met)
            && *asked == growth
        {
            self.met += 1;
            return match answer {
                Ok(answer) => Ok(*answer),
                // The work ends with it.
                Err(_) => mem::replace(answer, Ok(false)),
            };
        }
        // Another question than the last time: what was answered from here on is of no use.
        self.given.truncate(self.met);
        self.open = Some(growth);
        Err(needs_async())
    }

    /// The work is done from the beginning.
    fn begin(&mut self) {
        (self.is_asking, self.met, self.open) = (true, 0, None);
    }

    fn end(&mut self) {
        (self.is_asking, self.met, self.open) = (false, 0, None);
        self.given.clear();
    }
}

/// Does something that may ask the limiter. One that is asynchronous is waited for, which suspends the computation.
///
/// # Errors
/// Those of the work, of which one is that nothing can wait here.
///
/// # Safety
/// `store` points to all of a store, which may be used and of which no reference is alive.
#[inline]
pub(crate) unsafe fn asking<R, E>(
    store: NonNull<StoreInner>,
    mut work: impl FnMut(&mut StoreInner) -> Result<R, E>,
) -> Result<R, E> {
    // SAFETY: as the caller says; each reference ends with its statement.
    unsafe {
        match (*store.as_ptr()).answers() {
            None => work(&mut *store.as_ptr()),
            Some(_) => asking_async(store, &mut work),
        }
    }
}

/// [`asking`] an asynchronous limiter.
#[cold]
unsafe fn asking_async<R, E>(
    store: NonNull<StoreInner>,
    work: &mut dyn FnMut(&mut StoreInner) -> Result<R, E>,
) -> Result<R, E> {
    /// The work is over, by a panic too.
    struct Ended(NonNull<StoreInner>);

    impl Drop for Ended {
        fn drop(&mut self) {
            // SAFETY: `asking` keeps the store for the life of this; the reference ends with the statement.
            if let Some(answers) = unsafe { (*self.0.as_ptr()).answers() } {
                answers.end();
            }
        }
    }

    let _ended = Ended(store);
    loop {
        // SAFETY: as the caller says; the reference ends with the block, before the limiter is waited for.
        let (done, open) = unsafe {
            let inner = &mut *store.as_ptr();
            if let Some(answers) = inner.answers() {
                answers.begin();
            }
            let done = work(inner);
            let answers = inner.answers();
            let open = answers.and_then(|answers| Some((answers.ask, answers.open.take()?)));
            (done, open)
        };
        let (Err(_), Some((ask, growth))) = (&done, open) else {
            return done;
        };
        drop(done);
        // SAFETY: as the caller says.
        let answer = unsafe { ask(store, growth) };
        // SAFETY: as above; the reference ends with the statement.
        if let Some(answers) = unsafe { (*store.as_ptr()).answers() } {
            answers.given.push((growth, answer));
        }
    }
}
