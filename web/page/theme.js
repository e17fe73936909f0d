// Light, dark, or what the system says; remembered where the browser lets us.

import { button } from "./dom.js";

const THEMES = ["auto", "light", "dark"];
const KEY = "srft-theme";

export function offerTheme() {
    const toggle = button("theme");
    const show = (/** @type {string} */ theme) => {
        document.documentElement.dataset.theme = theme;
        toggle.textContent = `Theme: ${theme}`;
    };
    show(remembered());
    toggle.addEventListener("click", () => {
        const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % THEMES.length];
        show(theme);
        try {
            localStorage.setItem(KEY, theme);
        } catch {
            // The browser stores nothing: the choice lasts as long as the page.
        }
    });
}

function remembered() {
    try {
        const theme = localStorage.getItem(KEY) ?? "auto";
        return THEMES.includes(theme) ? theme : "auto";
    } catch {
        return "auto";
    }
}
