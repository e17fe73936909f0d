// Saving runs to a file and loading them: by button, by dropping a file, and automatically after a reload.

import { tellAt } from "./announce.js";
import { button, byId, enable, h, input, onDrop, onPress } from "./dom.js";
import { read, write } from "./url.js";

/** @typedef {import("./url.js").Address} Address */
/** @typedef {import("../package/index.js").Checkpoint} Checkpoint */

/** Most bytes that are unpacked, as in crates/page/src/archive.rs. */
const MOST_BYTES = 512 * 2 ** 20;

/**
 * @param {() => Promise<Checkpoint>} save
 * @param {(bytes: Uint8Array, name: string) => void} load
 */
export function offerFiles(save, load) {
    offerSaving(save);
    const take = async (/** @type {File | null | undefined} */ file) => {
        if (!file) return;
        const got = await readRuns(file);
        tellAt("files-say", typeof got === "string" ? got : null);
        if (typeof got !== "string") load(got, file.name);
    };
    const chooser = input("load");
    chooser.addEventListener("change", () => {
        take(chooser.files?.[0]);
        chooser.value = "";
    });
    onDrop("drop", (transfer) => take(transfer?.files[0]));
}

/**
 * Lets the button save what `save` gives.
 * @param {() => Promise<Checkpoint>} save
 */
export function offerSaving(save) {
    onPress("save", async () => {
        enable(button("save"), false);
        tellAt("files-say", null);
        try {
            const { bytes, name } = await save();
            download(bytes, name);
        } catch (error) {
            tellAt("files-say", /** @type {import("./announce.js").Refusal} */ (error).complaint);
        }
        enable(button("save"), true);
    });
}

/**
 * The bytes of a file of saved runs, or why it cannot be one.
 * @param {File} file
 * @returns {Promise<Uint8Array | string>}
 */
export async function readRuns(file) {
    const why = await objectionTo(file);
    if (why) return `${file.name} ${why}. Choose a file that was saved here, or a zip of a run folder.`;
    return new Uint8Array(await file.arrayBuffer());
}

/**
 * Says why a file cannot be one of ours, before the trainer loads it: a tab never gives that memory back.
 * @param {File} file
 */
async function objectionTo(file) {
    if (file.size > MOST_BYTES) return `is larger than ${MOST_BYTES / 2 ** 20} MiB`;
    const head = await file.slice(0, 2).text().catch(() => "");
    return head === "PK" ? null : "is not a zip";
}

/** Has the browser save a zip. @param {Uint8Array} bytes @param {string} name */
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
    return checkpoint !== undefined && isAt(checkpoint.url, address);
}

/** Whether a page's address has these settings. @param {string} url @param {Address} address */
export function isAt(url, address) {
    const saved = new URL(url, location.href);
    return saved.pathname === location.pathname && write(read(saved.hash)) === write(address);
}

/**
 * Shows the visitor from where the runs went on.
 * @param {string} text
 * @param {(() => void) | null} anew starts again from step 0
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
