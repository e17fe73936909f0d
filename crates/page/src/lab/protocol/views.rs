//! What events show: runs, probes, groups taken apart, answers. Plain records.

use super::Share;
use crate::eval;
use crate::metrics::StepReport;
use serde::Serialize;

/// What there is, before the first step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Ready {
    /// Version of srft.
    pub version: String,
    /// Where it computes.
    pub adapter: AdapterView,
    /// Kernels that passed their self-test on it.
    pub self_test: Vec<String>,
    /// Which of the runs are meant, where several workers share them.
    pub share: Share,
    /// The runs.
    pub runs: Vec<RunView>,
    /// Steps of every run.
    pub steps: u32,
    /// Steps done: above 0 for runs that were loaded.
    pub step: u32,
    /// The base model's numbers.
    pub model: ModelView,
    /// Suites of the task.
    pub suites: Vec<SuiteView>,
    /// The responses of the token strip, scored by the base.
    pub probes: Vec<Probe>,
}

/// An adapter, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct AdapterView {
    /// The vendor's name for it.
    pub name: String,
    /// `webgpu`, `flex` (the CPU), or natively vulkan, metal, dx12, gl.
    pub backend: String,
    /// Why this one.
    pub reason: String,
    /// A GPU, rather than the CPU or a GPU interface computed by the CPU.
    pub is_gpu: bool,
}

/// The model's size.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ModelView {
    /// Trainable numbers.
    pub parameters: u32,
    /// Transformer layers.
    pub layers: u32,
    /// Hidden width.
    pub hidden: u32,
    /// Entries of the vocabulary: ln of it is the largest entropy, nats.
    pub vocabulary: u32,
}

/// A run as it was resolved.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct RunView {
    /// Its method.
    pub method: String,
    /// `config.toml`: every setting with its meaning.
    pub config: String,
    /// The same as `section.key` → value, for controls.
    #[cfg_attr(
        feature = "typescript",
        ts(type = "Record<string, string | number | boolean | Array<string>>")
    )]
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Its steps so far, where it was loaded.
    #[cfg_attr(feature = "typescript", ts(type = "Array<StepReport>"))]
    pub reports: Vec<StepReport>,
    /// Its evaluations so far, where it was loaded.
    pub evaluations: Vec<PastEvaluation>,
}

/// An evaluation on file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PastEvaluation {
    /// Steps done.
    pub step: u32,
    /// Suite by suite.
    pub scores: Vec<Score>,
}

/// A family of problems.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct SuiteView {
    /// Name.
    pub name: String,
    /// Absent from fine-tuning.
    pub ood: bool,
    /// A problem of it.
    pub prompt: String,
    /// The teacher's response to that.
    pub demonstration: String,
}

/// A fixed response whose tokens are watched.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Probe {
    /// Suite of the problem, which is held out.
    pub suite: String,
    /// The problem.
    pub prompt: String,
    /// Who wrote the response: `teacher` or `base`.
    pub author: String,
    /// The response's tokens as text, end-of-text last.
    pub tokens: Vec<String>,
    /// What the base thinks of them.
    pub base: TokenScores,
}

/// What a model thinks of a response's tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct TokenScores {
    /// ln π of each, nats.
    pub logprobs: Vec<f32>,
    /// Entropy of π where each is predicted, nats.
    pub entropies: Vec<f32>,
}

/// A prompt's group in a run's last step: before the update, and after it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct GroupView {
    /// Which run.
    pub run: u32,
    /// Its step, counted from 1.
    pub step: u32,
    /// Index of the prompt within the step.
    pub prompt: u32,
    /// Every prompt of the step, to choose from.
    pub prompts: Vec<PromptView>,
    /// The gold answer.
    pub answer: String,
    /// Rollouts, then the demonstration.
    pub members: Vec<Member>,
    /// Values of the settings that the formulas name.
    pub formula: FormulaView,
}

/// A prompt of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PromptView {
    /// Suite.
    pub suite: String,
    /// The prompt.
    pub text: String,
    /// Rollouts that the reward accepted.
    pub right: u32,
    /// Rollouts.
    pub rollouts: u32,
}

/// Switches and scales that stand in the formulas of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct FormulaView {
    /// What L_SFT and its KL penalty are multiplied by: μ of a convex mix, else 1.
    pub sft_share: f64,
    /// What all other terms are multiplied by: 1 − μ, or 1.
    pub rl_share: f64,
    /// `none`, or the formula of what weighs each token of L_SFT besides w_SFT.
    pub sft_token_weight: String,
    /// λ of the KL penalty on what is imitated.
    pub kl_coeff: f64,
    /// β of the KL penalty on rollouts, where it stands in the loss.
    pub rollout_kl: f64,
    /// `k3`, `k1` or `k3-ratio`: how both are estimated at a token.
    pub kl_form: String,
    /// Scale of w_SFT.
    pub sft_weight_scale: f64,
    /// Sign of H in w_SFT: −1, +1, or 0 where the weights are frozen.
    pub sft_weight_sign: f64,
    /// Scale of w_RL.
    pub self_weight_scale: f64,
    /// Sign of H in w_RL: +1, or 0 where the weights are frozen.
    pub self_weight_sign: f64,
    /// `sequence`, `token` or `batch`: over what the H of a weight is averaged.
    pub entropy_over: String,
    /// γ of f(p) = p / (p + γ); none: f(p) = p.
    pub shaping: Option<f64>,
    /// `none`, `signed` or `advantage`.
    pub self_term: String,
    /// `rewards`, `entropy` or `teacher`: what Â is; of the last two it is each token's factor.
    pub advantage_of: String,
    /// `token` or `sequence`: over what the ratio is taken.
    pub ratio: String,
    /// `loss` or `weight`: what the clip holds.
    pub clip: String,
    /// Most that a ratio counts where Â is negative; 0: no limit.
    pub dual_clip: f64,
    /// PPO's clip range of the ratio below 1.
    pub clip_low: f64,
    /// PPO's clip range of the ratio above 1.
    pub clip_high: f64,
    /// Rollout tokens more probable than this have no self term.
    pub max_prob: f64,
    /// Coefficient of the entropy bonus.
    pub entropy_coeff: f64,
    /// `token-mean`, `sequence-mean` or `sum-constant`.
    pub aggregate: String,
}

/// A rollout or the demonstration.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Member {
    /// `rollout` or `demonstration`.
    pub role: String,
    /// The response without end-of-text.
    pub response: String,
    /// What the reward gave; none where it could not judge.
    pub reward: Option<f64>,
    /// Its answer is right.
    pub right: bool,
    /// The reward on the scale of Eq. 12, from −1 (wrong) to 1 (right): the signed self term's sign
    /// and size.
    pub signed: f64,
    /// Cut by the length limit.
    pub truncated: bool,
    /// Â, Eq. 7.
    pub advantage: f64,
    /// Mean entropy of its tokens before the update, nats.
    pub entropy: f64,
    /// Mean over its tokens of w_SFT·φ (demonstration) or w_RL (rollout).
    pub weight: f64,
    /// Whether that weight multiplies anything (w_RL: in the paper on right rollouts only).
    pub weight_applies: bool,
    /// What its token losses are divided by (tokens of the update, for a token mean).
    pub normaliser: f64,
    /// The same of the SFT term and the KL penalty.
    pub sft_normaliser: f64,
    /// Its share of the loss, each term summed over its tokens.
    pub terms: TermValues,
    /// Token by token.
    pub tokens: Vec<TokenView>,
}

/// A value for each loss term.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct TermValues {
    /// L_SFT, Eq. 8.
    pub sft: f64,
    /// L_RL,demo, Eqs. 9–10.
    pub rl_demo: f64,
    /// L_self, Eqs. 11–12, or the clipped ratio's.
    #[serde(rename = "self")]
    pub self_term: f64,
    /// The entropy bonus.
    pub entropy: f64,
    /// The KL penalty.
    pub kl: f64,
}

/// A token of a response.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct TokenView {
    /// As text.
    pub text: String,
    /// The demonstration gave it: it was read, not sampled.
    pub given: bool,
    /// ln p before the update, nats.
    pub logp: f64,
    /// Entropy before the update, nats.
    pub entropy: f64,
    /// ln p after it.
    pub logp_after: f64,
    /// Entropy after it.
    pub entropy_after: f64,
    /// The likeliest tokens before it.
    pub before: Vec<Candidate>,
    /// The likeliest tokens after it.
    pub after: Vec<Candidate>,
    /// ρ = π / π_old, for the ratio form of the self term; none elsewhere.
    pub ratio: Option<f64>,
    /// What multiplies its terms but for bonus and penalty.
    pub factor: f64,
    /// ln p under the base, where a KL penalty takes it.
    pub logp_base: Option<f64>,
    /// w_SFT·φ or w_RL at this token.
    pub weight: f64,
    /// Its share of the loss.
    pub terms: TermValues,
    /// ∂L/∂ln p: above 0 the update pushes the token down.
    pub slope: f64,
}

/// A token that could stand there.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Candidate {
    /// As text.
    pub text: String,
    /// Its probability.
    pub p: f64,
}

/// An answer to a prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Answer {
    /// Which run; the base where there is none.
    pub run: Option<u32>,
    /// The response's tokens.
    pub tokens: Vec<AnswerToken>,
    /// Cut by the length limit.
    pub truncated: bool,
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct AnswerToken {
    /// As text.
    pub text: String,
    /// Its probability under the policy at temperature 1.
    pub p: f64,
    /// Entropy there, nats.
    pub entropy: f64,
}

/// A suite's result.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Score {
    /// Suite.
    pub suite: String,
    /// Absent from fine-tuning.
    pub ood: bool,
    /// Problems.
    pub n: usize,
    /// Samples a problem, k.
    pub samples: usize,
    /// avg@k: mean over problems of the share of right samples.
    pub accuracy: f64,
    /// Accuracy's 95% confidence interval over problems, Wilson's.
    pub interval: [f64; 2],
    /// pass@k: share of problems of which a sample is right.
    pub pass: f64,
    /// The same of pass@k.
    pub pass_interval: [f64; 2],
    /// Samples that the verifier failed on, left out of all this.
    pub unscored: usize,
}

impl From<eval::Score> for Score {
    fn from(score: eval::Score) -> Self {
        let eval::Score {
            suite,
            ood,
            n,
            samples,
            accuracy,
            interval,
            pass,
            pass_interval,
            rewards: _, // a page has one reward
            unscored,
        } = score;
        Self { suite, ood, n, samples, accuracy, interval, pass, pass_interval, unscored }
    }
}
