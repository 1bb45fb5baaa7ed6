//! Tables that do the same with different things are shown as one: a line for each, a column for each case.

use crate::measure::{Measured, MeasuredCase, Quantity, Unit};
use anyhow::Result;
use std::fmt::Write as _;

/// For each case that others are compared with: the geometric means of the ratios of all lines, as a table of its own.
pub fn means(lines: &[Measured]) -> Vec<Measured> {
    let Some(first) = lines.first() else {
        return Vec::new();
    };
    let table = |baseline: usize| Measured {
        title: format!("All together, compared with {}", first.name_of(baseline)),
        quantity: Quantity {
            name: "",
            unit: Unit::Ratio,
            per: "line, in geometric mean",
        },
        cases: (0..first.cases.len())
            .filter(|&case| is_compared(lines, case, baseline))
            .map(|case| mean(lines, case, baseline))
            .collect(),
        rounds: first.rounds,
        is_line: false,
    };
    baselines(lines).into_iter().map(table).collect()
}

/// For each case that others are compared with: the ratios of the first case, which is ours, of all lines as a table of its own.
pub fn ratios(lines: &[Measured]) -> Vec<Measured> {
    let Some(first) = lines.first() else {
        return Vec::new();
    };
    let table = |baseline: usize| Measured {
        title: format!(
            "{}, compared with {}",
            first.name_of(0),
            first.name_of(baseline)
        ),
        quantity: Quantity {
            name: "",
            unit: Unit::Ratio,
            per: first.quantity.per,
        },
        cases: lines.iter().map(|line| line.ratio(baseline)).collect(),
        rounds: first.rounds,
        is_line: false,
    };
    let baselines = baselines(lines).into_iter();
    let others = baselines.filter(|&baseline| is_compared(lines, 0, baseline));
    others.map(table).collect()
}

/// The lines: their medians, and the ratios to each case that others are compared with.
pub fn markdown(lines: &[Measured]) -> Result<String> {
    let mut out = String::new();
    let Some(first) = lines.first() else {
        return Ok(out);
    };
    let all: Vec<usize> = (0..first.cases.len()).collect();
    table(
        &mut out,
        &format!("Per {} ({})", first.quantity.per, first.rounds_text()),
        lines,
        &all,
        |line, case| match &case.samples {
            Ok(_) => line.quantity.unit.show(case.median().unwrap_or(f64::NAN)),
            Err(_) => "failed".into(),
        },
    )?;
    for baseline in baselines(lines) {
        let compared = all.iter().copied();
        let compared = compared.filter(|&case| is_compared(lines, case, baseline));
        table(
            &mut out,
            &format!("Ratio to {}", first.name_of(baseline)),
            lines,
            &compared.collect::<Vec<_>>(),
            |_, case| match ratio(case, baseline) {
                Some(ratio) => format!("{ratio:.3}"),
                None => "-".into(),
            },
        )?;
    }
    for line in lines {
        for (index, case) in line.cases.iter().enumerate() {
            if let Err(reason) = &case.samples {
                writeln!(
                    out,
                    "\n{} failed with {}: {reason}",
                    line.title,
                    line.name_of(index)
                )?;
            }
        }
    }
    Ok(out)
}

impl Measured {
    /// The ratio of the first case, as a case called like this table.
    fn ratio(&self, baseline: usize) -> MeasuredCase {
        let case = &self.cases[0];
        let ratio = ratio(case, baseline);
        MeasuredCase {
            engine: case.engine,
            name: self.title.clone(),
            samples: ratio.map_or_else(|| Err("there is none".into()), |ratio| Ok(vec![ratio])),
            ratios: Vec::new(),
            most: None,
        }
    }
}

fn table(
    out: &mut String,
    title: &str,
    lines: &[Measured],
    cases: &[usize],
    show: impl Fn(&Measured, &MeasuredCase) -> String,
) -> Result<()> {
    let names = cases.iter().map(|&case| lines[0].name_of(case));
    let names: Vec<String> = names.collect();
    writeln!(out, "\n## {title}\n\n| | {} |", names.join(" | "))?;
    writeln!(out, "|---|{}", "---:|".repeat(cases.len()))?;
    for line in lines {
        let cells = cases.iter().map(|&case| match line.cases.get(case) {
            Some(case) => show(line, case),
            None => String::new(),
        });
        let cells: Vec<String> = cells.collect();
        writeln!(out, "| {} | {} |", line.title, cells.join(" | "))?;
    }
    Ok(())
}

/// The positions of cases that others are compared with.
fn baselines(lines: &[Measured]) -> Vec<usize> {
    let cases = lines.iter().flat_map(|line| &line.cases);
    let baselines = cases
        .flat_map(|case| &case.ratios)
        .map(|ratio| ratio.baseline);
    let mut baselines: Vec<usize> = baselines.collect();
    baselines.sort_unstable();
    baselines.dedup();
    baselines
}

fn is_compared(lines: &[Measured], case: usize, baseline: usize) -> bool {
    let compared = lines[0].cases[case].ratios.iter();
    compared
        .map(|ratio| ratio.baseline)
        .any(|with| with == baseline)
}

fn ratio(case: &MeasuredCase, baseline: usize) -> Option<f64> {
    let ratio = case
        .ratios
        .iter()
        .find(|ratio| ratio.baseline == baseline)?;
    ratio.ratio
}

/// The mean over the lines in which neither of the two failed, round by round.
fn mean(lines: &[Measured], case: usize, baseline: usize) -> MeasuredCase {
    let MeasuredCase { engine, name, .. } = &lines[0].cases[case];
    let pairs = lines.iter().filter_map(|line| {
        let case = line.cases.get(case)?.samples.as_ref().ok()?;
        let baseline = line.cases.get(baseline)?.samples.as_ref().ok()?;
        Some((case, baseline))
    });
    let pairs: Vec<_> = pairs.collect();
    let rounds = pairs.iter().map(|(case, _)| case.len()).min();
    let round = |round: usize| {
        let logarithms = pairs
            .iter()
            .map(|(case, baseline)| (case[round] / baseline[round]).ln());
        (logarithms.sum::<f64>() / pairs.len() as f64).exp()
    };
    MeasuredCase {
        engine,
        name: match lines.len() - pairs.len() {
            0 => name.clone(),
            failed => format!("{name}, without {failed} that failed"),
        },
        samples: match rounds {
            Some(rounds) => Ok((0..rounds).map(round).collect()),
            None => Err("there is nothing that both have done".into()),
        },
        ratios: Vec::new(),
        most: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Ratio;

    /// A line of two cases, the first compared with the second.
    fn line(first: Result<Vec<f64>, String>, second: Vec<f64>) -> Measured {
        let case = |engine, samples, ratios| MeasuredCase {
            engine,
            name: "case".into(),
            samples,
            ratios,
            most: None,
        };
        let ratio = Ratio {
            baseline: 1,
            ratio: first.as_ref().ok().map(|first| first[0] / second[0]),
            target: None,
        };
        Measured {
            title: "thing".into(),
            quantity: Quantity {
                name: "",
                unit: Unit::Nanoseconds,
                per: "run",
            },
            cases: vec![
                case("one", first, vec![ratio]),
                case("other", Ok(second), Vec::new()),
            ],
            rounds: 2,
            is_line: true,
        }
    }

    #[test]
    fn means_are_geometric_and_taken_round_by_round() {
        let lines = [
            line(Ok(vec![8.0, 6.0]), vec![1.0, 2.0]),
            line(Ok(vec![2.0, 6.0]), vec![1.0, 2.0]),
        ];
        let means = means(&lines);
        let [table] = &means[..] else {
            panic!("{} tables", means.len());
        };
        let samples = table.cases[0].samples.as_ref().unwrap();
        assert!((samples[0] - 4.0).abs() < 1e-9, "{samples:?}");
        assert!((samples[1] - 3.0).abs() < 1e-9, "{samples:?}");
    }

    #[test]
    fn a_line_that_failed_is_left_out_of_the_mean_and_says_why() {
        let lines = [
            line(Ok(vec![3.0, 3.0]), vec![1.0, 1.0]),
            line(Err("it trapped".into()), vec![1.0, 1.0]),
        ];
        let table = &means(&lines)[0];
        assert_eq!(table.cases[0].name, "case, without 1 that failed");
        assert!((table.cases[0].median().unwrap() - 3.0).abs() < 1e-9);
        let markdown = markdown(&lines).unwrap();
        assert!(
            markdown.contains("| thing | failed | 1.0 ns |"),
            "{markdown}"
        );
        assert!(
            markdown.contains("thing failed with one, case: it trapped"),
            "{markdown}"
        );
    }

    #[test]
    fn nothing_is_shown_of_no_lines() {
        assert!(means(&[]).is_empty());
        assert!(ratios(&[]).is_empty());
        assert_eq!(markdown(&[]).unwrap(), "");
    }
}
