//! Rollouts.

use crate::convert::float_list;
use crate::drive::drive;
use crate::error::{exception, input};
use crate::example::Prompts;
use crate::model::Model;
use crate::tokenizer::token_ids;
use numpy::{PyArray1, PyArrayMethods};
use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use srft::config::{CacheDtype, Config};
use srft::data::encode::encode;
use srft::ops::sampling::Sampling;
use srft::records;
use srft::rollout::{Plan, Stops, respond};
use std::ffi::CString;

/// A sampled response with what the policy thought of each of its tokens.
///
/// The arrays are shared with the object: what is written into them is what `loss` reads. One from elsewhere
/// (a file, another program) is made of its token ids and its text: `Episode([9, 2], response="6")`; without
/// log-probabilities `loss` takes the policy's own. A `Group` refuses an episode that was `asked` another
/// prompt, and `loss` one whose tokens are of another `vocabulary`; None is not checked.
#[pyclass(frozen, weakref, module = "srft")]
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
    /// ln π of each token at `temperature` when it was sampled [N], nats; empty where nobody knows.
    #[pyo3(get)]
    pub logprobs: Py<PyArray1<f32>>,
    /// Entropy of that π over the whole vocabulary where each was sampled [N], nats; empty where nobody knows.
    #[pyo3(get)]
    pub entropies: Py<PyArray1<f32>>,
    /// What divided the logits of that π; `loss` takes its ln π at the same.
    #[pyo3(get)]
    pub temperature: f32,
    /// How many of the demonstration's first tokens stood before these: read, not sampled. `response` begins with them.
    #[pyo3(get)]
    pub given: usize,
    /// Whether the length limit cut it.
    #[pyo3(get)]
    pub truncated: bool,
    /// The text, without end-of-text.
    #[pyo3(get)]
    pub response: String,
    /// The prompt's text, where it is known.
    #[pyo3(get)]
    pub asked: Option<String>,
    /// A fingerprint of the tokenizer, where it is known.
    #[pyo3(get)]
    pub vocabulary: Option<u64>,
}

impl Episode {
    /// Takes the record's arrays over.
    pub fn of(py: Python<'_>, episode: records::Episode, asked: &str, vocabulary: u64) -> Self {
        Self {
            prompt: episode.prompt,
            sample: episode.sample,
            tokens: PyArray1::from_vec(py, episode.tokens).unbind(),
            logprobs: PyArray1::from_vec(py, episode.logprobs).unbind(),
            entropies: PyArray1::from_vec(py, episode.entropies).unbind(),
            temperature: episode.temperature.0,
            given: episode.given,
            truncated: episode.truncated,
            response: episode.response,
            asked: Some(asked.into()),
            vocabulary: Some(vocabulary),
        }
    }

    /// The record, with what it earned.
    pub fn record(&self, py: Python<'_>, reward: f64, right: bool) -> PyResult<records::Episode> {
        let tokens = self.tokens.bind(py).to_vec()?;
        let logprobs = self.logprobs.bind(py).to_vec()?;
        if tokens.is_empty() {
            return Err(input("an episode has no tokens", "leave it out"));
        }
        if ![0, tokens.len()].contains(&logprobs.len()) {
            return Err(input(
                format!("{} log-probabilities", logprobs.len()),
                &format!("one for each of the {} tokens, or none", tokens.len()),
            ));
        }
        if let Some(at) = logprobs.iter().position(|l| !l.is_finite()) {
            return Err(input(
                format!("the log-probability of token {at} is {}", logprobs[at]),
                "give finite ones, or none to use the policy's own",
            ));
        }
        Ok(records::Episode {
            prompt: self.prompt,
            sample: self.sample,
            tokens,
            logprobs,
            entropies: self.entropies.bind(py).to_vec()?,
            temperature: records::Temperature(self.temperature),
            kl: 0.0,
            taught: Vec::new(),
            given: self.given,
            given_text: String::new(),
            given_logprobs: Vec::new(),
            given_entropies: Vec::new(),
            truncated: self.truncated,
            response: self.response.clone(),
            reward: reward as f32,
            right,
            loose_only: false,
            scores: Default::default(),
        })
    }
}

#[pymethods]
impl Episode {
    #[new]
    #[pyo3(signature = (
        tokens, logprobs = None, entropies = None, *, response, prompt = 0, sample = 0, truncated = false,
        asked = None, vocabulary = None, temperature = 1.0, given = 0
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn new(
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        logprobs: Option<&Bound<'_, PyAny>>,
        entropies: Option<&Bound<'_, PyAny>>,
        response: String,
        prompt: usize,
        sample: usize,
        truncated: bool,
        asked: Option<String>,
        vocabulary: Option<u64>,
        temperature: f32,
        given: usize,
    ) -> PyResult<Self> {
        if !(1e-3..=1e3).contains(&temperature) {
            return Err(input(
                format!("temperature {temperature}"),
                "0.001 to 1000: what divided the logits of its log-probabilities",
            ));
        }
        let tokens = token_ids(tokens)?;
        let each = |numbers: Option<&Bound<'_, PyAny>>, what: &str| {
            let Some(numbers) = numbers else { return Ok(Vec::new()) };
            let values = float_list(numbers, what)?;
            match [0, tokens.len()].contains(&values.len()) {
                true => Ok(values.into_iter().map(|v| v as f32).collect()),
                false => Err(input(
                    format!("{} {what} for {} tokens", values.len(), tokens.len()),
                    "give one per token, or none",
                )),
            }
        };
        Ok(Self {
            prompt,
            sample,
            logprobs: PyArray1::from_vec(py, each(logprobs, "logprobs")?).unbind(),
            entropies: PyArray1::from_vec(py, each(entropies, "entropies")?).unbind(),
            tokens: PyArray1::from_vec(py, tokens).unbind(),
            temperature,
            given,
            truncated,
            response,
            asked,
            vocabulary,
        })
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let named = PyDict::new(py);
        named.set_item("response", &self.response)?;
        named.set_item("prompt", self.prompt)?;
        named.set_item("sample", self.sample)?;
        named.set_item("temperature", self.temperature)?;
        named.set_item("given", self.given)?;
        named.set_item("truncated", self.truncated)?;
        named.set_item("asked", &self.asked)?;
        named.set_item("vocabulary", self.vocabulary)?;
        Ok(((&self.tokens, &self.logprobs, &self.entropies).into_pyobject(py)?, named))
    }

    fn __repr__(&self) -> String {
        let Self { prompt, sample, response, truncated, .. } = self;
        let cut = if *truncated { ", truncated=True" } else { "" };
        format!("Episode(prompt={prompt}, sample={sample}, response={response:?}{cut})")
    }
}

/// Samples `group` responses to each prompt (texts, or `Example`s; one alone is taken, too): a list of
/// `Episode`s in the order of (prompt, sample).
///
/// The draws are a function of (seed, prompt, sample, position), so the same call gives the same
/// episodes. `temperature` 0 is greedy; log-probabilities and entropies are at that temperature (greedy: at 1),
/// over the whole vocabulary, whatever `top_k`, `top_p` and `min_p` leave of it. A `max_new_tokens` of None is 44, as suits the built-in model, with
/// every model: give more to one of yours; where every response is cut there is a warning.
#[pyfunction]
#[pyo3(signature = (
    model, prompts, group = 8, seed = 0, *, temperature = 1.0, top_k = 0, top_p = 1.0, min_p = 0.0,
    max_new_tokens = None
))]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn rollout(
    py: Python<'_>,
    model: &Bound<'_, Model>,
    prompts: Prompts,
    group: usize,
    seed: u64,
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    max_new_tokens: Option<usize>,
) -> PyResult<Vec<Episode>> {
    // What is greedy is judged as the policy itself.
    let policy_temperature = if temperature > 0.0 { temperature } else { 1.0 };
    let sampling = Sampling { temperature, top_k, top_p, min_p, policy_temperature };
    let sampling = sampling.checked().map_err(exception)?;
    let model = model.get();
    let asked = prompts.0.iter().enumerate().map(|(index, prompt)| {
        prompt.written(&model.folder).map_err(|e| exception(e.at(format!("prompt {index}"))))
    });
    let asked: Vec<records::Example> = asked.collect::<PyResult<_>>()?;
    let (policy, tokenizer) = (&model.policy, &model.tokenizer);
    let max_new_tokens = max_new_tokens.unwrap_or_else(|| Config::default().rollout.max_new_tokens);
    let responses = py.detach(|| {
        let eos_tokens = &policy.config.eos_tokens;
        let prompts = asked.iter().enumerate().map(|(index, example)| {
            let encoded = encode(tokenizer, eos_tokens, example);
            Ok(encoded.map_err(|e| e.at(format!("prompt {index}")))?.prompt)
        });
        let prompts = prompts.collect::<srft::error::Result<Vec<_>>>().map_err(exception)?;
        let plan = Plan {
            group,
            sampling,
            max_new_tokens,
            eos_tokens,
            stops: Stops::default(),
            slots: 0,
            cache: CacheDtype::F32,
            seed,
            step: 0,
        };
        drive(respond(policy, &prompts, &plan))
    })?;
    if !responses.is_empty() && responses.iter().all(|r| r.truncated) {
        warn_of_cuts(py, responses.len(), max_new_tokens)?;
    }
    let episode = |response: srft::rollout::Response| {
        let prompt = &asked[response.prompt].prompt;
        let text = tokenizer.decode(&response.tokens);
        let temperature = records::Temperature(policy_temperature);
        let record = records::Episode { temperature, ..response.into_episode(text) };
        Episode::of(py, record, prompt, model.vocabulary)
    };
    Ok(responses.into_iter().map(episode).collect())
}

/// A warning that none of `count` responses came to its end.
pub fn warn_of_cuts(py: Python<'_>, count: usize, max_new_tokens: usize) -> PyResult<()> {
    let words = format!(
        "all {count} responses were cut at max_new_tokens = {max_new_tokens}: cut ones count as wrong, so \
         there is nothing to learn from; allow more tokens"
    );
    let words = CString::new(words).expect("no zero byte");
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &words, 1)
}
