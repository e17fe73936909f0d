// Links to several workers, as one link. Where the CPU computes, several workers share the runs, a run or more each, and
// go step by step together. To the client this is like one worker: what they tell is put together here.

/** @import { Command, Complaint, Event } from "./protocol.js" */
/** @import { EventOf, Failed, Loading } from "./index.js" */
/** @import { How, Message } from "./link.js" */
/** @typedef {Event | Failed | Loading} Told */
/** @typedef {[part: number, event: Told, bytes: Uint8Array | undefined]} Held */
import { Link, TrainerError, first, ready } from "./link.js";
import { join } from "./zip.js";

export class Links {
    /** @type {Link[]} */
    #links = [];
    #open;
    #most;
    #onEvent;
    #onDeath;
    /** What is told while the runs are made: only once they are all there is it passed on.
     * @type {Held[] | null} */
    #held = null;
    /** The state of each worker's runs.
     * @type {EventOf<"state">[]} */
    #states = [];
    /** The state of all that was told last.
     * @type {EventOf<"state"> | null} */
    #state = null;
    /** Whether they are to go on after the present step. */
    #plays = false;
    /** What steps as long as they are to go on.
     * @type {Promise<void> | null} */
    #playing = null;
    /** How far each worker is with an evaluation.
     * @type {EventOf<"evaluating">[]} */
    #evaluating = [];
    /** What was complained of since the last request: what goes wrong in each worker is told once.
     * @type {Set<string>} */
    #complaints = new Set();
    /** Counts the times that runs were made or stopped: what came before is over. */
    #turn = 0;
    /** @type {Promise<unknown>} */
    #made = Promise.resolve();
    #isOver = false;

    /**
     * @param {URL | undefined} url of worker.js, unless it is beside this file
     * @param {"tiny" | "model"} program
     * @param {number} most how many workers there may be
     * @param {Map<string, Uint8Array | Blob | undefined>} brought the files that each worker needs
     * @param {(event: Told, bytes: Uint8Array | undefined) => void} onEvent
     * @param {(complaint: Complaint) => void} onDeath called once, when any of them has died; the others are ended
     */
    constructor(url, program, most, brought, onEvent, onDeath) {
        this.#most = most;
        this.#onEvent = onEvent;
        this.#onDeath = onDeath;
        this.#open = (/** @type {number} */ part) => {
            const link = new Link(
                url,
                program,
                (event, bytes) => this.#hear(part, event, bytes),
                (complaint) => this.#died(part, complaint),
            );
            // Where one can't be brought, an error says so, and the runs that need it another.
            for (const [name, file] of brought) link.request({ type: "bring", name }, file).catch(() => {});
            return link;
        };
        this.#links.push(this.#open(0));
    }

    /**
     * Like a link's request.
     * @param {Command} command
     * @param {Uint8Array | Blob} [bytes]
     * @param {How} [how]
     * @returns {Promise<Message[]>}
     */
    async request(command, bytes, how = {}) {
        const [leader] = this.#links;
        this.#complaints.clear();
        if (command.type === "start" || command.type === "load") {
            const made = this.#begin(command, bytes, how);
            this.#made = made.catch(() => {});
            return made;
        }
        if (command.type === "stop") return this.#stop(command, how);
        if (this.#held) await this.#made;
        if (this.#links.length === 1) return leader.request(command, bytes, how);
        switch (command.type) {
            case "look":
                return leader.request(command, bytes, how);
            case "inspect":
                return this.#links[command.run % this.#links.length].request(command, bytes, how);
            case "resume":
                this.#plays = true;
                this.#playing ??= this.#play();
                return [];
            case "step":
                this.#plays = false;
                await this.#step(how);
                return [[/** @type {EventOf<"state">} */ (this.#state), undefined]];
            case "ask":
                return this.#together("sample", await this.#all(command, undefined, how));
            case "save":
                return this.#together("saved", await this.#all(command, undefined, how));
            case "evaluate":
                this.#evaluating = [];
                return evaluationsOf(await this.#all(command, undefined, how));
            case "pause":
                this.#plays = false;
        }
        return (await this.#all(command, bytes, how)).flat();
    }

    /**
     * Ends the workers; requests without an answer are rejected.
     * @param {Complaint} complaint why
     */
    end(complaint) {
        this.#isOver = true;
        this.#plays = false;
        for (const link of this.#links) link.end(complaint);
    }

    /**
     * @param {Command} command
     * @param {Uint8Array | Blob | undefined} bytes
     * @param {How} how
     */
    #all(command, bytes, how) {
        return Promise.all(this.#links.map((link) => link.request(command, bytes, how)));
    }

    /** Ends the workers from the `count`th on. @param {number} count */
    #keep(count) {
        for (const link of this.#links.splice(count)) link.end(unneeded);
        this.#states.length = Math.min(this.#states.length, count);
    }

    /**
     * Makes the runs: the first worker its share, and when it has said how many share them, the others theirs. If
     * one of these fails, as where memory is short, the first makes all of them.
     * @param {Command & { type: "start" | "load" }} command
     * @param {Uint8Array | Blob | undefined} bytes
     * @param {How} how
     * @returns {Promise<Message[]>}
     */
    async #begin(command, bytes, how) {
        const turn = this.#over();
        const most = Math.min(this.#most, command.type === "start" ? command.runs.length || 1 : this.#most);
        const make = async (/** @type {number} */ part, /** @type {number} */ of, /** @type {Command} */ command) => {
            const link = this.#links[part];
            const shared = this.#most > 1 ? link.request({ type: "share", part, of }) : null;
            const [, got] = await Promise.all([shared, link.request(command, bytes, how)]);
            if (turn !== this.#turn) throw new TrainerError(overtaken);
            return ready(got);
        };
        /** @type {Held[]} */
        const held = [];
        this.#held = held;
        try {
            let views = [await make(0, most, command)];
            const of = views[0].share.of;
            this.#keep(of);
            const others = Array.from({ length: of - 1 }, async (_, i) => {
                this.#links[i + 1] ??= this.#open(i + 1);
                return make(i + 1, of, { ...command, device: "cpu" });
            });
            try {
                views.push(...(await Promise.all(others)));
            } catch (error) {
                if (this.#isOver || turn !== this.#turn) throw error;
                this.#keep(1);
                held.length = 0;
                views = [await make(0, 1, command)];
                this.#most = 1;
            }
            const all = whole(views);
            this.#states = [];
            this.#state = null;
            this.#onEvent(all, undefined);
            return [[all, undefined]];
        } finally {
            if (turn === this.#turn) {
                this.#held = null;
                for (const [part, event, bytes] of held) this.#hear(part, event, bytes);
            }
        }
    }

    /**
     * Ends the runs, and the workers but the first.
     * @param {Command} command
     * @param {How} how
     */
    async #stop(command, how) {
        const turn = this.#over();
        const [got] = await this.#all(command, undefined, how);
        this.#keep(1);
        if (turn === this.#turn && this.#held) {
            this.#held = null; // of runs that never were
            this.#onEvent(first("state", got)[0], undefined);
        }
        return got;
    }

    /** What was under way is over; workers of runs that are still being made are not waited for. */
    #over() {
        this.#plays = false;
        if (this.#held) this.#keep(1);
        return ++this.#turn;
    }

    /** Step after step, until they are paused, done, or one fails, which an error event has told. */
    async #play() {
        try {
            while (this.#plays && this.#states.some(({ state }) => state !== "done")) await this.#step({ lasts: true });
        } catch {}
        this.#plays = false;
        this.#playing = null;
        this.#tellState();
    }

    /** A step of every run, or less of those that are ahead. @param {How} how */
    #step(how) {
        const open = this.#states.filter(({ state }) => state !== "done");
        const to = Math.min(...open.map(({ step }) => step)) + 1;
        return this.#all({ type: "step", to }, undefined, how);
    }

    /**
     * @param {number} part
     * @param {Told} event
     * @param {Uint8Array | undefined} bytes
     */
    #hear(part, event, bytes) {
        if (event.type === "loading") {
            if (part === 0) this.#onEvent(event, bytes);
        } else if (event.type === "error") {
            // What a further worker can't do, the first does.
            if ((this.#held && part > 0) || ("of" in event && this.#complaints.has(event.what))) return;
            this.#complaints.add(event.what);
            this.#onEvent(event, bytes);
        } else if (this.#held) {
            if (event.type !== "ready") this.#held.push([part, event, bytes]);
        } else if (this.#links.length === 1) {
            this.#onEvent(event, bytes);
        } else if (event.type === "state") {
            this.#states[part] = event;
            this.#tellState();
        } else if (event.type === "evaluating") {
            this.#evaluating[part] = event;
            this.#tellEvaluating();
        } else if (event.type !== "sample" && event.type !== "saved") {
            this.#onEvent(event, bytes);
        }
    }

    /** Tells the state of all runs, where it is another than before. */
    #tellState() {
        if (Object.keys(this.#states).length < this.#links.length) return; // not all are heard
        const states = this.#states.map(({ state }) => state);
        const state = this.#plays && states.some((state) => state !== "done") ? "playing" : together(states);
        const step = Math.min(...this.#states.map(({ step }) => step));
        const before = this.#state;
        if (before?.state === state && (state === "playing" || before.step === step)) return;
        this.#state = { type: "state", state, step };
        this.#onEvent(this.#state, undefined);
    }

    /** Tells how far an evaluation is, once each worker has begun. */
    #tellEvaluating() {
        const heard = Object.values(this.#evaluating);
        if (heard.length < this.#links.length) return;
        const done = heard.reduce((sum, { done }) => sum + done, 0);
        const of = heard.reduce((sum, { of }) => sum + of, 0);
        this.#onEvent({ type: "evaluating", done, of }, undefined);
    }

    /**
     * Puts what each worker answered together, and tells it.
     * @param {"sample" | "saved"} type
     * @param {Message[][]} got
     * @returns {Message[]}
     */
    #together(type, got) {
        /** @type {Message} */
        const message = type === "sample" ? sampleOf(got) : savedOf(got);
        this.#onEvent(...message);
        return [message];
    }

    /** @param {number} part @param {Complaint} complaint */
    #died(part, complaint) {
        // One that fails at the beginning is done without.
        if (this.#held && part > 0) return;
        this.end(complaint);
        this.#onDeath(complaint);
    }
}

/**
 * How many workers may share the runs: a core is left to the page, and a published model, which each worker
 * holds, needs memory. Of that browsers tell little: 8 GiB at most, or nothing.
 * @param {"tiny" | "model"} program
 */
export function workersFor(program) {
    const cores = navigator.hardwareConcurrency ?? 1;
    const gib = /** @type {{ deviceMemory?: number }} */ (navigator).deviceMemory ?? cores;
    return program === "model" && gib < 8 ? 1 : Math.max(1, cores - 1);
}

/** @type {Complaint} */
const unneeded = {
    kind: "interrupted",
    what: "the worker was not needed any more",
    place: "the trainer's workers",
    next: null,
    fatal: true,
};

/** @type {Complaint} */
const overtaken = {
    kind: "interrupted",
    what: "the runs were stopped, or others begun, before all of them were there",
    place: null,
    next: null,
    fatal: false,
};

/** @param {EventOf<"state">["state"][]} states */
function together(states) {
    if (states.includes("playing")) return "playing";
    if (states.every((state) => state === "done")) return "done";
    return states.includes("stopped") ? "stopped" : "paused";
}

/**
 * All runs in their order: of three workers the first has the runs 0, 3, 6, …
 * @param {EventOf<"ready">[]} views
 * @returns {EventOf<"ready">}
 */
function whole(views) {
    const count = views.reduce((sum, view) => sum + view.runs.length, 0);
    const runs = Array.from({ length: count }, (_, run) => views[run % views.length].runs[Math.floor(run / views.length)]);
    return { ...views[0], runs, step: Math.min(...views.map((view) => view.step)) };
}

/** @param {Message[][]} got @returns {[EventOf<"sample">, undefined]} */
function sampleOf(got) {
    const samples = got.map((of) => first("sample", of)[0]);
    return [{ ...samples[0], answers: samples.flatMap(({ answers }) => answers).sort(ofRun) }, undefined];
}

/** @param {Message[][]} got @returns {[EventOf<"saved">, Uint8Array]} */
function savedOf(got) {
    const saved = got.map((of) => first("saved", of));
    // Where one is a step ahead of another, the name is that of the step which all have done.
    const [event] = saved.reduce((least, other) => (other[0].step < least[0].step ? other : least));
    return [event, join(saved.map(([, bytes]) => /** @type {Uint8Array} */ (bytes)))];
}

/** In the order of runs, the base first. @param {{ run: number | null }} a @param {{ run: number | null }} b */
const ofRun = (a, b) => (a.run ?? -1) - (b.run ?? -1);

/** @param {Message[][]} got */
function evaluationsOf(got) {
    const found = got.flat().filter(([event]) => event.type === "evaluation");
    return found.sort(([a], [b]) => ofRun(/** @type {any} */ (a), /** @type {any} */ (b)));
}
