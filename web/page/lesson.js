// The lesson of an experiment, placed beside what it says to look at, with the values there now.

import { byId, h, write } from "./dom.js";
import { presetOf } from "./presets.js";

/** @typedef {import("./url.js").Address} Address */

/** The charts in index.html's order; the experiment's own chart is moved to the front. */
const charts = [...byId("charts").querySelectorAll("figure")];

/**
 * @param {Address} address
 * @param {(chart: string) => string} now a chart's latest values, in words
 */
export function drawLesson({ preset }, now) {
    const lesson = presetOf(preset);
    const box = byId("lesson");
    box.hidden = !lesson;
    if (!lesson) return place("charts");
    place(lesson.target);
    write(byId("lesson-title"), lesson.title);
    write(byId("lesson-text"), lesson.text);
    write(byId("lesson-look"), lesson.look);
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
    if (!lesson) return;
    const chart = lesson.target.startsWith("chart-") ? lesson.target.slice(6) : "shift";
    write(byId("lesson-now"), now(chart));
}

/** @param {string} target */
function place(target) {
    const grid = byId("charts").querySelector(".grid");
    const first = charts.find((figure) => figure.id === target);
    const order = first ? [first, ...charts.filter((figure) => figure !== first)] : charts;
    if (grid && [...grid.children].some((figure, i) => figure !== order[i])) grid.append(...order);
    const box = byId("lesson");
    const section = byId(target).closest("section");
    if (section && section.previousElementSibling !== box) section.before(box);
}
