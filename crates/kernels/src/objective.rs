//! The objective kernel: the per-token loss and its derivatives for all terms in one pass.
//!
//! It knows nothing of methods: signs, advantages, gates and the global normaliser are already in
//! each sequence's [`TermCoefficients`]. The formula is written twice: in the shader, and in `formula`,
//! built from one short file a term. Per token t of a sequence, with p_t = π_θ(y_t):
//!
//! ```text
//! L_t = a_t·(sft·w_SFT·φ_t·(−ln p_t) + rl_demo·f(p_t) + self_logp·w·ln p_t
//!     + w·max(self_ratio·ρ_t, self_ratio·clip(ρ_t))) + entropy·H_t + kl·(r_t − 1 − ln r_t)
//!
//! w = w_RL or 1, but 0 above max_logp;  φ_t = 1 or a weight of the token;  a_t: the token's factor
//! ρ_t = p_t / p_old,t, or its geometric mean over the sequence;  r_t = p_base,t / p_t
//! ```
//!
//! The weights, φ and a are constants for the gradient (stop_grad), so dL/dH comes from the entropy bonus
//! alone.

mod cpu;
pub mod entropy_bonus;
pub mod entropy_weight;
pub mod formula;
mod gpu;
pub mod kl;
pub mod reference;
pub mod rl_demo;
pub mod self_term;
pub mod sft;
pub mod term;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use srft_formats::config::{ClipOf, KlForm, RatioOf, SftTokenWeight};
use srft_formats::records::TermCoefficients;
use std::ops::Range;

/// Columns of the sums.
pub const COLUMNS: usize = 8;

/// What each column of the `[S, 8]` sums holds; the first [`LOSSES`](column::LOSSES) add up to the
/// loss.
pub mod column {
    /// SFT's share of the loss.
    pub const SFT: usize = 0;
    /// The share of RL on the demonstration.
    pub const RL_DEMO: usize = 1;
    /// The self term's share, signed and ratio form together.
    pub const SELF: usize = 2;
    /// The entropy bonus's share.
    pub const BONUS: usize = 3;
    /// The KL penalty's share.
    pub const KL: usize = 4;
    /// How many leading columns are shares of the loss.
    pub const LOSSES: usize = 5;
    /// Σ H_t, nats.
    pub const ENTROPY: usize = 5;
    /// Mean over the tokens of w_SFT·φ (demonstrations) or w_RL (rollouts; for those that are not
    /// positive, the weight that they would have); 0 for an empty sequence.
    pub const WEIGHT: usize = 6;
    /// Tokens whose ratio was clipped: not those that the dual clip alone holds, as in verl, and where the clip is on
    /// the weight those of positive advantages, as in TRL.
    pub const CLIPPED: usize = 7;
}

/// ln ρ and ln r are clamped to this, so that ρ and r stay finite in f32; no useful ratio is near
/// e^80 = 5.5e34.
pub const MAX_LOG_RATIO: f32 = 80.0;

/// Over which tokens the H of the weights is averaged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EntropyOver {
    /// The mean over the sequence's own response tokens.
    Sequence,
    /// Each token's own entropy.
    Token,
    /// Means over the batch, which the caller computes.
    Batch {
        /// Mean H over all demonstrations' tokens, nats.
        demonstrations_nats: f32,
        /// Mean H over all rollouts' tokens, nats.
        rollouts_nats: f32,
    },
}

/// An entropy weight: scale · exp(sign · H).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight {
    /// The weight at H = 0.
    pub scale: f32,
    /// −1 trusts confident sequences more, +1 uncertain ones.
    pub sign: f32,
}

/// PPO's clip range of the ratio: [1 − low, 1 + high].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip {
    /// ε_low.
    pub low: f32,
    /// ε_high.
    pub high: f32,
}

/// The switches of the objective; the default is the paper as printed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Switches {
    /// Over which tokens the H of the weights is averaged.
    pub entropy_over: EntropyOver,
    /// w_SFT (Eq. 8), 0.5·exp(−H); `None` is a weight of exactly 1.
    pub sft_weight: Option<Weight>,
    /// φ, which also weighs each token of the SFT term: a constant for the gradient.
    pub sft_token: SftTokenWeight,
    /// w_RL (Eq. 12), 0.1·exp(+H), used where `self_positive`; `None` is a weight of exactly 1.
    pub self_weight: Option<Weight>,
    /// f(p) = p / (p + γ) instead of f(p) = p in the demonstration's RL term; γ > 0.
    pub shaping: Option<f32>,
    /// The ratio of the self term's ratio form; that of a sequence is the exp of the mean of ln ρ (GSPO, arXiv 2507.18071,
    /// Eq. 7).
    pub ratio: RatioOf,
    /// Its clip.
    pub clip: Clip,
    /// What that clip holds: the loss (PPO, arXiv 1707.06347, Eq. 7), or a constant that weighs −ln p (CISPO, arXiv
    /// 2506.13585, Eq. 4).
    pub clip_form: ClipOf,
    /// The most that a ratio counts where the advantage is negative (dual clip, arXiv 1912.09729, Eq. 5);
    /// above 1.
    pub dual_clip: Option<f32>,
    /// The KL penalty's estimate.
    pub kl: KlForm,
    /// ln of the largest probability that the self term acts on: rollout tokens above it are left out
    /// (App. A.2). `None` leaves none out.
    pub max_logp: Option<f32>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            entropy_over: EntropyOver::Sequence,
            sft_weight: Some(Weight { scale: 0.5, sign: -1.0 }),
            sft_token: SftTokenWeight::None,
            self_weight: Some(Weight { scale: 0.1, sign: 1.0 }),
            shaping: None,
            ratio: RatioOf::Token,
            clip: Clip { low: 0.2, high: 0.2 },
            clip_form: ClipOf::Loss,
            dual_clip: None,
            kl: KlForm::K3,
            max_logp: None,
        }
    }
}

/// One sequence's tokens within the packed statistics, and its coefficients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Index of its first token.
    pub start: u32,
    /// How many tokens it has; 0 is allowed.
    pub len: u32,
    /// Whether it is a demonstration; else it is a rollout.
    pub demonstration: bool,
    /// The factors of its loss terms.
    pub terms: TermCoefficients,
}

impl Row {
    /// Its tokens' range in the packed statistics.
    pub fn tokens(&self) -> Range<usize> {
        self.start as usize..(self.start + self.len) as usize
    }
}

/// The objective's derivatives and sums, as plain tensors.
#[derive(Debug, Clone)]
pub struct Objective {
    /// `[n, 2]`: dL/dln p_t and dL/dH_t; 0 for tokens outside every row.
    pub coefficients: Tensor<2>,
    /// `[S, 8]`: see [`mod@column`].
    pub sums: Tensor<2>,
}

/// The objective on one backend. Use [`objective`].
#[backend_extension(Cube, Flex)]
pub trait ObjectiveOps: Backend {
    /// → (`[n, 2]` coefficients, `[S, 8]` sums).
    fn objective(
        stats: FloatTensor<Self>,
        given: FloatTensor<Self>,
        rows: Vec<Row>,
        switches: Switches,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// Numbers that are given of a token.
pub const GIVEN: usize = 3;

/// The loss terms' values and derivatives for `rows` of `stats` (`[n, 2]`: ln p_t, H_t of the policy,
/// nats) and `given` (`[n, 3]`: ln p_t of the sampler, read where `self_ratio` ≠ 0; ln p_t of the base model,
/// where `kl` ≠ 0; and the factor a_t of the terms but for bonus and penalty, a weight or an advantage of the
/// token's own, 1 where it has none).
///
/// # Panics
/// If `rows` is empty, out of order, overlapping or beyond `n`, which is a bug in building the batch.
pub fn objective(
    stats: Tensor<2>,
    given: Tensor<2>,
    rows: &[Row],
    switches: &Switches,
) -> Objective {
    check(&stats, &given, rows);
    let (coefficients, sums) = <Dispatch as ObjectiveOps>::objective(
        stats.into_dispatch(),
        given.into_dispatch(),
        rows.to_vec(),
        *switches,
    );
    Objective {
        coefficients: Tensor::from_dispatch(coefficients),
        sums: Tensor::from_dispatch(sums),
    }
}

fn check(stats: &Tensor<2>, given: &Tensor<2>, rows: &[Row]) {
    let n = stats.dims()[0];
    assert!(!rows.is_empty(), "objective: at least one row");
    assert_eq!(stats.dims(), [n, 2], "objective: stats are [n, 2]");
    assert_eq!(given.dims(), [n, GIVEN], "objective: given is [n, 3]");
    let end = rows.iter().fold(0, |end, row| {
        assert!(row.start >= end, "objective: rows in order, without overlap");
        row.start + row.len
    });
    assert!(end as usize <= n, "objective: rows end at {end}, there are {n} tokens");
}

/// The tokens that each row's workgroup writes: its own and the gap after it, so that every token
/// has exactly one owner; the first row also owns the gap before it.
fn owned(rows: &[Row], n: usize) -> Vec<(u32, u32)> {
    let ends = rows[1..].iter().map(|row| row.start).chain([n as u32]);
    let mut start = 0;
    ends.map(|end| (std::mem::replace(&mut start, end), end)).collect()
}
