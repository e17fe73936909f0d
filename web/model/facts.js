// What there is to say of a model before anything runs.

import { byId, h, write } from "./dom.js";
import { fixed, grouped, size } from "./format.js";

/** @typedef {import("../package/protocol.js").Facts} Facts */

/** @param {number} count */
const many = (count) => (count < 1e9 ? `${fixed(count / 1e6, count < 1e7 ? 2 : 0)} million` : `${fixed(count / 1e9, 2)} billion`);

/** @param {Facts} facts */
export function drawFacts(facts) {
    const types = facts.types.map(({ name, tensors, bytes }) => `${name} (${tensors} tensors, ${size(bytes)})`);
    const rows = [
        ["file", facts.name],
        ["architecture", `${facts.architecture}: ${facts.layers} layers, width ${grouped(facts.hidden)}`],
        ["parameters", many(facts.parameters)],
        ["stored as", `${types.join(", ")}; ${size(facts.bytes)} in all`],
        ["tokenizer", `${facts.tokenizer}, ${grouped(facts.tokens)} tokens`],
        ["chat template", facts.chats ? "yes: problems are put to it as a user’s messages" : "none: problems are put to it as plain text"],
        ["longest text", `${grouped(facts.context)} tokens`],
    ];
    byId("facts").replaceChildren(
        h("tbody", {}, ...rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)))),
    );
    byId("model-notes").replaceChildren(...facts.notes.map((note) => h("li", {}, note)));
    byId("known").hidden = false;
}

/**
 * What the chosen runs need.
 * @param {Facts} facts
 * @param {number} runs
 * @param {number} most how many workers may share them
 */
export function drawNeeds(facts, runs, most) {
    const workers = Math.min(runs, most);
    // A worker has the model once; a run keeps its adapter with AdamW's moments.
    const own = facts.memory.filter(({ when, name }) => when === "always" && !/frozen|base/i.test(name));
    const more = (runs - workers) * own.reduce((sum, { bytes }) => sum + bytes, 0);
    const shared = workers > 1 ? `On this machine’s CPU ${workers} workers share them, each with the model. ` : "";
    write(
        byId("needs"),
        `Each run trains ${many(facts.trained)} of its numbers. ${shared}Together they need about ${size(workers * facts.peak_bytes + more)} of memory.`,
    );
}
