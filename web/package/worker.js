// The worker's side of the package: wasm and GPU live here, so that the page stays smooth. It takes
// one command at a time from its queue, and steps while there are none and the runs play.

import init, { Lab } from "./srft.js";

/** @type {{ id: number, command: string, bytes?: Uint8Array }[]} */
const queue = [];
let wake = () => {};
/** The command being handled; 0 while stepping. */
let current = 0;

self.addEventListener("message", ({ data }) => {
    queue.push(data);
    wake();
});

// Held until the worker ends, however it ends: the page waits for the same lock, and so learns of a
// death that no event tells.
navigator.locks?.request(self.name, () => {
    self.postMessage({ holds: true });
    return new Promise(() => {});
});

// What escapes the trainer's own reports: an engine out of memory, a promise nobody waits for.
self.addEventListener("unhandledrejection", ({ reason }) => fail(reason));
main().catch(fail);

async function main() {
    const weights = fetched(new URL("model.safetensors", import.meta.url));
    await init().catch((error) => {
        throw new Error(`srft_bg.wasm did not load: ${error}`);
    });
    const lab = new Lab(await weights, emit);
    for (;;) {
        const next = queue.shift();
        if (next) {
            current = next.id;
            await lab.handle(next.command, next.bytes);
            self.postMessage({ done: current });
            current = 0;
        } else if (lab.playing) {
            await lab.advance();
        } else {
            await new Promise((resolve) => (wake = () => resolve(undefined)));
        }
        await turn();
    }
}

/**
 * @param {URL} url
 */
async function fetched(url) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url} did not load: ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
}

/**
 * An event of the trainer, to the page.
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
        next: "reload the page; if it comes again, take another browser or the device cpu",
        fatal: true,
    };
    emit(JSON.stringify(complaint));
}

/** Lets the event loop deliver what the page has sent; a timer would wait four milliseconds. */
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
