// The page for models as a visitor meets it: a file is dropped, looked at, trained, asked, saved, kept; and
// what is no model is refused in a sentence.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { accessibilityTests, browserTest, fflate, reach, shows } from "./harness.mjs";
import { MODEL, NAME } from "./smollm2.mjs";

const PATH = "your-model.html";
const scratch = mkdtempSync(join(tmpdir(), "srft-model-page-"));
after(() => rmSync(scratch, { recursive: true }));

/** Chooses files, and waits until the model is known or refused. */
async function bring(page, ...files) {
    await page.locator("#file").setInputFiles(files);
    await page.waitForFunction(
        () => document.documentElement.dataset.model === "known" || !document.querySelector("#model-says").hidden,
    );
}

/** Makes a step as small as one can be. */
async function choose(page, methods) {
    for (const method of ["sft", "grpo", "srft"]) {
        await page.locator(`#methods [value="${method}"]`).setChecked(methods.includes(method));
    }
    for (const [key, value] of [["steps", 1], ["prompts", 1], ["group", 2], ["tokens", 4], ["rank", 2]]) {
        await page.locator(`#set-${key}`).fill(String(value));
    }
    await page.locator("#device").selectOption("cpu");
}

browserTest("a model is dropped, trained, asked and saved", { path: PATH, timeout: 600 }, async (page, context) => {
    await page.waitForFunction(() => document.documentElement.dataset.scripts);
    await bring(page, MODEL);
    const asked = [];
    context.on("request", (request) => asked.push(request.url())); // from here on nothing is fetched or sent
    await shows(page, "#facts", /LlamaForCausalLM: 30 layers, width 576/);
    await shows(page, "#facts", /135 million/);
    await shows(page, "#facts", /Q4_1 \(210 tensors/);
    await shows(page, "#needs", /memory/);
    await choose(page, ["sft", "grpo"]);
    await page.locator("#start").click();
    await reach(page, "done", 1);
    await shows(page, "#adapter", /CPU/);
    const points = (chart) =>
        page.locator(`#chart-${chart} g.series`).evaluateAll((all) => all.map((g) => Number(g.dataset.points)));
    assert.deepEqual([await points("shift"), await points("reward")], [[1, 1], [1]]);
    assert.equal(await page.locator("#strip-table tbody tr").count(), 3);
    await page.locator("#ask-tokens").fill("3");
    await page.locator("#prompt").fill("What is two plus three?");
    await page.locator("#prompt").press("Enter");
    await page.locator("#answers .answer").nth(2).waitFor();
    assert.deepEqual(await page.locator("#answers .who").allInnerTexts(), ["as it came", "SFT", "RL"]);
    await page.locator("#group").scrollIntoViewIfNeeded();
    await page.locator("#group-rows .member button.token").first().waitFor();
    const saved = page.waitForEvent("download");
    await page.locator("#save").click();
    const zip = join(scratch, "saved.zip");
    await (await saved).saveAs(zip);
    const files = Object.keys(fflate.unzipSync(readFileSync(zip)));
    for (const name of ["sft/config.toml", "grpo/peft/adapter_config.json", "grpo/llama.cpp/adapter.gguf"]) {
        assert(files.includes(name), `${name} is not among ${files}`);
    }
    assert.deepEqual(asked, []);

    // Another visit takes it up: the base first, then the zip.
    await page.reload();
    await page.locator("#file").setInputFiles(zip);
    await shows(page, "#model-says", /the base of these runs is not here/);
    await bring(page, MODEL);
    await page.locator("#file").setInputFiles(zip);
    await reach(page, "done", 1);
    await shows(page, "#continued", /^Loaded saved.zip/);
    assert.deepEqual(await points("reward"), [1]);
    assert.equal(await page.locator("#errors").innerText(), "");
});

browserTest("a model is kept for the next visit, and removed", { path: PATH }, async (page) => {
    await page.waitForFunction(() => document.documentElement.dataset.scripts);
    await bring(page, MODEL);
    await page.locator("#keep-model").check();
    await shows(page, "#keep-says", /^Kept/);
    await page.reload();
    await page.locator("#kept-models button", { hasText: "Use" }).click();
    await shows(page, "#facts", /135 million/);
    assert(await page.locator("#keep-model").isChecked());
    await page.locator("#kept-models button", { hasText: "remove" }).click();
    await shows(page, "#kept-models", "");
});

browserTest("what is no model is refused in a sentence, and the next is taken", { path: PATH }, async (page) => {
    await page.waitForFunction(() => document.documentElement.dataset.scripts);
    const whole = readFileSync(MODEL);
    const file = (name, bytes) => {
        writeFileSync(join(scratch, name), bytes);
        return join(scratch, name);
    };
    const flipped = Buffer.from(whole.subarray(0, 2_000_000));
    for (let i = 100; i < 4000; i += 37) flipped[i] ^= 0xff;
    const huge = Buffer.from(whole.subarray(0, 4096));
    huge.writeBigUInt64LE(1n << 60n, 8); // as many tensors
    const hostile = [
        [file("cat.gguf", Buffer.from("not a model at all")), /GGUF/],
        [file("empty.gguf", Buffer.alloc(0)), /.+/],
        [file("cut.gguf", whole.subarray(0, 5_000_000)), /.+/],
        [file("flipped.gguf", flipped), /.+/],
        [file("huge.gguf", huge), /.+/],
        [file("photo.jpg", Buffer.alloc(1000, 7)), /neither a GGUF file nor a model.s folder/],
        [file("runs.zip", Buffer.from("PK, but no zip")), /.+/],
    ];
    for (const [path, words] of hostile) {
        await bring(page, path);
        const said = await page.locator("#model-says").innerText();
        assert(words.test(said) && said.length > 20 && !/panicked|unreachable|undefined/.test(said), `${path}: ${said}`);
        assert.equal(await page.locator("#errors").innerText(), "", path);
    }
    await bring(page, MODEL);
    await shows(page, "#facts", new RegExp(NAME));
    await shows(page, "#model-says", "");
});

accessibilityTests({ path: PATH, timeout: 300 }, async (page) => {
    await page.waitForFunction(() => document.documentElement.dataset.scripts);
    await bring(page, MODEL);
    await choose(page, ["sft"]);
    await page.locator("#start").click();
    await reach(page, "done", 1);
});
