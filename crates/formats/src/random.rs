//! Counter-based random numbers: Threefry-4x32 with 20 rounds (Salmon et al., "Parallel random
//! numbers: as easy as 1, 2, 3", SC 2011), chosen over Philox because WGSL has no 32×32→64 multiply.
//!
//! A draw is a pure function of its key and counter, so batching, order and threads never change
//! it. `shaders/sampling.wgsl` computes the same bits.

const ROTATIONS: [[u32; 2]; 8] =
    [[10, 26], [11, 21], [13, 27], [23, 5], [6, 20], [17, 11], [25, 10], [18, 20]];
const SKEIN_PARITY: u32 = 0x1BD1_1BDA;

/// Threefry-4x32-20: four words of key, four of counter, four random words out.
pub fn threefry4x32(key: [u32; 4], counter: [u32; 4]) -> [u32; 4] {
    let parity = key.iter().fold(SKEIN_PARITY, |acc, k| acc ^ k);
    let keys = [key[0], key[1], key[2], key[3], parity];
    let mut x = counter;
    for (word, k) in x.iter_mut().zip(keys) {
        *word = word.wrapping_add(k);
    }
    for round in 0..20 {
        let [even, odd] = ROTATIONS[round % 8];
        // Odd rounds pair (0,3),(2,1); even rounds (0,1),(2,3).
        let (b, d) = if round % 2 == 0 { (1, 3) } else { (3, 1) };
        x[0] = x[0].wrapping_add(x[b]);
        x[b] = x[b].rotate_left(even) ^ x[0];
        x[2] = x[2].wrapping_add(x[d]);
        x[d] = x[d].rotate_left(odd) ^ x[2];
        if round % 4 == 3 {
            let injection = round / 4 + 1;
            for (i, word) in x.iter_mut().enumerate() {
                *word = word.wrapping_add(keys[(injection + i) % 5]);
            }
            x[3] = x[3].wrapping_add(injection as u32);
        }
    }
    x
}

/// A uniform number in [0, 1) from the 24 high bits of a word; exact in f32.
pub fn unit_f32(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// The uniform number that draws one token: keyed by (seed, step), counted by (prompt, sample,
/// position). `shaders/sampling.wgsl` has the same lines.
pub fn token_uniform(seed: u64, step: u32, prompt: u32, sample: u32, position: u32) -> f32 {
    let key = [seed as u32, (seed >> 32) as u32, step, 0];
    unit_f32(threefry4x32(key, [prompt, sample, position, 0])[0])
}

/// Factors that drop a share of numbers: 0 with that probability, else 1/(1 − share); keyed by (seed, step), counted
/// by `place`. The share is rounded to 1/65,536. `shaders/dropout.wgsl` has the same lines.
#[derive(Debug, Clone, Copy)]
pub struct DropoutMask {
    key: [u32; 4],
    place: [u32; 2],
    /// Of 65,536; what is below is dropped.
    pub threshold: u32,
    /// What the others are multiplied by.
    pub kept: f32,
}

impl DropoutMask {
    /// The last word of the key.
    pub const PURPOSE: u32 = purpose::DROPOUT | 0x8000_0000;

    /// The mask of a place.
    pub fn new(seed: u64, step: u32, place: [u32; 2], share: f64) -> Self {
        let threshold = (share * 65_536.0).round() as u32;
        let kept = (1.0 / (1.0 - f64::from(threshold) / 65_536.0)) as f32;
        Self {
            key: [seed as u32, (seed >> 32) as u32, step, Self::PURPOSE],
            place,
            threshold,
            kept,
        }
    }

    /// Its eight factors from `8 * block` on.
    pub fn block(&self, block: u64) -> [f32; 8] {
        let counter = [block as u32, (block >> 32) as u32, self.place[0], self.place[1]];
        let words = threefry4x32(self.key, counter);
        std::array::from_fn(|i| {
            let number = words[i / 2] >> (16 * (i % 2)) & 0xFFFF;
            if number < self.threshold { 0.0 } else { self.kept }
        })
    }
}

/// What each [`Stream`] is for. All purposes are listed here, so that no two streams coincide. The
/// built-in task adds a suite's number to its own.
pub mod purpose {
    /// Fresh weights.
    pub const WEIGHTS: u32 = 1;
    /// The order of a user's training examples.
    pub const ORDER: u32 = 2;
    /// Inputs of the self-test.
    pub const SELF_TEST: u32 = 3;
    /// Fresh adapters.
    pub const ADAPTERS: u32 = 4;
    /// Which inputs adapters drop.
    pub const DROPOUT: u32 = 5;
    /// Which tokens of an update lose their gradient.
    pub const CLIP_COV: u32 = 6;
    /// How much of a demonstration rollouts begin with.
    pub const PREFIX: u32 = 7;
    /// The built-in task: problems to train on.
    pub const TRAIN: u32 = 0x100;
    /// Its problems to evaluate on.
    pub const HELD_OUT: u32 = 0x200;
    /// Text to pretrain on.
    pub const PRETRAIN: u32 = 0x300;
    /// Which demonstrations are wrong.
    pub const CORRUPT: u32 = 0x400;
    /// Which problems have a demonstration.
    pub const DEMONSTRATE: u32 = 0x500;
    /// Which demonstrations leave the chain out.
    pub const TERSE: u32 = 0x600;
}

/// The values of `step` for sampling outside of training, beyond the steps of any run.
pub mod step {
    /// Evaluations.
    pub const EVALUATION: u32 = u32::MAX;
    /// The responses that `srft analyze` looks at.
    pub const ANALYSIS: u32 = u32::MAX - 1;
    /// The probes of a page; the same value, since a page never analyses.
    pub const PROBES: u32 = u32::MAX - 1;
}

/// A sequential stream over one key, for shuffles and problem generation on the host.
#[derive(Debug, Clone)]
pub struct Stream {
    key: [u32; 4],
    counter: u64,
}

impl Stream {
    /// A stream for `purpose`, independent of every other (seed, purpose, index).
    pub fn new(seed: u64, purpose: u32, index: u32) -> Self {
        // The last key word is non-zero here and zero in `token_uniform`, so streams and token draws
        // never coincide.
        Self { key: [seed as u32, (seed >> 32) as u32, index, purpose | 0x8000_0000], counter: 0 }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        let block = (self.counter / 4) as u32;
        let high = ((self.counter / 4) >> 32) as u32;
        let word = threefry4x32(self.key, [block, high, 0, 0])[(self.counter % 4) as usize];
        self.counter += 1;
        word
    }

    /// A uniform number in [0, 1).
    pub fn unit(&mut self) -> f32 {
        unit_f32(self.next_u32())
    }

    /// A uniform integer in 0..bound (`bound` > 0), without modulo bias (Lemire, 2019).
    pub fn below(&mut self, bound: u32) -> u32 {
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// A uniform integer in `low..=high`.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        f64::from(self.next_u32()) < p * 4_294_967_296.0
    }

    /// A standard normal number (Box–Muller, cosine half).
    pub fn normal(&mut self) -> f32 {
        let u = (f64::from(self.next_u32()) + 0.5) / 4_294_967_296.0;
        let v = f64::from(self.next_u32()) / 4_294_967_296.0;
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    /// Fisher–Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (`kat_vectors`, threefry4x32 20).
    #[test]
    fn threefry_matches_random123() {
        assert_eq!(
            threefry4x32([0; 4], [0; 4]),
            [0x9c6c_a96a, 0xe17e_ae66, 0xfc10_ecd4, 0x5256_a7d8]
        );
        assert_eq!(
            threefry4x32([u32::MAX; 4], [u32::MAX; 4]),
            [0x2a88_1696, 0x5701_2287, 0xf6c7_446e, 0xa16a_6732]
        );
        assert_eq!(
            threefry4x32(
                [0xa409_3822, 0x299f_31d0, 0x082e_fa98, 0xec4e_6c89],
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]
            ),
            [0x59cd_1dbb, 0xb887_9579, 0x86b5_d00c, 0xac8b_6d84]
        );
    }

    #[test]
    fn dropout_drops_its_share_and_keeps_the_mean() {
        let mask_of = |place: [u32; 2], share: f64| -> Vec<f32> {
            let mask = DropoutMask::new(3, 1, place, share);
            (0..10_000).flat_map(|block| mask.block(block)).collect()
        };
        let mask = mask_of([2, 4], 0.25);
        let dropped = mask.iter().filter(|&&m| m == 0.0).count() as f64 / 80_000.0;
        // The standard deviation is 0.0015; the bound is about six of them.
        assert!((dropped - 0.25).abs() < 0.01, "{dropped}");
        assert!(mask.iter().all(|&m| m == 0.0 || (m - 4.0 / 3.0).abs() < 1e-6));
        assert_eq!(mask, mask_of([2, 4], 0.25));
        assert_ne!(mask, mask_of([2, 5], 0.25));
        assert!(mask_of([2, 4], 0.0).iter().all(|&m| m == 1.0));
    }

    #[test]
    fn below_is_uniform_and_in_range() {
        let mut stream = Stream::new(7, 1, 0);
        let mut counts = [0u32; 10];
        for _ in 0..100_000 {
            counts[stream.below(10) as usize] += 1;
        }
        // 10 bins of 10,000 expected; the standard deviation is 95, the bound six of them.
        assert!(counts.iter().all(|&c| c.abs_diff(10_000) < 570), "{counts:?}");
    }
}
