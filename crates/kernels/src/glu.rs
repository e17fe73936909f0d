//! The gated activation of a feed-forward block (Shazeer, 2020): act(gate)·up, where act(g) = g·σ(u(g)).
//! With u(g) = g that is SiLU; GELU's tanh form is another u, since (1 + tanh z)/2 = σ(2z).

mod gpu;
pub mod reference;

use super::cpu::{f32s, f32s_mut, tensor};
use super::cube;
use super::fused::{self, FusedOp};
use super::vector::{sigmoid, wide};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, activation};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use srft_formats::model::Activation;
use srft_formats::platform::READS_MODELS;
use std::fmt::Debug;
use std::marker::PhantomData;

/// Elements that a task takes at a time.
const CHUNK: usize = 1 << 14;

/// Of GELU's u(g) = LINEAR·g + CUBIC·g³: 2·√(2/π), and that times 0.044715.
const LINEAR: f32 = 1.595_769;
const CUBIC: f32 = 0.071_354_814;

/// gate [N, F], up [N, F] → act(gate)·up [N, F].
pub fn glu(gate: Tensor<2>, up: Tensor<2>, act: Activation) -> Tensor<2> {
    let act = if READS_MODELS { act } else { Activation::Silu }; // the built-in model is no Gemma
    let device = gate.device();
    match (fused::runs_on(&device), act) {
        (true, Activation::Silu) => fused::run(Glu(PhantomData::<Silu>), [gate, up]),
        (true, Activation::GeluTanh) => fused::run(Glu(PhantomData::<GeluTanh>), [gate, up]),
        (false, _) if cube::runs_on(&device) => gpu::glu(gate, up, act),
        (false, _) => stock(gate, up, act),
    }
}

/// [`glu`] composed of burn's own operations, for every device.
pub fn stock(gate: Tensor<2>, up: Tensor<2>, act: Activation) -> Tensor<2> {
    match act {
        Activation::Silu => activation::silu(gate) * up,
        Activation::GeluTanh => {
            let inner = gate.clone() * (gate.clone().square() * CUBIC + LINEAR);
            gate * activation::sigmoid(inner) * up
        }
    }
}

/// The two numbers of an activation's u(g) = linear·g + cubic·g³.
pub(crate) fn inner_of(act: Activation) -> (f32, f32) {
    match act {
        Activation::Silu => (1.0, 0.0),
        Activation::GeluTanh => (LINEAR, CUBIC),
    }
}

/// The u of an activation.
trait Gate: Clone + Debug + Send + 'static {
    /// u(g).
    fn inner(g: f32) -> f32;

    /// u′(g).
    fn slope(g: f32) -> f32;
}

#[derive(Debug, Clone)]
struct Silu;

impl Gate for Silu {
    #[inline(always)]
    fn inner(g: f32) -> f32 {
        g
    }

    #[inline(always)]
    fn slope(_: f32) -> f32 {
        1.0
    }
}

#[derive(Debug, Clone)]
struct GeluTanh;

impl Gate for GeluTanh {
    #[inline(always)]
    fn inner(g: f32) -> f32 {
        g * (LINEAR + CUBIC * g * g)
    }

    #[inline(always)]
    fn slope(g: f32) -> f32 {
        LINEAR + 3.0 * CUBIC * g * g
    }
}

#[derive(Debug, Clone)]
struct Glu<G>(PhantomData<G>);

struct Forward<'a, G> {
    y: &'a mut [f32],
    gate: &'a [f32],
    up: &'a [f32],
    of: PhantomData<G>,
}

impl<G: Gate> WithSimd for Forward<'_, G> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((y, &g), &u) in self.y.iter_mut().zip(self.gate).zip(self.up) {
            *y = g * sigmoid(G::inner(g)) * u;
        }
    }
}

struct Backward<'a, G> {
    dgate: &'a mut [f32],
    /// ∂L/∂y, overwritten by ∂L/∂up.
    dy: &'a mut [f32],
    gate: &'a [f32],
    up: &'a [f32],
    of: PhantomData<G>,
}

impl<G: Gate> WithSimd for Backward<'_, G> {
    type Output = ();

    // With s = σ(u(g)): ∂L/∂g = dy·up·s·(1 + g·u′(g)·(1 − s)), ∂L/∂up = dy·g·s.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let outs = self.dgate.iter_mut().zip(self.dy);
        for ((dgate, dy), (&g, &u)) in outs.zip(self.gate.iter().zip(self.up)) {
            let s = sigmoid(G::inner(g));
            *dgate = *dy * u * s * (1.0 + g * G::slope(g) * (1.0 - s));
            *dy *= g * s;
        }
    }
}

impl<G: Gate> FusedOp<2> for Glu<G> {
    fn forward(&self, [gate, up]: &[FlexTensor; 2]) -> FlexTensor {
        let (shape, gate, up) = (gate.layout().shape(), f32s(gate), f32s(up));
        let mut y = vec![0.0; gate.len()];
        let tasks = y.par_chunks_mut(CHUNK).zip(gate.par_chunks(CHUNK)).zip(up.par_chunks(CHUNK));
        tasks.for_each(|((y, gate), up)| wide(Forward::<G> { y, gate, up, of: PhantomData }));
        tensor(y, shape.clone())
    }

    fn backward(&self, [gate, up]: [FlexTensor; 2], mut dy: FlexTensor) -> [FlexTensor; 2] {
        let shape = gate.layout().shape().clone();
        let (gate, up) = (f32s(&gate), f32s(&up));
        let mut dgate = vec![0.0; gate.len()];
        let outs = dgate.par_chunks_mut(CHUNK).zip(f32s_mut(&mut dy).par_chunks_mut(CHUNK));
        let ins = gate.par_chunks(CHUNK).zip(up.par_chunks(CHUNK));
        outs.zip(ins).for_each(|((dgate, dy), (gate, up))| {
            wide(Backward::<G> { dgate, dy, gate, up, of: PhantomData });
        });
        [tensor(dgate, shape), dy]
    }
}
