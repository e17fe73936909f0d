// A case that fixture.mjs prepared, as the rivals take it.

import { read } from "./safetensors.js";

/** Config, weights, AdamW's moments and the batch. */
export async function loadCase(url) {
    const file = async (name) => {
        const response = await fetch(url + name);
        if (!response.ok) throw new Error(`${url}${name}: ${response.status}`);
        return new Uint8Array(await response.arrayBuffer());
    };
    const plan = JSON.parse(new TextDecoder().decode(await file("case.json")));
    const stored = read(await file("model.safetensors"));
    const moments = read(await file("optimizer.safetensors"));
    const parts = plan.names.map((name, i) => [
        name,
        {
            ...stored[name],
            first: moments[`first.${i}`].values,
            second: moments[`second.${i}`].values,
        },
    ]);
    return { ...plan, weights: Object.fromEntries(parts) };
}
