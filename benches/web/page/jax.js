// The same training step in jax-js: one jitted function, on `wasm` or `webgpu`.

import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { gather, loadCase } from "./case.js";
import { causal, rotary } from "./rope.js";

/** A trainer of the case; `step` resolves once all its work is done. */
export async function open({ backend, url }) {
    const { config, base, weights, batch, optimizer, lora } = await loadCase(url);
    const available = await init(backend);
    if (!available.includes(backend)) throw new Error(`jax-js has no device ${backend}`);
    defaultDevice(backend);

    const [B, T, V, D] = [batch.sequences, batch.positions, config.vocab_size, config.hidden_size];
    const [heads, dim] = [config.num_attention_heads, config.head_dim];
    const keyHeads = config.num_key_value_heads ?? heads;
    const names = Object.keys(weights);
    const array = (values, shape) => np.array(values, { dtype: np.float32 }).reshape(shape);
    const all = (pick) => Object.fromEntries(names.map((n) => [n, array(pick(n), weights[n].shape)]));
    let w = all((n) => weights[n].values);
    let first = all((n) => weights[n].first);
    let second = all((n) => weights[n].second);
    let updates = optimizer.updates;

    const ids = (values) => np.array(values, { dtype: np.int32 });
    const frozen = Object.entries(base).map(([name, { shape, values }]) => [name, array(values, shape)]);
    const data = {
        ...(lora
            ? { base: Object.fromEntries(frozen) }
            : {}),
        // [B·T, D] looked up, or [B·T, V] for an embedding that trains.
        inputs: lora
            ? array(gather(base["model.embed_tokens.weight"], batch.tokens), [B * T, D])
            : nn.oneHot(ids(batch.tokens), V),
        targets: nn.oneHot(ids(batch.targets), V),
        share: array(batch.mask.map((m) => m / batch.responseTokens), [B * T]),
        mask: array(causal(T), [1, 1, T, T]),
    };
    for (const [name, table] of Object.entries(rotary(T, dim, config.rope_theta))) {
        data[name] = array(table, [1, 1, T, dim]);
    }

    const product = (x, weight) => np.matmul(x, np.transpose(weight)); // [N, In] → [N, Out]
    const norm = (x, weight) => {
        const scale = np.mean(np.square(x.ref), -1, { keepdims: true }).add(config.rms_norm_eps);
        return x.div(np.sqrt(scale)).mul(weight);
    };
    // [B, H, T, dh]; keys and values once for each of the heads that share them.
    const split = (x, n) => np.transpose(x.reshape([B, T, n, dim]), [0, 2, 1, 3]);
    const spread = (x) => {
        if (keyHeads === heads) return x;
        const parts = np.split(x, keyHeads, 1);
        const times = heads / keyHeads;
        const copies = (part) => Array.from({ length: times }, (_, i) => (i + 1 < times ? part.ref : part));
        return np.concatenate(parts.flatMap(copies), 1);
    };
    const rotate = (x, data) => {
        const [first, second] = np.split(x.ref, 2, -1);
        const turned = np.concatenate([second.neg(), first], -1);
        return x.mul(data.cos.ref).add(turned.mul(data.sin.ref));
    };

    // An array is used up by each use of it but those through `ref`.
    const loss = (w, data) => {
        const at = (name) => data.base?.[name] ?? w[name];
        const linear = (x, name) => {
            if (!lora) return product(x, w[`${name}.weight`]);
            const [down, up] = ["lora_A", "lora_B"].map((part) => w[`${name}.${part}.weight`]);
            const own = product(product(x.ref, down), up).mul(lora.scale);
            return product(x, data.base[`${name}.weight`]).add(own);
        };
        const embedding = at("model.embed_tokens.weight");
        let x = lora ? data.inputs : np.matmul(data.inputs, embedding.ref); // [B·T, D]
        for (let i = 0; i < config.num_hidden_layers; i++) {
            const layer = `model.layers.${i}`;
            let h = norm(x.ref, at(`${layer}.input_layernorm.weight`));
            const of = (part, n) => split(linear(h.ref, `${layer}.self_attn.${part}_proj`), n);
            const [q, k, v] = [of("q", heads), of("k", keyHeads), of("v", keyHeads)];
            h.dispose();
            const keys = np.transpose(spread(rotate(k, data)), [0, 1, 3, 2]);
            const scores = np.matmul(rotate(q, data), keys).mul(1 / Math.sqrt(dim)).add(data.mask.ref);
            const mixed = np.transpose(np.matmul(nn.softmax(scores, -1), spread(v)), [0, 2, 1, 3]);
            x = x.add(linear(mixed.reshape([B * T, heads * dim]), `${layer}.self_attn.o_proj`));
            h = norm(x.ref, at(`${layer}.post_attention_layernorm.weight`));
            const gate = linear(h.ref, `${layer}.mlp.gate_proj`);
            const up = linear(h, `${layer}.mlp.up_proj`);
            x = x.add(linear(nn.silu(gate).mul(up), `${layer}.mlp.down_proj`));
        }
        const logits = product(norm(x, at("model.norm.weight")), embedding); // [B·T, V]
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
