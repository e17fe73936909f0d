//! The run folder: config.toml, metrics.jsonl, samples.jsonl, evaluations.jsonl, checkpoints/,
//! summary.json.

use super::Summary;
use crate::config::Config;
use crate::error::{Error, Result, io};
use crate::eval::Score;
use crate::metrics::StepReport;
use crate::platform::{append_line, read_text, write_atomic, write_folder_atomic};
use crate::records::Group;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const METRICS: &str = "metrics.jsonl";
const SAMPLES: &str = "samples.jsonl";
const EVALUATIONS: &str = "evaluations.jsonl";

/// A run's files.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Evaluation {
    step: u32,
    scores: Vec<Score>,
}

/// `runs/NAME`, or the first of `runs/NAME-2`, `runs/NAME-3`, … that does not exist.
pub fn fresh_folder(name: &str) -> PathBuf {
    let candidates = std::iter::once(name.to_string()).chain((2..).map(|n| format!("{name}-{n}")));
    candidates
        .map(|c| Path::new("runs").join(c))
        .find(|p| !p.exists())
        .expect("some number is free")
}

impl RunFolder {
    /// Makes the folder and writes the resolved config.
    pub fn create(path: &Path, config: &Config) -> Result<Self> {
        if path.join("config.toml").exists() {
            return Err(Error::input("a run is already here")
                .at(path.display())
                .next(format!("srft train --resume {0}, or another --out", path.display())));
        }
        fs::create_dir_all(path.join("checkpoints")).map_err(|e| io(path, e))?;
        let folder = Self { path: path.into() };
        write_atomic(&path.join("config.toml"), config.to_annotated_toml().as_bytes())?;
        Ok(folder)
    }

    /// Opens an existing run.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.join("config.toml").exists() {
            return Err(Error::input("no run is here: config.toml is missing")
                .at(path.display())
                .next("give --resume the folder that `srft train` named"));
        }
        fs::create_dir_all(path.join("checkpoints")).map_err(|e| io(path, e))?;
        Ok(Self { path: path.into() })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text of config.toml.
    pub fn config_text(&self) -> Result<String> {
        read_text(&self.path.join("config.toml"))
    }

    fn checkpoints(&self) -> Result<Vec<(u32, PathBuf)>> {
        let folder = self.path.join("checkpoints");
        let mut found: Vec<(u32, PathBuf)> = fs::read_dir(&folder)
            .map_err(|e| io(&folder, e))?
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some((name.strip_prefix("step-")?.parse().ok()?, entry.path()))
            })
            .collect();
        found.sort();
        Ok(found)
    }

    /// The latest checkpoint.
    pub fn latest(&self) -> Result<Option<PathBuf>> {
        Ok(self.checkpoints()?.pop().map(|(_, path)| path))
    }

    /// Writes a checkpoint and removes all but the last `keep`.
    pub fn write_checkpoint(
        &self,
        step: u32,
        files: &[(&str, Vec<u8>)],
        keep: usize,
    ) -> Result<PathBuf> {
        let path = self.path.join("checkpoints").join(format!("step-{step:06}"));
        write_folder_atomic(&path, files)?;
        let all = self.checkpoints()?;
        for (_, old) in &all[..all.len().saturating_sub(keep)] {
            fs::remove_dir_all(old).map_err(|e| io(old, e))?;
        }
        Ok(path)
    }

    /// Writes the best checkpoint so far.
    pub fn write_best(&self, files: &[(&str, Vec<u8>)]) -> Result<()> {
        write_folder_atomic(&self.path.join("best"), files)
    }

    /// Appends a step's metrics.
    pub fn append_step(&self, report: &StepReport) -> Result<()> {
        self.append(METRICS, &serde_json::to_value(report).expect("a plain record"))
    }

    /// Appends an evaluation, once a step.
    pub fn append_evaluation(&self, step: u32, scores: &[Score]) -> Result<()> {
        let line = Evaluation { step, scores: scores.to_vec() };
        self.append(EVALUATIONS, &serde_json::to_value(line).expect("a plain record"))
    }

    /// Appends a step's rollouts with their rewards.
    pub fn append_samples(&self, step: u32, groups: &[Group]) -> Result<()> {
        for group in groups {
            let episodes: Vec<Value> = group
                .episodes
                .iter()
                .map(|e| {
                    json!({"response": e.response, "reward": e.reward, "truncated": e.truncated})
                })
                .collect();
            let line = json!({
                "step": step,
                "suite": group.example.suite,
                "prompt": group.example.prompt,
                "answer": group.example.answer,
                "demonstration": group.example.demonstration,
                "demonstration_reward": group.demonstration.as_ref().map(|d| d.reward),
                "episodes": episodes,
            });
            self.append(SAMPLES, &line)?;
        }
        Ok(())
    }

    fn append(&self, name: &str, line: &Value) -> Result<()> {
        append_line(&self.path.join(name), &line.to_string())
    }

    /// The evaluations on file.
    pub fn evaluations(&self) -> Result<Vec<(u32, Vec<Score>)>> {
        let lines = self.lines::<Evaluation>(EVALUATIONS)?;
        Ok(lines.into_iter().map(|e| (e.step, e.scores)).collect())
    }

    /// The step reports on file.
    pub fn steps(&self) -> Result<Vec<StepReport>> {
        self.lines(METRICS)
    }

    fn lines<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Result<Vec<T>> {
        let path = self.path.join(name);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let text = read_text(&path)?;
        let parse = |(index, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|e| {
                Error::input(e.to_string()).at(format!("{}:{}", path.display(), index + 1))
            })
        };
        text.lines().enumerate().map(parse).collect()
    }

    /// Cuts the line files back to `step`: what came after the checkpoint will come again.
    pub fn rewind(&self, step: u32) -> Result<()> {
        for name in [METRICS, SAMPLES, EVALUATIONS] {
            let path = self.path.join(name);
            if !path.exists() {
                continue;
            }
            let text = read_text(&path)?;
            // A line cut short by a crash does not parse and goes too.
            let kept: String = text
                .lines()
                .filter(|line| {
                    serde_json::from_str::<Value>(line)
                        .ok()
                        .and_then(|v| v["step"].as_u64())
                        .is_some_and(|s| s <= u64::from(step))
                })
                .map(|line| format!("{line}\n"))
                .collect();
            write_atomic(&path, kept.as_bytes())?;
        }
        Ok(())
    }

    /// Writes summary.json.
    pub fn write_summary(&self, summary: &Summary) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(summary).expect("a plain record");
        text.push(b'\n');
        write_atomic(&self.path.join("summary.json"), &text)
    }
}
