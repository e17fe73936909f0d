//! The objective in plain f64 loops over the term files: the oracle of `shaders/objective.wgsl` and
//! of its CPU twin (see [`crate::ops::objective`]).

use super::entropy_bonus::entropy_bonus;
use super::entropy_weight::{entropy, weight};
use super::kl::kl;
use super::rl_demo::rl_demo;
use super::self_term::{ratio, signed};
use super::sft::{phi, sft};
use super::term::Term;
use crate::ops::objective::{COLUMNS, Row, Switches, column};
use crate::records::TermCoefficients;

/// What the kernel computes, in f64.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// `[n]` pairs (dL/dlogp, dL/dH); 0 for tokens outside every row.
    pub coefficients: Vec<[f64; 2]>,
    /// `[S]` rows of the columns named in [`mod@column`].
    pub sums: Vec<[f64; COLUMNS]>,
}

impl Reference {
    /// The loss: the four loss columns over all sequences.
    pub fn loss(&self) -> f64 {
        self.sums.iter().flat_map(|s| &s[..column::LOSSES]).sum()
    }
}

/// One token's part in the loss.
pub struct Token {
    /// w_SFT there, times φ where that is on.
    pub w_sft: f64,
    /// w_RL there.
    pub w_rl: f64,
    /// SFT, RL on the demonstration, self term, entropy bonus or KL penalty.
    pub terms: [Term; column::LOSSES],
    /// The clip held the ratio.
    pub clipped: bool,
}

/// A token of a sequence with coefficients `c`: `h` is the entropy that weighs it, `stats` are its
/// (ln p_t, H_t), nats; `old_logprob` is the sampler's, or the base model's of a demonstration.
pub fn token(
    c: &TermCoefficients,
    switches: &Switches,
    h: f64,
    [logp, entropy_nats]: [f64; 2],
    old_logprob: f64,
) -> Token {
    let w_sft = weight(switches.sft_weight, h) * if switches.sft_phi { phi(logp) } else { 1.0 };
    let w_rl = weight(switches.self_weight, h);
    let w_self = match switches.max_logp {
        Some(most) if logp > f64::from(most) => 0.0,
        _ if c.self_positive => w_rl,
        _ => 1.0,
    };
    let (clipped_ratio, clipped) = match f64::from(c.self_ratio) {
        0.0 => (Term::default(), false),
        ratio_coefficient => ratio(w_self, ratio_coefficient, switches.clip, logp, old_logprob),
    };
    let penalty = match f64::from(c.kl) {
        0.0 => Term::default(),
        lambda => lambda * kl(logp, old_logprob),
    };
    let terms = [
        f64::from(c.sft) * sft(w_sft, logp),
        f64::from(c.rl_demo) * rl_demo(switches.shaping.map(f64::from), logp),
        [f64::from(c.self_logp) * signed(w_self, logp), clipped_ratio].into_iter().sum(),
        [f64::from(c.entropy) * entropy_bonus(entropy_nats), penalty].into_iter().sum(),
    ];
    Token { w_sft, w_rl, terms, clipped }
}

/// `stats` is `[n]` pairs (ln p_t, H_t), `old_logprobs` is `[n]`.
pub fn objective(
    stats: &[[f64; 2]],
    old_logprobs: &[f64],
    rows: &[Row],
    switches: &Switches,
) -> Reference {
    let mut coefficients = vec![[0.0; 2]; stats.len()];
    let mut sums = vec![[0.0; COLUMNS]; rows.len()];
    for (row, sums) in rows.iter().zip(&mut sums) {
        let tokens = row.start as usize..(row.start + row.len) as usize;
        let entropies: Vec<f64> = stats[tokens.clone()].iter().map(|s| s[1]).collect();
        let weighed = entropy(switches.entropy_over, row.demonstration, &entropies);
        let c = row.terms;
        for (t, h) in tokens.zip(weighed) {
            let [logp, entropy_nats] = stats[t];
            let Token { w_sft, w_rl, terms, clipped } =
                token(&c, switches, h, stats[t], old_logprobs[t]);
            for (sum, term) in sums.iter_mut().zip(terms) {
                *sum += term.value;
            }
            sums[column::ENTROPY] += entropy_nats;
            sums[column::LOGP] += logp;
            sums[column::WEIGHT] +=
                if row.demonstration { w_sft } else { w_rl } / f64::from(row.len);
            sums[column::CLIPPED] += f64::from(u8::from(clipped));
            let total: Term = terms.into_iter().sum();
            coefficients[t] = [total.d_logp, total.d_entropy];
        }
    }
    Reference { coefficients, sums }
}
