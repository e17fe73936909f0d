// Ask: the visitor's own prompt, answered by the base and every run, token by token.

import { button, byId, h, input, select } from "./dom.js";
import { fixed, probability, visible } from "./format.js";
import { methodOf } from "./methods.js";
import { tokenRow } from "./tokens.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Answer} Answer */

export class Ask {
    #state;
    /** @type {State["sample"] | undefined} */
    #drawn = undefined;

    /**
     * @param {State} state
     * @param {(prompt: string, temperature: number) => void} ask
     */
    constructor(state, ask) {
        this.#state = state;
        byId("ask-form").addEventListener("submit", (event) => {
            event.preventDefault();
            const prompt = input("prompt").value.trim();
            if (!prompt || !state.ready) return;
            this.wait(true);
            ask(prompt, Number(select("ask-temperature").value));
        });
    }

    /** @param {boolean} waiting */
    wait(waiting) {
        button("ask-button").disabled = waiting;
        button("ask-button").textContent = waiting ? "Asking …" : "Ask";
    }

    draw() {
        const { ready, sample, runs } = this.#state;
        if (ready && byId("examples-to-ask").childElementCount === 0) {
            byId("examples-to-ask").append(
                ...ready.suites.map(({ prompt, name, ood }) => {
                    const chip = h(
                        "button",
                        { type: "button", class: "chip", title: `${name}${ood ? ", out of distribution" : ""}` },
                        prompt,
                    );
                    chip.addEventListener("click", () => {
                        input("prompt").value = prompt;
                        /** @type {HTMLFormElement} */ (byId("ask-form")).requestSubmit();
                    });
                    return chip;
                }),
            );
        }
        if (sample === this.#drawn) return;
        this.#drawn = sample;
        byId("answer-token").textContent = sample
            ? "The stronger tint and underline, the less sure. Point at a token for its probability."
            : "The base and every run answer as they are now; ask again later.";
        byId("answers").replaceChildren(
            ...(sample?.answers ?? []).map((answer) => {
                const method =
                    answer.run === null ? { id: "base", label: "base" } : methodOf(runs[answer.run]?.view.method ?? "");
                return this.#answer(answer, method.id, method.label);
            }),
        );
        this.wait(false);
    }

    /** @param {Answer} answer @param {string} id @param {string} label */
    #answer(answer, id, label) {
        const tokens = answer.tokens.map(({ text, p, entropy }) => ({
            text,
            says: `p ${probability(p)}, entropy ${fixed(entropy, 2)} nats`,
        }));
        const row = tokenRow(
            `answer of ${label}`,
            tokens,
            (i) => {
                const { text, p, entropy } = answer.tokens[i];
                byId("answer-token").textContent =
                    `${label}, token ${i + 1} “${visible(text)}”: p = ${probability(p)}, entropy ${fixed(entropy, 3)} nats`;
            },
            null,
        );
        answer.tokens.forEach(({ p }, i) =>
            /** @type {HTMLElement} */ (row.children[i]).style.setProperty("--confidence", `${Math.round(100 * p)}%`),
        );
        const least = Math.min(...answer.tokens.map((token) => token.p));
        return h(
            "div",
            { class: `answer method-${id}` },
            h("h3", { class: "who" }, label),
            row,
            h(
                "p",
                { class: "quiet" },
                answer.truncated ? "cut by the length limit" : `least sure token: p ${probability(least)}`,
            ),
        );
    }
}
