// srft in a browser next to jax-js and TensorFlow.js: steps and tokens a second, as ratios of one run.
//
//     cargo build --release && ../../web/build.sh     # what is measured
//     npm ci && node run.mjs [--shapes 64,128,256,smollm2] [--steps 10]
//
// The work: a supervised step (loss, gradient, AdamW, F32) of the same Llama from the same weights
// and moments on the same batch, 40 sequences of the built-in task padded to the longest. All sides
// count its padded positions as tokens. Each runs in a worker of its own, in one browser, and they
// take turns step by step, so that a busy machine cannot slow one alone; medians are compared.
//
// Before a figure counts, the sides must agree: the same loss on the first step to 1e-5 of it, on
// later ones to 1e-3, and a loss that falls. A step ends when its loss is read back and, on a GPU, its
// update is done. Ours also reads the gradient's norm; on WebGPU the page's token strip (a forward
// pass over ten short responses) is inside our time, because it is what waits for the update.
//
// `wasm` is one thread, as any page has it: ours needs no special headers. With --isolated the page
// is served with the headers that give the rivals threads; ours stays at one.
//
// Then whole steps of the page's own settings (rollouts, update, token strip), which no rival does.
//
// On two cores with WebGPU in software, where only the first width is tried, it takes 20 minutes;
// `--backends wasm` takes 5. Figures come on stdout, every step on stderr.

import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openBrowser } from "./browser.mjs";
import { prepare } from "./fixture.mjs";

const LEAST = 2; // timed steps, however slow
const SOFTWARE = " (computed by the CPU: no figure of a GPU)";
const { values: options } = parseArgs({
    options: {
        shapes: { type: "string", default: "64,128,256" }, // widths, or `smollm2`: adapters over that shape
        "gpu-widths": { type: "string", default: "" }, // widths of those; the first alone on software
        steps: { type: "string", default: "10" },
        seconds: { type: "string", default: "60" }, // a side stops early when its steps took longer
        backends: { type: "string", default: "wasm,webgpu" },
        sides: { type: "string", default: "srft,jax-js,TensorFlow.js" },
        methods: { type: "string", default: "sft,grpo,srft" },
        adapter: { type: "string", default: "swiftshader" }, // or hardware
        isolated: { type: "boolean", default: false },
        dist: { type: "string", default: "../../web/dist" }, // another build of ours
    },
});
const list = (text) => text.split(",").filter(Boolean);
const [steps, seconds] = [Number(options.steps), Number(options.seconds)];
const say = (text) => console.error(text);
const sum = (values) => values.reduce((a, b) => a + b, 0);
const row = (...cells) => `| ${cells.join(" | ")} |`;
const head = (...names) => `\n${row(...names)}\n${row(...names.map((_, i) => (i ? "--:" : "---")))}`;

function median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Three digits, without an exponent. */
function short(value) {
    return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** Steps of every side in turn on one case: its seconds and losses, the first step apart. */
async function race(browser, backend, { shape, batch, base }) {
    const lanes = list(options.sides).map((side) => ({ side, secs: [], losses: [] }));
    for (const { side } of lanes) {
        await browser.ask(side, "open", { side, backend, base, url: `/cases/${shape}/` });
    }
    for (let i = 0; i <= steps; i++) {
        for (const lane of lanes) {
            if (lane.secs.length > LEAST && sum(lane.secs.slice(1)) > seconds) continue;
            const { secs, loss, tokens } = await browser.ask(lane.side, "step");
            if (tokens !== undefined && tokens !== batch.responseTokens) {
                throw new Error(`${lane.side} trained on ${tokens} tokens of ${batch.responseTokens}`);
            }
            lane.secs.push(secs);
            lane.losses.push(loss);
            say(`${backend} ${shape} ${lane.side}: step ${i}, ${secs.toFixed(3)} s, loss ${loss.toFixed(6)}`);
        }
    }
    await browser.clear();
    lanes.forEach((lane) => verify(lane, lanes[0]));
    return lanes.map(({ side, secs }) => ({ side, first: secs[0], secs: secs.slice(1) }));
}

/** The same mathematics, or no comparison. */
function verify({ side, losses }, judge) {
    losses.slice(0, judge.losses.length).forEach((loss, i) => {
        const expected = judge.losses[i];
        if (Math.abs(loss - expected) <= (i ? 1e-3 : 1e-5) * expected) return;
        throw new Error(`step ${i}: ${side} has loss ${loss}, ${judge.side} ${expected}`);
    });
    if (losses.at(-1) < losses[0]) return;
    throw new Error(`${side}: the loss did not fall, from ${losses[0]} to ${losses.at(-1)}`);
}

async function updates(browser, cases) {
    const columns = ["update", "shape", "side", "first step, s", "a step, s", "least–most"];
    console.log(head(...columns, "steps/s", "tokens/s", "srft is"));
    for (const backend of list(options.backends)) {
        for (const of of cases) {
            const software = options.adapter === "swiftshader" && of !== cases[0];
            const chosen = list(options["gpu-widths"]).map(Number);
            const wanted = chosen.length ? chosen.includes(Number(of.shape)) : !software;
            if (backend === "webgpu" && !wanted) continue;
            const results = await race(browser, backend, of);
            const ours = results.find(({ side }) => side === "srft");
            for (const { side, first, secs } of results) {
                const time = median(secs);
                const range = `${short(Math.min(...secs))}–${short(Math.max(...secs))}`;
                const tokens = of.batch.sequences * of.batch.positions;
                const ratio = ours && side !== "srft" ? `${short(time / median(ours.secs))}× as fast` : "";
                const rates = [short(1 / time), short(tokens / time)];
                console.log(row(backend, of.shape, side, short(first), short(time), range, ...rates, ratio));
            }
        }
    }
}

async function wholeSteps(browser) {
    const names = ["whole step", "method", "prompts × rollouts", "a step, s", "steps/s"];
    console.log(head(...names, "sampled tokens/s", "trained tokens/s"));
    for (const backend of list(options.backends)) {
        for (const name of list(options.methods)) {
            const request = { backend, name, steps, seconds, least: LEAST };
            const { settings, reports } = await browser.ask("srft", "method", request);
            await browser.clear();
            const time = median(reports.map((r) => r.secs));
            const rate = (tokens, secs) => {
                const all = sum(reports.map((r) => r[tokens]));
                return all ? short(all / sum(reports.map((r) => r[secs]))) : "";
            };
            const [prompts, group] = [settings["rollout.prompts"], settings["rollout.group"]];
            const sampled = rate("rollout_tokens", "rollout_secs");
            const shape = sampled ? `${prompts} × ${group}` : `${prompts}`;
            const trained = rate("trained_tokens", "train_secs");
            console.log(row(backend, name, shape, short(time), short(1 / time), sampled, trained));
        }
    }
}

const folder = mkdtempSync(join(tmpdir(), "srft-bench-web-"));
const cases = list(options.shapes).map((shape) => prepare(join(folder, shape), shape));
const { dist, adapter, isolated } = options;
const browser = await openBrowser({ folder, dist, adapter, isolated });
try {
    const { batch } = cases[0];
    const load = () => loadavg()[0].toFixed(1);
    console.log(
        `${new Date().toISOString().slice(0, 10)}, Chromium ${browser.version}, ` +
            `${cpus().length} × ${cpus()[0].model}, load ${load()} at the start; ` +
            `WebGPU: ${browser.gpu ?? "none"}${adapter === "swiftshader" ? SOFTWARE : ""}; ` +
            `threads for rivals: ${isolated ? "yes" : "no"}\n\n` +
            `Medians of ${steps} steps after one, fewer where they took over ${seconds} s. ` +
            `A batch: ${batch.sequences} × ${batch.positions} = ${batch.sequences * batch.positions} ` +
            `tokens, of which ${batch.responseTokens} carry loss. Parameters: ` +
            cases.map((c) => `${c.parameters} of ${c.shape}`).join(", "),
    );
    await updates(browser, cases);
    if (options.methods) await wholeSteps(browser);
    console.log(`\nload ${load()} at the end`);
} finally {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
}
