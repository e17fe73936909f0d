// The program for models over a small base, which is quick enough for what SmolLM2 is too slow for here: WebGPU in
// software, and many steps.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { assertNear, browserTest, call, connect, program, root, start } from "./harness.mjs";
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
async function withBase(page) {
    const worker = await connect(page, { program: "model", store: null });
    await page.evaluate(() => {
        const input = document.createElement("input");
        Object.assign(input, { type: "file", multiple: true, id: "files" });
        document.body.append(input);
    });
    await page.locator("#files").setInputFiles(FILES.map((name) => join(SMALL, name)));
    await page.evaluate(async () => {
        for (const file of document.querySelector("#files").files) await trainer.bring(`small/${file.name}`, file);
    });
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
        writeFileSync(join(scratch, `${method}.toml`), ready.runs[run].config);
        const words = ["train", "--device", "cpu", "--config", `${method}.toml`, "--out", method];
        execFileSync(program, words, { cwd: scratch, stdio: ["ignore", "pipe", "pipe"] });
        const lines = readFileSync(join(scratch, method, "metrics.jsonl"), "utf8").trim().split("\n");
        const native = lines.map((line) => JSON.parse(line));
        assertNear(await reportsOf(page, run), native, TOLERANCE, `${method}, WebGPU against native`);
    }
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
