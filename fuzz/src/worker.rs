//! Running modules.

use crate::Options;
use crate::compare::difference;
use crate::engines::{Engine, engines};
use crate::generate;
use crate::outcome::Outcome;
use anyhow::Result;
use std::fs;
use std::io::Write as _;

/// Runs one module after the other until nobody listens any more. Before each it writes `run SEED`, after each `done` and how many of its
/// calls returned and how many ended otherwise, and in between for each difference `difference SEED` and what it is, up to an empty
/// line.
///
/// # Errors
/// When an engine cannot be set up.
pub fn run(options: &Options) -> Result<()> {
    let engines = engines(options.target)?;
    let mut output = std::io::stdout().lock();
    let mut seed = options.first_seed.unwrap_or(0);
    loop {
        if writeln!(output, "run {seed}")
            .and_then(|()| output.flush())
            .is_err()
        {
            return Ok(());
        }
        let module = generate::module(options.target, seed)?;
        let (differences, (returned, ended)) = differences(&engines, &module, seed);
        for text in differences {
            fs::create_dir_all(&options.failures)?;
            fs::write(options.failures.join(file_name(options, seed)), &module)?;
            if writeln!(output, "difference {seed}\n{text}\n")
                .and_then(|()| output.flush())
                .is_err()
            {
                return Ok(());
            }
        }
        if writeln!(output, "done {returned} {ended}").is_err() {
            return Ok(());
        }
        seed = seed.wrapping_add(options.step);
    }
}

/// The file for the module of a seed.
pub fn file_name(options: &Options, seed: u64) -> String {
    format!("{}-{seed}.wasm", options.target.name())
}

/// Runs one module and prints what every engine does. Were they all the same?
///
/// # Errors
/// When an engine cannot be set up, or the module cannot be written.
pub fn show(options: &Options, seed: u64) -> Result<bool> {
    let module = generate::module(options.target, seed)?;
    fs::create_dir_all(&options.failures)?;
    let path = options.failures.join(file_name(options, seed));
    fs::write(&path, &module)?;
    println!("{}: {} bytes", path.display(), module.len());
    let engines = engines(options.target)?;
    for engine in &engines {
        println!("\n{}:", engine.name());
        match engine.run(&module, seed) {
            Outcome::Refused(why) => println!("  refused: {why}"),
            Outcome::Ran(steps) => {
                for step in steps {
                    println!("  {}: {:?}\n    {:?}", step.what, step.ended, step.state);
                }
            }
        }
    }
    let (differences, _) = differences(&engines, &module, seed);
    for text in &differences {
        println!("\n{text}");
    }
    Ok(differences.is_empty())
}

/// All differences between the first engine, Cowling as it is by default, and the others: other configurations of it, and
/// other engines, as far as these know what the module uses. And how the first one's calls ended.
fn differences(engines: &[Box<dyn Engine>], module: &[u8], seed: u64) -> (Vec<String>, (u64, u64)) {
    let Some((first, others)) = engines.split_first() else {
        return (Vec::new(), (0, 0));
    };
    // Of our other configurations one at a time: which follows from the seed.
    let ours: Vec<_> = others.iter().filter(|other| other.is_ours()).collect();
    let chosen = (!ours.is_empty()).then(|| ours[seed as usize % ours.len()]);
    let peers = others.iter().filter(|other| !other.is_ours());
    let outcome = first.run(module, seed);
    let differences = chosen
        .into_iter()
        .chain(peers)
        .filter_map(|other| {
            let theirs = other.run(module, seed);
            if matches!(theirs, Outcome::Refused(_)) && !other.knows_all() {
                return None;
            }
            let difference = difference(&outcome, &theirs)?;
            Some(format!(
                "{} and {}:\n{difference}",
                first.name(),
                other.name()
            ))
        })
        .collect();
    (differences, outcome.calls())
}
