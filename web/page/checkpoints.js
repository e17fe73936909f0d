// Runs to a file and back: by button, by dropping a file, and by themselves after a reload.

import { button, byId, h, input } from "./dom.js";
import { read, write } from "./url.js";

/** @typedef {import("./url.js").Address} Address */
/** @typedef {{ bytes: Uint8Array, name: string, step: number, url: string }} Checkpoint */

/**
 * @param {() => Promise<Checkpoint>} save
 * @param {(bytes: Uint8Array, name: string) => void} load
 */
export function offerFiles(save, load) {
    const saver = button("save");
    saver.addEventListener("click", async () => {
        saver.disabled = true;
        try {
            const { bytes, name } = await save();
            download(bytes, name);
        } catch {
            // An error event has told what went wrong.
        } finally {
            saver.disabled = false;
        }
    });
    const take = async (/** @type {File | null | undefined} */ file) => {
        if (file) load(new Uint8Array(await file.arrayBuffer()), file.name);
    };
    const chooser = input("load");
    chooser.addEventListener("change", () => {
        take(chooser.files?.[0]);
        chooser.value = "";
    });
    const target = byId("drop");
    addEventListener("dragover", (event) => {
        event.preventDefault();
        target.classList.add("over");
    });
    addEventListener("dragleave", () => target.classList.remove("over"));
    addEventListener("drop", (event) => {
        event.preventDefault();
        target.classList.remove("over");
        take(event.dataTransfer?.files[0]);
    });
}

/** @param {Uint8Array} bytes @param {string} name */
function download(bytes, name) {
    const url = URL.createObjectURL(
        new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (bytes)], { type: "application/zip" }),
    );
    h("a", { href: url, download: name }).click();
    // Some browsers read it only after the click has returned.
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/**
 * Whether a checkpoint was saved by a page with these settings.
 * @param {Checkpoint | undefined} checkpoint
 * @param {Address} address
 */
export function isOf(checkpoint, address) {
    if (!checkpoint) return false;
    const saved = new URL(checkpoint.url, location.href);
    return saved.pathname === location.pathname && write(read(saved.hash)) === write(address);
}

/**
 * What the visitor sees after runs went on from somewhere.
 * @param {string} text
 * @param {(() => void) | null} anew begins from step 0
 */
export function noteContinued(text, anew) {
    const note = byId("continued");
    note.hidden = text === "";
    note.replaceChildren(text);
    if (!anew || text === "") return;
    const again = h("button", { type: "button", class: "link", id: "start-anew" }, "Start anew");
    again.addEventListener("click", anew);
    note.append(" ", again);
}
