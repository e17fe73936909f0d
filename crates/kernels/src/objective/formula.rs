//! The objective written once over the term files, in f32 for the CPU backend and in f64 as the oracle
//! of `shaders/objective.wgsl`.

use super::entropy_bonus::entropy_bonus;
use super::entropy_weight::{entropy, weight};
use super::kl::kl;
use super::rl_demo::rl_demo;
use super::self_term::{ratio, signed};
use super::sft::{phi, sft};
use super::term::{Float, Term};
use super::{COLUMNS, Row, Switches, column};
use srft_formats::records::TermCoefficients;

/// One token's part in the loss.
pub struct Token<F> {
    /// w_SFT, times φ where that is on.
    pub w_sft: F,
    /// w_RL.
    pub w_rl: F,
    /// SFT, RL on the demonstration, self term, entropy bonus or KL penalty.
    pub terms: [Term<F>; column::LOSSES],
    /// Whether the ratio was clipped.
    pub clipped: bool,
}

/// A token of a sequence with coefficients `c`. `h` is the H of its weight and `stats` are its
/// (ln p_t, H_t), nats; `old_logprob` is the sampler's, for a demonstration the base model's.
pub fn token<F: Float>(
    c: &TermCoefficients,
    switches: &Switches,
    h: F,
    [logp, entropy_nats]: [F; 2],
    old_logprob: F,
) -> Token<F> {
    let one = F::from(1.0);
    let w_sft = weight(switches.sft_weight, h) * if switches.sft_phi { phi(logp) } else { one };
    let w_rl = weight(switches.self_weight, h);
    let w_self = match switches.max_logp {
        Some(most) if logp > F::from(most) => F::default(),
        _ if c.self_positive => w_rl,
        _ => one,
    };
    let (clipped_ratio, clipped) = match c.self_ratio {
        0.0 => (Term::default(), false),
        c => ratio(w_self, F::from(c), switches.clip, logp, old_logprob),
    };
    let penalty = match c.kl {
        0.0 => Term::default(),
        lambda => kl(F::from(lambda), logp, old_logprob),
    };
    let terms = [
        sft(w_sft, F::from(c.sft), logp),
        rl_demo(switches.shaping.map(F::from), F::from(c.rl_demo), logp),
        [signed(w_self, F::from(c.self_logp), logp), clipped_ratio].into_iter().sum(),
        [entropy_bonus(F::from(c.entropy), entropy_nats), penalty].into_iter().sum(),
    ];
    Token { w_sft, w_rl, terms, clipped }
}

/// Evaluates a sequence: writes its tokens' (dL/dln p, dL/dH) to `coefficients` and returns its row
/// of the sums.
pub fn sequence<F: Float>(
    row: &Row,
    switches: &Switches,
    stats: &[[F; 2]],
    old_logprobs: &[F],
    coefficients: &mut [[F; 2]],
) -> [f64; COLUMNS] {
    let shared = entropy(switches.entropy_over, row.demonstration, stats.iter().map(|&[_, h]| h));
    let wide = |value: F| -> f64 { value.into() };
    let mut sums = [0.0; COLUMNS];
    for ((&stats, &old), out) in stats.iter().zip(old_logprobs).zip(coefficients) {
        let [logp, entropy_nats] = stats;
        let h = shared.unwrap_or(entropy_nats);
        let Token { w_sft, w_rl, terms, clipped } = token(&row.terms, switches, h, stats, old);
        for (sum, term) in sums.iter_mut().zip(terms) {
            *sum += wide(term.value);
        }
        sums[column::ENTROPY] += wide(entropy_nats);
        sums[column::LOGP] += wide(logp);
        sums[column::WEIGHT] += wide(if row.demonstration { w_sft } else { w_rl });
        sums[column::CLIPPED] += f64::from(u8::from(clipped));
        let total: Term<F> = terms.into_iter().sum();
        *out = [total.d_logp, total.d_entropy];
    }
    sums[column::WEIGHT] /= f64::from(row.len.max(1));
    sums
}
