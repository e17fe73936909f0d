//! The plain records that cross module borders. No tensors, no behaviour beyond counting.
//!
//! Letters used for shapes in the whole project: B sequences, T positions, N response tokens,
//! V vocabulary, D hidden, G rollouts per prompt, P prompts per step, S sequences of an update.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::ops::Range;

/// A problem with its gold answer and, where there is one, a teacher's demonstration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Suite for reporting (`add`, …, or the file's stem for the user's data).
    pub suite: String,
    /// The prompt as the model reads it.
    pub prompt: String,
    /// The teacher's response, whose end-of-text only a chat template writes out; `None` where only
    /// the answer is known.
    pub demonstration: Option<String>,
    /// The gold answer that the verifier compares with.
    pub answer: String,
    /// How its text becomes tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub layout: Layout,
    /// Other fields of the user's data, for a reward command.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// What a chat template wrote of an example's text, which is prompt and demonstration in one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Special tokens are written out: nothing is put before the prompt.
    pub templated: bool,
    /// Byte ranges of the text that the assistant wrote and imitation learns, rising: turns of the
    /// prompt, and of a demonstration of several turns each. Where none of them stands in the
    /// demonstration, it is the assistant's from end to end.
    pub learned: Vec<Range<usize>>,
}

fn is_default(layout: &Layout) -> bool {
    *layout == Layout::default()
}

/// One sampled response with everything that later stages need.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Index of the prompt within its step.
    pub prompt: usize,
    /// Index of the sample within its group, 0..G.
    pub sample: usize,
    /// Response tokens, end-of-text included where the policy produced it.
    pub tokens: Vec<u32>,
    /// ln π(token) of the sampling policy at temperature 1, nats, one a token.
    pub logprobs: Vec<f32>,
    /// Entropy of π over the whole vocabulary, nats, one a token.
    pub entropies: Vec<f32>,
    /// The length limit cut it before end-of-text.
    pub truncated: bool,
    /// The response as text, without end-of-text.
    pub response: String,
    /// What the verifier gave, in the configured reward values.
    pub reward: f32,
    /// Its answer is right.
    pub right: bool,
    /// Its answer has the gold answer's value, but a form that earns no reward.
    #[serde(default)]
    pub loose_only: bool,
}

/// A teacher's response in tokens, scored by the same verifier as the rollouts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Demonstration {
    /// Response tokens, end-of-text included; of a response of several turns, those of the last.
    pub tokens: Vec<u32>,
    /// What of such a response stands before its last turn, with what others say between: read, and
    /// learned where the group says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<u32>,
    /// What the verifier gave it: a wrong demonstration has a low reward. `None` where there was
    /// nothing to judge (no answer, or a cut end) or the verifier failed: then it is no part of its
    /// group's advantages and has no RL term.
    pub reward: Option<f32>,
    /// Its answer is right.
    pub right: bool,
}

/// A rollout that the verifier failed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unscored {
    /// Why.
    pub why: String,
    /// How many tokens were sampled for it.
    pub tokens: usize,
}

/// How a group came into a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Drawn from the data in this step; with rollouts, where the method samples.
    Drawn,
    /// Taken from ReLIFT's buffer, without rollouts, to be imitated.
    #[default]
    Held,
}

/// A prompt, its rollouts, and its demonstration: the unit over which advantages are taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// How it came into the step. Only held groups are written to a file.
    #[serde(default)]
    pub origin: Origin,
    /// The problem.
    pub example: Example,
    /// The prompt in tokens, begin-of-text included.
    pub prompt_tokens: Vec<u32>,
    /// Positions that imitation learns too, rising: of the prompt and, counted on from its end, of
    /// the demonstration's earlier turns.
    pub learned: Vec<usize>,
    /// The rollouts that were scored; empty for purely supervised methods.
    pub episodes: Vec<Episode>,
    /// The demonstration; `None` for purely on-policy methods.
    pub demonstration: Option<Demonstration>,
    /// The rollouts that the verifier failed on: they have no reward and no part in the update.
    pub unscored: Vec<Unscored>,
    /// Why the demonstration has no reward, where the verifier failed on it.
    #[serde(default)]
    pub unscored_demo: Option<String>,
}

/// Whether a sequence of the update is a rollout of the policy or a teacher's demonstration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sampled from the policy.
    Rollout,
    /// Written by the teacher.
    Demonstration,
}

/// One sequence of an update: tokens in, and the per-sequence coefficients of every loss term.
///
/// The coefficients already hold signs, advantages, gates and the global normalisation, so the
/// objective kernel knows nothing of methods. See `objective` for how each method fills them.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Rollout or demonstration.
    pub role: Role,
    /// Prompt tokens.
    pub prompt: Vec<u32>,
    /// Response tokens, all of which carry loss.
    pub response: Vec<u32>,
    /// Positions of the prompt that carry loss besides, rising, none of them 0.
    pub learned: Vec<usize>,
    /// ln π_old of each response token (the sampler's); empty where no ratio is taken. A KL penalty
    /// puts the base model's ln π of a demonstration's tokens in their place.
    pub old_logprobs: Vec<f32>,
    /// Loss-term coefficients.
    pub terms: TermCoefficients,
}

impl Sequence {
    /// A response that is looked at, not trained on.
    pub fn to_score(prompt: Vec<u32>, response: Vec<u32>) -> Self {
        Self {
            role: Role::Demonstration,
            prompt,
            response,
            learned: Vec::new(),
            old_logprobs: Vec::new(),
            // A coefficient of 1 only marks the sequence as one to keep.
            terms: TermCoefficients { sft: 1.0, ..Default::default() },
        }
    }

    /// Tokens that carry loss.
    pub fn loss_tokens(&self) -> usize {
        self.learned.len() + self.response.len()
    }
}

/// Per-sequence factors of the loss terms (dimensionless; 0 switches a term off).
///
/// Per token t with p_t = π(token), the loss is
/// `sft·w_SFT·φ_t·(−ln p_t) + rl_demo·f(p_t) + self_logp·w_RL'·ln p_t + self_ratio·w_RL'·clip(ρ_t)
///  + entropy·H_t + kl·k3_t`, where `w_RL' = w_RL` if `self_positive`, else 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TermCoefficients {
    /// SFT (Eq. 8): `+gate / normaliser`.
    pub sft: f32,
    /// RL on the demonstration (Eqs. 9–10): `−Â_demo / normaliser`.
    pub rl_demo: f32,
    /// Signed self term (Eqs. 11–12): `−v/normaliser` for a reward v in [−1, 1], which is 1 for right
    /// and −1 for wrong rollouts.
    pub self_logp: f32,
    /// Advantage self term (PPO/GRPO): `−Â / normaliser`, multiplied by the clipped ratio.
    pub self_ratio: f32,
    /// Whether w_RL = 0.1·exp(+H) multiplies the self term (positives only in the paper).
    pub self_positive: bool,
    /// Entropy bonus: `−entropy_coeff / normaliser`; on rollouts.
    pub entropy: f32,
    /// KL penalty: `+kl_coeff / normaliser`; on demonstrations.
    pub kl: f32,
}

impl TermCoefficients {
    /// Whether no term acts, so that the sequence has neither loss nor gradient.
    pub fn is_zero(&self) -> bool {
        let Self { sft, rl_demo, self_logp, self_ratio, self_positive: _, entropy, kl } = *self;
        [sft, rl_demo, self_logp, self_ratio, entropy, kl] == [0.0; 6]
    }
}
