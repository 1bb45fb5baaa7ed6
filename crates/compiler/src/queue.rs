//! A queue of numbered tasks that threads take from: how the functions of a module are spread over cores.
//!
//! Tasks start in the order given (large ones first, so that no thread is left with a large one at the end) and each thread
//! keeps one state with the allocations that tasks reuse. The outcome does not depend on threads or on order: results are
//! in order of their number, and of several errors the one with the lowest number is returned.

use crate::error::CompileError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Runs the tasks named in `order`, each number below its length once.
///
/// # Errors
/// The error of the failing task with the lowest number.
pub(crate) fn run<State, Output: Send>(
    order: &[u32],
    parallel: bool,
    new_state: impl Fn() -> State + Sync,
    task: impl Fn(&mut State, usize) -> Result<Output, CompileError> + Sync,
) -> Result<Vec<Output>, CompileError> {
    let next = AtomicUsize::new(0);
    // Tasks above the lowest one that failed need not run. Those below it must: one of them may fail too.
    let failed = AtomicUsize::new(usize::MAX);
    let outcomes = Mutex::new(Vec::with_capacity(order.len()));
    let work = || {
        let mut state = new_state();
        let mut own = Vec::new();
        while let Some(&number) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let number = number as usize;
            if number > failed.load(Ordering::Relaxed) {
                continue;
            }
            let outcome = task(&mut state, number);
            if outcome.is_err() {
                failed.fetch_min(number, Ordering::Relaxed);
            }
            own.push((number, outcome));
        }
        outcomes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .append(&mut own);
    };
    let threads = if parallel {
        rayon::current_num_threads().min(order.len())
    } else {
        1
    };
    if threads > 1 {
        rayon::scope(|scope| (0..threads).for_each(|_| scope.spawn(|_| work())));
    } else {
        work();
    }
    let mut outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_unstable_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The numbers of tasks, the most costly first.
pub(crate) fn costly_first(count: usize, cost: impl Fn(usize) -> u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.sort_by_key(|&number| std::cmp::Reverse(cost(number as usize)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(number: usize) -> CompileError {
        CompileError::TooLarge {
            what: number.to_string(),
        }
    }

    #[test]
    fn results_are_in_order_of_their_number_with_and_without_threads() {
        let order = costly_first(1000, |number| (number as u64 * 7919) % 1000);
        for parallel in [false, true] {
            let squares = run(&order, parallel, || (), |_, n| Ok(n * n)).unwrap();
            assert_eq!(squares, (0..1000).map(|n| n * n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_error_with_the_lowest_number_wins_whatever_runs_first() {
        let order = costly_first(1000, |number| number as u64);
        for parallel in [false, true] {
            let task = |_: &mut (), n: usize| {
                if n % 100 == 42 {
                    Err(failure(n))
                } else {
                    Ok(n)
                }
            };
            assert_eq!(run(&order, parallel, || (), task), Err(failure(42)));
        }
    }
}
