// The address: after the #, in short keys, every chosen value that differs from the defaults.
// `#preset=wrong-demonstrations&lr=0.003` is a preset and one change on top of it. An address that says nothing
// opens with the experiment `OPENING`; one that names settings without a preset is the paper’s, with those.

import { METHODS, SHOWN } from "./methods.js";
import { OPENING, PAPER, presetOf } from "./presets.js";
import { DEVICES, SECOND_GPU, SETTINGS, objection } from "./settings.js";

/** @typedef {import("./settings.js").Choices} Choices */
/**
 * @typedef {{ preset: string | undefined, own: Choices }} Address a preset, and what was chosen on top of it
 */

/**
 * Reads an address; unknown keys and invalid values are left out and named in `unknown`.
 * @param {string} hash
 * @returns {Address & { unknown: string[] }}
 */
export function read(hash) {
    /** @type {Choices} */
    const own = {};
    const unknown = [];
    let preset = hash.replace(/^#/, "") === "" ? OPENING : undefined;
    for (const [key, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
        if (key === "preset" && presetOf(value)) preset = value;
        else {
            const why = refusal(key, value);
            if (why === null) own[key] = value;
            else unknown.push((value ? `${key}=${value}` : key) + (why ? ` (${why})` : ""));
        }
    }
    return { preset, own, unknown };
}

/** @param {Address} address */
export function write({ preset, own }) {
    const order = ["m", ...SETTINGS.map((x) => x.key), "ew", "dev"];
    const pairs = order.filter((key) => own[key] !== undefined).map((key) => [key, own[key]]);
    // Commas and slashes are allowed in a fragment, and easier to read than their escapes.
    const named = preset ?? (pairs.length === 0 ? PAPER : undefined); // nothing would mean the opening experiment
    const text = new URLSearchParams([...(named ? [["preset", named]] : []), ...pairs]).toString();
    return text.replace(/%2C/g, ",").replace(/%2F/g, "/");
}

/**
 * The values in force: the preset's, and on top of them the visitor's own.
 * @param {Address} address
 * @returns {Choices}
 */
export const effective = ({ preset, own }) => ({ ...presetOf(preset)?.values, ...own });

/** The methods that are shown. @param {Choices} choices */
export function methodsOf(choices) {
    const wanted = choices.m?.split(",") ?? SHOWN;
    return METHODS.map((m) => m.id).filter((id) => wanted.includes(id));
}

/**
 * Why a key cannot have a value: null if it can, an empty text if the key is unknown.
 * @param {string} key
 * @param {string} value
 * @returns {string | null}
 */
function refusal(key, value) {
    if (key === "m") return methodsOf({ m: value }).length > 0 ? null : "";
    if (key === "ew") return value === "one" || value === "exp" ? null : "";
    if (key === "dev") return [...DEVICES, SECOND_GPU].some(([device]) => device === value) ? null : "";
    const setting = SETTINGS.find((x) => x.key === key);
    return setting ? objection(setting, value) : "";
}
