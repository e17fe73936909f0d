//! A prompt with its rollouts and its demonstration: what advantages are taken over.

use crate::episode::Episode;
use crate::error::{OrRaise, input};
use crate::example::Example;
use crate::reward::{Judge, grades_of};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use srft::config::RewardValues;
use srft::data::encode::encode;
use srft::model::ModelConfig;
use srft::objective::advantage;
use srft::records::{self, Demonstration, Origin};
use srft::text::Tokenizer;

/// A prompt, its rollouts with their rewards, and its demonstration.
///
/// Rewards that are not given are the built-in verifier's, +1 or -1. Where no verdict is known, an
/// episode counts as right whose score is at least a half: a reward of 0 or more, or with
/// `objective.reward_values = "binary"` of 0.5 or more.
#[pyclass(frozen, module = "srft")]
pub struct Group {
    /// The problem.
    #[pyo3(get)]
    example: Py<Example>,
    /// Its rollouts.
    #[pyo3(get)]
    episodes: Vec<Py<Episode>>,
    /// Of the rollouts [G].
    #[pyo3(get)]
    rewards: Py<PyArray1<f64>>,
    /// Of the demonstration; None where there is none.
    #[pyo3(get)]
    demonstration_reward: Option<f64>,
    /// Whether each rollout is right, and last the demonstration, where a verifier said so.
    right: Option<Vec<bool>>,
    /// How it came into a step.
    origin: Origin,
}

#[pymethods]
impl Group {
    #[new]
    #[pyo3(signature = (example, episodes, rewards = None, demonstration_reward = None))]
    fn new(
        py: Python<'_>,
        example: Py<Example>,
        episodes: Vec<Py<Episode>>,
        rewards: Option<Vec<f64>>,
        demonstration_reward: Option<f64>,
    ) -> PyResult<Self> {
        let record = &example.get().0;
        let judge = Judge::default();
        let values = RewardValues::Signed;
        let rewards = match rewards {
            Some(rewards) => rewards,
            None => {
                let responses = episodes.iter().map(|e| e.get());
                let responses: Vec<_> =
                    responses.map(|e| (record, e.response.as_str(), !e.truncated)).collect();
                grades_of(py, &judge, &responses, values)?
            }
        };
        if rewards.len() != episodes.len() {
            return Err(input(
                format!("{} rewards for {} episodes", rewards.len(), episodes.len()),
                "give one an episode",
            ));
        }
        let demonstration_reward = match (demonstration_reward, &record.demonstration) {
            (_, None) => None,
            (Some(reward), _) => Some(reward),
            (None, Some(text)) => grades_of(py, &judge, &[(record, text, true)], values)?.pop(),
        };
        let origin = if episodes.is_empty() { Origin::Held } else { Origin::Drawn };
        let rewards = PyArray1::from_vec(py, rewards).unbind();
        Ok(Self { example, episodes, rewards, demonstration_reward, right: None, origin })
    }

    /// Â of the rollouts and, last, of the demonstration (Eqs. 6-7) [G + 1]: (r - mean) / (std + 1e-6)
    /// with the sample standard deviation; exactly 0 where all rewards are equal. Those of the default
    /// method, whatever the group was trained by: `loss(model, group, method).prompts` has a method's own.
    #[getter]
    fn advantages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let mut rewards = self.rewards.bind(py).to_vec()?;
        rewards.extend(self.demonstration_reward);
        Ok(PyArray1::from_vec(py, advantage::advantages(&rewards, true)))
    }

    fn __repr__(&self) -> String {
        let (example, episodes) = (&self.example.get().0, self.episodes.len());
        format!("Group({:?}, {episodes} episodes)", example.prompt)
    }
}

impl Group {
    /// The record for a model.
    pub fn record(
        &self,
        py: Python<'_>,
        tokenizer: &Tokenizer,
        model: &ModelConfig,
        values: RewardValues,
    ) -> PyResult<records::Group> {
        let example = self.example.get().0.clone();
        let encoded = encode(tokenizer, &model.eos_tokens, &example).or_raise()?;
        let rewards = self.rewards.bind(py).to_vec()?;
        let all = rewards.iter().copied().chain(self.demonstration_reward);
        let right = self.right.clone();
        let right = right.unwrap_or_else(|| all.map(|r| values.is_right(r as f32)).collect());
        let scored = self.episodes.iter().zip(rewards).zip(&right);
        let episodes: Vec<_> = scored
            .map(|((e, reward), &right)| e.get().record(py, reward, right))
            .collect::<PyResult<_>>()?;
        let demonstration = encoded.demonstration.map(|tokens| Demonstration {
            tokens,
            reward: self.demonstration_reward.map(|reward| reward as f32),
            right: right.get(episodes.len()).is_some_and(|&right| right),
        });
        let lengths = episodes.iter().map(|e| e.tokens.len());
        for length in lengths.chain(demonstration.iter().map(|d| d.tokens.len())) {
            model.require_fits(encoded.prompt.len(), length).or_raise()?;
        }
        let uneven = |e: &&records::Episode| e.logprobs.len() != e.tokens.len();
        if let Some(episode) = episodes.iter().find(uneven) {
            return Err(input(
                format!("{} log-probabilities", episode.logprobs.len()),
                &format!("one for each of the {} tokens", episode.tokens.len()),
            ));
        }
        Ok(records::Group {
            origin: self.origin,
            example,
            prompt_tokens: encoded.prompt,
            learned: encoded.learned,
            episodes,
            demonstration,
            unscored: Vec::new(),
            unscored_demo: None,
        })
    }

    /// From what a step trained on.
    pub fn of(py: Python<'_>, group: records::Group) -> PyResult<Self> {
        let rewards = group.episodes.iter().map(|e| f64::from(e.reward)).collect();
        let shown = group.demonstration.as_ref().map(|d| d.right);
        let right = group.episodes.iter().map(|e| e.right).chain(shown).collect();
        let episodes = group.episodes.into_iter();
        Ok(Self {
            example: Py::new(py, Example(group.example))?,
            episodes: episodes
                .map(|e| Py::new(py, Episode::new(py, e)))
                .collect::<PyResult<_>>()?,
            rewards: PyArray1::from_vec(py, rewards).unbind(),
            demonstration_reward: group.demonstration.and_then(|d| d.reward).map(f64::from),
            right: Some(right),
            origin: group.origin,
        })
    }
}
