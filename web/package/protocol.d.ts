// Generated from crates/page/src/lab/protocol.rs by a test, which also holds it against that file:
//   SRFT_UPDATE=1 cargo test --release --test suite page::protocol

/**
 * From the page.
 */
export type Command = { "type": "bring", 
/**
 * Its name, with folders if it has any: a path in the settings.
 */
name: string, } | { "type": "look" } & Look | { "type": "share" } & Share | { "type": "start" } & Start | { "type": "step", 
/**
 * So many; unless given, one more than the run that has done the fewest.
 */
to?: number, } | { "type": "resume" } | { "type": "pause" } | { "type": "stop" } | { "type": "evaluate", 
/**
 * Suites by name; none: all.
 */
suites: Array<string>, 
/**
 * Problems a suite.
 */
examples: number, } | { "type": "cancel" } | { "type": "ask", 
/**
 * The prompt, for example `59+63=`.
 */
prompt: string, 
/**
 * 0 is greedy.
 */
temperature: number, 
/**
 * Most tokens of an answer; unless given, those of a rollout.
 */
tokens?: number, } | { "type": "inspect", 
/**
 * Which run.
 */
run: number, 
/**
 * Index of the prompt within the step.
 */
prompt: number, } | { "type": "save", 
/**
 * With each run's adapter for other programs: in PEFT's layout, and as GGUF for llama.cpp.
 */
adapters?: boolean, } | { "type": "load", 
/**
 * `auto`, `cpu`, `webgpu` or `webgpu-saving`.
 */
device: string, 
/**
 * `section.key=value` for every run, of what a resumed run may change.
 */
settings?: Array<string>, };

/**
 * Which model to look at, and how it is to be trained.
 */
export type Look = { 
/**
 * The file or folder that was brought.
 */
model: string, 
/**
 * `auto`, `cpu`, `webgpu` or `webgpu-saving`; `auto` is taken for the CPU.
 */
device: string, 
/**
 * `section.key=value`, over the preset of such a device.
 */
settings: Array<string>, };

/**
 * Which of the runs a worker makes, where several workers share them: every `of`th, from `part` on. A GPU's worker
 * makes all of them, and so does one whose runs differ in more than what their methods are.
 */
export type Share = { 
/**
 * Which worker this is, from 0 on.
 */
part: number, 
/**
 * How many there are.
 */
of: number, };

/**
 * What to run.
 */
export type Start = { 
/**
 * `auto` (a real GPU, else the CPU), `cpu`, `webgpu` (a software adapter too; of two GPUs the faster) or
 * `webgpu-saving` (the other of two).
 */
device: string, 
/**
 * `section.key=value` for every run, over the preset that the device gets.
 */
settings: Array<string>, 
/**
 * The runs, in the order they are shown.
 */
runs: Array<RunRequest>, };

/**
 * One run of several.
 */
export type RunRequest = { 
/**
 * `srft`, `sft`, `grpo`, …: see `srft config`.
 */
method: string, 
/**
 * `section.key=value` for this run alone.
 */
settings: Array<string>, };

/**
 * To the page.
 */
export type Event = { "type": "facts" } & Facts | { "type": "ready" } & Ready | { "type": "state", 
/**
 * Playing, paused, done or stopped.
 */
state: State, 
/**
 * Steps that every run has done.
 */
step: number, } | { "type": "step", 
/**
 * Which run.
 */
run: number, 
/**
 * Its metrics: a line of `metrics.jsonl`.
 */
report: StepReport, } | { "type": "strip", 
/**
 * Which run.
 */
run: number, 
/**
 * Steps done.
 */
step: number, 
/**
 * One a probe, in the order of `ready`.
 */
probes: Array<TokenScores>, 
/**
 * Mean |Δ ln p| from the base over all tokens of all probes, nats.
 */
shift: number, } | { "type": "evaluation", 
/**
 * Which run; the base's where there is none.
 */
run: number | null, 
/**
 * Steps done; 0 is the base.
 */
step: number, 
/**
 * Suite by suite.
 */
scores: Array<Score>, 
/**
 * Asked for, rather than due by `eval.every`.
 */
asked: boolean, } | { "type": "evaluating", 
/**
 * Problems done, of all models together.
 */
done: number, 
/**
 * Of so many.
 */
of: number, } | { "type": "group" } & GroupView | { "type": "sample", 
/**
 * The prompt.
 */
prompt: string, 
/**
 * The answers.
 */
answers: Array<Answer>, } | { "type": "saved", 
/**
 * A name for the file.
 */
name: string, 
/**
 * Steps done.
 */
step: number, } | { "type": "error" } & Complaint;

/**
 * What the trainer is doing.
 */
export type State = "playing" | "paused" | "done" | "stopped";

/**
 * A published model, before anything runs.
 */
export type Facts = { 
/**
 * The path that it was brought under.
 */
name: string, 
/**
 * As Hugging Face calls it, for example `LlamaForCausalLM`.
 */
architecture: string, 
/**
 * Transformer layers.
 */
layers: number, 
/**
 * Hidden width.
 */
hidden: number, 
/**
 * Entries of the vocabulary.
 */
vocabulary: number, 
/**
 * Tokens of the longest text.
 */
context: number, 
/**
 * Numbers.
 */
parameters: number, 
/**
 * Bytes of the weights as they are stored.
 */
bytes: number, 
/**
 * How they are stored, the most bytes first.
 */
types: Array<StoredView>, 
/**
 * The tokenizer's kind, for example `BPE`.
 */
tokenizer: string, 
/**
 * Its tokens.
 */
tokens: number, 
/**
 * Whether it has a chat template.
 */
chats: boolean, 
/**
 * Whether it is an adapter over a base.
 */
adapted: boolean, 
/**
 * Numbers that train by these settings.
 */
trained: number, 
/**
 * What a run by these settings needs; the base is needed once for all runs.
 */
memory: Array<MemoryView>, 
/**
 * The most that it needs at a time, bytes.
 */
peak_bytes: number, 
/**
 * Where its files contradict each other.
 */
notes: Array<string>, };

/**
 * Tensors that are stored alike.
 */
export type StoredView = { 
/**
 * The type, for example `Q4_1` or `BF16`.
 */
name: string, 
/**
 * How many.
 */
tensors: number, 
/**
 * Bytes of them all.
 */
bytes: number, };

/**
 * What memory is needed for.
 */
export type MemoryView = { 
/**
 * `always`, while `sampling`, or while an `update` is computed.
 */
when: string, 
/**
 * What it is for.
 */
name: string, 
/**
 * How much.
 */
bytes: number, 
/**
 * How it is computed, in words.
 */
of: string, };

/**
 * What there is, before the first step.
 */
export type Ready = { 
/**
 * Version of srft.
 */
version: string, 
/**
 * Where it computes.
 */
adapter: AdapterView, 
/**
 * Kernels that passed their self-test on it.
 */
self_test: Array<string>, 
/**
 * Which of the runs are meant, where several workers share them.
 */
share: Share, 
/**
 * The runs.
 */
runs: Array<RunView>, 
/**
 * Steps of every run.
 */
steps: number, 
/**
 * Steps done: above 0 for runs that were loaded.
 */
step: number, 
/**
 * The base model's numbers.
 */
model: ModelView, 
/**
 * Suites of the task.
 */
suites: Array<SuiteView>, 
/**
 * The responses of the token strip, scored by the base.
 */
probes: Array<Probe>, };

/**
 * An adapter, for people.
 */
export type AdapterView = { 
/**
 * The vendor's name for it.
 */
name: string, 
/**
 * `webgpu`, `flex` (the CPU), or natively vulkan, metal, dx12, gl.
 */
backend: string, 
/**
 * Why this one.
 */
reason: string, 
/**
 * A GPU, rather than the CPU or a GPU interface computed by the CPU.
 */
is_gpu: boolean, };

/**
 * The model's size.
 */
export type ModelView = { 
/**
 * Trainable numbers.
 */
parameters: number, 
/**
 * Transformer layers.
 */
layers: number, 
/**
 * Hidden width.
 */
hidden: number, 
/**
 * Entries of the vocabulary: ln of it is the largest entropy, nats.
 */
vocabulary: number, };

/**
 * A run as it was resolved.
 */
export type RunView = { 
/**
 * Its method.
 */
method: string, 
/**
 * `config.toml`: every setting with its meaning.
 */
config: string, 
/**
 * The same as `section.key` → value, for controls.
 */
settings: Record<string, string | number | boolean | Array<string>>, 
/**
 * Its steps so far, where it was loaded.
 */
reports: Array<StepReport>, 
/**
 * Its evaluations so far, where it was loaded.
 */
evaluations: Array<PastEvaluation>, };

/**
 * An evaluation on file.
 */
export type PastEvaluation = { 
/**
 * Steps done.
 */
step: number, 
/**
 * Suite by suite.
 */
scores: Array<Score>, };

/**
 * A family of problems.
 */
export type SuiteView = { 
/**
 * Name.
 */
name: string, 
/**
 * Absent from fine-tuning.
 */
ood: boolean, 
/**
 * A problem of it.
 */
prompt: string, 
/**
 * The teacher's response to that.
 */
demonstration: string, };

/**
 * A fixed response whose tokens are watched.
 */
export type Probe = { 
/**
 * Suite of the problem, which is held out.
 */
suite: string, 
/**
 * The problem.
 */
prompt: string, 
/**
 * Who wrote the response: `teacher` or `base`.
 */
author: string, 
/**
 * The response's tokens as text, end-of-text last.
 */
tokens: Array<string>, 
/**
 * What the base thinks of them.
 */
base: TokenScores, };

/**
 * What a model thinks of a response's tokens.
 */
export type TokenScores = { 
/**
 * ln π of each, nats.
 */
logprobs: Array<number>, 
/**
 * Entropy of π where each is predicted, nats.
 */
entropies: Array<number>, };

/**
 * A prompt's group in a run's last step: before the update, and after it.
 */
export type GroupView = { 
/**
 * Which run.
 */
run: number, 
/**
 * Its step, counted from 1.
 */
step: number, 
/**
 * Index of the prompt within the step.
 */
prompt: number, 
/**
 * Every prompt of the step, to choose from.
 */
prompts: Array<PromptView>, 
/**
 * The gold answer.
 */
answer: string, 
/**
 * Rollouts, then the demonstration.
 */
members: Array<Member>, 
/**
 * Values of the settings that the formulas name.
 */
formula: FormulaView, };

/**
 * A prompt of a step.
 */
export type PromptView = { 
/**
 * Suite.
 */
suite: string, 
/**
 * The prompt.
 */
text: string, 
/**
 * Rollouts that the reward accepted.
 */
right: number, 
/**
 * Rollouts.
 */
rollouts: number, };

/**
 * Switches and scales that stand in the formulas of a run.
 */
export type FormulaView = { 
/**
 * What L_SFT and its KL penalty are multiplied by: μ of a convex mix, else 1.
 */
sft_share: number, 
/**
 * What all other terms are multiplied by: 1 − μ, or 1.
 */
rl_share: number, 
/**
 * `none`, or the formula of what weighs each token of L_SFT besides w_SFT.
 */
sft_token_weight: string, 
/**
 * λ of the KL penalty on what is imitated.
 */
kl_coeff: number, 
/**
 * β of the KL penalty on rollouts, where it stands in the loss.
 */
rollout_kl: number, 
/**
 * `k3`, `k1` or `k3-ratio`: how both are estimated at a token.
 */
kl_form: string, 
/**
 * Scale of w_SFT.
 */
sft_weight_scale: number, 
/**
 * Sign of H in w_SFT: −1, +1, or 0 where the weights are frozen.
 */
sft_weight_sign: number, 
/**
 * Scale of w_RL.
 */
self_weight_scale: number, 
/**
 * Sign of H in w_RL: +1, or 0 where the weights are frozen.
 */
self_weight_sign: number, 
/**
 * `sequence`, `token` or `batch`: over what the H of a weight is averaged.
 */
entropy_over: string, 
/**
 * γ of f(p) = p / (p + γ); none: f(p) = p.
 */
shaping: number | null, 
/**
 * `none`, `signed` or `advantage`.
 */
self_term: string, 
/**
 * `rewards`, `entropy` or `teacher`: what Â is; of the last two it is each token's factor.
 */
advantage_of: string, 
/**
 * `token` or `sequence`: over what the ratio is taken.
 */
ratio: string, 
/**
 * `loss` or `weight`: what the clip holds.
 */
clip: string, 
/**
 * Most that a ratio counts where Â is negative; 0: no limit.
 */
dual_clip: number, 
/**
 * PPO's clip range of the ratio below 1.
 */
clip_low: number, 
/**
 * PPO's clip range of the ratio above 1.
 */
clip_high: number, 
/**
 * Rollout tokens more probable than this have no self term.
 */
max_prob: number, 
/**
 * Coefficient of the entropy bonus.
 */
entropy_coeff: number, 
/**
 * `token-mean`, `sequence-mean` or `sum-constant`.
 */
aggregate: string, };

/**
 * A rollout or the demonstration.
 */
export type Member = { 
/**
 * `rollout` or `demonstration`.
 */
role: string, 
/**
 * The response without end-of-text.
 */
response: string, 
/**
 * What the reward gave; none where it could not judge.
 */
reward: number | null, 
/**
 * Its answer is right.
 */
right: boolean, 
/**
 * The reward on the scale of Eq. 12, from −1 (wrong) to 1 (right): the signed self term's sign
 * and size.
 */
signed: number, 
/**
 * Cut by the length limit.
 */
truncated: boolean, 
/**
 * Â, Eq. 7.
 */
advantage: number, 
/**
 * Mean entropy of its tokens before the update, nats.
 */
entropy: number, 
/**
 * Mean over its tokens of w_SFT·φ (demonstration) or w_RL (rollout).
 */
weight: number, 
/**
 * Whether that weight multiplies anything (w_RL: in the paper on right rollouts only).
 */
weight_applies: boolean, 
/**
 * What its token losses are divided by (tokens of the update, for a token mean).
 */
normaliser: number, 
/**
 * The same of the SFT term and the KL penalty.
 */
sft_normaliser: number, 
/**
 * Its share of the loss, each term summed over its tokens.
 */
terms: TermValues, 
/**
 * Token by token.
 */
tokens: Array<TokenView>, };

/**
 * A value for each loss term.
 */
export type TermValues = { 
/**
 * L_SFT, Eq. 8.
 */
sft: number, 
/**
 * L_RL,demo, Eqs. 9–10.
 */
rl_demo: number, 
/**
 * L_self, Eqs. 11–12, or the clipped ratio's.
 */
self: number, 
/**
 * The entropy bonus.
 */
entropy: number, 
/**
 * The KL penalty.
 */
kl: number, };

/**
 * A token of a response.
 */
export type TokenView = { 
/**
 * As text.
 */
text: string, 
/**
 * The demonstration gave it: it was read, not sampled.
 */
given: boolean, 
/**
 * ln p before the update, nats.
 */
logp: number, 
/**
 * Entropy before the update, nats.
 */
entropy: number, 
/**
 * ln p after it.
 */
logp_after: number, 
/**
 * Entropy after it.
 */
entropy_after: number, 
/**
 * The likeliest tokens before it.
 */
before: Array<Candidate>, 
/**
 * The likeliest tokens after it.
 */
after: Array<Candidate>, 
/**
 * ρ = π / π_old, for the ratio form of the self term; none elsewhere.
 */
ratio: number | null, 
/**
 * What multiplies its terms but for bonus and penalty.
 */
factor: number, 
/**
 * ln p under the base, where a KL penalty takes it.
 */
logp_base: number | null, 
/**
 * w_SFT·φ or w_RL at this token.
 */
weight: number, 
/**
 * Its share of the loss.
 */
terms: TermValues, 
/**
 * ∂L/∂ln p: above 0 the update pushes the token down.
 */
slope: number, };

/**
 * A token that could stand there.
 */
export type Candidate = { 
/**
 * As text.
 */
text: string, 
/**
 * Its probability.
 */
p: number, };

/**
 * An answer to a prompt.
 */
export type Answer = { 
/**
 * Which run; the base where there is none.
 */
run: number | null, 
/**
 * The response's tokens.
 */
tokens: Array<AnswerToken>, 
/**
 * Cut by the length limit.
 */
truncated: boolean, };

/**
 * A token of an answer.
 */
export type AnswerToken = { 
/**
 * As text.
 */
text: string, 
/**
 * Its probability under the policy at temperature 1.
 */
p: number, 
/**
 * Entropy there, nats.
 */
entropy: number, };

/**
 * An error as the page shows it.
 */
export type Complaint = { 
/**
 * `input`, `machine`, `numbers` or `interrupted`.
 */
kind: string, 
/**
 * What failed, with expected and actual values.
 */
what: string, 
/**
 * Where.
 */
place: string | null, 
/**
 * What to do next.
 */
next: string | null, 
/**
 * The trainer cannot go on: it takes a fresh worker and the last checkpoint.
 */
fatal: boolean, };

/**
 * A suite's result.
 */
export type Score = { 
/**
 * Suite.
 */
suite: string, 
/**
 * Absent from fine-tuning.
 */
ood: boolean, 
/**
 * Problems.
 */
n: number, 
/**
 * Samples a problem, k.
 */
samples: number, 
/**
 * avg@k: mean over problems of the share of right samples.
 */
accuracy: number, 
/**
 * Accuracy's 95% confidence interval over problems, Wilson's.
 */
interval: [number, number], 
/**
 * pass@k: share of problems of which a sample is right.
 */
pass: number, 
/**
 * The same of pass@k.
 */
pass_interval: [number, number], 
/**
 * Samples that the verifier failed on, left out of all this.
 */
unscored: number, };

/**
 * The report of one training step, a line of `metrics.jsonl`.
 */
export type StepReport = {
/**
 * Steps done, counted from 1.
 */
step: number,
/**
 * Learning rate of this step's updates, after warm-up and schedule.
 */
lr: number,
/**
 * The whole loss, Eq. 13: loss_sft + loss_rl_demo + loss_self + loss_entropy + loss_kl; of a step's several updates the mean, like each of its terms.
 */
loss: number,
/**
 * Supervised term, Eq. 8: mean of −w_SFT·ln π over demonstration tokens.
 */
loss_sft: number,
/**
 * Reinforcement term on demonstrations, Eqs. 9–10: mean of −Â·f(π) over their tokens.
 */
loss_rl_demo: number,
/**
 * Self term, Eqs. 11–12: mean over rollout tokens of −w_RL·ln π where right, +ln π where wrong; or −min(ρ·Â, clip(ρ)·Â) with ρ = π/π_old.
 */
loss_self: number,
/**
 * Entropy bonus: −entropy_coeff · mean H over rollout tokens.
 */
loss_entropy: number,
/**
 * KL penalty: kl_coeff · mean over demonstration tokens of r − 1 − ln r, r = π_base/π, and rollout_kl · mean over rollout tokens where that stands in the loss.
 */
loss_kl: number,
/**
 * Global L2 norm of the gradient before clipping: √Σg² over all parameters; of several updates the mean.
 */
grad_norm: number,
/**
 * Mean reward of the rollouts that the verifier could judge, in the values that objective.reward_values names.
 */
reward: number | null,
/**
 * Mean score of each reward by its name, from 0 to 1, over the same rollouts; absent where the answer is all that is rewarded.
 */
rewards?: Record<string, number>,
/**
 * Rollouts that the verifier accepts / rollouts that it could judge.
 */
accuracy: number | null,
/**
 * Mean reward of the demonstrations that were judged.
 */
reward_demo: number | null,
/**
 * Mean advantage Â of the demonstrations that were judged, within their groups, Eq. 7.
 */
advantage_demo: number | null,
/**
 * Groups whose rollouts are all right / groups with a rollout that the verifier could judge.
 */
groups_all_right: number | null,
/**
 * Groups whose rollouts are all wrong / groups with a rollout that the verifier could judge.
 */
groups_all_wrong: number | null,
/**
 * Mean of H = −Σ p·ln p over rollout tokens, under the policy that sampled them, at its temperature.
 */
entropy: number | null,
/**
 * Mean of H = −Σ p·ln p over the tokens of demonstrations that carry loss, before the update.
 */
entropy_demo: number | null,
/**
 * Coefficient of the entropy bonus in this step, where objective.entropy_control moves it.
 */
entropy_coeff: number | null,
/**
 * Mean of w_SFT = scale·exp(∓H) over the demonstrations that carry loss, Eq. 8.
 */
w_sft: number | null,
/**
 * Mean of w_RL = scale·exp(H) over the rollouts that carry loss, Eq. 11; the loss uses it on the positive ones only.
 */
w_rl: number | null,
/**
 * Rollout tokens whose ratio was clipped / rollout tokens, over all updates of the step.
 */
clip_share: number | null,
/**
 * Mean length of a rollout, its end-of-text counted.
 */
response_tokens: number | null,
/**
 * Rollouts cut by rollout.max_new_tokens or the model's context / rollouts.
 */
truncated_share: number | null,
/**
 * Rollouts cut by the model's context before rollout.max_new_tokens / rollouts.
 */
context_cut_share: number | null,
/**
 * Groups that had equal rewards and were drawn anew (objective.refill). What they sampled counts in the means over rollouts.
 */
refilled: number,
/**
 * Mean share of its demonstration that a rollout began with (objective.prefix), over the rollouts of prompts that have one.
 */
given_share: number | null,
/**
 * Rollouts of prompts that none or all of them solved, and that were sampled again after another prefix (objective.prefix = success). They count in the means over rollouts.
 */
tried: number,
/**
 * Rollouts without a teacher's word (objective.advantage_of = teacher): no demonstration, or too long with it. They carry no loss.
 */
untaught: number,
/**
 * Rollouts that the verifier failed on: left out of the update and of every mean.
 */
unscored: number,
/**
 * Demonstrations that the verifier failed on: still imitated, but not reinforced.
 */
unscored_demos: number,
/**
 * Rollouts whose answer has the gold answer's value, but in a form that `math.form = "strict"` refuses.
 */
loose_only: number,
/**
 * Tokens sampled in this step, those of unscored rollouts too.
 */
rollout_tokens: number,
/**
 * Response tokens that carried loss in this step, again for each of its epochs.
 */
trained_tokens: number,
/**
 * Wall time of sampling and scoring.
 */
rollout_secs: number,
/**
 * Wall time of loss, gradient and update.
 */
train_secs: number,
};
