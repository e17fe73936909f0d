// One worker of the page beside several, which share the runs: seconds of a step of all, and memory.
//
//     cargo build --release && ../../web/build.sh
//     npm ci && node workers.mjs [--workers 3] [--steps 10] [--methods sft,grpo,srft] [--model FILE.gguf]
//
// The page's own settings on the CPU, or, with a GGUF file, those of the models' page. Two trainers are open in one
// tab and take turns step by step; medians are compared, and each report must be the other's.

import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { openBrowser } from "./browser.mjs";

const { values: options } = parseArgs({
    options: {
        workers: { type: "string", default: "3" },
        steps: { type: "string", default: "10" },
        methods: { type: "string", default: "sft,grpo,srft" },
        settings: { type: "string", default: "" }, // more of them, with ; between them
        model: { type: "string" },
        dist: { type: "string", default: "../../web/dist" },
    },
});

/** In the page: opens a trainer, its runs made. */
async function open({ workers, model, methods, settings }) {
    const { Trainer } = await import("/srft/client.js");
    const trainer = Trainer.connect({ workers, store: null, program: model ? "model" : "tiny" });
    const reports = [];
    trainer.on("step", ({ run, report: { rollout_secs, train_secs, ...report } }) => reports.push([run, report]));
    if (model) {
        await trainer.bring(model, await (await fetch(`/cases/${model}`)).blob());
        await trainer.bring("sums-in-words.jsonl");
        settings.push(`model.path=${model}`, 'data.train=["sums-in-words.jsonl"]');
    }
    await trainer.start({ device: "cpu", settings, runs: methods.map((method) => ({ method, settings: [] })) });
    (globalThis.lanes ??= []).push({ trainer, reports });
}

/** In the page: the seconds of a step, and what the runs told of it, in their order. */
async function step(lane) {
    const { trainer, reports } = globalThis.lanes[lane];
    const start = performance.now();
    await trainer.step();
    const secs = (performance.now() - start) / 1e3;
    return { secs, told: JSON.stringify(reports.splice(0).sort(([a], [b]) => a - b)) };
}

function median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

const folder = mkdtempSync(join(tmpdir(), "srft-bench-workers-"));
const model = options.model && basename(options.model);
if (model) copyFileSync(options.model, join(folder, model));
const browser = await openBrowser({ folder, dist: options.dist, adapter: "swiftshader", isolated: false });
try {
    const { page } = browser;
    page.setDefaultTimeout(0);
    const sides = [1, Number(options.workers)];
    const memory = [];
    for (const workers of sides) {
        const others = page.workers();
        const settings = options.settings.split(";").filter(Boolean);
        await page.evaluate(open, { workers, model, methods: options.methods.split(","), settings });
        memory.push(page.workers().filter((worker) => !others.includes(worker)));
    }
    const secs = sides.map(() => []);
    for (let i = 0; i <= Number(options.steps); i += 1) {
        const told = [];
        for (const lane of sides.keys()) {
            const of = await page.evaluate(step, lane);
            told.push(of.told);
            if (i > 0) secs[lane].push(of.secs); // the first evaluates the base, too
            console.error(`step ${i}, ${sides[lane]} workers: ${of.secs.toFixed(3)} s`);
        }
        if (told[0] !== told[1]) throw new Error(`step ${i} is not the same:\n${told.join("\n")}`);
    }
    console.log(`Chromium ${browser.version}, ${cpus().length} × ${cpus()[0].model}, load ${loadavg()[0].toFixed(1)}; ${options.methods}\n`);
    console.log("| workers | a step, s | least–most | MB of wasm memory | as fast as one |\n|--:|--:|--:|--:|--:|");
    for (const [lane, workers] of sides.entries()) {
        let bytes = 0;
        for (const worker of memory[lane]) bytes += await worker.evaluate(() => globalThis.srftMemory());
        const [least, most] = [Math.min(...secs[lane]), Math.max(...secs[lane])].map((value) => value.toFixed(2));
        const ratio = (median(secs[0]) / median(secs[lane])).toFixed(2);
        console.log(`| ${workers} | ${median(secs[lane]).toFixed(2)} | ${least}–${most} | ${(bytes / 1e6).toFixed(0)} | ${ratio} |`);
    }
} finally {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
}
