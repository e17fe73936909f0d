//! What a table says of several seeds: mean and spread, paired differences with an interval, pass@k.

use crate::random::threefry4x32;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Key of the draws, the same for every table ("boot" in ASCII).
const BOOTSTRAP_KEY: [u32; 4] = [0x626f_6f74, 0, 0, 0];
/// Bootstrap samples: with another stream, an end of the interval would move by some 2% of its width.
const REPLICATES: u32 = 2000;
/// The tail outside either end of a 95% interval.
const TAIL: f64 = 0.025;
/// Normal quantile of the upper tail.
const Z: f64 = 1.959_964;
/// Student's t, quantile of the upper tail, by degrees of freedom.
const T: [(f64, f64); 11] = [
    (1.0, 12.706),
    (2.0, 4.303),
    (3.0, 3.182),
    (4.0, 2.776),
    (5.0, 2.571),
    (6.0, 2.447),
    (8.0, 2.306),
    (10.0, 2.228),
    (15.0, 2.131),
    (30.0, 2.042),
    (f64::INFINITY, Z),
];

/// Mean and spread over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation (n − 1); absent for one seed.
    pub std: Option<f64>,
    /// Seeds.
    pub seeds: usize,
}

impl Spread {
    /// Of the values of some seeds; `None` where there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let seeds = values.len();
        let std = (seeds > 1).then(|| variance(values).sqrt());
        (seeds > 0).then(|| Self { mean: mean(values), std, seeds })
    }
}

/// What an interval says of the row that others are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The other row is behind: the interval lies below 0.
    Wins,
    /// The interval holds 0.
    Ties,
    /// The other row is ahead: the interval lies above 0.
    Loses,
}

/// A row's accuracy less that of the row it is compared with, paired by seed and problem.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean over the seeds that both rows have.
    pub mean: f64,
    /// Lower end of the 95% interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Seeds.
    pub seeds: usize,
}

impl Difference {
    /// Whether the row that is compared with wins, ties or loses.
    pub fn verdict(&self) -> Verdict {
        match () {
            () if self.high < 0.0 => Verdict::Wins,
            () if self.low > 0.0 => Verdict::Loses,
            () => Verdict::Ties,
        }
    }

    /// The mean of paired differences, `[seed][suite][problem]`, over problems, then suites, then
    /// seeds, with its 95% interval; `None` without seeds or problems.
    ///
    /// Every seed meets the same problems, so both are resampled, a problem for all seeds at once (the
    /// pigeonhole bootstrap; Owen, Annals of Applied Statistics 1, 2007), problems within their
    /// suite. The bootstrap gives the shape. Left alone it is too narrow, since a few seeds vary
    /// less in a resample than they do, and counts the noise within a cell thrice: so deviations
    /// from the mean are scaled to the standard error of a two-way analysis of variance, and by
    /// Student's t at Satterthwaite's degrees of freedom over the normal quantile (as Hesterberg,
    /// The American Statistician 69, 2015, widens percentile intervals of few samples).
    pub fn of(differences: &[Vec<Vec<f64>>]) -> Option<Self> {
        let seeds = differences.len();
        let sizes: Vec<usize> = differences.first()?.iter().map(Vec::len).collect();
        if sizes.is_empty() || sizes.contains(&0) {
            return None;
        }
        let by_seed: Vec<f64> = differences.iter().map(|d| over_suites(d)).collect();
        let mean = mean(&by_seed);
        let error = StandardError::of(differences, &by_seed);
        let samples = resampled(differences, &sizes);
        let scale = match variance(&samples).sqrt() {
            0.0 => 0.0,
            std => error.value / std * error.t() / Z,
        };
        let end = |tail: f64| mean + scale * (quantile(&samples, tail) - mean);
        Some(Self { mean, low: end(TAIL), high: end(1.0 - TAIL), seeds })
    }
}

/// The standard error of a mean over seeds × problems, both random.
struct StandardError {
    value: f64,
    /// Of its square, after Satterthwaite.
    degrees: f64,
}

impl StandardError {
    /// With M_S, M_J and M_SJ the mean squares of seeds, of problems and of what both leave, each as a
    /// variance of the mean, its square is (max(M_S, M_SJ) − M_SJ) + (max(M_J, M_SJ) − M_SJ) + M_SJ.
    fn of(differences: &[Vec<Vec<f64>>], by_seed: &[f64]) -> Self {
        let (seeds, suites) = (differences.len() as f64, differences[0].len());
        let of_seeds = if seeds > 1.0 { variance(by_seed) / seeds } else { 0.0 };
        let (mut of_problems, mut of_cells) = (0.0, 0.0);
        for suite in 0..suites {
            let rows: Vec<&[f64]> = differences.iter().map(|d| &*d[suite]).collect();
            let problems = rows[0].len();
            if problems < 2 {
                continue;
            }
            let of_problem: Vec<f64> =
                (0..problems).map(|j| mean_of(rows.iter().map(|row| row[j]))).collect();
            let weight = 1.0 / (suites * suites * problems) as f64;
            of_problems += weight * variance(&of_problem);
            if seeds > 1.0 {
                let whole = mean(&of_problem);
                let squares: f64 = rows
                    .iter()
                    .map(|row| {
                        let of_seed = mean(row);
                        let left = |(j, d): (usize, &f64)| d - of_seed - of_problem[j] + whole;
                        row.iter().enumerate().map(left).map(|r| r * r).sum::<f64>()
                    })
                    .sum();
                let degrees = (seeds - 1.0) * (problems - 1) as f64;
                of_cells += weight * squares / degrees / seeds;
            }
        }
        let square = of_seeds.max(of_cells) + of_problems.max(of_cells) - of_cells;
        // As if all of the seeds' mean square were theirs: too few rather than too many.
        let degrees = match of_seeds {
            0.0 => f64::INFINITY,
            of_seeds => (seeds - 1.0) * (square / of_seeds).powi(2).max(1.0),
        };
        Self { value: square.sqrt(), degrees }
    }

    /// Student's quantile, between two of the table in a straight line over 1/degrees.
    fn t(&self) -> f64 {
        let after = T.iter().position(|&(d, _)| d >= self.degrees).unwrap_or(T.len() - 1).max(1);
        let ((d0, t0), (d1, t1)) = (T[after - 1], T[after]);
        t0 + (t1 - t0) * (1.0 / d0 - 1.0 / self.degrees) / (1.0 / d0 - 1.0 / d1)
    }
}

/// Means of bootstrap samples, sorted.
fn resampled(differences: &[Vec<Vec<f64>>], sizes: &[usize]) -> Vec<f64> {
    let seeds = differences.len();
    let one = |replicate: u32| {
        let mut draw = Draws::new(replicate);
        let drawn: Vec<usize> = (0..seeds).map(|_| draw.below(seeds)).collect();
        let of_suite = |(suite, &size): (usize, &usize)| {
            let of_problem =
                |j: usize| drawn.iter().map(|&s| differences[s][suite][j]).sum::<f64>();
            (0..size).map(|_| of_problem(draw.below(size))).sum::<f64>() / (size * seeds) as f64
        };
        sizes.iter().enumerate().map(of_suite).sum::<f64>() / sizes.len() as f64
    };
    let mut samples: Vec<f64> = (0..REPLICATES).into_par_iter().map(one).collect();
    samples.sort_by(f64::total_cmp);
    samples
}

/// Random indexes, all four words of a block used: a table draws some hundred million.
struct Draws {
    replicate: u32,
    block: u32,
    words: [u32; 4],
    left: usize,
}

impl Draws {
    fn new(replicate: u32) -> Self {
        Self { replicate, block: 0, words: [0; 4], left: 0 }
    }

    /// In 0..bound, which is far below 2³²: the bias is nil.
    fn below(&mut self, bound: usize) -> usize {
        if self.left == 0 {
            self.words = threefry4x32(BOOTSTRAP_KEY, [self.replicate, self.block, 0, 0]);
            self.block += 1;
            self.left = 4;
        }
        self.left -= 1;
        ((u64::from(self.words[self.left]) * bound as u64) >> 32) as usize
    }
}

/// The chance that one of k samples is right, without bias from the n ≥ k that were drawn, c of them
/// right: 1 − C(n − c, k)/C(n, k) (Chen et al., arXiv 2107.03374, Eq. 1).
pub fn pass_at_k(n: usize, c: usize, k: usize) -> f64 {
    if n - c < k {
        return 1.0;
    }
    1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

fn mean_of(values: impl Iterator<Item = f64>) -> f64 {
    crate::metrics::mean(values)
}

fn mean(values: &[f64]) -> f64 {
    mean_of(values.iter().copied())
}

/// The mean over suites of the means over problems.
fn over_suites(suites: &[Vec<f64>]) -> f64 {
    mean_of(suites.iter().map(|problems| mean(problems)))
}

/// Sample variance (n − 1).
fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// Of sorted values, between two of them in a straight line.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}
