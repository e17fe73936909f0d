//! `samples.jsonl`: groups as text, a line for each prompt of a step.

use crate::config::Objective;
use crate::records::{Demonstration, Episode, Example, Group, Origin};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A prompt of a step with its rollouts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SampledGroup {
    /// The update that they were drawn for, from 1.
    pub step: u32,
    /// Suite of the problem.
    pub suite: String,
    /// The prompt as the model reads it.
    pub prompt: String,
    /// Whether a chat template wrote it, special tokens included.
    #[serde(default)]
    pub templated: bool,
    /// The gold answer.
    pub answer: String,
    /// The teacher's response.
    pub demonstration: Option<String>,
    /// The demonstration's reward; `None` if the method uses none or it was not judged.
    pub demonstration_reward: Option<f32>,
    /// The rollouts.
    pub episodes: Vec<SampledEpisode>,
    /// Why rollouts are missing: the verifier failed on them.
    pub unscored: Vec<String>,
    /// Why the demonstration was not judged, if the verifier failed on it.
    #[serde(default)]
    pub unscored_demonstration: Option<String>,
}

/// A rollout in `samples.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SampledEpisode {
    /// The response as text, without end-of-text.
    pub response: String,
    /// The beginning of it that the demonstration gave, as text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub given: String,
    /// Its reward.
    pub reward: f32,
    /// Each reward's score by its name; empty where the answer is all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, f64>,
    /// Whether its answer is right.
    pub right: bool,
    /// Whether the length limit cut it.
    pub truncated: bool,
}

impl SampledGroup {
    /// The line for a group of a step.
    pub fn of(step: u32, group: &Group) -> Self {
        let episode = |e: &Episode| SampledEpisode {
            response: e.response.clone(),
            given: e.given_text.clone(),
            reward: e.reward,
            scores: e.scores.clone(),
            right: e.right,
            truncated: e.truncated,
        };
        let Example { suite, prompt, demonstration, answer, layout, .. } = group.example.clone();
        Self {
            step,
            suite,
            prompt,
            templated: layout.templated,
            answer,
            demonstration,
            demonstration_reward: group.demonstration.as_ref().and_then(|d| d.reward),
            episodes: group.episodes.iter().map(episode).collect(),
            unscored: group.unscored.iter().map(|u| u.why.clone()).collect(),
            unscored_demonstration: group.unscored_demo.clone(),
        }
    }

    /// The group as the trainer had it, but with a single token for each response, since the file has only
    /// text. That changes the terms' sizes, but neither Â nor which terms act and with which sign.
    pub fn as_trained(&self, objective: &Objective) -> Group {
        let episode = |(sample, e): (usize, &SampledEpisode)| Episode {
            sample,
            tokens: vec![0],
            logprobs: vec![0.0],
            entropies: vec![0.0],
            truncated: e.truncated,
            response: e.response.clone(),
            given: usize::from(!e.given.is_empty()),
            given_text: e.given.clone(),
            given_logprobs: vec![0.0],
            given_entropies: vec![0.0],
            reward: e.reward,
            scores: e.scores.clone(),
            right: e.right,
            ..Episode::default()
        };
        // The file has the demonstration's reward but not its verdict.
        let demonstration = |_: &String| Demonstration {
            tokens: vec![0; 2], // so that one may be given
            reward: self.demonstration_reward,
            right: self.demonstration_reward.is_some_and(|r| objective.reward_values.is_right(r)),
            ..Demonstration::default()
        };
        let is_held = self.episodes.is_empty() && self.unscored.is_empty();
        Group {
            origin: if is_held { Origin::Held } else { Origin::Drawn },
            example: Example {
                suite: self.suite.clone(),
                prompt: self.prompt.clone(),
                demonstration: self.demonstration.clone(),
                answer: self.answer.clone(),
                ..Example::default()
            },
            prompt_tokens: vec![0],
            episodes: self.episodes.iter().enumerate().map(episode).collect(),
            demonstration: self.demonstration.as_ref().map(demonstration),
            ..Group::default()
        }
    }
}
