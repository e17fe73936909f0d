// Evaluation: any suite, now; and the results, suite by suite, base beside runs.

import { announce, tellAt } from "./announce.js";
import { button, byId, h, input, select } from "./dom.js";
import { grouped, percent, question } from "./format.js";
import { methodOf } from "./methods.js";
import { meanAccuracy } from "./state.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Evaluation} Evaluation */

export class Scores {
    #state;
    #trainer;
    #ended;
    #suites = select("suite");
    #isWaiting = false;

    /**
     * @param {State} state
     * @param {import("../package/index.js").Trainer} trainer
     * @param {() => void} ended called once no evaluation is under way any more
     */
    constructor(state, trainer, ended) {
        this.#state = state;
        this.#trainer = trainer;
        this.#ended = ended;
        byId("evaluate-form").addEventListener("submit", (event) => {
            event.preventDefault();
            const { ready } = state;
            if (!ready) return;
            if (this.#isWaiting) return trainer.send({ type: "cancel" });
            const examples = input("examples").valueAsNumber;
            const { min, max } = input("examples");
            if (!(Number.isInteger(examples) && examples >= Number(min) && examples <= Number(max))) {
                return tellAt("evaluate-says", `Problems must be from ${min} to ${max} per suite.`);
            }
            const choice = this.#suites.value;
            const chosen = ready.suites.filter(
                (suite) => choice === suite.name || choice === (suite.ood ? "out" : "in"),
            );
            this.#run(choice === "all" ? [] : chosen.map((suite) => suite.name), examples);
        });
    }

    /** @param {string[]} suites @param {number} examples */
    async #run(suites, examples) {
        tellAt("evaluate-says", null);
        this.#isWaiting = true;
        this.#drawButton();
        try {
            const got = await this.#trainer.evaluate(examples, suites);
            const whole = got.length > this.#state.runs.length;
            announce(whole ? "The evaluation is done; its results are in the table." : "The evaluation was cancelled.");
        } catch (error) {
            tellAt("evaluate-says", /** @type {import("./announce.js").Refusal} */ (error).complaint);
        }
        this.#state.evaluating = null;
        this.#ended();
        this.#isWaiting = false;
        this.#drawButton();
    }

    #drawButton() {
        const { evaluating } = this.#state;
        const far = evaluating ? `, ${grouped(evaluating.done)} of ${grouped(evaluating.of)} done` : "";
        button("evaluate").textContent = this.#isWaiting ? `Cancel${far}` : "Evaluate now";
    }

    draw() {
        const { ready, runs, latest } = this.#state;
        this.#drawButton();
        if (!ready) return;
        this.#fillSuites();
        const columns = [{ id: "base", label: "base", result: latest.get(-1) }];
        runs.forEach((run, i) => {
            const { id, label } = methodOf(run.view.method);
            columns.push({ id, label, result: latest.get(i) ?? run.evaluations.at(-1) });
        });
        const head = h(
            "tr",
            {},
            h("th", { scope: "col" }, "suite"),
            h("th", { scope: "col" }, h("abbr", { title: "problems" }, "n")),
            ...columns.map(({ id, label, result }) =>
                h(
                    "th",
                    { scope: "col", class: `method-${id}` },
                    h("span", { class: "who" }, label),
                    h("span", { class: "quiet" }, result ? `step ${result.step}` : ""),
                ),
            ),
        );
        const half = (/** @type {boolean} */ ood) => {
            const suites = ready.suites.filter((suite) => suite.ood === ood);
            const rows = suites.map((suite) => {
                const scores = columns.map(({ result }) => result?.scores.find((score) => score.suite === suite.name));
                const n = scores.find((score) => score)?.n;
                return row(
                    h(
                        "th",
                        { scope: "row" },
                        h("b", { class: "mono" }, suite.name),
                        " ",
                        h("span", { class: "quiet mono" }, question(suite.prompt)),
                    ),
                    n === undefined ? "–" : String(n),
                    scores.map((score) => score?.accuracy ?? null),
                );
            });
            const means = columns.map(({ result }) => (result ? meanAccuracy(result.scores, ood) : null));
            const title = ood ? "mean, out of distribution" : "mean, in distribution";
            // One suite is its own mean.
            const mean = suites.length > 1 ? [row(h("th", { scope: "row" }, title), "", means, "mean")] : [];
            return h("tbody", {}, ...rows, ...mean);
        };
        byId("scores").replaceChildren(
            h("caption", { class: "hidden" }, "Accuracy in percent, suite by suite"),
            h("thead", {}, head),
            half(false),
            half(true),
        );
    }

    #fillSuites() {
        if (this.#suites.options.length > 3) return;
        for (const { name } of this.#state.ready?.suites ?? []) this.#suites.append(h("option", { value: name }, name));
    }
}

/** @param {HTMLElement} title @param {string} n @param {(number | null)[]} accuracies @param {string} [kind] */
function row(title, n, accuracies, kind = "") {
    const best = Math.max(...accuracies.map((a) => a ?? -1));
    return h(
        "tr",
        { class: kind },
        title,
        h("td", {}, n),
        ...accuracies.map((a) => {
            const cell = h("td", { class: a !== null && a === best ? "best" : "" }, a === null ? "–" : percent(a));
            cell.style.setProperty("--share", String(a ?? 0));
            return cell;
        }),
    );
}
