// A trainer without a model, in place of srft.js: what the client makes of answers and failures is
// tested with it in milliseconds. A setting `fail=HOW@STEP@DEVICE` makes it fail on the way to that
// step on that device: `panic` (a fatal event, then silence), `memory` (the same, unless layers are computed again), `trap` (an exception), `close` (the
// worker ends without a word), `error` (a complaint that is not fatal), `loop` (it computes for ever). Where
// several workers share the runs, `part=P` names the one that fails, and `making` for the step fails while runs are made.
// With a setting `needs=NAME` there are runs only if a file of that name was brought, whose contents are `this is NAME`.

export default async function init() {}

export class Lab {
    #emit;
    #start = { device: "none", settings: [], runs: [] };
    #step = 0;
    #turn = 0;
    #until = 0;
    #share = { part: 0, of: 1 };
    #brought = new Map();
    /** Indices of its own runs. */
    #runs = [];
    /** Slices of the evaluation still to be done, and of how many. */
    #slices = 0;
    #of = 0;

    constructor(_weights, emit) {
        this.#emit = (event, bytes) => emit(JSON.stringify(event), bytes);
    }

    get busy() {
        return this.#playing || this.evaluating;
    }

    get evaluating() {
        return this.#slices > 0;
    }

    get #playing() {
        return this.#step < this.#until;
    }

    async handle(json, bytes) {
        const { type, ...command } = JSON.parse(json);
        await this[`_${type}`](command, bytes);
    }

    async advance() {
        await new Promise((resolve) => setTimeout(resolve, 10));
        if (this.evaluating) return this.#evaluateOn();
        await this.#fail(this.#step + 1);
        if (!this.#playing) return;
        this.#emit({ type: "step", run: this.#runs[this.#turn], report: { step: this.#step + 1 } });
        this.#turn = (this.#turn + 1) % this.#runs.length;
        if (this.#turn > 0) return;
        this.#step += 1;
        if (!this.#playing) this._pause();
    }

    _bring({ name }, bytes) {
        this.#brought.set(name, new TextDecoder().decode(bytes));
    }

    _share(share) {
        this.#share = share;
    }

    async _start(start) {
        if (start.device === "broken") {
            const next = "take another device";
            return this.#complain({ what: "no such device", next, fatal: true });
        }
        this.#start = start;
        this.#step = this.#turn = this.#until = 0;
        await this.#ready();
    }

    async _load({ device, settings = [] }, bytes) {
        let saved;
        try {
            saved = JSON.parse(new TextDecoder().decode(bytes).split("\n")[0]);
        } catch {
            return this.#complain({ what: "not a checkpoint", next: "choose another file", fatal: false });
        }
        this.#start = { ...saved.start, device, settings: [...saved.start.settings, ...settings] };
        this.#step = this.#until = saved.step;
        this.#turn = 0;
        await this.#ready();
    }

    /** A line of JSON, and a zip's last record, which says that there is no entry. */
    _save() {
        const text = JSON.stringify({ start: this.#start, step: this.#step }) + "\n";
        const bytes = new Uint8Array(text.length + 22);
        bytes.set(new TextEncoder().encode(text));
        new DataView(bytes.buffer).setUint32(text.length + 16, text.length, true);
        this.#emit({ type: "saved", name: `fake-step${this.#step}.zip`, step: this.#step }, bytes);
    }

    _step({ to }) {
        this.#until = to ?? this.#step + 1;
        if (!this.#playing) return this._pause();
        this.#state("playing");
    }

    _resume() {
        this.#until = Infinity;
        this.#state("playing");
    }

    _pause() {
        this.#until = this.#step;
        this.#state("paused");
    }

    _stop() {
        this.#start.runs = [];
        this.#until = this.#step;
        this.#state("stopped");
    }

    _evaluate({ examples }) {
        this.#slices = this.#of = examples * this.#models.length;
    }

    _cancel() {
        this.#slices = 0;
    }

    /** A problem a slice. With the setting `hold=N` it stays at N problems until it is cancelled. */
    #evaluateOn() {
        if (this.#start.settings.includes(`hold=${this.#of - this.#slices}`)) return;
        this.#slices -= 1;
        const done = this.#of - this.#slices;
        this.#emit({ type: "evaluating", done, of: this.#of });
        const model = (done * this.#models.length) / this.#of;
        if (!Number.isInteger(model)) return;
        this.#emit({ type: "evaluation", run: this.#models[model - 1], step: this.#step, scores: [], asked: true });
    }

    _ask({ prompt }) {
        if (prompt === "?") return this.#complain({ what: "not a prompt", next: "ask something else", fatal: false });
        this.#emit({ type: "sample", prompt, answers: this.#models.map((run) => ({ run })) });
    }

    _inspect({ run }) {
        this.#emit({ type: "group", run, part: this.#share.part });
    }

    /** The base, which the first worker has, and its own runs. */
    get #models() {
        return this.#share.part === 0 ? [null, ...this.#runs] : this.#runs;
    }

    async #ready() {
        await this.#fail("making");
        const needed = this.#start.settings.find((setting) => setting.startsWith("needs="))?.slice(6);
        if (needed && this.#brought.get(needed) !== `this is ${needed}`)
            return this.#complain({ what: `${needed} is not here`, next: "bring it", fatal: false });
        const of = this.#start.device === "webgpu" ? 1 : Math.min(this.#share.of, this.#start.runs.length);
        this.#runs = [...this.#start.runs.keys()].filter((run) => run % of === this.#share.part);
        const runs = this.#runs.map((run) => {
            return { method: this.#start.runs[run].method, settings: {}, reports: [], evaluations: [] };
        });
        const share = { ...this.#share, of };
        this.#emit({ type: "ready", adapter: { name: this.#start.device }, share, runs, step: this.#step });
        this.#state("paused");
    }

    #state(state) {
        this.#emit({ type: "state", state, step: this.#step });
    }

    #complain({ what, next, fatal }) {
        this.#emit({ type: "error", kind: "machine", what, place: null, next, fatal });
    }

    async #fail(step) {
        for (const setting of this.#start.settings) {
            const [how, at, device] = setting.replace("fail=", "").split("@");
            if (at !== String(step) || (device !== this.#start.device && device !== "any")) continue;
            const only = this.#start.settings.find((setting) => setting.startsWith("part="));
            if (only && only !== `part=${this.#share.part}`) continue;
            if (how === "panic") {
                this.#complain({ what: "panicked", next: "report it", fatal: true });
                await new Promise(() => {});
            }
            if (how === "memory" && !this.#start.settings.includes("train.checkpointing=true")) {
                this.#complain({ what: "the driver complained: Out of Memory", next: "spare some", fatal: true });
                await new Promise(() => {});
            }
            if (how === "trap") throw new WebAssembly.RuntimeError("unreachable");
            if (how === "loop") for (;;);
            if (how === "close") self.close();
            if (how === "error") {
                this.#complain({ what: "the loss is not finite", next: "lower the rate", fatal: false });
                this._pause();
            }
        }
    }
}
