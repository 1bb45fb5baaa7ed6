//! Measuring side by side.
//!
//! A machine's speed drifts: with temperature, with what else runs on it. So the cases of a table are not measured one after the
//! other but in rounds, each of which measures every case once; a case is compared with another one of the same round, and what
//! is reported is the median over the rounds.
//!
//! A case is prepared when its table is measured, not before, and one that fails is reported as failed: the others go on.

use anyhow::{Error, Result, anyhow, bail};
use indicatif::ProgressBar;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

pub use cowling_bench_harness::{Run, median, timed};

/// What can be compared: several ways of doing one thing.
pub struct Table {
    title: String,
    quantities: Vec<Quantity>,
    cases: Vec<Case>,
    /// Rounds that count are at most as many as this.
    most_rounds: usize,
    /// Is there a round that does not count?
    warms_up: bool,
    /// Is it shown as a line of one table for all such?
    is_line: bool,
}

/// What a case is measured by. Less is better.
#[derive(Copy, Clone, Debug)]
pub struct Quantity {
    /// Added to the title of its table, unless empty.
    pub name: &'static str,
    pub unit: Unit,
    /// What is counted, as in "nanoseconds per ...".
    pub per: &'static str,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    Nanoseconds,
    Bytes,
    Count,
    /// To what something else takes.
    Ratio,
}

/// One way of doing it.
pub struct Case {
    pub engine: &'static str,
    pub name: String,
    comparisons: Vec<Comparison>,
    /// At most that much of the first quantity.
    most: Option<f64>,
    work: Work,
}

/// With which case of the same table, by its position, a case is compared, and what ratio it should reach.
#[derive(Copy, Clone, Debug)]
struct Comparison {
    baseline: usize,
    target: Option<f64>,
}

/// What a case should reach in the first quantity of its table.
#[derive(Copy, Clone, Debug)]
pub enum Target {
    /// At most this many times the baseline that was named last.
    Ratio(f64),
    /// At most this many nanoseconds, or whatever the quantity's unit is.
    Nanoseconds(f64),
}

/// How a case comes to its samples.
enum Work {
    Prepare(Box<dyn FnOnce() -> Result<Run>>),
    Run(Run),
    Failed(String),
}

/// What was measured of a table, for one of its quantities.
pub struct Measured {
    pub title: String,
    pub quantity: Quantity,
    pub cases: Vec<MeasuredCase>,
    pub rounds: usize,
    /// Is it shown as a line of one table for all such?
    pub is_line: bool,
}

/// What was measured of a case.
pub struct MeasuredCase {
    pub engine: &'static str,
    pub name: String,
    /// A sample per round, or why there are none.
    pub samples: Result<Vec<f64>, String>,
    pub ratios: Vec<Ratio>,
    /// At most that much.
    pub most: Option<f64>,
}

/// How a case compares with another one of its table.
pub struct Ratio {
    pub baseline: usize,
    /// The median of the rounds' ratios; none if one of the two failed.
    pub ratio: Option<f64>,
    /// At most that.
    pub target: Option<f64>,
}

/// How thoroughly to measure.
#[derive(Copy, Clone, Debug)]
pub struct Effort {
    pub rounds: usize,
    /// For how long each case is measured in each round.
    pub budget: Duration,
}

impl Case {
    /// A case that is prepared when its table is measured.
    pub fn prepared(
        engine: &'static str,
        name: impl Into<String>,
        prepare: impl FnOnce() -> Result<Run> + 'static,
    ) -> Case {
        Case {
            engine,
            name: name.into(),
            comparisons: Vec::new(),
            most: None,
            work: Work::Prepare(Box::new(prepare)),
        }
    }

    /// Compares it with a case of the same table, by its position. It may be compared with several.
    pub fn compared_with(mut self, baseline: usize) -> Case {
        self.comparisons.push(Comparison {
            baseline,
            target: None,
        });
        self
    }

    /// What it should reach. A ratio is one to the case that was named last.
    pub fn target(mut self, target: Target) -> Case {
        match target {
            Target::Ratio(most) => {
                if let Some(comparison) = self.comparisons.last_mut() {
                    comparison.target = Some(most);
                }
            }
            Target::Nanoseconds(most) => self.most = Some(most),
        }
        self
    }

    /// Takes a sample, unless an earlier one failed.
    fn sample(&mut self, budget: Duration) -> Option<Vec<f64>> {
        let sample = || {
            if let Work::Prepare(_) = &self.work
                && let Work::Prepare(prepare) =
                    std::mem::replace(&mut self.work, Work::Failed("its preparation".into()))
            {
                self.work = Work::Run(prepare()?);
            }
            match &mut self.work {
                Work::Run(run) => run(budget).map(Some),
                _ => Ok(None),
            }
        };
        let error: Error = match catch_unwind(AssertUnwindSafe(sample)) {
            Ok(Ok(figures)) => return figures,
            Ok(Err(error)) => error,
            Err(_) => anyhow!("it panicked"),
        };
        self.work = Work::Failed(format!("{error:#}"));
        None
    }
}

impl Table {
    /// A table of what takes time, `per` something.
    pub fn new(title: impl Into<String>, per: &'static str, cases: Vec<Case>) -> Table {
        let time = Quantity {
            name: "",
            unit: Unit::Nanoseconds,
            per,
        };
        Table::of(title, vec![time], cases)
    }

    /// A table of cases whose samples have a figure for each of these quantities.
    pub fn of(title: impl Into<String>, quantities: Vec<Quantity>, cases: Vec<Case>) -> Table {
        Table {
            title: title.into(),
            quantities,
            cases,
            most_rounds: usize::MAX,
            warms_up: true,
            is_line: false,
        }
    }

    /// Measures in fewer rounds, because they take long or are always the same.
    pub fn most_rounds(mut self, rounds: usize) -> Table {
        self.most_rounds = rounds;
        self
    }

    /// Counts the first round, because each sample has a process of its own and what comes before does not matter.
    pub fn without_warm_up(mut self) -> Table {
        self.warms_up = false;
        self
    }

    /// Shows it as a line of one table, together with the others of its group that do the same with different things. All of them
    /// have the same cases.
    pub fn shown_as_line(mut self) -> Table {
        self.is_line = true;
        self
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    /// Keeps only the cases of these engines. Comparisons with others are no more. `None` if nothing is left.
    pub fn only(mut self, engines: &[String]) -> Option<Table> {
        let is_kept = |case: &Case| engines.iter().any(|engine| engine == case.engine);
        let kept: Vec<bool> = self.cases.iter().map(is_kept).collect();
        let position = |baseline: usize| {
            kept[baseline].then(|| kept[..baseline].iter().filter(|&&kept| kept).count())
        };
        self.cases.retain(is_kept);
        for case in &mut self.cases {
            case.comparisons.retain_mut(|comparison| {
                let position = position(comparison.baseline);
                comparison.baseline = position.unwrap_or_default();
                position.is_some()
            });
        }
        (!self.cases.is_empty()).then_some(self)
    }

    /// Measures every case in every round, after a round that warms up and does not count. One result per quantity.
    ///
    /// # Errors
    /// When the table itself is wrong. Cases that fail are part of the result.
    pub fn measure(mut self, effort: Effort, progress: &ProgressBar) -> Result<Vec<Measured>> {
        let count = self.cases.len();
        let rounds = effort.rounds.min(self.most_rounds).max(1);
        let first = usize::from(!self.warms_up);
        progress.set_length(((rounds + 1 - first) * count) as u64);
        let mut samples = vec![Vec::with_capacity(rounds); count];
        for round in first..=rounds {
            // Whoever comes first may find the caches, or the processor's clock, in another state than the others.
            for position in 0..count {
                let index = (position + round) % count;
                let case = &mut self.cases[index];
                progress.set_message(format!("{}, {}", case.engine, case.name));
                if let Some(figures) = case.sample(effort.budget)
                    && round > 0
                {
                    if figures.len() != self.quantities.len() {
                        bail!("{}: a sample of {} figures", self.title, figures.len());
                    }
                    samples[index].push(figures);
                }
                progress.inc(1);
            }
        }
        let quantities = self.quantities.iter().enumerate();
        Ok(quantities
            .map(|(index, &quantity)| self.measured(rounds, &samples, index, quantity))
            .collect())
    }

    fn measured(
        &self,
        rounds: usize,
        samples: &[Vec<Vec<f64>>],
        index: usize,
        quantity: Quantity,
    ) -> Measured {
        let of = |case: usize| match &self.cases[case].work {
            Work::Failed(reason) => Err(reason.clone()),
            _ => Ok(samples[case].iter().map(|figures| figures[index]).collect()),
        };
        let samples: Vec<Result<Vec<f64>, String>> = (0..self.cases.len()).map(of).collect();
        let ratio = |case: usize, comparison: &Comparison| Ratio {
            baseline: comparison.baseline,
            ratio: match (&samples[case], &samples[comparison.baseline]) {
                (Ok(case), Ok(baseline)) => Some(median(case.iter().zip(baseline).map(
                    // Nothing is as much as nothing.
                    |(a, b)| if a == b { 1.0 } else { a / b },
                ))),
                _ => None,
            },
            target: comparison.target.filter(|_| index == 0),
        };
        let cases = self
            .cases
            .iter()
            .enumerate()
            .map(|(case, this)| MeasuredCase {
                engine: this.engine,
                name: this.name.clone(),
                samples: samples[case].clone(),
                ratios: (this.comparisons.iter())
                    .map(|comparison| ratio(case, comparison))
                    .collect(),
                most: this.most.filter(|_| index == 0),
            });
        Measured {
            title: match quantity.name {
                "" => self.title.clone(),
                name => format!("{}: {name}", self.title),
            },
            quantity,
            cases: cases.collect(),
            rounds,
            is_line: self.is_line,
        }
    }
}

impl MeasuredCase {
    /// The median over the rounds, if there is one.
    pub fn median(&self) -> Option<f64> {
        let samples = self.samples.as_ref().ok()?;
        Some(median(samples.iter().copied()))
    }

    /// How many targets it misses. Failing is missing them all.
    pub fn missed(&self) -> usize {
        let ratios = self.ratios.iter();
        let ratios = ratios.filter(|ratio| ratio.reaches_target() == Some(false));
        ratios.count() + usize::from(self.reaches_most() == Some(false))
    }

    /// Is it at most what it should be? `None` without a target.
    pub fn reaches_most(&self) -> Option<bool> {
        let most = self.most?;
        Some(self.median().is_some_and(|median| median <= most))
    }
}

impl Ratio {
    /// Is it at most what it should be? `None` without a target.
    pub fn reaches_target(&self) -> Option<bool> {
        let target = self.target?;
        Some(self.ratio.is_some_and(|ratio| ratio <= target))
    }
}

impl Unit {
    /// A figure, readable.
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Nanoseconds => match value {
                ns if ns < 1e3 => format!("{ns:.1} ns"),
                ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
                ns if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
                ns => format!("{:.2} s", ns / 1e9),
            },
            Unit::Bytes => match value {
                bytes if bytes < 1024.0 => format!("{bytes:.0} B"),
                bytes if bytes < 1024.0 * 1024.0 => format!("{:.1} KiB", bytes / 1024.0),
                bytes => format!("{:.1} MiB", bytes / 1024.0 / 1024.0),
            },
            Unit::Count => format!("{value:.0}"),
            Unit::Ratio => format!("{value:.3}"),
        }
    }

    /// What less and more of it are called.
    pub fn less_and_more(self) -> (&'static str, &'static str) {
        match self {
            Unit::Nanoseconds | Unit::Ratio => ("faster", "slower"),
            Unit::Bytes | Unit::Count => ("less", "more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort {
        rounds: 3,
        budget: Duration::ZERO,
    };

    /// A case whose samples are these, the first in a round that does not count, and then nothing but the last.
    fn case(engine: &'static str, samples: &'static [f64]) -> Case {
        let mut samples = samples.iter().copied();
        let mut last = f64::NAN;
        Case::prepared(engine, "case", move || {
            Ok(Box::new(move |_| {
                last = samples.next().unwrap_or(last);
                Ok(vec![last])
            }))
        })
    }

    fn failing(engine: &'static str, fail: fn() -> Result<Run>) -> Case {
        Case::prepared(engine, "case", fail)
    }

    fn measure(table: Table) -> Measured {
        let measured = table.measure(EFFORT, &ProgressBar::hidden());
        measured.unwrap().remove(0)
    }

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_of_the_same_rounds() {
        let cases = vec![
            case("a", &[99.0, 1.0, 20.0, 300.0]).compared_with(1),
            case("b", &[1.0, 10.0, 100.0, 1000.0]),
        ];
        let measured = measure(Table::new("", "", cases));
        assert_eq!(measured.cases[0].median(), Some(20.0));
        assert_eq!(measured.cases[0].ratios[0].ratio, Some(0.2));
    }

    #[test]
    fn cases_that_fail_are_reported_and_the_others_go_on() {
        let cases = vec![
            failing("a", || bail!("no such thing")),
            failing("b", || panic!("not for you to see")).compared_with(0),
            failing("c", || Ok(Box::new(|_| bail!("not today")))).target(Target::Nanoseconds(9.0)),
            case("d", &[4.0])
                .compared_with(0)
                .target(Target::Ratio(2.0)),
        ];
        let measured = measure(Table::new("", "", cases));
        let reasons = measured.cases.iter().map(|case| case.samples.clone().err());
        let reasons: Vec<_> = reasons.collect();
        let reasons: Vec<_> = reasons.iter().map(Option::as_deref).collect();
        let expected = ["no such thing", "it panicked", "not today"].map(Some);
        assert_eq!(reasons[..3], expected);
        assert_eq!(measured.cases[3].samples, Ok(vec![4.0; 3]));
        let missed: Vec<_> = measured.cases.iter().map(MeasuredCase::missed).collect();
        assert_eq!(missed, [0, 0, 1, 1]);
    }

    #[test]
    fn comparisons_follow_their_cases_when_engines_are_chosen() {
        let cases = vec![
            case("a", &[1.0]).compared_with(2).compared_with(1),
            case("b", &[2.0]).compared_with(2),
            case("c", &[4.0]),
        ];
        let table = Table::new("", "", cases);
        let table = table.only(&["a".into(), "c".into()]).unwrap();
        let measured = measure(table);
        let engines: Vec<_> = measured.cases.iter().map(|case| case.engine).collect();
        assert_eq!(engines, ["a", "c"]);
        let ratios = &measured.cases[0].ratios;
        assert_eq!(ratios.len(), 1);
        assert_eq!((ratios[0].baseline, ratios[0].ratio), (1, Some(0.25)));
        let table = Table::new("", "", vec![case("a", &[1.0])]);
        assert!(table.only(&["d".into()]).is_none());
    }

    #[test]
    fn a_ratio_is_a_target_of_the_comparison_before_it() {
        let cases = vec![
            case("a", &[1.0])
                .compared_with(1)
                .target(Target::Ratio(0.6))
                .compared_with(2)
                .target(Target::Ratio(0.2))
                .compared_with(1),
            case("b", &[2.0]),
            case("c", &[4.0]),
        ];
        let measured = measure(Table::new("", "", cases));
        let ratios = measured.cases[0].ratios.iter();
        let reached: Vec<_> = ratios.map(Ratio::reaches_target).collect();
        assert_eq!(reached, [Some(true), Some(false), None]);
    }
}
