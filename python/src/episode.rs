//! Rollouts.

use crate::error::OrRaise;
use crate::example::Example;
use crate::model::Model;
use numpy::{PyArray1, PyArrayMethods};
use pollster::block_on;
use pyo3::prelude::*;
use srft::config::Config;
use srft::data::encode::encode;
use srft::ops::sampling::Sampling;
use srft::records::{self, Layout};
use srft::rollout::{Plan, Stops, respond};

/// A sampled response with what the policy thought of each of its tokens.
///
/// The arrays are shared with the object: what is written into them is what `loss` reads.
#[pyclass(frozen, module = "srft")]
pub struct Episode {
    /// Index of the prompt it answers.
    #[pyo3(get)]
    pub prompt: usize,
    /// Index within its group, 0 to G - 1.
    #[pyo3(get)]
    pub sample: usize,
    /// Token ids [N], end-of-text included where the policy came to it.
    #[pyo3(get)]
    pub tokens: Py<PyArray1<u32>>,
    /// ln π of each token at temperature 1 when it was sampled [N], nats.
    #[pyo3(get)]
    pub logprobs: Py<PyArray1<f32>>,
    /// Entropy of π over the whole vocabulary where each was sampled [N], nats.
    #[pyo3(get)]
    pub entropies: Py<PyArray1<f32>>,
    /// Whether the length limit cut it.
    #[pyo3(get)]
    pub truncated: bool,
    /// The text, without end-of-text.
    #[pyo3(get)]
    pub response: String,
}

impl Episode {
    /// Takes the record's arrays over.
    pub fn new(py: Python<'_>, episode: records::Episode) -> Self {
        Self {
            prompt: episode.prompt,
            sample: episode.sample,
            tokens: PyArray1::from_vec(py, episode.tokens).unbind(),
            logprobs: PyArray1::from_vec(py, episode.logprobs).unbind(),
            entropies: PyArray1::from_vec(py, episode.entropies).unbind(),
            truncated: episode.truncated,
            response: episode.response,
        }
    }

    /// The record, with what it earned.
    pub fn record(&self, py: Python<'_>, reward: f64, right: bool) -> PyResult<records::Episode> {
        Ok(records::Episode {
            prompt: self.prompt,
            sample: self.sample,
            tokens: self.tokens.bind(py).to_vec()?,
            logprobs: self.logprobs.bind(py).to_vec()?,
            entropies: self.entropies.bind(py).to_vec()?,
            truncated: self.truncated,
            response: self.response.clone(),
            reward: reward as f32,
            right,
        })
    }
}

#[pymethods]
impl Episode {
    fn __repr__(&self) -> String {
        let Self { prompt, sample, response, truncated, .. } = self;
        let cut = if *truncated { ", truncated=True" } else { "" };
        format!("Episode(prompt={prompt}, sample={sample}, response={response:?}{cut})")
    }
}

/// What a model is asked.
#[derive(FromPyObject)]
pub enum Prompt<'py> {
    /// As an example.
    Example(Bound<'py, Example>),
    /// As text.
    Text(String),
}

impl Prompt<'_> {
    /// An example with that prompt.
    pub fn record(&self) -> records::Example {
        match self {
            Self::Example(example) => example.get().0.clone(),
            Self::Text(prompt) => records::Example {
                suite: String::new(),
                prompt: prompt.clone(),
                demonstration: None,
                answer: String::new(),
                layout: Layout::default(),
                extra: Default::default(),
            },
        }
    }
}

/// Samples `group` responses to each prompt (texts, or `Example`s): a list of `Episode`s in the order
/// of (prompt, sample).
///
/// The draws are a function of (seed, prompt, sample, position), so the same call gives the same
/// episodes. A `max_new_tokens` of None is the config's default; `temperature` 0 is greedy.
#[pyfunction]
#[pyo3(signature = (
    model, prompts, group = 8, seed = 0, *, temperature = 1.0, top_k = 0, top_p = 1.0, min_p = 0.0,
    max_new_tokens = None
))]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn rollout(
    py: Python<'_>,
    model: &Bound<'_, Model>,
    prompts: Vec<Prompt<'_>>,
    group: usize,
    seed: u64,
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    max_new_tokens: Option<usize>,
) -> PyResult<Vec<Episode>> {
    let sampling = Sampling { temperature, top_k, top_p, min_p }.checked().or_raise()?;
    let examples: Vec<records::Example> = prompts.iter().map(Prompt::record).collect();
    let model = model.get();
    let (policy, tokenizer) = (&model.policy, &model.tokenizer);
    let max_new_tokens = max_new_tokens.unwrap_or_else(|| Config::default().rollout.max_new_tokens);
    let sampled = py.detach(|| {
        let eos_tokens = &policy.config.eos_tokens;
        let prompts = examples.iter().map(|e| Ok(encode(tokenizer, eos_tokens, e)?.prompt));
        let prompts = prompts.collect::<srft::error::Result<Vec<_>>>()?;
        let plan = Plan {
            group,
            sampling,
            max_new_tokens,
            eos_tokens,
            stops: Stops::default(),
            slots: 0,
            seed,
            step: 0,
        };
        block_on(respond(policy, &prompts, &plan))
    });
    let episode = |response: srft::rollout::Response| {
        let text = tokenizer.decode(&response.tokens);
        Episode::new(py, response.into_episode(text, 0.0, false)) // nobody has judged it yet
    };
    Ok(sampled.or_raise()?.into_iter().map(episode).collect())
}
