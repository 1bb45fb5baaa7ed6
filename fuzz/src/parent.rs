//! Workers and their supervision.

use crate::Options;
use crate::worker::file_name;
use crate::{generate, outcome};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What all threads count.
struct Counts {
    modules: AtomicU64,
    failures: AtomicU64,
    /// Calls that returned.
    returned: AtomicU64,
    /// Calls that ended otherwise.
    ended: AtomicU64,
}

/// Runs workers for the time that was asked for. Was everything the same?
///
/// # Errors
/// When a worker cannot be started.
pub fn run(options: &Options) -> Result<bool> {
    let first = options.first_seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        outcome::hash(&now.unwrap_or_default().as_nanos().to_le_bytes()) >> 16
    });
    let jobs = options
        .jobs
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    println!(
        "comparing on modules of WebAssembly {} for {}, {jobs} at a time, from seed {first} on",
        options.target.name(),
        humantime::format_duration(options.time),
    );
    let counts = Counts {
        modules: AtomicU64::new(0),
        failures: AtomicU64::new(0),
        returned: AtomicU64::new(0),
        ended: AtomicU64::new(0),
    };
    let end = Instant::now() + options.time;
    let bar = ProgressBar::new(options.time.as_secs());
    bar.set_style(ProgressStyle::with_template("{elapsed} of {len}s  {msg}")?);
    let done: Result<()> = thread::scope(|threads| {
        let workers: Vec<_> = (0..jobs)
            .map(|job| {
                let (counts, bar) = (&counts, &bar);
                threads.spawn(move || {
                    supervise(
                        options,
                        first.wrapping_add(job as u64),
                        jobs as u64,
                        end,
                        counts,
                        bar,
                    )
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    });
    bar.finish_and_clear();
    done?;
    let (modules, failures) = (counts.modules.load(Relaxed), counts.failures.load(Relaxed));
    println!(
        "{modules} modules, {failures} of them with a difference, a crash or a hang; {} calls returned, {} ended otherwise",
        counts.returned.load(Relaxed),
        counts.ended.load(Relaxed),
    );
    Ok(failures == 0)
}

/// Keeps one worker running, and starts another one behind a module that killed it.
fn supervise(
    options: &Options,
    mut seed: u64,
    step: u64,
    end: Instant,
    counts: &Counts,
    bar: &ProgressBar,
) -> Result<()> {
    while Instant::now() < end {
        let mut worker = Command::new(std::env::current_exe()?)
            .arg("--worker")
            .args(["--target", options.target.name()])
            .args([
                "--first-seed",
                &seed.to_string(),
                "--step",
                &step.to_string(),
            ])
            .arg("--failures")
            .arg(&options.failures)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start a worker")?;
        let output = worker.stdout.take().context("a worker without output")?;
        let (sender, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let what = loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break None;
            }
            match lines.recv_timeout(options.hang.min(left + Duration::from_secs(1))) {
                Ok(line) => {
                    if let Some(next) = line.strip_prefix("run ") {
                        seed = next.parse().context("a worker lost count")?;
                        let modules = counts.modules.fetch_add(1, Relaxed) + 1;
                        bar.set_message(format!(
                            "{modules} modules, {} failures",
                            counts.failures.load(Relaxed)
                        ));
                    } else if let Some(calls) = line.strip_prefix("done ") {
                        let mut calls = calls.split(' ').filter_map(|count| count.parse().ok());
                        for sum in [&counts.returned, &counts.ended] {
                            sum.fetch_add(calls.next().unwrap_or(0), Relaxed);
                        }
                    } else {
                        if line.starts_with("difference ") {
                            counts.failures.fetch_add(1, Relaxed);
                        }
                        bar.suspend(|| println!("{line}"));
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= end => break None,
                Err(RecvTimeoutError::Timeout) => break Some("hangs"),
                Err(RecvTimeoutError::Disconnected) => break Some("kills the process"),
            }
        };
        // Whatever state it is in: it is not needed any more.
        let _already_dead = worker.kill();
        let status = worker.wait()?;
        drop(lines);
        let _ended = reader.join();
        let Some(what) = what else { return Ok(()) };
        counts.failures.fetch_add(1, Relaxed);
        fs::create_dir_all(&options.failures)?;
        if let Ok(module) = generate::module(options.target, seed) {
            fs::write(options.failures.join(file_name(options, seed)), module)?;
        }
        bar.suspend(|| println!("crash {seed}\nthe module {what} ({status})\n"));
        seed = seed.wrapping_add(step);
    }
    Ok(())
}
