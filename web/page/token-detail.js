// Details of a token of the group: the likeliest tokens in its place before and after the update, and each
// term of the objective with its numbers.

import { h } from "./dom.js";
import { fixed, probability, significant, signed, spoken, visible } from "./format.js";
import { rlN, sftN, termsOf, weightOf } from "./formula.js";

/** @typedef {import("./formula.js").GroupView} GroupView */
/** @typedef {import("./formula.js").TokenView} TokenView */
/** @typedef {import("./formula.js").Member} Member */
/** @typedef {import("./formula.js").Composed} Composed */
/** @typedef {import("./formula.js").Settings} Settings */

/**
 * The top candidates before and after the update.
 * @param {TokenView} token
 * @returns {HTMLElement[]}
 */
export function candidates(token) {
    const list = (/** @type {string} */ title, /** @type {TokenView["before"]} */ entries) =>
        h(
            "div",
            { class: "candidates" },
            h("h4", {}, title),
            h(
                "ol",
                {},
                ...entries.map(({ text, p }) => {
                    const bar = h("span", { class: "bar", "aria-hidden": true });
                    bar.style.setProperty("--share", p.toFixed(4));
                    const own = text === token.text;
                    return h(
                        "li",
                        { class: own ? "own" : "" },
                        h(
                            "span",
                            {
                                class: "candidate",
                                "aria-label": spoken(text) + (own ? ", this token" : ""),
                                role: "img",
                            },
                            visible(text),
                        ),
                        bar,
                        h("span", { class: "p" }, probability(p)),
                    );
                }),
            ),
        );
    const change = token.logp_after - token.logp;
    return [
        h(
            "p",
            { class: "about-token" },
            h("b", { class: "chip", role: "img", "aria-label": spoken(token.text) }, visible(token.text)),
            ` p ${probability(Math.exp(token.logp))} → ${probability(Math.exp(token.logp_after))}`,
            h(
                "span",
                { class: "quiet" },
                ` Δ ln p ${signed(change, 3)}, H ${fixed(token.entropy, 2)} → ${fixed(token.entropy_after, 2)} nats`,
            ),
        ),
        h("div", { class: "pair" }, list("before", token.before), list("after", token.after)),
    ];
}

/**
 * Each term for the token, with its numbers.
 * @param {GroupView} group
 * @param {Settings} settings
 * @param {Member} member
 * @param {TokenView} token
 * @returns {HTMLElement[]}
 */
export function formulas(group, settings, member, token) {
    const terms = termsOf(group.formula, settings, member, token);
    const usesWeight = member.weight_applies && terms.some((term) => term.zero === null);
    const total = terms.reduce((sum, term) => sum + term.value, 0);
    const push =
        token.slope === 0
            ? "the update leaves this token alone"
            : token.slope < 0
              ? "below 0: a step against the gradient pushes this token up"
              : "above 0: a step against the gradient pushes this token down";
    return [
        h(
            "dl",
            { class: "terms" },
            ...(usesWeight ? line(weightOf(group.formula, member, token)) : []),
            ...terms.flatMap(line),
        ),
        h(
            "p",
            { class: "total" },
            "Together ",
            number(total),
            " of the loss; ∂L/∂ln p = ",
            number(token.slope),
            `, ${push}.`,
        ),
        h(
            "p",
            { class: "quiet" },
            `ln p ${significant(token.logp)}, p ${significant(Math.exp(token.logp))}, Â ${significant(member.advantage)}, ` +
                normalisers(group.formula, member),
        ),
    ];
}

/** @param {import("../package/protocol.js").FormulaView} formula @param {Member} member */
function normalisers(formula, member) {
    const n = rlN(formula, member);
    const sft = sftN(formula, member);
    if (n !== sft) return `N ${significant(sft)} for L_SFT, else ${significant(n)}.`;
    return `N ${significant(n)} (${normaliserSays(formula.aggregate, member.role)}).`;
}

/** @param {string} aggregate @param {string} kind */
function normaliserSays(aggregate, kind) {
    if (aggregate === "token-mean") return `all ${kind} tokens of the update`;
    return aggregate === "sequence-mean" ? "responses × this response’s tokens" : "a constant";
}

/** @param {Composed} term @returns {HTMLElement[]} */
function line({ name, equation, symbols, calculation, value, zero, mismatch }) {
    const title = h("dt", {}, h("span", { class: "term" }, name), h("span", { class: "equation" }, equation));
    if (zero !== null) return [title, h("dd", { class: "zero" }, `= 0: ${zero}`)];
    const numbers = calculation.map((part) => (typeof part === "number" ? number(part) : part));
    const body = h(
        "dd",
        {},
        h("span", { class: "symbols" }, `= ${symbols}`),
        h(
            "span",
            { class: "calculation" },
            "= ",
            ...numbers,
            ...(calculation.length > 1 ? [" = ", number(value)] : []),
        ),
    );
    if (mismatch) body.append(h("span", { class: "mismatch", role: "alert" }, `Mismatch: ${mismatch}.`));
    return [title, body];
}

/** A number as shown, which keeps its exact value. @param {number} value */
const number = (value) => h("data", { value }, significant(value));
