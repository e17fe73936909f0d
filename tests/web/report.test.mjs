// The report as a reader meets it: opened from a file, drawn without scripts, linked with them, and
// never asking the network for anything.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { pathToFileURL } from "node:url";
import { accessibilityTests, assertAccessible, browserTest, program } from "./harness.mjs";

const scratch = mkdtempSync(join(tmpdir(), "srft-report-"));
after(() => rmSync(scratch, { recursive: true }));

const STEPS = 3;
const SETTINGS = [
    "rollout.prompts=2",
    "rollout.group=3",
    "rollout.max_new_tokens=24",
    "eval.examples=2",
    "eval.every=1",
    "checkpoint.samples_every=1",
].flatMap((setting) => ["--set", setting]);

function srft(...options) {
    assert(existsSync(program), `${program} is missing; next: cargo build --release`);
    execFileSync(program, options, { cwd: scratch, stdio: ["ignore", "pipe", "pipe"] });
}

/** The address of the report on some runs. */
function report(name, ...runs) {
    srft("report", ...runs, "--out", name);
    return pathToFileURL(join(scratch, name)).href;
}

const lines = (path) =>
    readFileSync(join(scratch, path), "utf8").trim().split("\n").map((line) => JSON.parse(line));

for (const method of ["srft", "grpo"]) {
    srft("train", "--device", "cpu", "--method", method, "--steps", String(STEPS), "--out", method, ...SETTINGS);
}
const url = report("two.html", "srft", "grpo");

/** Lines of each chart: what a method has no use for is not drawn. */
const LINES = {
    "accuracy-in": 2,
    "accuracy-out": 2,
    reward: 2,
    entropy: 2,
    "entropy-demo": 1,
    "w-sft": 1,
    "w-rl": 1,
    loss: 2,
    "loss-sft": 1,
    "loss-rl-demo": 1,
    "loss-self": 2,
    "groups-all-right": 2,
    "groups-all-wrong": 2,
    "advantage-demo": 1,
    "response-tokens": 2,
    "truncated-share": 2,
    "grad-norm": 2,
    lr: 2,
};

browserTest("it opens from a file and draws every curve", { url }, async (page) => {
    const requests = [];
    page.on("request", (request) => requests.push(request.url()));
    await page.reload();
    assert.deepEqual(requests.filter((url) => !url.startsWith("data:")), [url], "nothing but the file itself");
    for (const [chart, expected] of Object.entries(LINES)) {
        const series = await page.locator(`#chart-${chart} g.series`).evaluateAll((all) =>
            all.map((group) => ({
                points: Number(group.dataset.points),
                path: group.querySelector("path.line").getAttribute("d").match(/[ML]/g).length,
                marks: group.querySelector("path.marks").getAttribute("d").match(/M/g).length,
            })),
        );
        const points = chart.startsWith("accuracy") ? STEPS + 1 : STEPS;
        assert.deepEqual(series, Array(expected).fill({ points, path: points, marks: points }), chart);
        if (chart.startsWith("accuracy")) assert.equal(await page.locator(`#chart-${chart} path.band`).count(), 2);
    }
    assert.equal(await page.locator("#happened .sentences p").count(), 3);
    assert.match(await page.locator("#happened .sentences p").nth(1).innerText(), /accuracy went from .*% \[.*\] \(srft\)/);
    // Eight suites, two means; base, end and change for two runs, after suite and problems.
    assert.equal(await page.locator("#happened tbody tr").count(), 10 + 2);
    assert.equal(await page.locator("#happened tbody tr").first().locator("th, td").count(), 2 + 6);
});

browserTest("one cursor links the charts, by pointer and by keyboard", { url }, async (page) => {
    const reports = lines("srft/metrics.jsonl");
    const values = () =>
        page.evaluate(() =>
            Object.fromEntries(
                ["reward", "entropy", "loss"].map((id) => [
                    id,
                    document.querySelector(`#chart-${id} .run-0 .value`).textContent.replace("−", "-"),
                ]),
            ),
        );
    const near = (text, value) => assert(Math.abs(Number(text) - value) <= 0.0051, `${text}, expected ${value}`);
    const atRest = await values();
    near(atRest.loss, reports[STEPS - 1].loss);

    // Step 1 of 3 is a third of the way between the axes.
    const chart = page.locator("#chart-entropy");
    const [left, right] = (await chart.getAttribute("data-plot")).split(" ").map(Number);
    await chart.scrollIntoViewIfNeeded();
    const svg = await chart.locator("svg").boundingBox();
    const width = await chart.locator("svg").evaluate((svg) => svg.viewBox.baseVal.width);
    await page.mouse.move(svg.x + ((left + (right - left) / 3) / width) * svg.width, svg.y + svg.height / 2);
    assert.equal(await page.locator("html").getAttribute("data-step"), "1");
    const charts = await page.locator("figure.chart").count();
    assert.equal(await page.locator('.rule[visibility="visible"]').count(), charts, "a rule in every chart");
    const series = await page.locator("g.series").count();
    assert.equal(await page.locator('.dot[visibility="visible"]').count(), series, "a dot on every line");
    const there = await values();
    near(there.loss, reports[0].loss);
    near(there.entropy, reports[0].entropy);

    await page.mouse.move(0, 0);
    assert.deepEqual(await values(), atRest, "the last values again");
    await page.locator("#cursor").focus();
    await page.keyboard.press("ArrowLeft");
    assert.equal(await page.locator("html").getAttribute("data-step"), "2");
    near((await values()).loss, reports[1].loss);
    await page.locator("#follow").click();
    assert.deepEqual(await values(), atRest);
});

browserTest("the data behind a chart is a table and a file", { url }, async (page) => {
    const data = page.locator("#chart-loss details.data");
    await data.locator("summary").click();
    const cells = await data.locator("tbody tr").evaluateAll((rows) =>
        rows.map((row) => [...row.cells].map((cell) => Number(cell.textContent))),
    );
    const [srft, grpo] = [lines("srft/metrics.jsonl"), lines("grpo/metrics.jsonl")];
    assert.deepEqual(cells.map((row) => row[0]), [3, 2, 1], "the last step on top");
    for (const [step, ...values] of cells) {
        for (const [i, run] of [srft, grpo].entries()) {
            const { loss } = run[step - 1];
            assert(Math.abs(values[i] - loss) <= 1e-5 * Math.abs(loss), `step ${step}: ${values[i]}, ${loss}`);
        }
    }
    const [download] = await Promise.all([page.waitForEvent("download"), data.locator("a").click()]);
    assert.equal(download.suggestedFilename(), "loss.csv");
    const file = readFileSync(await download.path(), "utf8").trimEnd().split("\n");
    assert.equal(file[0], "step,srft,grpo");
    assert.deepEqual(file.slice(1).reverse().map((line) => line.split(",").map(Number)), cells);
});

browserTest("runs are hidden and shown, steps of the rollouts chosen", { url }, async (page) => {
    const visible = (selector) =>
        page.locator(selector).evaluateAll((all) => all.filter((e) => e.getBoundingClientRect().width > 0).length);
    assert((await visible("g.series.run-1")) > 10);
    await page.getByRole("checkbox", { name: "grpo" }).uncheck();
    assert.equal(await visible(".run-1"), 0, "charts, columns, rollouts");
    assert((await visible("g.series.run-0")) > 10);
    await page.getByRole("checkbox", { name: "grpo" }).check();
    assert((await visible("g.series.run-1")) > 10);

    const steps = () => page.locator(".sampled:not([hidden])").evaluateAll((all) => all.map((e) => e.dataset.step));
    assert.deepEqual(await steps(), ["1"]);
    await page.locator("#sampled").focus();
    await page.keyboard.press("End");
    assert.deepEqual(await steps(), [String(STEPS)]);
    assert.equal(await page.locator("html").getAttribute("data-step"), String(STEPS), "the charts' cursor goes along");
    // Three rollouts and the demonstration of SRFT, three rollouts of GRPO.
    const members = (run) => page.locator(`.sampled:not([hidden]) .run-${run} details[open] tbody tr`).count();
    assert.deepEqual([await members(0), await members(1)], [4, 3]);
});

browserTest("it is whole without scripts", { url, options: { javaScriptEnabled: false } }, async (page) => {
    assert.equal(await page.locator("svg > title").count(), await page.locator("figure.chart").count());
    assert.equal(await page.locator(".sampled:visible").count(), STEPS);
    assert.equal(await page.locator(".needs-script:visible").count(), 0);
    await page.locator("#chart-loss summary").click();
    assert.match(await page.locator("#chart-loss a[download]").getAttribute("href"), /^data:text\/csv;charset=utf-8,step,srft,grpo%0A1,/);
    await page.locator("#show-1").uncheck();
    assert.equal(await page.locator("#chart-loss .run-1:visible").count(), 0);
});

const HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>";

browserTest(
    "what models and data say stays text",
    { url: hostileReport(), options: { viewport: { width: 1440, height: 900 } } },
    async (page) => {
        assert.equal(await page.evaluate(() => window.hacked), undefined);
        assert.equal(await page.locator("img").count(), 0);
        assert.equal(await page.locator("script").count(), 1);
        assert.equal(await page.locator(".sampled:not([hidden]) .members .mono").first().textContent(), HOSTILE);
        assert.match(await page.locator("#happened").innerText(), /onerror/, "a suite of that name");
    },
);

/** A run whose data are an attack. */
function hostileReport() {
    cpSync(join(scratch, "srft"), join(scratch, "hostile"), { recursive: true });
    const rewrite = (name, change) => {
        const changed = lines(`hostile/${name}`).map((line) => JSON.stringify(change(line)));
        writeFileSync(join(scratch, "hostile", name), changed.join("\n") + "\n");
    };
    rewrite("samples.jsonl", (group) => ({
        ...group,
        suite: HOSTILE,
        prompt: HOSTILE,
        answer: HOSTILE,
        demonstration: HOSTILE,
        episodes: group.episodes.map((episode) => ({ ...episode, response: HOSTILE })),
    }));
    rewrite("evaluations.jsonl", (evaluation) => ({
        ...evaluation,
        scores: evaluation.scores.map((score) => ({ ...score, suite: score.suite + HOSTILE })),
    }));
    return report("hostile.html", "hostile");
}

accessibilityTests({ url });

browserTest("a study's report opens, draws every difference and asks the network for nothing", { url: "about:blank" }, async (page) => {
    srft("study", "--preset", "smoke", "--device", "cpu", "--out", "smoke");
    const url = report("study.html", "smoke");
    const requests = [];
    page.on("request", (request) => requests.push(request.url()));
    await page.goto(url);
    assert.deepEqual(requests.filter((url) => !url.startsWith("data:")), [url], "nothing but the file itself");
    const results = JSON.parse(readFileSync(join(scratch, "smoke/results.json"), "utf8"));
    const compared = results.regimes.flatMap((regime) => regime.rows).filter((row) => row.difference);
    assert(compared.length > 0);
    assert.equal(await page.locator(".interval").count(), 2 * compared.length, "in and out of distribution");
    await assertAccessible(page);
});
