// Makes web/page/card.png, the picture that a link to the page shows where people share it: the end of the
// opening experiment, run on this machine's CPU. Two minutes.
//
//   web/build.sh && node web/card.mjs && web/build.sh assemble

import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import sirv from "sirv";
import { CHROMIUM, QUIET } from "../tests/web/chromium.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
/** What the pages that show links expect, px; drawn larger than life, since they show it small. */
const [WIDTH, HEIGHT, SCALE] = [1200, 630, 1.5];
/** What has no meaning in a picture, and the chart in the room that this leaves. */
const STYLE = `
    .buttons, .facts, .example button, .cursor, .as-table, figcaption, #verdict { display: none !important; }
    .bar { padding: 0; height: 3px; }
    .does { font-size: 11px !important; }
    .chart-head { display: flex; }
    .top { width: 100%; padding-block: 12px 8px; }
    #example-answers { grid-template-columns: repeat(4, minmax(0, 1fr)) !important; }
    .first, #charts { height: 100%; min-height: 0; }
    #chart-accuracy-in .plot { flex: 1 0 120px !important; }
    .example { min-height: 0; }
    body { height: 100vh; display: flex; flex-direction: column; }
    main { flex: 1; width: 100%; grid-template-rows: auto auto minmax(0, 1fr); padding-bottom: 12px; }`;

const server = createServer(sirv(`${here}dist`, { dev: true }));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET });
const page = await browser.newPage({
    viewport: { width: WIDTH / SCALE, height: HEIGHT / SCALE },
    deviceScaleFactor: SCALE,
    colorScheme: "light",
    reducedMotion: "reduce",
});
await page.goto(`http://127.0.0.1:${server.address().port}/?embed#preset=wrong-demonstrations&dev=cpu`);
await page.addStyleTag({ content: STYLE });
await page.waitForFunction(() => document.documentElement.dataset.state === "done", null, { timeout: 1_800_000 });
await page.waitForTimeout(3000); // the last answers
await page.screenshot({ path: `${here}page/card.png` });
console.log(await page.locator("#verdict span").textContent());
await browser.close();
server.close();
