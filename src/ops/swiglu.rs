//! The gated activation of Llama's feed-forward block (Shazeer, 2020): silu(gate)·up, where
//! silu(g) = g·σ(g).

use super::cpu::{f32s, tensor};
use super::fused::{self, FusedOp};
use super::vector::{sigmoid, wide};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, activation};
use rayon::prelude::*;

/// Elements that a task takes at a time.
const CHUNK: usize = 1 << 14;

/// gate [N, F], up [N, F] → silu(gate)·up [N, F].
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    if fused::runs_on(&gate.device()) {
        fused::run(SwiGlu, [gate, up])
    } else {
        stock(gate, up)
    }
}

/// The same of burn's own operations, for every device.
pub fn stock(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    activation::silu(gate) * up
}

#[derive(Debug, Clone)]
struct SwiGlu;

impl FusedOp<2> for SwiGlu {
    fn forward(&self, [gate, up]: &[FlexTensor; 2]) -> FlexTensor {
        let (shape, gate, up) = (gate.layout().shape(), f32s(gate), f32s(up));
        let mut y = vec![0.0; gate.len()];
        let tasks = y.par_chunks_mut(CHUNK).zip(gate.par_chunks(CHUNK));
        tasks.zip(up.par_chunks(CHUNK)).for_each(|((y, gate), up)| {
            wide(|| {
                for ((y, &g), &u) in y.iter_mut().zip(gate).zip(up) {
                    *y = g * sigmoid(g) * u;
                }
            });
        });
        tensor(y, shape.clone())
    }

    // With s = σ(g): ∂L/∂g = dy·u·s·(1 + g·(1 − s)), ∂L/∂u = dy·g·s.
    fn backward(&self, [gate, up]: [FlexTensor; 2], dy: FlexTensor) -> [FlexTensor; 2] {
        let shape = gate.layout().shape().clone();
        let (gate, up, dy) = (f32s(&gate), f32s(&up), f32s(&dy));
        let (mut dgate, mut dup) = (vec![0.0; gate.len()], vec![0.0; gate.len()]);
        let outs = dgate.par_chunks_mut(CHUNK).zip(dup.par_chunks_mut(CHUNK));
        let ins = gate.par_chunks(CHUNK).zip(up.par_chunks(CHUNK)).zip(dy.par_chunks(CHUNK));
        outs.zip(ins).for_each(|((dgate, dup), ((gate, up), dy))| {
            wide(|| {
                let outs = dgate.iter_mut().zip(dup);
                for ((dgate, dup), ((&g, &u), &dy)) in outs.zip(gate.iter().zip(up).zip(dy)) {
                    let s = sigmoid(g);
                    *dgate = dy * u * s * (1.0 + g * (1.0 - s));
                    *dup = dy * g * s;
                }
            });
        });
        [tensor(dgate, shape.clone()), tensor(dup, shape)]
    }
}
