// Every shader in shaders/, as the launchers fill it in, compiled by the browser's own compiler at
// WebGPU's default limits: what naga lets pass and Chromium refuses is found here. All failures come
// in one message. Products by matrix units are left out: a page has none, and naga alone knows their words.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { browserTest, root } from "./harness.mjs";

const folder = root + "shaders/";
const BOOLEANS = ["true", "false"];
/** What stands for {{ sums }} (crates/kernels/src/cube.rs); by subgroups only where a workgroup has one row. */
const SUMS = { halves: "include/sums.wgsl", subgroups: "include/sums_by_subgroups.wgsl" };
/** Every value that a launcher fills in (crates/kernels/src: `Shader::new` and `.with`). */
const PARAMETERS = {
    workgroup: ["256"],
    side: [8, 16],
    // Of attention_decode: a few of many.
    width: [2, 4],
    head_dim: [64],
    heads: [1, 7],
    pieces: [1],
    lanes: [1, 2, 4, 8, 16, 32, 64, 128, 256],
    bfloat: BOOLEANS,
    listed: BOOLEANS,
    greedy: BOOLEANS,
    top_k: BOOLEANS,
    top_p: BOOLEANS,
    kind: [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 30],
    rows: [1, 4, 16],
    by_k: BOOLEANS,
    a_by_k: BOOLEANS,
    b_by_k: BOOLEANS,
    tile: [64, 128],
    bytes: [18, 210], // the smallest and the largest
    // Of a decoding step's shaders.
    matrices: [1, 3],
    rank: [0, 16],
    key_heads: [2],
    biased: BOOLEANS,
    normed: BOOLEANS,
    split: BOOLEANS,
    halves: BOOLEANS,
    windowed: BOOLEANS,
    block: [512],
    after: BOOLEANS,
    next: [0],
    linear: ["1.0"],
    cubic: ["0.0"],
    each: [32], // of the norm of a gradient
    sums: Object.keys(SUMS),
};

/** The template with its placeholders filled in. */
function filled(template, chosen) {
    const bySubgroups = chosen.sums === "subgroups";
    const text = template.replaceAll(/\{\{ *sums *\}\}/g, () => whole(SUMS[chosen.sums]));
    const code = text.replaceAll(/\{\{ *(\w+) *\}\}/g, (_, parameter) => chosen[parameter]);
    return bySubgroups ? `enable subgroups;\n${code}` : code;
}

/** A shader's text, with the files that it includes (shaders/build.rs). */
function whole(file) {
    const text = readFileSync(folder + file, "utf8");
    return text.replaceAll(/^\/\/#include (.*)$/gm, (_, included) => whole(included));
}

/** So many of a template's variants are compiled; of more, those that differ in one parameter from the first or the last. */
const MOST = 36;

/** The sources that a template can become, by name. */
function variants(name, template) {
    const parameters = [...new Set([...template.matchAll(/\{\{ *(\w+) *\}\}/g)].map((match) => match[1]))];
    for (const parameter of parameters) {
        assert(PARAMETERS[parameter], `${name} has a parameter that is new here: ${parameter}`);
    }
    let choices = [{}];
    for (const parameter of parameters) {
        choices = PARAMETERS[parameter].flatMap((value) => choices.map((chosen) => ({ ...chosen, [parameter]: value })));
    }
    if (choices.length > MOST) {
        const apart = (a, b) => parameters.filter((parameter) => a[parameter] !== b[parameter]).length;
        const ends = [choices[0], choices.at(-1)];
        choices = choices.filter((chosen) => ends.some((end) => apart(chosen, end) <= 1));
    }
    return choices.map((chosen) => [
        [name, ...parameters.map((parameter) => `${parameter}=${chosen[parameter]}`)].join(" "),
        filled(template, chosen),
    ]);
}

/** What the browser says against the sources. */
function complaints(page, sources) {
    return page.evaluate(async (sources) => {
        const adapter = await navigator.gpu?.requestAdapter();
        if (!adapter) return ["no WebGPU adapter: this Chromium came without SwiftShader?"];
        // Default limits; subgroups are asked for by the worker (web/package/work.js).
        const device = await adapter.requestDevice({ requiredFeatures: ["subgroups"] });
        const found = [];
        for (const [name, code] of sources) {
            device.pushErrorScope("validation");
            const module = device.createShaderModule({ code });
            const { messages } = await module.getCompilationInfo();
            found.push(...messages.map((m) => `${name}: ${m.type} in line ${m.lineNum}: ${m.message}`));
            const compute = { module, entryPoint: "main" };
            await device
                .createComputePipelineAsync({ layout: "auto", compute })
                .catch((error) => found.push(`${name}: ${error.message}`));
            const error = await device.popErrorScope();
            if (error) found.push(`${name}: ${error.message}`);
        }
        return found;
    }, sources);
}

browserTest("the browser compiles every shader at default limits", { webgpu: true, timeout: 600 }, async (page) => {
    const ofUnits = (/** @type {string} */ file) => /^enable f16;$/m.test(whole(file));
    const names = readdirSync(folder).filter((file) => file.endsWith(".wgsl") && !ofUnits(file));
    assert(names.length >= 4, "the shaders were found");
    const sources = names.flatMap((file) => variants(file, whole(file)));
    const found = await complaints(page, sources);
    assert.deepEqual(found, [], `\n${found.join("\n")}`);
});

// The browser warns on the console of what it refuses.
const refused = { webgpu: true, allow: [/warning:/] };
const SHADER = `
@group(0) @binding(0) var<storage, read_write> x: array<u32>;
var<workgroup> shared_words: array<u32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    shared_words[lane] = x[lane];
    workgroupBarrier();
    x[lane] = shared_words[63u - lane];
}`;
for (const [what, from, to, expected] of [
    ["a barrier behind a value of a buffer", "workgroupBarrier();", "if x[0] > 1u { workgroupBarrier(); }", /uniform/],
    ["too much workgroup memory", "array<u32, 64>", "array<u32, 5000>", /20000/],
    ["too many invocations", "@workgroup_size(64)", "@workgroup_size(512)", /512/],
    ["a syntax error", "x[lane];", "x[lane] +;", /line 6/],
]) {
    browserTest(`the browser refuses ${what}`, refused, async (page) => {
        assert.deepEqual(await complaints(page, [["good", SHADER]]), []);
        assert(SHADER.includes(from));
        assert.match((await complaints(page, [["broken", SHADER.replace(from, to)]])).join("\n"), expected);
    });
}
