// Ask: the visitor's own prompt, answered by the base and every run, token by token.

import { tellAt } from "./announce.js";
import { button, byId, enable, h, input, isEnabled, select } from "./dom.js";
import { fixed, probability, visible } from "./format.js";
import { methodOf } from "./methods.js";
import { answerTo, isRight } from "./problem.js";
import { tokenRow } from "./tokens.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("../package/protocol.js").Answer} Answer */
/** @typedef {{ prompt: string, answers: Answer[] }} Sample */

export class Ask {
    #state;
    #ask;

    /**
     * @param {State} state
     * @param {(prompt: string, temperature: number) => Promise<Sample>} ask rejects with what went wrong
     */
    constructor(state, ask) {
        this.#state = state;
        this.#ask = ask;
        byId("ask-form").addEventListener("submit", (event) => {
            event.preventDefault();
            const prompt = input("prompt").value.trim();
            if (prompt && state.ready && isEnabled(button("ask-button"))) this.#send(prompt);
        });
    }

    /** @param {string} prompt */
    async #send(prompt) {
        this.#wait(true);
        tellAt("ask-says", null);
        try {
            this.#draw(await this.#ask(prompt, Number(select("ask-temperature").value)));
        } catch (error) {
            // Don't leave the answers to another prompt under this one.
            byId("answers").replaceChildren();
            tellAt("ask-says", /** @type {import("./announce.js").Refusal} */ (error).complaint);
        }
        this.#wait(false);
    }

    /** @param {boolean} waiting */
    #wait(waiting) {
        enable(button("ask-button"), !waiting);
        button("ask-button").textContent = waiting ? "Asking …" : "Ask";
    }

    /** Draws the example prompts, one for each of the trainer's suites. */
    draw() {
        const { ready } = this.#state;
        if (!ready || byId("examples-to-ask").childElementCount > 0) return;
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

    /** @param {Sample} sample */
    #draw({ prompt, answers }) {
        const right = answerTo(prompt);
        byId("answer-token").textContent =
            "The stronger the tint and underline, the less sure. Point at a token for its probability.";
        const question = h(
            "p",
            { class: "asked" },
            h("b", { class: "mono" }, prompt),
            right === null
                ? " is not a problem like those above, and the model knows nothing else: its answer means little."
                : ` right answer ${right}`,
        );
        byId("answers").replaceChildren(question, ...answers.map((answer) => this.#answer(answer, prompt)));
    }

    /** @param {Answer} answer @param {string} prompt */
    #answer(answer, prompt) {
        const { id, label } = whoOf(this.#state, answer);
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
            h("h3", { class: "who" }, verdict(isRight(prompt, answer)), label),
            row,
            h(
                "p",
                { class: "quiet" },
                answer.truncated ? "cut by the length limit" : `least sure token: p ${probability(least)}`,
            ),
        );
    }
}

/** The model that all runs begin from, named as a method is. */
const BASE = { id: "base", label: "base", does: "before training" };

/** Whose answer it is. @param {State} state @param {Answer} answer */
export function whoOf({ runs }, { run }) {
    return run === null ? BASE : methodOf(runs[run]?.view.method ?? "");
}

/** A mark for right or wrong, also in words; empty if unknown. @param {boolean | null} right */
export function verdict(right) {
    if (right === null) return "";
    return h(
        "span",
        { class: right ? "verdict right" : "verdict wrong", role: "img", "aria-label": right ? "right:" : "wrong:" },
        right ? "✓ " : "✗ ",
    );
}
