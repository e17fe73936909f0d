// The methods: their names on the page, and how a line of each looks without its colour.

/** @typedef {"circle" | "square" | "triangle" | "diamond" | "cross" | "wedge" | "bar" | "star"} Shape */

/**
 * @typedef {object} Method
 * @property {string} id as in the protocol
 * @property {string} name on the page
 * @property {string} label at the end of its lines
 * @property {string} says one line
 * @property {string} does a few words, for who knows no method by its name
 * @property {string} dash SVG dash pattern
 * @property {Shape} shape of its marks
 */

/** @type {Method[]} */
export const METHODS = [
    {
        id: "sft",
        name: "SFT",
        label: "SFT",
        says: "imitates the teacher’s demonstrations",
        does: "copies a teacher",
        dash: "7 4",
        shape: "square",
    },
    {
        id: "grpo",
        name: "RL (GRPO)",
        label: "RL",
        says: "reinforces its own rollouts by their reward",
        does: "tries, is rewarded",
        dash: "1.5 3.5",
        shape: "triangle",
    },
    {
        id: "srft",
        name: "SRFT",
        label: "SRFT",
        says: "does both at once, weighed by entropy",
        does: "does both at once",
        dash: "none",
        shape: "circle",
    },
    {
        id: "sft-grpo",
        name: "SFT→RL",
        label: "SFT→RL",
        says: "SFT for half the steps, then RL",
        does: "copies, then tries",
        dash: "8 3 1.5 3",
        shape: "diamond",
    },
    {
        id: "grpo-sft",
        name: "RL→SFT",
        label: "RL→SFT",
        says: "RL for half the steps, then SFT",
        does: "tries, then copies",
        dash: "2 2 6 2",
        shape: "star",
    },
    {
        id: "srft-official",
        name: "SRFT (reported script)",
        label: "script",
        says: "SRFT as the authors’ code has it",
        does: "both, as in the authors’ code",
        dash: "3 3",
        shape: "cross",
    },
    {
        id: "srft-hpt",
        name: "SRFT (HPT)",
        label: "HPT",
        says: "SRFT as re-implemented for HPT",
        does: "both, as in HPT",
        dash: "12 3",
        shape: "wedge",
    },
    {
        id: "luffy",
        name: "LUFFY",
        label: "LUFFY",
        says: "RL on rollouts and demonstration together",
        does: "both in one group",
        dash: "5 2 1.5 2 1.5 2",
        shape: "bar",
    },
];

/** What the page shows at first. */
export const SHOWN = ["sft", "grpo", "srft"];

/** @param {string} id @returns {Method} */
export function methodOf(id) {
    return METHODS.find((m) => m.id === id) ?? { id, name: id, label: id, says: "", does: "", dash: "4 4", shape: "cross" };
}

/** Outlines of the marks around (0, 0). @type {Record<Shape, string>} */
export const OUTLINES = {
    circle: "M-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0Z",
    square: "M-2.9-2.9h5.8v5.8h-5.8Z",
    triangle: "M0-3.8L3.6 2.8H-3.6Z",
    diamond: "M0-4L4 0L0 4L-4 0Z",
    cross: "M-3-1.1h1.9v-1.9h2.2v1.9h1.9v2.2h-1.9v1.9h-2.2v-1.9h-1.9Z",
    wedge: "M0 3.8L3.6-2.8H-3.6Z",
    star: "M0-4.2L1.2-1.2L4.2 0L1.2 1.2L0 4.2L-1.2 1.2L-4.2 0L-1.2-1.2Z",
    bar: "M-1.3-3.8h2.6v7.6h-2.6Z",
};
