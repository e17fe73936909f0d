//! The runs of a study: their order, their settings, and which are done.

use super::finished::Finished;
use super::spec::{Cell, Point, Regime, Row, Spec};
use crate::config::{Change, Config, Settings};
use crate::error::{Error, Result};
use crate::eval::mean_accuracy;
use crate::platform::{
    FolderLock, create_folder, exists, lock_folder, names_in, read_text, write_atomic,
};
use crate::run::OnFile;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Table;

/// The study's own text, in its folder.
pub const SPEC: &str = "study.toml";

/// Cost of training on a sequence relative to sampling one, as measured on a CPU: a forward and a
/// backward pass in a batch, against a forward pass token by token.
const TRAINING: f64 = 1.5;

/// A study and its folder.
#[derive(Debug)]
pub struct Study {
    /// The study's specification.
    pub spec: Spec,
    /// Its folder.
    pub out: PathBuf,
    /// The value of `run.device` for its runs.
    pub device: String,
    /// Whether a run resumes even if its files have changed since it began.
    pub(super) accepts_changes: bool,
}

/// One run of a study.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Makes a base.
    Base {
        /// Its name.
        name: String,
    },
    /// Tries a point of a row's grid.
    Trial {
        /// Name of the regime.
        regime: String,
        /// Name of the row.
        row: String,
        /// Index of the point.
        point: usize,
        /// Seed.
        seed: u64,
    },
    /// A run that the tables report.
    Run {
        /// Name of the regime.
        regime: String,
        /// Name of the row.
        row: String,
        /// Seed.
        seed: u64,
    },
}

/// What a row takes from its grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Index of the point.
    pub index: usize,
    /// The point.
    pub point: Point,
    /// Its accuracy in tuning; absent if it was the only point.
    pub accuracy: Option<f64>,
}

impl Study {
    /// The study in `out`; nothing is read or written yet.
    pub fn new(spec: Spec, out: &Path, device: &str) -> Self {
        Self { spec, out: out.into(), device: device.into(), accepts_changes: false }
    }

    /// Makes the folder, locks it, and writes the study's text into it.
    pub fn keep(&self, text: &str) -> Result<FolderLock> {
        let mut table: Table = text.parse().expect("a study was read from it");
        let seeds = table.insert("seeds".into(), i64::from(self.spec.seeds).into());
        let text = match seeds == table.get("seeds").cloned() {
            true => text.to_string(),
            false => table.to_string(),
        };
        let is_same = self.require_own(&text)?;
        create_folder(&self.out)?;
        let lock = lock_folder(&self.out)?;
        if !is_same {
            write_atomic(&self.out.join(SPEC), text.as_bytes())?;
        }
        Ok(lock)
    }

    /// Refuses a folder that holds anything but this study; returns whether the same text is already
    /// there.
    fn require_own(&self, text: &str) -> Result<bool> {
        let names = names_in(&self.out).unwrap_or_default();
        let shown: Vec<&String> = names.iter().filter(|name| !name.starts_with('.')).collect();
        let refused = |what: String| {
            Err(Error::input(what).at(self.out.display()).next("give another --out"))
        };
        if !names.iter().any(|name| name == SPEC) {
            return match shown.first() {
                None => Ok(false),
                Some(name) => refused(format!("`{name}` is here, but not the study it belongs to")),
            };
        }
        let before = read_text(&self.out.join(SPEC))?;
        if before == text {
            return Ok(true);
        }
        let name =
            before.parse::<Table>().ok().and_then(|t| Some(t.get("name")?.as_str()?.to_string()));
        match name {
            Some(name) if name == self.spec.name && names.len() > 1 => Ok(false),
            Some(name) if name != self.spec.name => refused(format!("the study {name} is here")),
            _ => refused(format!("the {SPEC} here was not written by a study")),
        }
    }

    /// Every run in order: bases, trials, then seed by seed, so that the tables have all rows early.
    pub fn tasks(&self) -> Result<Vec<Task>> {
        let named = self.spec.regimes.iter().filter_map(|r| r.base.clone());
        let bases: BTreeSet<String> = named.collect();
        let mut tasks: Vec<Task> = bases.into_iter().map(|name| Task::Base { name }).collect();
        for regime in &self.spec.regimes {
            for row in self.spec.rows_of(regime) {
                for trial in self.trials(regime, row)? {
                    if !tasks.contains(&trial) {
                        tasks.push(trial);
                    }
                }
            }
        }
        for seed in 0..self.spec.seeds {
            for regime in &self.spec.regimes {
                let rows = self.spec.rows_of(regime);
                let of_seed = rows.filter(|row| seed < self.spec.seeds_of(regime, row));
                tasks.extend(of_seed.map(|row| Task::Run {
                    regime: regime.name.clone(),
                    row: row.name.clone(),
                    seed: seed.into(),
                }));
            }
        }
        Ok(tasks)
    }

    /// The tasks of the runs that `only` names (REGIME or REGIME/ROW, `*` for any), and the tasks they
    /// need.
    pub fn tasks_of(&self, only: &str) -> Result<Vec<Task>> {
        let (regime, row) = only.split_once('/').unwrap_or((only, "*"));
        if regime != "*" {
            self.spec.regime(regime).map_err(|e| e.at("--only"))?;
        }
        if row != "*" {
            self.spec.row(row).map_err(|e| e.at("--only"))?;
        }
        let takes = |pattern: &str, name: &str| pattern == "*" || pattern == name;
        let all = self.tasks()?;
        let (mut needed, mut wanted) = (Vec::new(), Vec::new());
        for task in &all {
            if let Task::Run { regime: of, row: name, .. } = task
                && takes(regime, of)
                && takes(row, name)
            {
                let of = self.spec.regime(of)?;
                let trials = self.trials(of, self.spec.row(name)?)?;
                for task in trials.iter().chain([task]) {
                    needed.extend(self.needs_base(task)?.map(|name| Task::Base { name }));
                }
                needed.extend(trials);
                wanted.push(task.clone());
            }
        }
        Ok(all.into_iter().filter(|t| needed.contains(t) || wanted.contains(t)).collect())
    }

    /// The trials that decide a row's settings in a regime; empty if there is nothing to choose.
    fn trials(&self, regime: &Regime, row: &Row) -> Result<Vec<Task>> {
        let points = row.points()?.len();
        let Some(tuned_in) = self.spec.tuned_in(regime, row)?.filter(|_| points > 1) else {
            return Ok(Vec::new());
        };
        let trial = |point, seed| Task::Trial {
            regime: tuned_in.name.clone(),
            row: row.name.clone(),
            point,
            seed,
        };
        let seeds = self.spec.tuning_seeds();
        Ok((0..points)
            .flat_map(|p| seeds.iter().map(move |&s| (p, s)))
            .map(|(p, s)| trial(p, s))
            .collect())
    }

    /// What the row takes from its grid in a regime: the point with the best mean in-distribution
    /// accuracy over the tuning seeds, the first one of equals. `None` until all trials are done;
    /// `Some(None)` if the row has no grid.
    pub fn choice(&self, regime: &Regime, row: &Row) -> Result<Option<Option<Choice>>> {
        let mut points = row.points()?;
        if points.len() < 2 {
            let only = points.pop().map(|point| Choice { index: 0, point, accuracy: None });
            return Ok(Some(only));
        }
        let mut sums = vec![0.0; points.len()];
        let trials = self.trials(regime, row)?;
        for trial in &trials {
            let Task::Trial { point, .. } = trial else { continue };
            let Some(finished) = Finished::read(&self.path(trial)?)? else { return Ok(None) };
            let scores = &finished.last.scores;
            let accuracy = mean_accuracy(scores, false).or_else(|| mean_accuracy(scores, true));
            sums[*point] += accuracy.unwrap_or(0.0);
        }
        let better =
            |best: usize, index: usize| if sums[index] > sums[best] { index } else { best };
        let index = (1..points.len()).fold(0, better);
        let accuracy = Some(sums[index] / self.spec.tuning_seeds().len() as f64);
        Ok(Some(Some(Choice { index, point: points.swap_remove(index), accuracy })))
    }

    /// The base with which a task's run begins, if it is made by the study.
    pub fn needs_base(&self, task: &Task) -> Result<Option<String>> {
        match task {
            Task::Base { .. } => Ok(None),
            Task::Trial { regime, .. } | Task::Run { regime, .. } => {
                Ok(self.spec.regime(regime)?.base.clone())
            }
        }
    }

    /// The folder of a task's run.
    pub fn path(&self, task: &Task) -> Result<PathBuf> {
        Ok(match task {
            Task::Base { name } => self.base(name).join("run"),
            Task::Trial { regime, row, point, seed } => {
                let label = &self.spec.row(row)?.points()?[*point].label;
                let folder = self.out.join("tuning").join(regime).join(row);
                folder.join(label).join(format!("seed-{seed}"))
            }
            Task::Run { regime, row, seed } => {
                self.out.join("runs").join(regime).join(row).join(format!("seed-{seed}"))
            }
        })
    }

    /// The folder of a base made by the study, and of the run that makes it.
    pub fn base(&self, name: &str) -> PathBuf {
        self.out.join("bases").join(name)
    }

    /// The model in that folder, once it is made.
    pub fn base_model(&self, name: &str) -> PathBuf {
        self.base(name).join("model")
    }

    /// A task's settings; `None` until the trials that decide them are done.
    pub fn config(&self, task: &Task) -> Result<Option<Config>> {
        let (regime, row, seed) = match task {
            Task::Base { name } => {
                return self.spec.base_config(name, &self.device).map(Some);
            }
            Task::Trial { regime, row, seed, .. } | Task::Run { regime, row, seed } => {
                (self.spec.regime(regime)?, self.spec.row(row)?, *seed)
            }
        };
        let (point, tuning) = match task {
            Task::Trial { point, .. } => (Some(row.points()?.swap_remove(*point)), true),
            _ => match self.choice(regime, row)? {
                Some(choice) => (choice.map(|c| c.point), false),
                None => return Ok(None),
            },
        };
        let base = regime.base.as_ref().map(|name| self.base_model(name));
        let cell = Cell { regime, row, point: point.as_ref(), tuning, seed };
        self.spec.config(cell, base.as_deref(), &self.device).map(Some)
    }

    /// Whether a task is done. A run with other settings than the study's is an error.
    pub fn is_done(&self, task: &Task) -> Result<bool> {
        let path = self.path(task)?;
        let Some(config) = self.config(task)?.filter(|_| OnFile::of(&path).is_run()) else {
            return Ok(false);
        };
        let mut before = OnFile::of(&path).config()?;
        if config.model.path.starts_with(&*self.out.display().to_string())
            || matches!(task, Task::Base { .. })
        {
            // A study that was moved is still the same study.
            before = before.with(|settings| settings.model.path.clone_from(&config.model.path))?;
        }
        if let Some(Change { key, now, before }) = config.change(&before) {
            return Err(Error::input(format!("the study has {now}, the run on disk {before}"))
                .at(format!("{}: {key}", path.display()))
                .next("give another --out, or remove the run's folder to run it again"));
        }
        let is_there = match task {
            Task::Base { name } => exists(&self.base_model(name)),
            _ => true,
        };
        Ok(is_there && Finished::read(&path)?.is_some())
    }

    /// Roughly what a task's run costs, in sampled sequences; for estimates of what is left.
    pub fn cost(&self, task: &Task) -> Result<f64> {
        Ok(self.likely_config(task)?.as_ref().map_or(0.0, |config| cost_of(config)))
    }

    /// A task's settings, or, until trials have decided them, those with the first point of the grid.
    pub(super) fn likely_config(&self, task: &Task) -> Result<Option<Config>> {
        match (self.config(task)?, task) {
            (None, Task::Run { regime, row, seed }) => {
                let (regime, row) = (self.spec.regime(regime)?, self.spec.row(row)?);
                let points = row.points()?;
                let point = points.first();
                let cell = Cell { regime, row, point, tuning: false, seed: *seed };
                let base = regime.base.as_ref().map(|name| self.base_model(name));
                self.spec.config(cell, base.as_deref(), &self.device).map(Some)
            }
            (config, _) => Ok(config),
        }
    }
}

/// The cost of a run's sampling and training, in sampled sequences.
pub fn cost_of(config: &Settings) -> f64 {
    let stages = config.stages();
    let share = if stages.len() > 1 { config.objective.second_share } else { 1.0 };
    let shares = [1.0 - share, share];
    let of_stage = |(objective, share): (&crate::config::Objective, &f64)| {
        let rollouts = if objective.uses_rollouts() { config.rollout.group as f64 } else { 0.0 };
        let demonstrations = if objective.uses_demonstrations() { 1.0 } else { 0.0 };
        share * (rollouts * (1.0 + TRAINING) + demonstrations * TRAINING)
    };
    let a_prompt: f64 = stages.iter().zip(&shares[2 - stages.len()..]).map(of_stage).sum();
    let trained = f64::from(config.train.steps) * config.rollout.prompts as f64 * a_prompt;
    let suites = match config.data.eval.len() {
        0 => crate::data::builtin::suites().len(),
        files => files,
    };
    trained + (suites * config.eval.builtin_examples() * config.eval.samples) as f64
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Task::Base { name } => write!(f, "base {name}"),
            Task::Trial { regime, row, point, seed } => {
                write!(f, "{regime}/{row} trial {} seed {seed}", point + 1)
            }
            Task::Run { regime, row, seed } => write!(f, "{regime}/{row} seed {seed}"),
        }
    }
}
