//! AdamW (Loshchilov & Hutter, 2019) of many tensors, each in one pass, and the norm of many gradients.

mod cpu;
mod gpu;
pub mod reference;

use super::{cube, fused};
use burn::tensor::Tensor;

/// An update's numbers, the same for every tensor.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    /// What clipping leaves of the gradient.
    pub scale: f64,
    /// β₁ and β₂.
    pub betas: [f64; 2],
    /// 1 − βᵗ of both, after t updates: what the moments are divided by.
    pub corrections: [f64; 2],
    /// ε.
    pub epsilon: f64,
    /// The learning rate.
    pub rate: f64,
}

/// A tensor that trains: its weights and the running means of its gradient and of that's square, in one shape.
pub struct State {
    /// The weights.
    pub weights: Tensor<2>,
    /// The first moment.
    pub first: Tensor<2>,
    /// The second moment.
    pub second: Tensor<2>,
}

/// What one tensor's update needs.
pub struct Step {
    /// Weights and moments as they are.
    pub state: State,
    /// The loss's gradient, in the weights' shape.
    pub gradient: Tensor<2>,
    /// What is left of a weight before its step: 1 − lr·λ, or 1.
    pub decay: f64,
}

/// One update of tensors on one device. What no one else holds is written in place.
pub fn adamw(steps: Vec<Step>, update: &Update) -> Vec<State> {
    match steps.first().is_some_and(|p| fused::runs_on(&p.gradient.device())) {
        true => steps.into_iter().map(|p| cpu::adamw(p, update)).collect(),
        false => gpu::adamw(steps, update),
    }
}

/// The squared global L2 norm of gradients, `[1]`, still on the device; always summed in one order.
pub fn squared_norm(gradients: &[Tensor<2>]) -> Tensor<1> {
    match gradients.first().is_some_and(|g| cube::runs_on(&g.device())) {
        true => gpu::squared_norm(gradients),
        false => stock_squared_norm(gradients),
    }
}

/// [`squared_norm`] by burn's own operations.
fn stock_squared_norm(gradients: &[Tensor<2>]) -> Tensor<1> {
    let sum = |x: Tensor<2>| x.sum_dim(1).sum_dim(0); // [1, 1]
    let squares: Vec<Tensor<2>> = gradients.iter().map(|g| sum(g.clone() * g.clone())).collect();
    sum(Tensor::cat(squares, 0)).flatten(0, 1)
}
