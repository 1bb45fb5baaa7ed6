//! What the groups are measured with: the command line's wishes, a scratch directory, and the program that measures Wasmer.

use crate::process;
use anyhow::{Context, Result, anyhow};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tempfile::TempDir;

/// Cheap to clone.
#[derive(Clone)]
pub struct Lab(Rc<Shared>);

struct Shared {
    wishes: Wishes,
    scratch: TempDir,
    /// Built when it is first needed.
    wasmer: OnceCell<Result<PathBuf, String>>,
}

/// What the command line says about single groups.
#[derive(Default)]
pub struct Wishes {
    /// Is it only to see whether everything works?
    pub quick: bool,
    /// How many threads the group `threads` has, one number after the other.
    pub threads: Vec<usize>,
    /// How many guests are alive in the group `density`, several numbers for several tables.
    pub guests: Vec<usize>,
    /// Modules that the group `compile` compiles besides its own.
    pub modules: Vec<PathBuf>,
    /// The folder whose programs the group `suite` runs.
    pub suite: Option<PathBuf>,
}

impl Lab {
    pub fn new(wishes: Wishes) -> Result<Lab> {
        let scratch = TempDir::with_prefix("cowling-bench-");
        Ok(Lab(Rc::new(Shared {
            wishes,
            scratch: scratch.context("cannot make a scratch directory")?,
            wasmer: OnceCell::new(),
        })))
    }

    pub fn wishes(&self) -> &Wishes {
        &self.0.wishes
    }

    /// One number for a real run and one for a quick one.
    pub fn or_quick<T>(&self, thorough: T, quick: T) -> T {
        if self.0.wishes.quick { quick } else { thorough }
    }

    /// A path in a directory that is removed at the end.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.0.scratch.path().join(name)
    }

    /// A module's text as a binary in a file.
    pub fn module(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.scratch(name).with_extension("wasm");
        std::fs::write(&path, wat::parse_str(text)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The program that measures Wasmer.
    pub fn wasmer(&self) -> Result<&Path> {
        let built = self
            .0
            .wasmer
            .get_or_init(|| process::build_wasmer().map_err(|error| format!("{error:#}")));
        match built {
            Ok(path) => Ok(path),
            Err(reason) => Err(anyhow!("{reason}")),
        }
    }
}
