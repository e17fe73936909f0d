//! The table of settings: one line a key, with the meaning that `srft config` prints.

use super::choices::*;
use super::{Columns, Method, NamedReward, value::Setting};
use std::time::Duration;
use toml::Value;

/// A section of the config as `srft config` shows it.
pub struct Section {
    /// Name in TOML.
    pub name: &'static str,
    /// One line of meaning.
    pub doc: &'static str,
    /// Its keys in order.
    pub keys: &'static [Key],
}

/// A key of the config.
pub struct Key {
    /// Name in TOML.
    pub name: &'static str,
    /// Meaning, unit, values.
    pub doc: &'static str,
    /// Why a resumed run may have another value, where it may.
    pub free: Option<&'static str>,
}

impl Key {
    /// `section.key`, as errors and flags have it.
    pub fn of(&self, section: &str) -> String {
        format!("{section}.{}", self.name)
    }
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

// A line of the table is
//     /// meaning
//     key: type = default, must "what the value must be": |v| whether it is, free "why";
// `must` where not every value of the type will do; `free` where neither an update nor a comparison of
// before with after depends on the key, so that a resumed run may change it. Rules between keys stand in
// rules.rs.
macro_rules! settings {
    ($(#[doc = $section_doc:literal] $section:ident: $type:ident {
        $(#[doc = $doc:literal] $key:ident: $key_type:ty = $default:expr
            $(, must $must:literal: $holds:expr)? $(, free $free:literal)?;)+
    })+) => {
        $(
            #[doc = $section_doc]
            #[derive(Debug, Clone, PartialEq)]
            pub struct $type { $(#[doc = $doc] pub $key: $key_type,)+ }

            impl Default for $type {
                fn default() -> Self { Self { $($key: $default,)+ } }
            }
        )+

        /// Everything that decides a run, as texts give it: each value is of its type, and no more is
        /// known of it. A [`Config`](super::Config) holds settings that are valid.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Settings { $(#[doc = $section_doc] pub $section: $type,)+ }

        /// All sections and keys, in the order they are printed.
        pub const SECTIONS: &[Section] = &[
            $(Section {
                name: stringify!($section),
                doc: $section_doc.trim_ascii(),
                keys: &[$(Key {
                    name: stringify!($key),
                    doc: $doc.trim_ascii(),
                    free: optional!($($free)?),
                },)+],
            },)+
        ];

        impl Settings {
            /// Sets a key that there is; an error says what is wrong with the value.
            pub(super) fn set(&mut self, section: &str, key: &str, value: &Value) -> Result<(), String> {
                match (section, key) {
                    $($((stringify!($section), stringify!($key)) => {
                        self.$section.$key = Setting::read(key, value)?;
                    })+)+
                    _ => unreachable!("unknown keys are refused before"),
                }
                Ok(())
            }

            /// The values of all keys, in the order of [`SECTIONS`].
            pub(super) fn values(&self) -> Vec<Value> {
                vec![$($(self.$section.$key.write(),)+)+]
            }

            /// The first key whose value is not what it must be, and that.
            pub(super) fn broken_key(&self) -> Option<(&'static str, &'static str)> {
                $($($(
                    let holds: fn(&$key_type) -> bool = $holds;
                    if !holds(&self.$section.$key) {
                        return Some((concat!(stringify!($section), ".", stringify!($key)), $must));
                    }
                )?)+)+
                None
            }
        }
    };
}

settings! {
    /// The run as a whole.
    run: Run {
        /// Seed of everything random: problems, rollouts, order.
        seed: u64 = 0;
        /// auto | cpu | vulkan | metal | dx12 | gl | an index or part of a name from `srft devices`.
        device: String = "auto".into(),
            free "another device rounds otherwise, which the run says when it is taken up";
        /// f32 | f16x3 (22 bits) | f16 (11 bits): experimental, a GPU's matrix units for large products (docs/gpu.md, "Matrix units").
        precision: Precision = Precision::F32;
        /// Write the numbers of metrics.jsonl and evaluations.jsonl for `tensorboard --logdir runs` too, into the run's folder.
        tensorboard: bool = false,
            free "what is written besides";
    }
    /// The policy that is trained.
    model: Model {
        /// Folder of a Hugging Face model or a PEFT adapter, a GGUF file, or a name on the hub; `tiny` is the built-in base.
        path: String = "tiny".into();
        /// Folder of the base of the adapter in `path`, if it is not where the adapter says.
        base: String = String::new(),
            free "where the same base lies; what it holds is looked at besides";
        /// stored (matrices that do not train stay in F16, BF16 or GGUF blocks; results are the same) | f32 (faster, more memory).
        frozen: Frozen = Frozen::Stored,
            free "a stored matrix is widened exactly before each product";
    }
    /// Low-rank adapters, trained instead of the whole model (Hu et al., 2021), in PEFT's layout.
    lora: LoraSettings {
        /// Rank of the adapters; 0: train the whole model.
        rank: usize = 0,
            must "at most 4096": |v| *v <= 4096;
        /// The adapters' change is multiplied by alpha/rank.
        alpha: f64 = 32.0,
            must "positive": |v| *v > 0.0;
        /// Divide alpha by the square root of the rank instead.
        rslora: bool = false;
        /// Share of the adapters' inputs that training sets to 0.
        dropout: f64 = 0.0,
            must "a share in [0, 0.99)": |v| (0.0..0.99).contains(v);
        /// The matrices that get an adapter.
        targets: Vec<String> = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"].map(String::from).to_vec();
    }
    /// What the policy is trained on.
    data: Data {
        /// Built-in task, used if no file is given; or `reasoning_gym:NAME?key=value&…`, which sets `train` and `verifier`.
        task: String = "arithmetic".into();
        /// JSONL, JSON, CSV or Parquet files of problems, or names on the hub, one after the other (docs/guide.md, "Your model, your data"); none: the built-in task.
        train: Vec<String> = Vec::new();
        /// Files for evaluation, one suite per file; none: the built-in suites, or a tenth of `train`.
        eval: Vec<String> = Vec::new();
        /// Columns of files with other names, as PART=COLUMN (docs/guide.md, "Your model, your data").
        columns: Vec<String> = Vec::new(),
            must "PART=COLUMN, each part once: prompt, response, messages, text, answer, tools, system, user, assistant": |v| Columns::new(v).is_some();
        /// A system message for conversations that begin without one; empty: none.
        system: String = String::new();
        /// exact | numeric | gsm8k (numeric after ####) | math | choice | regex | command | task (the own scorer of a reasoning_gym task) | given (by the program that trains): how a response's answer is judged.
        verifier: Comparison = Comparison::Exact;
        /// The answer is what follows this marker in a response, and in a gold answer that has it; empty: all of it.
        answer_after: String = String::new();
        /// Distinct training problems per suite of the built-in task; 0: no limit.
        problems: u32 = 0;
        /// Distinct training problems of the built-in task in total, from each suite in turn; 0: see `problems`.
        pool: u32 = 0;
        /// Share of the built-in task's problems that come with a demonstration.
        demonstrations: f64 = 1.0,
            must "a share in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// Share of the built-in task's demonstrations that end in a wrong answer.
        wrong_demonstrations: f64 = 0.0,
            must "a share in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// Share of the built-in task's demonstrations that give the answer alone, without a chain.
        terse_demonstrations: f64 = 0.0,
            must "a share in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// Longest example in tokens, prompt and demonstration; 0: what the model takes.
        max_tokens: usize = 0;
        /// error | drop | cut (the demonstration's end): what to do with a longer example.
        too_long: TooLong = TooLong::Error;
        /// error | drop: what to do with an example whose gold answer the verifier cannot read.
        unreadable: Unreadable = Unreadable::Error;
        /// all | last: which of the assistant's turns in a conversation are imitated.
        turns: Turns = Turns::All;
        /// answer | mention (the gold answer anywhere, which can be gamed): what training rewards.
        reward: Rewarded = Rewarded::Answer;
    }
    /// The loss: a method's preset and the switches that the paper leaves open.
    objective: Objective {
        /// srft | srft-official | srft-hpt | srft-lean | sft | sft-kl | dft | eaft | trsft | grpo | dr-grpo | dapo | top-entropy | clip-cov | gtpo | gspo | cispo | opsd | uft | prefix-rft | bread | sft+grpo | sft-grpo | grpo-sft | luffy | relift | chord | hpt (docs/methods.md); sets every key below.
        method: Method = Method::Srft;
        /// Supervised term on the demonstration, Eq. 8.
        sft: bool = true;
        /// Reinforcement term on the demonstration, Eqs. 9-10.
        rl_demo: bool = true;
        /// none | signed (Eq. 12: a reward acts by its sign and size) | advantage (GRPO's clipped ratio).
        self_term: SelfTerm = SelfTerm::Signed;
        /// Whether exp(∓H) multiplies the weights; false leaves their scales alone.
        entropy_weights: bool = true;
        /// none | sft | self: a weight that exp(∓H) leaves at its scale.
        fixed_weight: FixedWeight = FixedWeight::None;
        /// Scale of w_SFT, 0.5 in Eq. 8.
        sft_weight_scale: f64 = 0.5;
        /// minus | plus: w_SFT = scale · exp(∓H); the paper prints minus.
        sft_weight_sign: Sign = Sign::Minus;
        /// none | p(1-p) (CHORD-φ) | p (DFT) | H/3 (EAFT) | min(p/0.1,1) (TrSFT): a second weight on each token of the SFT term, besides w_SFT; no gradient flows through it.
        sft_token_weight: SftTokenWeight = SftTokenWeight::None;
        /// λ of λ·KL(θ‖base) on the tokens that the SFT term imitates; base is the model that the run began with (sft-kl).
        kl_coeff: f64 = 0.0;
        /// β of β·KL(θ‖base) on the tokens of rollouts (GRPO's KL term).
        rollout_kl: f64 = 0.0,
            must "0 or more": |v| *v >= 0.0;
        /// loss | reward: where that penalty stands; in the reward it is summed over a response and taken off before advantages.
        rollout_kl_in: KlIn = KlIn::Loss;
        /// k3 (r - 1 - ln r) | k1 (-ln r) | k3-ratio (ρ times k3, TRL's default; rollouts alone), r = p_base/p: how the KL of both penalties is estimated at a token.
        kl_form: KlForm = KlForm::K3;
        /// Temperature of the policy whose ln p, entropy and ratio the loss has on rollouts; 0: rollout.temperature, as in TRL and verl. Demonstrations are at 1.
        temperature: f64 = 0.0,
            must "0 (that of the rollouts) or 0.001 to 1000": |v| *v == 0.0 || (1e-3..=1e3).contains(v);
        /// Scale of w_RL = scale · exp(+H) on positive rollouts, 0.1 in Eq. 11.
        self_weight_scale: f64 = 0.1;
        /// sequence | token | batch: what the H of a weight is averaged over.
        entropy_over: EntropyOver = EntropyOver::Sequence;
        /// none | p/(p+0.1): LUFFY's policy shaping of the demonstration's probability.
        demo_shaping: DemoShaping = DemoShaping::None;
        /// Divide advantages by the group's standard deviation, Eq. 7.
        advantage_std: bool = true;
        /// token-mean (over the update's tokens) | sequence-mean | sum-constant | sequence-constant (each sequence's sum divided by a constant, then their mean).
        aggregate: Aggregate = Aggregate::TokenMean;
        /// Divisor of sum-constant and sequence-constant, in tokens (8192 in LUFFY and HPT); 0: rollout.max_new_tokens (Dr. GRPO).
        aggregate_constant: f64 = 8192.0,
            must "positive (tokens), or 0: the longest response": |v| *v >= 0.0;
        /// same (as aggregate) | token-mean | sequence-mean: how the SFT term is averaged.
        sft_aggregate: SftAggregate = SftAggregate::Same;
        /// signed {1, -1} | binary {1, 0}: the rewards for right and wrong.
        reward_values: RewardValues = RewardValues::Signed;
        /// Coefficient of the entropy bonus on rollouts, 1/nat; where it begins if entropy_control moves it.
        entropy_coeff: f64 = 0.0;
        /// none | step (entropy_rate up or down a step, and 0 above the target: Skywork-OR1, TRL) | gradient (of ln entropy_coeff, by AdamW: SRFT's authors' adaptive temperature): how the coefficient follows the rollouts' entropy.
        entropy_control: EntropyControl = EntropyControl::None;
        /// Entropy that entropy_control aims at, nats a token.
        entropy_target: f64 = 0.2,
            must "0 or more": |v| *v >= 0.0;
        /// What entropy_control = step adds or takes off; learning rate of entropy_control = gradient.
        entropy_rate: f64 = 0.005,
            must "positive": |v| *v > 0.0;
        /// Largest coefficient that entropy_control comes to.
        entropy_coeff_max: f64 = 1.0,
            must "positive": |v| *v > 0.0;
        /// Share of the steps that imitate alone as long as demonstrations teach, if all rollouts are right; more if fewer are (beyond the paper: srft-lean). Such a step samples nothing, and makes as many updates as cost what its rollouts would have. 0: off.
        imitation: f64 = 0.0,
            must "a share in [0, 1)": |v| (0.0..1.0).contains(v);
        /// Probability of a whole demonstration from which on it is known, and steps that imitate alone pass it over, at each reading for twice as long.
        known: f64 = 0.98,
            must "a probability in (0, 1)": |v| *v > 0.0 && *v < 1.0;
        /// Multiply the learning rate of an update on rollouts by twice the share of its groups whose rewards differ, if that is below 1.
        mixed_rate: bool = false;
        /// none | reward | advantage (beyond the paper) | unsolved (HPT, ReLIFT): which demonstrations the SFT term imitates.
        sft_gate: SftGate = SftGate::None;
        /// none | solved (HPT): which prompts' rollouts are trained on.
        rl_gate: RlGate = RlGate::None;
        /// γ: a prompt is solved if more than this share of its judged rollouts is right.
        gate_share: f64 = 0.0,
            must "in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// If a group's rewards are all equal, leave its rollouts out of the update and its means (DAPO).
        drop_equal_groups: bool = false;
        /// How many times at most a step draws new prompts to replace the groups that drop_equal_groups leaves out (DAPO's dynamic sampling); 0: never, so the update is smaller.
        refill: u32 = 0,
            must "0 to 1000": |v| *v <= 1000;
        /// Collect this many right demonstrations of unsolved prompts, then imitate only these in one step (ReLIFT); 0: off.
        buffer: usize = 0;
        /// extra: G rollouts + 1 demonstration | shared: (G - 1) + 1 | apart: G rollouts, the demonstration has no advantage.
        group_of: GroupOf = GroupOf::Extra;
        /// rewards (of responses, within the group) | entropy (of tokens, by rewards that their entropy shapes: GTPO) | teacher (of tokens: ln p with the demonstration in view less ln p without, OPSD): what the advantage self term's Â is.
        advantage_of: AdvantageOf = AdvantageOf::Rewards;
        /// How much a token's share of its group's entropy adds to its reward, where advantage_of is entropy (GTPO's α₂ where α₁ is 1).
        entropy_reward: f64 = 0.1,
            must "0 or more": |v| *v >= 0.0;
        /// none | share | parts (k of five, k binomial: UFT) | uniform (between the schedule's share and prefix_share: Prefix-RFT) | success (where no rollout is right, what some succeed after: BREAD): how much of its demonstration a rollout begins with. What is given is read, not sampled.
        prefix: Prefix = Prefix::None;
        /// Share of the demonstration where the schedule begins (share, parts, uniform).
        prefix_share: f64 = 0.95,
            must "a share in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// Share where it ends, after half a cosine.
        prefix_end: f64 = 0.05,
            must "a share in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// Steps of the schedule; after them rollouts begin at the prompt.
        prefix_steps: u32 = 300,
            must "at least 1": |v| *v > 0;
        /// How many of a group's rollouts begin so (Prefix-RFT: 1); 0: all.
        prefix_rollouts: usize = 0;
        /// How many prefixes at most are tried for a prompt that no rollout solved (success).
        prefix_rounds: u32 = 4,
            must "1 to 20": |v| (1..=20).contains(v);
        /// Share of the given tokens, the highest in entropy, that the self term acts on as well (Prefix-RFT: 0.2).
        prefix_learned: f64 = 0.0,
            must "a share in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// demonstration | prefix (UFT): which of a demonstration's tokens the SFT term imitates: all, or those that its rollouts began with.
        sft_over: SftOver = SftOver::Demonstration;
        /// token | sequence (GSPO): over what the ratio of the advantage self term is taken.
        ratio: RatioOf = RatioOf::Token;
        /// loss (PPO) | weight (CISPO): what the clip holds: the loss, or the constant that weighs -ln p.
        clip: ClipOf = ClipOf::Loss;
        /// Most that a ratio counts where the advantage is negative (verl: 3); 0: no limit.
        dual_clip: f64 = 0.0,
            must "0 (no limit) or above 1": |v| *v == 0.0 || *v > 1.0;
        /// Share of the rollouts' tokens, the highest in entropy, that the self term acts on (0.2: arXiv 2506.01939); 1: all.
        top_entropy: f64 = 1.0,
            must "a share in (0, 1]": |v| *v > 0.0 && *v <= 1.0;
        /// Share of the rollouts' tokens that lose their gradient, drawn from those where (Â - its mean)(ln p - its mean) lies between clip_cov_low and clip_cov_high (Clip-Cov: 0.0002); 0: none, else one at least.
        clip_cov: f64 = 0.0,
            must "a share in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// Smallest product of those that clip_cov draws from.
        clip_cov_low: f64 = 1.0;
        /// Largest product of those that clip_cov draws from.
        clip_cov_high: f64 = 5.0;
        /// wrong | masked (no loss) | soft (DAPO: less reward from soft_tokens before the limit on): a rollout that the length limit cut.
        truncated: Truncated = Truncated::Wrong;
        /// Longest response of truncated = soft, in tokens; 0: rollout.max_new_tokens.
        soft_limit: usize = 0;
        /// Tokens before soft_limit over which the reward falls by 1 (truncated = soft; DAPO: 4096 of 20480).
        soft_tokens: usize = 0;
        /// PPO clip range below 1, for the advantage self term.
        clip_low: f64 = 0.2,
            must "in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// PPO clip range above 1, for the advantage self term.
        clip_high: f64 = 0.2,
            must "0 or more": |v| *v >= 0.0;
        /// The self term leaves out rollout tokens more probable than this (App. A.2); 1: none.
        max_prob: f64 = 1.0,
            must "a probability in (0, 1]": |v| *v > 0.0 && *v <= 1.0;
        /// sum | convex: L_SFT + L_RL, or μ·L_SFT + (1 − μ)·L_RL (CHORD).
        mix: Mix = Mix::Sum;
        /// μ at the start of its decay.
        mu: f64 = 0.9,
            must "in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// μ at the end of its decay.
        mu_end: f64 = 0.05,
            must "in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// Steps over which μ rises from 0, before its decay.
        mu_warmup_steps: u32 = 0;
        /// Steps over which μ decays.
        mu_decay_steps: u32 = 200;
        /// constant | linear | cosine: how μ decays.
        mu_schedule: Schedule = Schedule::Cosine;
        /// Method whose preset takes over for a second stage; empty: one stage.
        second: String = String::new(),
            must "empty, or a method": |v| v.is_empty() || Method::named(v).is_some();
        /// Share of the steps that belong to the second stage.
        second_share: f64 = 0.5,
            must "a share in [0, 1]": |v| (0.0..=1.0).contains(v);
    }
    /// What is rewarded: the weighted mean of the answer and of what is named here.
    reward: RewardSettings {
        /// Weight of the answer.
        answer_weight: f64 = 1.0,
            must "0 or more": |v| *v >= 0.0;
        /// Regular expression that the whole response should match, special tokens included; empty: none.
        format: String = String::new();
        /// Weight of the format's score.
        format_weight: f64 = 0.2,
            must "0 or more": |v| *v >= 0.0;
        /// Program that scores responses: one JSON line in, one out, for each; empty: none.
        command: String = String::new();
        /// Weight of the command's score; unused if the verifier is `command`, whose score is the answer's.
        command_weight: f64 = 1.0,
            must "0 or more": |v| *v >= 0.0;
        /// Most responses in a line to the command, which is then a JSON array and is answered by an array; 0: a line each, without the array.
        command_batch: usize = 0,
            free "it says how the command is asked, not what it answers";
        /// How long the command may take for a line, in seconds.
        command_secs: f64 = 60.0,
            must "0.001 to 86400 seconds": |v| (0.001..=86_400.0).contains(v),
            free "a response that takes too long is left out, not judged otherwise";
        /// More rewards, each with a name and a weight; better written as `[[reward]]` (docs/verifiers.md).
        named: Vec<NamedReward> = Vec::new();
    }
    /// The math verifier (docs/verifiers.md).
    math: MathSettings {
        /// strict (no false equation, no arithmetic left to do, nothing copied from the prompt: safe to reward) | any (the gold answer's value in any form, as other evaluations count): which forms of the answer are right.
        form: MathForm = MathForm::Strict;
    }
    /// Sampling from the policy during training.
    rollout: Rollout {
        /// Prompts per step (P).
        prompts: usize = 32,
            must "at least 1": |v| *v > 0;
        /// Rollouts per prompt (G).
        group: usize = 8,
            must "at least 1": |v| *v > 0;
        /// Softmax temperature; 0 is greedy.
        temperature: f64 = 1.0,
            must "0 (greedy) or more": |v| *v >= 0.0;
        /// Keep the k likeliest tokens; 0: all.
        top_k: u32 = 0;
        /// Keep the smallest set of tokens with this probability; 1: all.
        top_p: f64 = 1.0,
            must "in (0, 1]": |v| *v > 0.0 && *v <= 1.0;
        /// Keep tokens with at least this share of the most probable token's probability; 0: all.
        min_p: f64 = 0.0,
            must "in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// Texts that end a response; what is judged ends before them. None: only end-of-text ends it.
        stop: Vec<String> = Vec::new(),
            must "a list without an empty text, which would end every response before it begins": |v| v.iter().all(|stop| !stop.is_empty());
        /// Responses decoded at the same time; a finished one makes room for the next. 0: up to 512.
        slots: usize = 0;
        /// f32 | f16: how keys and values of the texts so far are held. f16: in half the memory, rounded to 11 bits.
        cache_dtype: CacheDtype = CacheDtype::F32;
        /// Longest response, in tokens.
        max_new_tokens: usize = 44,
            must "at least 1": |v| *v > 0;
    }
    /// AdamW with decoupled weight decay (Loshchilov & Hutter, 2019).
    optimizer: Optimizer {
        /// Peak learning rate.
        lr: f64 = 8e-4,
            must "positive": |v| *v > 0.0;
        /// constant | linear | cosine, after the warm-up.
        schedule: Schedule = Schedule::Linear;
        /// Learning rate at the last step as a fraction of the peak (linear and cosine).
        final_fraction: f64 = 0.05,
            must "in [0, 1]": |v| (0.0..=1.0).contains(v);
        /// Steps of linear warm-up from 0.
        warmup_steps: u32 = 5;
        /// Decay of the first moment.
        beta1: f64 = 0.9,
            must "in [0, 1)": |v| (0.0..1.0).contains(v);
        /// Decay of the second moment.
        beta2: f64 = 0.95,
            must "in [0, 1)": |v| (0.0..1.0).contains(v);
        /// Added to the root of the second moment.
        eps: f64 = 1e-8,
            must "positive": |v| *v > 0.0;
        /// Decoupled weight decay per step, times the learning rate; matrices only.
        weight_decay: f64 = 0.0,
            must "0 or more": |v| *v >= 0.0;
        /// Largest global L2 norm of the gradient; 0: no clipping.
        clip_norm: f64 = 1.0,
            must "0 (off) or more": |v| *v >= 0.0;
    }
    /// The training loop.
    train: Train {
        /// Updates.
        steps: u32 = 200,
            must "at least 1": |v| *v > 0,
            free "where neither the learning rate nor a second stage depends on their number";
        /// Most tokens of a micro-batch, where a prompt counts once for all that follow it; a larger update is split.
        micro_batch_tokens: usize = 4096,
            must "at least 1": |v| *v > 0;
        /// Updates that a step's rollouts are cut into, by prompts, at most one a prompt (the paper: 2). Above 1 the policy moves away from the one that sampled, and the clip acts.
        minibatches: usize = 1,
            must "at least 1": |v| *v > 0;
        /// How often a step goes through its rollouts.
        epochs: usize = 1,
            must "at least 1": |v| *v > 0;
        /// Shards that a step's prompts and its gradient are cut into. Devices share them; however many there are, the same shards give the same bits.
        shards: usize = 1,
            must "at least 1": |v| *v > 0;
        /// auto | true | false: keep only each layer's input and compute the rest again: less memory, a third more work. auto: for the layers that memory has no room for.
        checkpointing: Checkpointing = Checkpointing::None,
            free "what is computed twice comes out the same";
        /// GiB that a run may take where checkpointing is auto; 0: on the CPU two thirds of what is free, on a GPU unknown: then auto is true.
        memory_gib: f64 = 0.0,
            must "0 (what is free) or more": |v| *v >= 0.0,
            free "what is computed twice comes out the same";
        /// Stop when the evaluation has not improved for this many evaluations; 0: never.
        patience: u32 = 0,
            free "when to stop, not what comes before";
    }
    /// Evaluation: pass@1 by sampling.
    eval: Eval {
        /// Evaluate every so many steps; 0: only before and after.
        every: u32 = 0,
            free "evaluation draws random numbers of its own";
        /// Problems per suite; 0: all of a file, 200 of a built-in suite.
        examples: usize = 0;
        /// Problems to skip at the start of each suite, so that validation and test set can differ.
        skip: usize = 0;
        /// Samples per problem; accuracy is their mean.
        samples: usize = 1,
            must "at least 1": |v| *v > 0;
        /// Softmax temperature of evaluation; 0 is greedy.
        temperature: f64 = 1.0,
            must "0 (greedy) or more": |v| *v >= 0.0;
        /// Write every sample to evaluations/step-N/SUITE.jsonl.
        write_samples: bool = true,
            free "what is written besides";
    }
    /// What is kept on disk.
    checkpoint: Checkpoint {
        /// Save every so many steps; 0: only at the end.
        every: u32 = 50,
            free "what is written besides";
        /// f32 | f16 | bf16: how the weights of `best` are stored; checkpoints to resume are f32.
        dtype: Storage = Storage::F32,
            free "how `best` is stored; what is resumed from is f32";
        /// How many of the latest checkpoints to keep; the best is kept as well.
        keep: usize = 2,
            must "at least 1: the last one": |v| *v > 0,
            free "what is kept";
        /// Rollouts written to samples.jsonl every so many steps; 0: none.
        samples_every: u32 = 10,
            free "what is written besides";
    }
}

impl Data {
    /// Most tokens of a prompt and its demonstration for a model of `positions`, where longer ones
    /// are cut.
    pub fn most_tokens(&self, positions: usize) -> usize {
        let takes = positions + 1; // the last token is predicted only
        match (self.too_long, self.max_tokens) {
            (TooLong::Cut, 0) => takes,
            (TooLong::Cut, most) => most.min(takes),
            _ => usize::MAX,
        }
    }
}

impl RewardSettings {
    /// How long a command or a task may take for an answer.
    pub fn longest_wait(&self) -> Duration {
        Duration::from_secs_f64(self.command_secs)
    }
}

impl Eval {
    /// Problems of a built-in suite.
    pub fn builtin_examples(&self) -> usize {
        if self.examples == 0 { BUILTIN_EXAMPLES } else { self.examples }
    }

    /// Problems of a file at most.
    pub fn file_examples(&self) -> usize {
        if self.examples == 0 { usize::MAX } else { self.examples }
    }
}

/// Problems of a built-in suite where no number is asked for.
const BUILTIN_EXAMPLES: usize = 200;

impl Objective {
    /// Whether the loss needs rollouts: a demonstration's advantage is over them, too.
    pub fn uses_rollouts(&self) -> bool {
        self.self_term != SelfTerm::None || self.rl_demo
    }

    /// Whether demonstrations are needed: for the loss, or for rollouts to begin with.
    pub fn uses_demonstrations(&self) -> bool {
        self.has_demonstrations() || self.prefix != Prefix::None
    }

    /// Whether the loss needs demonstrations: they are members of their groups.
    pub fn has_demonstrations(&self) -> bool {
        self.sft || self.rl_demo || self.advantage_of == AdvantageOf::Teacher
    }

    /// Whether it matters what is right: then every example needs an answer.
    pub fn uses_answers(&self) -> bool {
        self.uses_rollouts() || self.sft_gate != SftGate::None
    }

    /// Whether exp(∓H) multiplies a weight.
    pub fn varies(&self, weight: FixedWeight) -> bool {
        self.entropy_weights && self.fixed_weight != weight
    }

    /// Whether the model that the run began with is needed.
    pub fn uses_base(&self) -> bool {
        self.kl_coeff > 0.0 || self.rollout_kl > 0.0
    }

    /// Whether the loss itself has a KL penalty.
    pub fn holds_to_base(&self) -> bool {
        self.kl_coeff > 0.0 || self.rollout_kl > 0.0 && self.rollout_kl_in == KlIn::Loss
    }
}
