//! A finished run as its folder describes it.

use super::stats::pass_at_k;
use crate::error::{Error, Result};
use crate::eval::Score;
use crate::metrics::mean;
use crate::platform::read;
use crate::run::{Evaluation, OnFile, Summary, parse_lines, samples_of, suite_files};
use serde::Deserialize;
use std::path::Path;

/// A run that is complete.
pub struct Finished {
    /// Its summary.
    pub summary: Summary,
    /// The evaluation before training.
    pub base: Evaluation,
    /// The evaluation at the end.
    pub last: Evaluation,
    /// Why it ended early.
    pub diverged: Option<String>,
}

impl Finished {
    /// The run in a folder; `None` until it has its summary.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let mut files = OnFile::of(path);
        let Some(summary) = files.summary()? else { return Ok(None) };
        let mut evaluations = files.evaluations()?;
        let last = evaluations.pop().filter(|e| e.step == summary.steps);
        let base = evaluations.into_iter().next();
        let diverged = files.diverged()?;
        match (base, last) {
            (Some(base), Some(last)) => Ok(Some(Self { summary, base, last, diverged })),
            _ => Err(Error::input("the run's first or last evaluation is not on file")
                .at(path.display())
                .next("remove the run's folder to run it again")),
        }
    }
}

/// The verdict on a sample, from a line that an evaluation writes.
#[derive(Deserialize)]
struct Verdicted {
    problem: usize,
    right: Option<bool>,
    tokens: usize,
}

/// A finished run's result on one suite, by problem.
pub struct SuiteRun {
    /// Whether the suite is out of distribution.
    pub ood: bool,
    /// (right, scored) samples of each problem.
    pub problems: Vec<(usize, usize)>,
    /// Mean tokens of a sample.
    pub tokens: f64,
}

impl SuiteRun {
    /// The suites of the run in `path` at its last evaluation.
    pub fn all(path: &Path, last: &Evaluation) -> Result<Vec<Self>> {
        let files = suite_files(last.scores.iter().map(|s| &*s.suite));
        let folder = samples_of(path, last.step);
        last.scores
            .iter()
            .zip(files)
            .map(|(score, file)| Self::read(score, &folder.join(file)))
            .collect()
    }

    fn read(score: &Score, file: &Path) -> Result<Self> {
        let samples: Vec<Verdicted> = parse_lines(file, &read(file)?)?;
        let mut problems = vec![(0, 0); score.n];
        for sample in &samples {
            let Some(problem) = problems.get_mut(sample.problem) else {
                return Err(Error::input(format!(
                    "there are {} problems, not {}",
                    score.n,
                    sample.problem + 1
                ))
                .at(file.display())
                .next("the file was altered: remove the run's folder to run it again"));
            };
            problem.0 += usize::from(sample.right == Some(true));
            problem.1 += usize::from(sample.right.is_some());
        }
        let tokens = mean(samples.iter().map(|s| s.tokens as f64));
        Ok(Self { ood: score.ood, problems, tokens })
    }

    /// Share of right samples for each problem; a problem without any verdict counts as 0.
    pub fn shares(&self) -> Vec<f64> {
        self.problems.iter().map(|&(right, of)| right as f64 / of.max(1) as f64).collect()
    }

    /// pass@k: the mean over problems with at least k verdicts.
    pub fn pass(&self, k: usize) -> f64 {
        let whole = self.problems.iter().filter(|(_, of)| *of >= k);
        mean(whole.map(|&(right, of)| pass_at_k(of, right, k)))
    }
}
