// What both rivals' transformers need as constants: rotary tables and the causal mask.

/** cos and sin of position·θ^(−2i/dh), [T, dh], each half of a head the same (Hugging Face's form). */
export function rotary(positions, headDim, theta) {
    const half = headDim / 2;
    const [cos, sin] = [0, 1].map(() => new Float32Array(positions * headDim));
    for (let t = 0; t < positions; t++) {
        for (let i = 0; i < headDim; i++) {
            const angle = t * theta ** (-(i % half) / half);
            cos[t * headDim + i] = Math.cos(angle);
            sin[t * headDim + i] = Math.sin(angle);
        }
    }
    return { cos, sin };
}

/** Added to the scores, [T, T]: 0 where a position sees another, else large and negative. */
export function causal(positions) {
    const mask = new Float32Array(positions * positions);
    for (let i = 0; i < positions; i++) mask.fill(-1e9, i * positions + i + 1, (i + 1) * positions);
    return mask;
}
