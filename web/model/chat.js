// The chat: a message, answered by the model as it came and by every run, side by side.

import { tellAt } from "./announce.js";
import { whoOf } from "./ask.js";
import { button, byId, enable, h, input, isEnabled, select } from "./dom.js";
import { fixed, probability, visible } from "./format.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./ask.js").Sample} Sample */
/** @typedef {import("../package/protocol.js").Answer} Answer */

/**
 * @param {State} state
 * @param {(prompt: string, temperature: number, tokens: number) => Promise<Sample>} ask rejects with what went wrong
 */
export function offerChat(state, ask) {
    const message = /** @type {HTMLTextAreaElement} */ (byId("prompt"));
    const form = /** @type {HTMLFormElement} */ (byId("ask-form"));
    message.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        form.requestSubmit();
    });
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        const prompt = message.value.trim();
        if (!prompt || !state.ready || !isEnabled(button("ask-button"))) return;
        enable(button("ask-button"), false);
        button("ask-button").textContent = "Asking …";
        tellAt("ask-says", null);
        try {
            const sample = await ask(prompt, Number(select("ask-temperature").value), input("ask-tokens").valueAsNumber || 32);
            byId("answers").replaceChildren(...sample.answers.map((answer) => drawAnswer(state, answer)));
            byId("answer-token").textContent = "The stronger the tint and underline, the less sure. Point at a token for its probability.";
        } catch (error) {
            byId("answers").replaceChildren();
            tellAt("ask-says", /** @type {import("./announce.js").Refusal} */ (error).complaint);
        }
        button("ask-button").textContent = "Ask all";
        enable(button("ask-button"), true);
    });
}

/** @param {State} state @param {Answer} answer */
function drawAnswer(state, answer) {
    const { id, label, does } = whoOf(state, answer);
    const tokens = answer.tokens.map(({ text, p, entropy }, i) => {
        const token = h("span", { class: "said" }, text.replace(/^<\|?[a-z_]+\|?>$/, ""));
        token.style.setProperty("--confidence", `${Math.round(100 * p)}%`);
        token.addEventListener("pointerenter", () => {
            byId("answer-token").textContent = `${label}, token ${i + 1} “${visible(text)}”: p = ${probability(p)}, entropy ${fixed(entropy, 3)} nats`;
        });
        return token;
    });
    return h(
        "div",
        { class: `answer method-${id}` },
        h("h3", { class: "who" }, id === "base" ? "as it came" : label),
        h("p", { class: "text" }, ...tokens),
        h("p", { class: "quiet" }, answer.truncated ? "cut by the length limit" : id === "base" ? "before training" : does),
    );
}
