// The page's connection to one worker, from its creation to its death: commands out, events in. After a
// failure the link is not used again; the client makes another one.

/** @import { Command, Complaint, Event } from "./protocol.js" */
/** @import { EventOf, Failed, Loading } from "./index.js" */
/** @typedef {[event: Event, bytes: Uint8Array | undefined]} Message */
/**
 * A request under way. One that `lasts` beyond its handling (`step`: the step is done after the command is
 * handled) ends with the next `state` that is not playing. `of` is the command that its error events name.
 * @typedef {{ of?: Command["type"], lasts: boolean, handled: boolean, got: Message[],
 *     resolve(got: Message[]): void, reject(error: Error): void }} Request
 */
/** @typedef {{ of?: Command["type"], lasts?: boolean, patience?: number }} How */

/** Time between two checks of a worker that has to answer, ms. */
const LOOK = 250;

/** A request that failed; `complaint` says what, where, and what to do next. */
export class TrainerError extends Error {
    /** @param {Complaint} complaint */
    constructor(complaint) {
        const { what, place, next } = complaint;
        super((place ? `${place}: ` : "") + what + (next ? `; next: ${next}` : ""));
        this.name = "TrainerError";
        this.complaint = complaint;
    }
}

export class Link {
    #worker;
    #over = false;
    #count = 0;
    /** Messages received so far. */
    #heard = 0;
    /** @type {Map<number, Request>} */
    #requests = new Map();
    #waiting = new AbortController();
    #onEvent;
    #onDeath;

    /**
     * @param {URL | undefined} url of worker.js, unless it is beside this file
     * @param {"tiny" | "model"} program
     * @param {(event: Event | Failed | Loading, bytes: Uint8Array | undefined) => void} onEvent
     * @param {(complaint: Complaint) => void} onDeath called once, after the requests were rejected
     */
    constructor(url, program, onEvent, onDeath) {
        this.#onEvent = onEvent;
        this.#onDeath = onDeath;
        this.#worker = workerAt(url, program);
        this.#worker.onmessage = ({ data }) => {
            this.#heard += 1;
            if ("holds" in data) this.#awaitDeath(name);
            else if ("loading" in data) this.#onEvent({ type: "loading", ...data.loading }, undefined);
            else if ("done" in data) this.#done(data.done);
            else this.#receive(data.id, JSON.parse(data.event), data.bytes);
        };
        this.#worker.onerror = (error) => {
            error.preventDefault(); // it is reported as an event
            this.#die(died(error.message ?? `${url ?? WORKERS[program]} did not load`));
        };
        // The name of the lock that the worker holds while it lives.
        const name = `srft-${Date.now()}-${Math.random()}`;
        this.#worker.postMessage({ name });
    }

    /**
     * Sends a command; resolves with the events that came while it was handled.
     * @param {Command} command
     * @param {Uint8Array | Blob} [bytes] copied, so that the caller can still use them; a file is only pointed to
     * @param {How} [how] `patience`: ms of silence after which the worker is given up
     * @returns {Promise<Message[]>}
     */
    request(command, bytes, { of, lasts = false, patience } = {}) {
        const id = ++this.#count;
        return new Promise((resolve, reject) => {
            this.#requests.set(id, { of, lasts, handled: false, got: [], resolve, reject });
            this.#worker.postMessage({ id, command: JSON.stringify(command), bytes });
            if (patience !== undefined) this.#watch(id, patience);
        });
    }

    /**
     * Gives the worker up if it says nothing for `patience` while this request waits. It counts checks, not
     * time, so that a sleeping computer does not count as silence.
     * @param {number} id
     * @param {number} patience ms
     */
    #watch(id, patience) {
        let silent = 0;
        let heard = this.#heard;
        const timer = setInterval(() => {
            if (!this.#requests.has(id)) return clearInterval(timer);
            silent = heard === this.#heard ? silent + LOOK : 0;
            heard = this.#heard;
            if (silent < patience) return;
            clearInterval(timer);
            this.#leave(died(`it gave no answer for ${Math.round(patience / 1000)} s`));
        }, LOOK);
    }

    /**
     * Ends the worker; requests without an answer are rejected.
     * @param {Complaint} complaint why
     */
    end(complaint) {
        this.#over = true;
        this.#waiting.abort();
        this.#worker.terminate();
        for (const request of this.#requests.values()) request.reject(new TrainerError(complaint));
        this.#requests.clear();
    }

    /** @param {string} name */
    #awaitDeath(name) {
        navigator.locks
            .request(name, { signal: this.#waiting.signal }, () => this.#die(died("it ended without a word")))
            .catch(() => {}); // aborted: the link has ended
    }

    /** @param {Complaint} complaint */
    #die(complaint) {
        if (this.#over) return;
        this.#onEvent({ type: "error", ...complaint }, undefined);
        this.#leave(complaint);
    }

    /** @param {Complaint} complaint */
    #leave(complaint) {
        this.end(complaint);
        this.#onDeath(complaint);
    }

    /**
     * @param {number} id the command it belongs to; 0 while the worker was stepping
     * @param {Event} event
     * @param {Uint8Array} [bytes]
     */
    #receive(id, event, bytes) {
        if (this.#over) return;
        const of = this.#requests.get(id)?.of;
        this.#onEvent(event.type === "error" && of ? { ...event, of } : event, bytes);
        for (const [key, request] of this.#requests) {
            const own = key === id;
            if (own) request.got.push([event, bytes]);
            const stepping = request.handled && id === 0;
            const settled = event.type === "state" && event.state !== "playing";
            if (event.type === "error" && (own || stepping)) {
                this.#requests.delete(key);
                request.reject(new TrainerError(event));
            } else if (request.lasts && settled && (own || request.handled)) {
                this.#requests.delete(key);
                request.resolve([[event, bytes]]);
            }
        }
        if (event.type === "error" && event.fatal) {
            const { type, ...complaint } = event;
            this.#leave(complaint);
        }
    }

    /** @param {number} id */
    #done(id) {
        const request = this.#requests.get(id);
        if (!request) return;
        request.handled = true;
        if (request.lasts) return;
        this.#requests.delete(id);
        request.resolve(request.got);
    }
}

/** The worker of each program. */
const WORKERS = { tiny: "worker.js", model: "model-worker.js" };

/**
 * Makes the worker. Bundlers look for the literal addresses in here.
 * @param {URL | undefined} url
 * @param {"tiny" | "model"} program
 */
function workerAt(url, program) {
    const address = String(url ?? import.meta.url.replace(/[^/]*$/, WORKERS[program]));
    // A worker's script must have the page's origin, but may import a script of another origin.
    if (/^https?:/.test(address) && new URL(address).origin !== location.origin) {
        const script = new Blob([`import ${JSON.stringify(address)};`], { type: "text/javascript" });
        return new Worker(URL.createObjectURL(script), { type: "module" });
    }
    if (url) return new Worker(url, { type: "module" });
    return program === "model"
        ? new Worker(new URL("./model-worker.js", import.meta.url), { type: "module" })
        : new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
}

/**
 * @param {string} what
 * @returns {Complaint}
 */
function died(what) {
    return {
        kind: "machine",
        what: `the trainer's worker died: ${what}`,
        place: "the trainer's worker",
        next: "the runs, if there are any, continue from the last checkpoint in a new worker",
        fatal: true,
    };
}

/** @type {Complaint} */
export const closed = {
    kind: "interrupted",
    what: "the trainer was closed",
    place: null,
    next: "make another with Trainer.connect()",
    fatal: true,
};

/**
 * The first event of a type, with its bytes.
 * @template {Event["type"]} T
 * @param {T} type
 * @param {Message[]} got
 * @returns {[EventOf<T>, Uint8Array | undefined]}
 */
export function first(type, got) {
    const found = got.find(([event]) => event.type === type);
    if (!found) throw new Error(`the trainer did not answer with ${type}`);
    return /** @type {any} */ (found);
}

/**
 * @param {Message[]} got
 * @returns {EventOf<"ready">}
 */
export function ready(got) {
    return first("ready", got)[0];
}
