//! Cowling and its peers, measured side by side.
//!
//! ```text
//! cargo run --release --manifest-path bench/Cargo.toml -- --group suspend,interrupt
//! ```
//!
//! | file | job |
//! |---|---|
//! | `groups` | what is measured, a file per group |
//! | `lab` | what they are measured with: wishes, scratch files, the program that measures Wasmer |
//! | `engines` | the engines, and the ways they are used |
//! | `native` | programs as native code |
//! | `process` | processes that measure for this one |
//! | `measure` | rounds, medians, ratios |
//! | `report` | Markdown, JSON and plots |

mod engines;
mod groups;
mod lab;
mod measure;
mod native;
mod process;
mod report;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use lab::{Lab, Wishes};
use measure::{Effort, Table};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measures Cowling and its peers side by side, and writes tables and plots.
///
/// All cases of a table take turns in rounds, so that the machine's moods hit all alike; what is shown are medians of the rounds.
/// An engine that cannot do a thing is shown as failed. The first run builds Wasmer, which takes some minutes.
#[derive(Parser)]
struct Args {
    /// Groups to measure, separated by commas; all if not given.
    #[arg(long, value_delimiter = ',')]
    group: Vec<String>,
    /// Engines to measure, separated by commas, as the tables call them; all if not given.
    #[arg(long, value_delimiter = ',')]
    engine: Vec<String>,
    /// Lists the groups and measures nothing.
    #[arg(long)]
    list: bool,
    /// Measures once, briefly and with less of everything: only to see whether everything works.
    #[arg(long, conflicts_with_all = ["rounds", "milliseconds"])]
    quick: bool,
    /// How many rounds count.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// For how long a case is measured in each round, in milliseconds.
    #[arg(long, default_value_t = 40)]
    milliseconds: u64,
    /// Numbers of threads for the group `threads`, separated by commas; powers of two up to the number of cores if not given.
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    /// Numbers of live guests for the group `density`, separated by commas; 5,000 and 10,000 if not given.
    #[arg(long, value_delimiter = ',')]
    guests: Vec<usize>,
    /// A WebAssembly binary that the group `compile` compiles, too. May be given several times.
    #[arg(long)]
    module: Vec<PathBuf>,
    /// Runs the WASI programs of a folder, which read files from there and call `bench.start` and `bench.end` around what is to be
    /// timed; of groups, only those that are named. Results are those of a group `suite`.
    #[arg(long, value_name = "DIR")]
    suite: Option<PathBuf>,
    /// Where the results go.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
    /// Fails if a target was missed.
    #[arg(long)]
    strict: bool,
    /// Measures a job for another process.
    #[arg(long, hide = true, num_args = 2)]
    measure: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if let [setup, job] = &args.measure[..] {
        engines::serve(setup, job)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.list {
        for group in groups::ALL {
            let (about, _) = group.about.split_once(". ").unwrap_or((group.about, ""));
            println!("{:12} {}", group.name, about.trim_end_matches('.'));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let effort = Effort {
        rounds: if args.quick { 1 } else { args.rounds },
        budget: Duration::from_millis(if args.quick { 1 } else { args.milliseconds }),
    };
    let groups = select(&args.group, args.suite.is_some())?;
    let lab = Lab::new(Wishes {
        quick: args.quick,
        threads: args.threads,
        guests: args.guests,
        modules: args.module,
        suite: args.suite,
    })?;
    let (mut reports, mut missed) = (0, 0);
    for group in groups {
        let mut measured = Vec::new();
        for table in (group.tables)(&lab)? {
            let table = match &args.engine[..] {
                [] => Some(table),
                engines => table.only(engines),
            };
            if let Some(table) = table {
                let progress = progress(group.name, &table);
                measured.extend(table.measure(effort, &progress)?);
                progress.finish_and_clear();
            }
        }
        if measured.is_empty() {
            eprintln!("{}: none of these engines is in it", group.name);
            continue;
        }
        let report = report::Report::new(group.name, group.about, measured);
        println!("{}", report.write(&args.out)?);
        missed += report.missed();
        reports += 1;
    }
    ensure!(reports > 0, "there was nothing to measure");
    if missed > 0 {
        eprintln!("{missed} targets were missed");
    }
    Ok(match missed {
        1.. if args.strict => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn select(names: &[String], suite: bool) -> Result<Vec<&'static groups::Group>> {
    if suite {
        let mut groups = match names {
            [] => Vec::new(),
            names => select(names, false)?,
        };
        groups.push(&groups::suite::GROUP);
        return Ok(groups);
    }
    if names.is_empty() {
        return Ok(groups::ALL.iter().collect());
    }
    let find = |name: &String| match groups::ALL.iter().find(|group| group.name == name) {
        Some(group) => Ok(group),
        None => {
            let known: Vec<_> = groups::ALL.iter().map(|group| group.name).collect();
            bail!(
                "there is no group {name:?}; groups are {}",
                known.join(", ")
            )
        }
    };
    names.iter().map(find).collect()
}

/// Shows how far a table is, on a terminal; elsewhere only that it has begun.
fn progress(group: &str, table: &Table) -> ProgressBar {
    let progress = ProgressBar::new(0);
    if progress.is_hidden() {
        eprintln!("{group}: {} ...", table.title());
    }
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {eta} {wide_msg}");
    progress
        .with_prefix(format!("{group}: {}", table.title()))
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
