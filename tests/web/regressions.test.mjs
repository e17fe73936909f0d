// What was reported of the page and its package (W numbers) or of others like it, each as a test: the
// package's part on a trainer without a model, the page's on the CPU backend.

import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { after, test } from "node:test";
import {
    QUICK, browserTest, call, connect, event, eventsOf, fakeTest, pauseAt, reach, root, shows, start,
} from "./harness.mjs";

const require = createRequire(root + "web/package.json");
const METHODS = ["sft", "grpo", "srft"];

// The package.

fakeTest("W5: a worker that computes for ever is replaced at a pause, with the runs at their last checkpoint", async (page) => {
    await connect(page, { saveEverySecs: 0, patienceSecs: 1 });
    await call(page, "start", start("cpu", METHODS, ["fail=loop@4@cpu"]));
    await call(page, "resume");
    await event(page, { type: "step", run: 2 }, 3);
    await call(page, "pause");
    const { step, reason } = await event(page, { type: "recovered" });
    const saved = (await eventsOf(page, "saved")).at(-1)?.step ?? 0;
    assert.equal(step, saved);
    assert.match(reason.what, /no answer for 1 s/);
    await event(page, { type: "state", state: "paused", step: saved });
    assert.deepEqual(await eventsOf(page, "lost"), []);
});

fakeTest("W5: a stop ends a worker that computes for ever, and a start goes on in another", async (page) => {
    await connect(page, { patienceSecs: 1 });
    await call(page, "start", start("cpu", METHODS, ["fail=loop@1@cpu"]));
    await call(page, "resume");
    await page.waitForTimeout(200);
    await call(page, "stop");
    assert.equal((await call(page, "start", start("cpu", METHODS))).step, 0);
    assert.equal((await call(page, "step")).step, 1);
    assert.deepEqual(await eventsOf(page, "recovered"), []);
});

fakeTest(
    "W5: a worker that died unseen, as without locks on plain http, is replaced at a pause",
    async (page) => {
        const worker = await connect(page, { saveEverySecs: 0, patienceSecs: 1 });
        await call(page, "start", start("cpu", METHODS));
        await call(page, "step");
        await event(page, { type: "saved", step: 1 });
        await worker.evaluate(() => self.close());
        await page.waitForTimeout(300);
        assert.deepEqual(await eventsOf(page, "recovered"), [], "nobody told");
        await call(page, "pause");
        await event(page, { type: "recovered", step: 1 });
    },
    {
        before: async (page) => {
            await page.route("**/srft/srft.js", (route) => route.fulfill({ path: root + "tests/web/fake_srft.js" }));
            await page.route("**/srft/work.js", async (route) => {
                const body = (await (await route.fetch()).text()).replace("navigator.locks?.request", "(() => {})");
                await route.fulfill({ body, contentType: "text/javascript" });
            });
        },
    },
);

fakeTest("W6: an evaluation tells how far it is, hears a pause, and can be cancelled", async (page) => {
    await connect(page);
    await call(page, "start", start("cpu", METHODS, ["hold=102"]));
    await call(page, "resume");
    await page.evaluate(() => void (window.evaluation = trainer.evaluate(100)));
    await event(page, { type: "evaluating", done: 3, of: 400 });
    await call(page, "pause");
    const { step } = await event(page, { type: "state", state: "paused" }, 2);
    await event(page, { type: "evaluating", done: 102 });
    await call(page, "cancel");
    const got = await page.evaluate(() => evaluation);
    assert.deepEqual(got.map(({ run }) => run), [null], "the base was through");
    assert.equal((await call(page, "step")).step, step + 1);
    assert.equal((await call(page, "evaluate", 2)).length, 4);
});

fakeTest("W9: saving goes by time, and at once when the page is hidden", async (page) => {
    await connect(page, { saveEverySecs: 1000 });
    await call(page, "start", start("cpu", METHODS));
    await call(page, "resume");
    await event(page, { type: "step", run: 2 }, 12);
    assert.deepEqual(await eventsOf(page, "saved"), [], "12 steps are no reason");
    await page.evaluate(() => {
        Object.defineProperty(document, "visibilityState", { value: "hidden" });
        document.dispatchEvent(new Event("visibilitychange"));
    });
    await event(page, { type: "saved" });
});

fakeTest("W12: runs that are lost can still be saved", async (page) => {
    await connect(page, { saveEverySecs: 0 });
    await call(page, "start", start("cpu", METHODS, ["fail=panic@3@any"]));
    await call(page, "resume");
    const lost = await event(page, { type: "lost" });
    const saved = await page.evaluate(async () => {
        const { step, bytes } = await trainer.save();
        return { step, text: new TextDecoder().decode(bytes) };
    });
    assert.equal(saved.step, lost.step);
    assert.equal(JSON.parse(saved.text.split("\n")[0]).step, lost.step);
});

fakeTest("an error says which request it belongs to; what fails by itself belongs to none", async (page) => {
    await connect(page);
    await call(page, "load", [1]);
    await call(page, "start", start("cpu", METHODS, ["fail=error@2@cpu"]));
    await call(page, "resume");
    await event(page, { type: "error" }, 2);
    assert.deepEqual((await eventsOf(page, "error")).map(({ of }) => of), ["load", undefined]);
});

fakeTest("W7: a store that never answers says so (WebKit 226547)", async (page) => {
    await connect(page);
    const why = await page.evaluate(() => {
        IDBFactory.prototype.open = () => ({});
        return trainer.store.get().catch((error) => error.message);
    });
    assert.match(why, /no answer for 3 s/);
});

fakeTest("W13: the download tells how far it is, and the page asks for all scripts at once", async (page) => {
    await connect(page);
    await call(page, "start", start("cpu", METHODS));
    // The trainer without a model does not wait for its wasm.
    await page.waitForFunction(() => events.some((e) => e.type === "loading" && e.loaded > 3e6 && e.loaded === e.total));
    const scripts = readFileSync(`${root}web/dist/index.html`, "utf8").match(/rel="modulepreload"/g);
    assert(scripts.length > 30, `${scripts.length}`);
});

fakeTest(
    "W26: the package works from another origin, as from a CDN",
    async (page) => {
        const got = await page.evaluate(async () => {
            const { Trainer } = await import(`${window.elsewhere}srft/client.js`);
            const trainer = Trainer.connect({ store: null });
            await trainer.start({ device: "cpu", settings: [], runs: [{ method: "srft", settings: [] }] });
            return trainer.step();
        });
        assert.equal(got.step, 1);
    },
    {
        before: async (page) => {
            // The same files under another name of this machine.
            await page.route("http://cdn.test/**", async (route) => {
                const { pathname } = new URL(route.request().url());
                const path = pathname.endsWith("srft.js") ? "tests/web/fake_srft.js" : `web/dist${pathname}`;
                await route.fulfill({ path: root + path, headers: { "access-control-allow-origin": "*" } });
            });
            await page.addInitScript(() => (window.elsewhere = "http://cdn.test/"));
        },
    },
);

/** A project that uses the package as any other, built by a bundler; gives the address of what came out. */
async function bundled() {
    const { build } = await import(require.resolve("vite"));
    const project = mkdtempSync(`${tmpdir()}/srft-vite-`);
    mkdirSync(`${project}/node_modules`);
    cpSync(`${root}web/dist/srft`, `${project}/node_modules/srft`, { recursive: true });
    writeFileSync(`${project}/index.html`, '<link rel="icon" href="data:,"><script type="module" src="./main.js"></script>');
    writeFileSync(
        `${project}/main.js`,
        `import { Trainer } from "srft";
        const trainer = Trainer.connect({ store: null });
        await trainer.start({ device: "cpu", settings: ["rollout.prompts=2", "rollout.group=2", "eval.examples=1"], runs: [{ method: "srft", settings: [] }] });
        document.title = "step " + (await trainer.step()).step;`,
    );
    await build({ root: project, logLevel: "error" });
    const sirv = require("sirv");
    const server = createServer(sirv(`${project}/dist`, { dev: true }));
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    after(() => {
        server.close();
        server.closeAllConnections();
        rmSync(project, { recursive: true });
    });
    return `http://127.0.0.1:${server.address().port}/`;
}

browserTest("W4: a default Vite build of the package trains (agentjp/bdinfo-rs 45, RvanB/riffle.js 4)", {}, async (page) => {
    await page.goto(await bundled());
    await page.waitForFunction(() => document.title === "step 1");
});

// The page.

/** Whether an element is where the visitor looks, and not under the bar. */
async function assertInSight(page, selector) {
    await page.waitForFunction((selector) => {
        const { top, bottom } = document.querySelector(selector).getBoundingClientRect();
        const bar = document.querySelector(".bar").getBoundingClientRect().bottom;
        return top >= bar - 1 && top < innerHeight && bottom > bar;
    }, selector, { timeout: 10_000 });
}

const text = (page, selector) => page.locator(selector).innerText();

/** The step of what the browser keeps of this tab. */
const keptStep = (page) =>
    page.evaluate(async () => {
        const done = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
        const database = await done(indexedDB.open("srft", 1));
        const slot = sessionStorage.getItem("srft-tab");
        const kept = await done(database.transaction("checkpoints").objectStore("checkpoints").get(slot));
        database.close();
        return kept?.step;
    });

async function waitForKept(page, step) {
    while ((await keptStep(page)) !== step) await page.waitForTimeout(50);
}

const desktop = { viewport: { width: 1440, height: 900 } };

for (const [name, options] of [["desktop", desktop], ["phone", { viewport: { width: 390, height: 844 } }]]) {
    browserTest(`W2: the lesson of an experiment is in sight, with what it tells to look at: ${name}`, { path: "index.html#" + QUICK, options }, async (page) => {
        await reach(page, "playing");
        const links = page.locator("#presets a");
        for (let i = 0; i < (await links.count()); i += 1) {
            const title = await links.nth(i).locator("b").innerText();
            await links.nth(i).click();
            await shows(page, "#lesson-title", title);
            await assertInSight(page, "#lesson-title");
            await assertInSight(page, "#lesson-look");
        }
    });
}

browserTest("W1, W2: all rewards equal: RL stays at 0, and its group is the one that opens", { path: "index.html#preset=equal-rewards&dev=cpu&n=8", options: desktop }, async (page) => {
    await assertInSight(page, "#lesson");
    await reach(page, "done", 8);
    await page.waitForFunction(() => /step 8: .*RL 0\.00/.test(document.querySelector("#lesson-now").textContent));
    const now = await text(page, "#lesson-now");
    const [, sft, srft] = /SFT ([\d.]+).*SRFT ([\d.]+)/.exec(now).map(Number);
    assert(sft > 0 && srft > 0, now);
    await shows(page, "#group-run option:checked", "RL (GRPO)");
});

browserTest("W3: what goes wrong is told where it was done", { path: "index.html#" + QUICK, options: desktop }, async (page) => {
    await pauseAt(page, 1);
    await page.locator("#prompt").fill("1+1=");
    await page.locator("#ask-button").click();
    await page.waitForFunction(() => document.querySelectorAll("#answers .answer").length === 4);
    await page.locator("#prompt").fill("hello");
    await page.locator("#ask-button").click();
    await page.locator("#ask-says").getByText("no token for").waitFor();
    await assertInSight(page, "#ask-says");
    await shows(page, "#answers", ""); // no answers to another prompt
    await page.locator("#load").setInputFiles({ name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("hello") });
    await page.locator("#files-say").getByText("is not a zip").waitFor();
    await page.locator("#examples").fill("100000");
    await page.locator("#evaluate").click();
    await page.locator("#evaluate-says").getByText("from 1 to 500").waitFor();
    assert.equal(await text(page, "#errors"), "");
});

browserTest("W5: Restart works while the trainer computes for ever", { path: "index.html#" + QUICK }, async (page) => {
    await reach(page, "playing", 1);
    page.workers().at(-1).evaluate(() => { for (;;); }).catch(() => {});
    await page.waitForTimeout(200);
    await page.locator("#restart").click();
    await reach(page, "loading");
    await reach(page, "playing", 1);
});

browserTest("W11, W27: a worker that dies takes nothing from the charts, and what is said of it is whole", { path: "index.html#" + QUICK }, async (page) => {
    const step = await pauseAt(page, 3);
    await waitForKept(page, step);
    const points = () => page.locator("#chart-shift g.series").evaluateAll((all) => all.map((g) => Number(g.dataset.points)));
    assert((await points()).every((n) => n >= step));
    await page.workers().at(-1).evaluate(() => self.close());
    await page.locator("#errors .recovered").getByText(`from step ${step}`).waitFor();
    await reach(page, "paused", step);
    await page.waitForFunction(
        (step) => [...document.querySelectorAll("#chart-shift g.series")].every((g) => Number(g.dataset.points) >= step),
        step,
    );
    await shows(page, "#errors .recovered", /without a word\.$/m); // and nothing of a CPU that was asked for
});

let isStuck = false;
browserTest(
    "W13: a download that brings nothing is told, and Restart tries again",
    {
        path: "index.html#" + QUICK,
        before: (page) => {
            isStuck = true;
            return page.route("**/model.safetensors", (route) => (isStuck ? undefined : route.continue()));
        },
        allow: [/model\.safetensors/],
    },
    async (page) => {
        await page.waitForFunction(() => /Restart tries again/.test(document.querySelector("#phase").textContent));
        isStuck = false;
        await page.locator("#restart").click();
        await reach(page, "playing", 1);
    },
);

browserTest("W6: an evaluation says how far it is and can be cancelled", { path: "index.html#" + QUICK }, async (page) => {
    await pauseAt(page, 1);
    await page.locator("#examples").fill("500");
    await page.locator("#evaluate").click();
    await page.waitForFunction(() => /Cancel, [\d,]+ of [\d,]+ done/.test(document.querySelector("#evaluate").textContent));
    await page.locator("#step").click();
    await page.locator("#evaluate").click();
    await page.locator("#evaluate").getByText("Evaluate now").waitFor();
    await reach(page, "paused", 2);
});

browserTest(
    "W7: the page begins where the browser's storage never answers",
    {
        path: "index.html#" + QUICK,
        before: (page) => page.addInitScript(() => (IDBFactory.prototype.open = () => ({}))),
    },
    async (page) => {
        await reach(page, "playing", 1);
        await shows(page, "#continued", /gave no answer/);
    },
);

for (const [name, settings] of [
    ["opened as a file", { url: `file://${root}web/dist/index.html` }],
    ["a module missing", { path: "index.html", before: (page) => page.route("**/strip.js", (route) => route.abort()) }],
    ["a module of another type", { path: "index.html", before: (page) => page.route("**/strip.js", (route) => route.fulfill({ body: "hello", contentType: "text/plain" })) }],
]) {
    browserTest(`W8: a page whose scripts do not run says so: ${name}`, { ...settings, allow: [/./] }, async (page) => {
        await page.locator("#no-scripts").getByText("What next:").waitFor();
        await shows(page, "#phase", "not loaded");
    });
}

browserTest("W10: a loaded file is kept at once, and its address finds it again", { path: "index.html#" + QUICK }, async (page) => {
    const first = await pauseAt(page, 2);
    const saved = page.waitForEvent("download");
    await page.locator("#save").click();
    const file = await (await saved).path();
    await page.locator("#play").click();
    const later = await pauseAt(page, first + 2);
    await waitForKept(page, later);
    await page.locator("#load").setInputFiles({ name: "saved.zip", mimeType: "application/zip", buffer: readFileSync(file) });
    await page.locator("#continued").getByText(`at step ${first}`).waitFor();
    assert.match(page.url(), /dev=cpu/);
    await waitForKept(page, first);
    await page.reload();
    await page.locator("#continued").getByText(`Continued from step ${first}`).waitFor();
});

browserTest("W11: after a reload of runs that are done the page shows what it showed", { path: `index.html#${QUICK}&n=3`, options: desktop }, async (page) => {
    await reach(page, "done", 3);
    await page.waitForFunction(() => document.querySelector("#group-status").textContent.startsWith("Step 3"));
    await waitForKept(page, 3);
    const shown = () =>
        page.evaluate(() => ({
            points: [...document.querySelectorAll(".chart g.series")].map((g) => g.dataset.points),
            strip: document.querySelector("#strip-table").innerText,
            base: [...document.querySelectorAll("#scores tbody tr")].map((row) => row.cells[2].textContent),
            group: document.querySelector("#group-rows").innerText,
        }));
    await page.waitForFunction(() => document.querySelectorAll("#example-answers li").length === 4);
    const before = await shown();
    assert(before.base.every((value) => value !== "–"), `${before.base}`);
    await page.reload();
    await page.locator("#continued").getByText("Continued from step 3").waitFor();
    await page.waitForFunction(() => document.querySelector("#group-rows").childElementCount > 1);
    const after = await shown();
    assert.deepEqual(after.points, before.points);
    assert.equal(after.strip, before.strip);
    assert.deepEqual(after.base, before.base);
    assert(after.group.length > 0);
});

browserTest("W14: numbers out of range are refused beside their field, in the page's words", { path: `index.html#${QUICK}&n=5000`, options: desktop }, async (page) => {
    await reach(page, "playing", 1);
    await page.locator("#errors").getByText("n=5000 (Steps must be from 1 to 1000.)").waitFor();
    await page.locator("#settings > summary").click();
    for (const [key, value, words] of [["p", "100000", "from 1 to 64"], ["g", "1", "from 2 to 16"], ["g", "2.5", "whole number"], ["n", "", "must be a number"]]) {
        await page.locator(`#set-${key}`).fill(value);
        await page.locator(`#set-${key}`).blur();
        await page.locator(`#set-${key}-wrong`).getByText(words).waitFor();
    }
    await shows(page, "#restart-text", "Restart");
    await page.locator("#set-p").fill("3");
    await page.locator("#set-p").blur();
    await page.locator("#set-p-wrong").waitFor({ state: "hidden" });
    await shows(page, "#restart-text", "Restart to apply");
});

browserTest("W15: two tabs keep runs of their own; a closed tab's are taken up", { path: "index.html#" + QUICK }, async (page, context) => {
    const first = await pauseAt(page, 2);
    await waitForKept(page, first);
    const other = await context.newPage();
    await other.goto(page.url());
    await reach(other, "playing", 1);
    await shows(other, "#continued", /Another tab runs the same/);
    await other.close();
    assert.equal(await keptStep(page), first, "the first tab's are as they were");
    const address = page.url();
    await page.close();
    const third = await context.newPage();
    await third.goto(address);
    await third.locator("#continued").getByText(/Continued from step/).waitFor();
});

browserTest("W17: the keyboard's place is kept where a button rests", { path: "index.html#" + QUICK }, async (page) => {
    await pauseAt(page, 1);
    for (const id of ["step", "restart"]) {
        await page.locator(`#${id}`).focus();
        await page.keyboard.press("Enter");
        await page.waitForTimeout(50);
        assert.equal(await page.evaluate(() => document.activeElement.id), id);
        await reach(page, id === "step" ? "paused" : "playing", 1);
    }
});

browserTest("W25: a kept state that is damaged is told", { path: "index.html#" + QUICK }, async (page) => {
    const step = await pauseAt(page, 1);
    await waitForKept(page, step);
    await page.evaluate(async () => {
        const done = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
        const database = await done(indexedDB.open("srft", 1));
        const table = database.transaction("checkpoints", "readwrite").objectStore("checkpoints");
        const slot = sessionStorage.getItem("srft-tab");
        const kept = await done(table.get(slot));
        await done(table.put({ ...kept, bytes: kept.bytes.slice(0, 1000) }, slot));
        database.close();
    });
    await page.reload();
    await page.locator("#continued").getByText("cannot be read").waitFor();
    await reach(page, "playing", 1);
});

browserTest("W28: a hash edited in place tells what it does not know", { path: "index.html#" + QUICK }, async (page) => {
    await reach(page, "playing", 1);
    await page.evaluate((hash) => (location.hash = hash), `${QUICK}&colour=red`);
    await page.locator("#errors").getByText("colour=red").waitFor();
});

browserTest("one problem stands on the first screen, with the answers of the base and every run", { path: "index.html#" + QUICK, options: desktop }, async (page) => {
    await page.waitForFunction(() => document.querySelectorAll("#example-answers li").length === 4);
    await assertInSight(page, "#example-answers");
    const prompt = await page.evaluate(
        () => document.querySelector("#example-prompt").textContent + document.querySelector("#example-answer").textContent,
    );
    assert.match(prompt, /^[s\d][\d+*%-]*=\d+$/);
    const marks = page.locator("#example-answers .verdict");
    assert.match((await marks.allTextContents()).join(""), /^([✓✗] ){4}$/);
    assert.match(await text(page, ".lede"), /single-stage supervised \+ reinforcement fine-tuning/);
});

// Without a browser.

const { answerTo, isRight } = await import("../../web/page/problem.js");
const { weightOf } = await import("../../web/page/formula.js");
const { inPageWords } = await import("../../web/page/words.js");

test("W29: the page knows which answers are right: the task's own examples", () => {
    for (const [prompt, answer] of [
        ["59+63=", "122"], ["43-28=", "15"], ["21*8=", "168"], ["583%4=", "3"], ["s4186=", "1468"], ["s4106=", "0146"],
        ["60+35-43=", "52"], ["71+7*6=", "113"], ["s583%4=", "2"], ["12+34", null], ["3-9=", null], ["9%0=", null],
    ]) {
        assert.equal(answerTo(prompt), answer, prompt);
    }
    const answer = (text, truncated = false) => ({ run: 0, truncated, tokens: [...text, "<eos>"].map((text) => ({ text })) });
    assert.equal(isRight("1+1=", answer("1+1=2>2")), true);
    assert.equal(isRight("1+1=", answer("1+1=2>2", true)), false, "cut");
    assert.equal(isRight("1+1=", answer("2")), false, "without the marker");
    assert.equal(isRight("1+1=", answer("2>2>2")), false, "two markers");
    assert.equal(isRight("hello", answer(">2")), null);
});

test("W18: a factor of 32 bits is written as it is meant", () => {
    const formula = { self_weight_scale: Math.fround(0.1), self_weight_sign: 1, entropy_over: "sequence", sft_token_weight: "none" };
    const { symbols } = weightOf(formula, { role: "rollout", entropy: 0.2 }, { weight: 0.122, logp: -1 });
    assert.match(symbols, /^0\.1·exp/);
});

test("W14: the trainer's words for the command line become the page's", () => {
    const { what, next } = inPageWords({
        what: "rollout.prompts must be at least 1",
        place: null,
        next: "set rollout.prompts in the TOML file or with --set rollout.prompts=VALUE",
    });
    assert.equal(what, "“Prompts (P)” must be at least 1");
    assert.equal(next, "choose another value of “Prompts (P)” under Settings");
});
