// The package on WebGPU, computed by SwiftShader: the browser's compiler and rules, and a few
// milliseconds for each of the thousand dispatches of a step. Few and long tests, since each worker
// compiles its pipelines anew.

import assert from "node:assert/strict";
import { assertNear, browserTest, call, connect, event, eventsOf, start } from "./harness.mjs";
import { METHODS, SMALL, reloadAndGoOn, reportsOf, tenStepsAndQuestions } from "./sessions.mjs";

const slow = { webgpu: true, timeout: 1800 };

// What the kernels are held to (shaders/README.md). Seen over two steps: 4.4e-7.
const TOLERANCE = 1e-4;

browserTest("self-test, ten steps of each method, evaluation, questions and a group on WebGPU", slow, async (page) => {
    await connect(page);
    await call(page, "start", start("cpu", METHODS, SMALL));
    await call(page, "step");
    await call(page, "step");
    const onCpu = await Promise.all(METHODS.map((_, run) => reportsOf(page, run)));
    await page.reload();

    await tenStepsAndQuestions(page, "webgpu", "webgpu");
    for (const [run, method] of METHODS.entries()) {
        const onGpu = (await reportsOf(page, run)).slice(0, 2);
        assertNear(onGpu, onCpu[run], TOLERANCE, `${method}, WebGPU against CPU`);
    }
});

browserTest("save, reload, load on WebGPU: the next step is the same; a lost GPU is replaced", slow, async (page) => {
    const worker = await reloadAndGoOn(page, "webgpu", (worker) =>
        worker.evaluate(() => {
            const { requestDevice } = GPUAdapter.prototype;
            GPUAdapter.prototype.requestDevice = async function (options) {
                self.lost = await requestDevice.call(this, options);
                return self.lost;
            };
        }),
    );
    await event(page, { type: "saved", step: 3 });
    await worker.evaluate(() => self.lost.destroy());
    const { rejected } = await call(page, "step");
    assert.equal(rejected?.fatal, true, JSON.stringify(rejected));
    const recovered = await event(page, { type: "recovered" });
    assert.deepEqual([recovered.step, recovered.device], [3, "webgpu"]);
    assert.equal((await eventsOf(page, "ready")).at(-1).adapter.backend, "webgpu");
    assert.equal((await call(page, "step")).step, 4);
});

browserTest("a software adapter counts as no GPU", slow, async (page) => {
    await connect(page);
    const { adapter } = await call(page, "start", start("auto", ["srft"], SMALL));
    assert.equal(adapter.backend, "flex");
    assert.match(adapter.reason, /software/);
});

/** Has the worker's browser tell of two GPUs, as on a laptop: both are SwiftShader. Notes how many shaders have subgroups. */
function twoGpus() {
    self.withSubgroups = 0;
    const { createShaderModule } = GPUDevice.prototype;
    GPUDevice.prototype.createShaderModule = function (options) {
        if (options.code.startsWith("enable subgroups;")) self.withSubgroups += 1;
        return createShaderModule.call(this, options);
    };
    const { requestAdapter } = GPU.prototype;
    GPU.prototype.requestAdapter = async function (options) {
        const adapter = await requestAdapter.call(this, options);
        const [vendor, architecture] = options.powerPreference === "low-power" ? ["saving", "small"] : ["fast", "large"];
        const { subgroupMinSize, subgroupMaxSize } = adapter.info;
        const info = { vendor, architecture, device: "", description: "", subgroupMinSize, subgroupMaxSize };
        return Object.defineProperty(adapter, "info", { value: info });
    };
}

browserTest("of a laptop's two GPUs the fast one is taken, and the other when it is asked for", slow, async (page) => {
    await connect(page);
    const { rejected } = await call(page, "start", start("webgpu-saving", ["srft"], SMALL));
    assert.match(rejected.what, /no second GPU/);
    assert.match(rejected.next, /auto/);
    await page.reload();
    const worker = await connect(page);
    await worker.evaluate(twoGpus);
    for (const [wanted, name] of [["auto", "fast large"], ["webgpu-saving", "saving small"]]) {
        const { adapter, self_test: passed } = await call(page, "start", start(wanted, ["srft"], SMALL));
        assert.deepEqual([adapter.name, adapter.backend], [name, "webgpu"]);
        assert(passed.includes("norm") && !adapter.reason.includes("subgroups"), adapter.reason);
        // SwiftShader has subgroups, by which rows are summed.
        assert((await worker.evaluate(() => self.withSubgroups)) >= 3);
        assert.equal((await call(page, "step")).type, "state");
    }
});

/** Changes an expression of a shader in the bytes of the program, on their way to the browser. */
function plant(page, sound, planted) {
    return page.route("**/srft_bg.wasm", async (route) => {
        const bytes = await (await route.fetch()).body();
        const at = bytes.indexOf(sound);
        assert(at > 0 && bytes.indexOf(sound, at + 1) < 0, "the expression is there once");
        bytes.write(planted, at);
        await route.fulfill({ body: bytes, contentType: "application/wasm" });
    });
}

const SOUND = "= log_sum - st.y / st.x;";
for (const { what, planted, complaint, place, allow } of [
    {
        what: "computes wrongly",
        planted: "= log_sum + st.y / st.x;",
        complaint: /^sampling: worst at index \d+: expected .*, got /,
        place: /self-test on .*swiftshader/i,
    },
    // Its work would be skipped, and what was in the buffer taken for a result.
    {
        what: "the browser refuses",
        planted: "= log_sum - st.y / st.q;",
        complaint: /Invalid ShaderModule/,
        allow: [/^warning:.*(ShaderModule|WGSL|st\.q)/s, /panicked/, /unreachable/],
    },
]) {
    const before = (page) => plant(page, SOUND, planted);
    browserTest(`with a kernel that ${what} nothing is trained`, { ...slow, before, allow }, async (page) => {
        await connect(page);
        const { rejected } = await call(page, "start", start("webgpu", ["srft"], SMALL));
        assert.match(rejected.what, complaint);
        if (place) assert.match(rejected.place, place);
        assert(rejected.next);
        assert.match((await call(page, "step")).rejected.what, /no runs/);
    });
}
