//! What starting and running a program took: `--stats`.

use crate::args::StatsFormat;
use crate::host::Host;
use cowling::{Extern, Instance, Store};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::span::{Attributes, Id};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Bytes of a page of the machine.
const PAGE: usize = 4096;

/// Adds up how long the engine's spans last.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpanTimes(Arc<Mutex<Times>>);

#[derive(Copy, Clone, Debug, Default)]
struct Times {
    compile: Duration,
    load: Duration,
}

impl SpanTimes {
    fn add(&self, metadata: &Metadata<'_>, time: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The compiler has a span of this name, too, inside this one.
        match (metadata.target(), metadata.name()) {
            ("cowling::compile", "compile") => times.compile += time,
            ("cowling::module", "load") => times.load += time,
            _ => {}
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanTimes {
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Instant::now());
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(span) = context.span(&id)
            && let Some(begun) = span.extensions().get::<Instant>()
        {
            self.add(span.metadata(), begun.elapsed());
        }
    }
}

/// What is known about one run. Times are in milliseconds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Stats {
    /// From the binary to machine code; 0 if it was in the cache, or compiled before.
    compile_ms: f64,
    /// From an artifact to a module.
    load_ms: f64,
    /// Imports, memories, tables, and the start function.
    instantiate_ms: f64,
    /// What was called.
    run_ms: f64,
    /// All of it, with what is in none of the others.
    total_ms: f64,
    /// Did all modules come from the cache? `null` without a cache, and of artifacts.
    from_cache: Option<bool>,
    /// Bytes of the memories that the program exports, in the end.
    memory_bytes: usize,
    /// Pages of 4096 bytes of these that are in memory because the program has used them.
    memory_pages_touched: usize,
    /// The most memory that the process had at once, in bytes.
    peak_resident_bytes: u64,
    /// Fuel that was used, if it was counted.
    fuel: Option<u64>,
}

/// Takes the times.
#[derive(Debug)]
pub(crate) struct StopWatch {
    format: StatsFormat,
    begun: Instant,
    lap: Instant,
    stats: Stats,
}

fn milliseconds(time: Duration) -> f64 {
    // To the microsecond.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl StopWatch {
    pub(crate) fn start(format: StatsFormat) -> StopWatch {
        let now = Instant::now();
        StopWatch {
            format,
            begun: now,
            lap: now,
            stats: Stats::default(),
        }
    }

    fn lap(&mut self) -> f64 {
        let time = self.lap.elapsed();
        self.lap = Instant::now();
        milliseconds(time)
    }

    /// The modules are there.
    pub(crate) fn loaded(&mut self, cache: Option<&cowling::Cache>) {
        self.stats.from_cache = cache
            .filter(|cache| cache.cache_hits() + cache.cache_misses() > 0)
            .map(|cache| cache.cache_misses() == 0);
        self.lap();
    }

    /// The instance is there.
    pub(crate) fn instantiated(&mut self) {
        self.stats.instantiate_ms = self.lap();
    }

    /// The program is over.
    pub(crate) fn ended(&mut self) {
        self.stats.run_ms = self.lap();
        self.stats.total_ms = milliseconds(self.begun.elapsed());
    }

    /// Prints what is known to the standard error.
    pub(crate) fn print(
        mut self,
        times: Option<&SpanTimes>,
        store: &mut Store<Host>,
        instance: Option<Instance>,
        fuel: Option<u64>,
    ) {
        if let Some(times) = times {
            let times = *times.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.stats.compile_ms = milliseconds(times.compile);
            self.stats.load_ms = milliseconds(times.load);
        }
        self.stats.fuel = fuel;
        self.stats.peak_resident_bytes = peak_resident().unwrap_or(0);
        if let Some(instance) = instance {
            for (base, len) in memories(store, instance) {
                self.stats.memory_bytes += len;
                self.stats.memory_pages_touched += pages_touched(base, len).unwrap_or(0);
            }
        }
        let text = match self.format {
            StatsFormat::Table => self.stats.table(),
            StatsFormat::Json => serde_json::to_string(&self.stats).unwrap_or_default() + "\n",
        };
        // A closed standard error leaves nobody to tell.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

impl Stats {
    fn table(&self) -> String {
        let mut table = String::new();
        let mut row = |what: &str, value: String| {
            let _ = writeln!(table, "{what:<18}{value:>14}");
        };
        let time = |ms: f64| format!("{ms:.3} ms");
        let compile = match (self.compile_ms, self.from_cache) {
            (0.0, Some(true)) => "from the cache".to_string(),
            (0.0, _) => "-".to_string(),
            (ms, _) => time(ms),
        };
        row("compile", compile);
        row("load", time(self.load_ms));
        row("instantiate", time(self.instantiate_ms));
        row("run", time(self.run_ms));
        row("in all", time(self.total_ms));
        row("memory", format!("{} KiB", self.memory_bytes / 1024));
        row(
            "  of it used",
            format!("{} KiB", self.memory_pages_touched * PAGE / 1024),
        );
        row(
            "process, at most",
            format!("{} KiB", self.peak_resident_bytes / 1024),
        );
        if let Some(fuel) = self.fuel {
            row("fuel", fuel.to_string());
        }
        table
    }
}

/// Addresses and lengths of the memories that an instance exports, each once.
fn memories(store: &mut Store<Host>, instance: Instance) -> Vec<(usize, usize)> {
    let exports: Vec<Extern> = instance
        .exports(&mut *store)
        .map(|export| export.into_extern())
        .collect();
    let mut memories: Vec<_> = exports
        .into_iter()
        .filter_map(|export| match export {
            Extern::Memory(memory) => {
                let data = memory.data(&*store);
                Some((data.as_ptr().addr(), data.len()))
            }
            Extern::SharedMemory(memory) => {
                Some((memory.data().as_ptr().addr(), memory.data_size()))
            }
            _ => None,
        })
        .collect();
    memories.sort_unstable();
    memories.dedup();
    memories
}

/// How many pages of a range of our addresses are in memory, or swapped out, because somebody has used them.
fn pages_touched(base: usize, len: usize) -> Option<usize> {
    /// Entries that are read at once.
    const CHUNK: usize = 4096;
    const PRESENT_OR_SWAPPED: u64 = 3 << 62;
    let pagemap = File::open("/proc/self/pagemap").ok()?;
    let pages = base / PAGE..base.checked_add(len)?.div_ceil(PAGE);
    let mut touched = 0;
    let mut entries = vec![0; CHUNK * size_of::<u64>()];
    for first in pages.clone().step_by(CHUNK) {
        let count = CHUNK.min(pages.end - first);
        let entries = &mut entries[..count * size_of::<u64>()];
        pagemap
            .read_exact_at(entries, (first * size_of::<u64>()) as u64)
            .ok()?;
        let (words, _) = entries.as_chunks();
        touched += words
            .iter()
            .filter(|word| u64::from_ne_bytes(**word) & PRESENT_OR_SWAPPED != 0)
            .count();
    }
    Some(touched)
}

/// The most memory that this process had at once, in bytes.
fn peak_resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_pages_are_counted() {
        let pages = 64;
        // Large enough to be mapped on its own, and zeros, so that nothing of it is there at first.
        let mut bytes = vec![0_u8; (pages + 1) * PAGE * 64];
        let base = bytes.as_ptr().addr().next_multiple_of(PAGE);
        let skipped = base - bytes.as_ptr().addr();
        let count = || pages_touched(base, pages * PAGE).unwrap();
        let before = count();
        for page in 0..8 {
            bytes[skipped + (page * 3 + 9) * PAGE] = 1;
        }
        let after = count();
        // Large pages would make them all present at once.
        assert!(after == before + 8 || after == pages, "{before} {after}");
        assert!(peak_resident().unwrap() > 1 << 20);
    }
}
