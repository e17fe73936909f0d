// The same training step in TensorFlow.js, eager as it always is, on `wasm` or `webgpu`.
//
// Its wasm backend has no kernel for the gradient of a gather, so the embedding is a product with
// one-hot rows, which at V = 23 costs next to nothing.

import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/register_all_gradients";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import "@tensorflow/tfjs-backend-webgpu";
import { loadCase } from "./case.js";
import { causal, rotary } from "./rope.js";

/** A trainer of the case; `step` resolves once all its work is done. */
export async function open({ backend, url }) {
    const { config, weights, batch, optimizer } = await loadCase(url);
    setWasmPaths("/tensorflow/");
    if (!(await tf.setBackend(backend))) throw new Error(`TensorFlow.js has no backend ${backend}`);
    await tf.ready();

    const [B, T, V, D] = [batch.sequences, batch.positions, config.vocab_size, config.hidden_size];
    const [heads, dim] = [config.num_attention_heads, config.head_dim];
    const w = Object.fromEntries(
        Object.entries(weights).map(([name, { shape, values }]) => {
            const matrix = name.includes("norm") ? tf.tensor(values, [1, D]) : tf.tensor(values, shape);
            return [name, tf.variable(matrix, true, name)];
        }),
    );
    const variables = Object.values(w);
    const oneHot = (ids) => tf.cast(tf.oneHot(tf.tensor1d(ids, "int32"), V), "float32");
    const [inputs, targets] = [oneHot(batch.tokens), oneHot(batch.targets)]; // [B·T, V]
    const share = tf.tensor1d(batch.mask.map((m) => -m / batch.responseTokens));
    const tables = rotary(T, dim, config.rope_theta);
    const [cos, sin] = [tables.cos, tables.sin].map((t) => tf.tensor(t, [1, 1, T, dim]));
    const mask = tf.tensor(causal(T), [1, 1, T, T]);

    const linear = (x, name) => tf.matMul(x, w[`${name}.weight`], false, true); // [N, In] → [N, Out]
    const norm = (x, name) => {
        const scale = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), config.rms_norm_eps));
        return tf.mul(tf.mul(x, scale), w[`${name}.weight`]);
    };
    const split = (x) => tf.transpose(tf.reshape(x, [B, T, heads, dim]), [0, 2, 1, 3]); // [B, H, T, dh]
    const rotate = (x) => {
        const [first, second] = tf.split(x, 2, -1);
        return tf.add(tf.mul(x, cos), tf.mul(tf.concat([tf.neg(second), first], -1), sin));
    };
    const attend = (h, layer) => {
        const [q, k, v] = ["q", "k", "v"].map((p) => split(linear(h, `${layer}.self_attn.${p}_proj`)));
        const scores = tf.mul(tf.matMul(rotate(q), rotate(k), false, true), 1 / Math.sqrt(dim));
        const mixed = tf.matMul(tf.softmax(tf.add(scores, mask)), v);
        const rows = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [B * T, D]);
        return linear(rows, `${layer}.self_attn.o_proj`);
    };
    const feed = (h, layer) => {
        const gate = linear(h, `${layer}.mlp.gate_proj`);
        const silu = tf.mul(gate, tf.sigmoid(gate));
        return linear(tf.mul(silu, linear(h, `${layer}.mlp.up_proj`)), `${layer}.mlp.down_proj`);
    };
    const loss = () => {
        const embedding = w["model.embed_tokens.weight"];
        let x = tf.matMul(inputs, embedding); // [B·T, D]
        for (let i = 0; i < config.num_hidden_layers; i++) {
            const layer = `model.layers.${i}`;
            x = tf.add(x, attend(norm(x, `${layer}.input_layernorm`), layer));
            x = tf.add(x, feed(norm(x, `${layer}.post_attention_layernorm`), layer));
        }
        const logits = tf.matMul(norm(x, "model.norm"), embedding, false, true); // [B·T, V]
        const likelihood = tf.sum(tf.mul(tf.logSoftmax(logits), targets), -1);
        return tf.sum(tf.mul(likelihood, share));
    };

    // AdamW without decay is Adam.
    const adam = tf.train.adam(optimizer.lr, optimizer.beta1, optimizer.beta2, optimizer.eps);
    const states = ["first", "second"].flatMap((kind) =>
        variables.map((v) => ({ name: `${v.name}/${kind}`, tensor: tf.tensor(weights[v.name][kind], v.shape) })),
    );
    const done = { name: "iter", tensor: tf.scalar(optimizer.updates, "int32") };
    await adam.setWeights([done, ...states]);

    return {
        async step() {
            const start = performance.now();
            const value = tf.tidy(() => adam.minimize(loss, true, variables));
            const [result] = await value.data(); // the queue is in order: the update is done too
            value.dispose();
            return { loss: result, secs: (performance.now() - start) / 1e3 };
        },
    };
}
