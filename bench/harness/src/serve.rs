//! A process that measures for another one.

use crate::job::{Job, Reply};
use crate::timing::Run;
use anyhow::{Result, anyhow};
use std::io::{BufRead, Write, stdin, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Answers what another process asks, until it asks no more. `start` begins the job.
pub fn serve(job: &str, start: impl FnOnce(&Job) -> Result<Run>) -> Result<()> {
    let mut run = None;
    let prepare = || start(&serde_json::from_str(job)?);
    let mut prepare = Some(prepare);
    for line in stdin().lock().lines() {
        let budget = Duration::from_millis(line?.trim().parse()?);
        let sample = || {
            if let Some(prepare) = prepare.take() {
                run = Some(prepare()?);
            }
            let run: &mut Run = run.as_mut().ok_or_else(|| anyhow!("it failed before"))?;
            run(budget)
        };
        let reply = match catch_unwind(AssertUnwindSafe(sample)) {
            Ok(Ok(figures)) => Reply::Figures(figures),
            Ok(Err(error)) => Reply::Failed(format!("{error:#}")),
            Err(_) => Reply::Failed("it panicked".into()),
        };
        let mut out = stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&reply)?)?;
        out.flush()?;
    }
    Ok(())
}
