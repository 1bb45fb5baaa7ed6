//! What was measured, as Markdown for people and JSON for programs.

use crate::measure::{Measured, MeasuredCase, Target};
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Everything about one group's run.
#[derive(Serialize)]
pub struct Report {
    group: &'static str,
    about: &'static str,
    machine: Machine,
    rounds: usize,
    tables: Vec<JsonTable>,
    #[serde(skip)]
    measured: Vec<Measured>,
}

/// Where it was measured. Times compare only with those of the same run.
#[derive(Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    system: String,
    seconds_since_1970: u64,
}

#[derive(Serialize)]
struct JsonTable {
    title: String,
    per: &'static str,
    cases: Vec<JsonCase>,
}

#[derive(Serialize)]
struct JsonCase {
    engine: &'static str,
    name: String,
    median_ns: f64,
    samples_ns: Vec<f64>,
    compared_with: Option<String>,
    ratio: Option<f64>,
    target: Option<String>,
    reaches_target: Option<bool>,
}

impl Report {
    pub fn new(
        group: &'static str,
        about: &'static str,
        rounds: usize,
        measured: Vec<Measured>,
    ) -> Report {
        Report {
            group,
            about,
            machine: Machine::this(),
            rounds,
            tables: measured.iter().map(JsonTable::of).collect(),
            measured,
        }
    }

    /// Writes `<group>.md` and `<group>.json`, and returns the Markdown.
    pub fn write(&self, directory: &Path) -> Result<String> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        let markdown = self.markdown()?;
        for (extension, text) in [
            ("md", markdown.clone()),
            ("json", serde_json::to_string_pretty(self)? + "\n"),
        ] {
            let path = directory.join(self.group).with_extension(extension);
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(markdown)
    }

    /// How many targets were missed.
    pub fn missed(&self) -> usize {
        let cases = self.measured.iter().flat_map(|table| &table.cases);
        cases
            .filter(|case| case.reaches_target() == Some(false))
            .count()
    }

    fn markdown(&self) -> Result<String> {
        let mut out = String::new();
        let Machine {
            processor,
            cores,
            system,
            ..
        } = &self.machine;
        writeln!(out, "# {}\n\n{}\n", self.group, self.about)?;
        writeln!(
            out,
            "Measured on {cores} cores of {processor}, {system}; medians of {} rounds in which all cases of a table take turns. \
             Compare ratios, not times: times are this machine's at this moment.",
            self.rounds
        )?;
        for table in &self.measured {
            writeln!(out, "\n## {}\n", table.title)?;
            writeln!(
                out,
                "| engine | case | per {} | compared with | ratio | target |",
                table.per
            )?;
            writeln!(out, "|---|---|---:|---|---:|---|")?;
            for case in &table.cases {
                let (baseline, ratio) = match case.ratio {
                    Some((index, ratio)) => (table.name_of(index), format!("{ratio:.3}")),
                    None => Default::default(),
                };
                writeln!(
                    out,
                    "| {} | {} | {} | {baseline} | {ratio} | {} |",
                    case.engine,
                    case.name,
                    time(case.median),
                    case.verdict()
                )?;
            }
        }
        Ok(out)
    }
}

impl Measured {
    fn name_of(&self, index: usize) -> String {
        format!("{}, {}", self.cases[index].engine, self.cases[index].name)
    }
}

impl MeasuredCase {
    fn verdict(&self) -> String {
        let (Some(target), Some(reached)) = (self.target, self.reaches_target()) else {
            return String::new();
        };
        let verdict = if reached { "reached" } else { "**missed**" };
        format!("{}: {verdict}", target.text())
    }
}

impl Target {
    fn text(self) -> String {
        match self {
            Target::Ratio(most) => format!("at most {most:.2}"),
            Target::Nanoseconds(most) => format!("at most {}", time(most)),
        }
    }
}

impl JsonTable {
    fn of(table: &Measured) -> JsonTable {
        let cases = table.cases.iter().map(|case| JsonCase {
            engine: case.engine,
            name: case.name.clone(),
            median_ns: case.median,
            samples_ns: case.samples.clone(),
            compared_with: case.ratio.map(|(index, _)| table.name_of(index)),
            ratio: case.ratio.map(|(_, ratio)| ratio),
            target: case.target.map(Target::text),
            reaches_target: case.reaches_target(),
        });
        JsonTable {
            title: table.title.clone(),
            per: table.per,
            cases: cases.collect(),
        }
    }
}

impl Machine {
    fn this() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let processor = cpuinfo
            .lines()
            .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()));
        let kernel = read("/proc/sys/kernel/osrelease");
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Machine {
            processor: processor.unwrap_or("an unknown processor").to_string(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("Linux {}", kernel.trim()),
            seconds_since_1970: now.map_or(0, |now| now.as_secs()),
        }
    }
}

/// Nanoseconds, readable.
fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.1} ns"),
        ns if ns < 1e6 => format!("{:.1} us", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}
