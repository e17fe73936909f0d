// A laptop's second GPU among the devices to choose from, where the browser has one.

import { h, select } from "./dom.js";
import { SECOND_GPU } from "./settings.js";

/** Adds it, once. */
export function addSecondGpu() {
    const [value, text] = SECOND_GPU;
    const { options } = select("device");
    if ([...options].every((option) => option.value !== value)) options.add(h("option", { value }, text));
}

/** Offers it once the visitor goes to the devices: a browser without any GPU says so on the console whenever it is asked. */
export function offerSecondGpu() {
    let asked = false;
    const offer = async () => {
        if (asked) return;
        asked = true;
        const [fast, saving] = [await told("high-performance"), await told("low-power")];
        if (fast !== null && saving !== null && fast !== saving) addSecondGpu();
    };
    for (const type of ["pointerenter", "focus"]) select("device").addEventListener(type, offer);
}

/**
 * What the browser tells of the adapter that it gives for a preference, as the trainer sees it (platform/browser.rs).
 * @param {string} powerPreference
 * @returns {Promise<string | null>}
 */
async function told(powerPreference) {
    const { gpu } = /** @type {any} */ (navigator);
    const adapter = await gpu?.requestAdapter({ powerPreference }).catch(() => null);
    if (!adapter) return null;
    const { vendor, architecture, device, description } = adapter.info;
    return [vendor, architecture, device, description].join(" ");
}
