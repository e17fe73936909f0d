// The same training step in TensorFlow.js, eager as it always is, on `wasm` or `webgpu`.
//
// Its wasm backend has no kernel for the gradient of a gather, so an embedding that trains is a product with
// one-hot rows, which at V = 23 costs next to nothing. One that does not is looked up beforehand.

import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/register_all_gradients";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import "@tensorflow/tfjs-backend-webgpu";
import { gather, loadCase } from "./case.js";
import { causal, rotary } from "./rope.js";

/** A trainer of the case; `step` resolves once all its work is done. */
export async function open({ backend, url }) {
    const { config, base, weights, batch, optimizer, lora } = await loadCase(url);
    setWasmPaths("/tensorflow/");
    if (!(await tf.setBackend(backend))) throw new Error(`TensorFlow.js has no backend ${backend}`);
    await tf.ready();

    const [B, T, V, D] = [batch.sequences, batch.positions, config.vocab_size, config.hidden_size];
    const [heads, dim] = [config.num_attention_heads, config.head_dim];
    const keyHeads = config.num_key_value_heads ?? heads;
    const matrix = (name, { shape, values }) => tf.tensor(values, name.includes("norm") ? [1, D] : shape);
    const each = (tensors, make) =>
        Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, make(name, tensor)]));
    const trained = each(weights, (name, tensor) => tf.variable(matrix(name, tensor), true, name));
    const w = { ...each(base, matrix), ...trained };
    const variables = Object.values(trained);
    const oneHot = (ids) => tf.cast(tf.oneHot(tf.tensor1d(ids, "int32"), V), "float32");
    const targets = oneHot(batch.targets); // [B·T, V]
    const embedded = lora && tf.tensor(gather(base["model.embed_tokens.weight"], batch.tokens), [B * T, D]);
    const inputs = lora ? null : oneHot(batch.tokens); // [B·T, V]
    const share = tf.tensor1d(batch.mask.map((m) => -m / batch.responseTokens));
    const tables = rotary(T, dim, config.rope_theta);
    const [cos, sin] = [tables.cos, tables.sin].map((t) => tf.tensor(t, [1, 1, T, dim]));
    const mask = tf.tensor(causal(T), [1, 1, T, T]);

    const product = (x, name) => tf.matMul(x, w[`${name}.weight`], false, true); // [N, In] → [N, Out]
    const linear = (x, name) => {
        const y = product(x, name);
        return lora ? tf.add(y, tf.mul(product(product(x, `${name}.lora_A`), `${name}.lora_B`), lora.scale)) : y;
    };
    const norm = (x, name) => {
        const scale = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), config.rms_norm_eps));
        return tf.mul(tf.mul(x, scale), w[`${name}.weight`]);
    };
    // [B, H, T, dh]; keys and values once for each of the heads that share them.
    const split = (x, n) => tf.transpose(tf.reshape(x, [B, T, n, dim]), [0, 2, 1, 3]);
    const spread = (x) => {
        if (keyHeads === heads) return x;
        const parts = tf.split(x, keyHeads, 1);
        return tf.concat(parts.flatMap((part) => Array(heads / keyHeads).fill(part)), 1);
    };
    const rotate = (x) => {
        const [first, second] = tf.split(x, 2, -1);
        return tf.add(tf.mul(x, cos), tf.mul(tf.concat([tf.neg(second), first], -1), sin));
    };
    const attend = (h, layer) => {
        const of = (p, n) => split(linear(h, `${layer}.self_attn.${p}_proj`), n);
        const [q, k, v] = [of("q", heads), of("k", keyHeads), of("v", keyHeads)];
        const scores = tf.mul(tf.matMul(rotate(q), spread(rotate(k)), false, true), 1 / Math.sqrt(dim));
        const mixed = tf.matMul(tf.softmax(tf.add(scores, mask)), spread(v));
        const rows = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [B * T, heads * dim]);
        return linear(rows, `${layer}.self_attn.o_proj`);
    };
    const feed = (h, layer) => {
        const gate = linear(h, `${layer}.mlp.gate_proj`);
        const silu = tf.mul(gate, tf.sigmoid(gate));
        return linear(tf.mul(silu, linear(h, `${layer}.mlp.up_proj`)), `${layer}.mlp.down_proj`);
    };
    const loss = () => {
        const embedding = w["model.embed_tokens.weight"];
        let x = embedded ?? tf.matMul(inputs, embedding); // [B·T, D]
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
