// From the address to the trainer's start message, and back from the settings that the trainer resolved.

import { SETTINGS } from "./settings.js";
import { effective, methodsOf } from "./url.js";

/** @typedef {import("../package/protocol.js").Start} Start */
/** @typedef {import("../package/protocol.js").Ready} Ready */
/** @typedef {import("./settings.js").Setting} Setting */
/** @typedef {import("./url.js").Address} Address */

/** w_SFT = w_RL = 1, as in the paper's ablation. */
const FROZEN = ["objective.entropy_weights=false", "objective.sft_weight_scale=1", "objective.self_weight_scale=1"];

/**
 * The start message of an address.
 * @param {Address} address
 * @returns {Start}
 */
export function startOf(address) {
    const choices = effective(address);
    /** @param {"all" | "srft"} scope */
    const chosen = (scope) =>
        SETTINGS.filter((x) => x.scope === scope && choices[x.key] !== undefined).map(
            (x) => `${x.path}=${choices[x.key]}`,
        );
    const srft = [...chosen("srft"), ...(choices.ew === "one" ? FROZEN : [])];
    return {
        device: choices.dev ?? "auto",
        settings: chosen("all"),
        runs: methodsOf(choices).map((method) => ({ method, settings: method === "srft" ? srft : [] })),
    };
}

/**
 * The value that the trainer resolved a setting to, as text; undefined if no run has it.
 * @param {Ready | null} ready
 * @param {Setting} setting
 * @returns {string | undefined}
 */
export function resolved(ready, setting) {
    const run = setting.scope === "all" ? ready?.runs[0] : ready?.runs.find((r) => r.method === "srft");
    const value = run?.settings[setting.path];
    return value === undefined ? undefined : String(value);
}

/**
 * Whether loaded runs are the ones that this address would start.
 * @param {Ready} ready
 * @param {Address} address
 */
export function isRunning(ready, address) {
    const choices = effective(address);
    const methods = methodsOf(choices);
    if (methods.join() !== ready.runs.map((run) => run.method).join()) return false;
    return SETTINGS.every((setting) => {
        const value = resolved(ready, setting);
        const wanted = choices[setting.key];
        return wanted === undefined || value === undefined || value === wanted || Number(value) === Number(wanted);
    });
}
