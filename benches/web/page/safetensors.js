// Hugging Face's safetensors in (F32) and out (F32, or BF16 as 16-bit numbers): a length, a JSON header, the numbers.

/** Tensors by name, each { shape, values }. */
export function read(bytes) {
    const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
    const tensors = {};
    for (const [name, { dtype, shape, data_offsets: range }] of Object.entries(header)) {
        if (name === "__metadata__") continue;
        if (dtype !== "F32") throw new Error(`${name} is ${dtype}, expected F32`);
        // A copy, since the numbers may not lie on a multiple of four.
        const part = bytes.slice(8 + length + range[0], 8 + length + range[1]);
        tensors[name] = { shape, values: new Float32Array(part.buffer) };
    }
    return tensors;
}

/** The bytes of a file with these tensors. */
export function write(tensors) {
    const header = {};
    let end = 0;
    for (const [name, { shape, values }] of Object.entries(tensors)) {
        const dtype = values instanceof Uint16Array ? "BF16" : "F32";
        header[name] = { dtype, shape, data_offsets: [end, (end += values.byteLength)] };
    }
    const text = new TextEncoder().encode(JSON.stringify(header));
    const padded = Math.ceil(text.length / 8) * 8; // so that the numbers are aligned
    const bytes = new Uint8Array(8 + padded + end).fill(0x20, 8, 8 + padded);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
    bytes.set(text, 8);
    for (const [name, { values }] of Object.entries(tensors)) {
        const at = 8 + padded + header[name].data_offsets[0];
        bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    }
    return bytes;
}
