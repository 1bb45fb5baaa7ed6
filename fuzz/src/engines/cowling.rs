//! Cowling, in several configurations.

use super::store_api::store_api;

use anyhow::{Context, Result};
use cowling::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

store_api!(cowling);

struct Cowling {
    name: &'static str,
    engine: Engine,
    fuel: bool,
}

/// Settings, as `-C name=value` takes them.
type Settings = &'static [(&'static str, &'static str)];

const CONFIGURATIONS: &[(&str, Settings)] = &[
    ("by default", &[]),
    ("without optimisation", &[("cranelift_opt_level", "none")]),
    (
        "with bounds checks",
        &[("memory_reservation", "0"), ("memory_guard_size", "0")],
    ),
    ("with fuel", &[("consume_fuel", "true")]),
    ("with a pool", &[]),
    ("without images", &[("memory_init_cow", "false")]),
    (
        "with registers given in one pass",
        &[("cranelift_regalloc_algorithm", "single_pass")],
    ),
    ("collecting at every allocation", &[("gc_stress", "true")]),
];

/// All configurations, the default first.
pub(super) fn engines() -> Result<Vec<Box<dyn super::Engine>>> {
    let engine = |&(name, settings): &(&'static str, Settings)| -> Result<Box<dyn super::Engine>> {
        let mut config = Config::new();
        config.set_knob("relaxed_simd_deterministic", "true")?;
        // Modules are small, and run side by side already.
        config.set_knob("parallel_compilation", "false")?;
        for (name, value) in settings {
            config.set_knob(name, value)?;
        }
        if name == "with a pool" {
            let mut pool = PoolingAllocationConfig::default();
            pool.max_tables_per_module(100).max_memories_per_module(100);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
        Ok(Box::new(Cowling {
            name,
            engine: Engine::new(&config).context(name)?,
            fuel: settings.contains(&("consume_fuel", "true")),
        }))
    };
    CONFIGURATIONS.iter().map(engine).collect()
}

impl super::Engine for Cowling {
    fn name(&self) -> String {
        format!("cowling {}", self.name)
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn run(&self, module: &[u8], seed: u64) -> Outcome {
        let mut store = Store::new(&self.engine, ());
        if self.fuel
            && let Err(error) = store.set_fuel(1 << 60)
        {
            return Outcome::Refused(error.to_string());
        }
        run_module(&self.engine, store, module, seed)
    }
}

/// The heap is full: Cowling has a trap for that.
fn is_exhaustion(text: &str) -> bool {
    text == cowling::Trap::GcHeapOutOfMemory.to_string()
}
