// What came from the trainer, and nothing else. All parts of the page read this one place.

/**
 * @typedef {Exclude<import("../package/protocol.js").Event, { type: "error" }>} TrainerEvent
 * @typedef {import("../package/protocol.js").Ready} Ready
 * @typedef {import("../package/protocol.js").RunView} RunView
 * @typedef {import("../package/protocol.js").StepReport} StepReport
 * @typedef {import("../package/protocol.js").Score} Score
 * @typedef {import("../package/protocol.js").TokenScores} TokenScores
 * @typedef {import("../package/protocol.js").GroupView} GroupView
 */

/** @typedef {{ step: number, scores: Score[] }} Evaluation */
/** @typedef {{ step: number, shift: number, probes: TokenScores[] }} Strip */
/**
 * `fresh` once the run has done a step in this page, not only in the file it came from: only then can its
 * last step be inspected.
 * @typedef {{ view: RunView, reports: StepReport[], evaluations: Evaluation[], strips: Strip[], fresh: boolean }} Run
 */
/** @typedef {"loading" | "ready" | "playing" | "paused" | "done" | "error"} Phase */
/**
 * @typedef {"status" | "charts" | "strip" | "group" | "scores" | "answers" | "example" | "controls"} Part a part of the page to draw
 */
/**
 * What only the page knows, stored beside the checkpoint so that a reload keeps it.
 * @typedef {{ strips: Strip[][] }} Keepsake
 */

export class State {
    constructor() {
        /** @type {Phase} */
        this.phase = "loading";
        /** @type {Ready | null} */
        this.ready = null;
        /** @type {Run[]} */
        this.runs = [];
        /** Steps that every run has done. */
        this.step = 0;
        /** The step that the visitor points at; null: the latest. @type {number | null} */
        this.cursor = null;
        /** The base's evaluation before the first step. @type {Evaluation | null} */
        this.base = null;
        /**
         * The latest evaluation of the base (−1) and each run, requested or due.
         * @type {Map<number, Evaluation>}
         */
        this.latest = new Map();
        /** @type {GroupView | null} */
        this.group = null;
        /** Progress of a requested evaluation. @type {{ done: number, of: number } | null} */
        this.evaluating = null;
        /** Whether a pause was requested and has not yet happened. */
        this.pausing = false;
        /** When each of the last steps of all runs ended, ms. @type {number[]} */
        this.times = [];
    }

    /**
     * Takes in an event and returns the parts to draw again.
     * @param {TrainerEvent} event
     * @param {number} now ms
     * @returns {Part[]}
     */
    receive(event, now) {
        if (event.type === "ready") return this.#begin(event);
        // Events that runs from before a restart still send are ignored.
        if (this.phase === "loading") return [];
        switch (event.type) {
            case "state":
                return this.#turn(event.state, event.step);
            case "step":
                return this.#stepped(event.run, event.report, now);
            case "strip":
                this.runs[event.run]?.strips.push(event);
                return ["strip", "charts", "example"];
            case "evaluation":
                return this.#evaluated(event);
            case "evaluating":
                this.evaluating = event;
                return ["scores", "status"];
            case "group":
                this.group = event;
                return ["group"];
            default:
                return [];
        }
    }

    /** Steps a second over the last few steps; a step of all runs counts as one. */
    get speed() {
        const recent = this.times.slice(-8);
        const seconds = (recent[recent.length - 1] - recent[0]) / 1000;
        return recent.length > 1 && seconds > 0 ? (recent.length - 1) / seconds : null;
    }

    /** @param {Ready & { type: "ready" }} ready @returns {Part[]} */
    #begin(ready) {
        Object.assign(this, new State(), { ready, phase: "ready", step: ready.step });
        this.runs = ready.runs.map((view) => ({
            view,
            reports: [...view.reports],
            evaluations: [...view.evaluations],
            strips: [],
            fresh: false,
        }));
        const base = this.runs[0]?.evaluations.find(({ step }) => step === 0);
        if (base) this.#isBase(base);
        return ["status", "charts", "strip", "group", "scores", "answers", "example", "controls"];
    }

    /** The runs share their base's evaluation. @param {Evaluation} base */
    #isBase(base) {
        this.base = base;
        this.latest.set(-1, base);
    }

    /** @returns {Keepsake} */
    get keepsake() {
        return { strips: this.runs.map((run) => run.strips) };
    }

    /**
     * Restores what was stored of these runs; what has come in since stays.
     * @param {Partial<Keepsake> | undefined} kept
     * @param {GroupView | null} group the group that was shown
     * @returns {Part[]}
     */
    restore(kept, group) {
        this.runs.forEach((run, i) => {
            const from = run.strips[0]?.step ?? Infinity;
            const last = run.reports.at(-1)?.step ?? 0;
            const before = kept?.strips?.[i]?.filter(({ step }) => step < from && step <= last) ?? [];
            run.strips = [...before, ...run.strips];
        });
        if (group && group.step === this.runs[group.run]?.reports.at(-1)?.step) this.group ??= group;
        return ["charts", "strip", "group"];
    }

    /** @param {"playing" | "paused" | "done" | "stopped"} state @param {number} step @returns {Part[]} */
    #turn(state, step) {
        this.phase = state === "stopped" ? "ready" : state;
        this.step = step;
        this.pausing = false;
        // A pause must not count as a step's time.
        if (state !== "playing") this.times = [];
        return ["status", "group"];
    }

    /** @param {number} index @param {StepReport} report @param {number} now @returns {Part[]} */
    #stepped(index, report, now) {
        const run = this.runs[index];
        if (!run) return [];
        run.reports.push(report);
        run.fresh = true;
        return ["charts", "status", ...this.#count(now)];
    }

    /** @param {number} now @returns {Part[]} */
    #count(now) {
        const done = Math.min(...this.runs.map((run) => run.reports.at(-1)?.step ?? 0));
        if (done <= this.step) return [];
        this.step = done;
        this.times.push(now);
        return ["group"];
    }

    /** @param {{ run: number | null, step: number, scores: Score[], asked: boolean }} event @returns {Part[]} */
    #evaluated({ run, step, scores, asked }) {
        // Suites may be evaluated one after the other: scores of the same step are kept together.
        const before = this.latest.get(run ?? -1);
        const others =
            before?.step === step
                ? before.scores.filter((old) => scores.every((score) => score.suite !== old.suite))
                : [];
        this.latest.set(run ?? -1, { step, scores: [...others, ...scores] });
        if (asked) return ["scores"];
        if (run === null) this.base = { step, scores };
        else this.runs[run]?.evaluations.push({ step, scores });
        return ["scores", "charts"];
    }
}

/**
 * Mean accuracy over the suites in or out of distribution, 0 to 1; null if there are no such suites.
 * @param {Score[]} scores
 * @param {boolean} ood
 * @returns {number | null}
 */
export function meanAccuracy(scores, ood) {
    const chosen = scores.filter((score) => score.ood === ood);
    return chosen.length ? chosen.reduce((sum, score) => sum + score.accuracy, 0) / chosen.length : null;
}

/**
 * The last entry at or before a step (null: the very last); entries are in the order of steps.
 * @template {{ step: number }} T
 * @param {T[]} entries
 * @param {number | null} step
 * @returns {T | undefined}
 */
export function at(entries, step) {
    if (step === null) return entries.at(-1);
    let low = 0;
    let high = entries.length;
    while (low < high) {
        const middle = (low + high) >> 1;
        if (entries[middle].step <= step) low = middle + 1;
        else high = middle;
    }
    return entries[low - 1];
}
