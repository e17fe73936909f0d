//! Chooses the next task for several workers: in order, each once what it needs is there.

use super::runs::{Study, Task};
use crate::error::Result;
use crate::platform::exists;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The tasks that are not done yet.
pub struct Queue<'a> {
    study: &'a Study,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Task>,
    /// Tasks being worked on, each with the base evaluation that it will write for others.
    taken: Vec<(Task, Option<PathBuf>)>,
    is_closed: bool,
}

impl<'a> Queue<'a> {
    /// A queue of those of `tasks` that are not done, in order.
    pub fn new(study: &'a Study, tasks: &[Task]) -> Result<Self> {
        let mut waiting = Vec::new();
        for task in tasks {
            match study.is_done(task)? {
                true => study.tidy(task)?,
                false => waiting.push(task.clone()),
            }
        }
        let state = Mutex::new(State { waiting, ..State::default() });
        Ok(Self { study, state, changed: Condvar::new() })
    }

    /// The tasks that no worker has taken yet.
    pub fn waiting(&self) -> Vec<Task> {
        self.state().waiting.clone()
    }

    /// Takes the first task that can be carried out now, and waits for one while others are at work;
    /// `None` at the end.
    pub fn take(&self) -> Result<Option<Task>> {
        let mut state = self.state();
        loop {
            if state.waiting.is_empty() || state.is_closed {
                return Ok(None);
            }
            for index in 0..state.waiting.len() {
                let task = &state.waiting[index];
                if let Some(leaves) = self.readiness(task, &state.taken)? {
                    let task = state.waiting.remove(index);
                    state.taken.push((task.clone(), leaves));
                    return Ok(Some(task));
                }
            }
            if state.taken.is_empty() {
                // No other task will provide what is missing; carrying this one out reports what that
                // is.
                return Ok(Some(state.waiting.remove(0)));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reports that a taken task has ended, done or not.
    pub fn put_back(&self, task: &Task) {
        self.state().taken.retain(|(taken, _)| taken != task);
        self.changed.notify_all();
    }

    /// Stops handing out tasks.
    pub fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// `None` if the task must wait; else the base-evaluation file that it will write, if any.
    fn readiness(
        &self,
        task: &Task,
        taken: &[(Task, Option<PathBuf>)],
    ) -> Result<Option<Option<PathBuf>>> {
        let Some(config) = self.study.config(task)? else { return Ok(None) };
        if let Some(base) = self.study.needs_base(task)?
            && !self.study.is_done(&Task::Base { name: base })?
        {
            return Ok(None);
        }
        let leaves = Some(self.study.base_scores(&config)).filter(|path| !exists(path));
        let is_coming = taken.iter().any(|(_, coming)| coming.is_some() && *coming == leaves);
        Ok((!is_coming).then_some(leaves))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
