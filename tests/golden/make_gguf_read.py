#!/usr/bin/env python3
"""Golden files of GGUF: what the `gguf` package writes of our tiny models, and what it reads of blocks.

Writes gguf-read/:

    blocks.safetensors      NAME.blocks, bytes of three blocks of each type (random but for their scales), and
                            NAME.values, what the package's dequantize makes of them
    MODEL.gguf              the folders of that name, as llama.cpp's convert_hf_to_gguf.py converts them, in
                            F32; llama-linear in three files; qwen2 in BF16 as qwen2-bf16.gguf. Their
                            logits are the folder's (of qwen2-sharded, which is BF16, for the last)
    mixed.gguf, mixed/      llama-gqa with its matrices in Q8_0, Q4_0 and F16; the logits that
                            transformers has of the same numbers
    text-KIND.gguf          the tokenizers of text/KIND (and an embedding, but no model)
    text-spm.gguf           a SentencePiece model trained here on make_text.py's sentences, as llama.cpp
                            converts a tokenizer.model
    expected.json           `texts`, and of `spm` some with SentencePiece's own tokens and text

What is taken from llama.cpp's script, which is in no package: `permute`, `norm_shift`, and which keys it writes.

    python tests/golden/make_gguf_read.py
"""

import io
import json
import math
import pathlib
import shutil

import gguf
import numpy as np
import sentencepiece
import torch
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file
from safetensors.torch import load_file

from common import header
from make_models import batch, eager, off_f64, statistics, write
from make_text import CORPUS

HERE = pathlib.Path(__file__).parent
OUT = HERE / "gguf-read"
TYPES = [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q4_K, Type.Q5_K,
         Type.Q6_K]
# Where a block has its F16 scales, bytes.
SCALES = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q4_K: [0, 2],
          Type.Q5_K: [0, 2], Type.Q6_K: [208]}
HEAD = header("make_gguf_read.py", "gguf", "sentencepiece")


def blocks():
    generator = np.random.default_rng(1)
    tensors = {}
    for kind in TYPES:
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        if kind in SCALES:
            data = generator.integers(0, 256, (3, size), dtype=np.uint8)
            for at in SCALES[kind]:
                data[:, at:at + 2] = generator.normal(size=(3, 1)).astype(np.float16).view(np.uint8)
        else:
            data = gguf.quants.quantize(generator.normal(size=(3, 8)).astype(np.float32), kind)
            data = data.view(np.uint8).reshape(3, -1)
        values = gguf.quants.dequantize(data, kind).astype(np.float32)
        tensors |= {f"{kind.name}.blocks": data, f"{kind.name}.values": values}
    save_file(tensors, OUT / "blocks.safetensors", {"header": json.dumps(HEAD)})


def permute(weights, heads):
    return (weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2)
            .reshape(weights.shape))


def rope_factors(rope, head_dim):
    low, high, old = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    for frequency in 1.0 / rope["rope_theta"] ** (np.arange(0, head_dim, 2, dtype=np.float32) / head_dim):
        turns = old * frequency / (2 * math.pi)
        smooth = (turns - low) / (high - low)
        yield 1 if turns > high else rope["factor"] if turns < low else 1 / ((1 - smooth) / rope["factor"] + smooth)


def writer(name, arch, **split):
    w = gguf.GGUFWriter(OUT / f"{name}.gguf", arch, **split)
    w.add_string("srft.golden", json.dumps(HEAD))
    w.add_string("general.name", name)
    return w


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def plain_tokenizer(w):
    """A few of the 256 bytes: the models have 48 tokens."""
    tokens = ["<s>", "</s>", *"0123456789+-*%=,;:>abcdefghijklmnop", "12"]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([3, 3] + [1] * (len(tokens) - 2))
    w.add_token_merges(["1 2"])
    w.add_bos_token_id(0)
    w.add_eos_token_id(1)


def hyperparameters(w, config):
    rope = config["rope_parameters"]
    if "sliding_attention" in rope:  # Gemma 3
        w.add_sliding_window(config["sliding_window"])
        w.add_sliding_window_pattern(config["layer_types"].index("full_attention") + 1)
        w.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
    heads = config["num_attention_heads"]
    w.add_block_count(config["num_hidden_layers"])
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(heads)
    w.add_head_count_kv(config["num_key_value_heads"])
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if "head_dim" in config:
        w.add_key_length(config["head_dim"])
        w.add_value_length(config["head_dim"])
    w.add_vocab_size(config["vocab_size"])
    w.add_rope_dimension_count(config.get("head_dim", config["hidden_size"] // heads))
    if rope["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])


def model(name, folder, kinds=lambda name, shape: Type.F32, **split):
    """One of our folders as GGUF; the numbers as they are stored, by Hugging Face's names."""
    config = json.loads((HERE / folder / "config.json").read_text())
    arch = {"mistral": "llama", "gemma3_text": "gemma3"}.get(config["model_type"], config["model_type"])
    w = writer(name, arch, **split)
    hyperparameters(w, config)
    plain_tokenizer(w)
    weights = {}
    for file in sorted((HERE / folder).glob("model*.safetensors")):
        weights |= {k: v.float().numpy() for k, v in load_file(file).items()}
    architecture = {v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[arch]
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    if config["rope_parameters"].get("rope_type") == "llama3":
        factors = rope_factors(config["rope_parameters"], config["head_dim"])
        w.add_tensor("rope_freqs.weight", np.array(list(factors), dtype=np.float32))
    stored = {}
    for key, value in weights.items():
        part = key.split(".")[-2]
        turned = permute(value, heads[part]) if arch == "llama" and part in heads else value
        if arch == "gemma3" and key.endswith("norm.weight"):
            turned = value + np.float32(1)  # the script's `norm_shift`
        kind = kinds(key, value.shape) if value.ndim > 1 else Type.F32
        data = gguf.quants.quantize(turned, kind)
        w.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), data, raw_dtype=kind)
        stored[key] = gguf.quants.dequantize(gguf.quants.quantize(value, kind), kind).reshape(value.shape)
    finish(w)
    return stored


def mixed():
    def kinds(name, shape):
        if shape[1] % 32:
            return Type.F16
        return Type.Q4_0 if "up_proj" in name or "q_proj" in name else Type.Q8_0

    stored = model("mixed", "llama-gqa", kinds)
    folder = OUT / "mixed"
    folder.mkdir()
    config = json.loads((HERE / "llama-gqa" / "config.json").read_text())
    reference = eager(HERE / "llama-gqa")
    reference.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in stored.items()})
    ids, mask = batch(config["vocab_size"], seed=950)
    with torch.no_grad():
        logits = reference(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
    tensors, loss = statistics(logits, ids, mask)
    noise = {"logits": off_f64(logits, stored, config, ids)}
    assert noise["logits"] < 1e-4, noise
    write(folder, tensors, {"loss": loss, "float32_noise": noise}, HEAD)


def text_model(name, tokens):
    w = writer(name, "llama")
    hyperparameters(w, {
        "num_hidden_layers": 1, "max_position_embeddings": 64, "hidden_size": 2, "intermediate_size": 2,
        "num_attention_heads": 1, "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "vocab_size": tokens,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}})
    w.add_tensor("token_embd.weight", np.zeros((tokens, 2), dtype=np.float16))
    return w


def byte_level(kind, pre):
    """As `_set_vocab_gpt2` and `get_vocab_base` do it."""
    folder = HERE / "text" / kind
    files = json.loads((folder / "tokenizer.json").read_text())
    added = {token["id"]: token for token in files["added_tokens"]}
    tokens = {i: t for t, i in files["model"]["vocab"].items()} | {i: t["content"] for i, t in added.items()}
    count = max(tokens) + 3  # an embedding may have rows without a token
    types = [5 if i not in tokens else 1 if i not in added else 3 if added[i]["special"] else 4 for i in range(count)]
    w = text_model(f"text-{kind}", count)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list([tokens.get(i, f"[PAD{i}]") for i in range(count)])
    w.add_token_types(types)
    special = gguf.SpecialVocab(folder, load_merges=True, n_vocab=count)
    special.chat_template = (folder / "chat_template.jinja").read_text()
    special.add_to_gguf(w, quiet=True)
    finish(w)


TEXTS = ["hello world", "  two\n\n\nthree ", "日本 👍🏽 naïve", "e\u0301 12345", "The answer is 4.", "a  b   c", "x=1;y+=22",
         "I'll they'VE 2024-11-28", "\t\tdef f(x):\r\n    return x", "", " ", "<s> </s>"]


def sentence_piece():
    """As `_create_vocab_sentencepiece` does it; settings are those of Llama 2's tokenizer.model."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=out, model_type="bpe", vocab_size=400, byte_fallback=True,
        normalization_rule_name="identity", add_dummy_prefix=True, remove_extra_whitespaces=False, split_digits=True,
        num_threads=1, minloglevel=2)
    sp = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    tokens, scores, types = [], [], []
    for i in range(sp.vocab_size()):
        tokens.append(sp.id_to_piece(i))
        scores.append(sp.get_score(i))
        types.append(2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 5 if sp.is_unused(i) else
                     6 if sp.is_byte(i) else 1)
    w = text_model("text-spm", len(tokens))
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list(tokens)
    w.add_token_scores(scores)
    w.add_token_types(types)
    w.add_bos_token_id(sp.bos_id())
    w.add_eos_token_id(sp.eos_id())
    w.add_unk_token_id(sp.unk_id())
    w.add_add_bos_token(True)
    finish(w)
    # Text that spells a special token is the token for us, and is text for SentencePiece.
    return [{"text": text, "ids": sp.encode(text), "decoded": sp.decode(sp.encode(text))} for text in TEXTS
            if text and "<s>" not in text]


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    blocks()
    for name in ["llama-gqa", "llama3-rope", "mistral", "qwen2", "qwen3", "gemma3"]:
        model(name, name)
    model("llama-linear", "llama-linear", split_max_tensors=8)
    model("qwen2-bf16", "qwen2-sharded", lambda name, shape: Type.BF16)
    mixed()
    for kind, pre in [("smollm2", "smollm"), ("qwen3", "qwen2"), ("llama3", "llama-bpe")]:
        byte_level(kind, pre)
    (OUT / "expected.json").write_text(json.dumps({**HEAD, "spm": sentence_piece(), "texts": TEXTS}, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
