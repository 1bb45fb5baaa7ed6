//! What callers do wrong in safe code, as tables: each entry is refused with an error that names the culprit.
//!
//! | file | misuse |
//! |---|---|
//! | `engines` | modules, types, linkers and shared memories of another engine |
//! | `stores` | objects, exceptions and what is prepared for another store |
//! | `removed` | what is used after it was removed, by something that holds on to it |
//! | `reentrancy` | callbacks that do what they should not |
//! | `limits` | every limit that can be reached |
//! | `files` | files that are not what they should be |
//!
//! Handles used with another store are in `wrong_store`, removed ones in `freeing`, artifacts in `artifacts` and `signing`.

mod engines;
mod files;
mod limits;
mod reentrancy;
mod removed;
mod stores;

use cowling::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context as Polling, Poll, Waker};

/// A misuse: what it is, what is done, and what the error says, with its causes.
type Misuse<S> = (
    &'static str,
    fn(&mut S) -> Result<()>,
    &'static [&'static str],
);

/// Does every misuse in a world of its own, which has to work afterwards. All that go wrong are reported, not the first alone.
#[track_caller]
fn are_refused<S>(world: impl Fn() -> S, works: impl Fn(&mut S), misuses: &[Misuse<S>]) {
    let mut problems = Vec::new();
    for (what, does, says) in misuses {
        let mut world = world();
        match catch_unwind(AssertUnwindSafe(|| does(&mut world))) {
            Err(_) => problems.push(format!("{what}: panics")),
            Ok(Ok(())) => problems.push(format!("{what}: accepted")),
            Ok(Err(error)) => {
                let text = format!("{error:#}");
                if !says.iter().all(|part| text.contains(part)) {
                    problems.push(format!("{what}: {text:?} does not say {says:?}"));
                }
            }
        }
        if catch_unwind(AssertUnwindSafe(|| works(&mut world))).is_err() {
            problems.push(format!("{what}: nothing works afterwards"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The result of a future that waits for nothing.
fn ready<V>(future: impl Future<Output = V>) -> V {
    match pin!(future).poll(&mut Polling::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}
