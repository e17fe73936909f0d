// The same training step in jax-js: one jitted function, on `wasm` or `webgpu`.

import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { loadCase } from "./case.js";
import { causal, rotary } from "./rope.js";

/** A trainer of the case; `step` resolves once all its work is done. */
export async function open({ backend, url }) {
    const { config, weights, batch, optimizer } = await loadCase(url);
    const available = await init(backend);
    if (!available.includes(backend)) throw new Error(`jax-js has no device ${backend}`);
    defaultDevice(backend);

    const [B, T, V, D] = [batch.sequences, batch.positions, config.vocab_size, config.hidden_size];
    const [heads, dim] = [config.num_attention_heads, config.head_dim];
    const names = Object.keys(weights);
    const array = (values, shape) => np.array(values, { dtype: np.float32 }).reshape(shape);
    const all = (pick) => Object.fromEntries(names.map((n) => [n, array(pick(n), weights[n].shape)]));
    let w = all((n) => weights[n].values);
    let first = all((n) => weights[n].first);
    let second = all((n) => weights[n].second);
    let updates = optimizer.updates;

    const ids = (values) => np.array(values, { dtype: np.int32 });
    const data = {
        inputs: nn.oneHot(ids(batch.tokens), V), // [B·T, V]
        targets: nn.oneHot(ids(batch.targets), V),
        share: array(batch.mask.map((m) => m / batch.responseTokens), [B * T]),
        mask: array(causal(T), [1, 1, T, T]),
    };
    for (const [name, table] of Object.entries(rotary(T, dim, config.rope_theta))) {
        data[name] = array(table, [1, 1, T, dim]);
    }

    const linear = (x, weight) => np.matmul(x, np.transpose(weight)); // [N, In] → [N, Out]
    const norm = (x, weight) => {
        const scale = np.mean(np.square(x.ref), -1, { keepdims: true }).add(config.rms_norm_eps);
        return x.div(np.sqrt(scale)).mul(weight);
    };
    const split = (x) => np.transpose(x.reshape([B, T, heads, dim]), [0, 2, 1, 3]); // [B, H, T, dh]
    const rotate = (x, data) => {
        const [first, second] = np.split(x.ref, 2, -1);
        const turned = np.concatenate([second.neg(), first], -1);
        return x.mul(data.cos.ref).add(turned.mul(data.sin.ref));
    };

    // An array is used up by each use of it but those through `ref`.
    const loss = (w, data) => {
        const embedding = w["model.embed_tokens.weight"];
        let x = np.matmul(data.inputs, embedding.ref); // [B·T, D]
        for (let i = 0; i < config.num_hidden_layers; i++) {
            const of = (part) => w[`model.layers.${i}.${part}.weight`];
            let h = norm(x.ref, of("input_layernorm"));
            const [q, k, v] = ["q", "k", "v"].map((p) => split(linear(h.ref, of(`self_attn.${p}_proj`))));
            h.dispose();
            const keys = np.transpose(rotate(k, data), [0, 1, 3, 2]);
            const scores = np.matmul(rotate(q, data), keys).mul(1 / Math.sqrt(dim)).add(data.mask.ref);
            const mixed = np.transpose(np.matmul(nn.softmax(scores, -1), v), [0, 2, 1, 3]);
            x = x.add(linear(mixed.reshape([B * T, D]), of("self_attn.o_proj")));
            h = norm(x.ref, of("post_attention_layernorm"));
            const gate = linear(h.ref, of("mlp.gate_proj"));
            const up = linear(h, of("mlp.up_proj"));
            x = x.add(linear(nn.silu(gate).mul(up), of("mlp.down_proj")));
        }
        const logits = linear(norm(x, w["model.norm.weight"]), embedding); // [B·T, V]
        const likelihood = np.sum(nn.logSoftmax(logits, -1).mul(data.targets), -1);
        [data.cos, data.sin, data.mask].forEach((a) => a.dispose());
        return np.sum(likelihood.mul(data.share)).neg();
    };

    const { lr, beta1, beta2, eps } = optimizer;
    const update = jit((w, first, second, corrections, data) => {
        const [value, gradient] = valueAndGrad(loss)(tree.ref(w), data);
        const next = { w: {}, first: {}, second: {} };
        const [correct1, correct2] = np.split(corrections, 2);
        for (const n of names) {
            const g = gradient[n];
            const m = first[n].mul(beta1).add(g.ref.mul(1 - beta1));
            const v = second[n].mul(beta2).add(np.square(g).mul(1 - beta2));
            const root = np.sqrt(v.ref.div(correct2.ref)).add(eps);
            next.w[n] = w[n].sub(m.ref.div(correct1.ref).div(root).mul(lr));
            next.first[n] = m;
            next.second[n] = v;
        }
        [correct1, correct2].forEach((a) => a.dispose());
        return [value, next.w, next.first, next.second];
    });

    return {
        async step() {
            const start = performance.now();
            updates += 1;
            const corrections = array([1 - beta1 ** updates, 1 - beta2 ** updates], [2]);
            let value;
            [value, w, first, second] = update(w, first, second, corrections, tree.ref(data));
            await blockUntilReady([w, first, second]);
            const [result] = await value.data();
            return { loss: result, secs: (performance.now() - start) / 1e3 };
        },
    };
}
