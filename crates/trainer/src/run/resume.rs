//! Resuming a run from its latest checkpoint.

use super::given::{Given, NOTHING};
use super::inputs::Inputs;
use super::setup;
use super::tensorboard::{self, Events};
use super::{OnFile, Run, RunFolder, device_name};
use crate::checkpoint::{self, State};
use crate::config::{Config, Settings};
use crate::device::Selected;
use crate::error::{Error, Result};
use crate::platform::{NATIVE, map};
use std::path::Path;

impl Run {
    /// Resumes the run in `path` from its latest checkpoint. A checkpoint is a whole model, so the folder
    /// that the run began with is needed only if there is no checkpoint yet, or for a KL penalty.
    pub fn resume(config: Config, selected: &Selected, path: &Path) -> Result<Self> {
        Self::resume_with(config, &NOTHING, false, selected, path)
    }

    /// Like [`Run::resume`], with the examples and the judge that the program gave before. The run's inputs
    /// must be what they were when it began, unless `accepts_changes`.
    pub fn resume_with(
        config: Config,
        given: &Given,
        accepts_changes: bool,
        selected: &Selected,
        path: &Path,
    ) -> Result<Self> {
        let (folder, driver) = (RunFolder::open(path)?, selected.listener());
        let layer = OnFile::of(path).config_layer()?;
        let before = Config::resolve(std::slice::from_ref(&layer))?;
        config.require_resumes(&before)?;
        let (latest, name) = (folder.latest()?, device_name(selected));
        let began_from = Inputs::read(folder.path())?;
        let run = began_from.as_ref().map_or_else(|| config.fingerprint(), |inputs| inputs.run);
        let (base, mut state) = match &latest {
            Some(latest) => {
                // Versions with fewer settings gave the same settings another fingerprint.
                let runs = [run, config.fingerprint(), Settings::fingerprint_before(&layer.1)];
                (given.read_over(latest, &config.model.base), checked(latest, &runs)?)
            }
            None => (given.open(&config.model), State::new(run, name.clone())),
        };
        let base = base?;
        require_steps_left(&config, &state)?;
        let reads_base = latest.is_none() || base.is_adapted();
        let now = Inputs::of(&config, given, reads_base.then_some(&base), state.run)?;
        let (inputs, changes) = now.since(began_from, accepts_changes)?;
        let began = latest.as_ref().map(|_| config.model.clone());
        let (began, device) = (began.as_ref(), &selected.device);
        let mut parts = setup::trainer_of(config, &base, began, given, device)?;
        let trainer = &mut parts.trainer;
        if let Some(latest) = &latest {
            let moments = map(&latest.join(checkpoint::MOMENTS))?;
            let updates = state.optimizer_updates;
            checkpoint::restore_moments(&mut trainer.optimizer, &moments, updates)
                .map_err(|e| e.at(latest.display()))?;
            trainer.step = state.step;
            trainer.bonus = state.bonus;
            if state.checksums.contains_key(checkpoint::TURNS) {
                let turns = checkpoint::restore_turns(&map(&latest.join(checkpoint::TURNS))?);
                trainer.turns = turns.map_err(|e| e.at(latest.display()))?;
            }
            if state.checksums.contains_key(checkpoint::BUFFER) {
                let held = map(&latest.join(checkpoint::BUFFER))?;
                let buffer = checkpoint::restore_buffer(&held);
                trainer.buffer = buffer.map_err(|e| e.at(latest.display()))?;
            }
        }
        if trainer.learner.config != before {
            folder.write_config(&trainer.learner.config)?;
        }
        inputs.write(folder.path())?;
        parts.notes.extend(changes);
        folder.remove_diverged()?;
        folder.rewind(state.step)?;
        let began_on = std::mem::replace(&mut state.device, name);
        let mut run = Self::assembled(given, parts, folder, base, state, selected, driver);
        run.moved_from = (began_on != run.state.device).then_some(began_on);
        run.saved_at = latest.map(|_| run.trainer.step);
        run.read_lines()?;
        run.resume_events()?;
        Ok(run)
    }

    /// Reads the lines on file. They may include the evaluation at the checkpoint's step, which the
    /// checkpoint's state lacks if the run was stopped during that evaluation.
    fn read_lines(&mut self) -> Result<()> {
        self.folder.steps(self.trainer.step)?.iter().for_each(|report| self.summary.add(report));
        (self.state.best_accuracy, self.state.stale_evaluations) = (None, 0);
        self.folder.evaluations()?.iter().for_each(|evaluation| self.count(evaluation));
        Ok(())
    }
}

impl Run {
    /// Cuts what is written for TensorBoard back as well. A new file then has what the others lack: steps that a crash
    /// took, or all, where the run is watched only from here on.
    fn resume_events(&mut self) -> Result<()> {
        let Some(native) = NATIVE else { return Ok(()) };
        let (path, step) = (self.folder.path(), self.trainer.step);
        let left = tensorboard::rewind(path, step, native)?;
        if !self.config().run.tensorboard {
            return Ok(());
        }
        let count = |step: u32| left.iter().filter(|s| **s == step).count();
        let mut events = Events::begin(path, step + 1, native)?;
        for report in self.folder.steps(step)?.iter().filter(|r| count(r.step) == 0) {
            self.notes.extend(events.step(report));
        }
        // A step's points are written before those of its evaluation; the base has no step.
        let evaluations = self.folder.evaluations()?;
        for evaluation in evaluations.iter().filter(|e| count(e.step) <= e.step.min(1) as usize) {
            self.notes.extend(events.evaluation(evaluation));
        }
        self.events = Some(events);
        Ok(())
    }
}

/// The state of the checkpoint in `path`, which must be whole and belong to this run: have one of these
/// fingerprints.
fn checked(path: &Path, runs: &[u32]) -> Result<State> {
    let state = checkpoint::check(|name| map(&path.join(name)));
    let state = state.map_err(|e| e.at(path.display()))?;
    if runs.contains(&state.run) {
        return Ok(state);
    }
    Err(Error::input("the checkpoint belongs to a run with other settings")
        .at(path.display())
        .next("put back the checkpoint, or the config.toml, that was here before"))
}

/// Refuses a `train.steps` below the steps already done.
fn require_steps_left(config: &Config, state: &State) -> Result<()> {
    let (done, steps) = (state.step, config.train.steps);
    match done <= steps {
        true => Ok(()),
        false => Err(Error::input(format!("{done} steps are done, more than {steps}"))
            .at("train.steps")
            .next(format!("resume with --steps {done} or more, or start a run from a checkpoint"))),
    }
}
