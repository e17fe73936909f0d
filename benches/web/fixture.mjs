// What a shape is measured on: a model, its optimiser's moments and a batch, the same for each side.
//
// A random Llama of that shape takes one SFT step in the native program. The run folder that leaves
// is what srft takes up in the browser, as a zip; the rivals read the weights and moments in its
// checkpoint, and the batch in its samples. A few problems of each of the 5 suites, all of them in each step: so
// every step has the same batch, and nobody compiles a second shape.
//
// Of a published model's shape only adapters train, over a base in BF16, which the rivals get in F32.

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { zipSync } from "fflate";
import { read, write } from "./page/safetensors.js";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const tiny = join(root, "assets/tiny");
const OPTIMIZER = { lr: 8e-4, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0 };
/** SmolLM2-135M's shape; its text is the built-in task's, since no side's time depends on what it says. */
const SMOLLM2 = {
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    head_dim: 64,
    vocab_size: 49152,
    rope_theta: 100000,
};
const RANK = 8;
const SETTINGS = {
    "optimizer.schedule": "constant",
    "optimizer.warmup_steps": 0,
    "optimizer.clip_norm": 0, // the rivals would have to add it
    ...Object.fromEntries(Object.entries(OPTIMIZER).map(([k, v]) => [`optimizer.${k}`, v])),
    "train.steps": 1,
    "eval.examples": 1,
    "checkpoint.samples_every": 1,
};

/**
 * Fills `folder` with the case of a model of this width, or of SmolLM2's shape; returns what the table says of it.
 * @param {string} folder
 * @param {string} shape a width, or `smollm2`
 */
export function prepare(folder, shape) {
    const isAdapted = shape === "smollm2";
    const config = JSON.parse(readFileSync(join(tiny, "config.json"), "utf8"));
    const width = Number(shape);
    Object.assign(
        config,
        isAdapted
            ? SMOLLM2
            : { hidden_size: width, intermediate_size: 2.5 * width, head_dim: width / config.num_attention_heads },
    );
    const weights = randomLlama(config);
    const model = join(folder, "model");
    mkdirSync(model, { recursive: true });
    writeFileSync(join(model, "config.json"), JSON.stringify(config));
    writeFileSync(join(model, "model.safetensors"), write(isAdapted ? halved(weights) : weights));
    cpSync(join(tiny, "tokenizer.json"), join(model, "tokenizer.json"));

    const problems = isAdapted ? 1 : 8; // a suite
    const run = join(folder, "run");
    const all = { ...SETTINGS, "rollout.prompts": 5 * problems, "data.problems": problems, "lora.rank": isAdapted ? RANK : 0,
        ...(isAdapted && { "rollout.max_new_tokens": 1 }), // evaluations are of no use here
    };
    const settings = Object.entries(all).flatMap(([k, v]) => ["--set", `${k}=${v}`]);
    const words = ["train", "--model", "model", "--method", "sft", "--device", "cpu", "--out", "run"];
    execFileSync(program(), [...words, ...settings], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });

    const checkpoint = join(run, "checkpoints/step-000001");
    const trained = isAdapted ? "adapter_model.safetensors" : "model.safetensors";
    cpSync(join(checkpoint, "optimizer.safetensors"), join(folder, "optimizer.safetensors"));
    if (isAdapted) {
        // As PEFT names them, and as the base's matrices are named.
        const adapters = Object.entries(read(new Uint8Array(readFileSync(join(checkpoint, trained)))));
        const plain = adapters.map(([name, tensor]) => [name.replace("base_model.model.", ""), tensor]);
        writeFileSync(join(folder, "trained.safetensors"), write(Object.fromEntries(plain)));
        writeFileSync(join(folder, "base.safetensors"), write(weights));
    } else cpSync(join(checkpoint, trained), join(folder, "trained.safetensors"));
    const lines = readFileSync(join(run, "samples.jsonl"), "utf8").trim().split("\n");
    const batch = batchOf(lines.map((line) => JSON.parse(line)), config);
    const names = isAdapted ? adapterNames(weights) : Object.keys(weights); // the order of the moments
    const optimizer = { ...OPTIMIZER, updates: 1 };
    const lora = isAdapted ? { scale: scaleOf(checkpoint) } : null;
    writeFileSync(join(folder, "case.json"), JSON.stringify({ config, names, batch, optimizer, lora }));
    writeFileSync(join(folder, "run.zip"), zipOf(run, trained));
    const parameters = Object.values(weights).reduce((n, w) => n + w.values.length, 0);
    const base = isAdapted ? ["config.json", "model.safetensors", "tokenizer.json"] : null;
    return { shape, parameters, batch, base };
}

/** What an adapter's product is multiplied by. */
function scaleOf(folder) {
    const { lora_alpha: alpha, r } = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"));
    return alpha / r;
}

/** A and B of each matrix of the layers, in the order of srft's parameters. */
function adapterNames(weights) {
    const adapted = Object.keys(weights).filter((name) => name.includes("_proj."));
    return adapted.flatMap((name) => ["lora_A", "lora_B"].map((part) => name.replace("weight", `${part}.weight`)));
}

/** Weights in BF16; what is rounded off is rounded off in F32 as well. */
function halved(weights) {
    const half = ({ shape, values }) => {
        const words = new Uint32Array(values.buffer);
        const rounded = Uint16Array.from(words, (word) => (word + 0x8000) >>> 16);
        rounded.forEach((word, i) => (words[i] = word << 16));
        return { shape, values: rounded };
    };
    return Object.fromEntries(Object.entries(weights).map(([name, tensor]) => [name, half(tensor)]));
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
    const inner = config.head_dim * config.num_attention_heads;
    const keys = config.head_dim * (config.num_key_value_heads ?? config.num_attention_heads);
    for (let i = 0; i < config.num_hidden_layers; i++) {
        norm(`layers.${i}.input_layernorm`);
        matrix(`layers.${i}.self_attn.q_proj`, inner, D);
        for (const part of "kv") matrix(`layers.${i}.self_attn.${part}_proj`, keys, D);
        matrix(`layers.${i}.self_attn.o_proj`, D, inner);
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
function zipOf(run, trained) {
    const read = (name) => new Uint8Array(readFileSync(join(run, name)));
    const config = readFileSync(join(run, "config.toml"), "utf8")
        .replace(/^steps = .*$/m, "steps = 1000000")
        .replace(/^samples_every = .*$/m, "samples_every = 0");
    const own = trained.startsWith("adapter") ? "adapter_config.json" : "config.json";
    const parts = [trained, "optimizer.safetensors", own, "tokenizer.json", "state.json"];
    const checkpoint = parts.map((name) => `checkpoints/step-000001/${name}`);
    const files = { "config.toml": new TextEncoder().encode(config) };
    for (const name of [...checkpoint, "metrics.jsonl", "evaluations.jsonl"]) files[name] = read(name);
    const inside = Object.entries(files).map(([name, bytes]) => [`run/${name}`, bytes]);
    return zipSync(Object.fromEntries(inside), { level: 0 });
}
