//! A prompt with its rollouts and its demonstration: what advantages are taken over.

use crate::convert::float_list;
use crate::episode::Episode;
use crate::error::{OrRaise, input};
use crate::example::{Example, Extras};
use crate::model::Model;
use crate::reward::{Judge, grades_of};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use srft::config::RewardValues;
use srft::data::encode::encode;
use srft::objective::advantage;
use srft::records::{self, Demonstration, Origin};

/// A prompt, its rollouts with their rewards, and its demonstration.
///
/// Rewards that are not given are those of `reward`, a function or a verifier's name as `rewards` takes it, or
/// of the built-in task's verifier: +1 or -1. Episodes that were asked something else are refused. `right` is
/// a verdict for each episode and last the demonstration; where there is none, an episode counts as right
/// whose score is at least a half: a reward of 0 or more, or with `objective.reward_values = "binary"` of 0.5
/// or more.
#[pyclass(frozen, weakref, module = "srft")]
pub struct Group {
    /// The problem.
    #[pyo3(get)]
    example: Py<Example>,
    /// Its rollouts.
    #[pyo3(get)]
    episodes: Vec<Py<Episode>>,
    /// Of the rollouts [G], not to be written into: make another group for other rewards.
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
    #[pyo3(signature = (
        example, episodes, rewards = None, demonstration_reward = None, *, reward = None, right = None
    ))]
    fn new(
        py: Python<'_>,
        example: Py<Example>,
        episodes: Vec<Py<Episode>>,
        rewards: Option<&Bound<'_, PyAny>>,
        demonstration_reward: Option<f64>,
        reward: Option<&Bound<'_, PyAny>>,
        right: Option<Vec<bool>>,
    ) -> PyResult<Self> {
        let asked = episodes.iter().find_map(|e| e.get().asked.as_deref());
        let mut extras = Extras::default();
        let record = &extras.keep_judged(py, example.get(), asked);
        check_asked(&episodes, &record.prompt)?;
        let judge = Judge::of(reward, extras)?;
        let values = RewardValues::Signed;
        let rewards = match rewards {
            Some(rewards) => float_list(rewards, "rewards")?,
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
                "give one per episode",
            ));
        }
        let demonstration_reward = match (demonstration_reward, &record.demonstration) {
            (None, None) => None,
            (Some(reward), Some(_)) if reward.is_finite() => Some(reward),
            (Some(reward), Some(_)) => {
                let what = format!("the demonstration's reward is {reward}");
                return Err(input(what, "give a finite one"));
            }
            (Some(_), None) => {
                let next = "give the example its demonstration, or leave the reward out";
                return Err(input("a demonstration's reward is given, but no demonstration", next));
            }
            (None, Some(text)) => grades_of(py, &judge, &[(record, text, true)], values)?.pop(),
        };
        let given = right.as_ref().map_or(episodes.len(), Vec::len);
        if given != episodes.len() && given != episodes.len() + 1 {
            return Err(input(
                format!("{given} verdicts for {} episodes", episodes.len()),
                "give one per episode, and one for the demonstration if there is one",
            ));
        }
        let origin = if episodes.is_empty() { Origin::Held } else { Origin::Drawn };
        let rewards = read_only(py, rewards);
        Ok(Self { example, episodes, rewards, demonstration_reward, right, origin })
    }

    /// Whether each rollout, and last the demonstration, counts as right: what methods that look at
    /// solved prompts go by; None where that is left to the rewards.
    #[getter]
    fn right(&self) -> Option<Vec<bool>> {
        self.right.clone()
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let episodes: Vec<_> = self.episodes.iter().map(|e| e.clone_ref(py)).collect();
        let given = (&self.example, episodes, &self.rewards, self.demonstration_reward);
        let named = PyDict::new(py);
        named.set_item("right", self.right.clone())?;
        Ok((given.into_pyobject(py)?, named))
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
        let (example, episodes) = (self.example.get().judged(None), self.episodes.len());
        format!("Group({:?}, {episodes} episodes)", example.prompt)
    }
}

impl Group {
    /// The record for a model.
    pub fn record(
        &self,
        py: Python<'_>,
        of: &Model,
        values: RewardValues,
    ) -> PyResult<records::Group> {
        let model = &of.policy.config;
        let example = self.example.get().written(&of.folder, true).or_raise()?;
        check_asked(&self.episodes, &example.prompt)?;
        let encoded = encode(&of.tokenizer, &model.eos_tokens, &example).or_raise()?;
        if self.episodes.iter().any(|e| e.get().vocabulary.is_some_and(|v| v != of.vocabulary)) {
            return Err(input(
                format!("an episode for {:?} was sampled with another tokenizer", example.prompt),
                "roll out with the same model as for the loss",
            ));
        }
        let rewards = self.rewards.bind(py).to_vec()?;
        let all = rewards.iter().copied().chain(self.demonstration_reward);
        let right = self.right.clone();
        let right = right.unwrap_or_else(|| all.map(|r| values.is_right(r as f32)).collect());
        let scored = self.episodes.iter().zip(rewards).zip(&right);
        let mut episodes: Vec<_> = scored
            .map(|((e, reward), &right)| e.get().record(py, reward, right))
            .collect::<PyResult<_>>()?;
        let (prompt, read) = (encoded.prompt.len(), encoded.read());
        let demonstration = encoded.demonstration.map(|tokens| Demonstration {
            tokens,
            earlier: encoded.earlier,
            reward: self.demonstration_reward.map(|reward| reward as f32),
            right: right.get(episodes.len()).is_some_and(|&right| right),
        });
        // In a demonstration of several turns others speak, too.
        let shown = demonstration.as_ref().filter(|d| d.earlier.is_empty());
        let shown = shown.map_or(&[][..], |d| &d.tokens);
        for episode in &mut episodes {
            let given = episode.given;
            if given > 0 && given >= shown.len() {
                return Err(input(
                    format!(
                        "an episode has {given} given tokens of a demonstration of {}",
                        shown.len()
                    ),
                    "give the example the demonstration that it began with; its last token is never given",
                ));
            }
            episode.given_text = of.tokenizer.decode(&shown[..given]);
            model.require_fits(prompt + given, episode.tokens.len()).or_raise()?;
        }
        if let Some(shown) = &demonstration {
            model.require_fits(read, shown.tokens.len()).or_raise()?;
        }
        episodes.iter().try_for_each(|e| of.check_ids(&e.tokens))?;
        Ok(records::Group {
            origin: self.origin,
            example,
            prompt_tokens: encoded.prompt,
            learned: encoded.learned,
            episodes,
            demonstration,
            ..Default::default()
        })
    }

    /// From what a step trained on.
    pub fn of(
        py: Python<'_>,
        group: records::Group,
        extras: &Extras,
        vocabulary: u64,
    ) -> PyResult<Self> {
        let rewards = group.episodes.iter().map(|e| f64::from(e.reward)).collect();
        let shown = group.demonstration.as_ref().map(|d| d.right);
        let right = group.episodes.iter().map(|e| e.right).chain(shown).collect();
        let asked = &group.example.prompt;
        let episode = |e| Py::new(py, Episode::of(py, e, asked, vocabulary));
        Ok(Self {
            episodes: group.episodes.into_iter().map(episode).collect::<PyResult<_>>()?,
            example: Py::new(py, extras.example(py, &group.example)?)?,
            rewards: read_only(py, rewards),
            demonstration_reward: group.demonstration.and_then(|d| d.reward).map(f64::from),
            right: Some(right),
            origin: group.origin,
        })
    }
}

/// Refuses episodes that answer something else.
fn check_asked(episodes: &[Py<Episode>], prompt: &str) -> PyResult<()> {
    let others = |e: &&Py<Episode>| e.get().asked.as_ref().is_some_and(|asked| asked != prompt);
    match episodes.iter().find(others) {
        None => Ok(()),
        Some(other) => Err(input(
            format!(
                "an episode of a group on {prompt:?} answers {:?}",
                other.get().asked.as_deref().unwrap_or_default()
            ),
            "give each group its own: [e for e in episodes if e.prompt == i]",
        )),
    }
}

fn read_only(py: Python<'_>, values: Vec<f64>) -> Py<PyArray1<f64>> {
    let array = PyArray1::from_vec(py, values);
    array.readwrite().make_nonwriteable();
    array.unbind()
}
