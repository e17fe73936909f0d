// The worker's side of the package, whichever its program: wasm and GPU are used here, so that the page stays responsive. It takes
// one command at a time from its queue, and steps while the queue is empty and the runs play.

/** Approximate size of model.safetensors, bytes, for the progress bar. */
const WEIGHTS = 2_300_000;

/**
 * A program as wasm-bindgen makes it.
 * @typedef {{ default(options: { module_or_path: Promise<Response> }): Promise<{ memory: WebAssembly.Memory }>, Lab: typeof import("./srft.js").Lab }} Program
 */

const download = { loaded: 0, total: 0, told: 0 };

/** @type {{ id: number, command: string, bytes?: Uint8Array | Blob }[]} */
const queue = [];
let wake = () => {};
/** The command being handled; 0 while stepping. */
let current = 0;

self.addEventListener("message", ({ data }) => {
    if ("name" in data) return hold(data.name);
    queue.push(data);
    wake();
});

// Errors that the trainer does not report itself: an engine out of memory, a promise nobody awaits.
self.addEventListener("unhandledrejection", ({ reason }) => fail(reason));

/**
 * Holds a lock until the worker ends, however it ends. The page waits for the same lock, so it learns of a
 * death that no event reports.
 * @param {string} name
 */
function hold(name) {
    navigator.locks?.request(name, () => {
        self.postMessage({ holds: true });
        return new Promise(() => {});
    });
}

/**
 * Works for the page until it ends the worker.
 * @param {Program} program
 * @param {URL} address of its wasm
 * @param {number} about the approximate size of that, bytes
 */
export function work(program, address, about) {
    main(program, address, about).catch(fail);
}

/** @type {typeof work extends (...all: infer All) => void ? (...all: All) => Promise<void> : never} */
async function main(program, address, about) {
    askForSubgroups();
    const wasm = fetched(address, about);
    // The address must be a literal: bundlers find no others.
    const weights = fetched(new URL("./model.safetensors", import.meta.url), WEIGHTS);
    const exports = await program.default({ module_or_path: wasm }).catch((error) => {
        throw new Error(`${address.pathname.split("/").at(-1)} did not load: ${error}`);
    });
    // For who looks into the worker from outside: bytes of wasm's memory, which never shrinks.
    Object.assign(self, { srftMemory: () => exports.memory.buffer.byteLength });
    const lab = new program.Lab(new Uint8Array(await (await weights).arrayBuffer()), emit);
    /** The evaluation under way: done with its last slice; other commands are handled between slices. */
    let evaluation = 0;
    for (;;) {
        const next = queue.shift();
        if (next) {
            current = next.id;
            const { bytes } = next;
            // A file is read here and now: it need not be in memory twice.
            const read = bytes instanceof Blob ? new Uint8Array(await bytes.arrayBuffer()) : bytes;
            await lab.handle(next.command, read);
            if (lab.evaluating && evaluation === 0) evaluation = current;
            else self.postMessage({ done: current });
        } else if (lab.busy) {
            current = lab.evaluating ? evaluation : 0;
            await lab.advance();
        } else {
            await new Promise((resolve) => (wake = () => resolve(undefined)));
        }
        current = 0;
        if (evaluation !== 0 && !lab.evaluating) {
            self.postMessage({ done: evaluation });
            evaluation = 0;
        }
        await turn();
    }
}

/**
 * Has devices opened with subgroups where the browser offers them, and their numbers, which are younger; notes whether the last
 * one has them, for the trainer (crates/formats/src/platform/browser.rs). wgpu (30) asks a browser only for features that it knows.
 */
function askForSubgroups() {
    const { GPUAdapter, navigator } = /** @type {any} */ (self);
    if (!GPUAdapter) return;
    const { requestDevice } = GPUAdapter.prototype;
    /** @param {{ requiredFeatures?: string[] }} options */
    GPUAdapter.prototype.requestDevice = async function (options = {}) {
        const has = this.features.has("subgroups") && navigator.gpu.wgslLanguageFeatures?.has("subgroup_id");
        const requiredFeatures = [...(options.requiredFeatures ?? []), ...(has ? ["subgroups"] : [])];
        const device = await requestDevice.call(this, { ...options, requiredFeatures });
        Object.assign(self, { srftSubgroups: has });
        return device;
    };
}

/**
 * Fetches a file of the package and reports its progress.
 * @param {URL} url
 * @param {number} about its approximate size, in case the server does not say
 */
async function fetched(url, about) {
    download.total += about;
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url} did not load: ${response.status}`);
    count(response.clone(), about).catch(() => {}); // the other half of the clone tells
    return response;
}

/** @param {Response} response @param {number} about */
async function count(response, about) {
    // For a response that the server compressed, the header has the compressed length.
    const length = Number(response.headers.get("content-length"));
    const expected = length && !response.headers.get("content-encoding") ? length : about;
    download.total += expected - about;
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    let received = 0;
    for (;;) {
        const { value } = await reader.read();
        received += value?.length ?? 0;
        download.loaded += value?.length ?? 0;
        if (!value) download.total += received - expected; // now it is known
        const now = performance.now();
        if (!value || now - download.told > 100) {
            download.told = now;
            self.postMessage({ loading: { loaded: download.loaded, total: download.total } });
        }
        if (!value) return;
    }
}

/**
 * Sends an event of the trainer to the page.
 * @param {string} event
 * @param {Uint8Array} [bytes]
 */
function emit(event, bytes) {
    self.postMessage({ event, bytes, id: current }, { transfer: bytes ? [bytes.buffer] : [] });
}

/** @param {unknown} error */
function fail(error) {
    const complaint = {
        type: "error",
        kind: "machine",
        what: String(error),
        place: "the trainer's worker",
        next: "reload the page; if it happens again, use another browser or the device cpu",
        fatal: true,
    };
    emit(JSON.stringify(complaint));
}

/** Lets the event loop deliver the page's messages; a timer would wait four milliseconds. */
function turn() {
    const { port1, port2 } = new MessageChannel();
    return new Promise((resolve) => {
        port1.onmessage = () => {
            port1.close();
            resolve(undefined);
        };
        port2.postMessage(null);
    });
}
