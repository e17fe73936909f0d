// The trainer's messages are for the command line; here their settings are put into the page's words.

import { SETTINGS } from "./settings.js";

/** @typedef {import("./announce.js").Trouble} Trouble */

/** @param {string} path `section.key` */
const labelOf = (path) => SETTINGS.find((setting) => setting.path === path)?.label;

/** @param {string} text */
function translated(text) {
    return text
        .replace(/set (\S+) in the TOML file or with --set \S+/g, (_, path) => {
            const label = labelOf(path);
            return label ? `choose another value of “${label}” under Settings` : `change ${path} in the address or the file`;
        })
        .replace(/lower train\.micro_batch_tokens/g, "choose fewer prompts or a smaller group under Settings")
        .replace(/--set (\S+?)=\S+/g, (_, path) => `${labelOf(path) ?? path} under Settings`)
        .replace(/(use|or) --device (auto|cpu)/g, (_, verb, device) => `${verb} ${device === "cpu" ? "CPU" : "a GPU if there is one"} as the device under Settings`)
        .replace(/`srft devices`/g, "this machine")
        .replace(/\b[a-z]+\.[a-z_]+\b/g, (path) => (labelOf(path) ? `“${labelOf(path)}”` : path));
}

/** @param {Trouble} trouble @returns {Trouble} */
export function inPageWords({ what, place, next }) {
    return {
        what: translated(what),
        place: place === "--device" ? "Settings, device" : place && translated(place),
        next: next && translated(next),
    };
}
