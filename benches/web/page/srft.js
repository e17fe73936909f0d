// Our side: the package's wasm module, driven as its worker drives it.

import init, { Lab } from "/srft/srft.js";

const DEVICES = { wasm: "cpu", webgpu: "webgpu" };

async function lab() {
    let events = [];
    await init();
    const lab = new Lab((event) => events.push(JSON.parse(event)));
    /** Sends a command and steps while that makes the runs play; all events that came. */
    return async (command, bytes) => {
        events = [];
        await lab.handle(JSON.stringify(command), bytes);
        while (lab.playing) await lab.advance();
        const error = events.find((event) => event.type === "error");
        if (error) throw new Error(`${error.what} (${error.place}): ${error.next}`);
        return events;
    };
}

/** A trainer of the case's run folder. */
export async function open({ backend, url }) {
    const send = await lab();
    const zip = new Uint8Array(await (await fetch(`${url}run.zip`)).arrayBuffer());
    const ready = (await send({ type: "load", device: DEVICES[backend] }, zip)).find((e) => e.type === "ready");
    return {
        adapter: `${ready.adapter.name} (${ready.adapter.backend})`,
        async step() {
            const start = performance.now();
            const { report } = (await send({ type: "step" })).find((e) => e.type === "step");
            const wall = (performance.now() - start) / 1e3;
            // The CPU's own figure leaves out the token strip. On a GPU the strip is what waits for
            // the optimiser's kernels, so there it is counted in.
            const secs = backend === "wasm" ? report.rollout_secs + report.train_secs : wall;
            return { secs, loss: report.loss, tokens: report.trained_tokens };
        },
    };
}

/** Whole steps of a method at the page's own settings, which no rival has: rollouts and update. */
export async function method({ backend, name, steps, seconds, least }) {
    const send = await lab();
    const settings = ["eval.every=0", "eval.examples=1"];
    const runs = [{ method: name, settings: [] }];
    const [ready] = await send({ type: "start", device: DEVICES[backend], settings, runs });
    const reports = []; // the first compiles
    let spent = 0;
    for (let i = 0; i <= steps && (i <= least || spent < seconds); i++) {
        const start = performance.now();
        const { report } = (await send({ type: "step" })).find((e) => e.type === "step");
        const secs = (performance.now() - start) / 1e3;
        reports.push({ ...report, secs });
        spent += secs;
    }
    return { settings: ready.runs[0].settings, reports: reports.slice(1) };
}
