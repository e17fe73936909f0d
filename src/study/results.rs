//! The results of a study, computed from its folders: plain records, `results.json`.

use super::finished::{Finished, SuiteRun};
use super::runs::{Choice, Study, Task};
use super::spec::{Regime, Row, TableSpec};
use super::stats::{Difference, Spread, Verdict};
use crate::error::Result;
use crate::eval::{Score, mean_accuracy};
use crate::metrics::{StepReport, mean, mean_of};
use crate::run::{OnFile, Summary};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The file of the results.
pub const RESULTS: &str = "results.json";

/// The entropy at the end is the mean over this share of the steps.
const LAST_STEPS: f64 = 0.1;

/// Everything that tables and reports need. Accuracies are shares, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The study's name.
    pub name: String,
    /// The row that all others are compared with.
    pub control: String,
    /// How many runs the study has, trials and bases included.
    pub runs: usize,
    /// The runs that are not done, as `REGIME/ROW seed N`.
    pub missing: Vec<String>,
    /// The regimes.
    pub regimes: Vec<RegimeResult>,
    /// Further tables that the study asks for.
    pub tables: Vec<TableSpec>,
}

impl Results {
    /// Every row compared with the control, in or out of distribution.
    pub fn comparisons(
        &self,
        ood: bool,
    ) -> impl Iterator<Item = (&RegimeResult, &RowResult, &Compared)> {
        let rows = self.regimes.iter().flat_map(|g| g.rows.iter().map(move |row| (g, row)));
        rows.filter_map(move |(regime, row)| {
            let differences = row.difference.as_ref()?;
            let side = if ood { &differences.outside } else { &differences.inside };
            Some((regime, row, side.as_ref()?))
        })
    }

    /// How many of these comparisons the control wins, ties and loses.
    pub fn tally(&self, ood: bool) -> [usize; 3] {
        [Verdict::Wins, Verdict::Ties, Verdict::Loses]
            .map(|v| self.comparisons(ood).filter(|(.., compared)| compared.control == v).count())
    }
}

/// A regime's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegimeResult {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// The size of each suite.
    pub suites: BTreeMap<String, SuiteSize>,
    /// The base before training: accuracy in and out of distribution.
    pub base: Accuracies,
    /// The rows in the study's order, without those that have no run yet.
    pub rows: Vec<RowResult>,
}

/// The size of a suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteSize {
    /// Whether it is out of distribution.
    pub ood: bool,
    /// Number of problems.
    pub problems: usize,
    /// Samples per problem, k.
    pub samples: usize,
}

/// Mean accuracies with their spread over seeds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Accuracies {
    /// Mean over the suites in distribution.
    pub inside: Option<Spread>,
    /// Mean over those out of distribution.
    pub outside: Option<Spread>,
}

/// A row of a regime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowResult {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// The values taken from its grid, as `section.key=value`; empty without a grid.
    pub chosen: String,
    /// How many points the grid has.
    pub points: usize,
    /// The runs.
    pub runs: Vec<RunResult>,
    /// pass@1 by sampling: the share of right samples, a mean over suites.
    pub accuracy: Accuracies,
    /// pass@k for the k samples of each problem; equal to accuracy for k = 1.
    pub pass: Accuracies,
    /// Accuracy by suite, a mean over seeds.
    pub suites: BTreeMap<String, f64>,
    /// This row minus the control, paired; absent for the control itself.
    pub difference: Option<Differences>,
    /// What the runs cost, a mean over seeds.
    pub compute: Compute,
    /// Entropy of the rollouts over the last tenth of the steps, nats; absent without rollouts.
    pub entropy: Option<Spread>,
    /// Length of the responses in the last evaluation, tokens.
    pub response_tokens: Option<Spread>,
}

/// Differences from the control, each with a verdict on the control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Differences {
    /// In distribution.
    pub inside: Option<Compared>,
    /// Out of distribution.
    pub outside: Option<Compared>,
}

/// A difference and its verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Row minus control.
    #[serde(flatten)]
    pub difference: Difference,
    /// Whether the control wins, ties or loses.
    pub control: Verdict,
}

/// A run that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Seed.
    pub seed: u64,
    /// Accuracy in distribution.
    pub inside: Option<f64>,
    /// Accuracy out of distribution.
    pub outside: Option<f64>,
    /// Updates done.
    pub updates: u32,
    /// Why it ended early, if it did.
    pub diverged: Option<String>,
}

/// What training cost, without evaluation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Compute {
    /// Updates.
    pub updates: f64,
    /// Tokens sampled.
    pub rollout_tokens: f64,
    /// Response tokens trained on.
    pub trained_tokens: f64,
    /// Floating-point operations relative to the control's, at 2 per parameter for a sampled token and
    /// 6 for a trained one; absent if the control has no run.
    pub relative: Option<f64>,
    /// Sampling and scoring, seconds.
    pub rollout_secs: f64,
    /// Updates, seconds.
    pub train_secs: f64,
    /// Evaluations, seconds.
    pub eval_secs: f64,
}

impl Compute {
    fn tokens(&self) -> f64 {
        2.0 * self.rollout_tokens + 6.0 * self.trained_tokens
    }
}

/// A run with everything that tables need from it.
struct Read {
    seed: u64,
    finished: Finished,
    suites: Vec<SuiteRun>,
    entropy: Option<f64>,
}

impl Study {
    /// The results of the runs that are done.
    pub fn results(&self) -> Result<Results> {
        let tasks = self.tasks()?;
        let mut missing = Vec::new();
        for task in &tasks {
            if !self.is_done(task)? {
                missing.push(task.to_string());
            }
        }
        let regimes = self.spec.regimes.iter().map(|r| self.regime_result(r));
        Ok(Results {
            name: self.spec.name.clone(),
            control: self.spec.control.clone(),
            runs: tasks.len(),
            missing,
            regimes: regimes.collect::<Result<_>>()?,
            tables: self.spec.tables.clone(),
        })
    }

    fn regime_result(&self, regime: &Regime) -> Result<RegimeResult> {
        let control = self.runs_of(regime, self.spec.row(&self.spec.control)?)?;
        let control_compute = (!control.is_empty()).then(|| compute(&control));
        let (mut rows, mut bases) = (Vec::new(), BTreeMap::new());
        let mut suites = BTreeMap::new();
        for row in self.spec.rows_of(regime) {
            let runs = self.runs_of(regime, row)?;
            let Some(first) = runs.first() else { continue };
            suites.extend(first.finished.last.scores.iter().map(|s| {
                let size = SuiteSize { ood: s.ood, problems: s.n, samples: s.samples };
                (s.suite.clone(), size)
            }));
            bases.extend(runs.iter().map(|r| (r.seed, r.finished.base.scores.clone())));
            let mut result = row_result(row, self.choice(regime, row)?.flatten().as_ref(), &runs);
            if row.name != self.spec.control && !control.is_empty() {
                result.difference = Some(differences(&runs, &control));
            }
            result.compute.relative = control_compute
                .map(|c| result.compute.tokens() / c.tokens())
                .filter(|ratio| ratio.is_finite());
            rows.push(result);
        }
        let bases: Vec<Vec<Score>> = bases.into_values().collect();
        let base = |ood| {
            let all: Vec<f64> =
                bases.iter().filter_map(|scores| mean_accuracy(scores, ood)).collect();
            Spread::of(&all)
        };
        Ok(RegimeResult {
            name: regime.name.clone(),
            about: regime.about.clone(),
            suites,
            base: Accuracies { inside: base(false), outside: base(true) },
            rows,
        })
    }

    fn runs_of(&self, regime: &Regime, row: &Row) -> Result<Vec<Read>> {
        let mut runs = Vec::new();
        for seed in 0..u64::from(self.spec.seeds_of(regime, row)) {
            let task = Task::Run { regime: regime.name.clone(), row: row.name.clone(), seed };
            let path = self.path(&task)?;
            if let Some(finished) = Finished::read(&path)? {
                let suites = SuiteRun::all(&path, &finished.last)?;
                let entropy = entropy_at_the_end(&OnFile::of(&path).steps()?);
                runs.push(Read { seed, finished, suites, entropy });
            }
        }
        Ok(runs)
    }
}

fn row_result(row: &Row, choice: Option<&Choice>, runs: &[Read]) -> RowResult {
    let spread = |of: &dyn Fn(&Read) -> Option<f64>| {
        Spread::of(&runs.iter().filter_map(of).collect::<Vec<f64>>())
    };
    let accuracy = |ood| spread(&|r: &Read| mean_accuracy(&r.finished.last.scores, ood));
    let pass = |ood| {
        spread(&|r: &Read| {
            let scores = r.finished.last.scores.iter().zip(&r.suites).filter(|(s, _)| s.ood == ood);
            let all: Vec<f64> = scores.map(|(s, suite)| suite.pass(s.samples)).collect();
            (!all.is_empty()).then(|| mean(all.into_iter()))
        })
    };
    let mut by_suite: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for score in runs.iter().flat_map(|r| &r.finished.last.scores) {
        by_suite.entry(score.suite.clone()).or_default().push(score.accuracy);
    }
    RowResult {
        name: row.name.clone(),
        about: row.about.clone(),
        chosen: choice.map_or(String::new(), |c| c.point.label.clone()),
        points: row.points().map_or(0, |points| points.len()),
        runs: runs.iter().map(run_result).collect(),
        accuracy: Accuracies { inside: accuracy(false), outside: accuracy(true) },
        pass: Accuracies { inside: pass(false), outside: pass(true) },
        suites: by_suite.into_iter().map(|(suite, all)| (suite, mean(all.into_iter()))).collect(),
        difference: None,
        compute: compute(runs),
        entropy: spread(&|r: &Read| r.entropy),
        response_tokens: spread(&|r: &Read| Some(mean(r.suites.iter().map(|s| s.tokens)))),
    }
}

fn run_result(run: &Read) -> RunResult {
    let scores = &run.finished.last.scores;
    RunResult {
        seed: run.seed,
        inside: mean_accuracy(scores, false),
        outside: mean_accuracy(scores, true),
        updates: run.finished.summary.steps,
        diverged: run.finished.diverged.clone(),
    }
}

fn compute(runs: &[Read]) -> Compute {
    let mean_of = |of: fn(&Summary) -> f64| mean(runs.iter().map(|r| of(&r.finished.summary)));
    Compute {
        updates: mean_of(|s| f64::from(s.steps)),
        rollout_tokens: mean_of(|s| s.rollout_tokens as f64),
        trained_tokens: mean_of(|s| s.trained_tokens as f64),
        relative: None,
        rollout_secs: mean_of(|s| s.rollout_secs),
        train_secs: mean_of(|s| s.train_secs),
        eval_secs: mean_of(|s| s.eval_secs),
    }
}

/// Differences paired over the seeds that both have.
fn differences(runs: &[Read], control: &[Read]) -> Differences {
    let of = |ood: bool| {
        let pairs =
            runs.iter().filter_map(|r| Some((r, control.iter().find(|c| c.seed == r.seed)?)));
        let paired: Vec<Vec<Vec<f64>>> =
            pairs.map(|(run, control)| paired(run, control, ood)).collect();
        let difference = Difference::of(&paired)?;
        Some(Compared { difference, control: difference.verdict() })
    };
    Differences { inside: of(false), outside: of(true) }
}

/// Run minus control, `[suite][problem]`.
fn paired(run: &Read, control: &Read, ood: bool) -> Vec<Vec<f64>> {
    let suites = run.suites.iter().zip(&control.suites).filter(|(s, _)| s.ood == ood);
    let less = |(a, b): (f64, f64)| a - b;
    suites.map(|(a, b)| a.shares().into_iter().zip(b.shares()).map(less).collect()).collect()
}

fn entropy_at_the_end(reports: &[StepReport]) -> Option<f64> {
    let last = (reports.len() as f64 * LAST_STEPS).ceil() as usize;
    let last = &reports[reports.len() - last..];
    // Runs of earlier versions recorded 0 for a step that sampled nothing.
    let sampled = last.iter().filter(|r| r.rollout_tokens > 0);
    mean_of(sampled.filter_map(|r| r.entropy))
}
