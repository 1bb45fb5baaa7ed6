//! A program that is measured, and what it has to print.

use crate::Outcome;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A program, to be run by one engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    /// What runs it, as it is called if its output is not that of another one.
    pub engine: String,
    /// The binary.
    pub module: PathBuf,
    /// Its working directory.
    pub directory: PathBuf,
    /// Where its output is noted by whoever runs it first, to be compared by all others.
    pub output: PathBuf,
}

/// What a run printed, and how it ended.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Output {
    exit: i32,
    stdout: String,
    stderr: String,
}

/// Who printed it.
#[derive(Serialize, Deserialize)]
struct Noted {
    engine: String,
    output: Output,
}

impl Program {
    /// Its name.
    pub fn name(&self) -> String {
        let stem = self.module.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }

    /// The binary.
    pub fn wasm(&self) -> Result<Vec<u8>> {
        fs::read(&self.module).with_context(|| format!("cannot read {}", self.module.display()))
    }

    /// Checks that it printed what it printed when it was run before, by any engine, and ended in the same way.
    pub fn check(&self, outcome: &Outcome) -> Result<()> {
        let output = Output {
            exit: outcome.exit,
            stdout: String::from_utf8_lossy(&outcome.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&outcome.stderr).into_owned(),
        };
        let Some(noted) = read(&self.output)? else {
            let engine = self.engine.clone();
            let noted = Noted { engine, output };
            return fs::write(&self.output, serde_json::to_vec(&noted)?)
                .with_context(|| format!("cannot write {}", self.output.display()));
        };
        let differ = |what: &str, this: &str, other: &str| {
            let (this, other) = first_difference(this, other);
            bail!(
                "it printed {this:?} to its {what} where {} printed {other:?}",
                noted.engine
            )
        };
        let expected = &noted.output;
        if output.stdout != expected.stdout {
            return differ("standard output", &output.stdout, &expected.stdout);
        }
        if output.stderr != expected.stderr {
            return differ("standard error", &output.stderr, &expected.stderr);
        }
        if output.exit != expected.exit {
            bail!(
                "it ended with code {}, with {} it was {}",
                output.exit,
                noted.engine,
                expected.exit
            );
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Noted>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The first lines that differ.
fn first_difference<'a>(one: &'a str, other: &'a str) -> (&'a str, &'a str) {
    let (mut one, mut other) = (one.lines(), other.lines());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return ("", ""),
            (a, b) if a == b => {}
            (a, b) => return (a.unwrap_or_default(), b.unwrap_or_default()),
        }
    }
}
