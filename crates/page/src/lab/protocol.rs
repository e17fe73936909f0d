//! What a page and the trainer say to each other: one record a message, as JSON.
//!
//! `web/package/protocol.d.ts` is generated from this file and `views`; a test holds the two together.
//! Bytes of files travel beside a message, not in it.

mod facts;
mod views;

pub use facts::*;
pub use views::*;

use crate::error::{Error, Kind};
use crate::metrics::StepReport;
use serde::{Deserialize, Serialize};

/// From the page.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Brings a file, whose bytes come with the message, for the page of published models; without
    /// bytes one of ours, by its name.
    Bring {
        /// Its name, with folders if it has any: a path in the settings.
        name: String,
    },
    /// Looks at a model that was brought; answered by `facts`, or by an error that says what is wrong with it.
    Look(Look),
    /// Says which of the runs of the next `start` or `load` this worker makes; unless said, all of them.
    Share(Share),
    /// Opens a device, tests its kernels and makes the runs; answered by `ready`.
    Start(Start),
    /// Steps until every run has done so many, then pauses.
    Step {
        /// So many; unless given, one more than the run that has done the fewest.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        to: Option<u32>,
    },
    /// Steps until paused, stopped or done.
    Resume,
    /// Stops after the present step; answered by `state`.
    Pause,
    /// Ends the runs; their weights are dropped. `start` or `load` begin anew.
    Stop,
    /// Evaluates the base and every run now, in slices between which other commands are heard;
    /// answered by an `evaluation` each.
    Evaluate {
        /// Suites by name; none: all.
        suites: Vec<String>,
        /// Problems a suite.
        examples: u32,
    },
    /// Ends the evaluation under way; models that are not through get no `evaluation`.
    Cancel,
    /// The base and every run answer a prompt; answered by `sample`.
    Ask {
        /// The prompt, for example `59+63=`.
        prompt: String,
        /// 0 is greedy.
        temperature: f64,
        /// Most tokens of an answer; unless given, those of a rollout.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(optional))]
        tokens: Option<u32>,
    },
    /// Takes a group of a run's last step apart; answered by `group`.
    Inspect {
        /// Which run.
        run: u32,
        /// Index of the prompt within the step.
        prompt: u32,
    },
    /// Packs the run folders into a file; answered by `saved` and its bytes.
    Save {
        /// With each run's adapter for other programs: in PEFT's layout, and as GGUF for llama.cpp.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(optional, as = "Option<bool>"))]
        adapters: bool,
    },
    /// Takes up the runs of a file, whose bytes come with the message; answered by `ready`.
    Load {
        /// `auto`, `cpu`, `webgpu` or `webgpu-saving`.
        device: String,
        /// `section.key=value` for every run, of what a resumed run may change.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(optional, as = "Option<Vec<String>>"))]
        settings: Vec<String>,
    },
}

/// Which model to look at, and how it is to be trained.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// The file or folder that was brought.
    pub model: String,
    /// `auto`, `cpu`, `webgpu` or `webgpu-saving`; `auto` is taken for the CPU.
    pub device: String,
    /// `section.key=value`, over the preset of such a device.
    pub settings: Vec<String>,
}

/// Which of the runs a worker makes, where several workers share them: every `of`th, from `part` on. A GPU's worker
/// makes all of them, and so does one whose runs differ in more than what their methods are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Which worker this is, from 0 on.
    pub part: u32,
    /// How many there are.
    pub of: u32,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// `auto` (a real GPU, else the CPU), `cpu`, `webgpu` (a software adapter too; of two GPUs the faster) or
    /// `webgpu-saving` (the other of two).
    pub device: String,
    /// `section.key=value` for every run, over the preset that the device gets.
    pub settings: Vec<String>,
    /// The runs, in the order they are shown.
    pub runs: Vec<RunRequest>,
}

/// One run of several.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// `srft`, `sft`, `grpo`, …: see `srft config`.
    pub method: String,
    /// `section.key=value` for this run alone.
    pub settings: Vec<String>,
}

/// To the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// What there is to say of a model.
    Facts(Facts),
    /// The runs are there, paused.
    Ready(Ready),
    /// What the trainer is doing.
    State {
        /// Playing, paused, done or stopped.
        state: State,
        /// Steps that every run has done.
        step: u32,
    },
    /// A run has done a step.
    Step {
        /// Which run.
        run: u32,
        /// Its metrics: a line of `metrics.jsonl`.
        #[cfg_attr(feature = "typescript", ts(type = "StepReport"))]
        report: StepReport,
    },
    /// A run's view of the probes.
    Strip {
        /// Which run.
        run: u32,
        /// Steps done.
        step: u32,
        /// One a probe, in the order of `ready`.
        probes: Vec<TokenScores>,
        /// Mean |Δ ln p| from the base over all tokens of all probes, nats.
        shift: f64,
    },
    /// An evaluation: pass@1 by sampling.
    Evaluation {
        /// Which run; the base's where there is none.
        run: Option<u32>,
        /// Steps done; 0 is the base.
        step: u32,
        /// Suite by suite.
        scores: Vec<Score>,
        /// Asked for, rather than due by `eval.every`.
        asked: bool,
    },
    /// How far the evaluation is that was asked for.
    Evaluating {
        /// Problems done, of all models together.
        done: u32,
        /// Of so many.
        of: u32,
    },
    /// A group, taken apart.
    Group(GroupView),
    /// Answers to a prompt: the base's, then each run's.
    Sample {
        /// The prompt.
        prompt: String,
        /// The answers.
        answers: Vec<Answer>,
    },
    /// The runs as a file, whose bytes come with the message: a zip of run folders that
    /// `srft train --resume` takes up.
    Saved {
        /// A name for the file.
        name: String,
        /// Steps done.
        step: u32,
    },
    /// Something went wrong.
    Error(Complaint),
}

/// What the trainer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Stepping.
    Playing,
    /// Waiting.
    Paused,
    /// Every run is at its last step.
    Done,
    /// There are no runs.
    Stopped,
}

/// An error as the page shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Complaint {
    /// `input`, `machine`, `numbers` or `interrupted`.
    pub kind: String,
    /// What failed, with expected and actual values.
    pub what: String,
    /// Where.
    pub place: Option<String>,
    /// What to do next.
    pub next: Option<String>,
    /// The trainer cannot go on: it takes a fresh worker and the last checkpoint.
    pub fatal: bool,
}

impl From<&Error> for Complaint {
    fn from(e: &Error) -> Self {
        let kind = match e.kind {
            Kind::Input => "input",
            Kind::Machine => "machine",
            Kind::Numbers => "numbers",
            Kind::Interrupted => "interrupted",
        };
        Self {
            kind: kind.into(),
            what: e.what.clone(),
            place: e.place.clone(),
            next: e.next.clone(),
            fatal: e.kind == Kind::Machine,
        }
    }
}
