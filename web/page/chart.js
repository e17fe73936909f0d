// One line chart in SVG: axes, lines with marks and a label at their end, a cursor; styled by CSS.
// Paths and marks are updated in place, not made anew.

import { h, s } from "./dom.js";
import { methodOf, OUTLINES } from "./methods.js";
import { covering, indexAt, ticks } from "./scale.js";

/**
 * @typedef {object} Line
 * @property {string} key unique in its chart
 * @property {string} method whose colour, dash and marks it has
 * @property {string} label shown at its end
 * @property {boolean} [second] the second line of a method: dashed, hollow marks
 * @property {number[]} x steps
 * @property {number[]} y
 * @property {number[]} [raw] drawn thin behind the line, if y is an average
 */

/**
 * @typedef {object} Look
 * @property {string} id
 * @property {string} title
 * @property {string} unit
 * @property {string} about what it shows, for screen readers
 * @property {[number, number]} range at least this much of the y axis
 * @property {boolean} [fixed] never more than the range
 * @property {number} every a mark on every so-many-th point; 1: on each
 * @property {(y: number) => string} format a value
 * @property {(y: number) => string} [tick] a value on the axis
 */

/** The browser's font size beside the usual one: what the reader has chosen. */
const UNIT = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16 || 1;
const MARGIN = { top: 10 * UNIT, right: 92 * UNIT, bottom: 20 * UNIT, left: 38 * UNIT };
/** Width of a label's character, px. */
const CHARACTER_WIDTH = 6.4 * UNIT;
const LABEL_HEIGHT = 14 * UNIT;

export class Chart {
    #look;
    #width = 320;
    #height = 170;
    #range = [0, 1];
    #steps = 1;
    /** Room for the labels, px. */
    #right = MARGIN.right;
    /** What the axes were last drawn for. */
    #drawn = "";
    /** @type {Map<string, Drawn>} */
    #lines = new Map();
    #axes = s("g", { class: "axes" });
    #plots = s("g", { class: "plots" });
    #rule = s("line", { class: "rule", visibility: "hidden" });
    #labels = s("g", { class: "labels" });

    /**
     * @param {Look} look
     * @param {(step: number | null, pinned: boolean) => void} point called when the visitor points at a step
     * @param {() => void} resized
     */
    constructor(look, point, resized) {
        this.#look = look;
        this.svg = s(
            "svg",
            { role: "img", "aria-label": look.about },
            this.#axes,
            this.#rule,
            this.#plots,
            this.#labels,
        );
        this.frame = h("div", { class: "plot" });
        this.frame.append(this.svg);
        const step = (/** @type {PointerEvent} */ event) => {
            const x = event.clientX - this.svg.getBoundingClientRect().left;
            return Math.round(Math.min(1, Math.max(0, (x - MARGIN.left) / this.#plotWidth)) * this.#steps);
        };
        this.svg.addEventListener("pointermove", (event) => point(step(event), false));
        this.svg.addEventListener("pointerleave", () => point(null, false));
        this.svg.addEventListener("click", (event) => point(step(/** @type {PointerEvent} */ (event)), true));
        new ResizeObserver(([entry]) => {
            const { width, height } = entry.contentRect;
            if (width === 0 || (width === this.#width && height === this.#height)) return;
            [this.#width, this.#height] = [width, height];
            resized();
        }).observe(this.frame);
    }

    get #plotWidth() {
        return Math.max(1, this.#width - MARGIN.left - this.#right);
    }

    get #plotHeight() {
        return Math.max(1, this.#height - MARGIN.top - MARGIN.bottom);
    }

    /** @param {number} step */
    #x(step) {
        return round(MARGIN.left + (step / this.#steps) * this.#plotWidth);
    }

    /** @param {number} value */
    #y(value) {
        const [low, high] = this.#range;
        const share = Math.min(1, Math.max(0, (value - low) / (high - low)));
        return round(MARGIN.top + (1 - share) * this.#plotHeight);
    }

    /**
     * @param {Line[]} lines
     * @param {number} steps right end of the x axis
     * @param {number | null} cursor
     */
    draw(lines, steps, cursor) {
        this.#steps = Math.max(1, steps);
        this.#range = this.#look.fixed ? this.#look.range : covering(this.#look.range, lines);
        const longest = Math.max(
            0,
            ...lines.map((line) => line.label.length + this.#look.format(line.y[0] ?? 0).length + 1),
        );
        this.#right = Math.max(MARGIN.right, longest * CHARACTER_WIDTH + 12);
        this.#drawAxes();
        const keys = new Set(lines.map((line) => line.key));
        for (const [key, drawn] of this.#lines) if (!keys.has(key)) this.#drop(key, drawn);
        for (const line of lines) this.#drawLine(line);
        this.point(lines, cursor);
    }

    /**
     * Moves the cursor and writes each line's value at the cursor to the label at its end.
     * @param {Line[]} lines
     * @param {number | null} cursor
     */
    point(lines, cursor) {
        this.#rule.setAttribute("visibility", cursor === null ? "hidden" : "visible");
        if (cursor !== null) {
            const x = this.#x(cursor);
            setAll(this.#rule, { x1: x, x2: x, y1: MARGIN.top, y2: MARGIN.top + this.#plotHeight });
        }
        const shown = [];
        for (const line of lines) {
            const drawn = this.#lines.get(line.key);
            const index = indexAt(line.x, cursor);
            if (!drawn) continue;
            drawn.label.setAttribute("visibility", index < 0 ? "hidden" : "visible");
            drawn.dot.setAttribute("visibility", index < 0 || cursor === null ? "hidden" : "visible");
            if (index < 0) continue;
            const y = this.#y(line.y[index]);
            drawn.dot.setAttribute("transform", `translate(${this.#x(line.x[index])} ${y})`);
            drawn.value.textContent = ` ${this.#look.format(line.y[index])}`;
            const last = line.x.length - 1;
            shown.push({ drawn, x: this.#x(line.x[last]) + 9, y: this.#y(line.y[last]) });
        }
        this.#placeLabels(shown);
    }

    /**
     * Places labels at the ends of their lines, in the lines' order, and keeps them from overlapping.
     * @param {{ drawn: Drawn, x: number, y: number }[]} shown
     */
    #placeLabels(shown) {
        shown.sort((a, b) => a.y - b.y);
        const low = MARGIN.top + this.#plotHeight - 3;
        const places = shown.map((entry) => entry.y + 4);
        for (let i = 1; i < places.length; i++) places[i] = Math.max(places[i], places[i - 1] + LABEL_HEIGHT);
        let limit = low;
        for (let i = places.length - 1; i >= 0; i--) {
            places[i] = Math.min(places[i], limit);
            limit = places[i] - LABEL_HEIGHT;
        }
        shown.forEach(({ drawn, x }, i) => setAll(drawn.label, { x, y: round(places[i]) }));
    }

    #drawAxes() {
        const key = [this.#width, this.#height, this.#right, this.#steps, ...this.#range].join();
        if (key === this.#drawn) return;
        this.#drawn = key;
        const right = MARGIN.left + this.#plotWidth;
        const bottom = MARGIN.top + this.#plotHeight;
        setAll(this.svg, { viewBox: `0 0 ${this.#width} ${this.#height}`, width: this.#width, height: this.#height });
        const tick = this.#look.tick ?? this.#look.format;
        const rows = ticks(this.#range[0], this.#range[1], this.#plotHeight / (34 * UNIT)).map((value) => {
            const y = this.#y(value);
            return s(
                "g",
                { class: value === 0 ? "tick zero" : "tick" },
                s("line", { x1: MARGIN.left, x2: right, y1: y, y2: y }),
                s("text", { x: MARGIN.left - 6, y: y + 3.5 * UNIT, "text-anchor": "end" }, tick(value)),
            );
        });
        const columns = ticks(0, this.#steps, this.#plotWidth / (60 * UNIT)).map((step) =>
            s(
                "g",
                { class: "tick step" },
                s("line", { x1: this.#x(step), x2: this.#x(step), y1: bottom, y2: bottom + 3 }),
                s("text", { x: this.#x(step), y: bottom + 15 * UNIT, "text-anchor": "middle" }, String(step)),
            ),
        );
        const word = s("text", { class: "axis-word", x: right + 18 * UNIT, y: bottom + 15 * UNIT }, "step");
        this.#axes.replaceChildren(...rows, ...columns, word);
    }

    /** @param {Line} line */
    #drawLine(line) {
        const drawn = this.#lines.get(line.key) ?? this.#make(line);
        const scale = `${this.#drawn}|`;
        const state = `${scale}${line.x.length}|${line.x.at(-1)}`;
        if (drawn.state === state) return;
        const moved = !drawn.state.startsWith(scale);
        drawn.state = state;
        drawn.path.setAttribute("d", this.#trace(line.x, line.y));
        if (drawn.raw && line.raw) drawn.raw.setAttribute("d", this.#trace(line.x, line.raw));
        drawn.group.setAttribute("data-points", String(line.x.length));
        this.#drawMarks(drawn, line, moved);
    }

    /** @param {Drawn} drawn @param {Line} line @param {boolean} moved */
    #drawMarks(drawn, line, moved) {
        const { every } = this.#look;
        const outline = OUTLINES[methodOf(line.method).shape];
        let n = 0;
        for (let i = 0; i < line.x.length; i++) {
            if (every > 1 && line.x[i] % every !== 0) continue;
            const place = `translate(${this.#x(line.x[i])} ${this.#y(line.y[i])})`;
            const mark = drawn.marks.children[n++];
            if (!mark) drawn.marks.append(s("path", { class: "mark", d: outline, transform: place }));
            else if (moved) mark.setAttribute("transform", place);
        }
        while (drawn.marks.children.length > n) drawn.marks.lastElementChild?.remove();
    }

    /** @param {Line} line @returns {Drawn} */
    #make(line) {
        const { dash, shape } = methodOf(line.method);
        const path = s("path", { class: "line", "stroke-dasharray": line.second ? "4 3" : dash });
        const raw = line.raw ? s("path", { class: "raw" }) : null;
        const marks = s("g", { class: "marks" });
        const dot = s("path", { class: "dot", d: OUTLINES[shape], visibility: "hidden" });
        const value = s("tspan", { class: "value" });
        const label = s(
            "text",
            { class: `end method-${line.method}`, visibility: "hidden" },
            s("tspan", { class: "name" }, line.label),
            value,
        );
        const group = s("g", {
            class: `series method-${line.method}${line.second ? " second" : ""}`,
            "data-series": line.key,
        });
        group.append(...(raw ? [raw] : []), path, marks, dot);
        this.#plots.append(group);
        this.#labels.append(label);
        const drawn = { group, path, raw, marks, dot, label, value, state: "" };
        this.#lines.set(line.key, drawn);
        return drawn;
    }

    /** @param {string} key @param {Drawn} drawn */
    #drop(key, drawn) {
        drawn.group.remove();
        drawn.label.remove();
        this.#lines.delete(key);
    }

    /**
     * A path through points, interrupted where a value is missing (NaN).
     * @param {number[]} x
     * @param {number[]} y
     */
    #trace(x, y) {
        let d = "";
        let pen = "M";
        for (let i = 0; i < x.length; i++) {
            if (Number.isFinite(y[i])) d += `${pen}${this.#x(x[i])} ${this.#y(y[i])}`;
            pen = Number.isFinite(y[i]) ? "L" : "M";
        }
        return d;
    }
}

/**
 * @typedef {{ group: SVGGElement, path: SVGPathElement, raw: SVGPathElement | null, marks: SVGGElement,
 *   dot: SVGPathElement, label: SVGTextElement, value: SVGTSpanElement, state: string }} Drawn
 */

/** Rounds to tenths of a pixel, for shorter paths; the eye sees no difference. @param {number} x */
const round = (x) => Math.round(10 * x) / 10;

/** @param {Element} element @param {Record<string, string | number>} attributes */
function setAll(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
}
