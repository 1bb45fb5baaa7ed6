//! Threads of a script: `(thread $t (shared (module $m)) directives...)`, `(wait $t)`.
//!
//! Each has a runner of its own, with a store of its own. Of the module that is shared with it, it sees the shared memories.

use crate::runner::{Done, Outcome, Runner};
use anyhow::{Context as _, Result, anyhow};
use std::collections::HashMap;
use std::thread::{Scope, ScopedJoinHandle};
use wast::WastThread;
use wast::token::Id;

/// The threads of a script that nobody has waited for yet, by name.
pub(crate) struct Threads<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    script: &'env str,
    running: HashMap<String, ScopedJoinHandle<'scope, Outcome>>,
}

impl<'scope, 'env> Threads<'scope, 'env> {
    pub(crate) fn new(scope: &'scope Scope<'scope, 'env>, script: &'env str) -> Self {
        Threads {
            scope,
            script,
            running: HashMap::new(),
        }
    }

    /// Starts a thread of a script that `runner` carries out.
    pub(crate) fn start<'a: 'scope>(
        &mut self,
        runner: &mut Runner,
        thread: WastThread<'a>,
    ) -> Result<Done> {
        let mut other = Runner::new(runner.engine())?;
        if let Some(module) = thread.shared_module {
            other.adopt(module, &runner.shared_memories(module)?)?;
        }
        let script = self.script;
        let handle = self
            .scope
            .spawn(move || other.directives(script, thread.directives));
        self.running.insert(thread.name.name().to_string(), handle);
        Ok(Done::Action)
    }

    /// Waits for a thread, and takes over what came of its directives.
    pub(crate) fn wait(&mut self, name: Id<'_>, outcome: &mut Outcome) -> Result<Done> {
        let handle = self
            .running
            .remove(name.name())
            .with_context(|| format!("no thread ${} is running", name.name()))?;
        take_over(handle, outcome)?;
        Ok(Done::Action)
    }

    /// Waits for all threads that are left.
    pub(crate) fn wait_for_all(self, outcome: &mut Outcome) {
        for handle in self.running.into_values() {
            if let Err(panic) = take_over(handle, outcome) {
                panic!("{panic}");
            }
        }
    }
}

fn take_over(handle: ScopedJoinHandle<'_, Outcome>, outcome: &mut Outcome) -> Result<()> {
    let other = handle.join().map_err(|_| anyhow!("the thread panicked"))?;
    outcome.report.directives += other.report.directives;
    outcome.report.assertions += other.report.assertions;
    outcome.failures.extend(other.failures);
    outcome.consequences += other.consequences;
    Ok(())
}
