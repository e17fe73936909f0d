// One Chromium with one page, and workers in it that run.mjs talks to.

import { createReadStream, existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { CHROMIUM, QUIET, SWIFTSHADER } from "../../tests/web/chromium.mjs";

const here = import.meta.dirname;
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
const ADAPTERS = {
    swiftshader: SWIFTSHADER,
    hardware: ["--enable-unsafe-webgpu", "--enable-features=Vulkan"],
};

/** Serves the bench and the cases in `folder`, opens a browser; `isolated` lets pages have threads. */
export async function openBrowser({ folder, dist, adapter, isolated }) {
    const bundle = join(folder, "bundle");
    // The rivals come as npm packages of many files, which no browser finds by itself.
    await build({
        entryPoints: [join(here, "page/worker.js")],
        outdir: bundle,
        bundle: true,
        splitting: true,
        format: "esm",
        external: ["/srft/*"],
        logLevel: "error",
    });
    const places = {
        srft: join(resolve(here, dist), "srft"),
        cases: folder,
        tensorflow: join(here, "node_modules/@tensorflow/tfjs-backend-wasm/dist"),
        bundle,
    };
    const ours = join(places.srft, "srft_bg.wasm");
    if (!existsSync(ours)) throw new Error(`${ours} is missing\n  next: web/build.sh`);
    const server = createServer((request, response) => {
        const { pathname } = new URL(request.url, "http://localhost");
        const [place, ...rest] = pathname.split("/").slice(1);
        const headers = isolated && {
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Embedder-Policy": "require-corp",
        };
        const send = (status, type) => response.writeHead(status, { ...headers, "Content-Type": type });
        if (pathname === "/") return send(200, "text/html").end('<link rel="icon" href="data:,">');
        const file = join(places[place] ?? bundle, ...rest);
        if (!existsSync(file)) return send(404, "text/plain").end();
        createReadStream(file).pipe(send(200, TYPES[extname(file)] ?? "application/octet-stream"));
    }).listen(0, "127.0.0.1");
    await new Promise((done) => server.once("listening", done));

    const profile = mkdtempSync(join(tmpdir(), "srft-bench-"));
    const context = await chromium.launchPersistentContext(profile, {
        executablePath: process.env.CHROMIUM ?? CHROMIUM,
        args: [...QUIET, ...ADAPTERS[adapter]],
    });
    const page = await context.newPage();
    page.on("console", (message) => message.type() === "error" && console.error(message.text()));
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.evaluate(() => (globalThis.workers = new Map()));
    const gpu = await page.evaluate(async () => {
        const info = (await navigator.gpu?.requestAdapter())?.info;
        return info && [info.vendor, info.architecture, info.description].filter(Boolean).join(" ");
    });
    return {
        version: context.browser()?.version() ?? "",
        gpu,
        /** The page itself. */
        page,
        /** Has the worker `name`, made if there is none, do a command. */
        ask: (name, command, request = {}) =>
            page.evaluate(
                ([name, message]) =>
                    new Promise((done, fail) => {
                        const fresh = () => new Worker("/bundle/worker.js", { type: "module" });
                        const worker = workers.get(name) ?? fresh();
                        workers.set(name, worker);
                        worker.onmessage = ({ data }) =>
                            data.error ? fail(new Error(data.error)) : done(data.result);
                        worker.onerror = (event) => fail(new Error(event.message));
                        worker.postMessage(message);
                    }),
                [name, { command, ...request }],
            ),
        /** Ends all workers. */
        clear: () => page.evaluate(() => (workers.forEach((w) => w.terminate()), workers.clear())),
        async close() {
            await context.close();
            server.close();
            rmSync(profile, { recursive: true, force: true });
        },
    };
}
