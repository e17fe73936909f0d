// The browser against the native program: the same seed and settings give the same steps, and a run
// begun on one side goes on on the other.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import { assertNear, browserTest, call, connect, fflate, program, start } from "./harness.mjs";
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

/** Runs `srft train --device cpu` and gives the step reports of its folder. */
function train(folder, ...options) {
    assert(existsSync(program), `${program} is missing; next: cargo build --release`);
    execFileSync(program, ["train", "--device", "cpu", ...options], { stdio: ["ignore", "pipe", "pipe"] });
    return readFileSync(join(folder, "metrics.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line));
}

/** The same run natively: of the settings that the browser resolved. */
function trainAs(run, name) {
    const config = join(scratch, `${name}.toml`);
    writeFileSync(config, run.config);
    const folder = join(scratch, name);
    return [folder, train(folder, "--config", config, "--out", folder)];
}

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
        const [, native] = trainAs(runs[run], `same-${method}`);
        assertNear(await reportsOf(page, run), native, TOLERANCE, `${method}, browser against native`);
    }
});

browserTest("a run begun in the browser goes on natively", {}, async (page) => {
    await connect(page);
    await call(page, "start", start("cpu", METHODS, SETTINGS));
    await call(page, "step");
    await call(page, "step");
    const file = await page.evaluate(async () => {
        const reader = new FileReader();
        reader.readAsDataURL(new Blob([(await trainer.save()).bytes]));
        await new Promise((resolve) => (reader.onload = resolve));
        return reader.result.split(",")[1];
    });
    for (let step = 2; step < STEPS; step += 1) await call(page, "step");

    const home = join(scratch, "from-browser");
    for (const [name, bytes] of Object.entries(fflate.unzipSync(Buffer.from(file, "base64")))) {
        const path = join(home, name);
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, bytes);
    }
    for (const [run, method] of METHODS.entries()) {
        const folder = join(home, method);
        const native = train(folder, "--resume", folder);
        const browser = await reportsOf(page, run);
        assert.deepEqual(native.slice(0, 2), browser.slice(0, 2), "the steps before are on file");
        assertNear(native.slice(2), browser.slice(2), TOLERANCE, `${method}, resumed natively`);
    }
});

browserTest("a run begun natively goes on in the browser", {}, async (page) => {
    await connect(page);
    const { runs } = await call(page, "start", start("cpu", ["srft"], SETTINGS));
    const [folder, native] = trainAs(runs[0], "to-browser");
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
