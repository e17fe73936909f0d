//! A run on disk: prepare, train with evaluations and checkpoints, summarise.

mod folder;
mod setup;
mod summary;

pub use folder::{RunFolder, fresh_folder};
pub use setup::{load_model, model_folder, suites, trainer, verifier};
pub use summary::{SuiteSummary, Summary};

use crate::checkpoint::{self, State};
use crate::config::Config;
use crate::device::Selected;
use crate::error::{Error, Result};
use crate::eval::{Judge, Score, Suite, mean_accuracy};
use crate::metrics::StepReport;
use crate::model::ModelFolder;
use crate::optim::AdamW;
use crate::platform::Stopwatch;
use crate::trainer::Trainer;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell is told while a run goes on.
pub trait Observer {
    /// An evaluation is done; `step` 0 is the base.
    fn evaluated(&mut self, step: u32, scores: &[Score]);
    /// An update is done.
    fn stepped(&mut self, report: &StepReport, of: u32);
    /// A checkpoint is on disk.
    fn saved(&mut self, path: &Path);
}

/// A run that can be started, stopped, resumed.
pub struct Run {
    trainer: Trainer,
    folder: RunFolder,
    base: ModelFolder,
    suites: Vec<Suite>,
    state: State,
    summary: Summary,
    evaluated_at: Option<u32>,
}

impl Run {
    /// Prepares a new run in `path`, which must be empty or absent.
    pub fn create(config: Config, selected: &Selected, path: &Path) -> Result<Self> {
        let (trainer, base, suites) = setup::trainer(config, &selected.device)?;
        let folder = RunFolder::create(path, &trainer.config)?;
        let summary = Summary::new(&trainer.config, selected);
        let state = State::new(0, None, 0);
        Ok(Self { trainer, folder, base, suites, state, summary, evaluated_at: None })
    }

    /// Takes up the run in `path` at its latest checkpoint.
    pub fn resume(config: Config, selected: &Selected, path: &Path) -> Result<Self> {
        let folder = RunFolder::open(path)?;
        let (mut trainer, base, suites) = setup::trainer(config, &selected.device)?;
        let mut summary = Summary::new(&trainer.config, selected);
        let mut state = State::new(0, None, 0);
        if let Some(latest) = folder.latest()? {
            let at = |e: Error| e.at(latest.display());
            let get = |name: &str| crate::platform::read(&latest.join(name));
            state = checkpoint::check(get).map_err(at)?;
            let (model, _) = ModelFolder::read(&latest)?.load(&selected.device)?;
            if model.config != trainer.model.config {
                return Err(at(Error::input("the checkpoint is of another model")
                    .next("resume with the model.path that the run began with")));
            }
            trainer.optimizer = AdamW::new(trainer.config.optimizer.clone(), &model);
            trainer.model = model;
            let moments = get(checkpoint::MOMENTS)?;
            checkpoint::restore_moments(&mut trainer.optimizer, &moments, state.optimizer_updates)
                .map_err(at)?;
            trainer.step = state.step;
        }
        folder.rewind(state.step)?;
        folder.steps()?.iter().for_each(|report| summary.add(report));
        let evaluated_at = folder.evaluations()?.into_iter().fold(None, |_, (step, scores)| {
            summary.record(step, &scores);
            Some(step)
        });
        Ok(Self { trainer, folder, base, suites, state, summary, evaluated_at })
    }

    /// Where the run is kept.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Updates done so far.
    pub fn step(&self) -> u32 {
        self.trainer.step
    }

    /// The resolved config.
    pub fn config(&self) -> &Config {
        &self.trainer.config
    }

    /// Trains to the end, or until `stop` is set: then the step is finished, saved, and the error
    /// says how to go on.
    pub async fn train(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Summary> {
        if self.evaluated_at.is_none() {
            self.evaluate(observer).await?;
        }
        let steps = self.trainer.config.train.steps;
        while self.trainer.step < steps {
            let (report, groups) = match self.trainer.step().await {
                Ok(done) => done,
                // The update was not applied, so the weights are those of the last good step.
                Err(e) if e.kind == crate::error::Kind::Numbers => {
                    self.save(observer).await?;
                    return Err(e);
                }
                Err(e) => return Err(e),
            };
            let clock = Stopwatch::start();
            self.folder.append_step(&report)?;
            let every = self.trainer.config.checkpoint.samples_every;
            if every > 0 && (report.step % every == 1 || every == 1 || report.step == steps) {
                self.folder.append_samples(report.step, &groups)?;
            }
            self.summary.add(&report);
            observer.stepped(&report, steps);
            let due = |every: u32| every > 0 && report.step % every == 0 && report.step < steps;
            self.summary.other_secs += clock.elapsed_secs();
            if due(self.trainer.config.eval.every) {
                self.evaluate(observer).await?;
                let patience = self.trainer.config.train.patience;
                if patience > 0 && self.state.stale_evaluations >= patience {
                    break;
                }
            }
            if due(self.trainer.config.checkpoint.every) {
                self.save(observer).await?;
            }
            if stop.load(Ordering::SeqCst) && report.step < steps {
                self.save(observer).await?;
                return Err(Error::interrupted(format!("stopped after step {}", report.step)).next(
                    format!("srft train --resume {}", self.folder.path().display()),
                ));
            }
        }
        if self.evaluated_at != Some(self.trainer.step) {
            self.evaluate(observer).await?;
        }
        self.save(observer).await?;
        self.summary.finish(self.trainer.step);
        self.folder.write_summary(&self.summary)?;
        Ok(self.summary.clone())
    }

    async fn evaluate(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let clock = Stopwatch::start();
        let trainer = &self.trainer;
        let judge = Judge {
            tokenizer: &trainer.tokenizer,
            verifier: &trainer.verifier,
            config: &trainer.config,
        };
        let scores = judge.evaluate(&trainer.model, &self.suites).await?;
        let step = trainer.step;
        self.folder.append_evaluation(step, &scores)?;
        self.summary.record(step, &scores);
        self.summary.eval_secs += clock.elapsed_secs();
        self.evaluated_at = Some(step);
        observer.evaluated(step, &scores);
        let accuracy = mean_accuracy(&scores, false).or_else(|| mean_accuracy(&scores, true));
        if step > 0 && accuracy > self.state.best_accuracy {
            self.state.best_accuracy = accuracy;
            self.state.stale_evaluations = 0;
            let files = self.files().await?;
            self.folder.write_best(&files)?;
        } else if step > 0 {
            self.state.stale_evaluations += 1;
        }
        Ok(())
    }

    async fn save(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let clock = Stopwatch::start();
        let files = self.files().await?;
        let keep = self.trainer.config.checkpoint.keep;
        let path = self.folder.write_checkpoint(self.trainer.step, &files, keep)?;
        self.summary.other_secs += clock.elapsed_secs();
        observer.saved(&path);
        Ok(())
    }

    async fn files(&self) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let mut state = self.state.clone();
        state.step = self.trainer.step;
        checkpoint::files(&self.base, &self.trainer.model, &self.trainer.optimizer, state).await
    }
}
