//! What learns: the policy, its loss and its gradient, without an optimiser.

mod ask;
mod work;

use crate::config::{Config, EntropyOver, Objective};
use crate::error::Result;
use crate::model::Llama;
use crate::objective::Update;
use crate::objective::loss::{BatchEntropy, switches};
use crate::ops::adamw::squared_norm;
use crate::ops::objective::{COLUMNS, Switches};
use crate::ops::readback;
use crate::records::{Role, Sequence};
use crate::score::{Scored, score_sequences};
use crate::shards::{Job, Outcome, Part, Which, shards};
use crate::text::Tokenizer;
use burn::tensor::Tensor;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// A policy with all that its loss depends on.
pub struct Learner {
    /// Everything that decides the run.
    pub config: Config,
    /// The policy π_θ.
    pub policy: Llama,
    /// The model that the run began with, where a KL penalty needs it.
    pub base: Option<Llama>,
    /// Text in and out.
    pub tokenizer: Tokenizer,
    /// How many layers, from the lowest on, the backward pass computes again: what `train.checkpointing` comes to.
    pub recomputed: usize,
    /// How often the policy's weights have changed: a team's copies are of one of these versions.
    pub version: u64,
    /// The devices that share a step's work, unless it is all done here.
    pub team: Option<Arc<dyn Team>>,
}

/// Devices that do jobs.
pub trait Team: Debug + Send + Sync {
    /// Does `jobs` with the learner's weights, on any device and in any order. Passes each outcome to `each`, in the
    /// order of the jobs. Blocks.
    fn perform(
        &self,
        learner: &Learner,
        jobs: Vec<Job>,
        each: &mut dyn FnMut(Outcome),
    ) -> Result<()>;

    /// What has happened since the last call that the user should know.
    fn news(&self) -> Vec<String>;

    /// How many devices can work now, and of how many.
    fn at_work(&self) -> [usize; 2];
}

/// The gradient of an update and what was read back with it: a training step's one readback.
pub struct Gradient {
    /// One tensor a parameter, in parameter order.
    pub tensors: Vec<Tensor<2>>,
    /// Global L2 norm.
    pub norm: f64,
    /// The objective kernel's sums ([`column`](crate::ops::objective::column)) for each sequence of the
    /// update; zeros for those that carry no loss.
    pub sums: Vec<[f64; COLUMNS]>,
}

impl Learner {
    /// A learner whose work is all done here.
    pub fn new(
        config: Config,
        policy: Llama,
        base: Option<Llama>,
        tokenizer: Tokenizer,
        recomputed: usize,
    ) -> Self {
        Self { config, policy, base, tokenizer, recomputed, version: 0, team: None }
    }

    /// Loss and gradient of the first update of step `step`, accumulated over its micro-batches.
    pub async fn gradient(&self, update: &Update, step: u32) -> Result<Gradient> {
        self.nth_gradient(update, step, 0).await
    }

    /// [`Learner::gradient`] of update `nth` of a step, counted from 0. Shard by shard, added in their order.
    pub async fn nth_gradient(&self, update: &Update, step: u32, nth: u32) -> Result<Gradient> {
        let with_loss = update.sequences.iter().filter(|s| s.carries_loss());
        let sequences: Vec<Sequence> = with_loss.cloned().collect();
        let objective = self.config.objective_at(step);
        let entropy = match objective.entropy_over {
            EntropyOver::Batch if !sequences.is_empty() => {
                let asked = all_with_loss(update);
                batch_entropy(&asked, &self.score(Which::Policy, &asked).await?)
            }
            _ => BatchEntropy::default(),
        };
        let cut = shards(&sequences, self.config.train.shards).into_iter();
        let mut sequences = sequences.into_iter();
        let job = |range: Range<usize>| Job::Gradient {
            step,
            // Two updates of a step, and two shards, draw different masks: no shard has more micro-batches than
            // sequences.
            key: (nth << 16) + range.start as u32,
            entropy,
            sequences: sequences.by_ref().take(range.len()).collect(),
        };
        let (mut total, mut packed): (Option<Vec<Tensor<2>>>, _) = (None, Vec::new());
        let mut each = |outcome| {
            let Outcome::Gradient(Part { tensors, sums }) = outcome else {
                unreachable!("gradients were asked for")
            };
            packed.extend(sums);
            if tensors.is_empty() {
                return;
            }
            total = Some(match total.take() {
                None => tensors,
                Some(sum) => sum.into_iter().zip(tensors).map(|(a, b)| a + b).collect(),
            });
        };
        self.share(cut.map(job).collect(), &mut each).await?;
        let mut sums = vec![[0.0; COLUMNS]; update.sequences.len()];
        let Some(tensors) = total else {
            // Every coefficient is zero (all rewards equal under GRPO): nothing to learn from.
            let zeros = self.policy.parameters().iter().map(|p| p.tensor.zeros_like()).collect();
            return Ok(Gradient { tensors: zeros, norm: 0.0, sums });
        };
        packed.push(squared_norm(&tensors));
        let values = readback::floats(Tensor::cat(packed, 0)).await?;
        let (squared, rows) = values.split_last().expect("the norm is always there");
        let of_update = sums.iter_mut().zip(&update.sequences).filter(|(_, s)| s.carries_loss());
        for ((slots, _), row) in of_update.zip(rows.chunks_exact(COLUMNS)) {
            for (slot, &value) in slots.iter_mut().zip(row) {
                *slot = f64::from(value);
            }
        }
        Ok(Gradient { tensors, norm: f64::from(*squared).sqrt(), sums })
    }

    /// The kernel's switches for an update of `model`: the policy now, or as it was before a step.
    pub async fn switches(
        &self,
        objective: &Objective,
        model: &Llama,
        update: &Update,
    ) -> Result<Switches> {
        let entropy = match objective.entropy_over {
            EntropyOver::Batch => {
                let (asked, limit) = (all_with_loss(update), self.config.train.micro_batch_tokens);
                batch_entropy(&asked, &score_sequences(model, &asked, limit).await?)
            }
            EntropyOver::Sequence | EntropyOver::Token => BatchEntropy::default(),
        };
        Ok(switches(objective, entropy))
    }
}

/// An update's sequences, to be scored: every response counts for a mean entropy, even one that carries no loss.
fn all_with_loss(update: &Update) -> Vec<Sequence> {
    let mut sequences = update.sequences.clone();
    sequences.iter_mut().for_each(|s| s.terms.sft = 1.0);
    sequences
}

/// The mean entropies of sequences that were scored. The kernels take them as numbers, so weights over the
/// batch alone cost a forward pass and a readback of their own.
fn batch_entropy(sequences: &[Sequence], scored: &[Scored]) -> BatchEntropy {
    let mut sums = [[0.0f64; 2]; 2]; // [demonstrations, rollouts] × [nats, tokens]
    for (sequence, scored) in sequences.iter().zip(scored) {
        let slot = &mut sums[usize::from(sequence.role == Role::Rollout)];
        slot[0] += scored.entropies.iter().map(|&h| f64::from(h)).sum::<f64>();
        slot[1] += scored.entropies.len() as f64;
    }
    let mean = |[nats, tokens]: [f64; 2]| (nats / tokens.max(1.0)) as f32;
    BatchEntropy { demonstrations_nats: mean(sums[0]), rollouts_nats: mean(sums[1]) }
}
