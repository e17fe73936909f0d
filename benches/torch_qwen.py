#!/usr/bin/env python3
"""A model of Qwen2.5-0.5B's shape with random weights: to train with srft, and the same work in torch.

    python benches/torch_qwen.py make DIR             # DIR/model, DIR/problems.jsonl
    python benches/torch_qwen.py time DIR --dtype bfloat16 --device cuda

`time` does what one step of

    srft train --model DIR/model --data DIR/problems.jsonl --lora-rank 16 --set rollout.prompts=8 \\
        --set rollout.group=8 --set rollout.max_new_tokens=128

does, by transformers and PEFT: sample 64 responses of 128 tokens (prompts of 64) with a KV cache, then one
update of adapters on them and the 8 demonstrations, layers checkpointed, 21 sequences at a time. The loss is
mean -ln p over the responses; srft's other terms read the same logits. Random weights do not end a text by
themselves, so on both sides every response has all 128 tokens. Prints response tokens a second of both
parts, medians after one round of warming up, and torch's peak memory.
"""

import argparse
import json
import pathlib
import statistics
import time

import torch
import torch.nn.functional as F

PROMPTS, GROUP, PROMPT, NEW, SEQUENCES = 8, 8, 64, 128, 21
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def make(folder):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    end = 256
    config = Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2, max_position_embeddings=32768, rms_norm_eps=1e-6, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6}, bos_token_id=end, eos_token_id=end,
        dtype="bfloat16")
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / "model")
    # A token a byte: the vocabulary's other rows are rows of the head like any.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder / "model")
    text = lambda n, seed: "".join(LETTERS[(seed * 7 + i * i) % 26] for i in range(n))
    # The end of text is the demonstration's 128th token.
    lines = [dict(prompt=text(PROMPT, i), completion=text(NEW - 1, i + 1), answer=text(NEW - 1, i + 1))
             for i in range(64)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def measure(folder, dtype, device, steps):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=getattr(torch, dtype)).to(device)
    targets = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split()
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=targets))
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
    model.enable_input_require_grads()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.95), weight_decay=0)
    prompts = torch.randint(0, 256, (PROMPTS, PROMPT), device=device).repeat_interleave(GROUP, 0)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def rollout():
        model.eval()
        with torch.no_grad():
            ids = model.generate(input_ids=prompts, attention_mask=torch.ones_like(prompts), do_sample=True, top_k=0,
                                 temperature=1.0, min_new_tokens=NEW, max_new_tokens=NEW, pad_token_id=256)
        assert ids.shape == (PROMPTS * GROUP, PROMPT + NEW)
        return ids

    def update(ids):
        model.train()
        ids = torch.cat([ids, ids[:PROMPTS]])
        for part in ids.split(SEQUENCES):
            hidden = model.base_model.model.model(input_ids=part, use_cache=False).last_hidden_state
            logits = model.base_model.model.lm_head(hidden[:, PROMPT - 1:-1]).float()
            loss = F.cross_entropy(logits.flatten(0, 1), part[:, PROMPT:].flatten(), reduction="sum")
            (loss / (len(ids) * NEW)).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return len(ids) * NEW

    times = {"rollout": [], "update": []}
    for step in range(steps + 1):
        wait()
        start = time.perf_counter()
        ids = rollout()
        wait()
        middle = time.perf_counter()
        tokens = update(ids)
        wait()
        if step:
            times["rollout"].append(PROMPTS * GROUP * NEW / (middle - start))
            times["update"].append(tokens / (time.perf_counter() - middle))
    peak = torch.cuda.max_memory_reserved() >> 20 if device == "cuda" else None
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"torch {torch.__version__}, {dtype}, {name}: rollout {statistics.median(times['rollout']):.0f} tokens/s, "
          f"update {statistics.median(times['update']):.0f} tokens/s, peak {peak} MiB reserved")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "time"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.what == "make":
        make(arguments.folder)
    else:
        measure(arguments.folder, arguments.dtype, arguments.device, arguments.steps)
