//! The results of runs: accuracy before and after by suite, and the cost.

use super::number::{fixed, grouped, percent, signed, span};
use super::read::{RunRecord, Status};
use crate::eval::Score;
use crate::run::Evaluation;
use serde::Serialize;

/// The mean over the in-distribution suites, or over the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mean {
    /// Suites like the training problems.
    In,
    /// Suites that fine-tuning never saw.
    Out,
}

/// A share, and its 95% interval.
pub type Estimate = (f64, [f64; 2]);

/// Mean accuracy and its 95% interval. The suites' problems are independent, so the distances to their
/// intervals' ends add in squares (Zou and Donner, 2008). `None` without such suites.
pub fn mean_of(scores: &[Score], mean: Mean) -> Option<Estimate> {
    let chosen: Vec<&Score> = scores.iter().filter(|s| s.ood == (mean == Mean::Out)).collect();
    let n = chosen.len() as f64;
    let accuracy = chosen.iter().map(|s| s.accuracy).sum::<f64>() / n;
    let reach = |end: usize| {
        let squares = chosen.iter().map(|s| (s.interval[end] - s.accuracy).powi(2));
        squares.sum::<f64>().sqrt() / n
    };
    let interval = [accuracy - reach(0), accuracy + reach(1)];
    (!chosen.is_empty()).then_some((accuracy, interval))
}

/// The sentence shown instead of accuracies.
pub fn no_evaluation(runs: &[RunRecord]) -> &'static str {
    match runs.iter().all(RunRecord::has_no_suite) {
        true => "Nothing is evaluated: no suite is configured (data.eval).",
        false => "No evaluation is on file.",
    }
}

/// Accuracy before and after, of a run on a suite or a mean of suites; shares.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outcome {
    /// Accuracy of the base.
    pub base: Option<f64>,
    /// Accuracy in the last evaluation after training began.
    pub last: Option<Estimate>,
    /// pass@k of that evaluation, if there is more than one sample per problem.
    pub pass: Option<Estimate>,
}

impl Outcome {
    /// The outcome over a run's evaluations.
    pub fn of(
        evaluations: &[Evaluation],
        accuracy: impl Fn(&Evaluation) -> Option<Estimate>,
    ) -> Self {
        let base = evaluations.iter().find(|e| e.step == 0).and_then(&accuracy).map(|a| a.0);
        let last = evaluations.iter().rfind(|e| e.step > 0).and_then(&accuracy);
        Self { base, last, pass: None }
    }

    /// The outcome of a run on a mean of suites.
    pub fn of_mean(run: &RunRecord, mean: Mean) -> Self {
        Self::of(&run.evaluations, |e| mean_of(&e.scores, mean))
    }

    /// Accuracy after minus before.
    pub fn change(&self) -> Option<f64> {
        Some(self.last?.0 - self.base?)
    }
}

/// A row of the table of results.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Suite, or the mean's name.
    pub suite: String,
    /// Problems.
    pub problems: usize,
    /// Whether it is a mean of the suites above it.
    pub mean: bool,
    /// One for each run, in the report's order.
    pub cells: Vec<Cell>,
}

/// A run's cell in a row, as text; `–` if there is no value.
#[derive(Debug, Serialize)]
pub struct Cell {
    /// Accuracy of the base, percent.
    pub base: String,
    /// Accuracy at the end, percent.
    pub last: String,
    /// Its 95% interval.
    pub interval: String,
    /// Change in points.
    pub change: String,
    /// pass@k with its interval; empty for one sample per problem.
    pub pass: String,
}

impl Cell {
    fn new(outcome: Outcome, k: usize) -> Self {
        let none = || "–".to_string();
        let share = |v: f64| fixed(100.0 * v, 1);
        let pass =
            |(p, interval): Estimate| format!("pass@{k} {} {}", share(p), bracketed(interval));
        Self {
            base: outcome.base.map_or_else(none, share),
            last: outcome.last.map_or_else(none, |l| share(l.0)),
            interval: outcome.last.map_or(String::new(), |l| bracketed(l.1)),
            change: outcome.change().map_or_else(none, |c| signed(100.0 * c, 1)),
            pass: outcome.pass.map_or(String::new(), pass),
        }
    }
}

/// The table: the in-distribution suites and their mean, then the others and their mean. Empty without
/// an evaluation.
pub fn table(runs: &[RunRecord]) -> Vec<Row> {
    let mut rows = Vec::new();
    for mean in [Mean::In, Mean::Out] {
        let mut suites: Vec<&Score> = Vec::new();
        let all = runs.iter().flat_map(|r| &r.evaluations).flat_map(|e| &e.scores);
        for score in all.filter(|s| s.ood == (mean == Mean::Out)) {
            if !suites.iter().any(|s| s.suite == score.suite) {
                suites.push(score);
            }
        }
        for suite in &suites {
            let cells = runs.iter().map(|run| suite_cell(run, &suite.suite)).collect();
            rows.push(Row { suite: suite.suite.clone(), problems: suite.n, mean: false, cells });
        }
        if !suites.is_empty() {
            let name = match mean {
                Mean::In => "mean, in distribution",
                Mean::Out => "mean, out of distribution",
            };
            rows.push(Row {
                suite: name.into(),
                problems: suites.iter().map(|s| s.n).sum(),
                mean: true,
                cells: runs.iter().map(|r| Cell::new(Outcome::of_mean(r, mean), 1)).collect(),
            });
        }
    }
    rows
}

fn suite_cell(run: &RunRecord, suite: &str) -> Cell {
    let of = |e: &Evaluation| e.scores.iter().find(|s| s.suite == suite).cloned();
    let mut outcome = Outcome::of(&run.evaluations, |e| of(e).map(|s| (s.accuracy, s.interval)));
    let last = run.evaluations.iter().rfind(|e| e.step > 0).and_then(of);
    let sampled = last.filter(|s| s.samples > 1);
    outcome.pass = sampled.as_ref().map(|s| (s.pass, s.pass_interval));
    Cell::new(outcome, sampled.map_or(1, |s| s.samples))
}

/// The cost of a run, in the order of [`COSTS`].
pub fn costs(run: &RunRecord) -> Vec<String> {
    let time = Time::of(run);
    let sum = |f: fn(&crate::metrics::StepReport) -> u64| run.steps.iter().map(f).sum::<u64>();
    let planned = run.config.train.steps;
    let updates = match run.status {
        Status::Finished => run.updates().to_string(),
        _ => format!("{} of {planned}", run.updates()),
    };
    vec![
        run.method(),
        updates,
        grouped(sum(|r| r.rollout_tokens)),
        grouped(sum(|r| r.trained_tokens)),
        span(time.total()),
        run.device.clone().unwrap_or_else(|| "not on file yet".into()),
    ]
}

/// The columns of a run's cost.
pub const COSTS: [&str; 6] =
    ["method", "updates", "tokens sampled", "tokens trained on", "time", "device"];

/// How a run spent its time, seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Time {
    /// Sampling and scoring.
    pub rollouts: f64,
    /// Loss, gradient, update.
    pub updates: f64,
    /// Evaluations.
    pub evaluations: f64,
    /// Writing files; only known for a complete run.
    pub files: f64,
}

impl Time {
    /// The time of the recorded steps and evaluations.
    pub fn of(run: &RunRecord) -> Self {
        Self {
            rollouts: run.steps.iter().map(|r| r.rollout_secs).sum(),
            updates: run.steps.iter().map(|r| r.train_secs).sum(),
            evaluations: run.evaluations.iter().map(|e| e.eval_secs).sum(),
            files: run.summary.as_ref().map_or(0.0, |s| s.other_secs),
        }
    }

    /// The sum.
    pub fn total(&self) -> f64 {
        self.rollouts + self.updates + self.evaluations + self.files
    }

    /// Each part with its name, seconds and share of the whole.
    pub fn parts(&self) -> [(&'static str, f64, f64); 4] {
        let share = |secs: f64| if self.total() > 0.0 { secs / self.total() } else { 0.0 };
        [
            ("sampling and scoring", self.rollouts),
            ("updates", self.updates),
            ("evaluation", self.evaluations),
            ("files", self.files),
        ]
        .map(|(name, secs)| (name, secs, share(secs)))
    }
}

/// `94.8% [93.2, 96.0]`.
pub fn with_interval((accuracy, interval): Estimate) -> String {
    format!("{} {}", percent(accuracy), bracketed(interval))
}

/// `[93.2, 96.0]`, percent.
fn bracketed([low, high]: [f64; 2]) -> String {
    format!("[{}, {}]", fixed(100.0 * low, 1), fixed(100.0 * high, 1))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{evaluation, run};
    use super::*;

    #[test]
    fn means_carry_the_intervals_of_their_suites() {
        let scores =
            evaluation(5, &[("add", false, 0.9), ("sub", false, 0.7), ("two", true, 0.2)]).scores;
        let (accuracy, [low, high]) = mean_of(&scores, Mean::In).unwrap();
        assert!((accuracy - 0.8).abs() < 1e-12);
        // Each suite's interval reaches 0.03 to either side: √(2 · 0.03²) / 2.
        let reach = 0.03 / 2f64.sqrt();
        assert!((accuracy - low - reach).abs() < 1e-12 && (high - accuracy - reach).abs() < 1e-12);
        let (accuracy, [low, high]) = mean_of(&scores, Mean::Out).unwrap();
        assert!(accuracy == 0.2 && (low - 0.17).abs() < 1e-12 && (high - 0.23).abs() < 1e-12);
        assert_eq!(mean_of(&[], Mean::In), None);
    }

    #[test]
    fn the_table_has_base_end_and_change() {
        let mut run = run("a", 10);
        run.evaluations = vec![
            evaluation(0, &[("add", false, 0.3), ("two", true, 0.1)]),
            evaluation(10, &[("add", false, 0.95), ("two", true, 0.4)]),
        ];
        let rows = table(&[run]);
        let names: Vec<&str> = rows.iter().map(|r| r.suite.as_str()).collect();
        assert_eq!(names, ["add", "mean, in distribution", "two", "mean, out of distribution"]);
        let Cell { base, last, interval, change, pass } = &rows[0].cells[0];
        assert_eq!(
            [base, last, interval, change, pass],
            ["30.0", "95.0", "[92.0, 98.0]", "+65.0", ""]
        );
    }

    #[test]
    fn a_run_before_its_first_evaluation_leaves_its_places_empty() {
        let mut one = run("a", 3);
        one.evaluations = vec![evaluation(0, &[("add", false, 0.3)])];
        let rows = table(&[one, run("b", 3)]);
        let cells: Vec<[&str; 3]> =
            rows[0].cells.iter().map(|c| [&*c.base, &*c.last, &*c.change]).collect();
        assert_eq!(cells, [["30.0", "–", "–"], ["–", "–", "–"]]);
        assert!(table(&[run("c", 3)]).is_empty());
    }
}
