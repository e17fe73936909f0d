// What a width is measured on: a model, its optimiser's moments and a batch, the same for each side.
//
// A random Llama of that width takes one SFT step in the native program. The run folder that leaves
// is what srft takes up in the browser, as a zip; the rivals read the weights and moments in its
// checkpoint, and the batch in its samples. 8 problems of each of the 5 suites, 40 a step: so
// every step has the same batch, and nobody compiles a second shape.

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { zipSync } from "fflate";
import { write } from "./page/safetensors.js";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const tiny = join(root, "assets/tiny");
const OPTIMIZER = { lr: 8e-4, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0 };
const SETTINGS = {
    "rollout.prompts": 40,
    "data.problems": 8,
    "optimizer.schedule": "constant",
    "optimizer.warmup_steps": 0,
    "optimizer.clip_norm": 0, // the rivals would have to add it
    ...Object.fromEntries(Object.entries(OPTIMIZER).map(([k, v]) => [`optimizer.${k}`, v])),
    "train.steps": 1,
    "eval.examples": 1,
    "checkpoint.samples_every": 1,
};

/** Fills `folder` with the case of a model of this width; returns what the table says of it. */
export function prepare(folder, width) {
    const config = {
        ...JSON.parse(readFileSync(join(tiny, "config.json"), "utf8")),
        hidden_size: width,
        intermediate_size: 2.5 * width,
    };
    config.head_dim = width / config.num_attention_heads;
    const weights = randomLlama(config);
    const model = join(folder, "model");
    mkdirSync(model, { recursive: true });
    writeFileSync(join(model, "config.json"), JSON.stringify(config));
    writeFileSync(join(model, "model.safetensors"), write(weights));
    cpSync(join(tiny, "tokenizer.json"), join(model, "tokenizer.json"));

    const run = join(folder, "run");
    const settings = Object.entries(SETTINGS).flatMap(([k, v]) => ["--set", `${k}=${v}`]);
    const words = ["train", "--model", model, "--method", "sft", "--device", "cpu", "--out", run];
    execFileSync(program(), [...words, ...settings], { stdio: ["ignore", "ignore", "inherit"] });

    const checkpoint = join(run, "checkpoints/step-000001");
    for (const name of ["model.safetensors", "optimizer.safetensors"]) {
        cpSync(join(checkpoint, name), join(folder, name));
    }
    const lines = readFileSync(join(run, "samples.jsonl"), "utf8").trim().split("\n");
    const batch = batchOf(lines.map((line) => JSON.parse(line)), config);
    const names = Object.keys(weights); // the order of the moments
    const optimizer = { ...OPTIMIZER, updates: 1 };
    writeFileSync(join(folder, "case.json"), JSON.stringify({ config, names, batch, optimizer }));
    writeFileSync(join(folder, "run.zip"), zipOf(run));
    const parameters = Object.values(weights).reduce((n, w) => n + w.values.length, 0);
    return { width, parameters, batch };
}

function program() {
    const path = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "release/srft");
    if (existsSync(path)) return path;
    throw new Error(`${path} is missing\n  next: cargo build --release`);
}

/** Normal weights of standard deviation 0.02 and norms of 1, in the order of srft's parameters. */
function randomLlama(config) {
    const [D, F] = [config.hidden_size, config.intermediate_size];
    let state = 1;
    const uniform = () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return (state + 0.5) / 2 ** 32;
    };
    const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    const tensors = {};
    const add = (name, shape, value) => {
        const length = shape.reduce((a, b) => a * b);
        tensors[`model.${name}.weight`] = { shape, values: Float32Array.from({ length }, value) };
    };
    const matrix = (name, rows, columns) => add(name, [rows, columns], () => 0.02 * normal());
    const norm = (name) => add(name, [D], () => 1);
    matrix("embed_tokens", config.vocab_size, D);
    for (let i = 0; i < config.num_hidden_layers; i++) {
        norm(`layers.${i}.input_layernorm`);
        for (const part of "qkvo") matrix(`layers.${i}.self_attn.${part}_proj`, D, D);
        norm(`layers.${i}.post_attention_layernorm`);
        matrix(`layers.${i}.mlp.gate_proj`, F, D);
        matrix(`layers.${i}.mlp.up_proj`, F, D);
        matrix(`layers.${i}.mlp.down_proj`, D, F);
    }
    norm("norm");
    return tensors;
}

/** The sequences padded to the longest, as crates/formats/src/data/batch.rs does: inputs, targets, and where a target counts. */
function batchOf(groups, config) {
    const { model } = JSON.parse(readFileSync(join(tiny, "tokenizer.json"), "utf8"));
    const ids = (text) => [...text].map((c) => model.vocab[c]);
    const sequences = groups.map(({ prompt, demonstration }) => ({
        prompt: [config.bos_token_id, ...ids(prompt)],
        response: [...ids(demonstration), config.eos_token_id],
    }));
    const length = ({ prompt, response }) => prompt.length + response.length - 1;
    const positions = Math.max(...sequences.map(length));
    const rows = sequences.map(({ prompt, response }) => {
        const tokens = [...prompt, ...response];
        const pad = (row) => [...row, ...Array(positions - row.length).fill(0)];
        const counts = tokens.slice(1).map((_, i) => (i + 1 >= prompt.length ? 1 : 0));
        return [tokens.slice(0, -1), tokens.slice(1), counts].map(pad);
    });
    const [tokens, targets, mask] = [0, 1, 2].map((i) => rows.flatMap((row) => row[i]));
    const responseTokens = mask.reduce((a, b) => a + b);
    return { sequences: rows.length, positions, responseTokens, tokens, targets, mask };
}

/** A run folder as the page loads it, with steps enough and nothing kept on the way. */
function zipOf(run) {
    const read = (name) => new Uint8Array(readFileSync(join(run, name)));
    const config = readFileSync(join(run, "config.toml"), "utf8")
        .replace(/^steps = .*$/m, "steps = 1000000")
        .replace(/^samples_every = .*$/m, "samples_every = 0");
    const parts = ["model.safetensors", "optimizer.safetensors", "config.json", "tokenizer.json", "state.json"];
    const checkpoint = parts.map((name) => `checkpoints/step-000001/${name}`);
    const files = { "config.toml": new TextEncoder().encode(config) };
    for (const name of [...checkpoint, "metrics.jsonl", "evaluations.jsonl"]) files[name] = read(name);
    const inside = Object.entries(files).map(([name, bytes]) => [`run/${name}`, bytes]);
    return zipSync(Object.fromEntries(inside), { level: 0 });
}
