//! Wasmtime.

use super::store_api::store_api;

use anyhow::{Result, anyhow};
use wasmtime::Config;

store_api!(wasmtime);

struct Wasmtime(Engine);

/// Wasmtime with everything that is standard.
pub(super) fn engine() -> Result<Box<dyn super::Engine>> {
    let mut config = Config::new();
    config
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true)
        .wasm_tail_call(true)
        .wasm_memory64(true)
        .wasm_multi_memory(true)
        .wasm_extended_const(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_wide_arithmetic(true)
        .wasm_custom_page_sizes(true)
        .wasm_threads(true)
        .shared_memory(true);
    let engine = Engine::new(&config).map_err(|error| anyhow!("wasmtime: {error:#}"))?;
    Ok(Box::new(Wasmtime(engine)))
}

impl super::Engine for Wasmtime {
    fn name(&self) -> String {
        "wasmtime".into()
    }

    /// Compact imports are newer than it.
    fn knows_all(&self) -> bool {
        false
    }

    fn run(&self, module: &[u8], seed: u64) -> Outcome {
        run_module(&self.0, Store::new(&self.0, ()), module, seed)
    }
}

/// The heap is full: Wasmtime has an error for that.
fn is_exhaustion(text: &str) -> bool {
    text.contains("out of memory") || text.contains("GC heap")
}
