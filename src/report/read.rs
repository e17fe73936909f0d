//! Reads run folders into plain records, with the analyses in them.

use crate::analysis::dynamics::Dynamics;
use crate::analysis::token_shift::TokenShift;
use crate::config::{Config, Objective};
use crate::error::Result;
use crate::metrics::StepReport;
use crate::platform::{exists, is_held, read_text};
use crate::run::{Evaluation, OnFile, SampledGroup, Summary, numbered};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Complete; with fewer updates than configured if `train.patience` ended it.
    Finished,
    /// A process is training in the folder now.
    Training,
    /// Incomplete, and nothing trains in the folder: it was stopped or crashed.
    Stopped,
    /// Its numbers were no longer finite; the weights trained before that are kept.
    Diverged,
}

/// A run as its folder describes it.
#[derive(Debug)]
pub struct RunRecord {
    /// The folder.
    pub path: PathBuf,
    /// Its name, unique in the report.
    pub name: String,
    /// The resolved settings.
    pub config: Config,
    /// Metrics, one per step.
    pub steps: Vec<StepReport>,
    /// Evaluations, the base's first.
    pub evaluations: Vec<Evaluation>,
    /// Sampled rollouts of some steps.
    pub samples: Vec<SampledGroup>,
    /// Its state.
    pub status: Status,
    /// What was no longer finite, if the run diverged.
    pub diverged: Option<String>,
    /// The summary, if the run is complete.
    pub summary: Option<Summary>,
    /// What it was computed on, `NAME (BACKEND)`; unknown before the first checkpoint.
    pub device: Option<String>,
    /// What training did to tokens' probabilities, if `srft analyze` wrote `token-shift.json`.
    pub shift: Option<TokenShift>,
    /// The run's path among other models, if `srft analyze` wrote `dynamics.json`.
    pub dynamics: Option<Dynamics>,
    /// Problems in the files.
    pub notes: Vec<String>,
}

/// File of the token shift in a run's folder.
pub const SHIFT: &str = "token-shift.json";
/// File of the learning dynamics in a run's folder.
pub const DYNAMICS: &str = "dynamics.json";

/// Reads the runs in `paths` and gives each a unique name.
pub fn read_runs(paths: &[PathBuf]) -> Result<Vec<RunRecord>> {
    let mut runs: Vec<RunRecord> = Vec::new();
    for path in paths {
        let name = numbered(&folder_name(path), |n| runs.iter().any(|r| r.name == n));
        runs.push(read_run(path, name)?);
    }
    Ok(runs)
}

/// The folder's own name, also for `.` and `runs/a/..`.
fn folder_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.into());
    whole.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned())
}

/// Reads the run in `path`.
fn read_run(path: &Path, name: String) -> Result<RunRecord> {
    let mut files = OnFile::of(path);
    let config = files.config()?;
    let (steps, evaluations, samples) = (files.steps()?, files.evaluations()?, files.samples()?);
    let done = steps.last().map_or(0, |r| r.step);
    let summary = files.summary()?.filter(|s| s.steps == done);
    let diverged = files.diverged()?;
    let status = match &summary {
        _ if diverged.is_some() => Status::Diverged,
        Some(_) => Status::Finished,
        None if is_held(path) => Status::Training,
        None => Status::Stopped,
    };
    let of_summary = summary.as_ref().map(|s| format!("{} ({})", s.device, s.backend));
    let device = of_summary.or_else(|| files.device());
    let mut notes = files.notes;
    let shift = analysis(&path.join(SHIFT), TokenShift::is_whole, &mut notes);
    let dynamics = analysis(&path.join(DYNAMICS), Dynamics::is_whole, &mut notes);
    Ok(RunRecord {
        path: path.into(),
        name,
        config,
        steps,
        evaluations,
        samples,
        status,
        diverged,
        summary,
        device,
        shift,
        dynamics,
        notes,
    })
}

/// An analysis, if there is one; a damaged one is skipped and noted.
fn analysis<T: for<'a> Deserialize<'a>>(
    path: &Path,
    is_whole: fn(&T) -> bool,
    notes: &mut Vec<String>,
) -> Option<T> {
    if !exists(path) {
        return None;
    }
    let read = || serde_json::from_str::<T>(&read_text(path).ok()?).ok().filter(is_whole);
    let whole = read();
    if whole.is_none() {
        let path = path.display();
        notes.push(format!("{path} was not written by srft analyze, and is left out"));
    }
    whole
}

impl RunRecord {
    /// Whether there can be no evaluation, since the user's data has no suite.
    pub fn has_no_suite(&self) -> bool {
        let data = &self.config.data;
        let names_none = !data.train.is_empty() && data.eval.is_empty();
        // The base is evaluated before the first step.
        let has_begun = self.updates() > 0 || self.status == Status::Finished;
        names_none && has_begun && self.evaluations.is_empty()
    }

    /// Updates done.
    pub fn updates(&self) -> u32 {
        self.steps.last().map_or(0, |r| r.step)
    }

    /// `srft, seed 0`.
    pub fn method(&self) -> String {
        format!("{}, seed {}", self.config.objective.method.name(), self.config.run.seed)
    }

    /// A metric over the steps where it has a value and a meaning under the objective.
    pub fn values(
        &self,
        value: fn(&StepReport) -> Option<f64>,
        acts: fn(&Objective) -> bool,
    ) -> Vec<(u32, f64)> {
        let [first, last] =
            [0, self.config.train.steps].map(|step| acts(&self.config.objective_at(step)));
        let acts = |step: u32| match first == last {
            true => first,
            false => acts(&self.config.objective_at(step.saturating_sub(1))),
        };
        let acting = self.steps.iter().filter(|r| acts(r.step));
        acting.filter_map(|r| Some((r.step, value(r)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::STATE;
    use crate::platform::write_atomic;
    use crate::records::{Demonstration, Episode, Example, Group, Unscored};
    use crate::run::{CHECKPOINTS, METRICS, RunFolder, SUMMARY, SampledEpisode};
    use std::fs;
    use std::io::Write;

    fn group(prompt: &str) -> Group {
        Group {
            example: Example {
                suite: "add".into(),
                prompt: prompt.into(),
                demonstration: Some("2+2>4".into()),
                answer: "4".into(),
                ..Example::default()
            },
            prompt_tokens: vec![1],
            episodes: vec![Episode {
                tokens: vec![3],
                logprobs: vec![-0.5],
                entropies: vec![0.1],
                truncated: true,
                response: "4\n\"".into(),
                reward: 0.5,
                right: true,
                ..Episode::default()
            }],
            demonstration: Some(Demonstration {
                tokens: vec![4],
                reward: Some(1.0),
                right: true,
                ..Default::default()
            }),
            unscored: vec![Unscored { why: "broken".into(), tokens: 3 }],
            ..Group::default()
        }
    }

    /// Writes a run as the trainer does: stopped after two of three steps.
    fn written(path: &Path) {
        let config = super::super::fixture::config(&["train.steps=3"]);
        let folder = RunFolder::create(path, &config).unwrap();
        for step in 1..=2 {
            folder.append_step(&StepReport { step, ..Default::default() }).unwrap();
            folder.append_samples(step, &[group("2+2="), group("1+3=")]).unwrap();
        }
        folder
            .append_evaluation(&Evaluation { step: 0, eval_secs: 0.5, scores: Vec::new() })
            .unwrap();
        assert_eq!(read(path).unwrap().status, Status::Training, "its folder is held");
    }

    fn read(path: &Path) -> Result<RunRecord> {
        Ok(read_runs(&[path.into()])?.remove(0))
    }

    #[test]
    fn what_the_trainer_writes_is_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("my run");
        written(&path);
        let run = read(&path).unwrap();
        assert_eq!((run.name.as_str(), run.status, run.updates()), ("my run", Status::Stopped, 2));
        assert_eq!((run.steps.len(), run.evaluations.len(), run.samples.len()), (2, 1, 4));
        let expected = SampledGroup {
            step: 1,
            suite: "add".into(),
            prompt: "2+2=".into(),
            answer: "4".into(),
            demonstration: Some("2+2>4".into()),
            demonstration_reward: Some(1.0),
            episodes: vec![SampledEpisode {
                response: "4\n\"".into(),
                reward: 0.5,
                right: true,
                truncated: true,
                ..SampledEpisode::default()
            }],
            unscored: vec!["broken".into()],
            ..SampledGroup::default()
        };
        assert_eq!(run.samples[0], expected);
        assert!(run.notes.is_empty() && run.summary.is_none() && run.device.is_none());
    }

    #[test]
    fn a_line_cut_short_is_left_out_and_told() {
        let home = tempfile::tempdir().unwrap();
        written(home.path());
        let path = home.path().join(METRICS);
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"step\": 3, \"lr\"").unwrap();
        let run = read(home.path()).unwrap();
        assert_eq!(run.steps.len(), 2);
        assert!(run.notes[0].contains("metrics.jsonl is cut short"), "{:?}", run.notes);
        // In the middle of the file, a crash can't be the cause.
        file.write_all(b"\n{}\n").unwrap();
        let message = read(home.path()).unwrap_err().to_string();
        assert!(message.contains("metrics.jsonl:3") && message.contains("next: "), "{message}");
    }

    #[test]
    fn a_checkpoint_names_the_device_and_damage_does_no_harm() {
        let home = tempfile::tempdir().unwrap();
        written(home.path());
        let checkpoints = home.path().join(CHECKPOINTS);
        for (name, text) in [
            ("step-000001", r#"{"device": "old"}"#),
            ("step-000002", r#"{"device": "CPU (flex)"}"#),
            ("step-000003.partial", r#"{"device": "half"}"#),
        ] {
            fs::create_dir(checkpoints.join(name)).unwrap();
            write_atomic(&checkpoints.join(name).join(STATE), text.as_bytes()).unwrap();
        }
        assert_eq!(read(home.path()).unwrap().device.as_deref(), Some("CPU (flex)"));
        write_atomic(&checkpoints.join("step-000002").join(STATE), b"{").unwrap();
        assert_eq!(read(home.path()).unwrap().device, None);
    }

    #[test]
    fn an_analysis_that_was_altered_is_left_out_and_told() {
        let home = tempfile::tempdir().unwrap();
        written(home.path());
        let path = home.path().join(SHIFT);
        let shift = super::super::fixture::shift("<b>");
        for (alter, kept) in [
            (None, true),
            (Some(("\"after\":[0.4,0.2]", "\"after\":[0.4]")), false),
            (Some(("\"base\":", "\"bass\":")), false),
        ] {
            let text = serde_json::to_string(&shift).unwrap();
            let altered = alter.map_or(text.clone(), |(old, new)| text.replace(old, new));
            assert_eq!(altered == text, kept);
            write_atomic(&path, altered.as_bytes()).unwrap();
            let run = read(home.path()).unwrap();
            assert_eq!((run.shift.is_some(), run.notes.is_empty()), (kept, kept), "{altered}");
        }
    }

    #[test]
    fn a_wrong_folder_says_which_are_right() {
        let home = tempfile::tempdir().unwrap();
        written(&home.path().join("a"));
        written(&home.path().join("b"));
        let message = read(home.path()).unwrap_err().to_string();
        let [a, b] = ["a", "b"].map(|n| home.path().join(n).display().to_string());
        assert!(message.contains(&format!("one of its runs: {a} {b}")), "{message}");
        let message = read(&home.path().join("none")).unwrap_err().to_string();
        assert!(message.contains("no such folder") && message.contains("next: "), "{message}");
        write_atomic(&home.path().join("a").join(SUMMARY), b"{}").unwrap();
        let message = read(&home.path().join("a")).unwrap_err().to_string();
        assert!(message.contains("summary.json"), "{message}");
    }

    #[test]
    fn runs_of_one_name_are_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let paths = ["x/run", "y/run"].map(|p| home.path().join(p));
        for path in &paths {
            fs::create_dir_all(path).unwrap();
            written(path);
        }
        let names: Vec<String> = read_runs(&paths).unwrap().into_iter().map(|r| r.name).collect();
        assert_eq!(names, ["run", "run-2"]);
    }
}
