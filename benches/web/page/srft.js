// Our side: the package's wasm modules, driven as their worker drives them: the built-in model's page, or the
// page for models where a base is brought.

const DEVICES = { wasm: "cpu", webgpu: "webgpu" };

async function lab(program) {
    let events = [];
    const { default: init, Lab } = await import(`/srft/${program}.js`);
    await init();
    const weights = await bytesOf("/srft/model.safetensors");
    const lab = new Lab(weights, (event) => events.push(JSON.parse(event)));
    /** Sends a command, steps while that makes the runs play; the event that it was sent for. */
    return async (command, wanted, bytes) => {
        events = [];
        await lab.handle(JSON.stringify(command), bytes);
        while (lab.busy) await lab.advance();
        const error = events.find((event) => event.type === "error");
        if (error) throw new Error(`${error.what} (${error.place}): ${error.next}`);
        if (wanted === null) return null;
        const answer = events.find((event) => event.type === wanted);
        if (answer) return answer;
        throw new Error(`no ${wanted}, but ${events.map((event) => event.type)}`);
    };
}

async function bytesOf(url) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
}

/** A trainer of the case's run folder, over the files of its base if it has one. */
export async function open({ backend, url, base }) {
    const send = await lab(base ? "srft-model" : "srft");
    for (const name of base ?? []) {
        const bytes = await bytesOf(`${url}model/${name}`);
        await send({ type: "bring", name: `model/${name}` }, null, bytes);
    }
    const command = { type: "load", device: DEVICES[backend] };
    await send(command, "ready", await bytesOf(`${url}run.zip`));
    return {
        async step() {
            const start = performance.now();
            const { report } = await send({ type: "step" }, "step");
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
    const send = await lab("srft");
    const settings = ["eval.every=0", "eval.examples=1"];
    const runs = [{ method: name, settings: [] }];
    const start = { type: "start", device: DEVICES[backend], settings, runs };
    const ready = await send(start, "ready");
    const reports = []; // the first compiles
    let spent = 0;
    for (let i = 0; i <= steps && (i <= least || spent < seconds); i++) {
        const clock = performance.now();
        const { report } = await send({ type: "step" }, "step");
        const secs = (performance.now() - clock) / 1e3;
        reports.push({ ...report, secs });
        spent += secs;
    }
    return { settings: ready.runs[0].settings, reports: reports.slice(1) };
}
