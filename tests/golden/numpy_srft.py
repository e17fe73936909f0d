"""The oracle: a forward pass (Llama, Mistral, Qwen2, Qwen3, Gemma 3) and the SRFT objective in numpy float64, plain and slow.

No torch here. Loops over sequences, so nothing is padded and nothing is masked; every switch is
one visible line. Shapes: T positions, V vocabulary, D hidden, G rollouts of a prompt.
`import numpy_srft` from a notebook works too; it needs numpy only.

Deviation from the paper: none by default; the switches and their readings are in `SWITCHES`.
"""

import numpy as np

# First value of each = the default `srft` (paper as printed).
SWITCHES = {
    "entropy_over": ("sequence", "token", "batch"),
    "sft_weight_sign": ("minus", "plus"),
    "self_term": ("signed", "advantage"),
    "demo_shaping": ("none", "p/(p+0.1)"),
    "advantage_std": (True, False),
    "aggregate": ("token-mean", "sequence-mean", "sum/8192"),
    "entropy_coeff": (0.0, 0.001),
    "sft_gate": ("none", "reward", "advantage"),
    "sft_aggregate": ("same", "token-mean", "sequence-mean"),
    "sft_token_weight": ("none", "p(1-p)"),
}
DEFAULT = {name: values[0] for name, values in SWITCHES.items()}


def head_dim(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def is_gemma(config):
    return config.get("model_type") == "gemma3_text"


def layer_kind(config, layer):
    """Gemma's configs of transformers 4 say every how many layers one sees everything."""
    kinds = config.get("layer_types")
    if kinds is None and is_gemma(config):
        return "full_attention" if (layer + 1) % config["sliding_window_pattern"] == 0 else "sliding_attention"
    return kinds[layer] if kinds else None


def rope_frequencies(config, layer=0):
    """Radians a position [head_dim / 2], of transformers 5's config (`rope_parameters`) or 4's."""
    older = lambda: {"rope_theta": config["rope_theta"]} | (config.get("rope_scaling") or {})
    rope = config.get("rope_parameters") or older()
    if is_gemma(config):
        local = layer_kind(config, layer) == "sliding_attention"
        if "rope_parameters" in config:
            rope = rope[layer_kind(config, layer)]
        elif local:
            rope = {"rope_theta": config["rope_local_base_freq"]}
    dim = head_dim(config)
    frequency = rope["rope_theta"] ** (-np.arange(0, dim, 2) / dim)
    kind = rope.get("rope_type") or rope.get("type", "default")
    if kind == "default":
        return frequency
    if kind == "linear":
        return frequency / rope["factor"]
    assert kind == "llama3", kind
    # Full turns over the original context: many -> kept, few -> divided, between -> blended.
    turns = rope["original_max_position_embeddings"] * frequency / (2 * np.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    keep = np.clip((turns - low) / (high - low), 0, 1)
    return frequency * (keep + (1 - keep) / rope["factor"])


def window(config, layer):
    """How many positions a layer's token sees, itself included. Qwen's configs of transformers 4
    name a window that `use_sliding_window` switches off; Mistral's has no switch."""
    kind = layer_kind(config, layer)
    sliding = kind == "sliding_attention" if kind else config.get("use_sliding_window", True)
    return (sliding and config.get("sliding_window")) or np.inf


def activation(gate, config):
    """The gate of the gated layer: SiLU, or for Gemma GELU in its tanh form."""
    if config.get("hidden_activation") == "gelu_pytorch_tanh":
        return 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
    return gate / (1 + np.exp(-gate))


def llama(weights, config, ids):
    """Logits [T, V] of one sequence of token ids [T]. `weights` by Hugging Face names: biases and
    norms of queries and keys are applied where there are any. Gemma's norms are stored as the
    difference from 1, and it has two more a layer, of what is added to the stream."""
    w = lambda name: weights[name].astype(np.float64)
    bias = lambda name: w(name) if name in weights else 0.0
    linear = lambda x, name: x @ w(name + ".weight").T + bias(name + ".bias")
    eps = config["rms_norm_eps"]
    gemma = is_gemma(config)
    norm = lambda x, name: x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * (gemma + w(name))
    after = lambda x, name: norm(x, name) if gemma else x
    before_gate = "pre_feedforward_layernorm" if gemma else "post_attention_layernorm"
    heads, kv_heads, dim = config["num_attention_heads"], config["num_key_value_heads"], head_dim(config)
    divisor = np.sqrt(config.get("query_pre_attn_scalar", dim) if gemma else dim)
    steps = len(ids)

    def rotate(x, norm_name, layer):  # [T, heads, dim]; Qwen3 and Gemma norm each head first
        # RoPE, half-split as Hugging Face stores it: (x1, x2) -> (x1 c - x2 s, x2 c + x1 s)
        angle = np.arange(steps)[:, None] * rope_frequencies(config, layer)  # [T, dim/2]
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        x = norm(x, norm_name) if norm_name in weights else x
        x1, x2 = x[..., : dim // 2], x[..., dim // 2 :]
        return np.concatenate([x1 * cos - x2 * sin, x2 * cos + x1 * sin], -1)

    h = w("model.embed_tokens.weight")[ids]  # [T, D]
    h = h * np.sqrt(h.shape[-1]) if gemma else h
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        x = norm(h, at + "input_layernorm.weight")
        q = rotate(linear(x, at + "self_attn.q_proj").reshape(steps, heads, dim), at + "self_attn.q_norm.weight", layer)
        k = rotate(linear(x, at + "self_attn.k_proj").reshape(steps, kv_heads, dim), at + "self_attn.k_norm.weight", layer)
        v = linear(x, at + "self_attn.v_proj").reshape(steps, kv_heads, dim)
        out = np.zeros((steps, heads, dim))
        for head in range(heads):
            shared = head // (heads // kv_heads)
            for t in range(steps):
                first = max(0, t + 1 - window(config, layer))
                score = k[first : t + 1, shared] @ q[t, head] / divisor
                p = np.exp(score - score.max())
                out[t, head] = (p / p.sum()) @ v[first : t + 1, shared]
        out = linear(out.reshape(steps, heads * dim), at + "self_attn.o_proj")
        h = h + after(out, at + "post_attention_layernorm.weight")
        x = norm(h, f"{at}{before_gate}.weight")
        gate = activation(linear(x, at + "mlp.gate_proj"), config)
        out = linear(gate * linear(x, at + "mlp.up_proj"), at + "mlp.down_proj")
        h = h + after(out, at + "post_feedforward_layernorm.weight")
    h = norm(h, "model.norm.weight")
    head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
    return h @ w(head + ".weight").T


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def token_statistics(logits, targets):
    """ln p of the targets [T] and entropy over the full vocabulary [T], nats."""
    logp = log_softmax(logits)
    return logp[np.arange(len(targets)), targets], -(np.exp(logp) * logp).sum(-1)


def response_statistics(weights, config, prompt, response):
    """`token_statistics` of the response tokens: position t predicts token t + 1."""
    logits = llama(weights, config, np.array(prompt + response))
    return token_statistics(logits[len(prompt) - 1 : -1], response)


def advantages(rewards, std, epsilon=1e-6):
    """Eq. 7 with the sample standard deviation (n - 1) and verl's epsilon; all equal -> exactly 0."""
    r = np.array(rewards, dtype=np.float64)
    if (r == r[0]).all():
        return np.zeros_like(r)
    centred = r - r.mean()
    return centred / (r.std(ddof=1) + epsilon) if std else centred


def constants(groups, stats, s):
    """What no gradient flows through: advantages, per-token weights, normalisers.

    groups: [{"rewards": [G + 1], demonstration last}]; stats: per group, per member (ln p, H).
    """
    is_demo = lambda member, group: member == len(group) - 1
    pooled = [np.concatenate([e for g in stats for m, (_, e) in enumerate(g) if is_demo(m, g) == demo])
              for demo in (False, True)]
    result = []
    for group, members in zip(groups, stats):
        adv = advantages(group["rewards"], s["advantage_std"])
        weights = []
        for m, (logp, entropy) in enumerate(members):
            demo = is_demo(m, members)
            over = {"sequence": entropy.mean(), "token": entropy, "batch": pooled[demo].mean()}
            h = np.broadcast_to(over[s["entropy_over"]], entropy.shape)
            sign = -1 if s["sft_weight_sign"] == "minus" else 1
            phi = np.exp(logp) * (1 - np.exp(logp)) if s["sft_token_weight"] == "p(1-p)" else 1.0  # CHORD
            weights.append(0.5 * np.exp(sign * h) * phi if demo else 0.1 * np.exp(h))
        gate = {"none": True, "reward": group["rewards"][-1] > 0, "advantage": adv[-1] > 0}
        result.append({"advantages": adv, "weights": weights, "sft_gate": float(gate[s["sft_gate"]])})
    return result


def aggregate(per_token, way):
    """One term's per-token losses (a list, one array a sequence of its kind) to a number."""
    if way == "token-mean":
        return sum(x.sum() for x in per_token) / sum(len(x) for x in per_token)
    if way == "sequence-mean":
        return sum(x.mean() for x in per_token) / len(per_token)
    return sum(x.sum() for x in per_token) / 8192


def terms(groups, stats, fixed, old, s):
    """The loss terms at `stats`, with `fixed` from `constants` and `old` = the sampler's ln p."""
    sft, rl_demo, self_, entropy_bonus = [], [], [], []
    for group, members, f, behind in zip(groups, stats, fixed, old):
        *rollouts, (logp, _) = members
        p = np.exp(logp)
        sft.append(f["sft_gate"] * f["weights"][-1] * -logp)  # Eq. 8
        shaped = p if s["demo_shaping"] == "none" else p / (p + 0.1)
        rl_demo.append(-f["advantages"][-1] * shaped)  # Eqs. 9-10
        for k, (logp, entropy) in enumerate(rollouts):
            if s["self_term"] == "signed":  # Eqs. 11-12
                right = group["rewards"][k] > 0
                self_.append(-f["weights"][k] * logp if right else logp)
            else:
                a = f["advantages"][k]
                ratio = np.exp(logp - behind[k][0])
                self_.append(-(f["weights"][k] if a > 0 else 1.0) * a * ratio)
            entropy_bonus.append(-s["entropy_coeff"] * entropy)
    values = {"sft": sft, "rl_demo": rl_demo, "self": self_, "entropy": entropy_bonus}
    ways = {name: s["aggregate"] for name in values}
    if s["sft_aggregate"] != "same":
        ways["sft"] = s["sft_aggregate"]
    values = {name: float(aggregate(x, ways[name])) for name, x in values.items()}
    values["total"] = sum(values.values())
    return values
