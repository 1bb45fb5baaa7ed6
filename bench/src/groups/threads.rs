//! Making and dropping guests on several threads at once.

use super::Group;
use crate::engines::{
    COWLING, COWLING_POOLING, COWLING_REGION, Setup, WASMER_CRANELIFT, WASMTIME_KEPT,
    WASMTIME_ON_DEMAND, WASMTIME_POOLING,
};
use crate::lab::Lab;
use crate::measure::{Table, Target};
use anyhow::{Result, ensure};
use cowling_bench_harness::{Job, Subject, guests};

pub const GROUP: Group = Group {
    name: "threads",
    about: "How soon one guest comes after the other when several threads make, call and drop guests at once, all of the same \
            module and engine: the inverse of what they do together in a second. Each guest writes to one page. Wasmtime's \
            pool is configured as in the group `instantiate`.",
    tables,
};

const SETUPS: [&Setup; 7] = [
    &COWLING,
    &COWLING_POOLING,
    &COWLING_REGION,
    &WASMTIME_POOLING,
    &WASMTIME_KEPT,
    &WASMTIME_ON_DEMAND,
    &WASMER_CRANELIFT,
];
/// What everything is compared with, and what ours is compared with, too.
const BASELINE: usize = 3;
const TUNED: usize = 4;

fn tables(lab: &Lab) -> Result<Vec<Table>> {
    let subject = Subject {
        module: lab.module("small", guests::SMALL)?,
        call: Some("touch".into()),
        memory: 1 << 20,
    };
    let counts = counts(&lab.wishes().threads)?;
    let mut cases = Vec::new();
    for (position, &threads) in counts.iter().enumerate() {
        let first = cases.len();
        let more = match threads {
            1 => "1 thread".to_string(),
            threads => format!("{threads} threads"),
        };
        for (index, setup) in SETUPS.iter().enumerate() {
            let job = Job::Threads {
                subject: subject.clone(),
                threads,
            };
            let mut case = setup.case(lab, &more, job);
            if index != BASELINE {
                case = case.compared_with(first + BASELINE);
            }
            if setup.engine == "cowling" && threads == 2 {
                case = case.target(Target::Ratio(1.0 / 20.0));
            }
            if setup.engine == "cowling" {
                case = case.compared_with(first + TUNED);
            }
            if position > 0 {
                case = case.compared_with(index);
                // As many times faster than on one thread as there are threads, but for 5 %; if there are cores for them.
                if setup.engine == "cowling" && counts[0] == 1 && threads <= cores() {
                    case = case.target(Target::Ratio(1.0 / (0.95 * threads as f64)));
                }
            }
            cases.push(case);
        }
    }
    Ok(vec![Table::new(
        "Create, call a function that writes to one page, drop, on all threads",
        "guest",
        cases,
    )])
}

/// The numbers of threads, the smallest first.
fn counts(wished: &[usize]) -> Result<Vec<usize>> {
    let mut counts = wished.to_vec();
    if counts.is_empty() {
        let powers = std::iter::successors(Some(1), |threads| Some(threads * 2));
        counts = powers.take_while(|&threads| threads < cores()).collect();
        counts.push(cores());
    }
    ensure!(!counts.contains(&0), "--threads 0 measures nothing");
    counts.sort_unstable();
    counts.dedup();
    Ok(counts)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
