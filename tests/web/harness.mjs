// What the browser tests share: the built site served under a sub-path, Chromium with or without
// WebGPU, and an eye on everything that a console would show: an unexpected line fails the test.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { CHROMIUM, QUIET, SWIFTSHADER } from "./chromium.mjs";

// The packages belong to web/, where node does not look for a file of this folder.
const require = createRequire(new URL("../../web/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const sirv = require("sirv");
export const fflate = require("fflate");

export const root = fileURLToPath(new URL("../../", import.meta.url));
/** The program, where cargo puts it. */
export const program = resolve(root, process.env.CARGO_TARGET_DIR ?? "target", "release/srft");
const dist = root + "web/dist";
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

/** Where the site lies on the test's server: nothing in it may take the root for granted. */
const SUB_PATH = "/a/b/";
const BLANK = '<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>test</title></html>';

let server;
const browsers = new Map();

after(async () => {
    for (const browser of browsers.values()) await (await browser).close();
    server?.close();
    server?.closeAllConnections();
});

export async function site() {
    assert(existsSync(dist + "/srft/srft_bg.wasm"), `${dist} is not built; next: web/build.sh`);
    if (!server) {
        const files = sirv(dist, { dev: true });
        server = createServer((request, response) => {
            if (request.url === SUB_PATH + "blank.html") {
                response.setHeader("content-type", "text/html");
                return response.end(BLANK);
            }
            if (!request.url.startsWith(SUB_PATH)) return response.writeHead(404).end();
            request.url = request.url.slice(SUB_PATH.length - 1);
            files(request, response);
        });
        await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    }
    return `http://127.0.0.1:${server.address().port}${SUB_PATH}`;
}

function browser(webgpu) {
    assert(existsSync(CHROMIUM), `${CHROMIUM} is missing; next: ./check.sh tools, or apt-get install chromium`);
    if (!browsers.has(webgpu)) {
        const args = webgpu ? [...QUIET, ...SWIFTSHADER] : QUIET;
        browsers.set(webgpu, chromium.launch({ executablePath: CHROMIUM, args }));
    }
    return browsers.get(webgpu);
}

/**
 * A test with a page of its own: `body(page, context)`.
 *
 *   path       the page of the site to open; a blank one unless given
 *   url        an address to open in its place
 *   webgpu     whether the browser has (SwiftShader's) WebGPU
 *   allow      console lines that may come, as regular expressions
 *   timeout    seconds
 *   cores      how many the browser tells of: with more than two, a page has several workers
 *   options    further options of the browser's context, for example a viewport
 *   before     called with page and context before the page is opened, for example to route a file
 */
export function browserTest(name, settings, body) {
    const { path = "blank.html", url, webgpu = false, allow = [], timeout = 120, cores = 2, options = {}, before } = settings;
    test(name, { timeout: timeout * 1000 }, async ({ signal }) => {
        const context = await (await browser(webgpu)).newContext(options);
        signal.addEventListener("abort", () => context.close()); // at a timeout
        try {
            await context.addInitScript((cores) => {
                Object.defineProperty(navigator, "hardwareConcurrency", { value: cores });
            }, cores);
            const page = await context.newPage();
            page.setDefaultTimeout(timeout * 1000);
            const problems = watch(page);
            await before?.(page, context);
            await page.goto(url ?? (await site()) + path);
            await body(page, context);
            const unexpected = problems.filter((line) => !allow.some((pattern) => pattern.test(line)));
            assert.deepEqual(unexpected, [], "unexpected lines on the console");
        } finally {
            await context.close();
        }
    });
}

/** The same with a trainer without a model (fake_srft.js). */
export function fakeTest(name, body, settings = {}) {
    const before = (page) =>
        page.route("**/srft/srft.js", (route) => route.fulfill({ path: root + "tests/web/fake_srft.js" }));
    browserTest(name, { before, timeout: 60, ...settings }, body);
}

/** Collects what goes wrong on a page and in its workers. */
function watch(page) {
    const problems = [];
    page.on("console", (message) => {
        if (["error", "warning", "assert"].includes(message.type())) {
            problems.push(`${message.type()}: ${message.text()} (${message.location().url})`);
        }
    });
    page.on("pageerror", (error) => problems.push(`uncaught: ${error.stack ?? error}`));
    page.on("requestfailed", (request) => {
        problems.push(`request failed: ${request.url()} ${request.failure()?.errorText}`);
    });
    page.on("response", (response) => {
        if (response.status() >= 400) problems.push(`${response.status()}: ${response.url()}`);
    });
    return problems;
}

/**
 * A trainer in the page as `trainer`, whose events are kept in `events`, with the bytes' number.
 * Gives the worker.
 */
export async function connect(page, options = {}) {
    const worker = page.waitForEvent("worker");
    await page.evaluate(async (options) => {
        const { Trainer, openStore } = await import("./srft/client.js");
        window.events = [];
        window.openStore = openStore;
        window.trainer = Trainer.connect(options);
        const types = ["ready", "state", "step", "strip", "evaluation", "evaluating", "group", "sample"];
        for (const type of [...types, "loading", "saved", "error", "recovered", "lost"]) {
            trainer.on(type, (event, bytes) => events.push({ ...event, size: bytes?.length }));
        }
    }, options);
    return worker;
}

/** Waits for `count` events that have these fields; gives the last of them. */
export async function event(page, fields, count = 1) {
    const found = await page.waitForFunction(
        ([fields, count]) => {
            const fits = (e) => Object.entries(fields).every(([key, value]) => e[key] === value);
            return events.filter(fits)[count - 1];
        },
        [fields, count],
    );
    return found.jsonValue();
}

/** All events so far of a type. */
export function eventsOf(page, type) {
    return page.evaluate((type) => events.filter((e) => e.type === type), type);
}

/** Calls a method of the trainer in the page; a rejection comes as its complaint. */
export function call(page, method, ...values) {
    return page.evaluate(
        ([method, values]) =>
            trainer[method](...values).catch((error) => ({ rejected: error.complaint ?? String(error) })),
        [method, values],
    );
}

/** The same runs for every test: small enough for SwiftShader. */
export function start(device, methods, settings = []) {
    return { device, settings, runs: methods.map((method) => ({ method, settings: [] })) };
}

/** A step report without wall times: what must be equal, bit for bit, between two equal runs. */
export function withoutTimes({ rollout_secs, train_secs, ...report }) {
    return report;
}

/** The largest difference between two reports, relative to max(1, |value|), and where it is. */
function difference(got, expected) {
    let worst = { error: 0, where: "nowhere" };
    for (const [key, value] of Object.entries(withoutTimes(expected))) {
        const same = (got[key] === null) === (value === null);
        const error = same ? Math.abs(got[key] - value) / Math.max(1, Math.abs(value)) : Infinity;
        if (!(error <= worst.error)) worst = { error, where: `${key} of step ${expected.step}: ${got[key]}, expected ${value}` };
    }
    return worst;
}

/** Every step report within a tolerance, relative to max(1, |value|), wall times aside. */
export function assertNear(got, expected, tolerance, what) {
    assert.equal(got.length, expected.length, `${what}: number of steps`);
    const worst = expected.map((report, i) => difference(got[i], report)).reduce((a, b) => (b.error > a.error ? b : a));
    console.log(`${what}: worst difference ${worst.error.toExponential(1)}, ${worst.where}`);
    assert(worst.error <= tolerance, `${what}: ${worst.where}; allowed: ${tolerance} relative`);
}

// The page.

/** Waits until an element shows this: the page draws with the next frame. `wanted`: its text, or an expression that fits. */
export async function shows(page, selector, wanted) {
    const fits = (text) => (wanted instanceof RegExp ? wanted.test(text) : wanted === text);
    const element = page.locator(selector);
    for (let tries = 0; tries < 100 && !fits(await element.innerText()); tries += 1) await page.waitForTimeout(100);
    const shown = await element.innerText();
    assert(fits(shown), `${selector} shows '${shown}', expected ${wanted}`);
}

/** An address's settings with few problems a step: a round of the three runs takes a fraction of a second. */
export const QUICK = "p=2&g=2&dev=cpu";

/** Steps that the page has shown. */
export const step = async (page) => Number(await page.locator("html").getAttribute("data-step"));

/** Waits until the page is in a phase (null: in any) and so many steps are done. */
export function reach(page, phase, atLeast = 0) {
    return page.waitForFunction(
        ([phase, atLeast]) => {
            const { state, step } = document.documentElement.dataset;
            return (!phase || state === phase) && Number(step) >= atLeast;
        },
        [phase, atLeast],
    );
}

/** Pauses once so many steps are done; returns how many there were. */
export async function pauseAt(page, atLeast) {
    await reach(page, null, atLeast);
    await page.locator("#play").click();
    await reach(page, "paused");
    return step(page);
}

/** Opens all that is folded up, and holds the page to the rules of accessibility. */
export async function assertAccessible(page) {
    await page.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target).join(", ")}`), []);
}

/** A page on a desk, light and dark, and on a phone: accessible, and no wider than the screen. */
export function accessibilityTests(settings, ready = async () => {}) {
    for (const [name, options] of [
        ["desktop, light", { viewport: { width: 1440, height: 900 }, colorScheme: "light" }],
        ["desktop, dark", { viewport: { width: 1440, height: 900 }, colorScheme: "dark" }],
        ["phone", { viewport: { width: 360, height: 740 }, colorScheme: "light", reducedMotion: "reduce" }],
    ]) {
        browserTest(`axe finds nothing: ${name}`, { ...settings, options }, async (page) => {
            await ready(page);
            await assertAccessible(page);
            const [scroll, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
            assert(scroll <= width, `${scroll} px wide on ${width}`);
        });
    }
}
