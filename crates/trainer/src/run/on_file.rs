//! Reads a run's folder: config.toml, inputs.json, metrics.jsonl, samples.jsonl, evaluations.jsonl,
//! checkpoints/, summary.json. Nothing is locked or changed: the run may go on meanwhile, and one that
//! crashed is read as far as it got.

use super::Summary;
use super::sampled::SampledGroup;
use crate::checkpoint::STATE;
use crate::config::{Config, Settings};
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
/// Lengths and CRC-32s of the run's inputs, from when it began.
pub const INPUTS: &str = "inputs.json";
/// A [`StepReport`] a line.
pub const METRICS: &str = "metrics.jsonl";
/// A group of rollouts a line.
pub const SAMPLES: &str = "samples.jsonl";
/// An [`Evaluation`] a line.
pub const EVALUATIONS: &str = "evaluations.jsonl";
/// The [`Summary`] of a finished run.
pub const SUMMARY: &str = "summary.json";

/// Why a run ended, if its loss, gradient or weights were no longer finite.
pub const DIVERGED: &str = "diverged.txt";
/// The best model so far.
pub const BEST: &str = "best";
/// Every sample of each evaluation.
pub const EVERY_SAMPLE: &str = "evaluations";

/// The files that grow line by line; each line has a `step`.
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

/// Reads a run's files; a missing file gives an empty list or `None`.
#[derive(Debug)]
pub struct OnFile<'a> {
    path: &'a Path,
    /// What was wrong with the files read so far.
    pub notes: Vec<String>,
}

impl<'a> OnFile<'a> {
    /// Reads the run in `path`.
    pub fn of(path: &'a Path) -> Self {
        Self { path, notes: Vec::new() }
    }

    /// Whether there is a run: its config is written before anything else.
    pub fn is_run(&self) -> bool {
        exists(&self.path.join(CONFIG))
    }

    /// An error if there is no run; it names the runs in folders below.
    pub fn require_run(&self) -> Result<()> {
        if self.is_run() {
            return Ok(());
        }
        let missing = match is_folder(self.path) {
            true => "no run is here: config.toml is missing",
            false => "no run is here: there is no such folder",
        };
        let names = names_in(self.path).unwrap_or_default();
        let folders = names.into_iter().map(|name| self.path.join(name));
        let inside: Vec<String> = folders
            .filter(|folder| OnFile::of(folder).is_run())
            .map(|folder| folder.display().to_string())
            .collect();
        let next = match inside.is_empty() {
            true => "give the folder that `srft train` named, for example runs/srft".into(),
            false => format!("give one of its runs: {}", inside.join(" ")),
        };
        Err(Error::input(missing).at(self.path.display()).next(next))
    }

    /// The config, as a layer of settings to resolve.
    pub fn config_layer(&self) -> Result<(String, toml::Table)> {
        self.require_run()?;
        let file = self.path.join(CONFIG);
        let (place, mut layer) = Config::layer(&read_text(&file)?, &file.display().to_string())?;
        Settings::say_what_is_meant(&mut layer);
        Ok((place, layer))
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

    /// Reads a file of lines. A last line that is cut short, by a crash or because it is just being written,
    /// is left out and noted.
    fn lines<T: for<'b> Deserialize<'b>>(&mut self, name: &str) -> Result<Vec<T>> {
        let path = self.path.join(name);
        if !exists(&path) {
            return Ok(Vec::new());
        }
        let bytes = read(&path)?;
        // A line cut within a character is not valid UTF-8.
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        if whole < bytes.len() {
            let path = path.display();
            self.notes.push(format!("the last line of {path} is cut short and left out"));
        }
        parse_lines(&path, &bytes[..whole])
    }

    /// The summary of a finished run. If it was resumed with more steps, this is still the summary of its
    /// earlier end.
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

    /// Why the run ended, if its numbers were no longer finite.
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

    /// The device of the latest checkpoint; the checkpoint may be removed while it is read.
    pub fn device(&self) -> Option<String> {
        let (_, latest) = self.checkpoints().ok()?.pop()?;
        let state: Value = serde_json::from_str(&read_text(&latest.join(STATE)).ok()?).ok()?;
        Some(state["device"].as_str()?.to_string())
    }
}

/// Parses the bytes of a JSONL file, a record a line.
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
