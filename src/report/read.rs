//! Run folders as plain records. Nothing is locked or changed: a run may go on meanwhile, and one
//! that crashed is read as far as it came.

use crate::analysis::dynamics::Dynamics;
use crate::analysis::token_shift::TokenShift;
use crate::checkpoint::STATE;
use crate::config::{Config, Objective};
use crate::error::{Error, Result};
use crate::metrics::StepReport;
use crate::platform::{exists, is_held, names_in, read, read_text};
use crate::run::{
    CHECKPOINTS, CONFIG, DIVERGED, EVALUATIONS, Evaluation, METRICS, RunFolder, SAMPLES, SUMMARY,
    Summary, numbered, parse_lines,
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
    /// Not to its end, and nothing trains in it: it was stopped or crashed.
    Stopped,
    /// Its numbers were no longer finite; what it trained before that is kept.
    Diverged,
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
    /// What was no longer finite, of a run that diverged.
    pub diverged: Option<String>,
    /// The summary, of a run that came to its end.
    pub summary: Option<Summary>,
    /// What it was computed on, `NAME (BACKEND)`; unknown before the first checkpoint.
    pub device: Option<String>,
    /// What training did to tokens' probabilities, where `srft analyze` left it as `token-shift.json`.
    pub shift: Option<TokenShift>,
    /// The run's way among other models, where `srft analyze` left it as `dynamics.json`.
    pub dynamics: Option<Dynamics>,
    /// What was amiss in the files.
    pub notes: Vec<String>,
}

/// Where a run's folder may hold its token shift.
pub const SHIFT: &str = "token-shift.json";
/// Where a run's folder may hold its learning dynamics.
pub const DYNAMICS: &str = "dynamics.json";

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
    /// What the verifier gave the demonstration; `None` where the method takes none or it was not judged.
    pub demonstration_reward: Option<f32>,
    /// The rollouts.
    pub episodes: Vec<SampledEpisode>,
    /// Why rollouts are missing: the verifier failed on them.
    pub unscored: Vec<String>,
    /// Why the demonstration was not judged, where the verifier failed on it.
    #[serde(default)]
    pub unscored_demonstration: Option<String>,
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
    let diverged = match exists(&path.join(DIVERGED)) {
        true => Some(read_text(&path.join(DIVERGED))?.trim().to_string()),
        false => None,
    };
    let status = match &summary {
        _ if diverged.is_some() => Status::Diverged,
        Some(_) => Status::Finished,
        None if is_held(path) => Status::Training,
        None => Status::Stopped,
    };
    let shift = analysis(&path.join(SHIFT), TokenShift::is_whole, &mut notes);
    let dynamics = analysis(&path.join(DYNAMICS), Dynamics::is_whole, &mut notes);
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
        diverged,
        summary,
        device,
        shift,
        dynamics,
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
    let bytes = read(path)?;
    // Cut within a character it is not even text.
    let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
    if whole < bytes.len() {
        notes.push(format!("the last line of {} is cut short and left out", path.display()));
    }
    parse_lines(path, &bytes[..whole])
}

/// An analysis, if there is one; one that is damaged is left out and noted.
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
        notes.push(format!("{path} is not what srft analyze writes, and is left out"));
    }
    whole
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
    /// Whether no evaluation will come, since the user's data have no suite.
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

    /// A metric over its steps, without those that have no value or where the objective gives it no meaning.
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
    use crate::platform::write_atomic;
    use crate::records::{Demonstration, Episode, Example, Group, Layout, Origin, Unscored};
    use std::fs;
    use std::io::Write;

    fn group(prompt: &str) -> Group {
        Group {
            origin: Origin::Drawn,
            example: Example {
                suite: "add".into(),
                prompt: prompt.into(),
                demonstration: Some("2+2>4".into()),
                answer: "4".into(),
                layout: Layout::default(),
                extra: Default::default(),
            },
            prompt_tokens: vec![1],
            learned: Vec::new(),
            episodes: vec![Episode {
                prompt: 0,
                sample: 0,
                tokens: vec![3],
                logprobs: vec![-0.5],
                entropies: vec![0.1],
                truncated: true,
                response: "4\n\"".into(),
                reward: 0.5,
                right: true,
                loose_only: false,
            }],
            demonstration: Some(Demonstration {
                tokens: vec![4],
                reward: Some(1.0),
                right: true,
                ..Default::default()
            }),
            unscored: vec![Unscored { why: "broken".into(), tokens: 3 }],
            unscored_demo: None,
        }
    }

    /// A run of two steps of three, as the trainer writes it, which has just been stopped.
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
            }],
            unscored: vec!["broken".into()],
            unscored_demonstration: None,
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
        // In the middle it is no crash's doing.
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
        assert!(message.contains(&format!("srft report {a} {b}")), "{message}");
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
