//! A scheduler: many guests that never return share two threads.
//!
//! ```sh
//! cargo run --release --example scheduler               # 1,000 guests, 50 ms for each: takes half a minute
//! cargo run --release --example scheduler -- 100 25     # 100 guests, 25 ms for each
//! ```
//!
//! Nothing in the guests' code helps: they are stopped in the middle of a loop, put aside, and continued later by whichever thread
//! is free. A run queue orders them by the processor time they have had, so that they get equal shares although a quantum is never
//! exact. Exits with 0 if every guest's share is within 20 % of the mean.

use cowling::{Engine, Guest, Linker, Module, Region, Result, RunResult, State, bail, ensure};
use rustix::time::{ClockId, clock_gettime};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const THREADS: usize = 2;
const QUANTUM: Duration = Duration::from_millis(1);

/// Counts in its memory, for ever.
const GUEST: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "spin")
        (loop
            (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
            (br 0))))"#;

// ANCHOR: task
/// A guest and the processor time it has had.
struct Task {
    used: Duration,
    turns: u32,
    guest: Guest<()>,
}
// ANCHOR_END: task

/// The tasks that do not run, with the one in front that has had the least.
type RunQueue = Mutex<BinaryHeap<Reverse<Task>>>;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let count: usize = args.next().map_or(Ok(1000), |arg| arg.parse())?;
    let mean: u64 = args.next().map_or(Ok(50), |arg| arg.parse())?;
    ensure!(
        count >= THREADS,
        "there must be a guest for each of the {THREADS} threads"
    );

    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let pre = Linker::new(&engine).instantiate_pre(&module)?;
    // ANCHOR: quantum
    let region = Region::builder().slots(count).build()?;
    let mut queue = BinaryHeap::new();
    for _ in 0..count {
        let mut guest = region.guest(&pre, ()).build()?;
        guest.set_quantum(Some(QUANTUM))?;
        queue.push(Reverse(Task {
            used: Duration::ZERO,
            turns: 0,
            guest,
        }));
    }
    // ANCHOR_END: quantum

    let queue = Mutex::new(queue);
    let budget = Duration::from_millis(mean * count as u64);
    let spent = Mutex::new(Duration::ZERO);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| schedule(&queue, &spent, budget)))
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(_) => bail!("a thread panicked"),
            }
        }
        Ok(())
    })?;
    let tasks = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(
        tasks.into_iter().map(|Reverse(task)| task).collect(),
        start.elapsed(),
    )
}

// ANCHOR: turn
/// Gives a quantum to whoever has had the least, until all together have had the budget.
fn schedule(queue: &RunQueue, spent: &Mutex<Duration>, budget: Duration) -> Result<()> {
    let next = || lock(queue).pop();
    while let Some(Reverse(mut task)) = next() {
        let before = processor_time();
        let result = match task.guest.state() {
            State::Ready => task.guest.run("spin", &[])?,
            _ => task.guest.resume()?,
        };
        let used = processor_time() - before;
        ensure!(
            matches!(result, RunResult::Preempted),
            "a guest has returned"
        );
        task.used += used;
        task.turns += 1;
        lock(queue).push(Reverse(task));
        let mut spent = lock(spent);
        *spent += used;
        if *spent >= budget {
            break;
        }
    }
    Ok(())
}
// ANCHOR_END: turn

/// Processor time that this thread has had.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

fn report(tasks: Vec<Task>, elapsed: Duration) -> Result<()> {
    let count = tasks.len();
    let mean = tasks.iter().map(|task| task.used).sum::<Duration>() / count as u32;
    let share = |task: &Task| task.used.as_secs_f64() / mean.as_secs_f64();
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    // Of a width of 5 %, from 80 % to 120 %; the first and the last are for those outside.
    let mut histogram = [0_usize; 10];
    for task in &tasks {
        let share = share(task);
        (least, most) = (least.min(share), most.max(share));
        let bin = ((share - 0.75) / 0.05).floor().clamp(0.0, 9.0);
        histogram[bin as usize] += 1;
        ensure!(
            task.guest.heap()[..8] != [0; 8],
            "a guest has not run at all"
        );
    }
    let turns: u32 = tasks.iter().map(|task| task.turns).sum();
    println!("{count} guests on {THREADS} threads for {elapsed:.1?}: {turns} turns of {QUANTUM:?}");
    println!(
        "share of a guest: mean {mean:.1?}, least {:.1} %, most {:.1} %",
        100.0 * least,
        100.0 * most
    );
    for (bin, guests) in histogram.into_iter().enumerate() {
        let from = 75 + 5 * bin;
        let range = match bin {
            0 => "    below  80 %".to_string(),
            9 => "120 % and more ".to_string(),
            _ => format!("{from:3} % to {:3} %", from + 5),
        };
        println!(
            "{range} {guests:5} {}",
            "#".repeat((60 * guests).div_ceil(count))
        );
    }
    ensure!(least >= 0.8 && most <= 1.2, "a share is more than 20 % off");
    println!("every share is within 20 % of the mean");
    Ok(())
}

fn lock<V>(mutex: &Mutex<V>) -> std::sync::MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PartialEq for Task {
    fn eq(&self, other: &Self) -> bool {
        self.used == other.used
    }
}

impl Eq for Task {}

impl PartialOrd for Task {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Task {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.used.cmp(&other.used)
    }
}
