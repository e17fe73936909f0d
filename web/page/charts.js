// The charts: what each shows of the runs, its table, and the one cursor that links them.

import { Chart } from "./chart.js";
import { DataTable } from "./data-table.js";
import { byId, button, enable, h, input, onPress, write } from "./dom.js";
import { fixed, percent, signed } from "./format.js";
import { methodOf } from "./methods.js";
import { at, meanAccuracy } from "./state.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Run} Run */
/** @typedef {import("./state.js").StepReport} StepReport */
/** @typedef {import("./chart.js").Line} Line */
/** @typedef {import("./chart.js").Look} Look */

/** Steps that the thick line of the reward chart averages over. */
const AVERAGED = 10;

/** @typedef {Look & { lines: (state: State) => Line[] }} Kind */

/** @type {Kind[]} */
const KINDS = [
    {
        id: "accuracy-in",
        title: "Accuracy",
        unit: "% of new problems answered right",
        range: [0, 1],
        fixed: true,
        every: 1,
        about: "held-out accuracy in distribution",
        format: percent,
        tick: (y) => fixed(100 * y, 0),
        lines: (state) => accuracy(state, false),
    },
    {
        id: "accuracy-out",
        title: "Accuracy, out of distribution",
        unit: "% of held-out problems",
        range: [0, 1],
        fixed: true,
        every: 1,
        about: "held-out accuracy out of distribution",
        format: percent,
        tick: (y) => fixed(100 * y, 0),
        lines: (state) => accuracy(state, true),
    },
    {
        id: "shift",
        title: "Movement from the base",
        unit: "mean |Δ ln p| of the probes’ tokens, nats",
        range: [0, 0.5],
        every: 20,
        about: "mean absolute change of the probes’ log-probabilities from the base",
        format: (y) => fixed(y, 2),
        tick: (y) => fixed(y, 1),
        lines: (state) =>
            state.runs.map((run) => ({
                ...named(run),
                x: run.strips.map((strip) => strip.step),
                y: run.strips.map((strip) => strip.shift),
            })),
    },
    {
        id: "reward",
        title: "Reward",
        unit: "mean of a step’s rollouts",
        range: [-1, 1],
        fixed: true,
        every: 20,
        about: "mean reward of the rollouts",
        format: (y) => signed(y, 2),
        tick: (y) => signed(y, 1),
        lines: (state) =>
            sampling(state).map((run) => {
                // Some methods reward right and wrong with 1 and 0; the chart shows 1 and −1 for all.
                const binary = run.view.settings["objective.reward_values"] === "binary";
                const line = reported(run, ({ reward }) => (reward !== null && binary ? 2 * reward - 1 : reward));
                return { ...line, raw: line.y, y: averaged(line.y) };
            }),
    },
    {
        id: "entropy",
        title: "Policy entropy",
        unit: "nats, mean over the tokens of the rollouts",
        range: [0, 0.4],
        every: 20,
        about: "mean entropy of the policy over rollout tokens",
        format: (y) => fixed(y, 3),
        tick: (y) => fixed(y, 1),
        lines: (state) => sampling(state).map((run) => reported(run, (report) => report.entropy)),
    },
    {
        id: "weights",
        title: "Entropy weights",
        unit: "w_SFT = 0.5·exp(−H), w_RL = 0.1·exp(+H)",
        range: [0, 0.6],
        every: 20,
        about: "entropy weights of SRFT",
        format: (y) => fixed(y, 3),
        tick: (y) => fixed(y, 1),
        lines: (state) =>
            state.runs
                .filter((run) => run.view.method.startsWith("srft"))
                .flatMap((run) => {
                    const { key, label } = named(run);
                    const of = key === "srft" ? "" : ` ${label}`;
                    return [
                        { ...reported(run, (report) => report.w_sft), key: `${key}-w-sft`, label: `w_SFT${of}` },
                        {
                            ...reported(run, (report) => report.w_rl),
                            key: `${key}-w-rl`,
                            label: `w_RL${of}`,
                            second: true,
                        },
                    ];
                }),
    },
];

/** @param {Run} run */
const named = (run) => ({ key: run.view.method, method: run.view.method, label: methodOf(run.view.method).label });

/** Runs with rollouts; SFT has none, so no reward and no rollout entropy. @param {State} state */
const sampling = (state) => state.runs.filter((run) => run.reports.some((report) => report.rollout_tokens > 0));

/**
 * A metric of a run, without the steps that have no value.
 * @param {Run} run @param {(report: StepReport) => number | null} value @returns {Line}
 */
const reported = (run, value) => {
    const points = run.reports.flatMap((report) => {
        const y = value(report);
        return y === null ? [] : [{ x: report.step, y }];
    });
    return { ...named(run), x: points.map((p) => p.x), y: points.map((p) => p.y) };
};

/** @param {State} state @param {boolean} ood @returns {Line[]} */
function accuracy(state, ood) {
    return state.runs.map((run) => {
        const own = state.base && run.evaluations[0]?.step !== 0 ? [state.base, ...run.evaluations] : run.evaluations;
        const points = own.flatMap(({ step, scores }) => {
            const y = meanAccuracy(scores, ood);
            return y === null ? [] : [{ step, y }];
        });
        return { ...named(run), x: points.map((p) => p.step), y: points.map((p) => p.y) };
    });
}

/** Mean of each value and the few before it. @param {number[]} y */
function averaged(y) {
    let sum = 0;
    return y.map((value, i) => {
        sum += value - (i >= AVERAGED ? y[i - AVERAGED] : 0);
        return sum / Math.min(i + 1, AVERAGED);
    });
}

export class Charts {
    /** @type {{ kind: Kind, chart: Chart, table: DataTable, lines: Line[] }[]} */
    #shown = [];
    #state;
    /**
     * The step that was clicked or chosen with the slider; it stays when the pointer leaves.
     * @type {number | null}
     */
    #pinned = null;
    #slider = input("cursor");

    /**
     * @param {State} state
     * @param {() => void} moved called when the cursor has moved
     * @param {() => void} resized
     */
    constructor(state, moved, resized) {
        this.#state = state;
        const point = (/** @type {number | null} */ step, /** @type {boolean} */ pinned) => {
            if (pinned) this.#pinned = step;
            const cursor = step === null ? this.#pinned : Math.min(step, state.step);
            if (cursor === state.cursor) return;
            state.cursor = cursor;
            moved();
        };
        // A page has figures for some of them.
        for (const kind of KINDS.filter(({ id }) => document.getElementById(`chart-${id}`))) {
            const chart = new Chart(kind, point, resized);
            const figure = byId(`chart-${kind.id}`);
            const table = new DataTable(kind);
            const shown = { kind, chart, table, lines: /** @type {Line[]} */ ([]) };
            const toggle = h(
                "button",
                {
                    type: "button",
                    class: "as-table",
                    "aria-pressed": "false",
                    "aria-label": `Data table: ${kind.title}`,
                },
                "table",
            );
            toggle.addEventListener("click", () => {
                const open = table.element.hidden !== false;
                table.element.hidden = !open;
                chart.frame.classList.toggle("covered", open);
                toggle.setAttribute("aria-pressed", String(open));
                table.fill(shown.lines);
            });
            const head = h(
                "div",
                { class: "chart-head" },
                h("h3", {}, kind.title),
                toggle,
                h("p", { class: "unit" }, kind.unit),
            );
            chart.frame.append(table.element);
            figure.prepend(head, chart.frame);
            this.#shown.push(shown);
        }
        this.#slider.addEventListener("input", () => point(this.#slider.valueAsNumber, true));
        onPress("follow", () => {
            this.#pinned = null;
            point(null, false);
        });
    }

    /** Draws the data received so far. */
    draw() {
        const { runs, ready, cursor } = this.#state;
        if (runs.every((run) => run.reports.length === 0)) this.#pinned = this.#state.cursor = null;
        for (const shown of this.#shown) {
            shown.lines = shown.kind.lines(this.#state);
            shown.chart.draw(shown.lines, ready?.steps ?? 200, cursor);
            shown.table.fill(shown.lines);
        }
        this.#drawSlider();
    }

    /** Draws only the cursor. */
    drawCursor() {
        for (const { chart, lines } of this.#shown) chart.point(lines, this.#state.cursor);
        this.#drawSlider();
    }

    /** Describes every chart for screen readers; called at milestones. */
    describe() {
        for (const { kind, chart, lines } of this.#shown) {
            const values = lines.flatMap((line) =>
                line.y.length ? [`${line.label} ${kind.format(line.y[line.y.length - 1])}`] : [],
            );
            const text = values.length ? `at step ${this.#state.step}: ${values.join(", ")}` : "no values yet";
            chart.svg.setAttribute("aria-label", `Line chart, ${kind.about} over steps; ${text}`);
        }
    }

    /** A chart's latest values, in words. @param {string} id */
    says(id) {
        const shown = this.#shown.find(({ kind }) => kind.id === id);
        const values = (shown?.lines ?? []).flatMap(({ label, y }) =>
            y.length ? [`${label} ${shown?.kind.format(y[y.length - 1])}`] : [],
        );
        return values.length ? `${shown?.kind.title}, step ${this.#state.step}: ${values.join(", ")}` : "";
    }

    #drawSlider() {
        const { cursor, step, ready } = this.#state;
        const steps = String(ready?.steps ?? 200);
        if (this.#slider.max !== steps) this.#slider.max = steps;
        const value = cursor ?? step;
        if (this.#slider.valueAsNumber !== value) this.#slider.value = String(value);
        this.#slider.setAttribute(
            "aria-valuetext",
            cursor === null ? `step ${step}, following the latest` : `step ${cursor}`,
        );
        write(byId("cursor-step"), cursor === null ? `step ${step}` : `step ${cursor}`);
        enable(button("follow"), cursor !== null);
    }
}

/** The strips at the cursor, one a run. @param {State} state */
export const stripsAt = (state) => state.runs.map((run) => at(run.strips, state.cursor));
