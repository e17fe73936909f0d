//! A micro-batch's loss: hidden states through the fused head and the objective kernel, the
//! gradient formed in the forward pass.

use crate::config::{
    DemoShaping, EntropyOver as Over, FixedWeight, Objective, SftTokenWeight, Sign,
};
use crate::data::batch::MicroBatch;
use crate::model::{DropoutKey, Llama, Padded, ParameterGradients};
use crate::ops::lm_head;
use crate::ops::objective::{Clip, EntropyOver, Row, Switches, Weight, objective};
use crate::records::{Role, Sequence};
use burn::tensor::{Int, Tensor, TensorData};
use std::ops::Range;

/// Mean entropies over an update's demonstration and rollout tokens, nats; only used where the
/// weights' entropy is taken over the batch.
#[derive(Debug, Clone, Copy, Default)]
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
        sft_phi: config.sft_token_weight == SftTokenWeight::Phi,
        shaping: (config.demo_shaping == DemoShaping::Luffy).then_some(0.1),
        clip: Clip { low: config.clip_low as f32, high: config.clip_high as f32 },
        max_logp: (config.max_prob < 1.0).then(|| config.max_prob.ln() as f32),
    }
}

/// A micro-batch on the device.
pub struct Inputs {
    tokens: Tensor<1, Int>,   // [B·T]
    predicts: Tensor<1, Int>, // [N]
    targets: Tensor<1, Int>,  // [N]
    old_logprobs: Tensor<1>,  // [N]
}

impl Inputs {
    /// Uploads a micro-batch to the model's device.
    pub fn new(batch: &MicroBatch, model: &Llama) -> Self {
        let device = model.device().inner();
        let ints = |v: &[i32]| Tensor::from_data(TensorData::new(v.to_vec(), [v.len()]), &device);
        let n = batch.old_logprobs.len();
        Self {
            tokens: ints(&batch.tokens),
            predicts: ints(&batch.predicts),
            targets: ints(&batch.targets),
            old_logprobs: Tensor::from_data(
                TensorData::new(batch.old_logprobs.clone(), [n]),
                &device,
            ),
        }
    }

    /// Hidden states [N, D] of the positions that predict a response token.
    fn hidden(&self, model: &Llama, batch: &MicroBatch) -> Tensor<2> {
        model
            .hidden(self.tokens.clone(), batch.members.len(), batch.positions)
            .select(0, self.predicts.clone())
    }
}

/// Log-probability and entropy [N, 2] of a micro-batch's response tokens, without gradients.
pub fn token_statistics(model: &Llama, batch: &MicroBatch) -> Tensor<2> {
    let inputs = Inputs::new(batch, model);
    lm_head::stats(inputs.hidden(model, batch), model.head(), inputs.targets, lm_head::LOGITS_BYTES)
}

/// Logits [N, V] of a micro-batch's response tokens, whole: to look at a few responses closely, never
/// to train.
pub fn response_logits(model: &Llama, batch: &MicroBatch) -> Tensor<2> {
    model.logits(Inputs::new(batch, model).hidden(model, batch))
}

/// How a micro-batch's gradient is computed.
#[derive(Debug, Clone, Copy)]
pub struct Backward {
    /// Keep each layer's input only and compute its inside again.
    pub layer_by_layer: bool,
    /// What dropout is drawn by.
    pub dropout: DropoutKey,
}

/// `old_logprobs` with ln π of `base` for the tokens of demonstrations, [N].
fn with_base(
    old_logprobs: Tensor<1>,
    base: &Llama,
    batch: &MicroBatch,
    sequences: &[Sequence],
) -> Tensor<1> {
    let demonstrates = |row: usize| sequences[batch.members[row]].role == Role::Demonstration;
    let mask: Vec<f32> = (0..batch.members.len())
        .flat_map(|row| {
            let kept = if demonstrates(row) { 1.0 } else { 0.0 };
            vec![kept; batch.starts[row + 1] - batch.starts[row]]
        })
        .collect();
    let n = mask.len();
    let mask = Tensor::from_data(TensorData::new(mask, [n]), &old_logprobs.device());
    let logprobs = token_statistics(base, batch).slice([0..n, 0..1]).reshape([n]);
    old_logprobs + logprobs * mask // a demonstration's are 0
}

/// Adds the gradient of the sum of a micro-batch's loss terms to `sum`; gives the kernel's sums,
/// [B, 8]. `base` is the model that a KL penalty holds the demonstrations to, where there is one.
pub async fn micro_batch_gradient(
    model: &Llama,
    base: Option<&Llama>,
    batch: &MicroBatch,
    sequences: &[Sequence],
    switches: &Switches,
    backward: Backward,
    sum: &mut ParameterGradients,
) -> Tensor<2> {
    let Inputs { tokens, predicts, targets, old_logprobs } = Inputs::new(batch, model);
    let old_logprobs = match base {
        Some(base) => with_base(old_logprobs, base, batch, sequences),
        None => old_logprobs,
    };
    let padded = Padded { tokens, batch: batch.members.len(), positions: batch.positions };
    let ranges = whole_sequences(&batch.starts, model.config.vocab_size);
    let mut sums = Vec::with_capacity(ranges.len());
    let Backward { layer_by_layer, dropout } = backward;
    let loss_of = |tracked: &Llama, hidden: Tensor<2>| {
        let hidden = hidden.select(0, predicts); // [N, D]
        let plain = |t: &Tensor<2>| t.clone().without_autodiff();
        let head: Vec<Tensor<2>> = tracked.head().iter().map(plain).collect();
        let head_trains = tracked.head()[0].is_require_grad();
        let mut first_row = 0;
        let (d_hidden, d_head) = lm_head::with_gradient(
            plain(&hidden),
            &head,
            targets,
            &ranges,
            lm_head::LOGITS_BYTES,
            head_trains,
            |range, stats| {
                let rows: Vec<Row> = (first_row..)
                    .take_while(|&r| r < batch.members.len() && batch.starts[r] < range.end)
                    .map(|r| {
                        let sequence = &sequences[batch.members[r]];
                        Row {
                            start: (batch.starts[r] - range.start) as u32,
                            len: (batch.starts[r + 1] - batch.starts[r]) as u32,
                            demonstration: sequence.role == Role::Demonstration,
                            terms: sequence.terms,
                        }
                    })
                    .collect();
                first_row += rows.len();
                let old = old_logprobs.clone().slice([range.clone()]);
                let result = objective(stats, old, &rows, switches);
                sums.push(result.sums);
                result.coefficients
            },
        );
        lm_head::attach(hidden, tracked.head(), d_hidden, d_head)
    };
    model.gradients(&padded, layer_by_layer, dropout, sum, loss_of).await;
    Tensor::cat(sums, 0)
}

/// Ranges of tokens that hold whole sequences, each as long as the head's budget of logits allows
/// (a longer sequence stands alone). `starts` has a first index for each sequence, and the end.
fn whole_sequences(starts: &[usize], vocabulary: usize) -> Vec<Range<usize>> {
    let limit = lm_head::LOGITS_BYTES / (4 * vocabulary);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for pair in starts.windows(2) {
        match ranges.last_mut() {
            Some(last) if pair[1] - last.start <= limit => last.end = pair[1],
            _ => ranges.push(pair[0]..pair[1]),
        }
    }
    ranges
}
