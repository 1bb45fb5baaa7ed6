//! Measuring side by side.
//!
//! A machine's speed drifts: with temperature, with what else runs on it. So the cases of a table are not measured one after the
//! other but in rounds, each of which measures every case once; a case is compared with another one of the same round, and what
//! is reported is the median over the rounds. And what computes is measured by the processor time of its thread, because other
//! programs take the processor away from long calls more often than from short ones.

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// What can be compared: several ways of doing one thing.
pub struct Table {
    pub title: String,
    /// What is counted, as in "nanoseconds per ...".
    pub per: &'static str,
    pub cases: Vec<Case>,
}

/// One way of doing it.
pub struct Case {
    pub engine: &'static str,
    pub name: String,
    /// The case of the same table that it is compared with, by its position.
    pub baseline: Option<usize>,
    pub target: Option<Target>,
    run: Box<dyn FnMut(Duration) -> Result<f64>>,
}

/// What a case should reach.
#[derive(Copy, Clone, Debug)]
pub enum Target {
    /// At most this many times its baseline.
    Ratio(f64),
    /// At most this many nanoseconds.
    Nanoseconds(f64),
}

/// What was measured of a table.
pub struct Measured {
    pub title: String,
    pub per: &'static str,
    pub cases: Vec<MeasuredCase>,
}

/// What was measured of a case.
pub struct MeasuredCase {
    pub engine: &'static str,
    pub name: String,
    /// Nanoseconds, a sample per round.
    pub samples: Vec<f64>,
    pub median: f64,
    /// Which case it was compared with, and the median of the rounds' ratios.
    pub ratio: Option<(usize, f64)>,
    pub target: Option<Target>,
}

impl Case {
    /// A case that times itself: what it returns are nanoseconds, from measuring for about as long as it is told to.
    pub fn new(
        engine: &'static str,
        name: impl Into<String>,
        run: impl FnMut(Duration) -> Result<f64> + 'static,
    ) -> Case {
        Case {
            engine,
            name: name.into(),
            baseline: None,
            target: None,
            run: Box::new(run),
        }
    }

    /// A case that does the thing `count` times when called, on the calling thread. It is called as often as there is time for,
    /// and the median call counts, by its processor time.
    pub fn timed(
        engine: &'static str,
        name: impl Into<String>,
        count: u64,
        mut work: impl FnMut() -> Result<()> + 'static,
    ) -> Case {
        Case::new(engine, name, move |budget| {
            let start = Instant::now();
            let mut calls = Vec::new();
            while calls.is_empty() || start.elapsed() < budget {
                let before = processor_time();
                work()?;
                let time = processor_time() - before;
                calls.push(time.as_nanos() as f64 / count as f64);
            }
            Ok(median(calls.into_iter()))
        })
    }

    pub fn compared_with(mut self, baseline: usize) -> Case {
        self.baseline = Some(baseline);
        self
    }

    pub fn target(mut self, target: Target) -> Case {
        self.target = Some(target);
        self
    }
}

impl MeasuredCase {
    /// Does it reach its target? `None` without one.
    pub fn reaches_target(&self) -> Option<bool> {
        Some(match self.target? {
            Target::Ratio(most) => self.ratio.is_some_and(|(_, ratio)| ratio <= most),
            Target::Nanoseconds(most) => self.median <= most,
        })
    }
}

impl Table {
    /// Measures every case in every round, for about `budget` each time, after a round that warms up and does not count.
    pub fn measure(mut self, rounds: usize, budget: Duration) -> Result<Measured> {
        let count = self.cases.len();
        let mut samples = vec![Vec::with_capacity(rounds); count];
        for round in 0..=rounds {
            // Whoever comes first may find the caches, or the processor's clock, in another state than the others.
            for position in 0..count {
                let index = (position + round) % count;
                let sample = (self.cases[index].run)(budget)?;
                if round > 0 {
                    samples[index].push(sample);
                }
            }
        }
        let ratio = |case: &Case, index: usize| {
            let baseline = case.baseline?;
            let ratios = samples[index].iter().zip(&samples[baseline]);
            Some((baseline, median(ratios.map(|(a, b)| a / b))))
        };
        let ratios: Vec<_> = (self.cases.iter().enumerate())
            .map(|(index, case)| ratio(case, index))
            .collect();
        let cases = self.cases.into_iter().zip(ratios).zip(samples);
        let cases = cases.map(|((case, ratio), samples)| MeasuredCase {
            engine: case.engine,
            name: case.name,
            median: median(samples.iter().copied()),
            samples,
            ratio,
            target: case.target,
        });
        Ok(Measured {
            title: self.title,
            per: self.per,
            cases: cases.collect(),
        })
    }
}

/// Processor time that this thread has had.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// The median; of an even number of values, the mean of the two in the middle.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}
