//! What was measured: Markdown for people, JSON for programs, a plot for both.
//!
//! | file | job |
//! |---|---|
//! | this | the Markdown and the files |
//! | `matrix` | tables that are lines of one, and their means |
//! | `json` | the same as JSON |
//! | `plot` | the same as bars |
//! | `origin` | where, when and with which versions it was measured |

mod json;
mod matrix;
mod origin;
mod plot;

use crate::measure::{Measured, MeasuredCase, Ratio, Unit};
use anyhow::{Context, Result};
use origin::Origin;
use std::fmt::Write as _;
use std::path::Path;

/// Everything about one group's run.
pub struct Report {
    group: &'static str,
    about: &'static str,
    origin: Origin,
    tables: Vec<Measured>,
    /// Tables that are shown as one, below the others.
    lines: Vec<Measured>,
}

impl Report {
    pub fn new(group: &'static str, about: &'static str, tables: Vec<Measured>) -> Report {
        let origin = Origin::here(&tables);
        let (lines, mut tables): (Vec<_>, Vec<_>) =
            tables.into_iter().partition(|table| table.is_line);
        tables.extend(matrix::means(&lines));
        Report {
            group,
            about,
            origin,
            tables,
            lines,
        }
    }

    /// Writes `<group>.md`, `.json` and `.svg`, and returns the Markdown.
    pub fn write(&self, directory: &Path) -> Result<String> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        let markdown = self.markdown()?;
        for (extension, text) in [
            ("md", markdown.clone()),
            ("json", json::of(self)?),
            ("svg", plot::of(self)?),
        ] {
            let path = directory.join(self.group).with_extension(extension);
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(markdown)
    }

    /// How many targets were missed.
    pub fn missed(&self) -> usize {
        let tables = self.tables.iter().chain(&self.lines);
        let cases = tables.flat_map(|table| &table.cases);
        cases.map(MeasuredCase::missed).sum()
    }

    fn markdown(&self) -> Result<String> {
        let mut out = String::new();
        writeln!(out, "# {}\n\n{}\n", self.group, self.about)?;
        writeln!(
            out,
            "{}. All cases of a table take turns, and medians of the rounds are shown. \
             Compare ratios, not times: times are this machine's at this moment.\n",
            self.origin
        )?;
        writeln!(out, "![the same as bars]({}.svg)", self.group)?;
        for table in &self.tables {
            let rounds = table.rounds_text();
            writeln!(out, "\n## {}\n", table.title)?;
            writeln!(
                out,
                "| engine | case | per {} ({rounds}) | ratio | compared with | target |",
                table.quantity.per
            )?;
            writeln!(out, "|---|---|---:|---|---|---|")?;
            for case in &table.cases {
                writeln!(out, "{}", table.row(case))?;
            }
        }
        out += &matrix::markdown(&self.lines)?;
        Ok(out)
    }
}

impl Measured {
    fn rounds_text(&self) -> String {
        match self.rounds {
            1 => "1 round".into(),
            rounds => format!("{rounds} rounds"),
        }
    }

    /// The engine and the name of a case.
    fn name_of(&self, index: usize) -> String {
        format!("{}, {}", self.cases[index].engine, self.cases[index].name)
    }

    fn row(&self, case: &MeasuredCase) -> String {
        let unit = self.quantity.unit;
        let ratios = case.ratios.iter().map(|ratio| ratio.text(unit));
        let baselines = case.ratios.iter().map(|ratio| self.name_of(ratio.baseline));
        let most = case.most.zip(case.reaches_most());
        let most = most.map(|(most, reached)| {
            format!("at most {}{}", unit.show(most), verdict(Some(reached)))
        });
        let targets = case.ratios.iter().map(|ratio| ratio.target_text(unit));
        let targets: Vec<String> = targets.collect();
        // Each beside its comparison, if there is one.
        let targets = match targets.iter().all(String::is_empty) {
            true => Vec::from_iter(most),
            false => targets.into_iter().chain(most).collect(),
        };
        let lines = |lines: Vec<String>| lines.join("<br>");
        format!(
            "| {} | {} | {} | {} | {} | {} |",
            case.engine,
            case.name,
            cell(&match &case.samples {
                Err(reason) => format!("failed: {reason}"),
                Ok(_) => unit.show(case.median().unwrap_or(f64::NAN)),
            }),
            lines(ratios.collect()),
            lines(baselines.collect()),
            lines(targets),
        )
    }
}

impl Ratio {
    fn text(&self, unit: Unit) -> String {
        let (less, more) = unit.less_and_more();
        match self.ratio {
            None => "-".into(),
            Some(ratio) if ratio < 0.995 => format!("{ratio:.3}, {:.2}x {less}", 1.0 / ratio),
            Some(ratio) if ratio > 1.005 => format!("{ratio:.3}, {ratio:.2}x {more}"),
            Some(ratio) => format!("{ratio:.3}"),
        }
    }

    fn target_text(&self, unit: Unit) -> String {
        let (less, more) = unit.less_and_more();
        let target = match self.target {
            None => return String::new(),
            Some(1.0) => format!("not {more}"),
            Some(most) if most < 1.0 => {
                let times = (100.0 / most).round() / 100.0;
                format!("{times}x {less}")
            }
            Some(most) => format!("at most {most:.2}x"),
        };
        target + verdict(self.reaches_target())
    }
}

fn verdict(reached: Option<bool>) -> &'static str {
    match reached {
        Some(true) => ": reached",
        Some(false) => ": **missed**",
        None => "",
    }
}

/// What can stand in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
