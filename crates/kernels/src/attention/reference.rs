//! The oracle of attention in all its forms: plain loops in f64 over a packed batch, from q [N, Hq·dh], k and v [N, Hkv·dh], unturned,
//! with θ = `theta`, unscaled.

use srft_formats::packing::Packing;
use std::ops::Range;

/// What the numbers mean.
#[derive(Debug, Clone)]
pub struct Setting<'a> {
    /// How rows see each other.
    pub packing: &'a Packing,
    /// dh.
    pub head_dim: usize,
    /// How many positions one sees, its own included.
    pub window: usize,
    /// θ.
    pub theta: f64,
}

/// A row of one head with the rows that it sees.
struct Query {
    /// Where its head begins in q.
    at: usize,
    position: usize,
    /// Where the keys' heads begin in k, with their positions and probabilities.
    keys: Vec<(usize, usize, f64)>,
}

impl Setting<'_> {
    /// Every head of some rows.
    fn queries(&self, [q, k]: [&[f64]; 2], rows: Range<usize>) -> Vec<Query> {
        let dh = self.head_dim;
        let (q_dim, kv_dim) = (q.len() / self.packing.rows(), k.len() / self.packing.rows());
        let group = q_dim / kv_dim;
        let mut queries = Vec::new();
        for segment in self.packing.segments() {
            let past = segment.past.clone().map(|row| (row, row - segment.past.start));
            let own = segment.rows.clone().map(|row| (row, segment.position(row)));
            let sequence: Vec<_> = past.chain(own).collect();
            for row in segment.rows.clone().filter(|row| rows.contains(row)) {
                let position = segment.position(row);
                for head in 0..q_dim / dh {
                    let at = row * q_dim + head * dh;
                    let query = turned(&q[at..at + dh], position, self.theta);
                    let first = (position + 1).saturating_sub(self.window);
                    let key = |&(row, place): &(usize, usize)| {
                        let at = row * kv_dim + head / group * dh;
                        let key = turned(&k[at..at + dh], place, self.theta);
                        (at, place, dot(&query, &key) / (dh as f64).sqrt())
                    };
                    let mut keys: Vec<_> = sequence[first..=position].iter().map(key).collect();
                    let largest = keys.iter().map(|key| key.2).fold(f64::MIN, f64::max);
                    let total: f64 = keys.iter().map(|key| (key.2 - largest).exp()).sum();
                    keys.iter_mut().for_each(|key| key.2 = (key.2 - largest).exp() / total);
                    queries.push(Query { at, position, keys });
                }
            }
        }
        queries
    }

    /// What each row gets, [N, Hq·dh].
    pub fn forward(&self, qkv: [&[f64]; 3]) -> Vec<f64> {
        self.rows(qkv, 0..self.packing.rows())
    }

    /// What some rows get.
    pub fn rows(&self, [q, k, v]: [&[f64]; 3], rows: Range<usize>) -> Vec<f64> {
        let dh = self.head_dim;
        let of_head = |Query { keys, .. }| {
            let mut out = vec![0.0; dh];
            keys.into_iter().for_each(|(key, _, p)| add(&mut out, p, &v[key..key + dh]));
            out
        };
        self.queries([q, k], rows).into_iter().flat_map(of_head).collect()
    }

    /// ∂L/∂ q, k and v from ∂L/∂out.
    pub fn backward(&self, [q, k, v]: [&[f64]; 3], d_out: &[f64]) -> [Vec<f64>; 3] {
        let dh = self.head_dim;
        let back = |x: &[f64], position: usize| turned_by(x, -(position as f64), self.theta);
        let [mut d_q, mut d_k, mut d_v] = [q, k, v].map(|x| vec![0.0; x.len()]);
        for Query { at, position, keys } in self.queries([q, k], 0..self.packing.rows()) {
            let d = &d_out[at..at + dh];
            let by_p = |key: usize| dot(d, &v[key..key + dh]);
            let mean: f64 = keys.iter().map(|&(key, _, p)| p * by_p(key)).sum();
            let query = turned(&q[at..at + dh], position, self.theta);
            for (key, place, p) in keys {
                let by_score = p * (by_p(key) - mean) / (dh as f64).sqrt();
                let of_key = turned(&k[key..key + dh], place, self.theta);
                add(&mut d_v[key..key + dh], p, d);
                add(&mut d_q[at..at + dh], by_score, &back(&of_key, position));
                add(&mut d_k[key..key + dh], by_score, &back(&query, place));
            }
        }
        [d_q, d_k, d_v]
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(sum: &mut [f64], scale: f64, x: &[f64]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += scale * x);
}

/// A head's vector turned to `position`.
fn turned(x: &[f64], position: usize, theta: f64) -> Vec<f64> {
    turned_by(x, position as f64, theta)
}

fn turned_by(x: &[f64], position: f64, theta: f64) -> Vec<f64> {
    let half = x.len() / 2;
    let turn = |i: usize| {
        let frequency = theta.powf(-2.0 * (i % half) as f64 / x.len() as f64);
        let (sin, cos) = (position * frequency).sin_cos();
        if i < half { x[i] * cos - x[i + half] * sin } else { x[i] * cos + x[i - half] * sin }
    };
    (0..x.len()).map(turn).collect()
}
