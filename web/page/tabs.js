// Each tab has a slot of its own in the browser's store, so that two tabs do not overwrite each other's runs.
// The slot of a closed tab goes to the next tab that opens the same address.

import { openStore } from "./srft/client.js";

/** @typedef {import("../package/index.js").Checkpoint} Checkpoint */

/** @typedef {import("../package/index.js").GroupView} GroupView */

const KEY = "srft-tab";
const GROUP = "srft-group";
const DATABASE = "srft";
/** How many slots of closed tabs are kept; each is some 20 MB. */
const LEFT = 2;
/** Time to wait for the lock of the page before a reload to be released, ms. */
const HANDOVER = 500;
/** In a browser without locks, a slot written within this time counts as another tab's, ms. */
const RECENT = 120_000;

const lockOf = (/** @type {string} */ slot) => `srft-tab-${slot}`;

export class TabStore {
    #slot = claim();

    async #store() {
        return openStore(DATABASE, await this.#slot);
    }

    /** @param {Checkpoint} checkpoint */
    async put(checkpoint) {
        const store = await this.#store();
        await store.put(checkpoint);
        const left = (await this.#others()).filter((other) => !other.isOpen);
        for (const { slot } of left.slice(LEFT)) await openStore(DATABASE, slot).delete();
    }

    async get() {
        return (await this.#store()).get();
    }

    async delete() {
        await (await this.#store()).delete();
    }

    /**
     * Takes over the checkpoint that a closed tab left under an address that `fits`, if there is one.
     * @param {(url: string) => boolean} fits
     * @returns {Promise<{ found: Checkpoint | undefined, elsewhere: boolean }>} `elsewhere`: an open tab has it
     */
    async inherit(fits) {
        const others = (await this.#others()).filter((other) => fits(other.url));
        const left = others.find((other) => !other.isOpen);
        if (left && (await hold(left.slot))) {
            remember(left.slot);
            this.#slot = Promise.resolve(left.slot);
            return { found: await this.get(), elsewhere: false };
        }
        return { found: undefined, elsewhere: others.length > 0 };
    }

    async #others() {
        const others = await (await this.#store()).others();
        const locks = (await navigator.locks?.query())?.held?.map((lock) => lock.name);
        return others.map((other) => ({
            ...other,
            isOpen: locks ? locks.includes(lockOf(other.slot)) : Date.now() - other.at < RECENT,
        }));
    }
}

/** The slot that this tab had before a reload, or a new one; a duplicated tab gets one of its own. */
async function claim() {
    let slot = null;
    try {
        slot = sessionStorage.getItem(KEY);
    } catch {
        // The page may not store anything: the slot lasts until a reload.
    }
    if (slot && (await hold(slot))) return slot;
    slot = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`;
    await hold(slot, Infinity); // nobody else has it, however long a busy browser takes
    remember(slot);
    return slot;
}

/** @param {string} slot */
function remember(slot) {
    try {
        sessionStorage.setItem(KEY, slot);
    } catch {
        // The page may not store anything: see above.
    }
}

/**
 * Stores the group that is shown, for a reload of this tab: the trainer could not give it again without
 * another step.
 * @param {string | null} address of its runs
 * @param {GroupView | null} group
 */
export function keepGroup(address, group) {
    try {
        sessionStorage.setItem(GROUP, JSON.stringify({ address, group }));
    } catch {
        // Then a group is only shown again after the next step.
    }
}

/** @param {string | null} address @returns {GroupView | null} */
export function keptGroup(address) {
    try {
        const kept = JSON.parse(sessionStorage.getItem(GROUP) ?? "{}");
        return kept.address === address ? kept.group : null;
    } catch {
        return null;
    }
}

/**
 * Holds a slot for as long as the tab is open.
 * @param {string} slot
 * @param {number} [patience] ms to wait for another holder to release it
 * @returns {Promise<boolean>} whether it was free
 */
function hold(slot, patience = HANDOVER) {
    if (!navigator.locks) return Promise.resolve(true);
    const options = patience === Infinity ? {} : { signal: AbortSignal.timeout(patience) };
    return new Promise((resolve) => {
        navigator.locks
            .request(lockOf(slot), options, () => {
                resolve(true);
                return new Promise(() => {});
            })
            .catch(() => resolve(false));
    });
}
