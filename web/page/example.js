// One problem in large type, answered by the base and by every run as it is now, token by token, to show what
// is trained. It is asked again while the runs play, rarely enough not to slow them down.

import { whoOf, verdict } from "./ask.js";
import { byId, h, onPress, write } from "./dom.js";
import { probability, visible } from "./format.js";
import { answerTo, isRight, read } from "./problem.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./ask.js").Sample} Sample */
/** @typedef {import("../package/protocol.js").Answer} Answer */

/** Least time between two questions, ms. */
const PACE = 3000;
const SHARE = 15;
/** How `visible` writes the end of the text: here it would be read as a part of the answer. */
const END = "■";
/** Longest search for the first problem, ms. */
const SEARCH = 2000;

export class Example {
    #state;
    #ask;
    /** The beginning that the problem belongs to. @type {State["ready"]} */
    #ready = null;
    #prompt = 0;
    #asking = false;
    /** When it may be asked again, ms. */
    #next = 0;
    /** The step at which the answers were given. */
    #step = -1;
    /** What each model said last: only what is new appears token by token. @type {string[]} */
    #said = [];

    /**
     * @param {State} state
     * @param {(prompt: string) => Promise<Sample>} ask
     */
    constructor(state, ask) {
        this.#state = state;
        this.#ask = ask;
        onPress("example-next", () => {
            this.#prompt += 1;
            this.#send();
        });
    }

    draw() {
        const { ready, phase, step } = this.#state;
        if (!ready || phase === "loading" || phase === "error") return;
        if (ready !== this.#ready) {
            this.#ready = ready;
            this.#prompt = 0;
            this.#choose();
        } else if (step !== this.#step && (performance.now() > this.#next || phase === "done")) this.#send();
    }

    get #problems() {
        return this.#state.ready?.suites.filter((suite) => !suite.ood) ?? [];
    }

    /** Chooses a problem that the base gets wrong, if one is soon found: one that can be learned. */
    async #choose() {
        const from = performance.now();
        for (let i = 0; i < this.#problems.length; i += 1) {
            this.#prompt = i;
            const sample = await this.#answers();
            const base = sample?.answers[0];
            if (!sample || !base) return;
            const isLast = i + 1 === this.#problems.length || performance.now() - from > SEARCH;
            if (isLast || isRight(sample.prompt, base) === false) return this.#show(sample);
        }
    }

    async #send() {
        const sample = await this.#answers();
        if (sample) this.#show(sample);
    }

    /** @returns {Promise<Sample | undefined>} */
    async #answers() {
        const problems = this.#problems;
        if (this.#asking || problems.length === 0) return;
        this.#asking = true;
        const { step } = this.#state;
        const from = performance.now();
        const prompt = problems[this.#prompt % problems.length].prompt;
        const sample = await this.#ask(prompt).catch(() => undefined); // the next one may come through
        this.#asking = false;
        this.#next = performance.now() + Math.max(PACE, SHARE * (performance.now() - from));
        if (sample) this.#step = step;
        return sample;
    }

    /** @param {Sample} sample */
    #show({ prompt, answers }) {
        write(byId("example-prompt"), prompt);
        write(byId("example-answer"), answerTo(prompt) ?? "");
        const said = answers.map(({ tokens }) => [prompt, ...tokens.map(({ text }) => text)].join(" "));
        const items = answers.map((answer, i) => this.#item(prompt, answer, said[i] !== this.#said[i]));
        this.#said = said;
        byId("example-answers").replaceChildren(...items);
    }

    /** @param {string} prompt @param {Answer} answer @param {boolean} isNew */
    #item(prompt, answer, isNew) {
        const { id, label, does } = whoOf(this.#state, answer);
        const { working, answer: said } = read(answer);
        const marker = answer.tokens.findIndex(({ text }) => text === ">");
        const parts = answer.tokens.map((token, i) => tokenOf(token, i)).filter((part) => part.textContent !== END);
        const before = marker < 0 ? parts : parts.slice(0, marker + 1);
        const after = marker < 0 ? [] : parts.slice(marker + 1);
        const mark = verdict(isRight(prompt, answer));
        if (mark instanceof HTMLElement) mark.style.setProperty("--nth", String(parts.length + 1));
        return h(
            "li",
            { class: `method-${id} ${isNew ? "fresh" : ""}` },
            h("span", { class: "who" }, label, " ", h("span", { class: "does" }, does)),
            h("span", { class: "working mono", "aria-hidden": true }, ...before),
            h("b", { class: "mono" }, mark, h("span", { "aria-hidden": true }, ...after)),
            h("span", { class: "hidden" }, `${said || "no answer"}, after ${working || "no working"}`),
        );
    }
}

/** A token, tinted where the model was unsure. @param {Answer["tokens"][number]} token @param {number} nth */
function tokenOf({ text, p }, nth) {
    const element = h("span", { class: "said", title: `p = ${probability(p)}` }, visible(text));
    element.style.setProperty("--confidence", `${Math.round(100 * p)}%`);
    element.style.setProperty("--nth", String(nth));
    return element;
}
