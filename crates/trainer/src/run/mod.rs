//! A run and its folder: preparing it, training with evaluations and checkpoints, the summary.

mod adapters;
mod evaluate;
mod files;
mod folder;
mod given;
mod hire;
mod inputs;
mod names;
mod observer;
mod on_file;
pub mod points;
mod pretrain;
mod program;
mod reader;
mod reads;
mod resume;
mod sampled;
mod setup;
mod summary;
mod tensorboard;
mod wanted;

pub use adapters::{held, lora_settings};
pub use files::data_template;
pub use folder::{RunFolder, fresh_folder, numbered, samples_of, suite_files, write_suites};
pub use given::{GIVEN, Given, NOTHING};
pub use hire::{Hire, Shared};
pub use inputs::Inputs;
pub use observer::Observer;
pub use on_file::{BEST, CHECKPOINTS, CONFIG, Evaluation, METRICS, OnFile, SUMMARY, parse_lines};
pub use pretrain::{PRETRAIN, pretraining, take_base};
pub use program::Program;
pub use reader::Reader;
pub use reads::{Examples, For, Reads, Watch};
pub use sampled::{SampledEpisode, SampledGroup};
pub use setup::{Parts, grader, load_model, model_folder, open_model, trainer};
pub use summary::{SuiteSummary, Summary};
pub use wanted::Wanted;

use crate::checkpoint::{self, Held, State};
use crate::config::Config;
use crate::device::{Listener, Selected};
use crate::error::{Error, Kind, Result};
use crate::eval::Suite;
use crate::learner::Learner;
use crate::metrics::StepReport;
use crate::model::ModelFolder;
use crate::platform::{NATIVE, Stopwatch, unless_stopped};
use crate::records::Group;
use crate::trainer::Trainer;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tensorboard::Events;

/// A run that can be started, stopped, resumed.
pub struct Run {
    reads: &'static dyn Reads,
    trainer: Trainer,
    folder: RunFolder,
    events: Option<Events>,
    base: ModelFolder,
    driver: Listener,
    suites: Vec<Suite>,
    state: State,
    summary: Summary,
    evaluated_at: Option<u32>,
    saved_at: Option<u32>,
    applied: Option<Applied>,
    moved_from: Option<String>,
    notes: Vec<String>,
    is_cut_told: bool,
}

/// A step whose update is in the weights, kept until everything due after it is done.
struct Applied {
    report: StepReport,
    groups: Vec<Group>,
    /// Whether the report is in the folder.
    is_written: bool,
}

impl Run {
    /// Prepares a new run in `path`, where no run may be yet.
    pub fn create(config: Config, selected: &Selected, path: &Path) -> Result<Self> {
        Self::create_with(config, &NOTHING, selected, path)
    }

    /// Like [`Run::create`], with examples and a judge that a program gives.
    pub fn create_with(
        config: Config,
        given: &Given,
        selected: &Selected,
        path: &Path,
    ) -> Result<Self> {
        let (base, driver) = (given.open(&config.model)?, selected.listener());
        let parts = setup::trainer_of(config, &base, None, given, &selected.device)?;
        let state = State::new(parts.trainer.learner.config.fingerprint(), device_name(selected));
        let inputs = Inputs::of(&parts.trainer.learner.config, given, Some(&base), state.run)?;
        let folder = RunFolder::create(path, &parts.trainer.learner.config)?;
        inputs.write(folder.path())?;
        let mut run = Self::assembled(given, parts, folder, base, state, selected, driver);
        if let Some(native) = NATIVE.filter(|_| run.config().run.tensorboard) {
            run.events = Some(Events::begin(run.path(), 0, native)?);
        }
        Ok(run)
    }

    fn assembled(
        given: &Given,
        parts: Parts,
        folder: RunFolder,
        mut base: ModelFolder,
        state: State,
        selected: &Selected,
        driver: Listener,
    ) -> Self {
        base.release_weights();
        let Parts { trainer, suites, notes } = parts;
        let mut summary = Summary::new(&trainer.learner.config, selected);
        summary.other_secs = state.other_secs;
        Self {
            reads: given.reads,
            trainer,
            folder,
            events: None,
            base,
            driver,
            suites,
            state,
            summary,
            evaluated_at: None,
            saved_at: None,
            applied: None,
            moved_from: None,
            notes,
            is_cut_told: false,
        }
    }

    /// Notes to the user about the data and the model.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The absolute path of the run's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The run's folder as the user named it.
    pub fn shown(&self) -> &Path {
        self.folder.shown()
    }

    /// The device that the resumed checkpoint was computed on, if that is another one: the run goes on, but
    /// not bit for bit as it would have there.
    pub fn moved_from(&self) -> Option<&str> {
        self.moved_from.as_deref()
    }

    /// Updates done so far.
    pub fn step(&self) -> u32 {
        self.trainer.step
    }

    /// The resolved config.
    pub fn config(&self) -> &Config {
        &self.trainer.learner.config
    }

    /// The folder that the run's model came from.
    pub fn base(&self) -> &ModelFolder {
        &self.base
    }

    /// The suites that the run is evaluated on.
    pub fn suites(&self) -> &[Suite] {
        &self.suites
    }

    /// The run's part in memory: the policy, its optimiser, its data.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// Trains to the end, or until `stop` is set. Then the step under way is finished, an evaluation dropped,
    /// everything saved, and the error says how to go on.
    pub async fn train(
        &mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Summary> {
        self.do_steps(observer, stop).await?;
        match unless_stopped(stop, self.finish(observer)).await {
            Some(summary) => summary,
            None => Err(self.stopped(observer).await),
        }
    }

    /// Everything but [`Run::finish`].
    pub async fn do_steps(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<()> {
        // A dropped evaluation leaves `begin` or its step unfinished, so the loop below ends at `stop`.
        if let Some(begun) = unless_stopped(stop, self.begin(observer)).await {
            begun?;
        }
        while !self.is_done() {
            if stop.load(Ordering::SeqCst) {
                return Err(self.stopped(observer).await);
            }
            self.update(observer).await?;
            if let Some(settled) = unless_stopped(stop, self.settle(observer)).await {
                settled?;
            }
        }
        Ok(())
    }

    /// Saves a run that is to stop, and says how to go on. A dropped evaluation is made when it is resumed.
    pub async fn stopped(&mut self, observer: &mut dyn Observer) -> Error {
        let step = self.trainer.step;
        match self.save(observer).await {
            Ok(_) => Error::interrupted(format!("stopped after step {step}, all saved"))
                .next(self.how_to_go_on()),
            Err(e) => e,
        }
    }

    fn how_to_go_on(&self) -> String {
        format!("srft train --resume {}", self.folder.shown().display())
    }

    /// Whether only [`Run::finish`] is left to do.
    pub fn is_done(&self) -> bool {
        let ended = self.trainer.step >= self.trainer.learner.config.train.steps || self.is_stale();
        ended && self.applied.is_none()
    }

    /// Whether a step's update is in the weights and what is due after it is not yet done.
    pub fn is_amid_step(&self) -> bool {
        self.applied.is_some()
    }

    /// One step, and what is due after it: samples, an evaluation, a checkpoint. Returns the step's report
    /// and the groups that it trained on.
    ///
    /// If something failed, or was dropped, after the update, the next call does no new step: it does what is
    /// left of this one.
    pub async fn advance(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<(StepReport, Vec<Group>)> {
        self.update(observer).await?;
        self.settle(observer).await
    }

    /// Does one step, unless the step before is applied but not settled.
    async fn update(&mut self, observer: &mut dyn Observer) -> Result<()> {
        if self.applied.is_some() {
            return Ok(());
        }
        let stepped = self.trainer.step().await;
        if stepped.is_err() {
            self.tell_news(observer);
        }
        let (report, groups) = match stepped {
            Ok(done) => done,
            Err(e) if e.kind == Kind::Numbers => return Err(self.diverged(e, observer).await),
            Err(e) => return Err(self.halted(e, observer).await),
        };
        // A browser that refuses a shader skips the shader's work; only this check finds that out.
        self.driver.require_silence()?;
        self.tell_news(observer);
        self.summary.add(&report);
        observer.stepped(&report, self.trainer.learner.config.train.steps);
        let episodes = groups.iter().flat_map(|group| &group.episodes);
        self.tell_cut(episodes.map(|e| (e.tokens.len(), e.truncated)), observer);
        self.applied = Some(Applied { report, groups, is_written: false });
        Ok(())
    }

    /// Passes on what has happened to those who share the work.
    fn tell_news(&self, observer: &mut dyn Observer) {
        let Some(team) = &self.trainer.learner.team else { return };
        team.news().iter().for_each(|line| observer.noted(line));
        let [at_work, of] = team.at_work();
        observer.shared(at_work, of);
    }

    /// What is due after a step.
    async fn settle(&mut self, observer: &mut dyn Observer) -> Result<(StepReport, Vec<Group>)> {
        self.write_applied(observer)?;
        let (step, steps) = (self.trainer.step, self.trainer.learner.config.train.steps);
        let due = |every: u32| every > 0 && step.is_multiple_of(every) && step < steps;
        if due(self.trainer.learner.config.eval.every) {
            self.require_evaluated(observer).await?;
        }
        if due(self.trainer.learner.config.checkpoint.every) {
            self.save(observer).await?;
        }
        let Applied { report, groups, .. } = self.applied.take().expect("a step was done");
        Ok((report, groups))
    }

    /// Writes the report of the applied step into the folder, and its samples if they are due.
    fn write_applied(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let Some(applied) = self.applied.as_mut().filter(|a| !a.is_written) else { return Ok(()) };
        let (report, steps) = (&applied.report, self.trainer.learner.config.train.steps);
        let clock = Stopwatch::start();
        self.folder.append_step(report)?;
        applied.is_written = true;
        let failed = self.events.as_mut().and_then(|events| events.step(report));
        failed.iter().for_each(|why| observer.noted(why));
        let every = self.trainer.learner.config.checkpoint.samples_every;
        if every > 0 && (report.step % every == 1 || every == 1 || report.step == steps) {
            self.folder.append_samples(report.step, &applied.groups)?;
        }
        self.summary.other_secs += clock.elapsed_secs();
        Ok(())
    }

    /// The last evaluation and checkpoint, and the summary.
    pub async fn finish(&mut self, observer: &mut dyn Observer) -> Result<Summary> {
        self.require_evaluated(observer).await?;
        self.save(observer).await?;
        self.tell_rounding(observer).await?;
        self.summary.finish(self.trainer.step);
        self.folder.write_summary(&self.summary)?;
        Ok(self.summary.clone())
    }

    /// The reports of all steps: those on file, and the last if it could not be written yet.
    pub fn reports(&self) -> Result<Vec<StepReport>> {
        let unwritten = self.applied.as_ref().filter(|a| !a.is_written).map(|a| a.report.clone());
        let mut reports = self.folder.steps(self.trainer.step - u32::from(unwritten.is_some()))?;
        reports.extend(unwritten);
        Ok(reports)
    }

    /// Handles a failure that left the weights of the last step whole: saves them, so that only the failed
    /// step is lost.
    async fn halted(&mut self, error: Error, observer: &mut dyn Observer) -> Error {
        let saved = self.trainer.step > 0 && self.save(observer).await.is_ok();
        let kept = if saved { "the weights are saved; to continue" } else { "to continue" };
        let first = error.next.map_or(String::new(), |next| format!("{next}; "));
        Error { next: Some(format!("{first}{kept}: {}", self.how_to_go_on())), ..error }
    }

    /// Handles an update that was not finite, and so not applied: saves the weights before it, if they are
    /// finite, for a new run with other settings. Resuming this run would end the same way.
    async fn diverged(&mut self, error: Error, observer: &mut dyn Observer) -> Error {
        let saved = self.save(observer).await.ok();
        let _ = self.folder.write_diverged(&error.what); // a full disk changes nothing of it
        let next = match saved.or_else(|| self.folder.latest().ok().flatten()) {
            Some(path) => format!(
                "start a new run with a lower learning rate from the weights before it, or from an \
                 earlier checkpoint: srft train --config {} --model {} --set optimizer.lr=...",
                self.folder.as_shown(&self.folder.path().join(CONFIG)).display(),
                self.folder.as_shown(&path).display()
            ),
            None => "start again with a lower learning rate: --set optimizer.lr=...".into(),
        };
        Error { next: Some(next), ..error }
    }

    /// Writes a checkpoint of the present step, unless there is one already.
    pub async fn save(&mut self, observer: &mut dyn Observer) -> Result<PathBuf> {
        let step = self.trainer.step;
        self.write_applied(observer)?; // a checkpoint never stands without the lines before it
        if let Some(path) = self.folder.latest()?.filter(|_| self.saved_at == Some(step)) {
            return Ok(path);
        }
        let clock = Stopwatch::start();
        let other_secs = self.summary.other_secs;
        let state = State { step, bonus: self.trainer.bonus, other_secs, ..self.state.clone() };
        let path = self.folder.checkpoint(step)?;
        let Trainer { learner, optimizer, buffer, turns, .. } = &self.trainer;
        let Learner { policy, config, .. } = learner;
        let turns = config.stages().iter().any(|o| o.imitation > 0.0).then_some(turns);
        let held = Held { buffer, turns };
        checkpoint::write(&path, &self.base, policy, optimizer, held, state).await?;
        self.folder.remove_older(config.checkpoint.keep, self.state.run)?;
        self.saved_at = Some(step);
        self.summary.other_secs += clock.elapsed_secs();
        observer.saved(&self.folder.as_shown(&path));
        Ok(path)
    }
}

fn device_name(selected: &Selected) -> String {
    format!("{} ({})", selected.name, selected.backend)
}
