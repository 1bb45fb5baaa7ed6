//! Processor time, medians, and repeating what is short.
//!
//! What computes is measured by the processor time of its thread, because other programs take the processor away from long calls
//! more often than from short ones.

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Takes a sample by measuring for about as long as it is told to: a figure for each quantity of its table.
pub type Run = Box<dyn FnMut(Duration) -> Result<Vec<f64>>>;

/// So long that reading the clock does not count.
const LONG: Duration = Duration::from_micros(300);

/// Measures what does the thing `count` times when called: nanoseconds for each.
///
/// It is called as often as there is time for, and the median call counts, by the processor time of the calling thread.
pub fn timed(count: u64, mut work: impl FnMut() -> Result<()> + 'static) -> Run {
    Box::new(move |budget| {
        let start = Instant::now();
        let mut calls = Vec::new();
        while calls.is_empty() || start.elapsed() < budget {
            let before = processor_time();
            work()?;
            let time = processor_time() - before;
            calls.push(time.as_nanos() as f64 / count as f64);
        }
        Ok(vec![median(calls)])
    })
}

/// The same for what does the thing once when called, and is repeated until reading the clock does not count.
pub fn repeated(mut work: impl FnMut() -> Result<()> + 'static) -> Run {
    let mut count = 1_u64;
    let mut is_long = false;
    Box::new(move |budget| {
        let start = Instant::now();
        let mut batches = Vec::new();
        while batches.is_empty() || start.elapsed() < budget {
            let before = processor_time();
            for _ in 0..count {
                work()?;
            }
            let time = processor_time() - before;
            if !is_long && time < LONG {
                count *= 2;
                continue;
            }
            is_long = true;
            batches.push(time.as_nanos() as f64 / count as f64);
        }
        Ok(vec![median(batches)])
    })
}

/// Processor time that this thread has had.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// The median; of an even number of values, the mean of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}
