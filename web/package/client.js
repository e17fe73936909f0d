// The page's side of the package: requests as promises, events by type, automatic checkpoints, and
// recovery: a worker that fails is replaced, and the runs go on from the last checkpoint.

/** @import { Command, Complaint, Event, Start } from "./protocol.js" */
/** @import * as Public from "./index.js" */
/** @import { Checkpoint, EventOf, Failed, Loading, Options, Store, TrainerEvent } from "./index.js" */
import { TrainerError, closed, first, ready } from "./link.js";
import { Links, workersFor } from "./links.js";
import { openStore } from "./store.js";

export { TrainerError, openStore };

/** @implements {Public.Trainer} */
export class Trainer {
    /** @type {Checkpoint | null} */
    checkpoint = null;
    /** @type {Store | null} */
    store;
    workers;
    #workerUrl;
    #program;
    /** The files that were brought, for a further worker, and for one that takes another's place.
     * @type {Map<string, Uint8Array | Blob | undefined>} */
    #brought = new Map();
    #saveEverySecs;
    #patienceSecs;
    #beside;
    /** @type {Map<string, Set<(event: any, bytes: Uint8Array | undefined) => void>>} */
    #listeners = new Map();
    /** @type {Links | null} */
    #link = null;
    /** How the runs were made, once they are ready: recovery starts from this if there is no checkpoint.
     * @type {{ start: Start | null, device: string } | null} */
    #runs = null;
    /** Whether the runs are meant to play, even while they recover. */
    #playing = false;
    /** Whether the runs stand still. */
    #resting = true;
    /** The last command that moves or stops the runs. */
    #moved = "";
    /** The recovery under way.
     * @type {object | null} */
    #recovery = null;
    /** How many workers have died since the last new step. */
    #deaths = 0;
    /** Steps done by each run.
     * @type {number[]} */
    #steps = [];
    /** The most steps that all runs together have done so far: more than that is a new step. */
    #furthest = 0;
    #saving = false;
    /** When a checkpoint was last stored, ms. */
    #savedAt = 0;
    #storeFailed = false;
    /** The longest step of a run so far, s: a worker may be silent for that long. */
    #slowest = 0;
    /** Whether the runs were given up; their last checkpoint is kept. */
    #isLost = false;
    #hidden = () => {
        if (document.visibilityState === "hidden") this.#autosave(true);
    };

    /** @param {Options} [options] */
    static connect(options = {}) {
        const trainer = new Trainer(options);
        trainer.#open();
        return trainer;
    }

    /** @param {Options} options */
    constructor({ workerUrl, program = "tiny", workers, store, saveEverySecs = 30, patienceSecs = 5, beside }) {
        this.#workerUrl = workerUrl;
        this.#program = program;
        this.workers = workers ?? workersFor(program);
        this.store = store === undefined ? openStore() : store;
        this.#saveEverySecs = saveEverySecs;
        this.#patienceSecs = patienceSecs;
        this.#beside = beside;
        // Save when the page is hidden: it may be closed without notice.
        document.addEventListener("visibilitychange", this.#hidden);
    }

    /**
     * @template {TrainerEvent["type"]} T
     * @param {T} type
     * @param {(event: EventOf<T>, bytes: Uint8Array | undefined) => void} listener
     * @returns {() => void}
     */
    on(type, listener) {
        const listeners = this.#listeners.get(type) ?? new Set();
        this.#listeners.set(type, listeners.add(listener));
        return () => void listeners.delete(listener);
    }

    /**
     * @param {Command} command
     * @param {Uint8Array | Blob} [bytes]
     */
    send(command, bytes) {
        this.#do(command, bytes).catch(() => {}); // an error event has told
    }

    /**
     * @param {string} name
     * @param {Uint8Array | Blob} [file]
     */
    async bring(name, file) {
        await this.#do({ type: "bring", name }, file);
        this.#brought.set(name, file instanceof Uint8Array ? file.slice() : file);
    }

    /**
     * @param {string} model
     * @param {string[]} [settings]
     * @param {string} [device]
     */
    async look(model, settings = [], device = "auto") {
        return first("facts", await this.#do({ type: "look", model, device, settings }))[0];
    }

    /** @param {Start} start */
    async start(start) {
        return ready(await this.#do({ type: "start", ...start }));
    }

    /**
     * @param {Uint8Array} bytes
     * @param {string} [device]
     */
    async load(bytes, device = "auto") {
        return ready(await this.#do({ type: "load", device }, bytes));
    }

    async step() {
        return first("state", await this.#do({ type: "step" }))[0];
    }

    async resume() {
        await this.#do({ type: "resume" });
    }

    async pause() {
        await this.#do({ type: "pause" }).catch(unlessDied);
    }

    async stop() {
        await this.#do({ type: "stop" }).catch(unlessDied);
    }

    /**
     * @param {number} examples
     * @param {string[]} [suites]
     */
    async evaluate(examples, suites = []) {
        const got = await this.#do({ type: "evaluate", suites, examples });
        return got.map(([event]) => event).filter((event) => event.type === "evaluation");
    }

    async cancel() {
        await this.#do({ type: "cancel" });
    }

    /**
     * @param {string} prompt
     * @param {number} [temperature]
     * @param {number} [tokens]
     */
    async ask(prompt, temperature = 0, tokens) {
        return first("sample", await this.#do({ type: "ask", prompt, temperature, tokens }))[0];
    }

    /**
     * @param {number} run
     * @param {number} prompt
     */
    async inspect(run, prompt) {
        return first("group", await this.#do({ type: "inspect", run, prompt }))[0];
    }

    /** @param {{ adapters?: boolean }} [options] */
    async save({ adapters = false } = {}) {
        const kept = this.checkpoint;
        if (this.#isLost && kept) return { ...kept, bytes: kept.bytes.slice() };
        const [{ name, step }, bytes] = first("saved", await this.#do({ type: "save", adapters }));
        const copy = /** @type {Uint8Array} */ (bytes).slice(); // the caller may transfer it
        return { bytes: copy, name, step, url: location.href };
    }

    async keep() {
        if (this.checkpoint) await this.#keep({ ...this.checkpoint, url: location.href });
    }

    close() {
        document.removeEventListener("visibilitychange", this.#hidden);
        this.#link?.end(closed);
        this.#link = null;
        this.#runs = null;
        this.#recovery = null;
    }

    #open() {
        this.#link ??= new Links(
            this.#workerUrl,
            this.#program,
            this.#deaths > 0 ? 1 : this.workers, // what one died of may be that there were several
            this.#brought,
            (event, bytes) => this.#receive(event, bytes),
            (complaint) => this.#died(complaint),
        );
        return this.#link;
    }

    /**
     * Sends a command of the page, and remembers what recovery needs to know of it.
     * @param {Command} command
     * @param {Uint8Array | Blob} [bytes]
     */
    async #do(command, bytes) {
        if (["step", "resume", "pause", "stop", "start", "load"].includes(command.type)) {
            this.#moved = command.type;
            this.#playing = command.type === "resume";
        }
        if (command.type === "stop") this.#forget();
        const of = command.type;
        if (command.type !== "start" && command.type !== "load") {
            return this.#open().request(command, bytes, { of, lasts: of === "step", patience: this.#patience(of) });
        }
        const before = this.#runs;
        this.#forget();
        const got = await this.#open().request(command, bytes, { of }).catch((error) => {
            if (!error.complaint.fatal) this.#runs ??= before; // a wrong file or setting ends nothing
            throw error;
        });
        const { type, ...start } = command;
        const { step } = ready(got);
        this.#runs = { start: type === "start" ? /** @type {Start} */ (start) : null, device: command.device };
        this.checkpoint = bytes instanceof Uint8Array ? { bytes: bytes.slice(), name: "loaded", step, url: location.href } : null;
        this.#savedAt = performance.now();
        this.#slowest = 0;
        this.#isLost = false;
        return got;
    }

    /**
     * How long a worker may be silent after a command: for ever, unless the runs are to stand still. A pause
     * leaves time for the step under way; a stop need not wait for it.
     * @param {Command["type"]} type
     */
    #patience(type) {
        if (type === "stop") return 1000 * this.#patienceSecs;
        if (type === "pause") return 1000 * Math.max(this.#patienceSecs, 2 * this.#slowest);
        return undefined;
    }

    /** Forgets the runs: they are over, or others replace them. */
    #forget() {
        this.#runs = null;
        this.#recovery = null;
    }

    /**
     * @param {Event | Failed | Loading} event
     * @param {Uint8Array} [bytes]
     */
    #receive(event, bytes) {
        if (event.type === "ready") {
            if (!this.#recovery) this.#deaths = this.#furthest = 0; // other runs than before
            this.#count(event.runs.map(({ reports }) => reports.at(-1)?.step ?? event.step));
        }
        if (event.type === "step") {
            this.#slowest = Math.max(this.#slowest, event.report.rollout_secs + event.report.train_secs || 0);
            this.#count(this.#steps.map((step, run) => (run === event.run ? event.report.step : step)));
        }
        if (event.type === "saved" && bytes) this.#keep({ bytes, name: event.name, step: event.step, url: location.href });
        if (event.type === "state" && !this.#recovery) {
            this.#resting = event.state !== "playing";
            this.#playing = !this.#resting && this.#moved === "resume";
        }
        this.#emit(event, bytes);
        if (event.type === "step" || event.type === "state") this.#autosave();
    }

    /** @param {number[]} steps of each run */
    #count(steps) {
        this.#steps = steps;
        const all = steps.reduce((sum, step) => sum + step, 0);
        if (all > this.#furthest) {
            this.#furthest = all;
            this.#deaths = 0;
        }
    }

    /**
     * Saves steps that are not saved yet: at intervals while the runs play, at once when they rest.
     * @param {boolean} [now]
     */
    async #autosave(now = this.#resting) {
        const unsaved = Math.min(...this.#steps) > (this.checkpoint?.step ?? 0);
        const waited = performance.now() - this.#savedAt >= 1000 * this.#saveEverySecs;
        if (!unsaved || !(now || waited) || !this.#runs || this.#recovery || this.#saving) return;
        this.#saving = true;
        const request = this.#open().request({ type: "save" });
        const saved = await request.then(() => true, () => false); // an error event has told
        this.#saving = false;
        if (saved) this.#autosave(); // steps may have come meanwhile
    }

    /** @param {Checkpoint} checkpoint */
    async #keep(checkpoint) {
        this.checkpoint = checkpoint;
        this.#savedAt = performance.now();
        try {
            await this.store?.put({ ...checkpoint, beside: this.#beside?.() });
        } catch (error) {
            if (this.#storeFailed) return; // said once
            this.#storeFailed = true;
            this.#emit({
                type: "error",
                kind: "machine",
                what: `the browser did not store the checkpoint: ${error}`,
                place: "IndexedDB",
                next: "save to a file; a reload would lose the runs. Private windows and full disks store nothing",
                fatal: false,
            });
        }
    }

    /** @param {Complaint} reason */
    #died(reason) {
        this.#link = null;
        if (this.#runs) this.#recover(reason, this.#runs);
    }

    /**
     * Brings the runs back from the last checkpoint in a new worker: first on the same device, then on the
     * CPU. Where memory was short, what can be computed again is no longer kept, which leaves the numbers as they are.
     * @param {Complaint} reason
     * @param {{ start: Start | null, device: string }} runs
     */
    async #recover(reason, runs) {
        this.#deaths += 1;
        if (this.#deaths > 2) return this.#lose(reason);
        const token = (this.#recovery = {});
        const device = this.#deaths === 2 ? "cpu" : runs.device;
        const bytes = this.checkpoint?.bytes;
        const sparing = /memory/i.test(reason.what);
        const changes = sparing ? ["train.checkpointing=true"] : [];
        const start = /** @type {Start} */ (runs.start);
        /** @type {Command} */
        const command = bytes
            ? { type: "load", device, settings: changes }
            : { type: "start", ...start, settings: [...start.settings, ...changes], device };
        try {
            const { step } = ready(await this.#open().request(command, bytes));
            if (this.#recovery !== token) return; // the page has begun something else
            this.#recovery = null;
            this.#runs = { ...runs, device };
            this.#emit({ type: "recovered", reason, step, device, sparing });
            if (this.#playing) this.send({ type: "resume" });
        } catch (error) {
            const { complaint } = /** @type {TrainerError} */ (error);
            // A fatal error has ended the link, so #died already handles it.
            if (!complaint.fatal && this.#recovery === token) this.#recover(complaint, runs);
        }
    }

    /** @param {Complaint} reason */
    #lose(reason) {
        this.#forget();
        this.#playing = false;
        this.#isLost = true;
        const kept = this.checkpoint;
        const next = kept
            ? `step ${kept.step} is kept: save it to a file and continue with \`srft train --resume\`, or reload the page`
            : "start again, with a smaller preset or on the device cpu";
        this.#emit({ type: "lost", reason: { ...reason, next }, step: kept?.step ?? 0 });
    }

    /**
     * @param {TrainerEvent} event
     * @param {Uint8Array} [bytes]
     */
    #emit(event, bytes) {
        for (const listener of this.#listeners.get(event.type) ?? []) {
            try {
                listener(event, bytes);
            } catch (error) {
                reportError(error); // one listener's fault is not another's
            }
        }
    }
}

/**
 * Ignores the error of a worker that gave no answer and is replaced: the runs stand still then, too.
 * @param {TrainerError} error
 */
function unlessDied(error) {
    if (!error.complaint.fatal) throw error;
}
