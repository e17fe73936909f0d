//! A micro-batch's loss and its gradient: forward, loss, backward.

use crate::config::{DemoShaping, EntropyOver as Over, FixedWeight, Objective, Sign};
use crate::data::batch::MicroBatch;
use crate::model::{How, Llama, Packed, ParameterGradients};
use crate::ops::attention::Places;
use crate::ops::fused::runs_on;
use crate::ops::lm_head::{Head, logits_bytes};
use crate::ops::objective::{Clip, EntropyOver, GIVEN, Row, Switches, Weight, objective};
use crate::ops::weight;
use crate::records::{Role, Sequence};
use burn::tensor::{Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Mean entropies over an update's demonstration and rollout tokens, nats; only used where the H of the
/// weights is averaged over the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct BatchEntropy {
    /// Over demonstration tokens.
    pub demonstrations_nats: f32,
    /// Over rollout tokens.
    pub rollouts_nats: f32,
}

/// The kernel's switches for a configured objective.
pub fn switches(config: &Objective, batch: BatchEntropy) -> Switches {
    let exponent = |weight, sign: f32| if config.varies(weight) { sign } else { 0.0 };
    let sft_sign = if config.sft_weight_sign == Sign::Plus { 1.0 } else { -1.0 };
    Switches {
        entropy_over: match config.entropy_over {
            Over::Sequence => EntropyOver::Sequence,
            Over::Token => EntropyOver::Token,
            Over::Batch => EntropyOver::Batch {
                demonstrations_nats: batch.demonstrations_nats,
                rollouts_nats: batch.rollouts_nats,
            },
        },
        sft_weight: Some(Weight {
            scale: config.sft_weight_scale as f32,
            sign: exponent(FixedWeight::Sft, sft_sign),
        }),
        self_weight: Some(Weight {
            scale: config.self_weight_scale as f32,
            sign: exponent(FixedWeight::SelfTerm, 1.0),
        }),
        sft_token: config.sft_token_weight,
        shaping: (config.demo_shaping == DemoShaping::Luffy).then_some(0.1),
        ratio: config.ratio,
        clip: Clip { low: config.clip_low as f32, high: config.clip_high as f32 },
        clip_form: config.clip,
        dual_clip: (config.dual_clip > 0.0).then_some(config.dual_clip as f32),
        kl: config.kl_form,
        max_logp: (config.max_prob < 1.0).then(|| config.max_prob.ln() as f32),
    }
}

/// A micro-batch on the device.
pub struct Inputs {
    packed: Packed,
    targets: Tensor<1, Int>, // [N]
    given: Tensor<2>,        // [N, 3], as `ops::objective` has it, without the base model's
    /// What the hidden states are multiplied by, [N, 1]: 1 over each token's temperature, unless all are 1.
    cooled: Option<Tensor<2>>,
}

impl Inputs {
    /// Uploads a micro-batch to the model's device.
    pub fn new(batch: &MicroBatch, model: &Llama) -> Self {
        let device = model.device().inner();
        let ints = |v: &[i32]| Tensor::from_data(TensorData::new(v.to_vec(), [v.len()]), &device);
        let floats = |v: Vec<f32>, columns: usize| {
            let shape = [v.len() / columns, columns];
            Tensor::from_data(TensorData::new(v, shape), &device)
        };
        let old_and_factor = batch.old_logprobs.iter().zip(&batch.factors);
        let given = old_and_factor.flat_map(|(&old, &factor)| [old, 0.0, factor]).collect();
        let tempered = batch.temperatures.iter().any(|&t| t != 1.0);
        let cooled = || batch.temperatures.iter().map(|t| 1.0 / t).collect();
        Self {
            packed: Packed {
                tokens: ints(&batch.tokens),
                places: Places::new(batch.packing.clone(), &device),
                wanted: ints(&batch.predicts),
            },
            targets: ints(&batch.targets),
            given: floats(given, GIVEN),
            cooled: tempered.then(|| floats(cooled(), 1)),
        }
    }

    /// Hidden states [N, D] of the positions that predict a response token.
    fn hidden(&self, model: &Llama) -> Tensor<2> {
        let Packed { tokens, places, wanted } = self.packed.clone();
        tempered(model.hidden(tokens, &places).select(0, wanted), &self.cooled)
    }
}

/// Hidden states [N, D] whose logits are at each token's temperature, or the gradient with respect to them.
fn tempered(hidden: Tensor<2>, cooled: &Option<Tensor<2>>) -> Tensor<2> {
    match cooled {
        Some(factors) => hidden * factors.clone(),
        None => hidden,
    }
}

/// Log-probability and entropy [N, 2] of a micro-batch's response tokens, without gradients.
pub fn token_statistics(model: &Llama, batch: &MicroBatch) -> Tensor<2> {
    let inputs = Inputs::new(batch, model);
    head(model, model.head()).stats(inputs.hidden(model), inputs.targets)
}

/// All logits [N, V] of a micro-batch's response tokens: for showing a few responses, not for training.
pub fn response_logits(model: &Llama, batch: &MicroBatch) -> Tensor<2> {
    model.logits(Inputs::new(batch, model).hidden(model))
}

/// `given` [N, 3] with ln π of `base`.
fn with_base(given: Tensor<2>, base: &Llama, batch: &MicroBatch) -> Tensor<2> {
    let logprobs = token_statistics(base, batch).narrow(1, 0, 1);
    Tensor::cat(vec![given.clone().narrow(1, 0, 1), logprobs, given.narrow(1, 2, 1)], 1)
}

/// Adds the gradient of a micro-batch's loss to `sum` and returns the kernel's sums, [B, 8]. `base` is
/// the KL penalty's base model, if there is such a penalty.
pub async fn micro_batch_gradient(
    policy: &Llama,
    base: Option<&Llama>,
    batch: &MicroBatch,
    sequences: &[Sequence],
    switches: &Switches,
    how: How,
    sum: &mut ParameterGradients,
) -> Tensor<2> {
    let Inputs { packed, targets, mut given, cooled } = Inputs::new(batch, policy);
    if let Some(base) = base {
        given = with_base(given, base, batch);
    }
    let pass = policy.forward(packed, how).await;
    let hidden = tempered(pass.hidden(), &cooled);
    let loss = loss(policy, hidden, targets, given, batch, sequences, switches);
    pass.backward(tempered(loss.d_hidden, &cooled), loss.d_head, sum).await;
    loss.sums
}

/// A micro-batch's loss: its derivatives and its sums.
struct Loss {
    /// With respect to the hidden states, [N, D].
    d_hidden: Tensor<2>,
    /// With respect to the head's blocks, [Vb, D] each; empty if the head is frozen.
    d_head: Vec<Tensor<2>>,
    /// The kernel's sums, [B, 8].
    sums: Tensor<2>,
}

/// Takes hidden states [N, D] through the head and the objective, in chunks of whole sequences.
fn loss(
    policy: &Llama,
    hidden: Tensor<2>,
    targets: Tensor<1, Int>,
    given: Tensor<2>,
    batch: &MicroBatch,
    sequences: &[Sequence],
    switches: &Switches,
) -> Loss {
    let head = head(policy, policy.head_in_training());
    let mut d_head = if policy.head_trains() { head.no_gradient() } else { Vec::new() };
    let (mut d_hidden, mut sums) = (Vec::new(), Vec::new());
    for rows in whole_sequences(&batch.starts, head.tokens()) {
        let tokens = batch.starts[rows.start]..batch.starts[rows.end];
        let chunk = head
            .forward(hidden.clone().slice(tokens.clone()), targets.clone().slice(tokens.clone()));
        let given = given.clone().slice(tokens.clone());
        let rows: Vec<Row> = rows
            .map(|row| {
                let sequence = &sequences[batch.members[row]];
                Row {
                    start: (batch.starts[row] - tokens.start) as u32,
                    len: (batch.starts[row + 1] - batch.starts[row]) as u32,
                    demonstration: sequence.role == Role::Demonstration,
                    terms: sequence.terms,
                }
            })
            .collect();
        let objective = objective(chunk.stats(), given, &rows, switches);
        d_hidden.push(head.backward(chunk, objective.coefficients, &mut d_head));
        sums.push(objective.sums);
    }
    Loss {
        d_hidden: Tensor::cat(d_hidden, 0),
        d_head: d_head.into_iter().map(|d| d.expect("every chunk has every block")).collect(),
        sums: Tensor::cat(sums, 0),
    }
}

/// A model's head with what its device has room for.
fn head(model: &Llama, blocks: Vec<weight::Weight>) -> Head {
    Head::new(blocks, logits_bytes(runs_on(&model.device())))
}

/// Splits a micro-batch's sequences into ranges of at most `limit` tokens (a longer sequence is a range of its own).
/// `starts` has each sequence's first token, and the end.
fn whole_sequences(starts: &[usize], limit: usize) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for row in 0..starts.len() - 1 {
        match ranges.last_mut() {
            Some(last) if starts[row + 1] - starts[last.start] <= limit => last.end = row + 1,
            _ => ranges.push(row..row + 1),
        }
    }
    ranges
}
