// The page and its package in Firefox, on the CPU and over its own WebGPU, which computes on a software
// adapter here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startFirefox } from "./firefox.mjs";
import { QUICK, browserTest, call, connect, site, start, withoutTimes } from "./harness.mjs";
import { METHODS, SMALL, reportsOf } from "./sessions.mjs";

/** A test with a Firefox of its own: `body(tab, address)`; an unexpected line of the console fails it. */
function firefoxTest(name, { settings = {}, timeout = 180 }, body) {
    test(name, { timeout: timeout * 1000 }, async ({ signal }) => {
        const { tab, close } = await startFirefox(settings);
        signal.addEventListener("abort", close); // at a timeout
        try {
            await body(tab, await site());
            assert.deepEqual(tab.lines.filter((line) => /^(error|warn)/.test(line)), [], "unexpected lines on the console");
        } finally {
            await close();
        }
    });
}

/** Waits for so many steps of the page, and gives what it shows. */
async function shown(tab, steps) {
    await tab.until((steps) => Number(document.documentElement.dataset.step) >= steps, steps);
    await tab.until(() => document.querySelectorAll("#example-answers li").length === 4);
    return tab.evaluate(() => ({
        adapter: document.querySelector("#adapter").textContent,
        kernels: document.querySelector("#self-test").textContent,
        errors: document.querySelector("#errors").textContent,
        points: [...document.querySelectorAll("#chart-shift g.series")].map((g) => Number(g.dataset.points)),
        wide: document.documentElement.scrollWidth - innerWidth,
        mismatches: document.querySelectorAll(".mismatch").length,
    }));
}

firefoxTest("the page plays on the CPU, on a desk and on a phone", {}, async (tab, address) => {
    await tab.resize(1280, 800);
    await tab.goto(`${address}index.html#${QUICK}`);
    const { adapter, kernels, errors, points, wide, mismatches } = await shown(tab, 3);
    assert.equal(adapter, "CPU (SIMD)");
    assert.match(kernels, /11 kernels passed/);
    assert.equal(errors, "");
    assert(points.length === 3 && points.every((n) => n >= 3), `${points}`);
    assert.equal(mismatches, 0);
    assert(wide <= 0, `${wide} px too wide`);
    for (const size of [[390, 844], [320, 640]]) {
        await tab.resize(...size);
        await tab.until(() => document.documentElement.scrollWidth <= innerWidth);
    }
});

/** Three steps of every method on the CPU, by the package. */
let inChromium;
browserTest("three steps in Chromium, to compare", {}, async (page) => {
    await connect(page);
    await call(page, "start", start("cpu", METHODS, SMALL));
    for (let i = 0; i < 3; i += 1) await call(page, "step");
    inChromium = await Promise.all(METHODS.map((_, run) => reportsOf(page, run)));
});

firefoxTest("three steps of every method in Firefox are Chromium’s, bit for bit", {}, async (tab, address) => {
    await tab.goto(`${address}blank.html`);
    const reports = await tab.evaluate(async (message) => {
        const { Trainer } = await import("./srft/client.js");
        const trainer = Trainer.connect({ store: null });
        const reports = message.runs.map(() => []);
        trainer.on("step", ({ run, report }) => reports[run].push(report));
        await trainer.start(message);
        for (let i = 0; i < 3; i += 1) await trainer.step();
        return reports;
    }, start("cpu", METHODS, SMALL));
    assert.deepEqual(reports.map((run) => run.map(withoutTimes)), inChromium.map((run) => run.map(withoutTimes)));
});

/** Off by default in this Firefox on Linux, and not for software adapters (lavapipe). */
const WEBGPU = { "dom.webgpu.enabled": true, "dom.webgpu.workers.enabled": true, "gfx.webgpu.ignore-blocklist": true };
firefoxTest("the kernels pass on Firefox’s WebGPU, and train", { settings: WEBGPU, timeout: 600 }, async (tab, address) => {
    await tab.goto(`${address}blank.html`);
    const from = Date.now();
    const got = await tab.evaluate(async (message) => {
        const { Trainer } = await import("./srft/client.js");
        const trainer = Trainer.connect({ store: null });
        const reports = [];
        trainer.on("step", ({ report }) => reports.push(report));
        const ready = await trainer.start(message);
        await trainer.step();
        return { adapter: ready.adapter, kernels: ready.self_test, reports };
    }, start("webgpu", ["srft"], SMALL));
    console.log(`one step on ${got.adapter.name}: ${(Date.now() - from) / 1000} s`);
    assert.equal(got.adapter.backend, "webgpu");
    assert(got.kernels.length >= 11, `${got.kernels}`);
    const [{ loss }] = got.reports;
    const onCpu = inChromium[METHODS.indexOf("srft")][0].loss;
    assert(Math.abs(loss - onCpu) < 1e-4, `loss ${loss}, on the CPU ${onCpu}`);
});
