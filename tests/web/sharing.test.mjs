// The page that people share: what it opens with, what it says at the end, a link, a frame, the words.

import assert from "node:assert/strict";
import { test } from "node:test";
import { QUICK, assertAccessible, browserTest, pauseAt, reach, shows } from "./harness.mjs";
import { startOf } from "../../web/page/start.js";
import { read, write } from "../../web/page/url.js";
import { verdictOf } from "../../web/page/verdict.js";

test("an address that says nothing opens where the methods part; any other starts the runs that it started before", () => {
    const settings = (hash) => startOf(read(hash)).settings;
    assert.deepEqual(settings(""), ["data.wrong_demonstrations=0.5"]);
    assert.deepEqual(settings("#"), ["data.wrong_demonstrations=0.5"]);
    assert.deepEqual(settings("#preset=paper"), []);
    assert.deepEqual(settings("#p=2&g=2&dev=cpu"), ["rollout.prompts=2", "rollout.group=2"]);
    assert.deepEqual(settings("#preset=few-demonstrations&seed=3"), ["data.demonstrations=0.1", "run.seed=3"]);
    // What is written means the same when it is read.
    for (const hash of ["", "#preset=paper", "#seed=1", "#preset=wrong-demonstrations&wd=0.3", "#m=sft"]) {
        const { unknown, ...address } = read(hash);
        assert.deepEqual(unknown, []);
        assert.deepEqual(startOf(read(`#${write(address)}`)), startOf(address), hash);
    }
    assert.equal(write({ preset: undefined, own: {} }), "preset=paper", "nothing would be the opening experiment");
});

/** A run whose every suite has this accuracy, of 24 problems each. */
const scores = (inside, outside) =>
    [...Array(8).keys()].map((i) => ({ suite: `s${i}`, ood: i > 4, n: 24, accuracy: i > 4 ? outside : inside }));
const run = (method, inside, outside) => ({ view: { method }, evaluations: [{ step: 150, scores: scores(inside, outside) }] });
const seen = (...runs) => verdictOf({ phase: "done", step: 150, base: { step: 0, scores: scores(0.4, 0.222) }, runs });

test("what was seen is said in three sentences, and what chance explains is no lead", () => {
    const text = seen(run("sft", 0.458, 0.153), run("grpo", 0.65, 0.458), run("srft", 0.658, 0.375));
    assert.equal(
        text,
        "After 150 steps SRFT answers 65.8% of 120 new problems right, RL 65.0%, SFT 45.8%; before training it was 40.0% (each ±9 points). " +
            "SRFT and RL are level, within what chance explains; SFT is behind SRFT by 20.0 points (±12), which is more than chance explains. " +
            "Of 72 problems of kinds that are never trained on: RL 45.8%, SRFT 37.5%, SFT 15.3%, before 22.2% (±12); one seed proves nothing.",
    );
    assert.match(seen(run("sft", 0.9, 0.5), run("grpo", 0.5, 0.5)), /\. RL is behind SFT by 40\.0 points \(±10\), which/);
    assert.match(seen(run("srft", 0.42, 0.5)), /SRFT has moved by 2\.0 points \(±12\), within what chance explains\./);
    assert.equal(verdictOf({ phase: "playing", step: 150, base: { step: 0, scores: [] }, runs: [] }), null);
});

const phone = { viewport: { width: 390, height: 844 } };
for (const [name, options] of [["desktop", { viewport: { width: 1280, height: 800 } }], ["phone", phone]]) {
    browserTest(`the first screen has the problem, the headline and the strip, and no other chart: ${name}`, { path: "index.html", options }, async (page) => {
        await page.waitForFunction(() => document.querySelectorAll("#example-answers li").length === 4);
        await page.waitForFunction(() => document.querySelectorAll("#strip-table tr").length === 4);
        await shows(page, "#lesson-title", "Wrong demonstrations");
        const below = await page.evaluate(() =>
            ["#example-answers", "#chart-accuracy-in .plot", "#strip-table"].filter(
                (part) => document.querySelector(part).getBoundingClientRect().bottom > innerHeight,
            ),
        );
        assert.deepEqual(below, [], "below the fold");
        assert.equal(await page.locator(".chart:visible").count(), 1);
        assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), options.viewport.width);
    });
}

browserTest("each model answers token by token, with a mark; the end of the text is no token of it", { path: "index.html#" + QUICK }, async (page) => {
    await pauseAt(page, 1);
    await page.waitForFunction(() => document.querySelectorAll("#example-answers li").length === 4);
    const said = await page.locator("#example-answers li").evaluateAll((all) =>
        all.map((li) => ({
            tokens: [...li.querySelectorAll(".said")].map((token) => token.textContent),
            titles: [...li.querySelectorAll(".said")].every((token) => /^p = /.test(token.title)),
            mark: li.querySelector("[role=img]").getAttribute("aria-label"),
        })),
    );
    for (const { tokens, titles, mark } of said) {
        assert(tokens.length > 0 && tokens.every((token) => token.length === 1 && token !== "■"), `${tokens}`);
        assert(titles);
        assert.match(mark, /^(right|wrong):$/);
    }
});

browserTest(
    "the link and the code of a frame hold the present runs",
    { path: "index.html#" + QUICK, before: (page, context) => context.grantPermissions(["clipboard-read", "clipboard-write"]) },
    async (page) => {
        await pauseAt(page, 1);
        const copied = () => page.evaluate(() => navigator.clipboard.readText());
        await page.locator("#copy-link").click();
        await shows(page, "#copy-link", "Copied");
        assert.equal(await copied(), page.url());
        await page.locator("#copy-embed").click();
        await shows(page, "#share-says", "The code is copied.");
        const code = await copied();
        assert.equal(code, await page.locator("#embed-code").inputValue());
        const source = /src="([^"]+)"/.exec(code)[1].replaceAll("&amp;", "&");
        assert.equal(source, page.url().replace("#", "?embed#"));
    },
);

browserTest("a frame has the problem and the headline alone, and leads to the whole page", { path: `index.html?embed#${QUICK}`, options: { viewport: { width: 420, height: 640 } } }, async (page) => {
    await pauseAt(page, 1);
    await page.waitForFunction(() => document.querySelectorAll("#example-answers li").length === 4);
    for (const part of ["#example", "#chart-accuracy-in", "#play", "#whole"]) assert(await page.locator(part).isVisible(), part);
    for (const part of ["#strip", "#experiments", "#why", "#group", "#ask-form", "#share", ".lede"]) assert(!(await page.locator(part).isVisible()), part);
    assert.equal(await page.locator("#whole").getAttribute("href"), page.url().replace("?embed", ""));
    const [scroll, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert(scroll <= width, `${scroll}`);
    await assertAccessible(page);
});

browserTest("a word is explained where it stands, by keyboard; without popovers its link leads to the list", { path: "index.html#" + QUICK }, async (page) => {
    await reach(page, "playing", 1);
    const links = page.locator("a.word");
    for (let i = 0; i < (await links.count()); i += 1) {
        const href = await links.nth(i).getAttribute("href");
        assert.equal(await page.locator(`.words ${href} dd`).count(), 1, href);
    }
    const word = page.locator('#strip a[href="#word-nats"]');
    await word.focus();
    await page.keyboard.press("Enter");
    await page.locator("#word-says").getByText("natural logarithms").waitFor();
    await page.waitForFunction(() => document.activeElement.id === "word-says");
    const [word_, box] = [await word.boundingBox(), await page.locator("#word-says").boundingBox()];
    assert(Math.abs(box.y - word_.y) < 260 && box.x >= 0, "beside its word");
    await page.keyboard.press("Escape");
    await page.locator("#word-says").waitFor({ state: "hidden" });
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("href")), "#word-nats");
    assert.equal(await page.evaluate(() => location.hash), "#" + QUICK, "the address stays");

    await page.evaluate(() => (document.querySelector("#word-says").showPopover = undefined));
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement.id === "word-nats");
});
