//! The settings that are one of several names.

use super::value::{Setting, named};
use toml::Value;

macro_rules! choice {
    ($(#[doc = $doc:literal])+ $name:ident { $(#[doc = $value_doc:literal] $value:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $(#[doc = $value_doc] $value,)+ }

        impl Setting for $name {
            fn read(_: &str, value: &Value) -> Result<Self, String> {
                named(value, Self::ALL.iter().map(|value| (value.name(), *value)))
            }

            fn write(&self) -> Value {
                self.name().into()
            }
        }

        impl $name {
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// The value as configs spell it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }
    };
}

/// Which layers keep only their input for the backward pass, which computes the rest again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpointing {
    /// As many as must, so that the update fits in memory.
    Auto,
    /// Every one.
    All,
    /// None.
    None,
}

impl Setting for Checkpointing {
    fn read(_: &str, value: &Value) -> Result<Self, String> {
        match value {
            Value::Boolean(true) => Ok(Self::All),
            Value::Boolean(false) => Ok(Self::None),
            Value::String(text) if text == "auto" => Ok(Self::Auto),
            _ => Err("unknown, expected `auto`, true or false".into()),
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Auto => "auto".into(),
            Self::All => true.into(),
            Self::None => false.into(),
        }
    }
}

impl Checkpointing {
    /// How many of the layers are computed again, but for `auto`, where that depends on memory.
    pub fn recomputed(self, layers: usize) -> Option<usize> {
        match self {
            Self::Auto => None,
            Self::All => Some(layers),
            Self::None => Some(0),
        }
    }
}

choice! {
    /// How answers are compared.
    Comparison {
        /// Character for character, outer white space aside.
        Exact = "exact",
        /// As numbers, exactly: `1,200` = `1.2e3`, `0.5` = `1/2`, `0.333` is not `1/3`.
        Numeric = "numeric",
        /// As numbers, after the last `####`, which is how GSM8K's solutions end.
        Gsm8k = "gsm8k",
        /// As mathematics, in the last `\\boxed{}` or final answer: `1/\\sqrt{2}` = `\\sqrt{2}/2`.
        Math = "math",
        /// As the letter of a multiple choice.
        Choice = "choice",
        /// The gold answer is a regular expression.
        Regex = "regex",
        /// By `reward.command`: right from a score of a half on.
        Command = "command",
        /// By the own scorer of the task that the data name: right from a score of a half on.
        Task = "task",
        /// By a function of the program that holds the library: right from a score of a half on.
        Given = "given",
    }
}
impl Comparison {
    /// Whether it compares a response's answer with the gold answer, and needs nothing else.
    pub fn is_of_answers(self) -> bool {
        !matches!(self, Self::Command | Self::Task | Self::Given)
    }
}

choice! {
    /// In which form an answer with the gold answer's value is right.
    MathForm {
        /// What reinforcement can't game: an answer, rather than the question or a sum left to do.
        Strict = "strict",
        /// In any, which is how others evaluate.
        Any = "any",
    }
}
choice! {
    /// What becomes of an example that is too long.
    TooLong {
        /// Nothing is read.
        Error = "error",
        /// It is left out.
        Drop = "drop",
        /// Its demonstration is cut, without an end-of-text.
        Cut = "cut",
    }
}
choice! {
    /// What becomes of an example whose gold answer cannot be read.
    Unreadable {
        /// Nothing is read.
        Error = "error",
        /// It is left out.
        Drop = "drop",
    }
}
choice! {
    /// The turns of a conversation that imitation learns.
    Turns {
        /// Every one of the assistant's.
        All = "all",
        /// The last.
        Last = "last",
    }
}
choice! {
    /// What training rewards in a response.
    Rewarded {
        /// The right answer, as evaluation judges it.
        Answer = "answer",
        /// The gold answer anywhere in the response.
        Mention = "mention",
    }
}
choice! {
    /// The loss on the policy's own rollouts.
    SelfTerm {
        /// No rollouts.
        None = "none",
        /// Eq. 12: right ones up, wrong ones down, as much as they are rewarded; no baseline.
        Signed = "signed",
        /// The clipped ratio times the group advantage.
        Advantage = "advantage",
    }
}
choice! {
    /// The sign of H in w_SFT's exponent.
    Sign {
        /// exp(−H), as printed in Eq. 8.
        Minus = "minus",
        /// exp(+H), as the authors' code is reported to have it.
        Plus = "plus",
    }
}
choice! {
    /// A weight without its entropy.
    FixedWeight {
        /// Neither.
        None = "none",
        /// w_SFT.
        Sft = "sft",
        /// w_RL.
        SelfTerm = "self",
    }
}
choice! {
    /// What the entropy in a weight is averaged over.
    EntropyOver {
        /// The sequence's own response tokens.
        Sequence = "sequence",
        /// Nothing: each token has its own weight.
        Token = "token",
        /// All demonstration (or all rollout) tokens of the update.
        Batch = "batch",
    }
}
choice! {
    /// Shaping of the demonstration's probability in its RL term.
    DemoShaping {
        /// f(p) = p.
        None = "none",
        /// f(p) = p/(p + 0.1).
        Luffy = "p/(p+0.1)",
    }
}
choice! {
    /// How token losses become one number.
    Aggregate {
        /// Sum over all tokens of the update, divided by their count.
        TokenMean = "token-mean",
        /// Mean over each sequence's tokens, then over sequences.
        SequenceMean = "sequence-mean",
        /// Sum over all tokens, divided by a constant.
        SumConstant = "sum-constant",
        /// Sum over each sequence's tokens, divided by a constant; then their mean.
        SequenceConstant = "sequence-constant",
    }
}
choice! {
    /// How the SFT term's token losses become one number.
    SftAggregate {
        /// As `Aggregate` says.
        Same = "same",
        /// See [`Aggregate::TokenMean`].
        TokenMean = "token-mean",
        /// See [`Aggregate::SequenceMean`].
        SequenceMean = "sequence-mean",
    }
}
choice! {
    /// What weighs a token of the SFT term besides w_SFT.
    SftTokenWeight {
        /// Nothing.
        None = "none",
        /// CHORD's φ: most for tokens of probability a half, nothing for certain and impossible ones.
        Phi = "p(1-p)",
        /// DFT's: as little as p itself, so that no token's gradient grows as p falls.
        Probability = "p",
        /// EAFT's: little where the policy is sure.
        Entropy = "H/3",
        /// TrSFT's: DFT's below p = 0.1, none above.
        Trusted = "min(p/0.1,1)",
    }
}
choice! {
    /// How much of its demonstration a rollout begins with.
    Prefix {
        /// Nothing: it begins after the prompt.
        None = "none",
        /// The share that the schedule has come to.
        Share = "share",
        /// So many of five equal parts, each by a coin that falls as the schedule says (UFT).
        Parts = "parts",
        /// A share drawn between the schedule's and `prefix_share` (Prefix-RFT).
        Uniform = "uniform",
        /// Where no rollout is right, so much that some are and some are not (BREAD).
        Success = "success",
    }
}
choice! {
    /// Which of a demonstration's tokens the SFT term imitates.
    SftOver {
        /// All.
        Demonstration = "demonstration",
        /// Those that its rollouts began with.
        Prefix = "prefix",
    }
}
choice! {
    /// What the advantage self term reinforces.
    AdvantageOf {
        /// Responses, by their rewards within the group.
        Rewards = "rewards",
        /// Tokens, by their response's reward and their share of the group's entropy at their position (GTPO).
        Entropy = "entropy",
        /// Tokens, by how much likelier they are to the policy that also sees the demonstration.
        Teacher = "teacher",
    }
}
choice! {
    /// How the coefficient of the entropy bonus follows the rollouts' entropy.
    EntropyControl {
        /// Not at all.
        None = "none",
        /// By a fixed amount a step; it acts only where the entropy is at or below the target.
        Step = "step",
        /// Its logarithm by AdamW, so that it grows below the target and shrinks above.
        Gradient = "gradient",
    }
}
choice! {
    /// The ratio of the clipped self term.
    RatioOf {
        /// Each token's.
        Token = "token",
        /// The geometric mean over a response's tokens (GSPO).
        Sequence = "sequence",
    }
}
choice! {
    /// What the clip of the ratio holds.
    ClipOf {
        /// The loss: a clipped token has no gradient (PPO).
        Loss = "loss",
        /// The weight of −ln p: every token has a gradient (CISPO).
        Weight = "weight",
    }
}
choice! {
    /// What becomes of a rollout that the length limit cut.
    Truncated {
        /// It is wrong.
        Wrong = "wrong",
        /// It is wrong in its group's mean, and carries no loss.
        Masked = "masked",
        /// It is wrong, and long ones lose reward before the limit already (DAPO).
        Soft = "soft",
    }
}
choice! {
    /// The estimate of KL(θ‖base) at a token.
    KlForm {
        /// r − 1 − ln r, r = p_base/p: never negative.
        K3 = "k3",
        /// −ln r.
        K1 = "k1",
        /// ρ times k3 (TRL's default): its gradient is the KL's where the policy has moved since it sampled.
        K3Ratio = "k3-ratio",
    }
}
choice! {
    /// Where the KL penalty on rollouts stands.
    KlIn {
        /// In the loss, token by token.
        Loss = "loss",
        /// In the reward, summed over a response.
        Reward = "reward",
    }
}
choice! {
    /// How the supervised and the reinforcement loss are put together.
    Mix {
        /// L_SFT + L_RL.
        Sum = "sum",
        /// μ·L_SFT + (1 − μ)·L_RL.
        Convex = "convex",
    }
}
choice! {
    /// The rewards of right and wrong responses.
    RewardValues {
        /// 1 and −1.
        Signed = "signed",
        /// 1 and 0.
        Binary = "binary",
    }
}
choice! {
    /// Which demonstrations the SFT term imitates.
    SftGate {
        /// All.
        None = "none",
        /// Those that the verifier accepts.
        Reward = "reward",
        /// Those with a positive advantage.
        Advantage = "advantage",
        /// Those of prompts that are not solved; the others are not counted in a mean either.
        Unsolved = "unsolved",
    }
}
choice! {
    /// Which prompts' rollouts carry loss.
    RlGate {
        /// All.
        None = "none",
        /// Those of prompts that are solved; the others are not counted in a mean either.
        Solved = "solved",
    }
}
choice! {
    /// Whether the demonstration joins G rollouts, takes the place of one, or stands apart.
    GroupOf {
        /// G rollouts and one demonstration.
        Extra = "extra",
        /// G − 1 rollouts and one demonstration.
        Shared = "shared",
        /// G rollouts; their mean leaves out the demonstration's reward, and its advantage is 0.
        Apart = "apart",
    }
}
choice! {
    /// The learning rate over steps.
    Schedule {
        /// Stays at the peak.
        Constant = "constant",
        /// Falls in a straight line to `final_fraction`.
        Linear = "linear",
        /// Falls along half a cosine to `final_fraction`.
        Cosine = "cosine",
    }
}

choice! {
    /// What the factors of large products are rounded to.
    Precision {
        /// Nothing.
        F32 = "f32",
        /// Two numbers in F16 each, of 22 bits together, for matrix units.
        F16x3 = "f16x3",
        /// A number in F16, of 11 bits, for matrix units.
        F16 = "f16",
    }
}
choice! {
    /// How weights that do not train are held on the device.
    Frozen {
        /// As their file stores them: in F16, BF16 or a GGUF's blocks.
        Stored = "stored",
        /// In f32, as those that train.
        F32 = "f32",
    }
}
choice! {
    /// How numbers of a past are held while a response is sampled.
    CacheDtype {
        /// As they are computed.
        F32 = "f32",
        /// Half the bytes, to 65,504 and with 11 bits.
        F16 = "f16",
    }
}
choice! {
    /// How weights are stored.
    Storage {
        /// As they are trained.
        F32 = "f32",
        /// Half the bytes, to 65,504.
        F16 = "f16",
        /// Half the bytes, the range of F32.
        Bf16 = "bf16",
    }
}

impl RewardValues {
    /// The reward of a score in [0, 1]: 1 is right, 0 is wrong.
    pub fn at(self, score: f64) -> f32 {
        match self {
            RewardValues::Signed => (2.0 * score - 1.0) as f32,
            RewardValues::Binary => score as f32,
        }
    }

    /// A reward on the scale of Eq. 12, whatever its values: 1 for a right answer, −1 for a wrong one,
    /// and 2s − 1 for a score s between.
    pub fn signed(self, reward: f32) -> f64 {
        let value = match self {
            RewardValues::Signed => f64::from(reward),
            RewardValues::Binary => 2.0 * f64::from(reward) - 1.0,
        };
        value.clamp(-1.0, 1.0)
    }

    /// Whether a reward that came without a verdict counts as right: its score is at least a half.
    pub fn is_right(self, reward: f32) -> bool {
        self.signed(reward) >= 0.0
    }
}
