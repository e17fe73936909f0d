//! A run as its folder tells it: config.toml, inputs.json, metrics.jsonl, samples.jsonl,
//! evaluations.jsonl, checkpoints/, summary.json. Nothing is held or changed: a run may go on meanwhile,
//! and one that crashed is read as far as it came.

use super::Summary;
use super::sampled::SampledGroup;
use crate::checkpoint::STATE;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::eval::Score;
use crate::metrics::StepReport;
use crate::platform::{exists, is_folder, names_in, read, read_text};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The resolved settings: a folder with this file is a run.
pub const CONFIG: &str = "config.toml";
/// The folder of checkpoints, `step-N` each.
pub const CHECKPOINTS: &str = "checkpoints";
/// The files that the run's numbers come from, as they were when it began.
pub const INPUTS: &str = "inputs.json";
/// A [`StepReport`] a line.
pub const METRICS: &str = "metrics.jsonl";
/// A group of rollouts a line.
pub const SAMPLES: &str = "samples.jsonl";
/// An [`Evaluation`] a line.
pub const EVALUATIONS: &str = "evaluations.jsonl";
/// The [`Summary`] of a run that came to its end.
pub const SUMMARY: &str = "summary.json";

/// Why a run ended whose numbers were no longer finite.
pub const DIVERGED: &str = "diverged.txt";
/// The best model so far.
pub const BEST: &str = "best";
/// Every sample of each evaluation.
pub const EVERY_SAMPLE: &str = "evaluations";

/// The files that grow by a line at a time; each line has its `step`.
pub const LINES: [&str; 3] = [METRICS, SAMPLES, EVALUATIONS];

/// A line of `evaluations.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// Updates done; 0 is the base.
    pub step: u32,
    /// Wall time, seconds.
    pub eval_secs: f64,
    /// Suite by suite.
    pub scores: Vec<Score>,
}

/// Reads a run's files; what is not there is empty or `None`.
#[derive(Debug)]
pub struct OnFile<'a> {
    path: &'a Path,
    /// What was amiss in the files read so far.
    pub notes: Vec<String>,
}

impl<'a> OnFile<'a> {
    /// Of the run in `path`.
    pub fn of(path: &'a Path) -> Self {
        Self { path, notes: Vec::new() }
    }

    /// Whether a run is there: its config is written before anything else.
    pub fn is_run(&self) -> bool {
        exists(&self.path.join(CONFIG))
    }

    /// An error where no run is; the runs below are named.
    pub fn require_run(&self) -> Result<()> {
        if self.is_run() {
            return Ok(());
        }
        let missing = match is_folder(self.path) {
            true => "no run is here: config.toml is missing",
            false => "no run is here: there is no such folder (a run's has a config.toml)",
        };
        let names = names_in(self.path).unwrap_or_default();
        let folders = names.into_iter().map(|name| self.path.join(name));
        let inside: Vec<String> = folders
            .filter(|folder| OnFile::of(folder).is_run())
            .map(|folder| folder.display().to_string())
            .collect();
        let next = match inside.is_empty() {
            true => "give the folder that `srft train` named, for example runs/srft".into(),
            false => format!("give a run in it: {}", inside.join(" ")),
        };
        Err(Error::input(missing).at(self.path.display()).next(next))
    }

    /// The config, a layer to resolve.
    pub fn config_layer(&self) -> Result<(String, toml::Table)> {
        self.require_run()?;
        let file = self.path.join(CONFIG);
        Config::layer(&read_text(&file)?, &file.display().to_string())
    }

    /// Every setting.
    pub fn config(&self) -> Result<Config> {
        Config::resolve(&[self.config_layer()?])
    }

    /// Metrics, a step each.
    pub fn steps(&mut self) -> Result<Vec<StepReport>> {
        self.lines(METRICS)
    }

    /// Evaluations, the base's first.
    pub fn evaluations(&mut self) -> Result<Vec<Evaluation>> {
        self.lines(EVALUATIONS)
    }

    /// Rollouts of some steps.
    pub fn samples(&mut self) -> Result<Vec<SampledGroup>> {
        self.lines(SAMPLES)
    }

    /// A last line that is cut short, by a crash or because it is being written just now, is left out and
    /// noted.
    fn lines<T: for<'b> Deserialize<'b>>(&mut self, name: &str) -> Result<Vec<T>> {
        let path = self.path.join(name);
        if !exists(&path) {
            return Ok(Vec::new());
        }
        let bytes = read(&path)?;
        // Cut within a character it is not even text.
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        if whole < bytes.len() {
            let path = path.display();
            self.notes.push(format!("the last line of {path} is cut short and left out"));
        }
        parse_lines(&path, &bytes[..whole])
    }

    /// The summary of a run that came to its end; of one that was resumed with more steps, that of its
    /// first end.
    pub fn summary(&self) -> Result<Option<Summary>> {
        let path = self.path.join(SUMMARY);
        if !exists(&path) {
            return Ok(None);
        }
        serde_json::from_str(&read_text(&path)?).map(Some).map_err(|e| {
            Error::input(e.to_string()).at(path.display()).next(
                "the file was altered, or another version of srft wrote it; without it the run is read \
                 as one that has not ended",
            )
        })
    }

    /// Why it ended, if its numbers were no longer finite.
    pub fn diverged(&self) -> Result<Option<String>> {
        let path = self.path.join(DIVERGED);
        match exists(&path) {
            true => Ok(Some(read_text(&path)?.trim().to_string())),
            false => Ok(None),
        }
    }

    /// The checkpoints as (updates done, folder), the earliest first.
    pub fn checkpoints(&self) -> Result<Vec<(u32, PathBuf)>> {
        let folder = self.path.join(CHECKPOINTS);
        let step = |name: &String| name.strip_prefix("step-")?.parse().ok();
        let names = names_in(&folder)?;
        let mut found: Vec<(u32, PathBuf)> =
            names.iter().filter_map(|name| Some((step(name)?, folder.join(name)))).collect();
        found.sort();
        Ok(found)
    }

    /// What the latest checkpoint was computed on, which may vanish while it is read.
    pub fn device(&self) -> Option<String> {
        let (_, latest) = self.checkpoints().ok()?.pop()?;
        let state: Value = serde_json::from_str(&read_text(&latest.join(STATE)).ok()?).ok()?;
        Some(state["device"].as_str()?.to_string())
    }
}

/// The records of a JSONL file's bytes, a line each.
pub fn parse_lines<T: for<'a> Deserialize<'a>>(path: &Path, bytes: &[u8]) -> Result<Vec<T>> {
    let lines = bytes.split(|&b| b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let parse = |(index, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|e| {
            Error::input(e.to_string())
                .at(format!("{}:{}", path.display(), index + 1))
                .next("the line was altered, or another version of srft wrote it")
        })
    };
    lines.map(parse).collect()
}
