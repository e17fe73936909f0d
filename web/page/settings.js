// The settings that the page offers: one row each, from which the controls, the address and the
// trainer's start message are made. Keys and meanings are those of `srft config`.

/**
 * @typedef {object} Setting
 * @property {string} key in the address
 * @property {string} path `section.key` of the trainer
 * @property {"all" | "srft"} scope every run, or the SRFT run alone
 * @property {"range" | "number" | "choice"} kind
 * @property {string} label
 * @property {string} help one sentence
 * @property {[string, string][]} [values] value and text of a choice
 * @property {number} [min]
 * @property {number} [max]
 * @property {number} [step]
 * @property {string} initial shown until the trainer says the resolved value
 */

/**
 * What the visitor has chosen: key → value; other keys are absent.
 * @typedef {Record<string, string>} Choices
 */

/** @type {Setting[]} */
export const SETTINGS = [
    {
        key: "lr",
        path: "optimizer.lr",
        scope: "all",
        kind: "choice",
        initial: "0.0008",
        label: "Learning rate",
        values: [
            ["0.0001", "0.0001"],
            ["0.0002", "0.0002"],
            ["0.0004", "0.0004"],
            ["0.0008", "0.0008"],
            ["0.0012", "0.0012"],
            ["0.0016", "0.0016"],
            ["0.003", "0.003"],
            ["0.006", "0.006"],
        ],
        min: 1e-6,
        max: 0.1,
        help: "Peak of AdamW’s step size; it warms up over 5 steps, then falls in a straight line.",
    },
    {
        key: "p",
        path: "rollout.prompts",
        scope: "all",
        kind: "number",
        min: 1,
        max: 64,
        step: 1,
        initial: "32",
        label: "Prompts (P)",
        help: "Problems that each step learns from.",
    },
    {
        key: "g",
        path: "rollout.group",
        scope: "all",
        kind: "number",
        min: 2,
        max: 16,
        step: 1,
        initial: "8",
        label: "Group size (G)",
        help: "Rollouts per prompt: the policy’s own tries, whose rewards are compared.",
    },
    {
        key: "t",
        path: "rollout.temperature",
        scope: "all",
        kind: "range",
        min: 0.01,
        max: 1.5,
        step: 0.01,
        initial: "1",
        label: "Temperature",
        help: "Of sampling; a low one makes a group’s rollouts alike.",
    },
    {
        key: "mp",
        path: "rollout.min_p",
        scope: "all",
        kind: "choice",
        initial: "0",
        label: "Draw from",
        values: [
            ["0", "all tokens"],
            ["1", "the likeliest"],
        ],
        min: 0,
        max: 1,
        help: "By how likely a token is, compared with the likeliest (min-p). With only the likeliest, a group’s rollouts are all the same.",
    },
    {
        key: "d",
        path: "data.demonstrations",
        scope: "all",
        kind: "range",
        min: 0,
        max: 1,
        step: 0.05,
        initial: "1",
        label: "Demonstrations",
        help: "Share of the prompts that come with a teacher’s demonstration.",
    },
    {
        key: "wd",
        path: "data.wrong_demonstrations",
        scope: "all",
        kind: "range",
        min: 0,
        max: 1,
        step: 0.05,
        initial: "0",
        label: "Wrong demonstrations",
        help: "Share of the demonstrations that end in a wrong answer.",
    },
    {
        key: "rw",
        path: "data.reward",
        scope: "all",
        kind: "choice",
        initial: "answer",
        label: "Reward",
        values: [
            ["answer", "the answer is right"],
            ["mention", "the answer is mentioned anywhere"],
        ],
        help: "What counts as right in training; evaluation always wants the right answer.",
    },
    {
        key: "n",
        path: "train.steps",
        scope: "all",
        kind: "number",
        min: 1,
        max: 1000,
        step: 1,
        initial: "200",
        label: "Steps",
        help: "Updates of every run.",
    },
    {
        key: "seed",
        path: "run.seed",
        scope: "all",
        kind: "number",
        min: 0,
        max: 2 ** 32 - 1,
        step: 1,
        initial: "0",
        label: "Seed",
        help: "Of problems, rollouts and order: the same for every run.",
    },
    {
        key: "eo",
        path: "objective.entropy_over",
        scope: "srft",
        kind: "choice",
        initial: "sequence",
        label: "Entropy averaged over",
        values: [
            ["sequence", "each response"],
            ["token", "nothing: token by token"],
            ["batch", "the whole update"],
        ],
        help: "The paper does not say what a weight’s H is averaged over.",
    },
    {
        key: "sign",
        path: "objective.sft_weight_sign",
        scope: "srft",
        kind: "choice",
        initial: "minus",
        label: "Sign in w_SFT",
        values: [
            ["minus", "exp(−H), as printed"],
            ["plus", "exp(+H), as reported of the code"],
        ],
        help: "The paper prints exp(−H); two readings of the authors’ code report exp(+H).",
    },
    {
        key: "self",
        path: "objective.self_term",
        scope: "srft",
        kind: "choice",
        initial: "signed",
        label: "Loss on own rollouts",
        values: [
            ["signed", "Eq. 12: right up, wrong down"],
            ["advantage", "clipped ratio × advantage"],
            ["none", "none"],
        ],
        help: "Eq. 12 has no baseline, ratio or clip; the authors’ code has all three.",
    },
    {
        key: "shape",
        path: "objective.demo_shaping",
        scope: "srft",
        kind: "choice",
        initial: "none",
        label: "Shaping of the demonstration",
        values: [
            ["none", "none: f(p) = p"],
            ["p/(p+0.1)", "LUFFY: p/(p + 0.1)"],
        ],
        help: "LUFFY’s shaping lifts the gradient of improbable tokens.",
    },
    {
        key: "std",
        path: "objective.advantage_std",
        scope: "srft",
        kind: "choice",
        initial: "true",
        label: "Advantage ÷ std",
        values: [
            ["true", "on, Eq. 7"],
            ["false", "off"],
        ],
        help: "Eq. 7 divides by the group’s standard deviation; LUFFY and HPT do not.",
    },
    {
        key: "agg",
        path: "objective.aggregate",
        scope: "srft",
        kind: "choice",
        initial: "token-mean",
        label: "Averaging",
        values: [
            ["token-mean", "over all tokens of the update"],
            ["sequence-mean", "over each response, then responses"],
            ["sum-constant", "sum ÷ constant"],
        ],
        help: "How token losses are averaged.",
    },
    {
        key: "rv",
        path: "objective.reward_values",
        scope: "srft",
        kind: "choice",
        initial: "signed",
        label: "Reward values",
        values: [
            ["signed", "right +1, wrong −1"],
            ["binary", "right 1, wrong 0"],
        ],
        help: "§4.2 of the paper has ±1, its appendix trains with 1 and 0.",
    },
    {
        key: "ec",
        path: "objective.entropy_coeff",
        scope: "srft",
        kind: "choice",
        initial: "0",
        label: "Entropy bonus",
        values: [
            ["0", "0"],
            ["0.001", "0.001"],
            ["0.01", "0.01"],
        ],
        max: 0.1,
        help: "Reported in the authors’ script, absent from the paper.",
    },
    {
        key: "gate",
        path: "objective.sft_gate",
        scope: "srft",
        kind: "choice",
        initial: "none",
        label: "Imitate",
        values: [
            ["none", "every demonstration"],
            ["reward", "only right ones"],
            ["advantage", "only those above the group’s mean"],
        ],
        help: "Beyond the paper: whether a rejected demonstration is still imitated.",
    },
    {
        key: "go",
        path: "objective.group_of",
        scope: "srft",
        kind: "choice",
        initial: "extra",
        label: "Group",
        values: [
            ["extra", "G rollouts + 1 demonstration"],
            ["shared", "(G − 1) rollouts + 1"],
        ],
        help: "Whether the demonstration joins the rollouts or takes the place of one.",
    },
];

/** @type {[string, string][]} */
export const DEVICES = [
    ["auto", "a GPU if there is one"],
    ["cpu", "CPU (SIMD)"],
    ["webgpu", "WebGPU, a software one too"],
];

/** Offered where the browser has two GPUs (gpus.js); an address may always ask for it. @type {[string, string]} */
export const SECOND_GPU = ["webgpu-saving", "WebGPU, the GPU that saves power"];

/**
 * Why a setting cannot have a value, in words; null if it can.
 * @param {Setting} setting
 * @param {string} text
 * @returns {string | null}
 */
export function objection({ label, kind, values, min = 0, max = 1 }, text) {
    // If a choice's values are numbers, others are allowed too, for example another learning rate.
    if (kind === "choice" && !values?.every(([value]) => Number.isFinite(Number(value)))) {
        const known = values?.some(([value]) => value === text);
        return known ? null : `${label} must be one of ${values?.map(([value]) => value).join(", ")}.`;
    }
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value)) return `${label} must be a number.`;
    if (kind === "number" && !Number.isInteger(value)) return `${label} must be a whole number.`;
    return value < min || value > max ? `${label} must be from ${min} to ${max}.` : null;
}
