//! The engines.
//!
//! Cowling and Wasmtime have the same interface, so they have one adapter, a macro.

mod cowling;
mod store_api;
mod wasmi;
mod wasmtime;

use crate::generate::Target;
use crate::outcome::Outcome;
use anyhow::Result;

/// An engine in one configuration.
pub trait Engine {
    /// Engine and configuration, for people.
    fn name(&self) -> String;

    /// Is it Cowling?
    fn is_ours(&self) -> bool {
        false
    }

    /// Does it know everything that modules may use? Otherwise one that it refuses is passed over.
    fn knows_all(&self) -> bool {
        true
    }

    /// Instantiates a module and calls everything it exports, with arguments that follow from the seed.
    fn run(&self, module: &[u8], seed: u64) -> Outcome;
}

/// All engines for a target: first Cowling as it is by default.
///
/// # Errors
/// When one cannot be set up.
pub fn engines(target: Target) -> Result<Vec<Box<dyn Engine>>> {
    let mut engines = cowling::engines()?;
    engines.push(wasmtime::engine()?);
    engines.push(wasmi::engine(target));
    Ok(engines)
}
