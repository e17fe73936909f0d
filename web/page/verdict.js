// What was seen, once the runs are done: three sentences, each with the uncertainty of so few problems.

import { fixed, percent } from "./format.js";
import { methodOf } from "./methods.js";
import { meanAccuracy } from "./state.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Score} Score */
/** @typedef {{ name: string, share: number, n: number }} Result a model's accuracy over so many problems */

/** Standard errors on either side that hold 95% of what chance does. */
const Z = 1.96;

/** @param {Pick<State, "phase" | "base" | "runs" | "step">} state @returns {string | null} null before the end */
export function verdictOf({ phase, base, runs, step }) {
    const last = runs.map((run) => run.evaluations.at(-1));
    if (phase !== "done" || !base || last.some((evaluation) => evaluation?.step !== step)) return null;
    const names = runs.map((run) => methodOf(run.view.method).label);
    const results = (/** @type {boolean} */ ood) =>
        last.map((evaluation, i) => resultOf(names[i], evaluation?.scores ?? [], ood)).sort((a, b) => b.share - a.share);
    const [start, startOut] = [false, true].map((ood) => resultOf("the base", base.scores, ood));
    const [inside, outside] = [results(false), results(true)];
    return [
        `After ${step} steps ${inside[0].name} answers ${percent(inside[0].share)}% of ${start.n} new problems right${inside
            .slice(1)
            .map((other) => `, ${shown(other)}`)
            .join("")}; before training it was ${percent(start.share)}% (each ±${margin(start.n)} points).`,
        inside.length > 1 ? compared(inside) : against(inside[0], start),
        `Of ${startOut.n} problems of kinds that are never trained on: ${outside.map(shown).join(", ")}, before ${percent(startOut.share)}% (±${margin(startOut.n)}); one seed proves nothing.`,
    ].join(" ");
}

/** @param {string} name @param {Score[]} scores @param {boolean} ood @returns {Result} */
function resultOf(name, scores, ood) {
    const n = scores.filter((score) => score.ood === ood).reduce((sum, score) => sum + score.n, 0);
    return { name, share: meanAccuracy(scores, ood) ?? 0, n };
}

/** @param {Result} result */
const shown = ({ name, share }) => `${name} ${percent(share)}%`;

/** At most this many points, to either side of a share of n problems. @param {number} n */
const margin = (n) => Math.round((100 * Z * 0.5) / Math.sqrt(n));

/** The same for the difference of two shares. @param {Result} a @param {Result} b */
const marginBetween = (a, b) =>
    Z * Math.sqrt((a.share * (1 - a.share)) / a.n + (b.share * (1 - b.share)) / b.n);

/** @param {Result} a @param {Result} b */
const gap = (a, b) => `${fixed(100 * (a.share - b.share), 1)} points (±${fixed(100 * marginBetween(a, b), 0)})`;

/** @param {string[]} names */
const both = (names) => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`);

/** The best method beside the others. @param {Result[]} results from the best */
function compared([best, ...others]) {
    const level = others.filter((other) => best.share - other.share <= marginBetween(best, other));
    const behind = others.filter((other) => !level.includes(other));
    const tie = level.length ? `${both([best.name, ...level.map(({ name }) => name)])} are level, within what chance explains` : "";
    const lead = behind.map((other) => `${other.name} is behind ${best.name} by ${gap(best, other)}`);
    const more = behind.length > 1 ? "more than chance explains" : "which is more than chance explains";
    return `${[tie, both(lead) && `${both(lead)}, ${more}`].filter(Boolean).join("; ")}.`;
}

/** @param {Result} result @param {Result} start */
function against(result, start) {
    const isMore = result.share - start.share > marginBetween(result, start);
    return `${result.name} has moved by ${gap(result, start)}, ${isMore ? "more than" : "within what"} chance explains.`;
}
