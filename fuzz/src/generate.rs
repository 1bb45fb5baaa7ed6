//! Modules from seeds.

use anyhow::{Context, Result};
use arbitrary::Unstructured;
use clap::ValueEnum;
use wasm_smith::{Config, Module};
use wasmparser::{Operator, Parser, Payload};

/// What modules may use.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// WebAssembly 2.0.
    #[value(name = "2.0")]
    Version2,
    /// WebAssembly 3.0, and finished proposals beyond it.
    #[value(name = "3.0")]
    Version3,
}

impl Target {
    /// As the command line takes it.
    pub fn name(self) -> &'static str {
        match self {
            Target::Version2 => "2.0",
            Target::Version3 => "3.0",
        }
    }
}

/// How many loop headers and functions a module may pass in all before it traps.
const FUEL: u32 = 2_000;

/// The module of a seed. It has no imports, exports everything, and every call of it ends.
///
/// # Errors
/// When the generator fails, which it should not.
pub fn module(target: Target, seed: u64) -> Result<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        let module = attempt(target, &mut random)?;
        if !waits(&module)? {
            return Ok(module);
        }
    }
}

/// Can it wait for another thread? There is none, so it might wait for ever.
fn waits(module: &[u8]) -> Result<bool> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CodeSectionEntry(body) = payload? {
            for operator in body.get_operators_reader()? {
                if let Operator::MemoryAtomicWait32 { .. } | Operator::MemoryAtomicWait64 { .. } =
                    operator?
                {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

fn attempt(target: Target, random: &mut fastrand::Rng) -> Result<Vec<u8>> {
    let mut bytes = vec![0; random.usize(256..8192)];
    random.fill(&mut bytes);
    let mut input = Unstructured::new(&bytes);
    let config = config(target, random);
    let mut module = Module::new(config, &mut input).context("the generator failed")?;
    module.ensure_termination(FUEL)?;
    Ok(module.to_bytes())
}

fn config(target: Target, random: &mut fastrand::Rng) -> Config {
    let new = target == Target::Version3;
    Config {
        max_imports: 0,
        min_funcs: 1,
        max_funcs: random.usize(1..16),
        max_instructions: random.usize(20..400),
        max_memories: random.usize(0..3).max(1).min(if new { 3 } else { 1 }),
        max_tables: random.usize(1..4),
        max_globals: 12,
        max_types: 20,
        max_tags: if new { 4 } else { 0 },
        max_memory32_bytes: 4 << 16,
        max_memory64_bytes: 4 << 16,
        memory_max_size_required: true,
        max_table_elements: 200,
        table_max_size_required: true,
        export_everything: true,
        canonicalize_nans: true,
        allow_start_export: true,
        generate_custom_sections: false,
        // Without this nearly every module traps at its first access.
        disallow_traps: random.u8(..4) == 0,
        bulk_memory_enabled: true,
        multi_value_enabled: true,
        reference_types_enabled: true,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        simd_enabled: true,
        exceptions_enabled: new,
        gc_enabled: new,
        tail_call_enabled: new,
        memory64_enabled: new,
        relaxed_simd_enabled: new,
        wide_arithmetic_enabled: new,
        extended_const_enabled: new,
        custom_page_sizes_enabled: new,
        threads_enabled: new,
        compact_imports_enabled: new,
        limit_arrays_in_const_exprs: true,
        ..Config::default()
    }
}
