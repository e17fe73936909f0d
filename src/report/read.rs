//! Run folders as plain records. Nothing is locked or changed: a run may go on meanwhile, and one
//! that crashed is read as far as it came.

use crate::checkpoint::STATE;
use crate::config::{Config, Objective};
use crate::error::{Error, Result};
use crate::metrics::StepReport;
use crate::platform::{exists, is_held, names_in, read_text};
use crate::run::{
    CHECKPOINTS, CONFIG, EVALUATIONS, Evaluation, METRICS, RunFolder, SAMPLES, SUMMARY, Summary,
    numbered,
};
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// To its end; fewer updates than configured where `train.patience` ended it.
    Finished,
    /// A process trains in the folder now.
    Training,
    /// Not to its end, and nothing trains in it: it was stopped, crashed or diverged.
    Stopped,
}

/// A run as its folder tells it.
#[derive(Debug)]
pub struct RunRecord {
    /// The folder.
    pub path: PathBuf,
    /// Its name, unlike that of any other run in the report.
    pub name: String,
    /// The resolved settings.
    pub config: Config,
    /// Metrics, a step each.
    pub steps: Vec<StepReport>,
    /// Evaluations, the base's first.
    pub evaluations: Vec<Evaluation>,
    /// Rollouts of some steps.
    pub samples: Vec<SampledGroup>,
    /// How far it came.
    pub status: Status,
    /// The summary, of a run that came to its end.
    pub summary: Option<Summary>,
    /// What it was computed on, `NAME (BACKEND)`; unknown before the first checkpoint.
    pub device: Option<String>,
    /// What was amiss in the files.
    pub notes: Vec<String>,
}

/// A line of `samples.jsonl`: a prompt of a step with its rollouts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SampledGroup {
    /// The update that they were drawn for, from 1.
    pub step: u32,
    /// Suite of the problem.
    pub suite: String,
    /// The prompt as the model reads it.
    pub prompt: String,
    /// The gold answer.
    pub answer: String,
    /// The teacher's response.
    pub demonstration: Option<String>,
    /// What the verifier gave the demonstration; `None` where the method takes none.
    pub demonstration_reward: Option<f32>,
    /// The rollouts.
    pub episodes: Vec<SampledEpisode>,
    /// Why rollouts are missing: the verifier failed on them.
    pub unscored: Vec<String>,
}

/// A rollout in `samples.jsonl`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SampledEpisode {
    /// The response as text, without end-of-text.
    pub response: String,
    /// What the verifier gave.
    pub reward: f32,
    /// Its answer is right.
    pub right: bool,
    /// The length limit cut it.
    pub truncated: bool,
}

/// Reads the runs in `paths`, each under a name of its own.
pub fn read_runs(paths: &[PathBuf]) -> Result<Vec<RunRecord>> {
    let mut runs: Vec<RunRecord> = Vec::new();
    for path in paths {
        let name = numbered(&folder_name(path), |n| runs.iter().any(|r| r.name == n));
        runs.push(read_run(path, name)?);
    }
    Ok(runs)
}

/// The folder's own name, also of `.` and `runs/a/..`.
fn folder_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.into());
    whole.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned())
}

/// Reads the run in `path`.
fn read_run(path: &Path, name: String) -> Result<RunRecord> {
    require_run(path)?;
    let config = Config::resolve(&[RunFolder::config_layer(path)?])?;
    let mut notes = Vec::new();
    let steps: Vec<StepReport> = lines(&path.join(METRICS), &mut notes)?;
    let evaluations: Vec<Evaluation> = lines(&path.join(EVALUATIONS), &mut notes)?;
    let samples = lines(&path.join(SAMPLES), &mut notes)?;
    let done = steps.last().map_or(0, |r| r.step);
    // A run that was resumed with more steps has the summary of its first end.
    let summary = summary(&path.join(SUMMARY))?.filter(|s| s.steps == done);
    let status = match &summary {
        Some(_) => Status::Finished,
        None if is_held(path) => Status::Training,
        None => Status::Stopped,
    };
    let of_summary = summary.as_ref().map(|s| format!("{} ({})", s.device, s.backend));
    let device = of_summary.or_else(|| device_of_checkpoint(path));
    Ok(RunRecord {
        path: path.into(),
        name,
        config,
        steps,
        evaluations,
        samples,
        status,
        summary,
        device,
        notes,
    })
}

/// The config is written before anything else. Where it is missing, the runs below are named.
fn require_run(path: &Path) -> Result<()> {
    if exists(&path.join(CONFIG)) {
        return Ok(());
    }
    let missing = match path.is_dir() {
        true => Error::input("no run is here: config.toml is missing"),
        false => Error::input("there is no such folder"),
    };
    let inside: Vec<String> = names_in(path)
        .unwrap_or_default()
        .into_iter()
        .map(|name| path.join(name))
        .filter(|folder| exists(&folder.join(CONFIG)))
        .map(|folder| folder.display().to_string())
        .collect();
    let next = match inside.is_empty() {
        true => "give the folders that `srft train` named, for example: srft report runs/a runs/b"
            .into(),
        false => format!("give the runs in it: srft report {}", inside.join(" ")),
    };
    Err(missing.at(path.display()).next(next))
}

/// The records of a JSONL file; none where it is missing. A last line that is cut short, by a crash
/// or because it is being written just now, is left out and noted.
fn lines<T: for<'a> Deserialize<'a>>(path: &Path, notes: &mut Vec<String>) -> Result<Vec<T>> {
    if !exists(path) {
        return Ok(Vec::new());
    }
    let text = read_text(path)?;
    let (whole, rest) = text.rsplit_once('\n').map_or(("", text.as_str()), |(w, rest)| (w, rest));
    if !rest.is_empty() {
        notes.push(format!("the last line of {} is cut short and left out", path.display()));
    }
    let parse = |(index, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|e| {
            Error::input(e.to_string())
                .at(format!("{}:{}", path.display(), index + 1))
                .next("the line was altered, or another version of srft wrote it")
        })
    };
    whole.lines().enumerate().map(parse).collect()
}

fn summary(path: &Path) -> Result<Option<Summary>> {
    if !exists(path) {
        return Ok(None);
    }
    serde_json::from_str(&read_text(path)?).map(Some).map_err(|e| {
        Error::input(e.to_string()).at(path.display()).next(
            "the file was altered, or another version of srft wrote it; without it the run is read \
             as one that has not ended",
        )
    })
}

/// The latest checkpoint names what it was computed on; it may vanish while it is read.
fn device_of_checkpoint(path: &Path) -> Option<String> {
    let folder = path.join(CHECKPOINTS);
    let latest = names_in(&folder).ok()?.into_iter().rfind(|name| !name.contains('.'))?;
    let state: Value =
        serde_json::from_str(&read_text(&folder.join(latest).join(STATE)).ok()?).ok()?;
    Some(state["device"].as_str()?.to_string())
}

impl RunRecord {
    /// Updates done.
    pub fn updates(&self) -> u32 {
        self.steps.last().map_or(0, |r| r.step)
    }

    /// `srft, seed 0`.
    pub fn method(&self) -> String {
        format!("{}, seed {}", self.config.objective.method.name(), self.config.run.seed)
    }

    /// A metric over its steps, without those where the objective gives it no meaning.
    pub fn values(
        &self,
        value: fn(&StepReport) -> f64,
        acts: fn(&Objective) -> bool,
    ) -> Vec<(u32, f64)> {
        let [first, last] =
            [0, self.config.train.steps].map(|step| acts(&self.config.objective_at(step)));
        let acts = |step: u32| match first == last {
            true => first,
            false => acts(&self.config.objective_at(step.saturating_sub(1))),
        };
        self.steps.iter().filter(|r| acts(r.step)).map(|r| (r.step, value(r))).collect()
    }
}
