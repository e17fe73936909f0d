//! The CPU twin of `shaders/objective.wgsl`: threads over sequences, f32 terms, f64 sums.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;
use rayon::prelude::*;

use super::{COLUMNS, EntropyOver, MAX_LOG_RATIO, Row, Switches, Weight, column, owned};
use crate::cpu;

/// `stats` `[n, 2]`, `old_logprobs` `[n]` → coefficients `[n, 2]`, sums `[S, 8]`.
pub fn objective(
    stats: FlexTensor,
    old_logprobs: FlexTensor,
    rows: &[Row],
    switches: &Switches,
) -> (FlexTensor, FlexTensor) {
    let n = stats.shape()[0];
    let (stats, old_logprobs) = (cpu::dense(stats), cpu::dense(old_logprobs));
    let (all_stats, all_old) = (cpu::f32s(&stats), cpu::f32s(&old_logprobs));
    let mut coefficients = vec![0.0; n * 2];
    let mut sums = vec![0.0; rows.len() * COLUMNS];
    let mut rest = coefficients.as_mut_slice();
    let mut outputs = Vec::with_capacity(rows.len());
    for ((first, last), row) in owned(rows, n).into_iter().zip(rows) {
        let (mine, others) = rest.split_at_mut((last - first) as usize * 2);
        rest = others;
        let skip = (row.start - first) as usize * 2;
        outputs.push(&mut mine[skip..skip + row.len as usize * 2]);
    }
    let sums_by_row = sums.par_chunks_mut(COLUMNS);
    outputs.into_par_iter().zip(sums_by_row).zip(rows).for_each(|((output, sums), row)| {
        let (from, to) = (row.start as usize, (row.start + row.len) as usize);
        sequence(row, switches, &all_stats[from * 2..to * 2], &all_old[from..to], output, sums);
    });
    let sums_shape = Shape::new([rows.len(), COLUMNS]);
    (cpu::tensor(coefficients, Shape::new([n, 2])), cpu::tensor(sums, sums_shape))
}

fn sequence(
    row: &Row,
    switches: &Switches,
    stats: &[f32],
    old: &[f32],
    coefficients: &mut [f32],
    sums: &mut [f32],
) {
    let c = row.terms;
    let len = f64::from(row.len.max(1));
    let mean = (stats.iter().skip(1).step_by(2).map(|&h| f64::from(h)).sum::<f64>() / len) as f32;
    let mut totals = [0.0f64; COLUMNS];
    for ((stats, &old), out) in stats.chunks_exact(2).zip(old).zip(coefficients.chunks_exact_mut(2))
    {
        let (logp, entropy) = (stats[0], stats[1]);
        let h = match switches.entropy_over {
            EntropyOver::Sequence => mean,
            EntropyOver::Token => entropy,
            EntropyOver::Batch { demonstrations_nats, .. } if row.demonstration => {
                demonstrations_nats
            }
            EntropyOver::Batch { rollouts_nats, .. } => rollouts_nats,
        };
        let p = logp.exp();
        let phi = if switches.sft_phi { p * (1.0 - p) } else { 1.0 };
        let w_sft = weight(switches.sft_weight, h) * phi;
        let w_rl = weight(switches.self_weight, h);
        let w = match switches.max_logp {
            Some(most) if logp > most => 0.0,
            _ if c.self_positive => w_rl,
            _ => 1.0,
        };

        let (f, f_slope) = match switches.shaping {
            None => (p, p),
            Some(gamma) => (p / (p + gamma), gamma * p / ((p + gamma) * (p + gamma))),
        };
        let (mut surrogate, mut slope, mut clipped) = (0.0, 0.0, false);
        if c.self_ratio != 0.0 {
            let rho = (logp - old).min(MAX_LOG_RATIO).exp();
            let free = c.self_ratio * rho;
            let held = c.self_ratio * rho.clamp(1.0 - switches.clip.low, 1.0 + switches.clip.high);
            clipped = free < held;
            surrogate = free.max(held);
            slope = if clipped { 0.0 } else { free };
        }

        let (mut penalty, mut pull) = (0.0, 0.0);
        if c.kl != 0.0 {
            let log_r = (old - logp).min(MAX_LOG_RATIO);
            let r = log_r.exp();
            penalty = c.kl * (r - 1.0 - log_r);
            pull = c.kl * (1.0 - r);
        }

        out[0] = -c.sft * w_sft + c.rl_demo * f_slope + w * (c.self_logp + slope) + pull;
        out[1] = c.entropy;
        totals[column::SFT] -= f64::from(c.sft * w_sft * logp);
        totals[column::RL_DEMO] += f64::from(c.rl_demo * f);
        totals[column::SELF] += f64::from(w * (c.self_logp * logp + surrogate));
        totals[column::REGULARISER] += f64::from(c.entropy * entropy + penalty);
        totals[column::ENTROPY] += f64::from(entropy);
        totals[column::LOGP] += f64::from(logp);
        totals[column::WEIGHT] += f64::from(if row.demonstration { w_sft } else { w_rl });
        totals[column::CLIPPED] += f64::from(u8::from(clipped));
    }
    totals[column::WEIGHT] /= len;
    for (sum, total) in sums.iter_mut().zip(totals) {
        *sum = total as f32;
    }
}

fn weight(weight: Option<Weight>, entropy: f32) -> f32 {
    weight.map_or(1.0, |w| w.scale * (w.sign * entropy).exp())
}
