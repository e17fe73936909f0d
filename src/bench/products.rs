//! Each product of a model's shape: its matrices, a part of its head, its adapters', from one row to thousands.

use super::clock::Clock;
use super::product::{By, Matrix};
use super::record::{Limit, Product};
use crate::error::Result;
use crate::model::{ModelConfig, part_bytes};
use crate::ops::fused::runs_on;
use burn::tensor::Device;

/// Rows: of a decoding step, of a prompt, of a micro-batch.
const ROWS: [usize; 5] = [1, 16, 64, 512, 4096];

/// The share of a matrix's time that may go into copies of it.
const COPYING: f64 = 0.2;

/// The matrices of a shape, [N, K]; those of the same dimensions are one.
fn matrices(m: &ModelConfig, rank: usize, on_cpu: bool) -> Vec<(String, [usize; 2])> {
    let (d, f) = (m.hidden_size, m.intermediate_size);
    let (query, kv) = (m.heads * m.head_dim, m.kv_heads * m.head_dim);
    let part = (part_bytes(on_cpu) / (4 * d)).clamp(1, m.vocab_size);
    let attention = match query == d {
        true => vec![("q, o", [d, d])],
        false => vec![("q", [query, d]), ("o", [d, query])],
    };
    let others = [
        ("k, v", [kv, d]),
        ("gate, up", [f, d]),
        ("down", [d, f]),
        ("A of gate", [rank, d]),
        ("A of down", [rank, f]),
        ("B of gate", [f, rank]),
        ("head, a part", [part, d]),
    ];
    let mut all: Vec<(String, [usize; 2])> = Vec::new();
    for (name, dims) in attention.into_iter().chain(others) {
        match all.iter_mut().find(|(_, known)| *known == dims) {
            Some((names, _)) => *names = format!("{names}, {name}"),
            None => all.push((name.into(), dims)),
        }
    }
    all
}

/// What is measured on which adapter.
pub struct Products<'a> {
    /// What of.
    pub model: &'a ModelConfig,
    /// Of adapters.
    pub rank: usize,
    /// Where.
    pub device: &'a Device,
    /// The largest buffer.
    pub max_bytes: u64,
}

impl Products<'_> {
    /// Measures as many as the clock has time for, smallest first, and says which were left out.
    pub async fn measure(
        &self,
        clock: &Clock<'_>,
        found: &mut Vec<Product>,
        left_out: &mut Vec<String>,
        told: &dyn Fn(&str),
    ) -> Result<()> {
        let all = matrices(self.model, self.rank, runs_on(self.device));
        for (index, (name, dims)) in all.iter().enumerate() {
            let share = clock.left_secs() / (all.len() - index) as f64;
            let until = clock.left_secs() - share;
            let missed = self.of(name, *dims, until, clock, found, told).await?;
            if !missed.is_empty() {
                left_out.push(format!("{name}: {}", missed.join(", ")));
            }
        }
        Ok(())
    }

    /// The products of one matrix while more than `until` seconds are left; gives back those left out.
    async fn of(
        &self,
        name: &str,
        [n, k]: [usize; 2],
        until: f64,
        clock: &Clock<'_>,
        found: &mut Vec<Product>,
        told: &dyn Fn(&str),
    ) -> Result<Vec<String>> {
        let (mut missed, mut no_time) = (Vec::new(), Vec::new());
        let ways = By::all(self.device);
        let share = clock.left_secs() - until;
        if share <= 0.0 {
            return Ok(vec!["all (no time)".into()]);
        }
        let matrix = Matrix::new([n, k], true, COPYING * share, self.device);
        let mut before = vec![None; ways.len()]; // rows and seconds of each way's last product
        for (turn, &m) in ROWS.iter().enumerate() {
            told(&format!("products: {name} ({n} × {k}), {m} rows"));
            let bytes = (4 * m * n.max(k)) as u64;
            if bytes > self.max_bytes {
                let (bytes, most) = (bytes >> 20, self.max_bytes >> 20);
                missed.push(format!("M = {m} ({bytes} MiB, a shader binds {most})"));
                continue;
            }
            let x = matrix.rows(m);
            let mut too_long = Vec::new();
            for (&by, before) in ways.iter().zip(&mut before) {
                let left = clock.left_secs() - until;
                // A first time, one alone, and one that counts.
                let wanted =
                    before.map(|(rows, secs): (usize, f64)| 3.0 * secs * (m / rows) as f64);
                if left <= 0.0 || wanted.is_some_and(|wanted| wanted > left) {
                    too_long.push(by.name());
                    continue;
                }
                let secs = left / ((ROWS.len() - turn) * ways.len()) as f64;
                let Some(secs) = matrix.measure(clock, &x, by, secs).await? else { continue };
                *before = Some((m, secs));
                let work = matrix.work(m, by);
                found.push(Product {
                    matrix: name.into(),
                    n,
                    k,
                    m,
                    by: by.name(),
                    ms: 1e3 * secs,
                    gflop_per_sec: 1e-9 * work.flop / secs,
                    of_peak: 0.0,
                    of_bandwidth: 0.0,
                    limit: Limit::default(),
                    work,
                });
            }
            match too_long.len() {
                0 => {}
                all if all == ways.len() => no_time.push(m.to_string()),
                _ => missed.push(format!("M = {m} by {} (no time)", too_long.join(" and "))),
            }
        }
        if !no_time.is_empty() {
            missed.push(format!("M = {} (no time)", no_time.join(", ")));
        }
        Ok(missed)
    }
}
