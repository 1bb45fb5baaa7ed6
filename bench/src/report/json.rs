//! What was measured, as JSON.

use super::Report;
use super::origin::Origin;
use crate::measure::{Measured, Unit};
use anyhow::Result;
use serde::Serialize;

#[derive(Serialize)]
struct Json<'a> {
    group: &'a str,
    about: &'a str,
    origin: &'a Origin,
    tables: Vec<Table<'a>>,
}

#[derive(Serialize)]
struct Table<'a> {
    title: &'a str,
    unit: &'static str,
    per: &'a str,
    rounds: usize,
    cases: Vec<Case<'a>>,
}

#[derive(Serialize)]
struct Case<'a> {
    engine: &'a str,
    name: &'a str,
    median: Option<f64>,
    samples: &'a [f64],
    failed: Option<&'a str>,
    comparisons: Vec<Comparison>,
    at_most: Option<f64>,
    reaches_at_most: Option<bool>,
}

#[derive(Serialize)]
struct Comparison {
    with: String,
    ratio: Option<f64>,
    target: Option<f64>,
    reaches_target: Option<bool>,
}

pub fn of(report: &Report) -> Result<String> {
    let json = Json {
        group: report.group,
        about: report.about,
        origin: &report.origin,
        tables: report
            .tables
            .iter()
            .chain(&report.lines)
            .map(table)
            .collect(),
    };
    Ok(serde_json::to_string_pretty(&json)? + "\n")
}

fn table(table: &Measured) -> Table<'_> {
    let cases = table.cases.iter().map(|case| Case {
        engine: case.engine,
        name: &case.name,
        median: case.median(),
        samples: case.samples.as_deref().unwrap_or_default(),
        failed: case.samples.as_ref().err().map(String::as_str),
        comparisons: (case.ratios.iter())
            .map(|ratio| Comparison {
                with: table.name_of(ratio.baseline),
                ratio: ratio.ratio,
                target: ratio.target,
                reaches_target: ratio.reaches_target(),
            })
            .collect(),
        at_most: case.most,
        reaches_at_most: case.reaches_most(),
    });
    Table {
        title: &table.title,
        unit: match table.quantity.unit {
            Unit::Nanoseconds => "nanoseconds",
            Unit::Bytes => "bytes",
            Unit::Count => "count",
            Unit::Ratio => "ratio",
        },
        per: table.quantity.per,
        rounds: table.rounds,
        cases: cases.collect(),
    }
}
