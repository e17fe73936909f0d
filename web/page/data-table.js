// A chart's values as a table, the latest step on top; filled only while it is open.

import { h } from "./dom.js";
import { indexAt } from "./scale.js";

/** @typedef {import("./chart.js").Line} Line */
/** @typedef {import("./chart.js").Look} Look */

export class DataTable {
    #look;
    #columns = "";
    #head = h("thead");
    #body = h("tbody");
    /**
     * The rows so far, and whether each has a value for every line.
     * @type {Map<number, { row: HTMLElement, whole: boolean }>}
     */
    #rows = new Map();

    /** @param {Look} look */
    constructor(look) {
        this.#look = look;
        const caption = h("caption", { class: "hidden" }, `${look.title}, ${look.unit}`);
        this.element = h(
            "div",
            {
                class: "table-view",
                tabindex: 0,
                role: "region",
                "aria-label": `${look.title}: data table`,
                hidden: true,
            },
            h("table", {}, caption, this.#head, this.#body),
        );
    }

    /** @param {Line[]} lines */
    fill(lines) {
        if (this.element.hidden) return;
        const columns = lines.map((line) => line.label).join();
        const steps = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => b - a);
        if (columns !== this.#columns || steps.length < this.#rows.size) {
            this.#columns = columns;
            this.#rows.clear();
            this.#body.replaceChildren();
            this.#head.replaceChildren(
                h(
                    "tr",
                    {},
                    h("th", { scope: "col" }, "step"),
                    ...lines.map((line) => h("th", { scope: "col" }, line.label)),
                ),
            );
        }
        let above = null;
        for (const step of steps) {
            const old = this.#rows.get(step);
            if (old?.whole) break;
            const cells = lines.map(({ x, y, raw }) => {
                const i = indexAt(x, step);
                return i >= 0 && x[i] === step ? this.#look.format((raw ?? y)[i]) : "";
            });
            const row = h("tr", {}, h("th", { scope: "row" }, String(step)), ...cells.map((text) => h("td", {}, text)));
            if (old) old.row.replaceWith(row);
            else if (above) above.after(row);
            else this.#body.prepend(row);
            this.#rows.set(step, { row, whole: cells.every((text) => text !== "") });
            above = row;
        }
    }
}
