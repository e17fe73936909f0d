// Helpers that make an element in one line, and one scheduler for all drawing.

/** @typedef {Record<string, string | number | boolean | EventListener | ((e: any) => void)>} Attributes */

/**
 * @param {Element} element
 * @param {Attributes} attributes functions become listeners; `true` is an empty attribute and `false` none, except for aria-*
 */
function set(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) {
        if (typeof value === "function") element.addEventListener(name.slice(2), value);
        else if (name.startsWith("aria-")) element.setAttribute(name, String(value));
        else if (value !== false) element.setAttribute(name, value === true ? "" : String(value));
    }
}

/**
 * `h("p", { class: "note" }, "text")`
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    set(element, attributes);
    element.append(...children);
    return element;
}

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function s(tag, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    set(element, attributes);
    element.append(...children);
    return element;
}

/**
 * The element with that id; index.html must have it.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
    const element = document.getElementById(id);
    if (!element) throw new Error(`index.html has no element #${id}`);
    return element;
}

/** @param {string} id @returns {HTMLInputElement} */
export const input = (id) => /** @type {HTMLInputElement} */ (byId(id));

/** @param {string} id @returns {HTMLSelectElement} */
export const select = (id) => /** @type {HTMLSelectElement} */ (byId(id));

/** @param {string} id @returns {HTMLButtonElement} */
export const button = (id) => /** @type {HTMLButtonElement} */ (byId(id));

/**
 * Enables or disables a button by aria-disabled: `disabled` would take the focus from a keyboard user.
 * @param {HTMLButtonElement} element
 * @param {boolean} on
 */
export function enable(element, on) {
    if (on) element.removeAttribute("aria-disabled");
    else element.setAttribute("aria-disabled", "true");
}

/** Whether a button may be pressed. @param {HTMLButtonElement} element */
export const isEnabled = (element) => element.getAttribute("aria-disabled") !== "true";

/**
 * Sets what a button does when it is pressed and enabled.
 * @param {string} id
 * @param {() => void} act
 */
export function onPress(id, act) {
    button(id).addEventListener("click", () => {
        if (isEnabled(button(id))) act();
    });
}

/**
 * Takes what is dropped anywhere on the page; an element shows that it would be.
 * @param {string} id
 * @param {(transfer: DataTransfer | null) => void} take
 */
export function onDrop(id, take) {
    const { classList } = byId(id);
    addEventListener("dragover", (event) => {
        event.preventDefault();
        classList.add("over");
    });
    addEventListener("dragleave", () => classList.remove("over"));
    addEventListener("drop", (event) => {
        event.preventDefault();
        classList.remove("over");
        take(event.dataTransfer);
    });
}

/**
 * Writes a text only if it differs: writing an equal text would still cost a layout.
 * @param {Node} node
 * @param {string} text
 */
export function write(node, text) {
    if (node.textContent !== text) node.textContent = text;
}

/**
 * Fills a select with options and keeps its choice if it is still among them.
 * @param {HTMLSelectElement} element
 * @param {{ value: string, text: string }[]} options
 */
export function fillSelect(element, options) {
    const same =
        element.options.length === options.length &&
        options.every((o, i) => element.options[i].value === o.value && element.options[i].text === o.text);
    if (same) return;
    const before = element.value;
    element.replaceChildren(...options.map((o) => h("option", { value: o.value }, o.text)));
    if (options.some((o) => o.value === before)) element.value = before;
}

/**
 * Scrolls to a part and moves the focus there, so that keyboard and screen reader follow.
 * @param {HTMLElement} element
 */
export function goTo(element) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
    if (!element.hasAttribute("tabindex")) element.tabIndex = -1;
    element.focus({ preventScroll: true });
}

/**
 * Collects what has to be drawn and draws it once, in the next frame.
 * @template {string} Part
 * @param {Record<Part, () => void>} draw
 * @returns {(...parts: Part[]) => void}
 */
export function painter(draw) {
    /** @type {Set<Part>} */
    const due = new Set();
    return (...parts) => {
        if (due.size === 0 && parts.length > 0) {
            requestAnimationFrame(() => {
                const now = [...due];
                due.clear();
                for (const part of now) draw[part]();
            });
        }
        for (const part of parts) due.add(part);
    };
}
