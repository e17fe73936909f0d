// The settings as controls: presets, methods, numbers, switches. A change is a draft until Restart.

import { byId, h, s, select, write } from "./dom.js";
import { addSecondGpu, offerSecondGpu } from "./gpus.js";
import { METHODS, OUTLINES, SHOWN } from "./methods.js";
import { PRESETS, presetOf } from "./presets.js";
import { DEVICES, SECOND_GPU, SETTINGS, objection } from "./settings.js";
import { resolved } from "./start.js";
import { effective, methodsOf } from "./url.js";

/** @typedef {import("./settings.js").Setting} Setting */
/** @typedef {import("./settings.js").Choices} Choices */
/** @typedef {import("./start.js").Ready} Ready */
/** @typedef {import("./url.js").Address} Address */
/** @typedef {{ setting: Setting, field: HTMLInputElement | HTMLSelectElement, output: HTMLElement | null, item: HTMLElement, wrong: HTMLElement }} Control */

/** Settings of the run as a whole, not of what it learns. */
const PLAIN = ["n", "seed"];

export class Controls {
    /** @type {Control[]} */
    #controls = [];
    /** Defaults, for what is not chosen; some depend on the device. @type {Choices} */
    #usual = { m: SHOWN.join(), dev: "auto", ew: "exp" };
    /** @type {Address} */
    #address = { preset: undefined, own: {} };
    #changed;

    /** @param {(address: Address) => void} changed called when the visitor has chosen something */
    constructor(changed) {
        this.#changed = changed;
        byId("presets").append(
            ...PRESETS.map(({ id, title, says }) =>
                h("li", {}, h("a", { href: `#preset=${id}` }, h("b", {}, title), h("span", {}, says))),
            ),
        );
        byId("methods").append(
            ...METHODS.map((method) => {
                const box = h("input", {
                    type: "checkbox",
                    name: "method",
                    value: method.id,
                    id: `method-${method.id}`,
                });
                box.addEventListener("change", () => this.#chooseMethods());
                return h(
                    "label",
                    { class: `method method-${method.id}`, for: box.id },
                    box,
                    h("span", { class: "who" }, method.name),
                    swatch(method),
                    h("span", { class: "quiet" }, method.says),
                );
            }),
        );
        for (const setting of SETTINGS) {
            const control = make(setting);
            this.#controls.push(control);
            control.field.addEventListener("input", () => this.#tell(control));
            control.field.addEventListener("change", () => this.#take(control));
            const place =
                setting.scope === "srft"
                    ? "switches"
                    : PLAIN.includes(setting.key)
                      ? "run-settings"
                      : "training-settings";
            byId(place).append(control.item);
        }
        select("device").append(...DEVICES.map(([value, text]) => h("option", { value }, text)));
        offerSecondGpu();
        select("device").addEventListener("change", () => this.#choose("dev", select("device").value));
        for (const value of ["exp", "one"])
            byId(`weights-${value}`).addEventListener("change", () => this.#choose("ew", value));
    }

    /**
     * Remembers the values that the device's preset gives to settings that were not chosen.
     * @param {Ready} ready
     * @param {Choices} chosen
     */
    learn(ready, chosen) {
        for (const setting of SETTINGS) {
            const value = resolved(ready, setting);
            if (value !== undefined && chosen[setting.key] === undefined) this.#usual[setting.key] = value;
        }
    }

    /**
     * The address of runs that came from a file: their settings that differ from the defaults.
     * @param {Ready} ready
     * @returns {Address}
     */
    addressOf(ready) {
        /** @type {Choices} */
        const own = {};
        const methods = ready.runs.map((run) => run.method).join();
        if (methods !== this.#usual.m) own.m = methods;
        for (const setting of SETTINGS) {
            const value = resolved(ready, setting);
            if (value !== undefined && value !== (this.#usual[setting.key] ?? setting.initial))
                own[setting.key] = value;
        }
        const srft = ready.runs.find((run) => run.method === "srft");
        if (srft?.settings["objective.entropy_weights"] === false) own.ew = "one";
        const { dev } = effective(this.#address); // where it computes is the page's choice, not the file's
        if (dev && dev !== "auto") own.dev = dev;
        return { preset: undefined, own };
    }

    /** @param {Address} address */
    draw(address) {
        this.#address = address;
        const choices = effective(address);
        for (const control of this.#controls) {
            const { field, setting } = control;
            const value = choices[setting.key] ?? this.#usual[setting.key] ?? setting.initial;
            if (field instanceof HTMLSelectElement && ![...field.options].some((o) => o.value === value)) {
                field.append(h("option", { value }, value));
            }
            const isTyped = document.activeElement === field || !control.wrong.hidden;
            if (!isTyped || field instanceof HTMLSelectElement) field.value = value;
            control.item.classList.toggle("chosen", choices[setting.key] !== undefined);
            this.#tell(control);
        }
        const methods = methodsOf(choices);
        for (const box of this.#boxes()) {
            box.checked = methods.includes(box.value);
            // At least one method must stay chosen.
            box.disabled = methods.length === 1 && box.checked;
        }
        if (choices.dev === SECOND_GPU[0]) addSecondGpu();
        select("device").value = choices.dev ?? "auto";
        /** @type {HTMLInputElement} */ (byId(`weights-${choices.ew ?? "exp"}`)).checked = true;
        for (const link of byId("presets").querySelectorAll("a")) {
            if (link.hash === `#preset=${address.preset}`) link.setAttribute("aria-current", "true");
            else link.removeAttribute("aria-current");
        }
    }

    #boxes() {
        return /** @type {NodeListOf<HTMLInputElement>} */ (byId("methods").querySelectorAll("input"));
    }

    #chooseMethods() {
        this.#choose(
            "m",
            [...this.#boxes()]
                .filter((box) => box.checked)
                .map((box) => box.value)
                .join(),
        );
    }

    /** Takes a valid value; for any other the reason is shown beside the field. @param {Control} control */
    #take({ setting, field, wrong }) {
        const why = objection(setting, field.value);
        wrong.hidden = why === null;
        write(wrong, why ?? "");
        field.setAttribute("aria-invalid", String(why !== null));
        if (why === null) this.#choose(setting.key, field.value);
    }

    /** @param {string} key @param {string} value */
    #choose(key, value) {
        const { preset, own: before } = this.#address;
        const { [key]: _, ...own } = before;
        const otherwise =
            presetOf(preset)?.values[key] ?? this.#usual[key] ?? SETTINGS.find((x) => x.key === key)?.initial;
        if (value !== otherwise && value !== "") own[key] = value;
        this.#changed({ preset, own });
    }

    /** Writes a slider's value beside it. @param {Control} control */
    #tell({ output, field }) {
        if (output) write(output, String(Number(Number(field.value).toFixed(2))));
    }
}

/** A method's line as the charts draw it. @param {import("./methods.js").Method} method */
const swatch = ({ dash, shape }) =>
    s(
        "svg",
        { class: "swatch", width: 46, height: 10, viewBox: "0 -5 46 10", "aria-hidden": true },
        s("line", { x1: 0, x2: 46, y1: 0, y2: 0, "stroke-dasharray": dash }),
        s("path", { d: OUTLINES[shape], transform: "translate(23 0)" }),
    );

/** @param {Setting} setting @returns {Control} */
function make(setting) {
    const id = `set-${setting.key}`;
    const described = { id, "aria-describedby": `${id}-help ${id}-wrong` };
    const { min = 0, max = 1, step = 1 } = setting;
    const wrong = h("p", { class: "wrong", id: `${id}-wrong`, role: "alert", hidden: true });
    const field =
        setting.kind === "choice"
            ? h("select", described, ...(setting.values ?? []).map(([value, text]) => h("option", { value }, text)))
            : h("input", { ...described, type: setting.kind, min, max, step, value: setting.initial });
    const output = setting.kind === "range" ? h("output", { for: id }) : null;
    const item = h(
        "div",
        { class: `setting ${setting.kind}` },
        h("label", { for: id }, setting.label),
        ...(output ? [output] : []),
        field,
        wrong,
        h("p", { class: "help", id: `${id}-help` }, setting.help),
    );
    return { setting, field, output, item, wrong };
}
