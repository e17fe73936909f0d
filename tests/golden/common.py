"""What the generators share: the header of a golden file, peaky weights, a float64 transformer in torch."""

import platform
from importlib.metadata import version

import torch
import torch.nn.functional as F

from numpy_srft import head_dim, rope_frequencies, window

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
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = head_std if "lm_head" in name else std
            if "embed_tokens" in name:
                scale = embedding_std or head_std
            parameter.copy_(1 + 0.2 * noise if "norm" in name else scale * noise)


def llama_f64(weights, config, ids):
    """Logits [T, V] of one sequence, differentiable: transformers upcasts norms to float32 only."""
    linear = lambda x, name: F.linear(x, weights[name + ".weight"], weights.get(name + ".bias"))
    norm = lambda x, name: F.rms_norm(x, x.shape[-1:], weights[name], config["rms_norm_eps"])
    heads, kv_heads, dim = config["num_attention_heads"], config["num_key_value_heads"], head_dim(config)
    ids = torch.as_tensor(ids)
    angle = torch.arange(len(ids))[:, None] * torch.from_numpy(rope_frequencies(config))
    turn = torch.polar(torch.ones_like(angle), angle)  # [T, dim/2] complex
    back = torch.arange(len(ids))[:, None] - torch.arange(len(ids))  # [T, T] from query to key

    def split(x, count, norm_name):  # [T, count * dim] -> [count, T, dim]
        x = x.view(len(ids), count, dim).transpose(0, 1)
        return norm(x, norm_name) if norm_name in weights else x

    def rotate(x):  # RoPE as a complex product
        x = torch.complex(*x.chunk(2, -1)) * turn
        return torch.cat([x.real, x.imag], -1)

    h = F.embedding(ids, weights["model.embed_tokens.weight"])
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        x = norm(h, at + "input_layernorm.weight")
        q, k, v = (split(linear(x, f"{at}self_attn.{n}_proj"), c, f"{at}self_attn.{n}_norm.weight")
                   for n, c in (("q", heads), ("k", kv_heads), ("v", kv_heads)))
        seen = (back >= 0) & (back < window(config, layer))
        x = F.scaled_dot_product_attention(rotate(q)[None], rotate(k)[None], v[None], attn_mask=seen, enable_gqa=True)
        h = h + linear(x[0].transpose(0, 1).reshape(len(ids), -1), at + "self_attn.o_proj")
        x = norm(h, at + "post_attention_layernorm.weight")
        x = F.silu(linear(x, at + "mlp.gate_proj")) * linear(x, at + "mlp.up_proj")
        h = h + linear(x, at + "mlp.down_proj")
    head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
    return linear(norm(h, "model.norm.weight"), head)
