//! `summary.json`: what a run did, on which device, how fast, and with what result.

use crate::config::Config;
use crate::device::Selected;
use crate::eval::Score;
use crate::metrics::StepReport;
use crate::platform::peak_memory_bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A suite before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteSummary {
    /// Whether the suite is absent from fine-tuning.
    pub ood: bool,
    /// Number of problems.
    pub n: usize,
    /// Accuracy of the base.
    pub base: f64,
    /// Accuracy at the end.
    #[serde(rename = "final")]
    pub last: f64,
}

/// The summary of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The method's name.
    pub method: String,
    /// Seed.
    pub seed: u64,
    /// The adapter's name, or the CPU's.
    pub device: String,
    /// flex, vulkan, metal, dx12, gl.
    pub backend: String,
    /// Version of srft.
    pub version: String,
    /// Updates done.
    pub steps: u32,
    /// Sampling and scoring, seconds.
    pub rollout_secs: f64,
    /// Updates, seconds.
    pub train_secs: f64,
    /// Evaluations, seconds.
    pub eval_secs: f64,
    /// Writing metrics, samples and checkpoints, seconds.
    pub other_secs: f64,
    /// Tokens sampled in training.
    pub rollout_tokens: u64,
    /// Response tokens trained on.
    pub trained_tokens: u64,
    /// Sampling speed.
    pub rollout_tokens_per_sec: f64,
    /// Training speed.
    pub trained_tokens_per_sec: f64,
    /// Peak resident memory of the process, bytes; null if the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// Suites before and after.
    pub suites: BTreeMap<String, SuiteSummary>,
}

impl Summary {
    /// An empty summary.
    pub fn new(config: &Config, selected: &Selected) -> Self {
        Self {
            method: config.objective.method.name().into(),
            seed: config.run.seed,
            device: selected.name.clone(),
            backend: selected.backend.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            steps: 0,
            rollout_secs: 0.0,
            train_secs: 0.0,
            eval_secs: 0.0,
            other_secs: 0.0,
            rollout_tokens: 0,
            trained_tokens: 0,
            rollout_tokens_per_sec: 0.0,
            trained_tokens_per_sec: 0.0,
            peak_memory_bytes: None,
            suites: BTreeMap::new(),
        }
    }

    /// Adds a step.
    pub fn add(&mut self, report: &StepReport) {
        self.rollout_secs += report.rollout_secs;
        self.train_secs += report.train_secs;
        self.rollout_tokens += report.rollout_tokens;
        self.trained_tokens += report.trained_tokens;
    }

    /// Records an evaluation: step 0 is the base's, the latest one counts as the end.
    pub fn record(&mut self, step: u32, scores: &[Score]) {
        for s in scores {
            let fresh = SuiteSummary { ood: s.ood, n: s.n, base: s.accuracy, last: s.accuracy };
            let suite = self.suites.entry(s.suite.clone()).or_insert(fresh);
            suite.last = s.accuracy;
            if step == 0 {
                suite.base = s.accuracy;
            }
        }
    }

    /// Completes the summary after `steps` updates.
    pub fn finish(&mut self, steps: u32) {
        let rate = |tokens: u64, secs: f64| if secs > 0.0 { tokens as f64 / secs } else { 0.0 };
        self.steps = steps;
        self.rollout_tokens_per_sec = rate(self.rollout_tokens, self.rollout_secs);
        self.trained_tokens_per_sec = rate(self.trained_tokens, self.train_secs);
        self.peak_memory_bytes = peak_memory_bytes();
    }
}
