//! What was measured, as bars: a picture with a chart for each table.
//!
//! ```text
//!   title of the table
//!   engine, case   |############## 1.2 µs
//!   engine, case   |### 150 ns
//!                  +------+------+------
//!                  0      1 µs   2 µs
//! ```
//!
//! It is written by hand rather than with a plotting crate, because its colours follow the reader's light or dark theme, which is
//! a style sheet in the picture.

use super::{Report, matrix};
use crate::measure::{Measured, MeasuredCase, Unit};
use anyhow::Result;
use std::fmt::Write as _;

/// How long the longest bar is, and how much room the figures right of it need.
const LENGTH: f64 = 400.0;
const FIGURES: f64 = 160.0;
const MARGIN: f64 = 16.0;
/// How wide a character of a name is at most, on average.
const CHARACTER: f64 = 6.7;
/// From one bar to the next, and how much of it the bar takes.
const PITCH: f64 = 22.0;
const BAR: f64 = 15.0;

/// Beyond this ratio of the longest to the shortest, the axis is logarithmic.
const LINEAR: f64 = 20.0;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600;font-size:14px}.s{fill:#59636e;font-size:11px}\
.e{text-anchor:end}.m{text-anchor:middle}.b{fill:#fff}.v{paint-order:stroke;stroke:#fff;stroke-width:4px}.g{stroke:#d1d9e0;stroke-width:1}\
.c0{fill:#1a7f64}.c1{fill:#7f8ea3}.c2{fill:#b7791f}.c3{fill:#8250df}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9198a1}.b{fill:#0d1117}.v{stroke:#0d1117}.g{stroke:#30363d}\
.c0{fill:#3fb990}.c1{fill:#8b98a9}.c2{fill:#d29922}.c3{fill:#ab7df8}}";

/// The picture.
pub fn of(report: &Report) -> Result<String> {
    let ratios = matrix::ratios(&report.lines);
    let tables = report.tables.iter().chain(&ratios);
    let cases = tables.clone().flat_map(|table| &table.cases);
    let longest = cases.map(|case| name(case).chars().count()).max();
    let left = MARGIN + CHARACTER * longest.unwrap_or_default() as f64 + 8.0;
    let width = left + LENGTH + FIGURES;
    let mut charts = String::new();
    let mut y = MARGIN;
    for table in tables {
        y = chart(&mut charts, table, left, y)?;
    }
    writeln!(charts, r#"<text class="s" x="{MARGIN}" y="{y}">"#)?;
    let origin = report.origin.to_string();
    let (machine, versions) = origin.split_once(", with ").unwrap_or((&origin, ""));
    for line in [machine, versions] {
        let line = escape(line);
        writeln!(charts, r#"<tspan x="{MARGIN}" dy="15">{line}</tspan>"#)?;
    }
    let height = y + 30.0 + MARGIN;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n<rect class=\"b\" width=\"100%\" height=\"100%\"/>\n{charts}</text>\n</svg>\n",
        escape(report.group)
    ))
}

/// What stands left of a bar.
fn name(case: &MeasuredCase) -> String {
    format!("{}, {}", case.engine, case.name)
}

/// Draws a table from `top` on, with bars from `left` on, and returns where it ends.
fn chart(out: &mut String, table: &Measured, left: f64, top: f64) -> Result<f64> {
    let figures: Vec<f64> = (table.cases.iter())
        .filter_map(MeasuredCase::median)
        .collect();
    let axis = Axis::of(&figures, table.quantity.unit);
    writeln!(
        out,
        r#"<text class="t" x="{MARGIN}" y="{}">{}</text>"#,
        top + 14.0,
        escape(&table.title)
    )?;
    let scale = if axis.is_logarithmic() {
        ", logarithmic"
    } else {
        ""
    };
    writeln!(
        out,
        r#"<text class="s" x="{MARGIN}" y="{}">per {}{scale}; shorter is better</text>"#,
        top + 31.0,
        escape(table.quantity.per)
    )?;
    let first = top + 42.0;
    let bottom = first + PITCH * table.cases.len() as f64;
    for tick in axis.ticks() {
        let x = left + axis.position(tick);
        writeln!(
            out,
            r#"<line class="g" x1="{x:.1}" y1="{first}" x2="{x:.1}" y2="{bottom}"/><text class="s m" x="{x:.1}" y="{}">{}</text>"#,
            bottom + 14.0,
            tick_text(table.quantity.unit, tick)
        )?;
    }
    for (index, case) in table.cases.iter().enumerate() {
        let y = first + PITCH * index as f64;
        let text = y + BAR;
        writeln!(
            out,
            r#"<text class="e" x="{}" y="{text}">{}</text>"#,
            left - 8.0,
            escape(&name(case))
        )?;
        let (length, figure) = match (&case.samples, case.median()) {
            (Ok(_), Some(median)) => (axis.position(median), table.quantity.unit.show(median)),
            (Err(reason), _) => (0.0, format!("failed: {reason:.60}")),
            _ => (0.0, "nothing was measured".into()),
        };
        writeln!(
            out,
            r#"<rect class="c{}" x="{left}" y="{:.1}" width="{length:.1}" height="{BAR}" rx="2"/><text class="v" x="{:.1}" y="{text}">{}</text>"#,
            colour(case.engine),
            y + (PITCH - BAR) / 2.0,
            left + length + 6.0,
            escape(&figure)
        )?;
    }
    Ok(bottom + 44.0)
}

/// Which colour of the style sheet an engine has in every picture.
fn colour(engine: &str) -> usize {
    match engine {
        "cowling" => 0,
        "wasmtime" => 1,
        "wasmer" => 2,
        _ => 3,
    }
}

/// From figures to places.
struct Axis {
    /// What a round number of is a round figure: bytes are not counted in tens.
    one: f64,
    range: Range,
}

enum Range {
    /// From zero to this.
    Linear { most: f64 },
    /// From one power of ten to another.
    Logarithmic { least: i32, most: i32 },
}

impl Axis {
    fn of(figures: &[f64], unit: Unit) -> Axis {
        let most = figures.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let least = figures.iter().copied().fold(most, f64::min);
        let one = match unit {
            Unit::Bytes if most >= 1024.0 * 1024.0 => 1024.0 * 1024.0,
            Unit::Bytes if most >= 1024.0 => 1024.0,
            _ => 1.0,
        };
        let (most, least) = (most / one, least / one);
        let range = if least > 0.0 && most / least > LINEAR {
            Range::Logarithmic {
                // The shortest bar shall be seen, too.
                least: (least * 0.8).log10().floor() as i32,
                most: most.log10().ceil() as i32,
            }
        } else {
            Range::Linear { most }
        };
        Axis { one, range }
    }

    fn is_logarithmic(&self) -> bool {
        matches!(self.range, Range::Logarithmic { .. })
    }

    /// How far from the left a figure is.
    fn position(&self, figure: f64) -> f64 {
        let figure = figure / self.one;
        LENGTH
            * match self.range {
                Range::Linear { most } => figure / most,
                Range::Logarithmic { least, most } => {
                    (figure.log10() - f64::from(least)) / f64::from(most - least)
                }
            }
    }

    fn ticks(&self) -> Vec<f64> {
        let ticks: Vec<f64> = match self.range {
            Range::Linear { most } => {
                // The largest of 1, 2, 5, 10, ... that goes at least three times into the longest bar.
                let power = 10_f64.powf((most / 3.0).log10().floor());
                let steps = [5.0, 2.0, 1.0].map(|digit| digit * power);
                let step = steps.into_iter().find(|step| step * 3.0 <= most);
                let step = step.unwrap_or(power);
                let count = (most / step).floor() as u32;
                (0..=count).map(|index| step * f64::from(index)).collect()
            }
            Range::Logarithmic { least, most } => (least..=most).map(|e| 10_f64.powi(e)).collect(),
        };
        ticks.into_iter().map(|tick| tick * self.one).collect()
    }
}

/// A round figure, short.
fn tick_text(unit: Unit, tick: f64) -> String {
    let text = unit.show(tick);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            let number = number.trim_end_matches('0').trim_end_matches('.');
            format!("{number} {unit}")
        }
        _ => text,
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
