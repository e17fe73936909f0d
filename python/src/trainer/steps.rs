//! How a trainer works on its run: alone, with the interpreter let go, an interrupt heard.

use super::{State, Trainer};
use crate::callbacks::Callbacks;
use crate::drive::{Driven, drive, drive_with};
use crate::environment::Environments;
use crate::episode::warn_of_cuts;
use crate::error::{OrRaise, input};
use crate::example::Extras;
use crate::gym;
use crate::reward::Function;
use crate::shown::{Shown, Watcher};
use pyo3::prelude::*;
use srft::error::{Error, Result};
use srft::metrics::StepReport;
use srft::run::Run;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;
use tempfile::TempDir;

/// How long an interrupt waits for the step to end.
const GRACE: Duration = Duration::from_secs(2);

impl Trainer {
    /// Works on the run with the interpreter let go; nobody waits for a step of another thread.
    pub(super) fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut State) -> PyResult<T> + Send,
    ) -> PyResult<T> {
        py.detach(|| match self.state.try_lock() {
            Ok(mut state) => {
                let done = work(&mut state);
                // What the reward function raised is the reason for whatever else went wrong.
                let raised = self.functions.iter().find_map(|function| function.raised());
                match raised.or_else(gym::interrupted) {
                    Some(raised) => Err(raised),
                    None => done,
                }
            }
            Err(TryLockError::WouldBlock) => Err(input(
                "the trainer is in a step",
                "wait until it ends; a reward function can't use its own trainer",
            )),
            Err(TryLockError::Poisoned(_)) => {
                Err(Error::machine("a step of this trainer was broken off")
                    .next("make a new one; Trainer.resume continues from the last checkpoint"))
                .or_raise()
            }
        })
    }

    /// What can be read at any time.
    pub(super) fn shown<T>(&self, read: impl FnOnce(&Shown) -> T) -> T {
        read(&self.shown.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    pub(super) fn of(
        (run, adapter, temporary): (Run, String, Option<TempDir>),
        (functions, environments): (Vec<Arc<Function>>, Option<Arc<Environments>>),
        extras: Arc<Extras>,
    ) -> Result<Self> {
        let shown = Mutex::new(Shown::of(&run)?);
        let state = State { run, kept: None, has_warned: false, adapter, _temporary: temporary };
        Ok(Self { state: Mutex::new(state), shown, functions, environments, extras })
    }

    /// Everything that is left to do, with all who are told.
    pub(super) fn run_to_end<'py>(
        &self,
        py: Python<'py>,
        callbacks: &Callbacks<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        callbacks.begin(&self.config(py)?)?;
        let mut told =
            self.shown(|shown| if shown.step() == 0 { 0 } else { shown.evaluated().len() });
        let mut tell = || {
            let new = self.shown(|shown| shown.evaluated()[told..].to_vec());
            told += new.len();
            new.iter().try_for_each(|(step, scores)| callbacks.evaluation(py, *step, scores))
        };
        self.with(py, |state| drive(state.run.begin(&mut Watcher(&self.shown))))?;
        tell()?;
        while !self.is_done(py)? {
            callbacks.step(py, &self.stepped(py)?)?;
            tell()?;
        }
        let summary = self.finish(py)?;
        tell()?;
        Ok(summary)
    }

    /// Whether there is no step left, nor a report.
    pub(super) fn is_done(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |state| Ok(state.kept.is_none() && state.run.is_done()))
    }

    /// A step, and a warning where it says nothing.
    pub(super) fn stepped(&self, py: Python<'_>) -> PyResult<StepReport> {
        py.check_signals()?;
        let (report, cut) = self.with(py, |state| {
            let report = self.advance(state)?;
            Watcher(&self.shown).gave(report.step);
            let limit = state.run.config().rollout.max_new_tokens;
            let all_cut = report.truncated_share.is_some_and(|share| share >= 1.0);
            let cut = all_cut && !state.has_warned;
            state.has_warned |= cut;
            Ok((report, cut.then_some(limit)))
        })?;
        if let Some(limit) = cut {
            warn_of_cuts(py, self.shown(Shown::episodes), limit)?;
        }
        Ok(report)
    }

    /// A step, or what is left of one.
    fn advance(&self, state: &mut State) -> PyResult<StepReport> {
        if let Some(report) = state.kept.take() {
            return Ok(report);
        }
        let steps = state.run.config().train.steps;
        if state.run.step() >= steps && !state.run.is_amid_step() {
            return Err(Error::input(format!("all {steps} steps are done"))
                .next("make a trainer with more train.steps"))
            .or_raise();
        }
        let driven = drive_with(GRACE, state.run.advance(&mut Watcher(&self.shown)))?;
        let ((report, groups), raised) = match driven {
            Driven::Done(done) => (done, None),
            Driven::DoneAnd(done, raised) => (done, Some(raised)),
        };
        Watcher(&self.shown).trained_on(groups);
        match raised {
            None => Ok(report),
            Some(raised) => {
                state.kept = Some(report);
                Err(raised)
            }
        }
    }
}
