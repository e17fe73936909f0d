//! The plain records that modules exchange. No tensors, and no behaviour beyond counting.
//!
//! Letters used for shapes in the whole project: B sequences, T positions, N response tokens,
//! V vocabulary, D hidden, G rollouts per prompt, P prompts per step, S sequences of an update.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::Range;

/// A problem with its gold answer and, where there is one, a teacher's demonstration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Suite for reporting (`add`, …, or the file's stem for the user's data).
    pub suite: String,
    /// The prompt as the model reads it.
    pub prompt: String,
    /// The teacher's response, without end-of-text unless a chat template wrote it; `None` if only the
    /// answer is known.
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

/// How a chat template laid out this example's text (prompt and demonstration in one).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Special tokens are written out: nothing is put before the prompt.
    pub templated: bool,
    /// Byte ranges of the assistant's turns that the SFT loss covers, rising: turns in the prompt, and
    /// each turn of a demonstration of several. If no range lies in the demonstration, all of it is the
    /// assistant's.
    pub learned: Vec<Range<usize>>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
    /// ln π(token) of the sampling policy at `temperature`, nats, one per token.
    pub logprobs: Vec<f32>,
    /// Entropy of that π over the whole vocabulary, nats, one per token.
    pub entropies: Vec<f32>,
    /// What divided the logits of that π.
    #[serde(default, skip_serializing_if = "is_default")]
    pub temperature: Temperature,
    /// What a KL penalty in the reward takes off it: β times the sum over the tokens, nats.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kl: f32,
    /// ln π of each token where the policy has the demonstration before the prompt, nats; empty where it was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taught: Vec<f32>,
    /// How many of the demonstration's first tokens stood between the prompt and `tokens`: read, not sampled.
    #[serde(default, skip_serializing_if = "is_default")]
    pub given: usize,
    /// Those as text, which `response` begins with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub given_text: String,
    /// ln π of each of those, as of `tokens`; empty where it was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_logprobs: Vec<f32>,
    /// Entropy of π at each of those; empty where it was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_entropies: Vec<f32>,
    /// Whether the length limit cut it before end-of-text.
    pub truncated: bool,
    /// The response as text, without end-of-text; what was given is part of it.
    pub response: String,
    /// The reward, in the configured reward values.
    pub reward: f32,
    /// Its answer is right.
    pub right: bool,
    /// Whether its answer has the gold answer's value, but in a form that earns no reward.
    #[serde(default)]
    pub loose_only: bool,
    /// Each reward's score by its name, 0 to 1, the answer's too; empty where the answer is all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, f64>,
}

/// What divides logits: 1 unless said.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Temperature(pub f32);

impl Default for Temperature {
    fn default() -> Self {
        Self(1.0)
    }
}

/// A teacher's response in tokens, scored by the same verifier as the rollouts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Demonstration {
    /// Response tokens, end-of-text included; for a response of several turns, those of the last.
    pub tokens: Vec<u32>,
    /// For a response of several turns, what comes before its last turn, with what others say in
    /// between: read, and learned at the positions in the group's `learned`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<u32>,
    /// The demonstration's reward; low for a wrong one. `None` if there was nothing to judge (no
    /// answer, or cut short) or the verifier failed: it then has no part in its group's advantages and
    /// no RL term.
    pub reward: Option<f32>,
    /// Its answer is right.
    pub right: bool,
}

/// A rollout on which the verifier failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unscored {
    /// Why.
    pub why: String,
    /// How many tokens were sampled for it.
    pub tokens: usize,
}

/// Where a step's group comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Drawn from the data in this step; has rollouts if the method samples.
    Drawn,
    /// Taken from ReLIFT's buffer to be imitated; has no rollouts.
    #[default]
    Held,
}

/// A prompt, its rollouts, and its demonstration: the unit over which advantages are taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Where it comes from. Only held groups are written to a file.
    #[serde(default)]
    pub origin: Origin,
    /// The problem.
    pub example: Example,
    /// The prompt in tokens, begin-of-text included.
    pub prompt_tokens: Vec<u32>,
    /// Positions that the SFT loss covers besides the demonstration's last turn, rising: in the prompt
    /// and, counted on from its end, in the demonstration's earlier turns.
    pub learned: Vec<usize>,
    /// The rollouts that were scored; empty for purely supervised methods.
    pub episodes: Vec<Episode>,
    /// The demonstration; `None` for purely on-policy methods.
    pub demonstration: Option<Demonstration>,
    /// The rollouts on which the verifier failed: they have no reward and no part in the update.
    pub unscored: Vec<Unscored>,
    /// Rollouts that others took the place of, since none of them or all were right after their prefix: no part
    /// in the update.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Episode>,
    /// Why the demonstration has no reward, if the verifier failed on it.
    #[serde(default)]
    pub unscored_demo: Option<String>,
}

impl Group {
    /// The tokens of the demonstration that a rollout began with.
    pub fn given(&self, episode: &Episode) -> &[u32] {
        let shown = self.demonstration.as_ref().map_or(&[][..], |d| &d.tokens);
        &shown[..episode.given.min(shown.len())]
    }

    /// What the policy had read before a rollout's own tokens: the prompt, and what was given.
    pub fn read_before(&self, episode: &Episode) -> Vec<u32> {
        [&self.prompt_tokens[..], self.given(episode)].concat()
    }
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

/// One sequence of an update: its tokens, and its coefficient for every loss term.
///
/// The coefficients already include signs, advantages, gates and the global normaliser, so the
/// objective kernel knows nothing of methods. See `objective` for how each method sets them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    /// Rollout or demonstration.
    pub role: Role,
    /// Prompt tokens.
    pub prompt: Vec<u32>,
    /// Response tokens, all of which carry loss.
    pub response: Vec<u32>,
    /// Positions of the prompt that also carry loss, rising, never 0.
    pub learned: Vec<usize>,
    /// ln π_old of each token that carries loss, from sampling; empty if no ratio is taken.
    pub old_logprobs: Vec<f32>,
    /// What multiplies the terms of each token that carries loss but for entropy bonus and KL penalty: a weight, or the token's share
    /// of an advantage; empty where all are 1.
    pub factors: Vec<f32>,
    /// What divides the logits of its tokens.
    pub temperature: f32,
    /// Loss-term coefficients.
    pub terms: TermCoefficients,
}

impl Sequence {
    /// A sequence that is scored and not trained on.
    pub fn to_score(prompt: Vec<u32>, response: Vec<u32>) -> Self {
        Self {
            role: Role::Demonstration,
            prompt,
            response,
            learned: Vec::new(),
            old_logprobs: Vec::new(),
            factors: Vec::new(),
            temperature: 1.0,
            // The coefficient of 1 only keeps the sequence from being skipped.
            terms: TermCoefficients { sft: 1.0, ..Default::default() },
        }
    }

    /// Whether any of its tokens carries loss: without, its gradient is exactly 0.
    pub fn carries_loss(&self) -> bool {
        !self.terms.is_zero() && !self.response.is_empty()
    }

    /// Number of tokens that carry loss.
    pub fn loss_tokens(&self) -> usize {
        self.learned.len() + self.response.len()
    }
}

/// Per-sequence factors of the loss terms (dimensionless; 0 switches a term off).
///
/// Per token t with p_t = π(token), the loss is
/// `a_t·(sft·w_SFT·φ_t·(−ln p_t) + rl_demo·f(p_t) + self_logp·w_RL'·ln p_t + self_ratio·w_RL'·clip(ρ_t))
///  + entropy·H_t + kl·k3_t`, where a_t is the token's factor and `w_RL' = w_RL` if `self_positive`, else 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TermCoefficients {
    /// SFT (Eq. 8): `+gate / normaliser`.
    pub sft: f32,
    /// RL on the demonstration (Eqs. 9–10): `−Â_demo / normaliser`.
    pub rl_demo: f32,
    /// Signed self term (Eqs. 11–12): `−v / normaliser` for a reward v in [−1, 1]: 1 for right and −1 for
    /// wrong rollouts.
    pub self_logp: f32,
    /// Advantage self term (PPO/GRPO): `−Â / normaliser`, multiplied by the clipped ratio.
    pub self_ratio: f32,
    /// Whether w_RL = 0.1·exp(+H) multiplies the self term (positives only in the paper).
    pub self_positive: bool,
    /// Entropy bonus: `−entropy_coeff / normaliser`; on rollouts.
    pub entropy: f32,
    /// KL penalty: `+kl_coeff / normaliser` on demonstrations, `+rollout_kl / normaliser` on rollouts.
    pub kl: f32,
}

impl TermCoefficients {
    /// Whether every coefficient is 0, so that the sequence has neither loss nor gradient.
    pub fn is_zero(&self) -> bool {
        let Self { sft, rl_demo, self_logp, self_ratio, self_positive: _, entropy, kl } = *self;
        [sft, rl_demo, self_logp, self_ratio, entropy, kl] == [0.0; 6]
    }
}
