// The browser against the native program: the same seed and settings give the same steps, and a run
// begun on one side goes on on the other.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { assertNear, browserTest, call, connect, fflate, start } from "./harness.mjs";
import { saved, train, trainAs, unpack } from "./native.mjs";
import { METHODS, reportsOf } from "./sessions.mjs";

const scratch = mkdtempSync(join(tmpdir(), "srft-native-"));
after(() => rmSync(scratch, { recursive: true }));

const STEPS = 6;
const SETTINGS = [
    "rollout.prompts=4",
    "rollout.group=4",
    "rollout.max_new_tokens=24",
    "eval.examples=2",
    "eval.every=0",
    `train.steps=${STEPS}`,
    "checkpoint.every=2",
    "checkpoint.keep=9",
];

/** The files of a folder as paths and bytes, as a zip of it would have them. */
function filesOf(folder, inside) {
    const files = {};
    for (const name of readdirSync(folder).filter((name) => !name.startsWith("."))) {
        const path = join(folder, name);
        if (statSync(path).isDirectory()) Object.assign(files, filesOf(path, `${inside}/${name}`));
        else files[`${inside}/${name}`] = readFileSync(path);
    }
    return files;
}

// Both compute in f32, but a vector of the browser holds 4 numbers and one of the CPU up to 16, and
// only the latter multiplies and adds in one rounding: sums differ in their last bits, and AdamW
// carries the difference on from step to step. Seen over six steps: 1.4e-6.
const TOLERANCE = 2e-5;

browserTest("the same seed and settings give the same steps in the browser and natively", {}, async (page) => {
    await connect(page);
    const { runs } = await call(page, "start", start("cpu", METHODS, SETTINGS));
    for (let step = 0; step < STEPS; step += 1) await call(page, "step");
    for (const [run, method] of METHODS.entries()) {
        const native = trainAs(scratch, runs[run], `same-${method}`);
        assertNear(await reportsOf(page, run), native, TOLERANCE, `${method}, browser against native`);
    }
});

browserTest("a run begun in the browser goes on natively", {}, async (page) => {
    await connect(page);
    await call(page, "start", start("cpu", METHODS, SETTINGS));
    await call(page, "step");
    await call(page, "step");
    const files = await saved(page);
    for (let step = 2; step < STEPS; step += 1) await call(page, "step");

    const home = join(scratch, "from-browser");
    unpack(files, home);
    for (const [run, method] of METHODS.entries()) {
        const native = train(home, method, "--resume", method);
        const browser = await reportsOf(page, run);
        assert.deepEqual(native.slice(0, 2), browser.slice(0, 2), "the steps before are on file");
        assertNear(native.slice(2), browser.slice(2), TOLERANCE, `${method}, resumed natively`);
    }
});

browserTest("a run begun natively goes on in the browser", {}, async (page) => {
    await connect(page);
    const { runs } = await call(page, "start", start("cpu", ["srft"], SETTINGS));
    const native = trainAs(scratch, runs[0], "to-browser");
    const folder = join(scratch, "to-browser");
    const later = readdirSync(join(folder, "checkpoints")).filter((name) => name > "step-000002");
    assert(later.length > 0);
    for (const name of later) rmSync(join(folder, "checkpoints", name), { recursive: true });
    rmSync(join(folder, "summary.json"));
    const zip = Buffer.from(fflate.zipSync(filesOf(folder, "my-run"))).toString("base64");

    const ready = await page.evaluate(async (zip) => {
        const bytes = Uint8Array.from(atob(zip), (c) => c.charCodeAt(0));
        return trainer.load(bytes, "cpu");
    }, zip);
    assert.equal(ready.step, 2, JSON.stringify(ready));
    assert.deepEqual(ready.runs[0].reports, native.slice(0, 2));
    for (let step = 2; step < STEPS; step += 1) await call(page, "step");
    assertNear(await reportsOf(page, 0), native.slice(2), TOLERANCE, "resumed in the browser");
});
