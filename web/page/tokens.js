// A response as a row of token buttons: one stop for the Tab key, arrows from token to token.

import { h } from "./dom.js";
import { spoken, visible } from "./format.js";

/**
 * @typedef {object} Token
 * @property {string} text
 * @property {string} says for screen readers, after the token
 * @property {boolean} [given] it stood before what was sampled
 * @property {number} [shade] how strongly it is coloured: from −1, down, to 1, up
 */

/**
 * @param {string} label of the row
 * @param {Token[]} tokens
 * @param {(index: number) => void} preview a token is hovered over or has the focus
 * @param {((index: number) => void) | null} choose a token is clicked; null: clicks do nothing
 * @returns {HTMLElement}
 */
export function tokenRow(label, tokens, preview, choose) {
    const buttons = tokens.map(({ text, says, given = false, shade = 0 }, i) => {
        const element = h(
            "button",
            { type: "button", class: "token", tabindex: i === 0 ? 0 : -1, "aria-label": `${spoken(text)}, ${says}` },
            visible(text),
        );
        if (choose) element.setAttribute("aria-pressed", "false");
        if (given) {
            element.classList.add("given");
            element.title = "given by the demonstration, not sampled";
        }
        shadeBy(element, shade);
        element.addEventListener("pointerenter", () => preview(i));
        element.addEventListener("focus", () => preview(i));
        element.addEventListener("click", () => choose?.(i));
        return element;
    });
    const row = h("div", { class: "tokens", role: "group", "aria-label": label }, ...buttons);
    row.addEventListener("keydown", (event) => {
        const now = buttons.indexOf(/** @type {HTMLButtonElement} */ (event.target));
        const next = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: buttons.length - 1 }[event.key];
        if (next === undefined || !buttons[next]) return;
        event.preventDefault();
        buttons[now].tabIndex = -1;
        buttons[next].tabIndex = 0;
        buttons[next].focus();
    });
    return row;
}

/**
 * Colours an element on the diverging scale; below 0 it is hatched as well.
 * @param {HTMLElement} element
 * @param {number} shade −1 to 1
 */
export function shadeBy(element, shade) {
    const strength = Math.round(100 * Math.min(1, Math.abs(shade)));
    element.style.setProperty("--strength", `${strength}%`);
    element.classList.toggle("down", shade < 0 && strength > 0);
    element.classList.toggle("up", shade > 0 && strength > 0);
}
