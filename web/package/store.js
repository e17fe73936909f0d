// The last checkpoint, kept by the browser in IndexedDB, so that a reload loses little.

/** @import { Checkpoint, Store } from "./index.js" */

const TABLE = "checkpoints";
const LAST = "last";

/**
 * A place for one checkpoint; another name is another place.
 * @param {string} [name] of the database
 * @returns {Store}
 */
export function openStore(name = "srft") {
    /**
     * @template T
     * @param {IDBTransactionMode} mode
     * @param {(table: IDBObjectStore) => IDBRequest<T>} act
     * @returns {Promise<T>}
     */
    async function run(mode, act) {
        const opening = indexedDB.open(name, 1);
        opening.onupgradeneeded = () => opening.result.createObjectStore(TABLE);
        const database = await result(opening);
        try {
            const transaction = database.transaction(TABLE, mode);
            const request = act(transaction.objectStore(TABLE));
            await new Promise((resolve, reject) => {
                transaction.oncomplete = resolve;
                transaction.onerror = transaction.onabort = () => reject(transaction.error);
            });
            return request.result;
        } finally {
            database.close();
        }
    }

    return {
        async put(checkpoint) {
            await run("readwrite", (table) => table.put(checkpoint, LAST));
        },
        async get() {
            const found = await run("readonly", (table) => table.get(LAST));
            return /** @type {Checkpoint | undefined} */ (found);
        },
        async delete() {
            await run("readwrite", (table) => table.delete(LAST));
        },
    };
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function result(request) {
    return new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
    });
}
