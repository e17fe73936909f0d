// The program for models over a small base, which is quick enough for what SmolLM2 is too slow for here: WebGPU in
// software, and many steps.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { assertNear, browserTest, call, connect, root, start, withoutTimes } from "./harness.mjs";
import { bring, saved, trainAs } from "./native.mjs";
import { reportsOf } from "./sessions.mjs";

/** The built-in model's files, as if they were somebody's. */
const SMALL = join(root, "assets/tiny");
const FILES = ["config.json", "model.safetensors", "tokenizer.json"];
const METHODS = ["sft", "grpo", "srft"];
const STEPS = 3;
const SETTINGS = [
    "model.path=small",
    "data.verifier=exact",
    "lora.rank=4",
    "rollout.prompts=2",
    "rollout.group=2",
    "rollout.max_new_tokens=12",
    "eval.examples=1",
];
// What the kernels are held to (shaders/README.md).
const TOLERANCE = 1e-4;

const scratch = mkdtempSync(join(tmpdir(), "srft-model-small-"));
after(() => rmSync(scratch, { recursive: true }));

/** A trainer of published models to which the base was brought. */
async function withBase(page, options = {}) {
    const worker = await connect(page, { program: "model", store: null, ...options });
    await bring(page, FILES.map((name) => join(SMALL, name)), "small/");
    return worker;
}

browserTest("adapters on WebGPU are those of the native CPU", { webgpu: true, timeout: 1800 }, async (page) => {
    await withBase(page);
    const methods = ["srft"]; // it has every kernel's part
    const ready = await call(page, "start", start("webgpu", methods, [...SETTINGS, `train.steps=${STEPS}`]));
    assert(!ready.rejected, JSON.stringify(ready.rejected));
    assert.equal(ready.adapter.backend, "webgpu");
    for (let step = 0; step < STEPS; step += 1) await call(page, "step");
    cpSync(SMALL, join(scratch, "small"), { recursive: true });
    for (const [run, method] of methods.entries()) {
        const native = trainAs(scratch, ready.runs[run], method);
        assertNear(await reportsOf(page, run), native, TOLERANCE, `${method}, WebGPU against native`);
    }
});

browserTest("three workers over a base that was brought tell what one tells", { timeout: 300 }, async (page) => {
    const told = [];
    for (const workers of [1, 3]) {
        await page.reload();
        await withBase(page, { workers });
        await call(page, "start", start("cpu", METHODS, [...SETTINGS, `train.steps=${STEPS}`]));
        assert.equal(page.workers().length, workers);
        for (let step = 0; step < STEPS; step += 1) await call(page, "step");
        const files = await saved(page, { adapters: true });
        const reports = [];
        for (const run of METHODS.keys()) reports.push((await reportsOf(page, run)).map(withoutTimes));
        const adapters = METHODS.map((method) => files[`${method}/llama.cpp/adapter.gguf`]);
        assert(adapters.every((bytes) => bytes.length > 1000));
        told.push({ reports, adapters });
    }
    assert.deepEqual(told[1], told[0]);
});

/** What a step of a run may leave in memory: its metrics, as text and as records. */
const METRICS = 8_000;

browserTest("ninety steps leave nothing but their metrics in memory", { timeout: 600 }, async (page) => {
    const worker = await withBase(page);
    const settings = [...SETTINGS, "train.steps=200"];
    assert(!(await call(page, "start", start("cpu", METHODS, settings))).rejected);
    const after = async (steps) => {
        for (let step = 0; step < steps; step += 1) await call(page, "step");
        await call(page, "save");
        return worker.evaluate(() => srftMemory());
    };
    const ten = await after(10);
    const grown = (await after(90)) - ten;
    console.log(`${(grown / 1e6).toFixed(1)} MB more after 90 steps`);
    assert(grown < 90 * METHODS.length * METRICS, `${grown} bytes more`);
});
