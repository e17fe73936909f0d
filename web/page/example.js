// One problem in large type, answered by the base and by every run as it is now, to show what is trained.
// It is asked again while the runs play, rarely enough not to slow them down.

import { whoOf, verdict } from "./ask.js";
import { byId, h, onPress, write } from "./dom.js";
import { answerTo, isRight, read } from "./problem.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./ask.js").Sample} Sample */

/** Least time between two questions, ms. */
const PACE = 3000;
const SHARE = 15;

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
            const sample = await this.#send();
            const base = sample?.answers[0];
            if (!sample || !base || isRight(sample.prompt, base) === false || performance.now() - from > 1000) return;
        }
    }

    /** @returns {Promise<Sample | undefined>} */
    async #send() {
        const problems = this.#problems;
        if (this.#asking || problems.length === 0) return;
        this.#asking = true;
        const { step } = this.#state;
        const from = performance.now();
        const prompt = problems[this.#prompt % problems.length].prompt;
        const sample = await this.#ask(prompt).catch(() => undefined); // the next one may come through
        this.#asking = false;
        this.#next = performance.now() + Math.max(PACE, SHARE * (performance.now() - from));
        if (!sample) return;
        this.#step = step;
        this.#show(sample);
        return sample;
    }

    /** @param {Sample} sample */
    #show({ prompt, answers }) {
        write(byId("example-prompt"), prompt);
        write(byId("example-answer"), answerTo(prompt) ?? "");
        byId("example-answers").replaceChildren(
            ...answers.map((answer) => {
                const { id, label } = whoOf(this.#state, answer);
                const { working, answer: said } = read(answer);
                return h(
                    "li",
                    { class: `method-${id}` },
                    h("span", { class: "who" }, label),
                    h("b", { class: "mono" }, verdict(isRight(prompt, answer)), said || "no answer"),
                    h("span", { class: "working mono" }, working),
                );
            }),
        );
    }
}
