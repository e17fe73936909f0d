#!/usr/bin/env python3
"""Golden files of the transformer: two tiny random Llamas, as transformers runs and trains them.

Writes llama-gqa/ and llama-tied/: config.json + model.safetensors (by `save_pretrained`),
golden.safetensors (tensors named below) and golden.json (the small numbers).
transformers in float32 with eager attention is the reference; before anything is written, its
logits are held against our numpy float64 forward pass (numpy_srft.py), its gradients and its ten
steps against torch float64 (common.llama_f64): the differences, printed and stored, say what a
correct float32 implementation can be expected to reach. Mutated configs (RoPE theta, eps) must
change the logits by far more than that, so the golden files can tell them apart.

AdamW decays matrices only, as is common practice: norms and biases stay out of it.

The loss is the mean negative log-likelihood of token t + 1 at position t over all valid pairs of
the right-padded batch: sum over rows of (length - 1) pairs.

    python tests/golden/make_llama.py
"""

import json
import os
import pathlib
import shutil

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

import numpy_srft
from common import header, llama_f64, peaky

HERE = pathlib.Path(__file__).parent
LENGTHS = [17, 11, 5]
STEPS, LR, BETAS, EPS, DECAY, CLIP = 10, 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0
SHARED = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
              vocab_size=64, max_position_embeddings=128, hidden_act="silu",
              bos_token_id=1, eos_token_id=2, pad_token_id=0)
MODELS = {
    # A small embedding makes rms_norm_eps = 1e-5 visible in the first norm.
    "llama-gqa": dict(num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-5, tie_word_embeddings=False,
                      attention_bias=True, mlp_bias=True, rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
    "llama-tied": dict(num_key_value_heads=4, head_dim=16, rms_norm_eps=1e-6, tie_word_embeddings=True,
                       attention_bias=False, mlp_bias=False, rope_parameters={"rope_type": "default", "rope_theta": 5e5}),
}


def make(name, switches, seed, embedding_std):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model = LlamaForCausalLM._from_config(LlamaConfig(**SHARED, **switches), attn_implementation="eager",
                                          dtype=torch.float32).eval()
    peaky(model, seed, std=0.3, head_std=0.6, embedding_std=embedding_std)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    weights = {k: v.numpy() for k, v in load_file(folder / "model.safetensors").items()}

    # Right-padded batch [3, 17]; tokens 3.. so that pad, bos, eos stay special.
    generator = torch.Generator().manual_seed(seed + 1)
    ids = torch.randint(3, 64, (3, 17), generator=generator)
    mask = torch.arange(17) < torch.tensor(LENGTHS)[:, None]
    ids = torch.where(mask, ids, 0)
    pair = mask[:, 1:]  # [3, 16]: position t predicts t + 1

    def loss_of(logits):
        nll = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
        return nll[pair].mean()

    forward = lambda: model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits

    logits = forward()
    loss = loss_of(logits)
    loss.backward()
    gradients = {f"grad.{n}": p.grad.clone() for n, p in model.named_parameters()}

    logp = logits.detach().double().log_softmax(-1)
    entropy = -(logp.exp() * logp).sum(-1)
    chosen = logp[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
    loss_f64 = -chosen[pair].mean()

    config = json.loads((folder / "config.json").read_text())
    config["rope_theta"] = switches["rope_parameters"]["rope_theta"]
    difference = lambda config: float(max(
        np.abs(numpy_srft.llama(weights, config, ids[b, :n].numpy()) - logits[b, :n].detach().numpy()).max()
        for b, n in enumerate(LENGTHS)))
    noise = {"logits": difference(config)}
    mutants = {key: difference(config | {key: 10 * config[key]}) for key in ("rope_theta", "rms_norm_eps")}
    assert noise["logits"] < 1e-4, f"{name}: numpy float64 and transformers disagree: {noise}"
    assert mutants["rope_theta"] > 0.01 and (name != "llama-gqa" or mutants["rms_norm_eps"] > 0.01), mutants

    # Greedy decoding without a cache: 4-token prompt, 12 tokens, eos not treated specially.
    prompt = ids[0, :4].tolist()
    greedy, margin = list(prompt), []
    with torch.no_grad():
        for _ in range(12):
            top = model(input_ids=torch.tensor([greedy]), use_cache=False).logits[0, -1].topk(2)
            margin.append(float(top.values[0] - top.values[1]))
            greedy.append(int(top.indices[0]))

    def train(parameters, loss_now):
        groups = [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": DECAY},
                  {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS)
        losses, norms = [], []
        for _ in range(STEPS):
            optimiser.zero_grad()
            step_loss = loss_now()
            step_loss.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, CLIP)))
            losses.append(float(step_loss.detach()))
            optimiser.step()
        return losses, norms, float(loss_now().detach())

    losses, norms, final_loss = train(list(model.parameters()), lambda: loss_of(forward()))
    final = {f"final.{n}": p.detach().clone() for n, p in model.named_parameters()}

    # The same in float64, row by row without padding: what float32 alone costs.
    exact = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in weights.items()}
    loss_exact = lambda: sum(F.cross_entropy(llama_f64(exact, config, ids[b, :n])[:-1], ids[b, 1:n], reduction="sum")
                             for b, n in enumerate(LENGTHS)) / pair.sum()
    exact_gradients = dict(zip(exact, torch.autograd.grad(loss_exact(), exact.values())))
    losses64, norms64, final_loss64 = train(list(exact.values()), loss_exact)
    furthest = lambda a, b: float(max((abs(x - y) for x, y in zip(a, b))))
    noise |= {
        "loss": abs(float(loss.detach()) - losses64[0]),
        "gradients": max(float((gradients[f"grad.{k}"] - g).abs().max()) for k, g in exact_gradients.items()),
        "loss_before_step": furthest(losses + [final_loss], losses64 + [final_loss64]),
        "grad_norm": furthest(norms, norms64),
        "final_parameters": max(float((final[f"final.{k}"] - p.detach()).abs().max()) for k, p in exact.items()),
    }
    assert noise["gradients"] < 1e-4 and noise["loss_before_step"] < 1e-4, f"{name}: {noise}"

    head = header("make_llama.py")
    valid = lambda x: torch.where(mask if x.dim() == 2 else mask[..., None], x, 0)
    tensors = {
        "input_ids": ids, "attention_mask": mask.long(), "lengths": torch.tensor(LENGTHS),
        "logits": valid(logits.detach()),  # [3, 17, 64], 0 where padded
        "logprobs": torch.where(pair, chosen, 0),  # [3, 16] f64, of token t + 1, 0 where padded
        "entropies": valid(entropy),  # [3, 17] f64, nats
        **gradients, **final,
    }
    metadata = {"header": json.dumps(head)}  # one key: safetensors writes several in random order
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "golden.safetensors", metadata)
    golden = {
        **head,
        "loss": float(loss_f64), "loss_f32": float(loss.detach()), "valid_pairs": int(pair.sum()),
        "training": {
            "optimizer": {"name": "AdamW", "lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY,
                          "decayed": "matrices; not norms and biases", "clip_grad_norm": CLIP},
            "loss_before_step": losses, "grad_norm_before_clip": norms, "loss_after_last_step": final_loss,
        },
        "greedy": {"prompt": prompt, "generated": greedy[4:], "logit_margin": margin},
        # Largest absolute difference between these float32 numbers and float64.
        "float32_noise": noise,
    }
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, entropy "
          f"{float(entropy[mask].min()):.2f}..{float(entropy[mask].max()):.2f}, loss {losses[0]:.4f} -> "
          f"{final_loss:.4f} in ten steps, grad norm {norms[0]:.2f}, smallest greedy margin {min(margin):.3f}")
    print(f"  float32 noise: {noise}\n  mutants: {mutants}")


if __name__ == "__main__":
    os.chdir(HERE)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    print(json.dumps(header("make_llama.py")["libraries"]))
    for seed, (name, switches) in enumerate(MODELS.items()):
        make(name, switches, seed=100 * (seed + 1), embedding_std=0.05 if name == "llama-gqa" else None)
