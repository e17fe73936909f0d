//! The gated activation of Llama's feed-forward block (Shazeer, 2020): silu(gate)·up, where
//! silu(g) = g·σ(g).

use super::cpu::{f32s, f32s_mut, tensor};
use super::fused::{self, FusedOp};
use super::vector::{sigmoid, wide};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, activation};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Elements that a task takes at a time.
const CHUNK: usize = 1 << 14;

/// gate [N, F], up [N, F] → silu(gate)·up [N, F].
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    if fused::runs_on(&gate.device()) { fused::run(SwiGlu, [gate, up]) } else { stock(gate, up) }
}

/// [`swiglu`] composed of burn's own operations, for every device.
pub fn stock(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    activation::silu(gate) * up
}

#[derive(Debug, Clone)]
struct SwiGlu;

struct Forward<'a> {
    y: &'a mut [f32],
    gate: &'a [f32],
    up: &'a [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((y, &g), &u) in self.y.iter_mut().zip(self.gate).zip(self.up) {
            *y = g * sigmoid(g) * u;
        }
    }
}

struct Backward<'a> {
    dgate: &'a mut [f32],
    /// ∂L/∂y, overwritten by ∂L/∂u.
    dy: &'a mut [f32],
    gate: &'a [f32],
    up: &'a [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    // With s = σ(g): ∂L/∂g = dy·u·s·(1 + g·(1 − s)), ∂L/∂u = dy·g·s.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let outs = self.dgate.iter_mut().zip(self.dy);
        for ((dgate, dy), (&g, &u)) in outs.zip(self.gate.iter().zip(self.up)) {
            let s = sigmoid(g);
            *dgate = *dy * u * s * (1.0 + g * (1.0 - s));
            *dy *= g * s;
        }
    }
}

impl FusedOp<2> for SwiGlu {
    fn forward(&self, [gate, up]: &[FlexTensor; 2]) -> FlexTensor {
        let (shape, gate, up) = (gate.layout().shape(), f32s(gate), f32s(up));
        let mut y = vec![0.0; gate.len()];
        let tasks = y.par_chunks_mut(CHUNK).zip(gate.par_chunks(CHUNK)).zip(up.par_chunks(CHUNK));
        tasks.for_each(|((y, gate), up)| wide(Forward { y, gate, up }));
        tensor(y, shape.clone())
    }

    fn backward(&self, [gate, up]: [FlexTensor; 2], mut dy: FlexTensor) -> [FlexTensor; 2] {
        let shape = gate.layout().shape().clone();
        let (gate, up) = (f32s(&gate), f32s(&up));
        let mut dgate = vec![0.0; gate.len()];
        let outs = dgate.par_chunks_mut(CHUNK).zip(f32s_mut(&mut dy).par_chunks_mut(CHUNK));
        let ins = gate.par_chunks(CHUNK).zip(up.par_chunks(CHUNK));
        outs.zip(ins).for_each(|((dgate, dy), (gate, up))| wide(Backward { dgate, dy, gate, up }));
        [tensor(dgate, shape), dy]
    }
}
