// The package with the real trainer on the CPU backend: self-test, steps, everything that can be
// asked, checkpoints, recovery, and what the trainer says to a wrong request.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { browserTest, call, connect, event, eventsOf, root, start, withoutTimes } from "./harness.mjs";
import { METHODS, SMALL, reloadAndGoOn, reportsOf, tenStepsAndQuestions } from "./sessions.mjs";

browserTest("self-test, ten steps of each method, evaluation, questions and a group on the CPU", {}, async (page) => {
    await tenStepsAndQuestions(page, "cpu", "flex");
});

browserTest("save, reload, load on the CPU: the next step is the same", {}, async (page) => {
    await reloadAndGoOn(page, "cpu");
});

/** All that is told of runs, without times, by run; the base first. */
async function told(page) {
    const all = await page.evaluate(() => events.filter((e) => ["step", "strip", "evaluation"].includes(e.type)));
    const told = all.map((e) => (e.type === "step" ? { ...e, report: withoutTimes(e.report) } : e));
    return told.sort((a, b) => (a.run ?? -1) - (b.run ?? -1)); // stable
}

browserTest("three workers tell what one tells, bit for bit, and each takes up the other's file", { timeout: 300 }, async (page) => {
    const settings = [...SMALL.filter((s) => !s.startsWith("eval.every")), "eval.every=2"];
    const sessions = [];
    for (const workers of [1, 3]) {
        await page.reload();
        await connect(page, { workers, store: null });
        const { share, ...ready } = await call(page, "start", start("cpu", METHODS, settings));
        assert.deepEqual(share, { part: 0, of: workers });
        await call(page, "step");
        await call(page, "step");
        const asked = await call(page, "evaluate", 3, ["add"]);
        const sample = await call(page, "ask", "12+34=", 1);
        const group = await call(page, "inspect", 2, 1);
        await page.evaluate(async (name) => openStore(name).put(await trainer.save()), `by ${workers}`);
        assert.equal(page.workers().length, workers);
        sessions.push({ ready, asked, sample, group, told: await told(page) });
    }
    assert.deepEqual(sessions[1], sessions[0]);
    const next = [];
    for (const [from, workers] of [[1, 1], [1, 3], [3, 1], [3, 3]]) {
        await page.reload();
        await connect(page, { workers, store: null });
        const { runs, step } = await page.evaluate(async (name) => trainer.load((await openStore(name).get()).bytes, "cpu"), `by ${from}`);
        assert.deepEqual([runs.length, step, page.workers().length], [3, 2, workers]);
        await call(page, "step");
        next.push({ runs: runs.map((run) => run.reports.map(withoutTimes)), told: await told(page) });
    }
    for (const other of next.slice(1)) assert.deepEqual(other, next[0]);
});

for (const { how, kill, reason } of [
    { how: "killed", kill: () => self.close(), reason: /ended without a word/ },
    {
        how: "broken by an exception in the middle of a step",
        kill: () => {
            Performance.prototype.now = () => {
                throw new Error("planted");
            };
        },
        reason: /planted/,
    },
]) {
    browserTest(`a worker that is ${how} is replaced, and the runs play on`, { allow: [/planted/] }, async (page) => {
        const worker = await connect(page, { saveEverySecs: 0 });
        await call(page, "start", start("cpu", METHODS, [...SMALL, "optimizer.schedule=constant", "train.steps=1000"]));
        await call(page, "resume");
        await event(page, { type: "saved" });
        await worker.evaluate(kill);
        const recovered = await event(page, { type: "recovered" });
        assert.match(recovered.reason.what, reason);
        assert(recovered.step >= 1);
        const seen = (await eventsOf(page, "step")).length;
        await page.waitForFunction((seen) => events.filter((e) => e.type === "step").length > seen + 6, seen);
        await call(page, "pause");
        // What came twice came the same.
        const reports = new Map();
        for (const { run, report } of await eventsOf(page, "step")) {
            const key = `run ${run}, step ${report.step}`;
            if (reports.has(key)) assert.deepEqual(withoutTimes(report), reports.get(key), key);
            reports.set(key, withoutTimes(report));
        }
        assert.deepEqual(await eventsOf(page, "lost"), []);
    });
}

browserTest("a panic is an error that says what to do, and a new start works", { allow: [/panicked|unreachable/] }, async (page) => {
    const worker = await connect(page);
    await call(page, "start", start("cpu", ["srft"], SMALL));
    // Its clock, which a step cannot do without.
    await worker.evaluate(() => Object.defineProperty(self, "performance", { value: undefined }));
    const { rejected } = await call(page, "step");
    assert.match(rejected.what, /panicked/);
    assert.match(rejected.next, /report/);
    assert.equal(rejected.fatal, true);
    const ready = await call(page, "start", start("cpu", ["srft"], SMALL));
    assert.equal(ready.step, 0);
    assert.equal((await call(page, "step")).step, 1);
});

browserTest("without WebGPU, webgpu is an error that says what to do, and auto takes the CPU", {}, async (page) => {
    await connect(page);
    const { rejected } = await call(page, "start", start("webgpu", ["srft"], SMALL));
    assert.match(rejected.what, /no webgpu adapter/);
    assert.match(rejected.next, /CPU/);
    const ready = await call(page, "start", start("auto", ["srft"], SMALL));
    assert.equal(ready.adapter.backend, "flex");
});

browserTest("bad settings and bad files are errors that name the remedy", {}, async (page) => {
    await connect(page);
    for (const [request, what] of [
        [start("cpu", ["srtf"], SMALL), /srtf/],
        [start("cpu", ["srft"], ["rollout.gruop=2"]), /gruop/],
        [start("cpu", []), /no runs/],
        [start("tpu", ["srft"]), /tpu/],
    ]) {
        const { rejected } = await call(page, "start", request);
        assert.match(rejected.what + rejected.place, what);
        assert(rejected.next, JSON.stringify(rejected));
        assert.equal(rejected.fatal, false);
    }
    await call(page, "start", start("cpu", ["srft"], SMALL));
    assert.match((await call(page, "evaluate", 2, ["addd"])).rejected.next, /add/);
    const { rejected } = await page.evaluate(() =>
        trainer.load(new Uint8Array([1, 2, 3]), "cpu").catch((error) => ({ rejected: error.complaint })),
    );
    assert.match(rejected.what, /zip/);
    // The runs are as they were.
    await call(page, "step");
    assert.deepEqual((await reportsOf(page, 0)).map((report) => report.step), [1]);
});

const [, example] = readFileSync(root + "web/package/README.md", "utf8").match(/```html\n(.*?)```/s);
browserTest(
    "the README's example trains",
    {
        path: "example.html",
        before: (page) =>
            page.route("**/example.html", (route) => route.fulfill({ contentType: "text/html", body: example })),
        allow: [/favicon/],
    },
    async (page) => {
        for (const method of METHODS) await page.getByText(`${method} 1: loss`).waitFor();
    },
);

test("the package has the crate's version and licence", () => {
    const { version, license } = JSON.parse(readFileSync(root + "web/package/package.json", "utf8"));
    const crate = readFileSync(root + "Cargo.toml", "utf8");
    for (const line of [`version = "${version}"`, `license = "${license}"`]) assert(crate.includes(line), line);
});
