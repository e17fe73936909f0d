//! The CPU backend's token statistics: f32 loops that vectorise, threads over rows.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::{RECORD, TokenStatsKernels};
use crate::cpu;

/// A finite stand-in for −∞, as in the shader.
const LOWEST: f32 = -3.0e38;
/// Independent sums that the compiler keeps in vector registers.
const LANES: usize = 8;
/// Columns between two merges: short enough for the first-level cache, and for f32 sums.
const BLOCK: usize = 2048;
/// Fewest logits that are worth another thread.
const TASK: usize = 1 << 14;

impl TokenStatsKernels for Flex {
    fn token_stats_update(
        records: FlexTensor,
        logits: FlexTensor,
        targets: FlexTensor,
        offset: usize,
    ) -> FlexTensor {
        let (logits, targets, mut records) =
            (cpu::dense(logits), cpu::dense(targets), cpu::dense(records));
        let (logits, targets) = (cpu::f32s(&logits), cpu::i32s(&targets));
        forward(logits, targets, records.storage_mut(), offset);
        records
    }

    fn token_stats_backward(
        logits: FlexTensor,
        targets: FlexTensor,
        records: FlexTensor,
        gradient: FlexTensor,
        offset: usize,
    ) -> FlexTensor {
        let mut logits = cpu::dense(logits);
        let [targets, records, gradient] = [targets, records, gradient].map(cpu::dense);
        let (targets, records) = (cpu::i32s(&targets), cpu::f32s(&records));
        backward(logits.storage_mut(), targets, records, cpu::f32s(&gradient), offset);
        logits
    }
}

/// Updates `records` [N, 6] with the block `logits` [N, Vb] at vocabulary offset `offset`.
fn forward(logits: &[f32], targets: &[i32], records: &mut [f32], offset: usize) {
    let columns = logits.len() / targets.len().max(1);
    let rows = rows_per_task(columns);
    let task = |((logits, targets), records): ((&[f32], &[i32]), &mut [f32])| {
        for ((row, &target), record) in
            logits.chunks(columns).zip(targets).zip(records.chunks_mut(RECORD))
        {
            update(row, target, record, offset);
        }
    };
    if targets.len() <= rows {
        return task(((logits, targets), records));
    }
    logits
        .par_chunks(rows * columns)
        .zip(targets.par_chunks(rows))
        .zip(records.par_chunks_mut(rows * RECORD))
        .for_each(task);
}

/// Turns the block `logits` [N, Vb] into dlogits, from `gradient` [N, 2].
fn backward(logits: &mut [f32], targets: &[i32], records: &[f32], gradient: &[f32], offset: usize) {
    let columns = logits.len() / targets.len().max(1);
    let rows = rows_per_task(columns);
    let task = |(logits, first): (&mut [f32], usize)| {
        for (i, row) in logits.chunks_mut(columns).enumerate() {
            let n = first * rows + i;
            let record = &records[n * RECORD..(n + 1) * RECORD];
            row_gradient(row, targets[n], record, &gradient[n * 2..n * 2 + 2], offset);
        }
    };
    if targets.len() <= rows {
        return task((logits, 0));
    }
    logits.par_chunks_mut(rows * columns).enumerate().for_each(|(i, chunk)| task((chunk, i)));
}

fn rows_per_task(columns: usize) -> usize {
    (TASK / columns.max(1)).max(1)
}

fn update(row: &[f32], target: i32, record: &mut [f32], offset: usize) {
    let (mut total, mut z) = (Moments { m: LOWEST, s: 0.0, t: 0.0 }, LOWEST);
    if offset > 0 {
        total = Moments { m: record[0], s: f64::from(record[1]), t: f64::from(record[2]) };
        z = record[3];
    }
    for block in row.chunks(BLOCK) {
        total = total.merge(Moments::of(block));
    }
    if let Some(&logit) = usize::try_from(target)
        .ok()
        .and_then(|target| target.checked_sub(offset))
        .and_then(|position| row.get(position))
    {
        z = logit;
    }
    let ln_s = total.s.ln();
    let log_p = if target < 0 { 0.0 } else { f64::from(z) - f64::from(total.m) - ln_s };
    record.copy_from_slice(&[
        total.m,
        total.s as f32,
        total.t as f32,
        z,
        log_p as f32,
        (ln_s - total.t / total.s) as f32,
    ]);
}

fn row_gradient(row: &mut [f32], target: i32, record: &[f32], gradient: &[f32], offset: usize) {
    let (m, ln_s, entropy) = (record[0], record[1].ln(), record[5]);
    let g_logp = if target < 0 { 0.0 } else { gradient[0] };
    let g_entropy = gradient[1];
    for x in row.iter_mut() {
        let ln_p = (*x - m) - ln_s;
        *x = -exp(ln_p) * (g_logp + g_entropy * (ln_p + entropy));
    }
    if let Some(hit) = usize::try_from(target)
        .ok()
        .and_then(|target| target.checked_sub(offset))
        .and_then(|position| row.get_mut(position))
    {
        *hit += g_logp;
    }
}

/// Sums over part of a row, relative to its maximum m: s = Σ e^(x−m), t = Σ e^(x−m)(x−m).
#[derive(Clone, Copy)]
struct Moments {
    m: f32,
    s: f64,
    t: f64,
}

impl Moments {
    fn of(block: &[f32]) -> Self {
        let (whole, rest) = block.as_chunks::<LANES>();
        let mut tops = [LOWEST; LANES];
        for chunk in whole {
            for (top, &x) in tops.iter_mut().zip(chunk) {
                *top = if x > *top { x } else { *top };
            }
        }
        let m = tops.iter().chain(rest).fold(LOWEST, |top, &x| if x > top { x } else { top });
        let (mut s, mut t) = ([0.0f32; LANES], [0.0f32; LANES]);
        for chunk in whole {
            for i in 0..LANES {
                let d = chunk[i] - m;
                let e = exp(d);
                s[i] += e;
                t[i] += e * d;
            }
        }
        for (i, x) in rest.iter().enumerate() {
            let d = x - m;
            let e = exp(d);
            s[i] += e;
            t[i] += e * d;
        }
        let sum = |lanes: [f32; LANES]| lanes.iter().map(|&x| f64::from(x)).sum();
        Self { m, s: sum(s), t: sum(t) }
    }

    /// The sums over both parts: shifting the maximum by δ turns t into e^(−δ)(t − δ·s).
    fn merge(self, other: Self) -> Self {
        let m = self.m.max(other.m);
        let shift = |part: Self| {
            let d = f64::from(part.m) - f64::from(m);
            (d.exp() * part.s, d.exp() * (part.t + d * part.s))
        };
        let ((s0, t0), (s1, t1)) = (shift(self), shift(other));
        Self { m, s: s0 + s1, t: t0 + t1 }
    }
}

/// e^x for x ≤ 0 within 2e-7 relative: Cephes' `expf` without branches or calls, so that loops
/// over it vectorise. Below −87 it stays at e^−87 ≈ 1.6e-38, which vanishes in any sum here; NaN
/// passes through.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5·2²³ leaves the rounded integer in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts: n times the first is exact.
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let series =
        ((((1.987_569_1e-4 * r + 1.398_199_9e-3) * r + 8.333_452e-3) * r + 4.166_579_6e-2) * r
            + 1.666_666_5e-1)
            * r
            + 0.5;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    (series * (r * r) + r + 1.0) * power
}
