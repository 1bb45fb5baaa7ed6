//! Measures Wasmer for `cowling-bench`, which builds and starts it: see `cowling_bench_harness`.

mod engine;
mod program;

use anyhow::{Context, Result, bail};
use cowling_bench_harness::{serve, start};
use engine::{Backend, Wasmer};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [_, setup, job] = &arguments[..] else {
        bail!("usage: cowling-bench-wasmer --measure SETUP JOB; it is for cowling-bench to start");
    };
    let backends = [Backend::Cranelift, Backend::Singlepass];
    let backend = backends.into_iter().find(|backend| backend.key() == setup);
    let backend = backend.with_context(|| format!("there is no setup {setup:?}"))?;
    serve(job, |job| start(Wasmer::new(backend), job))
}
