// The token strip, the paper's Fig. 2 live: a fixed response, one row a run, each token coloured by
// how far its log-probability has moved from the base, with the policy's entropy as a bar beneath.

import { byId, fillSelect, h, select, write } from "./dom.js";
import { fixed, probability, question, signed, spoken, visible } from "./format.js";
import { methodOf } from "./methods.js";
import { stripsAt } from "./charts.js";
import { shadeBy } from "./tokens.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("../package/protocol.js").Probe} Probe */
/** @typedef {{ cell: HTMLElement, delta: HTMLElement, bar: HTMLElement, says: HTMLElement }} Cell */
/** @typedef {{ shift: HTMLElement, cells: Cell[] }} Row */

/** Change, nats, at which the colour is full. */
const FULL_NATS = 2;

export class Strip {
    #state;
    #choice = select("probe");
    #table = byId("strip-table");
    /** @type {Row[]} */
    #rows = [];
    /** The key of what the rows were made for. */
    #made = "";

    /** @param {State} state @param {() => void} changed */
    constructor(state, changed) {
        this.#state = state;
        this.#choice.addEventListener("change", changed);
    }

    draw() {
        const { ready, runs } = this.#state;
        if (!ready) return;
        fillSelect(
            this.#choice,
            ready.probes.map((probe, i) => ({
                value: String(i),
                text: `${probe.suite}: ${question(probe.prompt)}, written by the ${probe.author}`,
            })),
        );
        const index = Number(this.#choice.value);
        const probe = ready.probes[index];
        if (!probe) return;
        const most = Math.log(ready.model.vocabulary);
        const key = [index, probe.prompt, ...probe.tokens, ...runs.map((run) => run.view.method)].join("|");
        if (key !== this.#made) this.#make(key, probe, most);
        stripsAt(this.#state).forEach((strip, r) => {
            const scores = strip?.probes[index];
            const row = this.#rows[r];
            write(row.shift, strip ? `${fixed(strip.shift, 3)} nats` : "–");
            row.cells.forEach((cell, t) => {
                const delta = scores ? scores.logprobs[t] - probe.base.logprobs[t] : 0;
                const entropy = scores?.entropies[t] ?? probe.base.entropies[t];
                fill(cell, probe.tokens[t], delta, entropy, most);
            });
        });
    }

    /** @param {string} key @param {Probe} probe @param {number} most */
    #make(key, probe, most) {
        this.#made = key;
        const { runs } = this.#state;
        const head = h(
            "tr",
            { class: "base" },
            h(
                "th",
                { scope: "row" },
                h("span", { class: "who" }, "base"),
                h("span", { class: "shift" }, "p of each token"),
            ),
            ...probe.tokens.map((token, t) => {
                const p = Math.exp(probe.base.logprobs[t]);
                const entropy = probe.base.entropies[t];
                return h(
                    "td",
                    {},
                    h("span", { class: "text", "aria-hidden": true }, visible(token)),
                    h("span", { class: "delta", "aria-hidden": true }, fixed(p, 2).replace(/^0\./, ".")),
                    bar(entropy / most),
                    h(
                        "span",
                        { class: "hidden" },
                        `${spoken(token)}: p ${probability(p)}, entropy ${fixed(entropy, 2)} nats`,
                    ),
                );
            }),
        );
        this.#rows = runs.map(() => ({ shift: h("span", { class: "shift" }), cells: probe.tokens.map(cellOf) }));
        const rows = this.#rows.map(({ shift, cells }, r) => {
            const { id, label } = methodOf(runs[r].view.method);
            return h(
                "tr",
                { class: `method-${id}` },
                h("th", { scope: "row" }, h("span", { class: "who" }, label), shift),
                ...cells.map((cell) => cell.cell),
            );
        });
        this.#table.replaceChildren(
            h(
                "caption",
                { class: "hidden" },
                `Change of each token’s log-probability from the base, ${probe.suite}: ${question(probe.prompt)}`,
            ),
            h("tbody", {}, head, ...rows),
        );
    }
}

/** @param {string} token @returns {Cell} */
function cellOf(token) {
    const delta = h("span", { class: "delta", "aria-hidden": true });
    const says = h("span", { class: "hidden" });
    const meter = bar(0);
    const text = h("span", { class: "text", "aria-hidden": true }, visible(token));
    return { cell: h("td", { class: "shaded" }, text, delta, meter, says), delta, says, bar: meter };
}

/** @param {Cell} cell @param {string} token @param {number} delta @param {number} entropy @param {number} most */
function fill(cell, token, delta, entropy, most) {
    const text = signed(delta, 1).replace("0.", ".");
    write(cell.delta, Math.abs(delta) < 0.05 ? "0" : text);
    write(cell.says, `${spoken(token)}: ${signed(delta, 2)} nats, entropy ${fixed(entropy, 2)}`);
    shadeBy(cell.cell, delta / FULL_NATS);
    cell.bar.style.setProperty("--share", (entropy / most).toFixed(3));
}

/** @param {number} share of ln V */
function bar(share) {
    const element = h("span", { class: "entropy-bar" });
    element.style.setProperty("--share", share.toFixed(3));
    return element;
}
