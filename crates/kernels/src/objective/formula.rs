//! The objective written once over the term files, in f32 for the CPU backend and in f64 as the oracle
//! of `shaders/objective.wgsl`.

use super::entropy_bonus::entropy_bonus;
use super::entropy_weight::{entropy, weight};
use super::kl::kl;
use super::rl_demo::rl_demo;
use super::self_term::{ratio, signed};
use super::sft::{phi, sft};
use super::term::{Float, Term};
use super::{COLUMNS, GIVEN, MAX_LOG_RATIO, Row, Switches, column};
use srft_formats::config::RatioOf;
use srft_formats::records::TermCoefficients;

/// One token's part in the loss.
pub struct Token<F> {
    /// w_SFT · φ.
    pub w_sft: F,
    /// w_RL.
    pub w_rl: F,
    /// SFT, RL on the demonstration, self term, entropy bonus, KL penalty.
    pub terms: [Term<F>; column::LOSSES],
    /// Whether the ratio was clipped.
    pub clipped: bool,
}

/// A token of a sequence with coefficients `c`. `h` is the H of its weight, `log_rho` the sequence's ln ρ where the
/// ratio is a sequence's, `stats` are its (ln p_t, H_t), nats, and `given` as [`super::objective`] has it.
pub fn token<F: Float>(
    c: &TermCoefficients,
    switches: &Switches,
    h: F,
    log_rho: Option<F>,
    [logp, entropy_nats]: [F; 2],
    [old_logp, base_logp, factor]: [F; GIVEN],
) -> Token<F> {
    let one = F::from(1.0);
    let w_sft = weight(switches.sft_weight, h) * phi(switches.sft_token, logp, entropy_nats);
    let w_rl = weight(switches.self_weight, h);
    // A negative factor turns a positive into a negative.
    let positive = c.self_positive == (factor >= F::default());
    let w_self = match switches.max_logp {
        Some(most) if logp > F::from(most) => F::default(),
        _ if positive => w_rl,
        _ => one,
    };
    let (clipped_ratio, clipped) = match c.self_ratio {
        0.0 => (Term::default(), false),
        c => {
            let log_rho = log_rho.unwrap_or(logp - old_logp).min(F::from(MAX_LOG_RATIO));
            ratio(w_self, F::from(c) * factor, switches, logp, log_rho)
        }
    };
    let penalty = match c.kl {
        0.0 => Term::default(),
        lambda => kl(F::from(lambda), switches.kl, logp, base_logp, old_logp),
    };
    let terms = [
        sft(w_sft, F::from(c.sft) * factor, logp),
        rl_demo(switches.shaping.map(F::from), F::from(c.rl_demo) * factor, logp),
        [signed(w_self, F::from(c.self_logp) * factor, logp), clipped_ratio].into_iter().sum(),
        entropy_bonus(F::from(c.entropy), entropy_nats),
        penalty,
    ];
    Token { w_sft, w_rl, terms, clipped }
}

/// ln ρ of a sequence, where the ratio is a sequence's: the mean over its tokens.
pub fn sequence_log_rho<F: Float>(
    terms: &TermCoefficients,
    switches: &Switches,
    stats: &[[F; 2]],
    given: &[[F; GIVEN]],
) -> Option<F> {
    let taken = switches.ratio == RatioOf::Sequence && terms.self_ratio != 0.0;
    taken.then(|| {
        let log_rhos = stats.iter().zip(given).map(|(s, g)| -> f64 { (s[0] - g[0]).into() });
        F::of(log_rhos.sum::<f64>() / stats.len().max(1) as f64)
    })
}

/// Evaluates a sequence: writes its tokens' (dL/dln p, dL/dH) to `coefficients` and returns its row
/// of the sums.
pub fn sequence<F: Float>(
    row: &Row,
    switches: &Switches,
    stats: &[[F; 2]],
    given: &[[F; GIVEN]],
    coefficients: &mut [[F; 2]],
) -> [f64; COLUMNS] {
    let shared = entropy(switches.entropy_over, row.demonstration, stats.iter().map(|&[_, h]| h));
    let log_rho = sequence_log_rho(&row.terms, switches, stats, given);
    let wide = |value: F| -> f64 { value.into() };
    let mut sums = [0.0; COLUMNS];
    for ((&stats, &given), out) in stats.iter().zip(given).zip(coefficients) {
        let [_, entropy_nats] = stats;
        let h = shared.unwrap_or(entropy_nats);
        let Token { w_sft, w_rl, terms, clipped } =
            token(&row.terms, switches, h, log_rho, stats, given);
        for (sum, term) in sums.iter_mut().zip(terms) {
            *sum += wide(term.value);
        }
        sums[column::ENTROPY] += wide(entropy_nats);
        sums[column::WEIGHT] += wide(if row.demonstration { w_sft } else { w_rl });
        sums[column::CLIPPED] += f64::from(u8::from(clipped));
        let total: Term<F> = terms.into_iter().sum();
        *out = [total.d_logp, total.d_entropy];
    }
    sums[column::WEIGHT] /= f64::from(row.len.max(1));
    sums
}
