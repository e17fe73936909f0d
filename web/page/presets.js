// Experiments that teach: each sets a few values (keys of settings.js) and says where to look.
// The values are kept in this one table, in the page's order; `target` is the id of the part that changes.

/** @typedef {import("./settings.js").Choices} Choices */

/**
 * @typedef {object} Preset
 * @property {string} id
 * @property {string} title
 * @property {string} says in few words, on its card
 * @property {string} text two sentences
 * @property {string} look what to look at
 * @property {string} target
 * @property {string} [measured] what came of it
 * @property {string} [run] the method that the group panel opens with; SRFT unless given
 * @property {string} notebook on the same subject: a file of notebooks/, which links back
 * @property {Choices} values
 */

/** What the page opens with: here the methods part, by more than chance. */
export const OPENING = "wrong-demonstrations";
/** The preset that sets nothing. */
export const PAPER = "paper";

/** @type {Preset[]} */
export const PRESETS = [
    {
        id: "wrong-demonstrations",
        title: "Wrong demonstrations",
        says: "half of the teacher’s answers are wrong",
        text: "Half of the teacher’s answers are wrong. SFT copies them all the same; RL never sees them; SRFT copies them, but its rewards speak against them.",
        look: "Accuracy: whether SFT falls behind the other two.",
        measured: "Measured with seed 0, on a CPU: SFT 45.8%, RL 65.0%, SRFT 65.8% in distribution (±9), 15.3, 45.8, 37.5% out of it (±12).",
        target: "chart-accuracy-in",
        notebook: "03-objective",
        values: { wd: "0.5" },
    },
    {
        id: "few-demonstrations",
        title: "Few demonstrations",
        says: "for one problem in ten",
        text: "Only one prompt in ten comes with a demonstration. SFT has little to imitate; reinforcement goes on learning from its own rollouts.",
        look: "Accuracy: SFT falls behind, SRFT keeps both sources.",
        measured: "Measured with seed 0, on a CPU: SFT 64.2%, RL 65.0%, SRFT 76.7% in distribution (±9), 41.7, 45.8, 61.1% out of it (±12).",
        target: "chart-accuracy-in",
        notebook: "04-training",
        values: { d: "0.1" },
    },
    {
        id: "paper",
        title: "The paper’s default",
        says: "as printed, every demonstration right",
        text: "SFT, RL and SRFT start from one base and see the same problems; SRFT’s objective is Eq. 13 as printed. Every prompt has a right demonstration.",
        look: "Accuracy: where right demonstrations are plenty, plain SFT is hard to beat. Under “Why”: how far each method moves from the base, and how w_SFT rises while w_RL falls as the policy grows sure.",
        measured: "Measured with seed 0, on a CPU: SFT 90.8%, RL 65.0%, SRFT 82.5% in distribution (±9), 69.4, 45.8, 62.5% out of it (±12).",
        target: "chart-accuracy-in",
        notebook: "04-training",
        values: {},
    },
    {
        id: "entropy-collapse",
        title: "Entropy collapse",
        says: "RL in a hurry, until one answer is left",
        text: "Reinforcement makes likelier what already works, and a higher learning rate does so in a hurry, until the policy has one answer left. Without entropy the rollouts of a group are alike, and there is nothing more to learn from.",
        look: "The entropy chart: the lines fall to a few hundredths of a nat; in the group panel ever more prompts have all rollouts right or all wrong, and then RL’s Â is 0.",
        target: "chart-entropy",
        notebook: "05-reading",
        values: { lr: "0.0012", m: "grpo,srft", p: "16", g: "8" },
    },
    {
        id: "equal-rewards",
        title: "All rewards equal",
        says: "no differences: nothing for RL to learn from",
        text: "Always the likeliest token is taken, so the rollouts of a prompt are the same text, earn the same reward, and every advantage is 0. RL (GRPO) then has no gradient at all and stays exactly where the base is; SRFT still learns, from the demonstrations and from Eq. 12, which has no baseline. A temperature of 0.01 would not do: now and then two tokens are nearly tied, one group differs, and AdamW makes a full step of that one gradient.",
        look: "Movement: RL (GRPO) is flat at 0. Below, in “Inside one update”, its Â is 0 in every row, and each term says why it is 0.",
        target: "chart-shift",
        run: "grpo",
        notebook: "02-rollouts",
        values: { mp: "1" },
    },
    {
        id: "gamed-reward",
        title: "A reward that can be gamed",
        says: "it is enough to mention the answer",
        text: "Training rewards any response that mentions the right answer somewhere, but evaluation wants it at the end. Reinforcement finds the gap between the two.",
        look: "Reward rises while held-out accuracy does not follow; in the group panel, read what the rewarded rollouts say.",
        target: "chart-reward",
        notebook: "02-rollouts",
        values: { rw: "mention", m: "grpo,srft", p: "16", g: "8" },
    },
    {
        id: "frozen-weights",
        title: "Entropy weights frozen at 1",
        says: "SRFT without entropy’s say",
        text: "SRFT with w_SFT = w_RL = 1, so entropy no longer decides what counts. The paper’s ablation freezes one of them at a time.",
        look: "The weights are flat lines at 1; compare SRFT’s entropy and its movement with those of the paper’s default. With seed 0 it ends better in distribution (92.5% against 82.5) and worse out of it (54.2 against 62.5).",
        target: "chart-weights",
        notebook: "03-objective",
        values: { ew: "one" },
    },
];

/** @param {string | undefined} id */
export const presetOf = (id) => PRESETS.find((p) => p.id === id);
