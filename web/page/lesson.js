// The lesson of an experiment, placed beside what it says to look at, with the values there now.

import { byId, write } from "./dom.js";
import { presetOf } from "./presets.js";

/** @typedef {import("./url.js").Address} Address */

const why = /** @type {HTMLDetailsElement} */ (byId("why"));
/** The charts under “Why” in index.html's order; the experiment's own chart is moved to the front. */
const charts = [...why.querySelectorAll("figure")];
/** The experiment whose chart was last unfolded: what the visitor folds up afterwards stays so. @type {string | undefined} */
let shown;

/**
 * @param {Address} address
 * @param {(chart: string) => string} now a chart's latest values, in words
 */
export function drawLesson({ preset }, now) {
    const lesson = presetOf(preset);
    byId("lesson").hidden = !lesson;
    // Who has chosen nothing yet reads the first lines; see style.css.
    byId("lesson").classList.toggle("brief", location.hash === "");
    place(lesson?.target ?? "");
    if (shown !== preset && why.querySelector(`#${lesson?.target}`)) why.open = true;
    shown = preset;
    if (!lesson) return;
    write(byId("lesson-title"), lesson.title);
    write(byId("lesson-text"), lesson.text);
    write(byId("lesson-look"), lesson.look);
    write(byId("lesson-measured"), lesson.measured ?? "");
    byId("lesson-notebook").setAttribute("href", `notebooks/${lesson.notebook}.ipynb`);
    drawNow({ preset }, now);
}

/**
 * Shows the values that the lesson is about, so that the reader sees whether its claim holds.
 * @param {Pick<Address, "preset">} address
 * @param {(chart: string) => string} now
 */
export function drawNow({ preset }, now) {
    const lesson = presetOf(preset);
    if (lesson) write(byId("lesson-now"), now(lesson.target.replace("chart-", "")));
}

/** @param {string} target */
function place(target) {
    const grid = /** @type {Element} */ (why.querySelector(".grid"));
    const first = charts.find((figure) => figure.id === target);
    const order = first ? [first, ...charts.filter((figure) => figure !== first)] : charts;
    if ([...grid.children].some((figure, i) => figure !== order[i])) grid.append(...order);
    const box = byId("lesson");
    const part = first ? why : byId("continued");
    if (part.previousElementSibling !== box) part.before(box);
}
