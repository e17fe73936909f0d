// The page as browsers and readers change it: translated from right to left, in large type, in high
// contrast, in a browser without the colour syntax of these years.

import assert from "node:assert/strict";
import { QUICK, browserTest, pauseAt } from "./harness.mjs";

const path = "index.html#" + QUICK;
const desk = { viewport: { width: 1280, height: 800 } };
const phone = { viewport: { width: 390, height: 844 } };

/** Pauses with everything unfolded, and holds the page to the screen's width. */
async function unfolded(page) {
    await pauseAt(page, 2);
    await page.waitForFunction(() => document.querySelectorAll("#example-answers li").length === 4);
    await page.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));
    const [scroll, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert(scroll <= width, `${scroll} px wide on ${width}`);
}

/** The left edges of elements, in the document's order. */
const lefts = (page, selector) =>
    page.locator(selector).evaluateAll((all) => all.map((element) => element.getBoundingClientRect().left));

for (const [name, options] of [["desktop", desk], ["phone", phone]]) {
    const before = (page) => page.addInitScript(() => addEventListener("DOMContentLoaded", () => (document.documentElement.dir = "rtl")));
    browserTest(`from right to left numbers, tokens and charts keep their order: ${name}`, { path, options, before }, async (page) => {
        await unfolded(page);
        const ordered = (all) => all.every((x, i) => i === 0 || x > all[i - 1]);
        assert(ordered(await lefts(page, "#example-prompt, #example-answer")), "a problem");
        assert(ordered(await lefts(page, "#strip-table tr:first-child td")), "the strip");
        assert(ordered(await lefts(page, "#example-answers li:first-child b .said")), "an answer");
        const steps = await lefts(page, "#chart-accuracy-in .tick.step text");
        assert(ordered(steps) && steps[0] > (await lefts(page, "#chart-accuracy-in .plot"))[0], `${steps}`);
    });

    browserTest(`in large type text and charts grow, and nothing is cut: ${name}`, { path: "blank.html", options }, async (page, context) => {
        const session = await context.newCDPSession(page);
        await session.send("Page.setFontSizes", { fontSizes: { standard: 32 } });
        await page.goto(page.url().replace("blank.html", path));
        await unfolded(page);
        const sizes = await page.evaluate(() =>
            ["body", ".note", "#chart-accuracy-in .tick text", "#play", "#strip-table td .text"].map((part) =>
                parseFloat(getComputedStyle(document.querySelector(part)).fontSize)),
        );
        assert(sizes.every((size) => size >= 20), `${sizes}`);
        const cut = await page.evaluate(() =>
            [...document.querySelectorAll("button:not(.token), .chart-head, select")]
                .filter((e) => e.offsetParent && e.scrollHeight > e.clientHeight + 2)
                .map((e) => e.outerHTML.slice(0, 80)),
        );
        assert.deepEqual(cut, []);
    });
}

const colours = (value) => /^(rgb|color|oklab)/.test(value) && value !== "rgba(0, 0, 0, 0)";

browserTest("in high contrast colours that say something stay, and so do lines", { path, options: { ...desk, forcedColors: "active", colorScheme: "dark" } }, async (page) => {
    await unfolded(page);
    const seen = await page.evaluate(() => {
        const style = (selector, pseudo) => getComputedStyle(document.querySelector(selector), pseudo);
        return {
            shades: new Set([...document.querySelectorAll("#strip-table td.shaded")].map((cell) => getComputedStyle(cell).backgroundColor)).size,
            line: style(".series .line").stroke,
            icon: style("#play", "::before").backgroundColor,
            ramp: style(".ramp").backgroundImage,
        };
    });
    assert(seen.shades > 3, `${seen.shades} shades`);
    assert.notEqual(seen.line, "none");
    assert(colours(seen.icon), seen.icon);
    assert.match(seen.ramp, /gradient/);
});

browserTest(
    "without light-dark() and color-mix() there are colours all the same",
    {
        path,
        options: desk,
        before: (page) =>
            page.route("**/*.css", async (route) => {
                const response = await route.fetch();
                const body = (await response.text()).replace(/light-dark\(|color-mix\(/g, "nothing(");
                await route.fulfill({ response, body });
            }),
    },
    async (page) => {
        await unfolded(page);
        const seen = await page.evaluate(() => {
            const style = (selector) => getComputedStyle(document.querySelector(selector));
            return {
                ground: style("body").backgroundColor,
                ink: style("body").color,
                line: style(".series .line").stroke,
                method: style(".method-srft .who").color,
            };
        });
        for (const [part, value] of Object.entries(seen)) assert(colours(value), `${part}: ${value}`);
        const moved = await page.locator("#strip-table :is(td.up, td.down)").evaluateAll((all) => all.map((cell) => getComputedStyle(cell).boxShadow));
        assert(moved.length > 0 && moved.every((shadow) => /inset/.test(shadow) && !/none/.test(shadow)), `${moved}`);
    },
);
