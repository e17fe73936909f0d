//! Gradients of a loss with respect to what trains: through one graph, or layer by layer, where only
//! each layer's input is kept and its inside is computed again (Chen et al., 2016).

use super::Llama;
#[cfg(not(target_family = "wasm"))]
use super::layers::Layer;
#[cfg(not(target_family = "wasm"))]
use crate::ops::given_gradient::given_gradient;
#[cfg(not(target_family = "wasm"))]
use crate::platform::give_way;
#[cfg(not(target_family = "wasm"))]
use crate::random::dropout_mask;
#[cfg(not(target_family = "wasm"))]
use burn::tensor::TensorData;
use burn::tensor::{Gradients, Int, Tensor};
use std::ops::Range;

/// Right-padded tokens, [B·T], as [`Llama::hidden`] takes them.
pub struct Padded {
    /// Token ids.
    pub tokens: Tensor<1, Int>,
    /// B.
    pub batch: usize,
    /// T.
    pub positions: usize,
}

/// What the dropout of adapters is drawn by, besides layer and matrix.
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

impl Llama {
    /// Adds to `sum` ∂L/∂θ of the loss that `loss_of` forms of a tracked twin and its hidden states
    /// [B·T, D].
    ///
    /// With `layer_by_layer` the graph of one layer exists at a time, for a second forward pass; a page
    /// does without, since its models are small and its download counted.
    pub async fn gradients(
        &self,
        padded: &Padded,
        #[cfg_attr(target_family = "wasm", expect(unused, reason = "see above"))]
        layer_by_layer: bool,
        dropout: DropoutKey,
        sum: &mut ParameterGradients,
        loss_of: impl FnOnce(&Llama, Tensor<2>) -> Tensor<1>,
    ) {
        let Padded { tokens, batch, positions } = padded;
        let rows = batch * positions;
        #[cfg(not(target_family = "wasm"))]
        if layer_by_layer {
            return self.gradients_by_layer(padded, dropout, sum, loss_of).await;
        }
        let tracked = self.tracked_in(0..self.layers.len(), rows, dropout);
        let loss = loss_of(&tracked, tracked.hidden(tokens.clone(), *batch, *positions));
        take(&tracked, &mut loss.backward(), sum);
    }

    #[cfg(not(target_family = "wasm"))]
    async fn gradients_by_layer(
        &self,
        padded: &Padded,
        dropout: DropoutKey,
        sum: &mut ParameterGradients,
        loss_of: impl FnOnce(&Llama, Tensor<2>) -> Tensor<1>,
    ) {
        let Padded { tokens, batch, positions } = padded;
        let rows = batch * positions;
        // Dropout belongs to the function that is differentiated: the first pass has the same.
        let mut inputs = vec![self.embed(tokens.clone())];
        for index in 0..self.layers.len() {
            give_way().await;
            let twin = self.with_dropout(index..index + 1, rows, dropout);
            let x = inputs[index].clone();
            inputs.push(twin.layer(index, x, *batch, *positions));
        }
        let leaf = |x: Tensor<2>| x.autodiff().require_grad();
        let tracked = self.tracked();
        let x = leaf(inputs.pop().expect("one more than layers"));
        let mut gradients = loss_of(&tracked, tracked.final_norm(x.clone())).backward();
        let mut dx = x.grad_remove(&mut gradients);
        take(&tracked, &mut gradients, sum);
        for (index, input) in inputs.into_iter().enumerate().rev() {
            let Some(dy) = dx else { return };
            give_way().await;
            let tracked = self.tracked_in(index..index + 1, rows, dropout);
            let x = leaf(input);
            let y = tracked.layer(index, x.clone(), *batch, *positions);
            let mut gradients = given_gradient(y, dy).backward();
            dx = x.grad_remove(&mut gradients);
            take(&tracked, &mut gradients, sum);
        }
        if let Some(dy) = dx.filter(|_| self.lora().is_none()) {
            let tracked = self.tracked();
            let mut gradients = given_gradient(tracked.embed(tokens.clone()), dy).backward();
            take(&tracked, &mut gradients, sum);
        }
    }

    #[cfg(target_family = "wasm")]
    fn tracked_in(&self, _: Range<usize>, _: usize, _: DropoutKey) -> Self {
        self.tracked()
    }

    #[cfg(not(target_family = "wasm"))]
    fn tracked_in(&self, layers: Range<usize>, rows: usize, dropout: DropoutKey) -> Self {
        self.with_dropout(layers, rows, dropout).tracked()
    }

    /// A twin whose adapters in `layers` drop some of their inputs, [rows, In] each.
    #[cfg(not(target_family = "wasm"))]
    fn with_dropout(&self, layers: Range<usize>, rows: usize, key: DropoutKey) -> Self {
        let mut twin = self.clone();
        let share = self.lora().map_or(0.0, |lora| lora.dropout);
        if share > 0.0 {
            let device = self.device();
            for index in layers {
                let matrices = Layer::matrices(&mut twin.layers[index]);
                for (matrix, (_, linear)) in matrices.into_iter().enumerate() {
                    let place = (8 * index + matrix) as u32;
                    linear.set_dropout(|input| {
                        let DropoutKey { seed, step, micro_batch } = key;
                        let mask =
                            dropout_mask(seed, step, [micro_batch, place], rows * input, share);
                        Tensor::from_data(TensorData::new(mask, [rows, input]), &device)
                    });
                }
            }
        }
        twin
    }
}

/// Adds a backward pass's gradients to the sums.
fn take(tracked: &Llama, gradients: &mut Gradients, sum: &mut ParameterGradients) {
    for (slot, p) in sum.iter_mut().zip(tracked.parameters()) {
        if let Some(gradient) = p.tensor.grad_remove(gradients) {
            *slot = Some(match slot.take() {
                Some(sum) => sum + gradient,
                None => gradient,
            });
        }
    }
}
