//! What learns: the policy, its loss and its gradient, without an optimiser.

use crate::config::{Config, EntropyOver, Objective};
use crate::data::batch::micro_batches;
use crate::error::Result;
use crate::model::{DropoutKey, How, Llama};
use crate::objective::Update;
use crate::objective::loss::{BatchEntropy, micro_batch_gradient, switches, token_statistics};
use crate::ops::adamw::squared_norm;
use crate::ops::objective::{COLUMNS, Switches};
use crate::ops::readback;
use crate::platform::give_way;
use crate::records::Role;
use crate::text::Tokenizer;
use burn::tensor::Tensor;

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
    /// Loss and gradient of the first update of step `step`, accumulated over its micro-batches.
    pub async fn gradient(&self, update: &Update, step: u32) -> Result<Gradient> {
        self.nth_gradient(update, step, 0).await
    }

    /// [`Learner::gradient`] of update `nth` of a step, counted from 0.
    pub async fn nth_gradient(&self, update: &Update, step: u32, nth: u32) -> Result<Gradient> {
        let parameters = self.policy.parameters();
        let batches = micro_batches(&update.sequences, self.config.train.micro_batch_tokens);
        if batches.is_empty() {
            // Every coefficient is zero (all rewards equal under GRPO): nothing to learn from.
            return Ok(Gradient {
                tensors: parameters.iter().map(|p| p.tensor.zeros_like()).collect(),
                norm: 0.0,
                sums: vec![[0.0; COLUMNS]; update.sequences.len()],
            });
        }
        let objective = self.config.objective_at(step);
        let switches = self.switches(&objective, &self.policy, update).await?;
        let base = self.base.as_ref().filter(|_| objective.holds_to_base());
        let mut total: Vec<Option<Tensor<2>>> = vec![None; parameters.len()];
        let mut packed = Vec::new();
        for (micro_batch, batch) in batches.iter().enumerate() {
            give_way().await;
            let how = How {
                recomputed: self.recomputed,
                dropout: DropoutKey {
                    seed: self.config.run.seed,
                    step,
                    // Two updates of a step draw different masks.
                    micro_batch: nth << 16 | micro_batch as u32,
                },
            };
            let sums = micro_batch_gradient(
                &self.policy,
                base,
                batch,
                &update.sequences,
                &switches,
                how,
                &mut total,
            )
            .await;
            packed.push(sums.flatten::<1>(0, 1));
        }
        let tensors: Vec<Tensor<2>> = total
            .into_iter()
            .zip(&parameters)
            .map(|(g, p)| g.unwrap_or_else(|| p.tensor.zeros_like()))
            .collect();
        packed.push(squared_norm(&tensors));
        let values = readback::floats(Tensor::cat(packed, 0)).await?;
        let (squared, rows) = values.split_last().expect("the norm is always there");
        let mut sums = vec![[0.0; COLUMNS]; update.sequences.len()];
        let members = batches.iter().flat_map(|b| &b.members);
        for (&member, row) in members.zip(rows.chunks_exact(COLUMNS)) {
            for (slot, &value) in sums[member].iter_mut().zip(row) {
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
            EntropyOver::Batch => self.batch_entropy(model, update).await?,
            EntropyOver::Sequence | EntropyOver::Token => BatchEntropy::default(),
        };
        Ok(switches(objective, entropy))
    }

    /// A forward pass over the whole update, for the mean entropies that weights over the batch need. The
    /// kernels take them as numbers, so this setting alone costs a second readback.
    async fn batch_entropy(&self, model: &Llama, update: &Update) -> Result<BatchEntropy> {
        // Every response counts, even one that carries no loss in this update.
        let mut sequences = update.sequences.clone();
        sequences.iter_mut().for_each(|s| s.terms.sft = 1.0);
        let batches = micro_batches(&sequences, self.config.train.micro_batch_tokens);
        let mut sums = [[0.0f64; 2]; 2]; // [demonstrations, rollouts] × [nats, tokens]
        let mut stats = Vec::with_capacity(batches.len());
        for batch in &batches {
            give_way().await;
            stats.push(token_statistics(model, batch));
        }
        let stats = readback::floats(Tensor::cat(stats, 0)).await?; // [Σ N, 2]
        let mut pairs = stats.chunks_exact(2);
        for &member in batches.iter().flat_map(|b| &b.members) {
            let sequence = &sequences[member];
            let slot = &mut sums[usize::from(sequence.role == Role::Rollout)];
            for pair in pairs.by_ref().take(sequence.loss_tokens()) {
                slot[0] += f64::from(pair[1]);
                slot[1] += 1.0;
            }
        }
        let mean = |[nats, tokens]: [f64; 2]| (nats / tokens.max(1.0)) as f32;
        Ok(BatchEntropy { demonstrations_nats: mean(sums[0]), rollouts_nats: mean(sums[1]) })
    }
}
