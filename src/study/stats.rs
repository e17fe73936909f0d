//! Statistics over several seeds: mean and spread, paired differences with an interval, pass@k.

use crate::random::threefry4x32;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Key of the draws, the same for every table ("boot" in ASCII).
const BOOTSTRAP_KEY: [u32; 4] = [0x626f_6f74, 0, 0, 0];
/// Bootstrap samples: with another random stream, an end of the interval would move by about 2% of its
/// width.
const REPLICATES: u32 = 2000;
/// The tail beyond each end of a 95% interval.
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
    /// Mean and spread of one value per seed; `None` without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let seeds = values.len();
        let std = (seeds > 1).then(|| variance(values).sqrt());
        (seeds > 0).then(|| Self { mean: mean(values), std, seeds })
    }
}

/// What an interval says about the control.
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

/// A row's accuracy minus that of the control, paired by seed and problem.
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
    /// Whether the control wins, ties or loses.
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
    /// Every seed sees the same problems, so both are resampled: seeds, and problems within their
    /// suite, the same ones for all seeds (the pigeonhole bootstrap; Owen, Annals of Applied Statistics
    /// 1, 2007). The bootstrap gives the shape. By itself it is too narrow, since a few seeds vary less
    /// in a resample than they do, and it counts the noise within a cell three times. So deviations
    /// from the mean are scaled to the standard error of a two-way analysis of variance, and both ends
    /// move out by the difference between Student's quantile, at Satterthwaite's degrees of freedom,
    /// and the normal one, in standard errors (as Hesterberg, The American Statistician 69, 2015,
    /// widens percentile intervals of few samples).
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
            std => error.value / std,
        };
        let end = |tail: f64| mean + scale * (quantile(&samples, tail) - mean);
        let out = (error.t() - Z) * error.value;
        Some(Self { mean, low: end(TAIL) - out, high: end(1.0 - TAIL) + out, seeds })
    }
}

/// The standard error of a mean over seeds × problems, both random.
struct StandardError {
    value: f64,
    /// Degrees of freedom of its square, after Satterthwaite.
    degrees: f64,
}

impl StandardError {
    /// Its square is (max(M_S, M_SJ) − M_SJ) + (max(M_J, M_SJ) − M_SJ) + M_SJ, where M_S, M_J and M_SJ
    /// are the mean squares of seeds, of problems and of the residual, each as a variance of the mean.
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
        // If seeds add nothing to the noise, the square rests on problems and cells, of which there are
        // many.
        let degrees = match of_seeds > of_cells {
            true => (seeds - 1.0) * (square / of_seeds).powi(2),
            false => f64::INFINITY,
        };
        Self { value: square.sqrt(), degrees }
    }

    /// Student's quantile, interpolated linearly in 1/degrees between two entries of the table.
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

/// Random indexes; all four words of a block are used, since a table draws some hundred million.
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

    /// A number in 0..bound; the bias is negligible, since `bound` is far below 2³².
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

/// The unbiased estimate of the chance that one of k samples is right, from n ≥ k drawn samples of
/// which c are right: 1 − C(n − c, k)/C(n, k) (Chen et al., arXiv 2107.03374, Eq. 1).
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

/// A quantile of sorted values, interpolated linearly.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    fn one_suite(rows: &[&[f64]]) -> Vec<Vec<Vec<f64>>> {
        rows.iter().map(|row| vec![row.to_vec()]).collect()
    }

    #[test]
    fn mean_and_spread_by_hand() {
        let spread = Spread::of(&[1.0, 2.0, 6.0]).unwrap();
        assert_eq!((spread.mean, spread.std, spread.seeds), (3.0, Some(7f64.sqrt()), 3));
        assert_eq!(Spread::of(&[0.5]).unwrap(), Spread { mean: 0.5, std: None, seeds: 1 });
        assert_eq!(Spread::of(&[]), None);
    }

    /// Seeds differ by 1, problems by 1, no residual: the mean squares of the mean are 1/4, 1/4 and 0.
    #[test]
    fn a_standard_error_by_hand() {
        let differences = one_suite(&[&[1.0, 0.0], &[0.0, -1.0]]);
        let error = StandardError::of(&differences, &[0.5, -0.5]);
        assert!((error.value - 0.5f64.sqrt()).abs() < 1e-15);
        assert!((error.degrees - 4.0).abs() < 1e-12);
        assert!((error.t() - 2.776).abs() < 1e-12);
    }

    #[test]
    fn students_quantile_lies_between_those_of_the_table() {
        let t = |degrees| StandardError { value: 1.0, degrees }.t();
        for (degrees, quantile) in T {
            assert!((t(degrees) - quantile).abs() < 1e-12);
        }
        // 2.179 and 2.000 in any table.
        assert!((t(12.0) - 2.179).abs() < 0.002 && (t(60.0) - 2.000).abs() < 0.002);
    }

    #[test]
    fn suites_count_alike_whatever_their_size() {
        let differences = vec![vec![vec![1.0; 3], vec![0.0; 30]]];
        let difference = Difference::of(&differences).unwrap();
        assert_eq!((difference.mean, difference.low, difference.high), (0.5, 0.5, 0.5));
        assert_eq!(Difference::of(&[]), None);
        assert_eq!(Difference::of(&[vec![]]), None);
        assert_eq!(Difference::of(&[vec![vec![]]]), None);
    }

    #[test]
    fn the_verdict_is_the_control_s() {
        let verdict = |low, high| Difference { mean: 0.0, low, high, seeds: 5 }.verdict();
        assert_eq!(verdict(-0.2, -0.1), Verdict::Wins);
        assert_eq!(verdict(-0.2, 0.1), Verdict::Ties);
        assert_eq!(verdict(0.0, 0.0), Verdict::Ties);
        assert_eq!(verdict(0.1, 0.2), Verdict::Loses);
    }

    /// Differences with mean 0.05 and noise from seeds, problems and their cells.
    fn synthetic(study: u64, seeds: usize, [seed, problem, cell]: [f64; 3]) -> Vec<Vec<Vec<f64>>> {
        let mut stream = Stream::new(study, 1, seeds as u32);
        let mut normal = |std: f64| std * f64::from(stream.normal());
        let problems: Vec<f64> = (0..60).map(|_| normal(problem)).collect();
        let of_seed = |_| {
            let seed = normal(seed);
            let cells: Vec<f64> = problems.iter().map(|p| 0.05 + seed + p + normal(cell)).collect();
            cells.chunks(30).map(<[f64]>::to_vec).collect()
        };
        (0..seeds).map(of_seed).collect()
    }

    #[test]
    fn intervals_cover_the_truth_nineteen_times_in_twenty() {
        const STUDIES: u64 = 400;
        for noise in [[0.03, 0.1, 0.3], [0.06, 0.0, 0.1], [0.0, 0.3, 0.1]] {
            for seeds in [3, 5] {
                let covers = |study| {
                    let of = Difference::of(&synthetic(study, seeds, noise)).unwrap();
                    of.low <= 0.05 && 0.05 <= of.high
                };
                let covered = (0..STUDIES).filter(|&study| covers(study)).count();
                let share = covered as f64 / STUDIES as f64;
                assert!((0.90..=0.98).contains(&share), "{noise:?}, {seeds} seeds: {share}");
            }
        }
    }

    #[test]
    fn the_same_differences_have_the_same_interval() {
        let differences = synthetic(1, 5, [0.03, 0.1, 0.3]);
        assert_eq!(Difference::of(&differences), Difference::of(&differences));
    }

    /// 1 − C(3, 2)/C(5, 2) = 1 − 3/10, and the plain share for one sample.
    #[test]
    fn pass_at_k_by_hand() {
        assert!((pass_at_k(5, 2, 2) - 0.7).abs() < 1e-12);
        assert!((pass_at_k(5, 2, 1) - 0.4).abs() < 1e-12);
        // 1 − C(7, 4)/C(10, 4) = 1 − 35/210.
        assert!((pass_at_k(10, 3, 4) - 5.0 / 6.0).abs() < 1e-12);
        assert_eq!((pass_at_k(4, 0, 3), pass_at_k(4, 2, 3), pass_at_k(1, 1, 1)), (0.0, 1.0, 1.0));
    }
}
