//! Permits: how a region counts its guests without all threads writing one number.
//!
//! ```text
//!   free: permits nobody holds       idle, one for each place of threads: permits that are at hand there
//!   +-----------------+   several    +------+------+------+
//!   | changes | count | <==========> |  2   |  0   |  7   | <---- take, give back: a thread uses its own
//!   +-----------------+    at once   +------+------+------+       and, when nothing else is left, the others'
//! ```
//!
//! # Invariants
//!
//! * Free permits, idle ones, those that are taken, and those that a thread is moving (`moving` counts such threads) are together as
//!   many as the region has slots. So there are never more guests than slots.
//! * Each number is changed together with a count of its changes, in one word. Somebody who finds all numbers 0 has found a moment at which
//!   there was no permit if a second look finds the same words, and nobody was moving any: only then taking one fails.

use cowling_vm::spread;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

/// How many permits a thread gets at a time, and gives back when it has twice as many.
const BATCH: u32 = 8;

/// The permits of a region.
#[derive(Debug)]
pub(super) struct Permits {
    all: usize,
    free: Stock,
    idle: Box<[Stock]>,
    moving: AtomicUsize,
}

/// Some permits: how many, and above that how often the number has changed. In cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stock(AtomicU64);

impl Stock {
    fn count(word: u64) -> u32 {
        word as u32
    }

    /// Takes up to `most`. Returns how many it got.
    fn take(&self, most: u32) -> u32 {
        let taken = self.0.fetch_update(SeqCst, SeqCst, |word| {
            let taken = most.min(Self::count(word));
            (taken > 0).then(|| Self::changed(word, Self::count(word) - taken))
        });
        taken.map_or(0, |word| most.min(Self::count(word)))
    }

    /// Adds some. Returns how many there are then.
    fn add(&self, more: u32) -> u32 {
        let add = |word| Some(Self::changed(word, Self::count(word) + more));
        let before = (self.0.fetch_update(SeqCst, SeqCst, add)).unwrap_or_else(|word| word);
        Self::count(before) + more
    }

    fn changed(word: u64, count: u32) -> u64 {
        (word & !u64::from(u32::MAX)).wrapping_add(1 << 32) | u64::from(count)
    }
}

impl Permits {
    /// So many permits; more than 2^32 - 1 are as many as that.
    pub(super) fn new(all: usize) -> Permits {
        let count = u32::try_from(all).unwrap_or(u32::MAX);
        Permits {
            all,
            free: Stock(AtomicU64::new(u64::from(count))),
            idle: (0..spread::places()).map(|_| Stock::default()).collect(),
            moving: AtomicUsize::new(0),
        }
    }

    /// How many there are in all.
    pub(super) fn all(&self) -> usize {
        self.all
    }

    /// How many are taken. Exact while no thread takes one or gives one back.
    pub(super) fn taken(&self) -> usize {
        let left: usize = (self.stocks())
            .map(|stock| Stock::count(stock.0.load(SeqCst)) as usize)
            .sum();
        self.all.min(u32::MAX as usize).saturating_sub(left)
    }

    fn stocks(&self) -> impl Iterator<Item = &Stock> {
        std::iter::once(&self.free).chain(&self.idle)
    }

    /// Takes one. False if all are taken.
    #[inline]
    pub(super) fn take(&self) -> bool {
        self.idle[spread::place()].take(1) == 1 || self.take_elsewhere()
    }

    #[cold]
    fn take_elsewhere(&self) -> bool {
        loop {
            self.moving.fetch_add(1, SeqCst);
            let taken = self.free.take(BATCH);
            if taken > 1 {
                self.idle[spread::place()].add(taken - 1);
            }
            self.moving.fetch_sub(1, SeqCst);
            if taken > 0 {
                return true;
            }
            let look = || -> Vec<u64> { self.stocks().map(|s| s.0.load(SeqCst)).collect() };
            let seen = look();
            if self.idle.iter().any(|stock| stock.take(1) == 1) {
                return true;
            }
            let nothing = seen.iter().all(|&word| Stock::count(word) == 0);
            if nothing && self.moving.load(SeqCst) == 0 && look() == seen {
                return false;
            }
            // Somebody else was faster, or is just moving some.
            std::thread::yield_now();
        }
    }

    /// Gives one back.
    #[inline]
    pub(super) fn give_back(&self) {
        let mine = &self.idle[spread::place()];
        if mine.add(1) >= 2 * BATCH {
            self.give_back_several(mine);
        }
    }

    #[cold]
    fn give_back_several(&self, mine: &Stock) {
        self.moving.fetch_add(1, SeqCst);
        let taken = mine.take(BATCH);
        if taken > 0 {
            self.free.add(taken);
        }
        self.moving.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_there_should_be() {
        for all in [1, 2, BATCH as usize, 3 * BATCH as usize + 1, 100] {
            let permits = Permits::new(all);
            for taken in 0..all {
                assert_eq!(permits.taken(), taken);
                assert!(permits.take());
            }
            assert!(!permits.take());
            for left in (0..all).rev() {
                permits.give_back();
                assert_eq!(permits.taken(), left);
            }
        }
    }

    #[test]
    fn what_one_thread_has_at_hand_another_gets() {
        let permits = Permits::new(BATCH as usize);
        assert!(permits.take());
        permits.give_back();
        std::thread::scope(|threads| {
            let all = threads.spawn(|| (0..BATCH).all(|_| permits.take()));
            assert!(all.join().unwrap());
        });
        assert!(!permits.take());
    }

    #[test]
    fn nobody_is_refused_while_there_is_one_for_each() {
        let threads = 4;
        let permits = Permits::new(threads);
        let most = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..20_000 {
                            assert!(permits.take(), "there is one for each thread");
                            let taken = permits.taken();
                            most.fetch_max(taken, SeqCst);
                            permits.give_back();
                        }
                    })
                })
                .collect();
            all.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert!(most.load(SeqCst) <= threads);
        assert_eq!(permits.taken(), 0);
    }
}
