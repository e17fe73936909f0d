// A slot of the browser's store for each tab, so that two tabs do not overwrite each other's runs; a tab
// that was closed leaves its slot to the next one that opens the same address.

import { openStore } from "./srft/client.js";

/** @typedef {import("../package/index.js").Checkpoint} Checkpoint */

/** @typedef {import("../package/index.js").GroupView} GroupView */

const KEY = "srft-tab";
const GROUP = "srft-group";
const DATABASE = "srft";
/** Slots of closed tabs that are kept: each is some 20 MB. */
const LEFT = 2;
/** A reloaded page may come before the lock of the page before it is gone, ms. */
const HANDOVER = 500;
/** Without locks a slot that was written so lately counts as another tab's, ms. */
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
     * Takes over what a closed tab has left with an address that fits, if there is any.
     * @param {(url: string) => boolean} fits
     * @returns {Promise<{ found: Checkpoint | undefined, elsewhere: boolean }>} and whether an open tab has it
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
        // No storage for this page: the slot is good until a reload.
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
        // As above.
    }
}

/**
 * Keeps the group that is shown for a reload of this tab: it cannot be had again without another step.
 * @param {string | null} address of its runs
 * @param {GroupView | null} group
 */
export function keepGroup(address, group) {
    try {
        sessionStorage.setItem(GROUP, JSON.stringify({ address, group }));
    } catch {
        // It is shown again after the next step.
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
 * @param {number} [patience] ms for whoever holds it to let go
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
