//! A run's folder, locked and written by the run.

use super::Summary;
use super::on_file::{
    BEST, CHECKPOINTS, CONFIG, DIVERGED, EVALUATIONS, EVERY_SAMPLE, Evaluation, INPUTS, LINES,
    METRICS, OnFile, SAMPLES, SUMMARY,
};
use super::sampled::SampledGroup;
use super::tensorboard;
use crate::checkpoint::{STATE, State};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::eval::{Sample, Suite};
use crate::metrics::StepReport;
use crate::platform::FolderWriter;
use crate::platform::{
    FolderLock, absolute, append, create_folder, exists, lock_folder, mend_folder, mend_folders_in,
    mend_older, names_in, read, remove_file, remove_folder_atomic, sync_file, write_atomic,
};
use crate::records::Group;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A run's files, locked against other processes.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf, // from the root: the process may change its folder
    shown: PathBuf,
    _lock: FolderLock,
}

/// `name`, or the first of `name-2`, `name-3`, … that is not taken.
pub fn numbered(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut candidates =
        std::iter::once(name.to_string()).chain((2..).map(|n| format!("{name}-{n}")));
    candidates.find(|c| !is_taken(c)).expect("some number is free")
}

/// `runs/NAME`, or the first of `runs/NAME-2`, `runs/NAME-3`, … that does not exist.
pub fn fresh_folder(name: &str) -> PathBuf {
    let runs = Path::new("runs");
    runs.join(numbered(name, |name| exists(&runs.join(name))))
}

/// The folder of the samples that the run in `path` drew in its evaluation after `step` updates.
pub fn samples_of(path: &Path, step: u32) -> PathBuf {
    path.join(EVERY_SAMPLE).join(format!("step-{step:06}"))
}

/// File names for suites' samples, `SUITE.jsonl` with `/` and `:` replaced, and numbered where two names
/// would be equal.
pub fn suite_files<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut files: Vec<String> = Vec::new();
    for name in names {
        let name =
            numbered(&name.replace(['/', ':'], "-"), |n| files.contains(&format!("{n}.jsonl")));
        files.push(format!("{name}.jsonl"));
    }
    files
}

/// Writes the samples of each suite as `SUITE.jsonl` into a folder that is being written.
pub fn write_suites(
    mut folder: FolderWriter,
    suites: &[Suite],
    samples: &[Vec<Sample>],
) -> Result<()> {
    for (name, samples) in suite_files(suites.iter().map(|s| &*s.name)).iter().zip(samples) {
        let line = |s: &Sample| format!("{}\n", serde_json::to_string(s).expect("a plain record"));
        folder.file(name)?.write(samples.iter().map(line).collect::<String>().as_bytes())?;
    }
    folder.finish()
}

/// Refuses a folder in which a new run would overwrite something.
fn require_no_run(path: &Path) -> Result<()> {
    let is_there = |name: &&&str| exists(&path.join(name));
    if LINES.iter().chain([&CONFIG]).any(|name| is_there(&name)) {
        return Err(Error::input("a run is already here")
            .at(path.display())
            .next(format!("srft train --resume {0}, or another --out", path.display())));
    }
    let checkpoints = names_in(&path.join(CHECKPOINTS)).unwrap_or_default();
    let kept = [BEST, EVERY_SAMPLE, SUMMARY, INPUTS, DIVERGED];
    let taken = match checkpoints.is_empty() {
        true => kept.iter().find(is_there).copied(),
        false => Some(CHECKPOINTS),
    };
    match taken {
        None => Ok(()),
        Some(name) => Err(Error::input(format!("`{name}` is here, but not the run it belongs to"))
            .at(path.display())
            .next("give another --out, or move it away")),
    }
}

impl RunFolder {
    /// Makes the folder and writes the resolved config.
    pub fn create(path: &Path, config: &Config) -> Result<Self> {
        require_no_run(path)?;
        let folder = Self::hold(path)?;
        folder.write_config(config)?;
        Ok(folder)
    }

    /// Opens an existing run and repairs what a crash left half done.
    pub fn open(path: &Path) -> Result<Self> {
        OnFile::of(path).require_run()?;
        let folder = Self::hold(path)?;
        let (best, checkpoints) = (folder.best(), path.join(CHECKPOINTS));
        if !exists(&path.join(INPUTS)) {
            mend_older(&best)?; // only versions that did not write that file left such folders
            for name in names_in(&checkpoints)?.iter().filter_map(|n| n.strip_suffix(".old")) {
                mend_older(&checkpoints.join(name))?;
            }
        }
        mend_folder(&best)?;
        mend_folders_in(&checkpoints)?;
        Ok(folder)
    }

    /// Removes the run in `path`, if there is one and no process has it locked; other files there stay.
    pub fn remove(path: &Path) -> Result<()> {
        if !exists(&path.join(CONFIG)) {
            return Ok(());
        }
        let folder = Self::open(path)?;
        for parent in [CHECKPOINTS, EVERY_SAMPLE].map(|name| path.join(name)) {
            let names = if exists(&parent) { names_in(&parent)? } else { Vec::new() };
            for name in names.iter().filter(|name| name.starts_with("step-")) {
                remove_folder_atomic(&parent.join(name))?;
            }
            if exists(&parent) && names_in(&parent)?.is_empty() {
                remove_folder_atomic(&parent)?;
            }
        }
        if exists(&folder.best()) {
            remove_folder_atomic(&folder.best())?;
        }
        tensorboard::files(path)?.iter().try_for_each(|(_, events)| remove_file(events))?;
        // The config last: it is what makes the folder a run.
        let files = LINES.iter().chain(&[INPUTS, SUMMARY, DIVERGED, CONFIG]);
        files.map(|name| path.join(name)).try_for_each(|file| remove_file(&file))
    }

    fn hold(path: &Path) -> Result<Self> {
        create_folder(&path.join(CHECKPOINTS))?;
        let (lock, shown) = (lock_folder(path)?, path.into());
        Ok(Self { path: absolute(path), shown, _lock: lock })
    }

    /// The folder's absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder as the user named it.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// A path in the folder as the user would write it.
    pub fn as_shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.path).map_or_else(|_| path.into(), |rest| self.shown.join(rest))
    }

    /// Writes config.toml.
    pub fn write_config(&self, config: &Config) -> Result<()> {
        write_atomic(&self.path.join(CONFIG), config.to_annotated_toml().as_bytes())
    }

    /// The latest checkpoint.
    pub fn latest(&self) -> Result<Option<PathBuf>> {
        Ok(OnFile::of(&self.path).checkpoints()?.pop().map(|(_, path)| path))
    }

    /// Where to write the checkpoint of a step. The lines of the steps up to it are synced first: no
    /// checkpoint is ever on disk without them.
    pub fn checkpoint(&self, step: u32) -> Result<PathBuf> {
        for path in LINES.map(|name| self.path.join(name)).iter().filter(|p| exists(p)) {
            sync_file(path)?;
        }
        Ok(self.path.join(CHECKPOINTS).join(format!("step-{step:06}")))
    }

    /// Removes this run's checkpoints but the last `keep`. A run's checkpoints have its fingerprint; anything
    /// else among them, or inside one, is the user's.
    pub fn remove_older(&self, keep: usize, run: u32) -> Result<()> {
        let is_own = |(step, path): &(u32, PathBuf)| {
            let bytes = read(&path.join(STATE)).unwrap_or_default();
            let names = names_in(path).unwrap_or_default();
            serde_json::from_slice(&bytes).is_ok_and(|state: State| {
                let wrote = |name: &String| name == STATE || state.checksums.contains_key(name);
                state.run == run && state.step == *step && names.iter().all(wrote)
            })
        };
        let mut own = OnFile::of(&self.path).checkpoints()?;
        own.retain(is_own);
        own.truncate(own.len().saturating_sub(keep));
        own.iter().try_for_each(|(_, path)| remove_folder_atomic(path))
    }

    /// Where to write the best model so far.
    pub fn best(&self) -> PathBuf {
        self.path.join(BEST)
    }

    /// Says why the run cannot go on.
    pub fn write_diverged(&self, why: &str) -> Result<()> {
        write_atomic(&self.path.join(DIVERGED), format!("{why}\n").as_bytes())
    }

    /// Removes that file: the run goes on.
    pub fn remove_diverged(&self) -> Result<()> {
        remove_file(&self.path.join(DIVERGED))
    }

    /// Appends a step's metrics.
    pub fn append_step(&self, report: &StepReport) -> Result<()> {
        self.append(METRICS, report)
    }

    /// Appends an evaluation, of which there is at most one a step.
    pub fn append_evaluation(&self, evaluation: &Evaluation) -> Result<()> {
        self.append(EVALUATIONS, evaluation)
    }

    /// Writes every sample of an evaluation, a file a suite; not in a tab, where they would only take memory.
    pub fn write_samples(
        &self,
        step: u32,
        suites: &[Suite],
        samples: &[Vec<Sample>],
    ) -> Result<()> {
        write_suites(FolderWriter::begin(&samples_of(&self.path, step))?, suites, samples)
    }

    /// Appends a step's rollouts with their rewards.
    pub fn append_samples(&self, step: u32, groups: &[Group]) -> Result<()> {
        groups.iter().try_for_each(|group| self.append(SAMPLES, &SampledGroup::of(step, group)))
    }

    fn append(&self, name: &str, line: &impl Serialize) -> Result<()> {
        let line = serde_json::to_value(line).expect("a plain record");
        append(&self.path.join(name), format!("{line}\n").as_bytes())
    }

    /// The evaluations on file.
    pub fn evaluations(&self) -> Result<Vec<Evaluation>> {
        OnFile::of(&self.path).evaluations()
    }

    /// The step reports on file, which must be exactly those of steps 1 to `last`.
    pub fn steps(&self, last: u32) -> Result<Vec<StepReport>> {
        let reports = OnFile::of(&self.path).steps()?;
        if reports.iter().map(|r| r.step).eq(1..=last) {
            return Ok(reports);
        }
        Err(Error::input(format!("the lines are not the steps 1 to {last}"))
            .at(self.path.join(METRICS).display())
            .next("the file was altered: put it back, or start a new run from the checkpoint"))
    }

    /// Cuts the files of lines back to `step`: later steps will be done and written again.
    pub fn rewind(&self, step: u32) -> Result<()> {
        for path in LINES.map(|name| self.path.join(name)).iter().filter(|p| exists(p)) {
            let bytes = read(path)?;
            // A line that a crash cut short, perhaps within a character, does not parse and is dropped too.
            let is_kept = |line: &&[u8]| {
                let value: Option<Value> = serde_json::from_slice(line).ok();
                value.and_then(|v| v["step"].as_u64()).is_some_and(|s| s <= u64::from(step))
            };
            let lines = bytes.split(|&b| b == b'\n').filter(is_kept);
            let kept = lines.flat_map(|line| [line, &b"\n"[..]]).collect::<Vec<_>>().concat();
            if kept != bytes {
                write_atomic(path, &kept)?;
            }
        }
        Ok(())
    }

    /// Writes summary.json.
    pub fn write_summary(&self, summary: &Summary) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(summary).expect("a plain record");
        text.push(b'\n');
        write_atomic(&self.path.join(SUMMARY), &text)
    }
}
