// The choices of a run: methods, numbers, task; as the trainer's settings.

import { byId, h, input, select } from "./dom.js";
import { offerSecondGpu } from "./gpus.js";
import { METHODS, SHOWN } from "./methods.js";

/** @typedef {import("../package/protocol.js").Start} Start */

/** The task that the trainer has itself. */
export const SUMS = "sums-in-words.jsonl";

/** @type {{ key: string, label: string, path: string, value: number, min: number, max: number, step: number | "any" }[]} */
const NUMBERS = [
    { key: "steps", label: "Steps", path: "train.steps", value: 30, min: 1, max: 10000, step: 1 },
    { key: "prompts", label: "Problems a step", path: "rollout.prompts", value: 2, min: 1, max: 256, step: 1 },
    { key: "group", label: "Answers a problem", path: "rollout.group", value: 4, min: 2, max: 64, step: 1 },
    { key: "tokens", label: "Tokens an answer", path: "rollout.max_new_tokens", value: 16, min: 1, max: 2048, step: 1 },
    { key: "temperature", label: "Sampling temperature", path: "rollout.temperature", value: 0.7, min: 0.01, max: 2, step: "any" },
    { key: "rank", label: "Adapter rank", path: "lora.rank", value: 8, min: 1, max: 256, step: 1 },
    { key: "lr", label: "Learning rate", path: "optimizer.lr", value: 0.0005, min: 1e-7, max: 0.1, step: "any" },
    { key: "seed", label: "Seed", path: "run.seed", value: 0, min: 0, max: 4294967295, step: 1 },
];

/** Draws the choices. @param {() => void} changed */
export function offerSetup(changed) {
    const choices = (/** @type {boolean} */ shown) =>
        METHODS.filter(({ id }) => SHOWN.includes(id) === shown).map(({ id, name, says }) =>
            h(
                "label",
                { class: "radio" },
                h("input", { type: "checkbox", name: "method", value: id, checked: shown }),
                ` ${name}: `,
                h("span", { class: "quiet" }, says),
            ),
        );
    byId("methods").append(...choices(true), h("details", {}, h("summary", {}, "More methods"), ...choices(false)));
    byId("numbers").append(
        ...NUMBERS.map(({ key, label, value, min, max, step }) =>
            h("label", {}, label, h("input", { type: "number", id: `set-${key}`, value, min, max, step, required: true })),
        ),
    );
    offerSecondGpu();
    byId("training").addEventListener("change", changed);
    for (const radio of document.querySelectorAll('[name="task"]')) {
        radio.addEventListener("change", () => {
            byId("own-task").hidden = !isOwn();
            changed();
        });
    }
    for (const id of ["columns", "verifier"]) byId(id).addEventListener("change", changed);
}

/** Whether the task is the visitor's. */
export const isOwn = () =>
    /** @type {HTMLInputElement} */ (document.querySelector('[name="task"]:checked')).value === "own";

/** The methods chosen. */
export const methods = () =>
    [...document.querySelectorAll('[name="method"]:checked')].map((box) => /** @type {HTMLInputElement} */ (box).value);

/** What is wrong with the choices, or null. @param {string | null} data the file of the visitor's task */
export function objection(data) {
    if (methods().length === 0) return "Choose at least one method.";
    if (isOwn() && data === null) return "Choose a data file first, or take the sums.";
    for (const { key, label, min, max } of NUMBERS) {
        if (!input(`set-${key}`).checkValidity()) return `${label}: a number from ${min} to ${max} is needed.`;
    }
    return null;
}

/**
 * The settings of every run.
 * @param {string} model
 * @param {string | null} data
 */
export function settings(model, data) {
    const task = isOwn()
        ? [
              `data.train=${JSON.stringify([data])}`,
              `data.columns=${JSON.stringify(input("columns").value.split(",").map((part) => part.trim()).filter(Boolean))}`,
              `data.verifier=${select("verifier").value}`,
              "data.too_long=drop",
              "data.unreadable=drop",
          ]
        : [`data.train=${JSON.stringify([SUMS])}`];
    // Before the first step and after the last a few problems are enough: the visitor can ask for more at any time.
    return [`model.path=${model}`, ...task, "eval.examples=2", ...NUMBERS.map(({ key, path }) => `${path}=${Number(input(`set-${key}`).value)}`)];
}

/**
 * @param {string} model
 * @param {string | null} data
 * @returns {Start}
 */
export function startOf(model, data) {
    return {
        device: select("device").value,
        settings: settings(model, data),
        runs: methods().map((method) => ({ method, settings: [] })),
    };
}
