//! What a trainer shows at any time, while a step computes, too.

use crate::error::in_python;
use srft::config::Config;
use srft::error::Result;
use srft::eval::Score;
use srft::metrics::StepReport;
use srft::records::Group;
use srft::run::{Observer, Run};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What can be read of a run without waiting for it.
pub struct Shown {
    /// Every setting.
    pub config: Config,
    /// The run's folder.
    pub out: PathBuf,
    /// A fingerprint of its tokenizer.
    pub vocabulary: u64,
    /// What there is to say of its data and its model.
    pub notes: Vec<String>,
    /// Of all steps.
    pub reports: Vec<StepReport>,
    /// What the last step trained on.
    pub groups: Arc<Vec<Group>>,
    /// After which step, and what.
    evaluations: Vec<(u32, Vec<Score>)>,
    /// The last step whose report was given.
    given: u32,
}

/// A suite's result, and after which step.
#[derive(serde::Serialize)]
pub struct Evaluated {
    step: u32,
    #[serde(flatten)]
    score: Score,
}

impl Shown {
    /// What there is to show of a run that was made or taken up.
    pub fn of(run: &Run) -> Result<Self> {
        Ok(Self {
            config: run.config().clone(),
            out: run.path().to_path_buf(),
            vocabulary: crate::model::vocabulary(run.base()),
            notes: run.notes().iter().map(|note| in_python(note)).collect(),
            reports: run.reports()?,
            groups: Arc::default(),
            evaluations: run.evaluations()?.into_iter().map(|e| (e.step, e.scores)).collect(),
            given: run.step(),
        })
    }

    /// Updates done.
    pub fn step(&self) -> u32 {
        self.reports.last().map_or(0, |report| report.step)
    }

    /// Steps whose reports are still to be given.
    pub fn left(&self) -> usize {
        self.config.train.steps.saturating_sub(self.given) as usize
    }

    /// Rollouts of the last step.
    pub fn episodes(&self) -> usize {
        self.groups.iter().map(|group| group.episodes.len()).sum()
    }

    /// All evaluations, each with the step after which it was made.
    pub fn evaluated(&self) -> &[(u32, Vec<Score>)] {
        &self.evaluations
    }

    /// Suite by suite.
    pub fn evaluations(&self) -> Vec<Evaluated> {
        let rows = |(step, scores): &(u32, Vec<Score>)| {
            let step = *step;
            scores.clone().into_iter().map(move |score| Evaluated { step, score })
        };
        self.evaluations.iter().flat_map(rows).collect()
    }
}

/// Tells what a run does as it does it.
pub struct Watcher<'a>(pub &'a Mutex<Shown>);

impl Watcher<'_> {
    /// Changes what is shown.
    pub fn show(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    /// Keeps what a step trained on.
    pub fn trained_on(&self, groups: Vec<Group>) {
        self.show(|shown| shown.groups = Arc::new(groups));
    }

    /// The report of a step was given.
    pub fn gave(&self, step: u32) {
        self.show(|shown| shown.given = step);
    }
}

impl Observer for Watcher<'_> {
    fn evaluated(&mut self, step: u32, scores: &[Score]) {
        self.show(|shown| shown.evaluations.push((step, scores.to_vec())));
    }

    fn stepped(&mut self, report: &StepReport, _of: u32) {
        self.show(|shown| shown.reports.push(report.clone()));
    }

    fn noted(&mut self, note: &str) {
        self.show(|shown| shown.notes.push(in_python(note)));
    }
}
