//! The CPU twin of `shaders/sampling.wgsl`: threads over rows, f32 weights, f64 sums.

use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Shape, TensorData};
use rayon::prelude::*;

use super::{Key, Sampling, SamplingOps};
use crate::cpu;
use srft_formats::random::token_uniform;

/// Fewest logits that are worth another thread.
const LOGITS_A_THREAD: usize = 1 << 11;

impl SamplingOps for Flex {
    fn sample(
        logits: FlexTensor,
        draws: FlexTensor,
        key: Key,
        settings: Sampling,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [rows, vocabulary] = logits.shape().dims();
        let (logits, draws) = (cpu::dense(logits), cpu::dense(draws));
        let mut counters: Vec<u32> = cpu::i32s(&draws).iter().map(|&n| n as u32).collect();
        let mut tokens = vec![0i32; rows];
        let mut stats = vec![0.0f32; rows * 2];
        cpu::f32s(&logits)
            .par_chunks(vocabulary)
            .zip(counters.par_chunks(3))
            .zip(tokens.par_iter_mut().zip(stats.par_chunks_mut(2)))
            .with_min_len(LOGITS_A_THREAD.div_ceil(vocabulary))
            .for_each_init(Vec::new, |weights, ((row, draw), (token, stats))| {
                let u = token_uniform(key.seed, key.step, draw[0], draw[1], draw[2]);
                let chosen = one(row, u, settings, weights, stats);
                *token = chosen as i32;
            });
        let tokens = FlexTensor::from_data(TensorData::new(tokens, Shape::new([rows])));
        counters.chunks_mut(3).for_each(|draw| draw[2] += 1);
        let next: Vec<i32> = counters.into_iter().map(|n| n as i32).collect();
        let next = FlexTensor::from_data(TensorData::new(next, Shape::new([rows, 3])));
        (tokens, cpu::tensor(stats, Shape::new([rows, 2])), next)
    }
}

/// Draws from one row and writes (ln π, H); `weights` is scratch that keeps its allocation.
fn one(
    logits: &[f32],
    u: f32,
    settings: Sampling,
    weights: &mut Vec<f32>,
    stats: &mut [f32],
) -> usize {
    let mut largest = 0;
    for (v, &x) in logits.iter().enumerate() {
        if x > logits[largest] {
            largest = v;
        }
    }
    let max = logits[largest];
    let per_policy = 1.0 / settings.policy_temperature;
    weights.clear();
    weights.extend(logits.iter().map(|x| ((x - max) * per_policy).exp()));
    // H = ln s − t / s with s = Σ e^(x−m), t = Σ e^(x−m)(x−m): no cancellation at large |m|.
    let (mut s, mut t) = (0.0f64, 0.0f64);
    for (&w, &x) in weights.iter().zip(logits) {
        s += f64::from(w);
        t += f64::from(w * ((x - max) * per_policy));
    }

    let token = if settings.temperature == 0.0 {
        largest
    } else {
        if settings.temperature != settings.policy_temperature {
            let per_temperature = 1.0 / settings.temperature;
            weights.clear();
            weights.extend(logits.iter().map(|x| ((x - max) * per_temperature).exp()));
        }
        if settings.top_k > 0 || settings.top_p < 1.0 || settings.min_p > 0.0 {
            keep(logits, max, settings, weights);
        }
        draw(weights, u)
    };
    stats[0] = (f64::from((logits[token] - max) * per_policy) - s.ln()) as f32;
    stats[1] = (s.ln() - t / s) as f32;
    token
}

/// Zeroes the weights of the tokens that top-k, top-p and min-p drop; ties with the last kept one
/// stay.
fn keep(logits: &[f32], max: f32, settings: Sampling, weights: &mut [f32]) {
    // Integers that sort the logits in descending order, each with its token, to find its weight.
    let mut order: Vec<(u32, u32)> = (0u32..).zip(logits).map(|(v, &x)| (!key(x), v)).collect();
    let mut threshold = u32::MAX;
    let k = settings.top_k as usize;
    if 0 < k && k < order.len() {
        threshold = order.select_nth_unstable(k - 1).1.0;
        order.retain(|&(key, _)| key <= threshold);
    }
    if settings.top_p < 1.0 {
        order.sort_unstable();
        let mass = |order: &[(u32, u32)]| -> f64 {
            order.iter().map(|&(_, v)| f64::from(weights[v as usize])).sum()
        };
        let mut missing = f64::from(settings.top_p) * mass(&order);
        for &(key, v) in &order {
            threshold = key;
            missing -= f64::from(weights[v as usize]);
            if missing <= 0.0 {
                break;
            }
        }
    }
    threshold = threshold.min(!key(max + settings.lowest_below_largest()));
    for (weight, &x) in weights.iter_mut().zip(logits) {
        if !key(x) > threshold {
            *weight = 0.0;
        }
    }
}

/// Maps a float to a u32 that sorts like it; −0 equals +0.
fn key(x: f32) -> u32 {
    let bits = (x + 0.0).to_bits();
    if bits >> 31 == 0 { bits | 0x8000_0000 } else { !bits }
}

/// The first token in index order whose cumulative weight exceeds u · total.
fn draw(weights: &[f32], u: f32) -> usize {
    let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    let mut left = f64::from(u) * total;
    let mut last = 0;
    for (v, &w) in weights.iter().enumerate() {
        if w > 0.0 {
            last = v;
            left -= f64::from(w);
            if left < 0.0 {
                break;
            }
        }
    }
    last
}
