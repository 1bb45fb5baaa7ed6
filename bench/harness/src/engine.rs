//! What is needed of an engine, and how each job is done with it.

use crate::job::{CallKind, Job, Subject};
use crate::resources::{Peak, Usage};
use crate::timing::{Run, repeated};
use anyhow::{Context, Result, bail};
use cowling_bench_wasi::{Outcome, Program};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long the file of a compiled module has been there when it is loaded for the first time. One that has just changed may change
/// again unnoticed, as far as its metadata go, so an engine that checks what it loads cannot remember that it did.
const SETTLED: Duration = Duration::from_millis(3_200);

/// One way of using one engine.
pub trait Engine: Send + Sync + Sized + 'static {
    /// Compiled code.
    type Module;
    /// All that can be done before guests are made.
    type Template: Send + Sync;
    /// A guest. Dropping it gives back everything it has.
    type Guest;

    fn compile(&self, wasm: &[u8]) -> Result<Self::Module>;

    /// Prepares for guests whose function `call` will be called, if any.
    fn template(&self, module: Self::Module, call: Option<&str>) -> Result<Self::Template>;

    fn create(&self, template: &Self::Template) -> Result<Self::Guest>;

    /// Calls the function that the template was prepared for.
    fn call(
        &self,
        template: &Self::Template,
        guest: &mut Self::Guest,
        argument: i32,
    ) -> Result<i32>;

    /// The compiled module as bytes that can be kept.
    fn serialize(&self, module: &Self::Module) -> Result<Vec<u8>>;

    /// Loads a compiled module from a file with such bytes.
    fn load(&self, artifact: &Path) -> Result<Self::Module>;

    /// Calls between guests and host, see [`Job::Call`].
    fn calls(&self, kind: CallKind, module: &[u8], other: &[u8]) -> Result<Run>;

    /// Compiles a program. Calling what is returned runs it once, in an instance of its own.
    fn program(&self, program: &Program) -> Result<Runs>;
}

/// Runs a program whenever it is called.
pub type Runs = Box<dyn FnMut() -> Result<Outcome>>;

/// Begins a job.
pub fn start<E: Engine>(engine: E, job: &Job) -> Result<Run> {
    match job.clone() {
        Job::Create(subject) => {
            let calls = subject.call.is_some();
            let template = compile(&engine, &subject)?;
            Ok(repeated(move || {
                let mut guest = engine.create(&template)?;
                if calls {
                    engine.call(&template, &mut guest, 7)?;
                }
                Ok(())
            }))
        }
        Job::Threads { subject, threads } => {
            let template = compile(&engine, &subject)?;
            Ok(Box::new(move |budget| {
                Ok(vec![on_threads(&engine, &template, threads, budget)?])
            }))
        }
        Job::Call {
            kind,
            module,
            other,
        } => engine.calls(kind, &read(&module)?, &read(&other)?),
        Job::Density { subject, guests } => {
            let template = compile(&engine, &subject)?;
            Ok(Box::new(move |_| density(&engine, &template, guests)))
        }
        Job::Load { subject, artifact } => {
            let module = engine.compile(&read(&subject.module)?)?;
            fs::write(&artifact, engine.serialize(&module)?)?;
            drop(module);
            let load = move || {
                let module = engine.load(&artifact)?;
                let template = engine.template(module, subject.call.as_deref())?;
                let mut guest = engine.create(&template)?;
                engine.call(&template, &mut guest, 7)?;
                Ok(())
            };
            std::thread::sleep(SETTLED);
            load()?;
            Ok(repeated(load))
        }
        Job::Compile { module } => {
            let wasm = read(&module)?;
            Ok(Box::new(move |_| {
                let peak = Peak::watch()?;
                let start = Instant::now();
                let module = engine.compile(&wasm)?;
                let time = start.elapsed();
                let peak = peak.growth()?;
                let artifact = engine.serialize(&module)?.len();
                Ok(vec![time.as_nanos() as f64, peak as f64, artifact as f64])
            }))
        }
        Job::Program(program) => {
            let runs = engine.program(&program)?;
            Ok(timed_parts(program, runs))
        }
    }
}

/// Runs a program for each sample, and takes the time of its timed part if it printed what it has to.
pub fn timed_parts(program: Program, mut runs: impl FnMut() -> Result<Outcome> + 'static) -> Run {
    Box::new(move |_| {
        let outcome = runs()?;
        program.check(&outcome)?;
        Ok(vec![outcome.nanoseconds as f64])
    })
}

fn read(module: &Path) -> Result<Vec<u8>> {
    fs::read(module).with_context(|| format!("cannot read `{}`", module.display()))
}

fn compile<E: Engine>(engine: &E, subject: &Subject) -> Result<E::Template> {
    let module = engine.compile(&read(&subject.module)?)?;
    engine.template(module, subject.call.as_deref())
}

/// Makes, calls and drops guests on some threads at once. Nanoseconds from one to the next, whichever thread makes it.
fn on_threads<E: Engine>(
    engine: &E,
    template: &E::Template,
    threads: usize,
    budget: Duration,
) -> Result<f64> {
    let once = || -> Result<()> {
        let mut guest = engine.create(template)?;
        engine.call(template, &mut guest, 7)?;
        Ok(())
    };
    let stop = AtomicBool::new(false);
    let ready = Arc::new(Barrier::new(threads + 1));
    let per_second = std::thread::scope(|scope| {
        let run = || {
            // A thread that has just begun has nothing to recycle yet, which is not what is asked.
            let warm = (0..20).try_for_each(|_| once());
            ready.wait();
            warm?;
            let start = Instant::now();
            let mut guests = 0_u64;
            while !stop.load(Relaxed) {
                once()?;
                guests += 1;
            }
            Ok(guests as f64 / start.elapsed().as_secs_f64())
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        ready.wait();
        std::thread::sleep(budget);
        stop.store(true, Relaxed);
        let rates = threads.into_iter().map(|thread| match thread.join() {
            Ok(rate) => rate,
            Err(_) => bail!("a thread panicked"),
        });
        rates.sum::<Result<f64>>()
    })?;
    Ok(1e9 / per_second)
}

/// What many guests that were called take while they live.
fn density<E: Engine>(engine: &E, template: &E::Template, guests: usize) -> Result<Vec<f64>> {
    let touched = || -> Result<E::Guest> {
        let mut guest = engine.create(template)?;
        engine.call(template, &mut guest, 7)?;
        Ok(guest)
    };
    // Whatever is needed only once is there after the first.
    let _first = touched()?;
    let before = Usage::now()?;
    let mut alive = Vec::with_capacity(guests);
    for index in 0..guests {
        alive.push(touched().with_context(|| format!("guest {index}"))?);
    }
    let after = Usage::now()?;
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / guests as f64;
    Ok(vec![
        each(after.resident, before.resident),
        each(after.page_tables, before.page_tables),
        after.mappings.saturating_sub(before.mappings) as f64,
    ])
}
