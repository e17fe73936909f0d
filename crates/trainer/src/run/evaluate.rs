//! Evaluating a run: when it is due, what is recorded, which model is the best.

use super::{Evaluation, Given, Observer, Run};
use crate::config::Storage;
use crate::error::Result;
use crate::eval::{Judge, Score, Suite, mean_accuracy, scores};
use crate::learner::Learner;
use crate::model::rounding::kept;
use crate::platform::{FolderWriter, Stopwatch};
use crate::rollout::all_cut;
use crate::trainer::Trainer;

impl Run {
    /// Evaluates the base unless that is on file; repeats an evaluation that is due but failed before.
    pub async fn begin(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let (step, every) = (self.trainer.step, self.trainer.learner.config.eval.every);
        let is_due =
            every > 0 && step % every == 0 && step < self.trainer.learner.config.train.steps;
        match self.evaluated_at {
            Some(at) if at == step || !is_due => Ok(()),
            _ => self.evaluate(observer).await,
        }
    }

    /// Takes the base's evaluation from another run of the same base, suites and seed, unless it is
    /// on file.
    pub fn begin_as(&mut self, scores: Vec<Score>) -> Result<()> {
        if self.evaluated_at.is_some() {
            return Ok(());
        }
        self.record(Evaluation { step: 0, eval_secs: 0.0, scores }, &mut ())
    }

    /// The evaluations on file.
    pub fn evaluations(&self) -> Result<Vec<Evaluation>> {
        self.folder.evaluations()
    }

    /// Whether the accuracy has not improved for as many evaluations as the config's patience allows.
    pub(super) fn is_stale(&self) -> bool {
        let patience = self.trainer.learner.config.train.patience;
        patience > 0 && self.state.stale_evaluations >= patience
    }

    /// Scores the policy on given suites; nothing is recorded.
    pub async fn score(&self, suites: &[Suite]) -> Result<Vec<Score>> {
        let samples = self.judge().samples_of(&self.trainer.learner, suites).await?;
        Ok(scores(suites, &samples, self.trainer.learner.config.eval.samples))
    }

    /// How this run's responses are sampled and judged in evaluation.
    pub fn judge(&self) -> Judge<'_> {
        let Trainer { learner: Learner { tokenizer, config, .. }, grader, .. } = &self.trainer;
        Judge { tokenizer, grader, config }
    }

    /// The policy's scores on the run's suites: those on file, or those of an evaluation, which is recorded.
    pub async fn scores(&mut self, observer: &mut dyn Observer) -> Result<Vec<Score>> {
        self.require_evaluated(observer).await?;
        Ok(self.folder.evaluations()?.pop().map(|e| e.scores).unwrap_or_default())
    }

    pub(super) async fn require_evaluated(&mut self, observer: &mut dyn Observer) -> Result<()> {
        match self.evaluated_at == Some(self.trainer.step) {
            true => Ok(()),
            false => self.evaluate(observer).await,
        }
    }

    async fn evaluate(&mut self, observer: &mut dyn Observer) -> Result<()> {
        if self.suites.is_empty() {
            return self.take_as_best().await;
        }
        let clock = Stopwatch::start();
        let samples = match self.judge().samples_of(&self.trainer.learner, &self.suites).await {
            Ok(samples) => samples,
            Err(e) => return Err(self.halted(e, observer).await),
        };
        self.driver.require_silence()?;
        self.tell_news(observer);
        let scores = scores(&self.suites, &samples, self.trainer.learner.config.eval.samples);
        let step = self.trainer.step;
        if self.trainer.learner.config.eval.write_samples {
            self.folder.write_samples(step, &self.suites, &samples)?;
        }
        let eval_secs = clock.elapsed_secs();
        if self.is_best(step, &scores) {
            // Before the evaluation's line, which says that all of it is done.
            self.write_best().await?;
        }
        self.record(Evaluation { step, eval_secs, scores: scores.clone() }, observer)?;
        self.saved_at = None;
        self.tell_cut(samples.iter().flatten().map(|s| (s.tokens, s.truncated)), observer);
        observer.evaluated(step, &scores);
        Ok(())
    }

    /// Writes the present model as `best`: without suites to evaluate on, the latest counts as the best.
    async fn take_as_best(&mut self) -> Result<()> {
        self.evaluated_at = Some(self.trainer.step);
        match self.trainer.step {
            0 => Ok(()),
            _ => self.write_best().await,
        }
    }

    async fn write_best(&self) -> Result<()> {
        let storage = self.trainer.learner.config.checkpoint.dtype;
        let mut folder = FolderWriter::begin(&self.folder.best())?;
        self.base.write(&mut folder, &self.trainer.learner.policy, storage).await?;
        folder.finish()
    }

    /// Notes how much of the training half precision leaves in `best`. For that the base is read once more
    /// after training, when the gradients' memory is free. Adapters are the change: nothing to compare.
    pub(super) async fn tell_rounding(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let Learner { policy, config, .. } = &self.trainer.learner;
        let storage = config.checkpoint.dtype;
        if storage == Storage::F32 || policy.lora().is_some() {
            return Ok(());
        }
        // The base's folder may be gone: a resumed run does not need it.
        let open = || Given::of(self.reads).open(&config.model);
        let Ok((base, _)) = open().and_then(|f| f.load(&policy.device())) else {
            return Ok(());
        };
        let kept = kept(&base, policy, storage).await?;
        observer
            .noted(&format!("best is stored in {}: after the last step {kept}", storage.name()));
        if kept.loses_much() {
            observer.noted(
                "that loses much of what was trained: leave checkpoint.dtype at f32 next time; the \
                 last checkpoint has all of it",
            );
        }
        Ok(())
    }

    /// Notes once that every response was cut, and by which limit.
    pub(super) fn tell_cut(
        &mut self,
        responses: impl Iterator<Item = (usize, bool)>,
        observer: &mut dyn Observer,
    ) {
        let limit = self.trainer.learner.config.rollout.max_new_tokens;
        if let Some(why) = all_cut(responses, limit).filter(|_| !self.is_cut_told) {
            observer.noted(&why);
            self.is_cut_told = true;
        }
    }

    fn record(&mut self, evaluation: Evaluation, observer: &mut dyn Observer) -> Result<()> {
        self.folder.append_evaluation(&evaluation)?;
        let failed = self.events.as_mut().and_then(|events| events.evaluation(&evaluation));
        failed.iter().for_each(|why| observer.noted(why));
        self.count(&evaluation);
        Ok(())
    }

    /// Whether these are the best scores so far, the base's not counted.
    fn is_best(&self, step: u32, scores: &[Score]) -> bool {
        step > 0 && decisive(scores) > self.state.best_accuracy
    }

    /// Counts an evaluation that is on file: for patience, the best model and the summary.
    pub(super) fn count(&mut self, evaluation: &Evaluation) {
        let Evaluation { step, eval_secs, scores } = evaluation;
        if self.is_best(*step, scores) {
            self.state.best_accuracy = decisive(scores);
            self.state.stale_evaluations = 0;
        } else if *step > 0 {
            self.state.stale_evaluations += 1;
        }
        self.summary.record(*step, scores);
        self.summary.eval_secs += eval_secs;
        self.evaluated_at = Some(*step);
    }
}

/// The accuracy that decides which model is the best: in distribution, if there is such a suite.
fn decisive(scores: &[Score]) -> Option<f64> {
    mean_accuracy(scores, false).or_else(|| mean_accuracy(scores, true))
}
