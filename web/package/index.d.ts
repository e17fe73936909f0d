// What the package offers. Commands and events are those of the trainer (protocol.d.ts); two events
// are the client's own: `recovered` and `lost`.

import type { Command, Complaint, Event, Facts, GroupView, Ready, Start, State } from "./protocol.js";

export type * from "./protocol.js";

/** The worker had failed; a fresh one goes on from the last checkpoint. */
export interface Recovered {
    type: "recovered";
    /** Why the old worker was given up. */
    reason: Complaint;
    /** Steps done of the checkpoint that it goes on from; 0: from the start. */
    step: number;
    /** The device it was asked to take: `cpu` at the second try. */
    device: string;
    /** Whether memory was short, and the runs now compute their layers again where they had kept them (`train.checkpointing`). */
    sparing: boolean;
}

/** The worker failed again and again without a step between: the runs have ended. */
export interface Lost {
    type: "lost";
    /** What failed last, and what to do next. */
    reason: Complaint;
    /** Steps done of the last checkpoint, which `Trainer.checkpoint` still holds; 0: there is none. */
    step: number;
}

/** How much of wasm and weights has come, before the first command is heard. */
export interface Loading {
    type: "loading";
    /** Bytes so far. */
    loaded: number;
    /** Of so many; an estimate where the server compresses. */
    total: number;
}

/** Something went wrong. */
export interface Failed extends Complaint {
    type: "error";
    /** The request that failed and whose promise rejects, too; none where the runs failed by themselves. */
    of?: Command["type"];
}

/** Everything that a listener can hear. */
export type TrainerEvent = Exclude<Event, { type: "error" }> | Failed | Loading | Recovered | Lost;

/** The event of a type. */
export type EventOf<T extends TrainerEvent["type"]> = Extract<TrainerEvent, { type: T }>;

/** The state of all runs after a step, and how they came to be. */
export interface Checkpoint {
    /** A zip of run folders, which `srft train --resume` takes up too. */
    bytes: Uint8Array;
    /** A name for the file. */
    name: string;
    /** Steps done. */
    step: number;
    /** Address of the page that saved it, with its settings. */
    url: string;
    /** What the page wanted kept beside it (`Options.beside`). */
    beside?: unknown;
}

/** Where the last checkpoint survives a reload. */
export interface Store {
    put(checkpoint: Checkpoint): Promise<void>;
    get(): Promise<Checkpoint | undefined>;
    delete(): Promise<void>;
}

/** What a slot of a database holds. */
export interface Slot {
    slot: string;
    step: number;
    url: string;
    /** When it was put, ms since 1970. */
    at: number;
}

/** A store that knows its neighbours. */
export interface SlotStore extends Store {
    /** The other slots of the database, newest first. */
    others(): Promise<Slot[]>;
}

/**
 * A store in IndexedDB; another name is another database, another slot (`last` unless given) another
 * place in it. Requests reject after some seconds where the browser gives no answer.
 */
export function openStore(name?: string, slot?: string): SlotStore;

export interface Options {
    /**
     * Which program: `tiny`, the default, has the built-in model alone; `model` trains adapters over published ones, too,
     * and is a larger download.
     */
    program?: "tiny" | "model";
    /** Where worker.js is, unless beside client.js. */
    workerUrl?: URL;
    /**
     * How many workers may share the runs where the CPU computes, a run or more each; the numbers are those of one. Unless
     * given, one less than the machine has cores, and one alone for `model` where the browser tells of less than 8 GiB of memory.
     */
    workers?: number;
    /** Where checkpoints are kept; null: in memory alone. IndexedDB unless given. */
    store?: Store | null;
    /** While the runs play, save every so many seconds, 30 unless given; also when they rest, and when the page is hidden. */
    saveEverySecs?: number;
    /** A worker that is silent for so many seconds (5 unless given) after `pause` or `stop` is replaced. */
    patienceSecs?: number;
    /** What else is to be kept with a checkpoint; asked whenever one is stored. */
    beside?: () => unknown;
}

/** A request that failed. The same complaint came as an `error` event. */
export class TrainerError extends Error {
    readonly complaint: Complaint;
}

/** A trainer in workers of its own. Requests reject with a TrainerError. */
export class Trainer {
    private constructor();
    /** Makes the first worker, which loads the trainer at once. */
    static connect(options?: Options): Trainer;
    /** The last checkpoint in memory. */
    readonly checkpoint: Checkpoint | null;
    /** Where checkpoints are kept. */
    readonly store: Store | null;
    /** How many workers may share the runs where the CPU computes. */
    readonly workers: number;
    /** Hears events of a type until the returned function is called. */
    on<T extends TrainerEvent["type"]>(
        type: T,
        listener: (event: EventOf<T>, bytes: Uint8Array | undefined) => void,
    ): () => void;
    /** Sends a command; what comes of it comes as events. */
    send(command: Command, bytes?: Uint8Array | Blob): void;
    /**
     * Brings a file to the program `model`: a GGUF file, one of a Hugging Face folder (`FOLDER/config.json` and so on), an
     * adapter's, or data. The settings name it so: `model.path=NAME`, `data.train=["NAME"]`. Without a file, one of ours:
     * `sums-in-words.jsonl`.
     */
    bring(name: string, file?: Uint8Array | Blob): Promise<void>;
    /** What there is to say of a model that was brought, and what a run by these settings will need. */
    look(model: string, settings?: string[], device?: string): Promise<Facts & { type: "facts" }>;
    /** Opens a device, tests its kernels and makes the runs, paused. */
    start(start: Start): Promise<Ready>;
    /** Takes up the runs of a file, paused. */
    load(bytes: Uint8Array, device?: string): Promise<Ready>;
    /** One step of every run; resolves when it is done. Asked for twice at once, it is one. */
    step(): Promise<EventOf<"state">>;
    /** Steps until paused, stopped or done; resolves when it has begun. */
    resume(): Promise<void>;
    /**
     * Stops after the present step of a run. A worker that gives no answer is replaced, and the runs
     * stand at their last checkpoint (`recovered`).
     */
    pause(): Promise<void>;
    /** Ends the runs, and a worker that gives no answer with them. */
    stop(): Promise<void>;
    /** Evaluates the base and every run; every suite unless named. Resolves with less where cancelled. */
    evaluate(examples: number, suites?: string[]): Promise<EventOf<"evaluation">[]>;
    /** Ends the evaluation under way. */
    cancel(): Promise<void>;
    /**
     * The base and every run answer a prompt, a chat model as a user's message; temperature 0, the default, is greedy.
     * `tokens` is the most of an answer, unless given a rollout's.
     */
    ask(prompt: string, temperature?: number, tokens?: number): Promise<EventOf<"sample">>;
    /** Takes a prompt's group of a run's last step apart. */
    inspect(run: number, prompt: number): Promise<GroupView>;
    /**
     * Packs the run folders into a file; of runs that are lost, the last checkpoint. With `adapters`, each run's folder has
     * its adapter for other programs as well: `peft/`, and `llama.cpp/adapter.gguf`.
     */
    save(options?: { adapters?: boolean }): Promise<Checkpoint>;
    /** Stores the last checkpoint with the page's present address: after a `load` from a file. */
    keep(): Promise<void>;
    /** Ends the worker. */
    close(): void;
}
