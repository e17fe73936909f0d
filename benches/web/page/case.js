// A case that fixture.mjs prepared, as the rivals take it.

import { read } from "./safetensors.js";

/**
 * Config, weights, AdamW's moments and the batch. Of adapters over a base, `base` has its weights, which do not
 * train, and `weights` the adapters'.
 */
export async function loadCase(url) {
    const file = async (name) => {
        const response = await fetch(url + name);
        if (!response.ok) throw new Error(`${url}${name}: ${response.status}`);
        return new Uint8Array(await response.arrayBuffer());
    };
    const plan = JSON.parse(new TextDecoder().decode(await file("case.json")));
    const stored = read(await file("trained.safetensors"));
    const base = plan.lora ? read(await file("base.safetensors")) : {};
    const moments = read(await file("optimizer.safetensors"));
    const parts = plan.names.map((name, i) => [
        name,
        {
            ...stored[name],
            first: moments[`first.${i}`].values,
            second: moments[`second.${i}`].values,
        },
    ]);
    return { ...plan, base, weights: Object.fromEntries(parts) };
}

/** The rows of a table that stand at `ids`, one after the other. */
export function gather({ shape: [, width], values }, ids) {
    const rows = new Float32Array(ids.length * width);
    ids.forEach((id, i) => rows.set(values.subarray(id * width, (id + 1) * width), i * width));
    return rows;
}
