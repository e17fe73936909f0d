//! A forward pass with a backward pass to follow. The graph is kept, but of the lowest layers only each layer's
//! input, if asked, and the backward pass computes the rest again (Chen et al., 2016). Both run the same code and
//! add gradients in the same order, so how many layers these are changes no bit.

use super::Llama;
use super::layers::Layer;
use super::linear::Dropout;
use crate::ops::attention::Places;
use crate::ops::backward_from::backward_from;
use crate::ops::dropout::Key;
use crate::platform::{READS_MODELS, give_way};
use burn::tensor::{Gradients, Int, Tensor};
use std::ops::Range;

/// A packed batch's tokens, and the rows whose hidden states are wanted.
#[derive(Clone)]
pub struct Packed {
    /// Token ids, `[R]`.
    pub tokens: Tensor<1, Int>,
    /// How sequences lie in them.
    pub places: Places,
    /// N rows.
    pub wanted: Tensor<1, Int>,
}

/// How a pass is made.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Of how many layers, from the lowest on, only the input is kept, and the rest computed again.
    pub recomputed: usize,
    /// The key of the dropout masks.
    pub dropout: DropoutKey,
}

/// The key of the adapters' dropout masks; layer and matrix count within it.
#[derive(Debug, Clone, Copy)]
pub struct DropoutKey {
    /// The run's seed.
    pub seed: u64,
    /// The step of the run.
    pub step: u32,
    /// The micro-batch of the step.
    pub micro_batch: u32,
}

/// One gradient a parameter, in the order of [`Llama::parameters`]; `None` where the loss does not
/// depend on it.
pub type ParameterGradients = Vec<Option<Tensor<2>>>;

/// A forward pass on the way to its backward pass.
pub struct Pass {
    /// The copy of the model whose graph is kept: of the whole model, or of all above the recomputed layers.
    tracked: Llama,
    /// [N, D], the graph's end.
    hidden: Tensor<2>,
    below: Option<Below>,
}

/// What is kept of the layers that the backward pass computes again.
struct Below {
    model: Llama,
    packed: Packed,
    dropout: Option<(Key, f64)>,
    /// Each layer's input, [R, D].
    inputs: Vec<Tensor<2>>,
    /// The last one's output, where the kept graph begins.
    output: Tensor<2>,
}

impl Llama {
    /// The forward pass of a batch whose gradient is wanted.
    pub async fn forward(&self, packed: Packed, how: How) -> Pass {
        let recomputed = how.recomputed.min(self.layers.len());
        // A page's models are small, and nothing depends on it but memory.
        let dropout = self.dropout(how.dropout);
        if recomputed > 0 && READS_MODELS {
            return self.forward_by_layer(packed, recomputed, dropout).await;
        }
        let Packed { tokens, places, wanted } = packed;
        let tracked = self.tracked_in(0..self.layers.len(), &dropout);
        let hidden = tracked.hidden(tokens, &places).select(0, wanted);
        Pass { tracked, hidden, below: None }
    }

    async fn forward_by_layer(
        &self,
        packed: Packed,
        recomputed: usize,
        dropout: Option<(Key, f64)>,
    ) -> Pass {
        let places = packed.places.clone();
        let mut inputs = vec![self.embed(packed.tokens.clone())];
        for index in 0..recomputed {
            give_way().await;
            // The backward pass differentiates the function with dropout, so this pass has the same masks.
            let twin = self.with_dropout(index..index + 1, &dropout);
            let x = inputs[index].clone();
            inputs.push(twin.layer(index, x, &places));
        }
        let output = leaf(inputs.pop().expect("one more than layers"));
        let kept = recomputed..self.layers.len();
        let tracked = self.tracked_in(kept.clone(), &dropout);
        let top = kept.fold(output.clone(), |x, index| tracked.layer(index, x, &places));
        let hidden = tracked.final_norm(top).select(0, packed.wanted.clone());
        let below = Some(Below { model: self.clone(), packed, dropout, inputs, output });
        Pass { tracked, hidden, below }
    }

    fn tracked_in(&self, layers: Range<usize>, dropout: &Option<(Key, f64)>) -> Self {
        self.with_dropout(layers, dropout).tracked()
    }

    /// The key of a pass's masks, if there is dropout.
    fn dropout(&self, key: DropoutKey) -> Option<(Key, f64)> {
        let share = self.lora().map_or(0.0, |lora| lora.dropout);
        let DropoutKey { seed, step, micro_batch } = key;
        (share > 0.0).then(|| (Key::new(seed, step, micro_batch, &self.device()), share))
    }

    /// A copy whose adapters in `layers` drop some of their inputs.
    fn with_dropout(&self, layers: Range<usize>, dropout: &Option<(Key, f64)>) -> Self {
        let mut twin = self.clone();
        let Some((key, share)) = dropout else { return twin };
        for index in layers {
            let matrices = Layer::matrices(&mut twin.layers[index]);
            for (matrix, (_, linear)) in matrices.into_iter().enumerate() {
                let place = (8 * index + matrix) as u32;
                linear.set_dropout(Dropout { key: key.clone(), place, share: *share });
            }
        }
        twin
    }
}

impl Pass {
    /// Hidden states [N, D] of the wanted positions, plain.
    pub fn hidden(&self) -> Tensor<2> {
        self.hidden.clone().without_autodiff()
    }

    /// The backward pass: adds ∂L/∂θ to `sum`, given ∂L/∂hidden as `d_hidden` [N, D] and ∂L/∂head as
    /// `d_head`, a tensor for each of the head's blocks (empty for a frozen head).
    pub async fn backward(
        self,
        d_hidden: Tensor<2>,
        d_head: Vec<Tensor<2>>,
        sum: &mut ParameterGradients,
    ) {
        let mut gradients = backward_from(self.hidden, d_hidden);
        let Some(below) = self.below.filter(|_| READS_MODELS) else {
            return take(&self.tracked, &mut gradients, d_head, sum);
        };
        let dy = below.output.grad_remove(&mut gradients).expect("the hidden states depend on it");
        // A tied head's waits for the embedding's, with which it is added to the sum.
        let (now, later) = match self.tracked.config.tied {
            true => (Vec::new(), d_head),
            false => (d_head, Vec::new()),
        };
        take(&self.tracked, &mut gradients, now, sum);
        drop((self.tracked, gradients));
        below.backward(dy, later, sum).await;
    }
}

impl Below {
    /// Goes on through the layers from `dy` [R, D], the gradient at the last layer's output.
    async fn backward(
        self,
        mut dy: Tensor<2>,
        d_head: Vec<Tensor<2>>,
        sum: &mut ParameterGradients,
    ) {
        let Self { model, packed: Packed { tokens, places, .. }, dropout, .. } = self;
        for (index, input) in self.inputs.into_iter().enumerate().rev() {
            give_way().await;
            let tracked = model.with_dropout(index..index + 1, &dropout).tracked_layer(index);
            let x = leaf(input);
            let y = tracked.layer(index, x.clone(), &places);
            let mut gradients = backward_from(y, dy);
            dy = x.grad_remove(&mut gradients).expect("a layer's output depends on its input");
            take(&tracked, &mut gradients, Vec::new(), sum);
        }
        if model.lora().is_none() {
            let tracked = model.tracked();
            let mut gradients = backward_from(tracked.embed(tokens), dy);
            take(&tracked, &mut gradients, d_head, sum);
        }
    }
}

fn leaf(x: Tensor<2>) -> Tensor<2> {
    x.autodiff().require_grad()
}

/// Adds a backward pass's gradients to the sums, those of the head's blocks among them.
fn take(
    tracked: &Llama,
    gradients: &mut Gradients,
    d_head: Vec<Tensor<2>>,
    sum: &mut ParameterGradients,
) {
    let mut d_head = d_head.into_iter();
    for (slot, p) in sum.iter_mut().zip(tracked.parameters()) {
        let by_head = if p.name == tracked.head_name() { d_head.next() } else { None };
        let own = if p.tensor.is_require_grad() { p.tensor.grad_remove(gradients) } else { None };
        let gradient = added(own, by_head);
        *slot = added(slot.take(), gradient);
    }
}

fn added(a: Option<Tensor<2>>, b: Option<Tensor<2>>) -> Option<Tensor<2>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}
