//! All that one run of a program can reach, and what came of it.

use crate::files::Files;
use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// All that one run of a program can reach.
#[derive(Debug)]
pub struct World {
    /// Its arguments, of which the first is its name, each ending in a zero.
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) files: Files,
    /// Where in its sequence of random numbers it is.
    pub(crate) random: u64,
    exit: Option<i32>,
    timer: Timer,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Processor time of the timed part.
    pub nanoseconds: u64,
    /// What the program ended with.
    pub exit: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// The program asked to end. Whoever gets it makes an error of it that ends the guest.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the program ends with code {0}")]
pub struct Exit(pub i32);

#[derive(Debug, Default)]
struct Timer {
    started: Option<Duration>,
    /// Over all timed parts.
    total: Option<Duration>,
}

impl World {
    /// The world of the program `name` that works in `directory`.
    pub fn new(name: &str, directory: &Path) -> World {
        World {
            arguments: vec![[name.as_bytes(), &[0]].concat()],
            files: Files::new(directory),
            random: 0,
            exit: None,
            timer: Timer::default(),
        }
    }

    pub(crate) fn start_timer(&mut self) {
        self.timer.started = Some(processor_time());
    }

    pub(crate) fn stop_timer(&mut self) {
        let now = processor_time();
        if let Some(started) = self.timer.started.take() {
            *self.timer.total.get_or_insert_default() += now.saturating_sub(started);
        }
    }

    pub(crate) fn exit(&mut self, code: i32) {
        self.exit = Some(code);
    }

    pub(crate) fn exited(&self) -> Option<Exit> {
        self.exit.map(Exit)
    }

    /// What came of it, after the program's `_start` has ended in `result`.
    ///
    /// # Errors
    ///
    /// `result`, if it is an error other than that the program asked to end; that there was no timed part.
    pub fn outcome(self, result: Result<()>) -> Result<Outcome> {
        let exit = match self.exit {
            Some(code) => code,
            None => result.map(|()| 0)?,
        };
        let time = self.timer.total.with_context(|| {
            let stderr = String::from_utf8_lossy(&self.files.stderr);
            format!(
                "it ended with code {exit} without a call of `bench.start` and `bench.end`; its standard error: {stderr:?}"
            )
        })?;
        ensure!(
            self.timer.started.is_none(),
            "the program called `bench.start` without `bench.end`"
        );
        Ok(Outcome {
            nanoseconds: time.as_nanos() as u64,
            exit,
            stdout: self.files.stdout,
            stderr: self.files.stderr,
        })
    }
}

/// Processor time that this thread has had.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}
