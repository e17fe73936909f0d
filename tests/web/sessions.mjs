// What must work on every backend alike.

import assert from "node:assert/strict";
import { call, connect, event, eventsOf, start, withoutTimes } from "./harness.mjs";

export const METHODS = ["sft", "grpo", "srft"];
/** Steps small enough for SwiftShader. */
export const SMALL = [
    "rollout.prompts=2",
    "rollout.group=2",
    "rollout.max_new_tokens=4",
    "eval.examples=1",
    "eval.every=0",
    "train.steps=10",
];
const KERNELS = [
    "matmul_nt",
    "token_stats",
    "lm_head, by head",
    "objective",
    "sampling",
    "model",
    "cached decoding",
];

/** The step reports of a run so far. */
export async function reportsOf(page, run) {
    const all = await eventsOf(page, "step");
    return all.filter((e) => e.run === run).map((e) => e.report);
}

/** The self-test, one step, the others of ten, and everything that can be asked. */
export async function tenStepsAndQuestions(page, device, backend) {
    await connect(page);
    const ready = await call(page, "start", start(device, METHODS, SMALL));
    assert.equal(ready.adapter?.backend, backend, JSON.stringify(ready));
    assert.equal(ready.adapter.is_gpu, false);
    for (const kernel of KERNELS) assert(ready.self_test.includes(kernel), `${kernel} passed`);
    assert.deepEqual(ready.runs.map((run) => run.method), METHODS);

    const one = await call(page, "step");
    assert.deepEqual(one, { type: "state", state: "paused", step: 1 });
    assert.equal((await eventsOf(page, "step")).length, 3);

    await call(page, "resume");
    await event(page, { type: "state", state: "done", step: 10 });
    const reports = await eventsOf(page, "step");
    const strips = await eventsOf(page, "strip");
    for (const run of METHODS.keys()) {
        const own = reports.filter((e) => e.run === run).map((e) => e.report);
        assert.deepEqual(own.map((report) => report.step), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        for (const report of own) {
            // What cannot be measured, as the reward of a method without rollouts, is null; named rewards have a mean each.
            const { rewards, ...numbers } = report;
            for (const [key, value] of Object.entries({ ...numbers, ...rewards }))
                assert(value === null || Number.isFinite(value), key);
            assert.equal(report.reward === null, METHODS[run] === "sft", `reward of ${METHODS[run]}`);
        }
        assert(own.some((report) => report.grad_norm > 0), `${METHODS[run]} moves`);
        const strip = strips.findLast((e) => e.run === run);
        assert.equal(strip.probes.length, ready.probes.length);
        assert(strip.shift > 0, `the probes of ${METHODS[run]} have moved from the base`);
    }
    const evaluations = await call(page, "evaluate", 2, ["add", "rank"]);
    assert.deepEqual(evaluations.map((e) => [e.run, e.step]), [[null, 0], [0, 10], [1, 10], [2, 10]]);
    assert.deepEqual(evaluations[3].scores.map((s) => [s.suite, s.ood, s.n]), [["add", false, 2], ["rank", true, 2]]);

    const sample = await call(page, "ask", "12+34=");
    assert.deepEqual(sample.answers.map((answer) => answer.run), [null, 0, 1, 2]);
    for (const { tokens } of sample.answers) {
        assert(tokens.length > 0);
        for (const { p, entropy } of tokens) assert(p > 0 && p <= 1.00001 && entropy >= 0);
    }

    const group = await call(page, "inspect", 2, 1);
    assert.deepEqual(group.members.map((m) => m.role), ["rollout", "rollout", "demonstration"]);
    for (const { tokens } of group.members) {
        assert(tokens.length > 0);
        for (const token of tokens) assert.equal(token.before.length, 5);
    }
    assert.deepEqual(await eventsOf(page, "error"), []);
}

/**
 * Three steps, with the file of the second loaded by a reloaded page: its third step is the same.
 * `prepare` gets the reloaded page's worker before it loads; the worker is given back.
 */
export async function reloadAndGoOn(page, device, prepare) {
    await connect(page);
    await call(page, "start", start(device, ["srft"], SMALL));
    await call(page, "step");
    await call(page, "step");
    await page.evaluate(async () => openStore("at step 2").put(await trainer.save()));
    await call(page, "step");
    const reports = (await eventsOf(page, "step")).map((e) => withoutTimes(e.report));
    assert.deepEqual(reports.map((report) => report.step), [1, 2, 3]);
    await page.waitForFunction(async () => (await trainer.store.get())?.step === 3);

    await page.reload();
    const worker = await connect(page);
    await prepare?.(worker);
    const ready = await page.evaluate(async (device) => {
        const { bytes } = await openStore("at step 2").get();
        return trainer.load(bytes, device);
    }, device);
    assert.equal(ready.step, 2);
    assert.deepEqual(ready.runs[0].reports.map(withoutTimes), reports.slice(0, 2));
    await call(page, "step");
    const { report } = await event(page, { type: "step" });
    assert.deepEqual(withoutTimes(report), reports[2], "bit for bit");
    return worker;
}
