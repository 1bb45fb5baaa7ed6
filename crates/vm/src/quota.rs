//! What one store may take, fixed when it is made: its stack, and how much its memories and tables may hold together.
//!
//! A [`ResourceLimiter`](crate::limits::ResourceLimiter) is the embedder's code and is asked about one memory or table at a time.
//! A quota is a number that the store itself watches, over all of its memories or tables; it is looked at first.

use crate::error::GrowError;
use cowling_abi::knobs::Knobs;

/// What a store may take.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of stack for guest code.
    pub wasm_stack: u64,
    /// Bytes of stack that must be left when a host function is called; they come on top of `wasm_stack`.
    pub host_stack_reserve: u64,
    /// The most bytes that all memories of the store may have together.
    pub memory_bytes: u64,
    /// The most elements that all tables of the store may have together.
    pub table_elements: u64,
}

impl Quota {
    /// What the engine's settings give a store: stacks as they say, memories and tables as large as the limiter allows.
    pub fn from_knobs(knobs: &Knobs) -> Quota {
        Quota {
            wasm_stack: knobs.max_wasm_stack as u64,
            host_stack_reserve: knobs.host_stack_reserve as u64,
            memory_bytes: u64::MAX,
            table_elements: u64::MAX,
        }
    }
}

/// Checks that something which grows from `current` to `desired` of `unit`, each `scale` of what the quota counts, keeps within
/// the quota's `limit`, of which `used` are in use.
pub(crate) fn check(
    what: &'static str,
    unit: &'static str,
    (current, desired): (u64, u64),
    scale: u64,
    used: impl FnOnce() -> u64,
    limit: u64,
) -> Result<(), GrowError> {
    let delta = desired.saturating_sub(current);
    if limit == u64::MAX || used().saturating_add(delta.saturating_mul(scale)) <= limit {
        return Ok(());
    }
    Err(GrowError::Quota {
        what,
        unit,
        current,
        delta,
        limit: limit / scale,
    })
}
