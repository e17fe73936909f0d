//! Learning dynamics (Fig. 3, App. E): a run as a path through the distances to reference models,
//! such as the base, a model taught by SFT and one trained by RL.
//!
//! ```text
//! d(M) = (d_R1(M), …, d_Rk(M)),   d_R(M) = (1/N_R) Σ_t |ln p_M(y_t | ·) − ln p_R(y_t | ·)|, nats,
//! ```
//!
//! over the N_R tokens, end-of-text included, of responses that R itself generated. The paper does
//! not give the metric: [`METRIC`] is ours. d_R(R) = 0; d_R(M) is not d_M(R), since each is measured
//! on its own reference's responses.

use super::{in_turn, require_same_tokens, sample};
use crate::config::Config;
use crate::data::source::Problem;
use crate::error::{Error, Result};
use crate::eval::Suite;
use crate::model::{Llama, ModelFolder};
use crate::ops::sampling::Sampling;
use crate::platform::exists;
use crate::run::{CHECKPOINTS, OnFile, open_model};
use crate::score::{mean_shift, score};
use crate::text::Tokenizer;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The distance, named.
pub const METRIC: &str = "mean |Δ ln p| over the tokens of the reference's responses, nats";

/// A reference model R: what it generated, and the probability it gave to that.
pub struct Reference {
    pairs: Vec<(Vec<u32>, Vec<u32>)>,
    logprobs: Vec<Vec<f32>>,
    micro_batch_tokens: usize,
}

/// A reference as it is reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceView {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub model: String,
    /// Responses that it generated.
    pub responses: usize,
    /// Their tokens, N_R.
    pub tokens: usize,
}

/// A checkpoint in the space of distances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Updates done; 0 is the model that the run began with.
    pub step: u32,
    /// Its distance to each reference, `[k]`, nats.
    pub distances: Vec<f64>,
}

/// A run's path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunPath {
    /// The run's folder.
    pub run: String,
    /// Its method.
    pub method: String,
    /// The checkpoints that are there, the earliest first.
    pub points: Vec<Point>,
}

/// Paths through the distances to the same references: what `srft analyze dynamics` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dynamics {
    /// [`METRIC`].
    pub metric: String,
    /// The k references, in the order of every point's distances.
    pub references: Vec<ReferenceView>,
    /// One path per run.
    pub paths: Vec<RunPath>,
}

impl Dynamics {
    /// Whether every point has a distance to each reference; an altered file may not.
    pub fn is_whole(&self) -> bool {
        let k = self.references.len();
        let mut points = self.paths.iter().flat_map(|path| &path.points);
        points.all(|p| p.distances.len() == k && p.distances.iter().all(|d| d.is_finite()))
    }
}

/// The tokens of up to `count` prompts, taken from each in-distribution suite in turn.
pub fn prompts(
    suites: &[Suite],
    tokenizer: &Tokenizer,
    eos_tokens: &[u32],
    count: usize,
) -> Result<Vec<Vec<u32>>> {
    let trained = suites.iter().filter(|s| !s.out_of_distribution);
    let lists: Vec<_> = trained.map(|s| s.problems.as_slice()).collect();
    let problems = in_turn(&lists, count);
    let prompt = |p: &Problem| Ok(p.in_tokens(tokenizer, eos_tokens)?.prompt.clone());
    problems.into_iter().map(prompt).collect()
}

impl Reference {
    /// Lets `model` generate `count` responses to the prompts (several per prompt if there are fewer),
    /// sampled as the config's rollouts are, seeded by `run.seed`.
    ///
    /// # Errors
    /// No prompts, or a prompt that doesn't fit the model's context.
    pub async fn generate(
        model: &Llama,
        tokenizer: &Tokenizer,
        prompts: &[Vec<u32>],
        count: usize,
        config: &Config,
    ) -> Result<Self> {
        if prompts.is_empty() || count == 0 {
            return Err(Error::input("no responses to measure distances on")
                .next("ask for at least one response to at least one problem"));
        }
        let (group, sampling) = (count.div_ceil(prompts.len()), Sampling::of(&config.rollout));
        let written = sample(model, tokenizer, prompts, group, sampling, config).await?;
        let pairs = written.into_iter().map(|r| (prompts[r.prompt].clone(), r.tokens));
        let pairs = pairs.take(count).collect();
        Self::of(model, pairs, config.train.micro_batch_tokens).await
    }

    /// A reference with given (prompt, response) tokens in place of generated ones.
    pub async fn of(
        model: &Llama,
        pairs: Vec<(Vec<u32>, Vec<u32>)>,
        micro_batch_tokens: usize,
    ) -> Result<Self> {
        // Scored like the other models, not taken from sampling, so that its distance to itself is
        // exactly 0.
        let scored = score(model, pairs.clone(), micro_batch_tokens).await?;
        let logprobs = scored.into_iter().map(|s| s.logprobs).collect();
        Ok(Self { pairs, logprobs, micro_batch_tokens })
    }

    /// d_R(M), nats.
    ///
    /// # Errors
    /// A response that is too long for the model, or a probability that is not a number.
    pub async fn distance(&self, model: &Llama) -> Result<f64> {
        let scored = score(model, self.pairs.clone(), self.micro_batch_tokens).await?;
        let lists = self.logprobs.iter().zip(&scored);
        let distance = mean_shift(lists.map(|(own, s)| (own.as_slice(), s.logprobs.as_slice())));
        match distance.is_finite() {
            true => Ok(distance),
            false => Err(Error::numbers(format!("the distance is {distance}"))
                .next("one of the models is broken: use an earlier checkpoint")),
        }
    }

    /// The reference as it is reported.
    pub fn view(&self, name: &str, model: &str) -> ReferenceView {
        ReferenceView {
            name: name.into(),
            model: model.into(),
            responses: self.pairs.len(),
            tokens: self.pairs.iter().map(|(_, response)| response.len()).sum(),
        }
    }
}

/// The path of the run in `run`: the model that it began with, if it is still there, and every
/// checkpoint on disk. Nothing in the folder is locked or changed.
///
/// # Errors
/// No run or no checkpoint there, or models with other tokens than `tokenizer`.
pub async fn path(
    run: &Path,
    references: &[Reference],
    tokenizer: &Tokenizer,
    device: &Device,
) -> Result<RunPath> {
    let config = OnFile::of(run).config()?;
    let kept = OnFile::of(run).checkpoints()?;
    if kept.is_empty() {
        return Err(Error::input("the run has no checkpoints")
            .at(run.join(CHECKPOINTS).display())
            .next(
                "let it train to its first checkpoint, or train with a smaller checkpoint.every",
            ));
    }
    let model = &config.model;
    let is_there = model.path == "tiny" || exists(Path::new(&model.path));
    let begin = is_there.then(|| open_model(model));
    let base = (!model.base.is_empty()).then_some(model.base.as_str());
    let later = kept.iter().map(|(step, path)| (*step, ModelFolder::read_over(path, base)));
    let mut points = Vec::new();
    for (step, folder) in begin.map(|folder| (0, folder)).into_iter().chain(later) {
        let folder = folder?;
        let (model, own) = folder.load(device)?;
        require_same_tokens(tokenizer, &own).map_err(|e| e.at(&folder.place))?;
        let mut distances = Vec::with_capacity(references.len());
        for reference in references {
            distances.push(reference.distance(&model).await.map_err(|e| e.at(&folder.place))?);
        }
        points.push(Point { step, distances });
    }
    let (run, method) = (run.display().to_string(), config.objective.method.name().into());
    Ok(RunPath { run, method, points })
}
