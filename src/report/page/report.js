// What the report does with scripts: one cursor that links the charts, tables of their data, a slider over
// the sampled steps. Without scripts, all charts and texts can still be read.

/**
 * @typedef {object} Series
 * @property {number[]} x steps
 * @property {number[]} y values
 * @property {SVGGElement} group
 * @property {SVGElement} dot
 * @property {SVGElement | null} value at the line's end
 * @property {string} atRest its text without a cursor
 */

/** A chart: its drawing's scales, its values, its cursor. */
class Chart {
    /** @param {HTMLElement} figure @param {(step: number | null, pinned: boolean) => void} point */
    constructor(figure, point) {
        const numbers = (/** @type {string} */ name) => (figure.dataset[name] ?? "").split(" ").map(Number);
        const [left, right, top, bottom] = numbers("plot");
        const [low, high] = numbers("range");
        this.scale = { left, right, top, bottom, low, high, last: numbers("last")[0] };
        this.digits = numbers("digits")[0];
        this.svg = /** @type {SVGSVGElement} */ (figure.querySelector("svg"));
        this.rule = /** @type {SVGElement} */ (figure.querySelector(".rule"));
        this.link = /** @type {HTMLAnchorElement} */ (figure.querySelector("a[download]"));
        const rows = this.rows();
        this.series = [...figure.querySelectorAll("g.series")].map((group) =>
            this.#read(/** @type {SVGGElement} */ (group), rows),
        );
        this.#name();
        this.svg.addEventListener("pointermove", (event) => point(this.#stepAt(event), false));
        this.svg.addEventListener("pointerleave", () => point(null, false));
        this.svg.addEventListener("click", (event) => point(this.#stepAt(event), true));
        const data = /** @type {HTMLDetailsElement} */ (figure.querySelector("details.data"));
        data.addEventListener("toggle", () => fill(data, this.rows()), { once: true });
    }

    /** The file behind the chart, line by line; names may contain separators. */
    rows() {
        const text = decodeURIComponent(this.link.href.slice(this.link.href.indexOf(",") + 1));
        const [, ...rows] = text.trimEnd().split("\n").map((line) => line.split(","));
        return { head: fields(text), rows };
    }

    /** Turns the title into a label: a tooltip would get in the cursor's way. */
    #name() {
        const title = this.svg.querySelector("title");
        this.svg.removeAttribute("aria-labelledby");
        this.svg.setAttribute("aria-label", title?.textContent ?? "");
        title?.remove();
    }

    /** @param {SVGGElement} group @param {{ rows: string[][] }} data @returns {Series} */
    #read(group, { rows }) {
        const column = Number(group.dataset.column);
        const own = rows.filter((row) => row[column]);
        const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
        for (const [name, value] of Object.entries({ class: "dot", r: "3.4", visibility: "hidden" })) {
            dot.setAttribute(name, value);
        }
        group.append(dot);
        const value = /** @type {SVGElement | null} */ (group.querySelector(".value"));
        const x = own.map((row) => Number(row[0]));
        const y = own.map((row) => Number(row[column]));
        return { x, y, group, dot, value, atRest: value?.textContent ?? "" };
    }

    /** @param {MouseEvent} event */
    #stepAt(event) {
        const box = this.svg.getBoundingClientRect();
        const x = ((event.clientX - box.left) / box.width) * this.svg.viewBox.baseVal.width;
        const { left, right, last } = this.scale;
        return Math.round(Math.min(1, Math.max(0, (x - left) / (right - left))) * last);
    }

    /** Marks a step: a rule, and at each line the value there, the last one before it if need be. @param {number | null} step */
    point(step) {
        const hidden = step === null ? "hidden" : "visible";
        this.rule.setAttribute("visibility", hidden);
        if (step !== null) for (const end of ["x1", "x2"]) this.rule.setAttribute(end, String(this.#x(step)));
        for (const { x, y, dot, value, atRest } of this.series) {
            const i = step === null ? -1 : x.findLastIndex((at) => at <= step);
            dot.setAttribute("visibility", i < 0 ? "hidden" : "visible");
            if (value) value.textContent = step === null ? atRest : i < 0 ? "–" : fixed(y[i], this.digits);
            if (i < 0) continue;
            dot.setAttribute("cx", String(this.#x(x[i])));
            dot.setAttribute("cy", String(this.#y(y[i])));
        }
    }

    /** @param {number} step */
    #x(step) {
        const { left, right, last } = this.scale;
        return left + (step / last) * (right - left);
    }

    /** @param {number} value */
    #y(value) {
        const { top, bottom, low, high } = this.scale;
        return bottom + Math.min(1, Math.max(0, (value - low) / (high - low))) * (top - bottom);
    }
}

/** The first record of a CSV file. @param {string} text */
function fields(text) {
    const names = [];
    const field = /(?:"((?:[^"]|"")*)"|([^,\n]*))(,|\n)/y;
    for (let match = field.exec(text); match; match = field.exec(text)) {
        names.push((match[1] ?? match[2]).replace(/""/g, '"'));
        if (match[3] === "\n") break;
    }
    return names;
}

/** Fixed decimals, with a true minus. @param {number} x @param {number} digits */
function fixed(x, digits) {
    const text = x.toFixed(digits);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** @param {string} tag @param {string} text @param {Record<string, string>} attributes */
function element(tag, text, attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
}

/** Writes the table of a chart's data, the last step on top. @param {HTMLElement} data @param {{ head: string[], rows: string[][] }} file */
function fill(data, { head, rows }) {
    const table = document.createElement("table");
    const top = table.createTHead().insertRow();
    top.append(...head.map((name) => element("th", name, { scope: "col" })));
    const body = table.createTBody();
    for (const [step, ...values] of rows.reverse()) {
        const row = body.insertRow();
        row.append(element("th", step, { scope: "row" }), ...values.map((value) => element("td", value)));
    }
    data.querySelector(".table-view")?.replaceChildren(table);
}

/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement | null} */ (document.getElementById(id));

/** @param {string} id @param {string} text */
const say = (id, text) => document.getElementById(id)?.replaceChildren(text);

/** The step under the pointer, or else the one that was clicked or reached by the slider. @type {number | null} */
let pinned = null;

const slider = input("cursor");
const follow = /** @type {HTMLButtonElement | null} */ (document.getElementById("follow"));

/** @param {number | null} step */
function draw(step) {
    for (const chart of charts) chart.point(step);
    if (!slider || !follow) return;
    slider.value = step === null ? slider.max : String(step);
    const text = step === null ? "last step" : `step ${step}`;
    slider.setAttribute("aria-valuetext", text);
    say("cursor-step", text);
    follow.disabled = pinned === null;
    document.documentElement.dataset.step = step === null ? "" : String(step);
}

/** @param {number | null} step @param {boolean} pin */
function point(step, pin) {
    if (pin) pinned = step;
    draw(step ?? pinned);
}

const charts = [...document.querySelectorAll("figure.chart")].map(
    (figure) => new Chart(/** @type {HTMLElement} */ (figure), point),
);
slider?.addEventListener("input", () => point(slider.valueAsNumber, true));
follow?.addEventListener("click", () => point(null, true));

const sampled = input("sampled");
const steps = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".sampled")]);

function showSampled() {
    const chosen = sampled?.valueAsNumber ?? 0;
    steps.forEach((step, i) => (step.hidden = i !== chosen));
    const text = `step ${steps[chosen].dataset.step}`;
    sampled?.setAttribute("aria-valuetext", text);
    say("sampled-step", text);
}

sampled?.addEventListener("input", () => {
    showSampled();
    point(Number(steps[sampled.valueAsNumber].dataset.step), true);
});
if (sampled) showSampled();
draw(null);
document.querySelectorAll(".needs-script").forEach((part) => part.removeAttribute("hidden"));
