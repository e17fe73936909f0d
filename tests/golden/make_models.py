#!/usr/bin/env python3
"""Golden files of the transformer: tiny random models of every kind, as transformers runs and trains them.

Writes a folder a model: config.json + model.safetensors (by `save_pretrained`), config-v4.json (the
same config as transformers 4 wrote it, which most published checkpoints carry), golden.safetensors
(tensors named below) and golden.json (the small numbers); then qwen2-sharded/ and qwen2-f16/, the
weights of qwen2/ in half precision, as they are published.
transformers in float32 with eager attention is the reference; before anything is written, its
logits are held against our numpy float64 forward pass (numpy_srft.py), its gradients and its ten
steps against torch float64 (common.llama_f64): the differences, printed and stored, say what a
correct float32 implementation can be expected to reach. Mutants (another RoPE theta, eps, window,
no bias, ...) must change the logits by far more than that, so the golden files can tell them apart.

AdamW decays matrices only, as is common practice: norms and biases stay out of it.

The loss is the mean negative log-likelihood of token t + 1 at position t over all valid pairs of
the right-padded batch: sum over rows of (length - 1) pairs.

    python tests/golden/make_models.py            # every model
    python tests/golden/make_models.py qwen2 qwen3
"""

import json
import os
import pathlib
import shutil
import sys

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerFast

import numpy_srft
from common import header, llama_f64, peaky

HERE = pathlib.Path(__file__).parent
LENGTHS = [17, 11, 5]
STEPS, LR, BETAS, EPS, DECAY, CLIP = 10, 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0
SHARED = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
              vocab_size=64, max_position_embeddings=128, hidden_act="silu",
              bos_token_id=1, eos_token_id=2, pad_token_id=0)
SMALL = SHARED | dict(hidden_size=24, intermediate_size=40, vocab_size=48)
ROPE = {"rope_type": "default", "rope_theta": 1e4}
# A small embedding makes rms_norm_eps = 1e-5 visible in the first norm; a tied one is the head too
# and must not be small, so those take a large eps instead.
FAINT, LARGE_EPS = 0.05, 1e-3
# Mutants: what else a reader could get wrong, as changes of the config (a function of the value
# there) or, where the name is no key of it, as weights left out.
TEN = lambda x: 10 * x
THETA, BOTH = {"rope_parameters.rope_theta": TEN}, {"rope_parameters.rope_theta": TEN, "rms_norm_eps": TEN}
SCALED = BOTH | {"rope_parameters.factor": lambda x: x + 1, "rope_parameters.rope_type": lambda _: "default"}
GEMMA = {k: v for k, v in SMALL.items() if k != "hidden_act"} | dict(
    num_hidden_layers=3, hidden_activation="gelu_pytorch_tanh", rms_norm_eps=LARGE_EPS,
    layer_types=["sliding_attention", "full_attention", "sliding_attention"])
LAYERS = {"rms_norm_eps": TEN, "sliding_window": lambda x: x + 1, "hidden_activation": lambda _: "silu",
          "layer_types": lambda x: x[1:] + x[:1], "q_norm.weight": None, "k_norm.weight": None,
          "rope_parameters.sliding_attention.rope_theta": TEN, "rope_parameters.full_attention.rope_theta": TEN}
# Seeds are such that no gradient is rounding noise and no greedy choice is close (asserted below).
# The weights of mistral/ and mistral-window/ are the same.
MODELS = {
    "llama-gqa": (100, "Llama", SHARED, FAINT, BOTH, dict(
        head_dim=8, rms_norm_eps=1e-5, tie_word_embeddings=False, attention_bias=True, mlp_bias=True,
        rope_parameters=ROPE)),
    "llama-tied": (200, "Llama", SHARED, None, THETA, dict(
        num_key_value_heads=4, head_dim=16, rms_norm_eps=1e-6, tie_word_embeddings=True, attention_bias=False,
        mlp_bias=False, rope_parameters={"rope_type": "default", "rope_theta": 5e5})),
    # 64 positions are 10.2, 1.98, 0.38, ... turns of the eight frequencies: the first is kept (more
    # than high_freq_factor), the second blended, the rest (fewer than low_freq_factor) divided.
    "llama3-rope": (100, "Llama", SHARED, None, SCALED | {
        "rope_parameters.low_freq_factor": lambda x: 1.5 * x, "rope_parameters.high_freq_factor": lambda x: 1.5 * x,
        "rope_parameters.original_max_position_embeddings": lambda x: 2 * x}, dict(
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, rms_norm_eps=LARGE_EPS, tie_word_embeddings=True,
        rope_parameters={"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 64})),
    "llama-linear": (700, "Llama", SMALL, FAINT, SCALED, dict(
        head_dim=6, rms_norm_eps=1e-5, tie_word_embeddings=False,
        rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5})),
    "mistral": (200, "Mistral", SMALL, FAINT, BOTH, dict(
        head_dim=8, rms_norm_eps=1e-5, tie_word_embeddings=False, sliding_window=None, rope_parameters=ROPE)),
    "mistral-window": (200, "Mistral", SMALL, FAINT, BOTH | {"sliding_window": lambda x: x + 1}, dict(
        head_dim=8, rms_norm_eps=1e-5, tie_word_embeddings=False, sliding_window=8, rope_parameters=ROPE)),
    "qwen2": (1400, "Qwen2", SHARED, None, BOTH | {"q_proj.bias": None, "k_proj.bias": None, "v_proj.bias": None}, dict(
        rms_norm_eps=LARGE_EPS, tie_word_embeddings=True, use_sliding_window=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6})),
    # A window that rows are longer than, in the first and the last layer.
    "gemma3": (100, "Gemma3", GEMMA, 0.3, LAYERS | {"query_pre_attn_scalar": lambda x: 2 * x}, dict(
        head_dim=8, query_pre_attn_scalar=8, sliding_window=5, tie_word_embeddings=True,
        rope_parameters={"sliding_attention": ROPE | {"rope_theta": 100.0}, "full_attention": ROPE})),
    "gemma3-linear": (200, "Gemma3", GEMMA, FAINT, LAYERS | {
        "query_pre_attn_scalar": lambda x: 2 * x, "rope_parameters.full_attention.factor": lambda x: x + 1}, dict(
        num_key_value_heads=1, head_dim=6, query_pre_attn_scalar=4, sliding_window=3, tie_word_embeddings=False,
        attention_bias=True, rope_parameters={
            "sliding_attention": ROPE,
            "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 2.5}})),
    "qwen3": (100, "Qwen3", SMALL, None, BOTH | {"q_norm.weight": None, "k_norm.weight": None}, dict(
        head_dim=8, rms_norm_eps=LARGE_EPS, tie_word_embeddings=True, attention_bias=False, use_sliding_window=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6})),
}
WITHOUT_V4 = ("llama-gqa", "llama-tied")  # explain/model/ has that layout


def config_v4(config):
    """The same config in the layout of transformers 4."""
    old = {k: v for k, v in config.items() if k not in ("rope_parameters", "dtype", "layer_types")}
    rope = dict(config["rope_parameters"])
    if config["model_type"] == "gemma3_text":
        old |= {"rope_local_base_freq": rope["sliding_attention"]["rope_theta"], "sliding_window_pattern": 2}
        rope = dict(rope["full_attention"])
    old |= {"torch_dtype": config["dtype"], "transformers_version": "4.46.0", "rope_theta": rope.pop("rope_theta")}
    if rope["rope_type"] == "linear" and config["model_type"] == "llama":
        rope["type"] = rope.pop("rope_type")  # the name before 4.43
    old["rope_scaling"] = rope if "factor" in rope else None
    if "use_sliding_window" in config:  # published like this: a window that is switched off
        old |= {"sliding_window": 8, "max_window_layers": 1}
    return dict(sorted(old.items()))


def mutated(weights, config, key, change):
    """`config` with one value changed, or `weights` without those whose name ends in `key`."""
    if change is None:
        left = {name: w for name, w in weights.items() if not name.endswith(key)}
        assert len(left) < len(weights), key
        return left, config
    def changed(inside, outer, last):
        if outer:
            return inside | {outer[0]: changed(inside[outer[0]], outer[1:], last)}
        return inside | {last: change(inside[last])}

    *outer, last = key.split(".")
    return weights, changed(config, outer, last)


def batch(vocabulary, seed):
    """Right-padded ids [3, 17] and their mask; tokens 3.. so that pad, bos, eos stay special."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocabulary, (3, 17), generator=generator)
    mask = torch.arange(17) < torch.tensor(LENGTHS)[:, None]
    return torch.where(mask, ids, 0), mask


def statistics(logits, ids, mask):
    """What every golden.safetensors holds of a forward pass, and the loss in f64."""
    pair = mask[:, 1:]  # [3, 16]: position t predicts t + 1
    logp = logits.detach().double().log_softmax(-1)
    entropy = -(logp.exp() * logp).sum(-1)
    chosen = logp[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
    valid = lambda x: torch.where(mask if x.dim() == 2 else mask[..., None], x, 0)
    return {
        "input_ids": ids, "attention_mask": mask.long(), "lengths": torch.tensor(LENGTHS),
        "logits": valid(logits.detach()),  # [3, 17, V], 0 where padded
        "logprobs": torch.where(pair, chosen, 0),  # [3, 16] f64, of token t + 1, 0 where padded
        "entropies": valid(entropy),  # [3, 17] f64, nats
    }, float(-chosen[pair].mean())


def nll(logits, ids, pair):
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")[pair].mean()


def nll_f64(weights, config, ids):
    """The same in float64, row by row without padding: what float32 alone costs."""
    rows = [F.cross_entropy(llama_f64(weights, config, ids[b, :n])[:-1], ids[b, 1:n], reduction="sum")
            for b, n in enumerate(LENGTHS)]
    return sum(rows) / (sum(LENGTHS) - len(LENGTHS))


def train(parameters, loss_now, eps=EPS):
    """Ten steps: the loss before each, the gradient's norm before it is clipped, the loss at the end."""
    groups = [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": DECAY},
              {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=eps)
    losses, norms = [], []
    for _ in range(STEPS):
        optimiser.zero_grad()
        step_loss = loss_now()
        step_loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, CLIP)))
        losses.append(float(step_loss.detach()))
        optimiser.step()
    return losses, norms, float(loss_now().detach())


def training_record(losses, norms, final_loss, eps=EPS):
    return {
        "optimizer": {"name": "AdamW", "lr": LR, "betas": BETAS, "eps": eps, "weight_decay": DECAY,
                      "decayed": "matrices; not norms and biases", "clip_grad_norm": CLIP},
        "loss_before_step": losses, "grad_norm_before_clip": norms, "loss_after_last_step": final_loss,
    }


def furthest(a, b):
    return float(max(abs(x - y) for x, y in zip(a, b, strict=True)))


def off_f64(logits, weights, config, ids):
    """Largest difference between `logits` and the numpy float64 forward pass."""
    return float(max(np.abs(numpy_srft.llama(weights, config, ids[b, :n].numpy()) - logits[b, :n].detach().numpy()).max()
                     for b, n in enumerate(LENGTHS)))


def write(folder, tensors, golden, head):
    metadata = {"header": json.dumps(head)}  # one key: safetensors writes several in random order
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "golden.safetensors", metadata)
    (folder / "golden.json").write_text(json.dumps({**head, **golden}, indent=1) + "\n")


def eager(folder):
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def make(name):
    seed, kind, shared, embedding_std, changes, switches = MODELS[name]
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    config_class = getattr(transformers, {"Gemma3": "Gemma3Text"}.get(kind, kind) + "Config")
    model_class = getattr(transformers, kind + "ForCausalLM")
    model = model_class._from_config(config_class(**shared | switches), attn_implementation="eager",
                                     dtype=torch.float32).eval()
    peaky(model, seed, std=0.3, head_std=0.6, embedding_std=embedding_std)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    weights = {k: v.numpy() for k, v in load_file(folder / "model.safetensors").items()}
    config = json.loads((folder / "config.json").read_text())

    ids, mask = batch(config["vocab_size"], seed + 1)
    pair = mask[:, 1:]
    forward = lambda: model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
    logits = forward()
    loss = nll(logits, ids, pair)
    loss.backward()
    gradients = {f"grad.{n}": p.grad.clone() for n, p in model.named_parameters()}
    tensors, loss_f64 = statistics(logits, ids, mask)

    noise = {"logits": off_f64(logits, weights, config, ids)}
    mutants = {key: off_f64(logits, *mutated(weights, config, key, change), ids) for key, change in changes.items()}
    assert noise["logits"] < 1e-4, f"{name}: numpy float64 and transformers disagree: {noise}"
    assert min(mutants.values()) > 0.01, f"{name}: a mutant does not show: {mutants}"

    if name not in WITHOUT_V4:
        (folder / "config-v4.json").write_text(json.dumps(config_v4(config), indent=2) + "\n")
        old = model_class._from_config(AutoConfig.from_pretrained(folder / "config-v4.json"),
                                       attn_implementation="eager", dtype=torch.float32).eval()
        old.load_state_dict(model.state_dict())
        theirs = old(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
        assert torch.equal(theirs, logits) and off_f64(logits, weights, config_v4(config), ids) == noise["logits"]

    # Greedy decoding without a cache: 4-token prompt, 12 tokens, eos not treated specially.
    prompt = ids[0, :4].tolist()
    greedy, margin = list(prompt), []
    with torch.no_grad():
        for _ in range(12):
            top = model(input_ids=torch.tensor([greedy]), use_cache=False).logits[0, -1].topk(2)
            margin.append(float(top.values[0] - top.values[1]))
            greedy.append(int(top.indices[0]))

    losses, norms, final_loss = train(list(model.parameters()), lambda: nll(forward(), ids, pair))
    final = {f"final.{n}": p.detach().clone() for n, p in model.named_parameters()}

    exact = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in weights.items()}
    loss_exact = lambda: nll_f64(exact, config, ids)
    exact_gradients = dict(zip(exact, torch.autograd.grad(loss_exact(), exact.values())))
    losses64, norms64, final_loss64 = train(list(exact.values()), loss_exact)
    noise |= {
        "loss": abs(float(loss.detach()) - losses64[0]),
        "gradients": max(float((gradients[f"grad.{k}"] - g).abs().max()) for k, g in exact_gradients.items()),
        "loss_before_step": furthest(losses + [final_loss], losses64 + [final_loss64]),
        "grad_norm": furthest(norms, norms64),
        "final_parameters": max(float((final[f"final.{k}"] - p.detach()).abs().max()) for k, p in exact.items()),
    }
    assert noise["gradients"] < 1e-4 and noise["loss_before_step"] < 1e-4, f"{name}: {noise}"
    gradient = torch.cat([g.flatten() for g in exact_gradients.values()]).abs()
    assert not ((gradient > 0) & (gradient < 1e-6)).any() and noise["final_parameters"] < 5e-5, f"{name}: {noise}"
    assert min(margin) > 0.05, f"{name}: {margin}"

    golden = {
        "loss": loss_f64, "loss_f32": float(loss.detach()), "valid_pairs": int(pair.sum()),
        "training": training_record(losses, norms, final_loss),
        "greedy": {"prompt": prompt, "generated": greedy[4:], "logit_margin": margin},
        # Largest absolute difference between these float32 numbers and float64.
        "float32_noise": noise,
    }
    write(folder, {**tensors, **gradients, **final}, golden, header("make_models.py"))
    entropy = tensors["entropies"][mask]
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, entropy "
          f"{float(entropy.min()):.2f}..{float(entropy.max()):.2f}, loss {losses[0]:.4f} -> "
          f"{final_loss:.4f} in ten steps, grad norm {norms[0]:.2f}, smallest greedy margin {min(margin):.3f}")
    print(f"  gradient: largest {gradient.max():.1f}, {int((gradient == 0).sum())} are 0, "
          f"{int(((gradient > 0) & (gradient < 1e-5)).sum())} in (0, 1e-5)")
    print(f"  float32 noise: {noise}\n  mutants: {mutants}")


# 63 tokens for qwen2's embedding of 64 rows: ChatML's three marks and a character each.
CHAT_MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHARACTERS = "\n 0123456789abcdefghijklmnopqrstuvwxyz+-*/%=<>()[]{},.;:?!'_"
# Qwen2.5's, without its tools.
CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>system\\nyou add numbers.<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{%- if (message.role == 'user') or (message.role == 'system' and not loop.first) or (message.role == 'assistant') %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}")
CONVERSATIONS = [
    [{"role": "user", "content": "2+2=?"}],
    [{"role": "system", "content": "be brief."}, {"role": "user", "content": "  7*8 = ?\n"}],
    [{"role": "user", "content": "2+2=?"}, {"role": "assistant", "content": "4"}, {"role": "user", "content": "and 3+3?"}],
]


def write_tokenizer(folder):
    """tokenizer.json, tokenizer_config.json with the chat template inside, and what they give in chat.json."""
    tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate([*CHAT_MARKS, *CHARACTERS])}, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(CHAT_MARKS)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=CHAT_MARKS[0], eos_token=CHAT_MARKS[2],
                                      chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False)
    wrapped.save_pretrained(folder, save_jinja_files=False)
    chats = []
    for messages in CONVERSATIONS:
        for open_ended in (True, False):
            render = lambda tokenize: wrapped.apply_chat_template(
                messages, add_generation_prompt=open_ended, tokenize=tokenize, return_dict=False)
            text, tokens = render(False), render(True)
            assert tokenizer.encode(text, add_special_tokens=False).ids == tokens and len(tokens) > 10
            chats.append({"messages": messages, "add_generation_prompt": open_ended, "text": text, "tokens": tokens})
    (folder / "chat.json").write_text(json.dumps({**header("make_models.py"), "chats": chats}, indent=1) + "\n")


def make_half(name, dtype, shards):
    """The weights of qwen2/ rounded to half precision; the golden logits are those of the rounded ones in float32."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(HERE / "qwen2", dtype=dtype)
    # As published: the config names one end, the generation config more.
    model.generation_config = GenerationConfig(bos_token_id=0, pad_token_id=0, eos_token_id=[2, 0], do_sample=True,
                                               temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.05)
    model.save_pretrained(folder, max_shard_size="16KB" if shards else "1GB")
    if shards:
        write_tokenizer(folder)
    rounded = eager(folder)
    weights = {k: p.detach().numpy() for k, p in rounded.named_parameters()}
    config = json.loads((folder / "config.json").read_text())
    files = sorted(f.name for f in folder.glob("*.safetensors"))
    assert config["dtype"] == str(dtype).removeprefix("torch.") and (len(files) >= 3) == shards, files

    ids, mask = batch(config["vocab_size"], seed=900)
    with torch.no_grad():
        logits, unrounded = (m(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
                             for m in (rounded, eager(HERE / "qwen2")))
    tensors, loss = statistics(logits, ids, mask)
    noise = {"logits": off_f64(logits, weights, config, ids)}
    rounding = float((logits - unrounded)[mask].abs().max())
    assert noise["logits"] < 1e-4 < 0.01 < rounding, (noise, rounding)
    write(folder, tensors, {"loss": loss, "valid_pairs": int(mask[:, 1:].sum()), "float32_noise": noise},
          header("make_models.py"))
    print(f"{name}: {files}, rounding moves a logit by {rounding:.3f}\n  float32 noise: {noise}")


HALVES = {"qwen2-sharded": (torch.bfloat16, True), "qwen2-f16": (torch.float16, False)}

if __name__ == "__main__":
    os.chdir(HERE)
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    wanted = sys.argv[1:] or [*MODELS, *HALVES]
    assert set(wanted) <= {*MODELS, *HALVES}, f"models: {' '.join([*MODELS, *HALVES])}"
    print(json.dumps(header("make_models.py")["libraries"]))
    for name in MODELS:
        if name in wanted:
            make(name)
    for name, (dtype, shards) in HALVES.items():
        if name in wanted:
            make_half(name, dtype, shards)
