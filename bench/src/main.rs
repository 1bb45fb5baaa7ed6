//! Cowling and its peers, measured side by side.
//!
//! ```text
//! cargo run --release --manifest-path bench/Cargo.toml -- --group suspend,interrupt
//! ```
//!
//! | file | job |
//! |---|---|
//! | `groups` | what is measured, a file per group |
//! | `engines` | what the groups need of each engine, written once for all |
//! | `guests` | the guests that are measured |
//! | `measure` | rounds, medians, ratios |
//! | `report` | Markdown and JSON |

mod engines;
mod groups;
mod guests;
mod measure;
mod report;

use anyhow::{Result, bail};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measures Cowling and its peers side by side.
#[derive(Parser)]
struct Args {
    /// Groups to measure, separated by commas; all if not given.
    #[arg(long, value_delimiter = ',')]
    group: Vec<String>,
    /// Lists the groups and measures nothing.
    #[arg(long)]
    list: bool,
    /// How many rounds count.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// For how long a case is measured in each round, in milliseconds.
    #[arg(long, default_value_t = 40)]
    milliseconds: u64,
    /// Where the results go.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
    /// Fails if a target was missed.
    #[arg(long)]
    strict: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if args.list {
        for group in groups::ALL {
            println!("{:12} {}", group.name, group.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let groups = select(&args.group)?;
    let mut missed = 0;
    for group in groups {
        let mut measured = Vec::new();
        for table in (group.tables)()? {
            eprintln!("{}: {} ...", group.name, table.title);
            measured.push(table.measure(args.rounds, Duration::from_millis(args.milliseconds))?);
        }
        let report = report::Report::new(group.name, group.about, args.rounds, measured);
        println!("{}", report.write(&args.out)?);
        missed += report.missed();
    }
    if missed > 0 {
        eprintln!("{missed} targets were missed");
    }
    Ok(match missed {
        1.. if args.strict => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn select(names: &[String]) -> Result<Vec<&'static groups::Group>> {
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
