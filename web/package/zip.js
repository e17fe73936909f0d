// Joining the archives of several workers.

/** Bytes of a zip's last record, of which all else is found; the trainer's have no comment. */
const END = 22;

/**
 * One archive of all their entries, which stay as they are. No archive of the trainer's needs the large
 * numbers of zip64.
 * @param {Uint8Array[]} archives
 */
export function join(archives) {
    const parts = archives.map((bytes) => {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        const end = bytes.length - END;
        const count = view.getUint16(end + 10, true);
        return { bytes, count, size: view.getUint32(end + 12, true), start: view.getUint32(end + 16, true) };
    });
    const count = parts.reduce((sum, part) => sum + part.count, 0);
    const start = parts.reduce((sum, part) => sum + part.start, 0);
    const size = parts.reduce((sum, part) => sum + part.size, 0);
    const all = new Uint8Array(start + size + END);
    const view = new DataView(all.buffer);
    let [body, index] = [0, start];
    for (const { bytes, start, size } of parts) {
        all.set(bytes.subarray(0, start), body);
        all.set(bytes.subarray(start, start + size), index);
        // Each of the index's records says where its entry begins.
        for (const after = index + size; index < after; ) {
            view.setUint32(index + 42, view.getUint32(index + 42, true) + body, true);
            const [name, extra, comment] = [28, 30, 32].map((at) => view.getUint16(index + at, true));
            index += 46 + name + extra + comment;
        }
        body += start;
    }
    all.set(parts[0].bytes.subarray(-END), index);
    for (const at of [8, 10]) view.setUint16(index + at, count, true);
    view.setUint32(index + 12, size, true);
    view.setUint32(index + 16, start, true);
    return all;
}
