"""What the generators share: the header of a golden file, peaky weights, a float64 transformer in torch."""

import platform
from importlib.metadata import version

import torch
import torch.nn.functional as F

from numpy_srft import head_dim, is_gemma, rope_frequencies, window

VERSION = 1


def header(generator, *more):
    """Magic, version, generator, library versions, hint: the same strings in every golden file."""
    names = ["torch", "transformers", "tokenizers", "safetensors", "numpy", *more]
    libraries = {"python": platform.python_version(), **{name: version(name) for name in names}}
    return {
        "format": "srft-golden",
        "version": VERSION,
        "generator": f"tests/golden/{generator}",
        "libraries": libraries,
        "regenerate": "pip install -r tests/golden/requirements.txt && "
        f"python tests/golden/{generator}",
    }


def peaky(model, seed, std, head_std, embedding_std=None):
    """Normal weights of a large std (flat logits prove nothing), norm gains about 1, biases not 0."""
    stored_gain = 0 if is_gemma(model.config.to_dict()) else 1
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = head_std if "lm_head" in name else std
            if "embed_tokens" in name:
                scale = embedding_std or head_std
            parameter.copy_(stored_gain + 0.2 * noise if "norm" in name else scale * noise)


def llama_f64(weights, config, ids):
    """Logits [T, V] of one sequence, differentiable: transformers upcasts norms to float32 only."""
    linear = lambda x, name: F.linear(x, weights[name + ".weight"], weights.get(name + ".bias"))
    gemma = is_gemma(config)
    norm = lambda x, name: F.rms_norm(x, x.shape[-1:], gemma + weights[name], config["rms_norm_eps"])
    after = lambda x, name: norm(x, name) if gemma else x
    act = (lambda x: F.gelu(x, approximate="tanh")) if gemma else F.silu
    before_gate = "pre_feedforward_layernorm" if gemma else "post_attention_layernorm"
    heads, kv_heads, dim = config["num_attention_heads"], config["num_key_value_heads"], head_dim(config)
    ids = torch.as_tensor(ids)
    scale = (config.get("query_pre_attn_scalar", dim) if gemma else dim) ** -0.5
    back = torch.arange(len(ids))[:, None] - torch.arange(len(ids))  # [T, T] from query to key

    def split(x, count, norm_name):  # [T, count * dim] -> [count, T, dim]
        x = x.view(len(ids), count, dim).transpose(0, 1)
        return norm(x, norm_name) if norm_name in weights else x

    def rotate(x, layer):  # RoPE as a complex product
        angle = torch.arange(len(ids))[:, None] * torch.from_numpy(rope_frequencies(config, layer))
        turn = torch.polar(torch.ones_like(angle), angle)  # [T, dim/2] complex
        x = torch.complex(*x.chunk(2, -1)) * turn
        return torch.cat([x.real, x.imag], -1)

    h = F.embedding(ids, weights["model.embed_tokens.weight"])
    h = h * h.shape[-1] ** 0.5 if gemma else h
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        x = norm(h, at + "input_layernorm.weight")
        q, k, v = (split(linear(x, f"{at}self_attn.{n}_proj"), c, f"{at}self_attn.{n}_norm.weight")
                   for n, c in (("q", heads), ("k", kv_heads), ("v", kv_heads)))
        seen = (back >= 0) & (back < window(config, layer))
        x = F.scaled_dot_product_attention(rotate(q, layer)[None], rotate(k, layer)[None], v[None], attn_mask=seen,
                                           scale=scale, enable_gqa=True)
        x = linear(x[0].transpose(0, 1).reshape(len(ids), -1), at + "self_attn.o_proj")
        h = h + after(x, at + "post_attention_layernorm.weight")
        x = norm(h, f"{at}{before_gate}.weight")
        x = act(linear(x, at + "mlp.gate_proj")) * linear(x, at + "mlp.up_proj")
        h = h + after(linear(x, at + "mlp.down_proj"), at + "post_feedforward_layernorm.weight")
    head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
    return linear(norm(h, "model.norm.weight"), head)
