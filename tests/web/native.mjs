// The program beside the browser: runs of both, and files that pass between them.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fflate, program } from "./harness.mjs";

/** Runs `srft train --device cpu` in a folder, and gives the step reports of the run in it. */
export function train(home, run, ...options) {
    assert(existsSync(program), `${program} is missing; next: cargo build --release`);
    execFileSync(program, ["train", "--device", "cpu", ...options], { cwd: home, stdio: ["ignore", "pipe", "pipe"] });
    const lines = readFileSync(join(home, run, "metrics.jsonl"), "utf8").trim().split("\n");
    return lines.map((line) => JSON.parse(line));
}

/** The same run natively, of the settings that the browser resolved. */
export function trainAs(home, { config }, name, ...options) {
    writeFileSync(join(home, `${name}.toml`), config);
    return train(home, name, "--config", `${name}.toml`, "--out", name, ...options);
}

/** The files of the runs in a page, as it saves them. */
export async function saved(page, options) {
    const file = await page.evaluate(async (options) => {
        const reader = new FileReader();
        reader.readAsDataURL(new Blob([(await trainer.save(options)).bytes]));
        await new Promise((resolve) => (reader.onload = resolve));
        return reader.result.split(",")[1];
    }, options);
    return fflate.unzipSync(Buffer.from(file, "base64"));
}

/** Writes files, by their names, into a folder. */
export function unpack(files, home) {
    for (const [name, bytes] of Object.entries(files)) {
        mkdirSync(dirname(join(home, name)), { recursive: true });
        writeFileSync(join(home, name), bytes);
    }
}

/** Brings files to a page's trainer: they get there by an element for files, as a visitor's do. */
export async function bring(page, paths, folder = "") {
    await page.evaluate(() => {
        const input = document.createElement("input");
        Object.assign(input, { type: "file", multiple: true, id: "files" });
        document.body.append(input);
    });
    await page.locator("#files").setInputFiles(paths);
    return page.evaluate(async (folder) => {
        for (const file of document.querySelector("#files").files) await trainer.bring(folder + file.name, file);
    }, folder);
}
