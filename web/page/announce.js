// Announcements: milestones to screen readers (aria-live polite); errors to everyone, until dismissed.

import { byId, h } from "./dom.js";
import { percent } from "./format.js";
import { methodOf } from "./methods.js";
import { meanAccuracy } from "./state.js";
import { inPageWords } from "./words.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {Pick<import("../package/protocol.js").Complaint, "what" | "place" | "next">} Trouble */

/** A request that the trainer refused. @typedef {{ complaint: Trouble }} Refusal */

/** Announces a text to screen readers, after their present speech. @param {string} text */
export function announce(text) {
    byId("announcer").textContent = text;
}

/**
 * The runs' accuracies in words, once all are evaluated at one step; null before.
 * @param {State} state
 * @returns {string | null}
 */
export function evaluationSays({ runs }) {
    const steps = new Set(runs.map((run) => run.evaluations.at(-1)?.step));
    const [step] = steps;
    if (steps.size !== 1 || step === undefined) return null;
    const each = runs.map((run) => {
        const scores = run.evaluations.at(-1)?.scores ?? [];
        const share = (/** @type {boolean} */ ood) => percent(meanAccuracy(scores, ood) ?? 0);
        return `${methodOf(run.view.method).name} ${share(false)}% in distribution, ${share(true)}% out`;
    });
    return `Step ${step}: ${each.join("; ")}.`;
}

/**
 * Shows what went wrong with something the visitor did, beside where it was done; null clears it.
 * @param {string} id of the element
 * @param {Trouble | string | null} trouble
 */
export function tellAt(id, trouble) {
    const place = byId(id);
    place.hidden = trouble === null;
    if (trouble === null) return place.replaceChildren();
    if (typeof trouble === "string") place.replaceChildren(trouble);
    else {
        const { what, next } = inPageWords(trouble);
        place.replaceChildren(h("strong", {}, `${what}.`), next ? ` What next: ${next}.` : "");
    }
    place.scrollIntoView({ block: "nearest" });
}

/**
 * Shows an error until it is dismissed: what, where, what next. An error already shown is not repeated.
 * @param {Trouble} trouble
 */
export function complain(trouble) {
    const { what, place, next } = inPageWords(trouble);
    show("trouble", what, [place ? `Where: ${place}` : "", next ? `What next: ${next}` : ""]);
}

/** Shows that something was recovered. @param {string} what @param {string} detail */
export function reassure(what, detail) {
    show("recovered", what, [detail]);
}

/** @param {"trouble" | "recovered"} kind @param {string} title @param {string[]} lines */
function show(kind, title, lines) {
    const list = byId("errors");
    for (const item of list.children) if (item.querySelector("strong")?.textContent === title) item.remove();
    const close = h("button", { type: "button", class: "close", "aria-label": `Dismiss: ${title}` }, "×");
    const item = h(
        "div",
        { class: kind },
        h("p", {}, h("strong", {}, title)),
        ...lines.filter(Boolean).map((line) => h("p", {}, line)),
        close,
    );
    close.addEventListener("click", () => {
        item.remove();
        byId("play").focus();
    });
    list.append(item);
}

/** Removes all errors, when new runs begin. */
export function forget() {
    byId("errors").replaceChildren();
}
