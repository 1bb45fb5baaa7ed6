//! The engines, and the ways they are used.
//!
//! | file | job |
//! |---|---|
//! | this | every [`Setup`]: an engine, how it is configured, and in which process it is measured |
//! | `store_api` | what the jobs of `cowling_bench_harness` need of Cowling's Store layer and of Wasmtime |
//! | `guest_layer` | the same of Cowling's Guest layer |
//! | `program` | whole programs with either |
//! | `single` | one guest of either, for the groups that suspend and interrupt it |
//!
//! Wasmer is in a program of its own, `wasmer/`.
//!
//! To add a way of using Cowling or Wasmtime: a [`Setup`] here, in `HERE`, and in the lists of the groups that it is for.

mod guest_layer;
mod program;
mod single;
mod store_api;

pub use single::{Metering, cowling, wasmtime};

use crate::lab::Lab;
use crate::measure::{Case, Run, Target};
use crate::process::Process;
use anyhow::{Error, Result, anyhow};
use cowling_bench_harness::{Job, start};
use guest_layer::GuestLayer;
use std::fmt::Display;

/// An engine's error as one of ours.
pub fn failed(error: impl Display) -> Error {
    anyhow!("{error:#}")
}

/// One way of using one engine.
pub struct Setup {
    pub engine: &'static str,
    pub name: &'static str,
    place: Place,
}

/// Where it is measured.
enum Place {
    Here(fn(&Job) -> Result<Run>),
    /// In the program in `wasmer/`, which has a setup of the same name.
    Wasmer,
}

/// Cowling as it is when nothing is configured.
pub static COWLING: Setup = Setup {
    engine: "cowling",
    name: "Store, not configured",
    place: Place::Here(|job| {
        let config = ::cowling::Config::new();
        start(store_api::cowling::StoreApi::new(&config)?, job)
    }),
};

pub static COWLING_REGION: Setup = Setup {
    engine: "cowling",
    name: "Guest in a Region",
    place: Place::Here(|job| start(GuestLayer::new(job)?, job)),
};

/// Cowling with a pool: slots for as many guests as the job has alive at once, each as large as its memory and no larger.
pub static COWLING_POOLING: Setup = Setup {
    engine: "cowling",
    name: "Store, pooling",
    place: Place::Here(|job| {
        use ::cowling::{Config, PoolingAllocationConfig};

        let slots = slots(job)?;
        let mut pooling = PoolingAllocationConfig::new();
        pooling
            .total_core_instances(slots)
            .total_memories(slots)
            .total_tables(slots)
            .max_memory_size(job.memory());
        let mut config = Config::new();
        config
            .allocation_strategy(pooling)
            .memory_reservation(job.memory() as u64)
            .memory_guard_size(1 << 16);
        start(store_api::cowling::StoreApi::new(&config)?, job)
    }),
};

/// Wasmtime's pool. Its slots are no larger than the memory, everything else is not configured: what it dirtied is given back to
/// the system. Everything is compared with this one.
pub static WASMTIME_POOLING: Setup = Setup {
    engine: "wasmtime",
    name: "pooling",
    place: Place::Here(|job| {
        let pool = Pool {
            kept: 0,
            scan: false,
            batch: 1,
        };
        start_pooling(job, pool)
    }),
};

/// The same as is fastest for memories of a few pages: it zeroes all of them.
pub static WASMTIME_KEPT: Setup = Setup {
    engine: "wasmtime",
    name: "pooling, 64 KiB kept",
    place: Place::Here(|job| {
        let pool = Pool {
            kept: 1 << 16,
            scan: false,
            batch: 32,
        };
        start_pooling(job, pool)
    }),
};

/// The same as is fastest for larger ones: it asks the system which pages are dirty, and repairs those.
pub static WASMTIME_SCANNED: Setup = Setup {
    engine: "wasmtime",
    name: "pooling, 64 KiB kept, page map scanned",
    place: Place::Here(|job| {
        let pool = Pool {
            kept: 1 << 16,
            scan: true,
            batch: 32,
        };
        start_pooling(job, pool)
    }),
};

pub static WASMTIME_ON_DEMAND: Setup = Setup {
    engine: "wasmtime",
    name: "on demand",
    place: Place::Here(|job| {
        let config = ::wasmtime::Config::new();
        start(store_api::wasmtime::StoreApi::new(&config)?, job)
    }),
};

pub static WASMER_CRANELIFT: Setup = Setup {
    engine: "wasmer",
    name: "Cranelift",
    place: Place::Wasmer,
};

pub static WASMER_SINGLEPASS: Setup = Setup {
    engine: "wasmer",
    name: "singlepass",
    place: Place::Wasmer,
};

/// Every setup that is measured by this program.
static HERE: &[&Setup] = &[
    &COWLING,
    &COWLING_POOLING,
    &COWLING_REGION,
    &WASMTIME_POOLING,
    &WASMTIME_KEPT,
    &WASMTIME_SCANNED,
    &WASMTIME_ON_DEMAND,
];

/// Cases that do the same job in several ways, all of them compared with `baseline`. Those of ours have a target: the ratio that
/// they should reach.
pub fn cases(
    lab: &Lab,
    setups: &[&'static Setup],
    baseline: &Setup,
    target: Option<f64>,
    job: impl Fn(&Setup) -> Job,
) -> Vec<Case> {
    let baseline = setups
        .iter()
        .position(|&setup| std::ptr::eq(setup, baseline));
    let case = |(index, setup): (usize, &&'static Setup)| {
        let case = setup.case(lab, "", job(setup));
        match (baseline, target) {
            (Some(baseline), _) if index == baseline => case,
            (Some(baseline), Some(most)) if setup.engine == COWLING.engine => {
                case.compared_with(baseline).target(Target::Ratio(most))
            }
            (Some(baseline), _) => case.compared_with(baseline),
            (None, _) => case,
        }
    };
    setups.iter().enumerate().map(case).collect()
}

impl Setup {
    /// A case that does a job this way. Its name is the setup's, and `more` if there is more to say.
    pub fn case(&'static self, lab: &Lab, more: &str, job: Job) -> Case {
        let lab = lab.clone();
        let name = match more {
            "" => self.name.to_string(),
            more => format!("{}, {more}", self.name),
        };
        Case::prepared(self.engine, name, move || self.start(&lab, job))
    }

    fn start(&'static self, lab: &Lab, job: Job) -> Result<Run> {
        let program = match self.place {
            Place::Here(start) if !job.needs_fresh_process() => return start(&job),
            Place::Here(_) => std::env::current_exe()?,
            Place::Wasmer => lab.wasmer()?.to_path_buf(),
        };
        if job.needs_fresh_process() {
            return Ok(Box::new(move |budget| {
                Process::start(&program, &self.key(), &job)?.sample(budget)
            }));
        }
        let mut process = Process::start(&program, &self.key(), &job)?;
        Ok(Box::new(move |budget| process.sample(budget)))
    }

    /// What it is called between processes.
    fn key(&self) -> String {
        format!("{}: {}", self.engine, self.name)
    }
}

/// Measures a job for another process of this program.
pub fn serve(key: &str, job: &str) -> Result<()> {
    let mut setups = HERE.iter();
    let setup = setups.find(|setup| setup.key() == key);
    cowling_bench_harness::serve(job, |job| match setup.map(|setup| &setup.place) {
        Some(Place::Here(start)) => start(job),
        _ => Err(anyhow!("there is no setup {key:?}")),
    })
}

/// What Wasmtime's pool does with the pages of a guest that is dropped.
struct Pool {
    /// How many bytes it keeps resident.
    kept: usize,
    /// Does it ask the system which pages were written to?
    scan: bool,
    /// How many slots it gives back at a time.
    batch: usize,
}

/// How many slots a pool has: some more than guests if these are few, as pools have.
fn slots(job: &Job) -> Result<u32> {
    Ok(u32::try_from(job.guests())?.max(100))
}

/// Wasmtime's pool, with slots for as many guests as the job has alive at once, each as large as its memory and no larger.
fn start_pooling(job: &Job, pool: Pool) -> Result<Run> {
    use ::wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

    let slots = slots(job)?;
    let mut pooling = PoolingAllocationConfig::default();
    pooling
        .total_core_instances(slots)
        .total_memories(slots)
        .total_tables(slots)
        .total_stacks(1)
        .max_memory_size(job.memory())
        .linear_memory_keep_resident(pool.kept)
        .table_keep_resident(pool.kept)
        .decommit_batch_size(pool.batch)
        .pagemap_scan(if pool.scan { Enabled::Yes } else { Enabled::No });
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pooling))
        .memory_reservation(job.memory() as u64)
        .memory_guard_size(1 << 16);
    start(store_api::wasmtime::StoreApi::new(&config)?, job)
}
