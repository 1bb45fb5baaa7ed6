//! The states of a guest, and which operation is allowed in which.
//!
//! ```text
//!                     build, reset (from every state)
//!                                  |
//!            has a start function  |  has none
//!                   +--------------+--------------+
//!                   v                             v
//!             +------------+  run_start     +------------+   returned      +-----------------------+
//!             | NotStarted |--------------->|   Ready    |<----------------|        running        |
//!             +------------+   returned     +------------+                 |  (inside run, resume, |
//!                   |                             |  run, run_func_idx,    |   run_start; or, seen |
//!                   |                             |  run_typed, run_for    |   from outside, while |
//!                   |                             +----------------------->|   a future of         |
//!                   |   run_start                                          |   run_async lives)    |
//!                   +----------------------------------------------------->|                       |
//!                                                                          +-----------------------+
//!        run (as from Ready)    +---------+            fault                 |  |  |  |  |  ^
//!        +----------------------| Faulted |<---------------------------------+  |  |  |  |  |
//!        v                      +---------+                                     |  |  |  |  |
//!     running                                host function yields               |  |  |  |  |
//!                               +---------+<------------------------------------+  |  |  |  |
//!                               | Yielded |                                        |  |  |  |
//!                               +---------+---- resume, resume_with_val -----------|--|--|--+
//!                                            quantum over, preempt                 |  |  |  |
//!                               +-----------+<-------------------------------------+  |  |  |
//!                               | Preempted |                                         |  |  |
//!                               +-----------+-- resume -------------------------------|--|--+
//!                                            fuel for this stretch used up            |  |  |
//!                               +--------------+<-------------------------------------+  |  |
//!                               | BoundExpired |                                         |  |
//!                               +--------------+ resume ---------------------------------|--+
//!                                            kill, deadline, terminate, error or panic   |
//!                               +------------+  of a host function, start yielded        |
//!                               | Terminated |<------------------------------------------+
//!                               +------------+
//! ```
//!
//! | | NotStarted | Ready | Yielded | Preempted, BoundExpired | Faulted | Faulted for good, Terminated, Running |
//! |---|---|---|---|---|---|---|
//! | `run*` | `NotStarted` | runs | `Suspended` | `Suspended` | runs | `NeedsReset` |
//! | `run_start` | runs | `AlreadyStarted`¹ | `AlreadyStarted`¹ | `AlreadyStarted`¹ | `AlreadyStarted`¹ | `AlreadyStarted`¹ |
//! | `resume` | `NotSuspended` | `NotSuspended` | continues² | continues | `NotSuspended` | `NotSuspended` |
//! | `resume_with_val` | `NotSuspended` | `NotSuspended` | continues² | `Unexpected` | `NotSuspended` | `NotSuspended` |
//! | `reset` | resets | resets | cancels, resets | cancels, resets | resets | resets |
//! | access³ | yes | yes | yes | yes | yes | yes |
//! | dropping | yes | yes | cancels | cancels | yes | yes |
//!
//! 1. Nothing happens, successfully, when there is no start function.
//! 2. If a value is expected and given, or neither; otherwise `Missing`, `Unexpected` or `WrongType`, and it stays as it was.
//! 3. `heap`, `globals`, `check_heap`, `contexts`, `data`, instruction count. `grow_memory` is refused when the memory would move
//!    under a preempted guest.
//!
//! A guest is faulted for good when it trapped in its start function, because it is only half initialised then, and when the fault
//! was fatal.

use super::error::GuestError;
use std::fmt;

/// Where a guest is in its life. Drawn in the file this type is defined in, and in `docs/guest.md`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It has a start function that has not run: [`Guest::run_start`](crate::Guest::run_start).
    NotStarted,
    /// It can be run.
    Ready,
    /// It runs. Never seen from outside, unless the future of an asynchronous run was forgotten.
    Running,
    /// A host function yielded. It can be resumed.
    Yielded {
        /// Name of the type of the value it wants to be resumed with.
        expects: Option<&'static str>,
    },
    /// It was interrupted. It can be resumed.
    Preempted,
    /// The instructions it may execute in one stretch are used up. It can be resumed.
    BoundExpired,
    /// It trapped.
    Faulted {
        /// Can it be run again? Otherwise it must be reset first: it trapped in its start function, or did what guests cannot do.
        recoverable: bool,
    },
    /// It was stopped by something other than a trap. It must be reset.
    Terminated,
}

impl State {
    /// May a function be run?
    pub(super) fn check_run(self) -> Result<(), GuestError> {
        match self {
            State::Ready | State::Faulted { recoverable: true } => Ok(()),
            State::NotStarted => Err(GuestError::NotStarted),
            State::Yielded { .. } | State::Preempted | State::BoundExpired => {
                Err(GuestError::Suspended { state: self })
            }
            State::Running | State::Terminated | State::Faulted { recoverable: false } => {
                Err(GuestError::NeedsReset { state: self })
            }
        }
    }

    /// Can it be resumed?
    #[inline]
    pub fn is_suspended(self) -> bool {
        matches!(
            self,
            State::Yielded { .. } | State::Preempted | State::BoundExpired
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::NotStarted => f.write_str("not started"),
            State::Ready => f.write_str("ready"),
            State::Running => f.write_str("running"),
            State::Yielded { expects: None } => f.write_str("yielded"),
            State::Yielded {
                expects: Some(expects),
            } => write!(f, "yielded and expects a value of type {expects}"),
            State::Preempted => f.write_str("preempted"),
            State::BoundExpired => f.write_str("at the end of its instruction bound"),
            State::Faulted { recoverable: true } => f.write_str("faulted"),
            State::Faulted { recoverable: false } => f.write_str("faulted for good"),
            State::Terminated => f.write_str("terminated"),
        }
    }
}
