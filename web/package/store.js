// Stores checkpoints in the browser's IndexedDB, so that a reload loses little.

/** @import { Checkpoint, SlotStore, Slot } from "./index.js" */

const TABLE = "checkpoints";
/** Prefix of the key under which a checkpoint's description is stored, beside the checkpoint itself. */
const ABOUT = "about ";
/** Time limit for opening the database and for a request, ms: some browsers let them wait for ever. */
const OPENS = 3000;
const ANSWERS = 10_000;

/**
 * A place for one checkpoint: `slot` in the database `name`.
 * @param {string} [name]
 * @param {string} [slot]
 * @returns {SlotStore}
 */
export function openStore(name = "srft", slot = "last") {
    /**
     * @template T
     * @param {IDBTransactionMode} mode
     * @param {(table: IDBObjectStore) => IDBRequest<T>} act
     * @returns {Promise<T>}
     */
    async function run(mode, act) {
        const database = await opened(name);
        try {
            const transaction = database.transaction(TABLE, mode);
            const request = act(transaction.objectStore(TABLE));
            const done = new Promise((resolve, reject) => {
                transaction.oncomplete = resolve;
                transaction.onerror = transaction.onabort = () => reject(transaction.error);
            });
            await within(ANSWERS, done);
            return request.result;
        } finally {
            database.close();
        }
    }

    return {
        async put(checkpoint) {
            const { step, url } = checkpoint;
            await run("readwrite", (table) => {
                table.put({ slot, step, url, at: Date.now() }, ABOUT + slot);
                return table.put(checkpoint, slot);
            });
        },
        async get() {
            const found = await run("readonly", (table) => table.get(slot));
            return /** @type {Checkpoint | undefined} */ (found);
        },
        async delete() {
            await run("readwrite", (table) => {
                table.delete(ABOUT + slot);
                return table.delete(slot);
            });
        },
        async others() {
            const range = IDBKeyRange.bound(ABOUT, `${ABOUT}\uffff`);
            const all = /** @type {Slot[]} */ (await run("readonly", (table) => table.getAll(range)));
            return all.filter((other) => other.slot !== slot).sort((a, b) => b.at - a.at);
        },
    };
}

/** @param {string} name @returns {Promise<IDBDatabase>} */
function opened(name) {
    const opening = indexedDB.open(name, 1);
    /** @type {Promise<IDBDatabase>} */
    const database = new Promise((resolve, reject) => {
        opening.onupgradeneeded = () => opening.result.createObjectStore(TABLE);
        opening.onsuccess = () => resolve(opening.result);
        opening.onerror = () => reject(opening.error);
        opening.onblocked = () => reject(new Error("another tab holds the database"));
    });
    return within(OPENS, database).catch((error) => {
        database.then((late) => late.close(), () => {});
        throw error;
    });
}

/**
 * @template T
 * @param {number} ms
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
function within(ms, promise) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`the browser's storage gave no answer for ${ms / 1000} s`)), ms);
        promise.then(resolve, reject).finally(() => clearTimeout(timer));
    });
}
