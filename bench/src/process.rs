//! Processes that measure for this one: Wasmer's, and those for what needs a process of its own.

use anyhow::{Context, Result, anyhow, bail};
use cowling_bench_harness::{Job, Reply};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A process that measures one job.
pub struct Process {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// Starts `program` for a job, with a way to use an engine that it knows.
    pub fn start(program: &Path, setup: &str, job: &Job) -> Result<Process> {
        let mut child = Command::new(program)
            .args(["--measure", setup, &serde_json::to_string(job)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", program.display()))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (ask, answers) = pipes.context("the process has no pipes")?;
        Ok(Process {
            child,
            ask,
            answers: BufReader::new(answers),
        })
    }

    /// Takes a sample.
    pub fn sample(&mut self, budget: Duration) -> Result<Vec<f64>> {
        let mut line = String::new();
        let asked = writeln!(self.ask, "{}", budget.as_millis());
        if asked.is_err() || self.answers.read_line(&mut line)? == 0 {
            let status = self.child.wait()?;
            bail!("its process ended with {status}");
        }
        match serde_json::from_str(&line)? {
            Reply::Figures(figures) => Ok(figures),
            Reply::Failed(reason) => Err(anyhow!(reason)),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has nothing to lose, and what it has may be tens of thousands of guests.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Builds the program that measures Wasmer, and returns where it is.
pub fn build_wasmer() -> Result<PathBuf> {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = bench.join("target/wasmer");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    eprintln!("building the program that measures wasmer, unless it is up to date ...");
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--locked"])
        .arg("--manifest-path")
        .arg(bench.join("wasmer/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .context("cannot run cargo to build what measures wasmer")?;
    if !status.success() {
        bail!("cannot build what measures wasmer: cargo ended with {status}");
    }
    Ok(target.join("release/cowling-bench-wasmer"))
}
