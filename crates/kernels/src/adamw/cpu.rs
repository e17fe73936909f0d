//! The CPU's form: one pass over memory.

use super::{State, Step, Update};
use crate::cpu::{dense, f32s, f32s_mut};
use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Numbers that a task takes at a time.
const CHUNK: usize = 1 << 14;

pub(super) fn adamw(step: Step, update: &Update) -> State {
    let Step { state: State { weights, first, second }, gradient, decay } = step;
    let [mut weights, mut first, mut second] = [weights, first, second].map(host);
    let gradient = host(gradient);
    let slices = [&mut weights, &mut first, &mut second].map(f32s_mut);
    let [w, m, v] = slices.map(|x| x.par_chunks_mut(CHUNK));
    let chunks = w.zip(m).zip(v).zip(f32s(&gradient).par_chunks(CHUNK));
    chunks.for_each(|(((w, m), v), g)| chunk([w, m, v], g, decay, update));
    let [weights, first, second] = [weights, first, second].map(Tensor::from_primitive::<Flex>);
    State { weights, first, second }
}

fn chunk([weights, first, second]: [&mut [f32]; 3], gradient: &[f32], decay: f64, update: &Update) {
    let Update { scale, betas, corrections, epsilon, rate } = *update;
    let [scale, epsilon, decay] = [scale, epsilon, decay].map(|x| x as f32);
    let [[keep1, add1], [keep2, add2]] = betas.map(|b| [b as f32, (1.0 - b) as f32]);
    let (correct, rate) = (corrections[1] as f32, (rate / corrections[0]) as f32);
    let moments = first.iter_mut().zip(second);
    for ((w, (m, v)), g) in weights.iter_mut().zip(moments).zip(gradient) {
        let g = g * scale;
        *m = *m * keep1 + g * add1;
        *v = *v * keep2 + (g * g) * add2;
        *w = *w * decay - (*m / ((*v / correct).sqrt() + epsilon)) * rate;
    }
}

fn host(x: Tensor<2>) -> FlexTensor {
    dense(x.try_into_primitive::<Flex>().expect("a tensor of the CPU backend"))
}
