// The package's client against a trainer without a model (fake_srft.js): requests, checkpoints, and
// what becomes of the runs when a worker fails in each of the ways that workers fail.

import assert from "node:assert/strict";
import { call, connect, event, eventsOf, fakeTest, start } from "./harness.mjs";

const METHODS = ["sft", "grpo", "srft"];

fakeTest("requests resolve with what came of them, in order", async (page) => {
    await connect(page);
    const ready = await call(page, "start", start("cpu", METHODS));
    assert.equal(ready.runs.length, 3);
    assert.deepEqual(await call(page, "step"), { type: "state", state: "paused", step: 1 });
    assert.equal((await call(page, "evaluate", 5)).length, 4);
    assert.equal((await call(page, "ask", "1+1=")).prompt, "1+1=");
    assert.equal((await call(page, "save")).name, "fake-step1.zip");
    const both = await page.evaluate(() => Promise.all([trainer.step(), trainer.step()]));
    assert.deepEqual(both.map((state) => state.step), [2, 2], "two at once are one");
    assert.equal((await eventsOf(page, "step")).length, 6);
});

fakeTest("playing stops at a pause, and goes on", async (page) => {
    await connect(page);
    await call(page, "start", start("cpu", METHODS));
    await call(page, "resume");
    await event(page, { type: "step", run: 2 }, 4);
    await call(page, "pause");
    const { step } = await event(page, { type: "state", state: "paused" }, 2);
    const steps = (await eventsOf(page, "step")).length;
    await page.waitForTimeout(100);
    assert.equal((await eventsOf(page, "step")).length, steps);
    await call(page, "resume");
    await event(page, { type: "step", run: 2 }, step + 2);
    await call(page, "stop");
    await event(page, { type: "state", state: "stopped" });
});

fakeTest("a request that fails says what to do, and the next one works", async (page) => {
    await connect(page);
    const { rejected } = await call(page, "load", [1, 2, 3]);
    assert.deepEqual([rejected.what, rejected.next], ["not a checkpoint", "choose another file"]);
    const broken = await call(page, "start", start("broken", METHODS));
    assert.equal(broken.rejected.what, "no such device");
    assert.equal((await call(page, "start", start("cpu", METHODS))).step, 0);
    const failing = start("cpu", METHODS, ["fail=error@1@cpu"]);
    await call(page, "start", failing);
    assert.equal((await call(page, "step")).rejected.what, "the loss is not finite");
    assert.deepEqual(await eventsOf(page, "recovered"), []);
});

fakeTest("saves by itself every N seconds and at a pause, and a reload finds the last", async (page) => {
    // The page's clock is the test's: how fast this machine is does not matter.
    await page.evaluate(() => {
        globalThis.secs = 0;
        performance.now = () => 1000 * globalThis.secs;
    });
    const at = (secs) => page.evaluate((secs) => void (globalThis.secs = secs), secs);
    await connect(page, { saveEverySecs: 30 });
    await call(page, "start", start("cpu", METHODS));
    await call(page, "resume");
    for (const [secs, saves] of [[29.9, 0], [30, 1], [59.9, 1], [60, 2]]) {
        await at(secs);
        await event(page, { type: "step" }, (await eventsOf(page, "step")).length + 30);
        if (saves > 0) await event(page, { type: "saved" }, saves);
        assert.equal((await eventsOf(page, "saved")).length, saves, `after ${secs} seconds`);
    }
    await call(page, "pause");
    const { step } = await event(page, { type: "state", state: "paused" }, 2);
    await event(page, { type: "saved", step });
    await page.waitForFunction(async (step) => (await trainer.store.get())?.step === step, step);
    await page.reload();
    await connect(page);
    const last = await page.evaluate(() => trainer.store.get());
    assert.deepEqual([last.step, last.url, last.name], [step, page.url(), `fake-step${step}.zip`]);
    const ready = await page.evaluate(async () => trainer.load((await trainer.store.get()).bytes, "cpu"));
    assert.equal(ready.step, step);
    await page.evaluate(() => trainer.store.delete());
    assert.equal(await page.evaluate(() => trainer.store.get()), undefined);
});

for (const how of ["panic", "trap", "close"]) {
    fakeTest(`a worker that ends by ${how} is replaced, and the runs play on`, async (page) => {
        await connect(page, { saveEverySecs: 0, store: null });
        await call(page, "start", start("webgpu", METHODS, [`fail=${how}@6@webgpu`]));
        await call(page, "step");
        await event(page, { type: "saved", step: 1 });
        await call(page, "resume");
        const first = await event(page, { type: "recovered" });
        assert(first.step >= 1 && first.step < 6, `from step ${first.step}`);
        assert.equal(first.device, "webgpu");
        assert.equal(first.reason.fatal, true);
        assert(first.reason.what, "the reason is said");
        // The same step fails again, so it was no accident: on to the CPU, where it succeeds.
        const second = await event(page, { type: "recovered" }, 2);
        assert.equal(second.device, "cpu");
        await page.waitForFunction(() => events.some((e) => e.type === "step" && e.report.step > 6));
        const errors = await eventsOf(page, "error");
        assert.deepEqual(errors.map((e) => e.fatal), [true, true], "each death is told once");
        await call(page, "pause");
    });
}

for (const first of ["a checkpoint", "the start"]) {
    fakeTest(`where memory is short, the runs go on from ${first} sparing it, on the same device`, async (page) => {
        await connect(page, { saveEverySecs: 0, store: null });
        const at = first === "the start" ? 1 : 3;
        await call(page, "start", start("webgpu", METHODS, [`fail=memory@${at}@webgpu`]));
        for (let step = 1; step < at; step += 1) await call(page, "step");
        if (at > 1) await event(page, { type: "saved", step: at - 1 });
        await call(page, "resume");
        const recovered = await event(page, { type: "recovered" });
        assert.deepEqual([recovered.step, recovered.device, recovered.sparing], [at - 1, "webgpu", true]);
        await page.waitForFunction((at) => events.some((e) => e.type === "step" && e.report.step > at + 2), at);
        assert.equal((await eventsOf(page, "recovered")).length, 1);
        await call(page, "pause");
    });
}

fakeTest("a worker killed from outside is replaced; paused runs stay paused", async (page) => {
    const worker = await connect(page);
    await call(page, "start", start("cpu", METHODS));
    await call(page, "step");
    await event(page, { type: "saved", step: 1 });
    await worker.evaluate(() => self.close());
    const { step } = await event(page, { type: "recovered" });
    assert.equal(step, 1);
    await page.waitForTimeout(100);
    assert.equal((await eventsOf(page, "step")).length, 3);
    assert.equal((await call(page, "step")).step, 2);
    assert.equal(page.workers().length, 1);
});

fakeTest("before the first checkpoint, recovery starts again", async (page) => {
    await connect(page);
    await call(page, "start", start("webgpu", METHODS, ["fail=panic@1@webgpu"]));
    await call(page, "resume");
    const { step, device } = await event(page, { type: "recovered" }, 2);
    assert.deepEqual([step, device], [0, "cpu"]);
    await event(page, { type: "step", run: 2 });
});

fakeTest("runs that fail everywhere are lost, with their checkpoint kept", async (page) => {
    await connect(page, { saveEverySecs: 0 });
    await call(page, "start", start("cpu", METHODS, ["fail=panic@3@any"]));
    await call(page, "step");
    await event(page, { type: "saved", step: 1 });
    await call(page, "resume");
    const lost = await event(page, { type: "lost" });
    assert(lost.step >= 1, `step ${lost.step} is kept`);
    assert.match(lost.reason.next, new RegExp(`step ${lost.step} is kept`));
    assert.equal((await eventsOf(page, "recovered")).length, 2);
    assert.equal(await page.evaluate(() => trainer.checkpoint.step), lost.step);
    assert.equal((await call(page, "start", start("cpu", METHODS))).step, 0, "a new start works");
});

fakeTest("deaths with steps between them never end the runs", async (page) => {
    await connect(page, { saveEverySecs: 0 });
    await call(page, "start", start("cpu", METHODS));
    for (const step of [1, 2, 3, 4]) {
        await call(page, "step");
        await event(page, { type: "saved", step });
        await page.workers().at(-1).evaluate(() => self.close());
        await event(page, { type: "recovered", step, device: "cpu" });
    }
    assert.deepEqual(await eventsOf(page, "lost"), []);
});

fakeTest("a request under way when the worker dies is rejected", async (page) => {
    await connect(page);
    await call(page, "start", start("cpu", METHODS, ["fail=panic@1@cpu"]));
    assert.equal((await call(page, "step")).rejected.what, "panicked");
});

fakeTest(
    "a trainer that cannot be loaded says so",
    async (page) => {
        await connect(page);
        const { rejected } = await call(page, "start", start("cpu", METHODS));
        assert.match(rejected.what, /worker died/);
        assert(rejected.next);
    },
    { before: (page) => page.route("**/srft/srft.js", (route) => route.abort()), allow: [/srft\.js/] },
);

fakeTest("a closed trainer rejects what it was asked", async (page) => {
    await connect(page);
    await call(page, "start", start("cpu", METHODS));
    const answer = await page.evaluate(async () => {
        const step = trainer.step().catch((error) => error.complaint.what);
        trainer.close();
        return step;
    });
    assert.equal(answer, "the trainer was closed");
    while (page.workers().length > 0) await page.waitForTimeout(10);
});

/** Three workers, of a fake trainer on a device. */
async function three(page, device = "cpu", settings = [], options = {}) {
    await connect(page, { workers: 3, ...options });
    return call(page, "start", start(device, METHODS, settings));
}

fakeTest("three workers share the runs, and are like one to the page", async (page) => {
    const ready = await three(page);
    assert.deepEqual(ready.runs.map((run) => run.method), METHODS);
    assert.equal(page.workers().length, 3);
    assert.deepEqual(await call(page, "step"), { type: "state", state: "paused", step: 1 });
    const evaluations = await call(page, "evaluate", 5);
    assert.deepEqual(evaluations.map((e) => e.run), [null, 0, 1, 2]);
    const { done, of } = (await eventsOf(page, "evaluating")).at(-1);
    assert.deepEqual([done, of], [20, 20], "five problems of each of four models");
    assert.deepEqual((await call(page, "ask", "1+1=")).answers, [{ run: null }, { run: 0 }, { run: 1 }, { run: 2 }]);
    assert.equal((await eventsOf(page, "sample")).length, 1);
    assert.deepEqual([(await call(page, "inspect", 1, 0)).part, (await call(page, "inspect", 2, 0)).part], [1, 2]);
    assert.equal((await call(page, "ask", "?")).rejected.what, "not a prompt");
    assert.equal((await eventsOf(page, "error")).length, 1, "what each complains of is told once");
    assert.equal((await call(page, "save")).name, "fake-step1.zip");
    const both = await page.evaluate(() => Promise.all([trainer.step(), trainer.step()]));
    assert.deepEqual(both.map((state) => state.step), [2, 2], "two at once are one");
    assert.equal((await eventsOf(page, "step")).length, 6);
});

fakeTest("three workers play in step, pause and go on", async (page) => {
    await three(page);
    await call(page, "resume");
    await event(page, { type: "step", run: 2 }, 6);
    await call(page, "pause");
    const { step } = await event(page, { type: "state", state: "paused" }, 2);
    const steps = await eventsOf(page, "step");
    assert(steps.length >= 3 * step && steps.length < 3 * step + 3, "a pause may come when not all have begun a step");
    // No run is ever more than a step ahead of another.
    const done = [0, 0, 0];
    for (const { run, report } of steps) {
        done[run] = report.step;
        assert(Math.max(...done) - Math.min(...done) <= 1, JSON.stringify(done));
    }
    await page.waitForTimeout(100);
    assert.equal((await eventsOf(page, "step")).length, steps.length);
    assert.equal((await call(page, "step")).step, step + 1);
    assert.equal((await eventsOf(page, "step")).length, 3 * (step + 1), "those behind have caught up");
    await call(page, "resume");
    await event(page, { type: "step", run: 2 }, step + 2);
    await call(page, "stop");
    await event(page, { type: "state", state: "stopped" });
    while (page.workers().length > 1) await page.waitForTimeout(10);
    assert.equal((await call(page, "start", start("cpu", METHODS.slice(1)))).runs.length, 2);
    assert.equal(page.workers().length, 2);
    assert.equal((await eventsOf(page, "error")).length, 0);
});

fakeTest("what stops runs while three workers make them is heard, and others can begin", async (page) => {
    await connect(page, { workers: 3 });
    const outcome = await page.evaluate(async (start) => {
        const said = [];
        const note = (name) => [() => said.push(name), (error) => said.push(`${name}: ${error.complaint.what}`)];
        for (let i = 0; i < 3; i += 1) {
            trainer.start(start).then(...note("start"));
            for (let ms = 0; ms < i; ms += 1) await new Promise((resolve) => setTimeout(resolve));
            trainer.stop().then(...note("stop"));
        }
        trainer.start(start).then(...note("start"));
        const { runs } = await trainer.start(start);
        await trainer.step();
        return { runs: runs.length, said };
    }, start("cpu", METHODS));
    assert.equal(outcome.runs, 3);
    assert.equal(outcome.said.filter((what) => what === "stop").length, 3, outcome.said.join("; "));
    assert(outcome.said.some((what) => what.startsWith("start: the runs were stopped")), outcome.said.join("; "));
    assert.deepEqual((await eventsOf(page, "step")).map((e) => e.run).sort(), [0, 1, 2]);
    assert.equal(page.workers().length, 3);
    assert((await eventsOf(page, "ready")).every(({ runs }) => runs.length === 3), "no part is told");
    assert.deepEqual(await eventsOf(page, "error"), []);
});

fakeTest("a GPU has one worker, and another start may have several", async (page) => {
    assert.equal((await three(page, "webgpu")).runs.length, 3);
    assert.equal(page.workers().length, 1);
    await call(page, "start", start("cpu", METHODS));
    assert.equal(page.workers().length, 3);
    assert.equal((await call(page, "step")).step, 1);
    await call(page, "start", start("webgpu", METHODS));
    while (page.workers().length > 1) await page.waitForTimeout(10);
    assert.equal((await call(page, "step")).step, 1);
});

for (const how of ["panic", "trap", "error"]) {
    fakeTest(`where a further worker fails by ${how} at the beginning, one makes all runs`, async (page) => {
        const ready = await three(page, "cpu", [`fail=${how}@making@cpu`, "part=1"]);
        assert.deepEqual(ready.runs.map((run) => run.method), METHODS);
        while (page.workers().length > 1) await page.waitForTimeout(10);
        assert.equal((await call(page, "step")).step, 1);
        assert.deepEqual([await eventsOf(page, "error"), await eventsOf(page, "recovered")], [[], []]);
    });
}

fakeTest("if one of three dies, all go on in one worker", async (page) => {
    await three(page, "cpu", ["fail=panic@4@cpu", "part=2"], { saveEverySecs: 0 });
    await call(page, "step");
    await event(page, { type: "saved", step: 1 });
    await call(page, "resume");
    const { step, device } = await event(page, { type: "recovered" });
    assert(step >= 1 && step < 4, `from step ${step}`);
    assert.equal(device, "cpu");
    for (const run of [0, 1, 2]) {
        await page.waitForFunction((run) => events.some((e) => e.run === run && e.report?.step > 5), run);
    }
    assert.equal(page.workers().length, 1);
    await call(page, "pause");
});

fakeTest("an error in one of three ends the play, and is told once", async (page) => {
    await three(page, "cpu", ["fail=error@3@cpu", "part=1"]);
    await call(page, "resume");
    await event(page, { type: "error" });
    await event(page, { type: "state", state: "paused" }, 2);
    assert.equal((await eventsOf(page, "error")).length, 1);
    const steps = await eventsOf(page, "step");
    await page.waitForTimeout(100);
    assert.equal((await eventsOf(page, "step")).length, steps.length);
});

fakeTest("a file is shared by three workers, and a wrong one leaves the runs as they were", async (page) => {
    await three(page);
    await call(page, "step");
    const load = (bytes) => page.evaluate((bytes) => {
        const loaded = bytes ? Promise.resolve({ bytes: new Uint8Array(bytes) }) : trainer.save();
        return loaded.then(({ bytes }) => trainer.load(bytes, "cpu")).catch((error) => error.complaint);
    }, bytes);
    assert.equal((await load([1, 2, 3])).what, "not a checkpoint");
    assert.equal((await call(page, "step")).step, 2);
    const ready = await load();
    assert.deepEqual([ready.step, ready.runs.length], [2, 3]);
    assert.equal(page.workers().length, 3);
    assert.equal((await call(page, "step")).step, 3);
});

for (const kind of ["bytes", "a file"]) {
    fakeTest(`what was brought as ${kind} is there in further workers, and in one that takes their place`, async (page) => {
        await connect(page, { workers: 3 });
        const settings = ["needs=m", "fail=panic@2@cpu", "part=1"];
        assert.equal((await call(page, "start", start("cpu", METHODS, settings))).rejected.what, "m is not here");
        await page.evaluate((kind) => {
            const bytes = new TextEncoder().encode("this is m");
            return trainer.bring("m", kind === "bytes" ? bytes : new File([bytes], "m"));
        }, kind);
        assert.equal((await call(page, "start", start("cpu", METHODS, settings))).runs.length, 3);
        assert.equal(page.workers().length, 3);
        await call(page, "resume");
        const { step } = await event(page, { type: "recovered" });
        assert(step < 2);
        await event(page, { type: "step", run: 2 }, 4);
        assert.equal(page.workers().length, 1);
        await call(page, "pause");
    });
}
