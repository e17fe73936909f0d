// What a reader downloads: prints raw and brotli size of each file of the site, and fails when a program,
// wasm and glue together, has grown too large.
//
//   node sizes.mjs DIST CACHE   CACHE keeps brotli sizes by content, since quality 11 is slow

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";

// Bytes in brotli: a reader waits for them.
const PROGRAMS = [
    { name: "srft", limit: 2_000_000 },
    { name: "srft-model", limit: 3_000_000 },
];
const NOT_LOADED = /\.d\.ts$|\.md$|package\.json$|LICENSE-/;
/** The page's own copy of the package. */
const COPY = /^v-[0-9a-f]+\/srft\//;

const [dist, cachePath] = process.argv.slice(2);
const known = readCache();
const sizes = new Map(
    readdirSync(dist, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !NOT_LOADED.test(entry.name))
        .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(dist.length + 1))
        .sort()
        .filter((name) => !COPY.test(name))
        .map((name) => [name, measure(name)]),
);
writeFileSync(cachePath, JSON.stringify(Object.fromEntries([...sizes.values()].map((s) => [s.hash, s.brotli]))));

const row = (name, raw, brotli) =>
    console.log(`${name.padEnd(28)} ${format(raw).padStart(12)} ${format(brotli).padStart(12)}`);
console.log(`${"bytes".padEnd(28)} ${"raw".padStart(12)} ${"brotli".padStart(12)}`);
for (const [name, { raw, brotli }] of sizes) row(name, raw, brotli);
row("everything", sum("raw"), sum("brotli"));
for (const { name, limit } of PROGRAMS) {
    const files = [`srft/${name}_bg.wasm`, `srft/${name}.js`];
    const bytes = sum("brotli", files);
    row(`${name}: wasm + js`, sum("raw", files), bytes);
    if (bytes <= limit) continue;
    console.error(`\nweb/build.sh: failed: ${format(bytes)} bytes of ${name}'s wasm and glue in brotli, allowed: ${format(limit)}
  next: find what grew (a new dependency or feature in Cargo.toml?) and leave it out of the web build`);
    process.exitCode = 1;
}

function readCache() {
    try {
        return JSON.parse(readFileSync(cachePath, "utf8"));
    } catch {
        return {}; // the first build
    }
}

function measure(name) {
    const bytes = readFileSync(join(dist, name));
    const hash = createHash("sha256").update(bytes).digest("hex");
    const params = {
        [constants.BROTLI_PARAM_QUALITY]: 11,
        [constants.BROTLI_PARAM_LGWIN]: 24,
        [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    };
    return { hash, raw: bytes.length, brotli: known[hash] ?? brotliCompressSync(bytes, { params }).length };
}

function sum(kind, names = [...sizes.keys()]) {
    return names.reduce((total, name) => total + sizes.get(name)[kind], 0);
}

function format(bytes) {
    return bytes.toLocaleString("en");
}
