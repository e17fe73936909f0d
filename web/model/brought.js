// What the visitor brings: the files of a model, data, a zip of runs. By button, by dropping, or from the
// browser's own store (OPFS), which keeps a model for the next visit if asked to.

import { byId, h, input, onDrop } from "./dom.js";
import { size } from "./format.js";

/** A file, and its path in the folder that was dropped. @typedef {{ path: string, file: File }} Brought */

/** Most bytes of a file: WebAssembly's memory holds four times as much, runs and all. */
const MOST_BYTES = 1 << 30;
/** Files of a model's folder that are of use here. */
const USED = /(^|\/)(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|adapter_config)\.json$|chat_template\.(jinja|json)$|\.safetensors$|\.safetensors\.index\.json$|\.gguf$|vocab\.(json|txt)$|merges\.txt$/;
/** Where kept models lie in the browser's store. */
const KEPT = "models";

/**
 * Offers all ways of bringing files.
 * @param {(files: Brought[]) => void} take
 */
export function offerBringing(take) {
    for (const id of ["file", "folder"]) {
        const chooser = input(id);
        chooser.addEventListener("change", () => {
            const files = [...(chooser.files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
            if (files.length > 0) take(files);
            chooser.value = "";
        });
    }
    onDrop("drop", async (transfer) => {
        const files = await dropped(transfer);
        if (files.length > 0) take(files);
    });
}

/** The files of a drop, those of folders with their paths. @param {DataTransfer | null} transfer */
async function dropped(transfer) {
    // The list is empty once the event is over: entries are taken before anything is awaited.
    const entries = [...(transfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.());
    if (entries.every((entry) => !entry)) return [...(transfer?.files ?? [])].map((file) => ({ path: file.name, file }));
    /** @type {Brought[]} */
    const files = [];
    for (const entry of entries) if (entry) await collect(entry, "", files);
    return files;
}

/** @param {FileSystemEntry} entry @param {string} folder @param {Brought[]} files */
async function collect(entry, folder, files) {
    const path = folder + entry.name;
    if (entry.isFile) {
        const file = await new Promise((resolve, reject) =>
            /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject),
        );
        files.push({ path, file });
        return;
    }
    const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
    for (;;) {
        /** @type {FileSystemEntry[]} */
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at most
        if (some.length === 0) return;
        for (const child of some) await collect(child, `${path}/`, files);
    }
}

/**
 * The model among files: the name by which the settings have it, and the files that it is made of.
 * @param {Brought[]} files
 * @returns {{ model: string, parts: Brought[] } | string} or what is wrong
 */
export function modelAmong(files) {
    const parts = files.filter(({ path }) => USED.test(path));
    const large = parts.find(({ file }) => file.size > MOST_BYTES);
    if (large) return `${large.path} has ${size(large.file.size)}; a tab has room for ${size(MOST_BYTES)}. Take a smaller model, or one that is quantised`;
    const gguf = parts.filter(({ path }) => path.endsWith(".gguf"));
    if (gguf.length > 0) {
        // The parts of one file have numbers; of several models one must be chosen.
        const first = gguf.find(({ path }) => /-0*1-of-\d+\.gguf$/.test(path)) ?? gguf[0];
        if (gguf.length > 1 && first === gguf[0] && !/-of-\d+\.gguf$/.test(first.path)) {
            return `these are ${gguf.length} models (${gguf.map(({ path }) => path).join(", ")}). Drop one`;
        }
        return { model: first.path, parts: gguf };
    }
    const config = parts.find(({ path }) => /(^|\/)(adapter_)?config\.json$/.test(path));
    const weights = parts.some(({ path }) => path.endsWith(".safetensors"));
    if (!config || !weights) {
        const names = files.slice(0, 3).map(({ path }) => path).join(", ");
        return `${names}${files.length > 3 ? ", …" : ""}: neither a GGUF file nor a model's folder, which has config.json, tokenizer.json and *.safetensors`;
    }
    const folder = config.path.replace(/\/?[^/]*$/, "");
    if (folder) return { model: folder, parts: parts.filter(({ path }) => path.startsWith(`${folder}/`)) };
    return { model: "model", parts: parts.map(({ path, file }) => ({ path: `model/${path}`, file })) };
}

/** The folder of kept models; null where the browser has none. */
async function store() {
    try {
        return await (await navigator.storage.getDirectory()).getDirectoryHandle(KEPT, { create: true });
    } catch {
        return null; // private windows, old browsers, plain http
    }
}

/**
 * Keeps a GGUF file for the next visit.
 * @param {Brought} brought
 * @returns {Promise<string>} what came of it, in words
 */
export async function keep({ path, file }) {
    const folder = await store();
    if (!folder) return "This browser keeps no files for a page.";
    const { quota = 0, usage = 0 } = await navigator.storage.estimate();
    if (quota - usage < file.size) return `It has no room: ${size(quota - usage)} are free, ${size(file.size)} needed.`;
    const safe = await navigator.storage.persist().catch(() => false);
    try {
        const handle = await folder.getFileHandle(nameOf(path), { create: true });
        await file.stream().pipeTo(await handle.createWritable());
    } catch (error) {
        await folder.removeEntry(nameOf(path)).catch(() => {});
        return `It could not be kept: ${error instanceof Error ? error.message : error}.`;
    }
    return safe ? "Kept." : "Kept, until the browser needs the room.";
}

/** @param {string} path */
export async function forget(path) {
    await (await store())?.removeEntry(nameOf(path)).catch(() => {});
}

/** The models that are kept. @returns {Promise<Brought[]>} */
export async function kept() {
    const folder = await store();
    /** @type {Brought[]} */
    const found = [];
    if (!folder) return found;
    for await (const handle of /** @type {any} */ (folder).values()) {
        if (handle.kind === "file") found.push({ path: handle.name, file: await handle.getFile() });
    }
    return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

const nameOf = (/** @type {string} */ path) => path.replace(/^.*\//, "");

/**
 * Lists the kept models.
 * @param {(brought: Brought) => void} take
 */
export async function drawKept(take) {
    const items = (await kept()).map((brought) => {
        const use = h("button", { type: "button" }, "Use");
        use.addEventListener("click", () => take(brought));
        const remove = h("button", { type: "button", class: "link", "aria-label": `Remove ${brought.path}` }, "remove");
        remove.addEventListener("click", async () => {
            await forget(brought.path);
            await drawKept(take);
        });
        return h("li", {}, use, h("span", { class: "mono" }, brought.path), `${size(brought.file.size)}, kept here`, remove);
    });
    byId("kept-models").replaceChildren(...items);
}
