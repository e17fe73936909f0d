// The glossary: a link to a word shows what it means where the link is, by mouse and by keyboard; where the
// browser has no popovers, it leads to the word in the list at the end of the page.

import { byId, goTo, h } from "./dom.js";

/** Distance of the box from its word, px. */
const GAP = 6;

const box = byId("word-says");

/**
 * Explains a word where its link stands; false if the browser cannot.
 * @param {HTMLAnchorElement} link
 */
export function explain(link) {
    if (typeof box.showPopover !== "function") return false;
    const entry = byId(link.hash.slice(1));
    const all = h("a", { href: "#words" }, "All words");
    all.addEventListener("click", (event) => {
        event.preventDefault();
        event.stopPropagation();
        box.hidePopover();
        goTo(byId("words"));
    });
    const parts = [...entry.children].map((part) => h("p", {}, ...[...part.childNodes].map((node) => node.cloneNode(true))));
    box.replaceChildren(...parts, h("p", {}, all));
    box.hidePopover(); // of another word
    box.showPopover();
    const { left, top, bottom } = link.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = box;
    const below = bottom + GAP + height < innerHeight;
    box.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - width - 8))}px`;
    box.style.top = `${below ? bottom + GAP : Math.max(8, top - GAP - height)}px`;
    box.focus();
    return true;
}
// It stands where its word was.
addEventListener("scroll", () => box.matches?.(":popover-open") && box.hidePopover(), { passive: true });
