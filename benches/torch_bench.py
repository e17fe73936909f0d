#!/usr/bin/env python3
"""What `srft bench` measures of a model, by transformers and PEFT: the figures to stand beside.

    python benches/torch_bench.py [--model smollm2-135m] [--dtype bfloat16] [--device cuda] [--json]
    python benches/torch_bench.py make DIR             # DIR/model, DIR/problems.jsonl: to train with srft

The shapes are those of `srft bench` (assets/shapes.json), the weights random, and the keys of the JSON the same
(docs/gpu.md): a decoding step of 1, 16 and 64 rows after a prompt of 64 tokens, by `generate` with sampling at
temperature 1, as what further tokens take beyond the first; one update of rank-16 adapters on 8 sequences of 192
tokens, 128 of them the response whose mean -ln p is the loss, layers checkpointed, AdamW. Medians after a first
time; `--seconds` bounds each.

`make` writes a checkpoint of the shape and problems for it, for a whole step of `srft train`.
"""

import argparse
import json
import pathlib
import statistics
import time

import torch
import torch.nn.functional as F

ROWS, PROMPT, NEW, SEQUENCES, RANK = (1, 16, 64), 64, 128, 8, 16
SHAPES = json.loads((pathlib.Path(__file__).parent.parent / "assets/shapes.json").read_text())
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def config_of(name, **more):
    from transformers import AutoConfig

    shape = dict(SHAPES[name])
    return AutoConfig.for_model(shape.pop("model_type"), **(shape | more))


def make(name, folder):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    end = 256
    config = config_of(name, bos_token_id=end, eos_token_id=end, dtype="bfloat16")
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder / "model")
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


class Clock:
    """Medians of what a device has finished."""

    def __init__(self, device, seconds):
        self.wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        self.seconds = seconds

    def once(self, work):
        self.wait()
        start = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - start

    def median(self, one):
        times, start = [], time.perf_counter()
        while not times or (spent := time.perf_counter() - start) * (1 + 1 / len(times)) < self.seconds:
            times.append(one())
            if len(times) >= 7 and spent > 1:
                break
        return statistics.median(times)


def measure(name, dtype, device, seconds, rows):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    clock = Clock(device, seconds)
    dtype = getattr(torch, dtype)
    model = AutoModelForCausalLM.from_config(config_of(name, dtype=dtype)).to(dtype).to(device)
    parameters = sum(p.numel() for p in model.parameters() if p.dim() > 1)
    targets = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split()
    model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=targets))

    def decode(rows):
        ids = (torch.arange(PROMPT, device=device) * 7 % model.config.vocab_size).expand(rows, -1)
        mask = torch.ones_like(ids)

        def sample(new):
            with torch.no_grad():
                model.generate(input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, temperature=1.0,
                               min_new_tokens=new, max_new_tokens=new, pad_token_id=0)

        def steps(count):
            first, all = clock.once(lambda: sample(1)), clock.once(lambda: sample(1 + count))
            return max(all - first, 1e-9)

        steps(8)
        few = steps(8)
        count = 8 * max(1, min(NEW // 8, int(seconds / (3 * few))))
        secs = clock.median(lambda: steps(count)) / count
        return dict(rows=rows, past=PROMPT, step_ms=1e3 * secs, tokens_per_sec=rows / secs)

    model.eval()
    found = [decode(count) for count in rows]

    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
    model.enable_input_require_grads()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, betas=(0.9, 0.95), weight_decay=0)

    def update(sequences):
        ids = (torch.arange(PROMPT + NEW, device=device) * 7 % model.config.vocab_size).repeat(sequences, 1)
        hidden = model.base_model.model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.base_model.model.lm_head(hidden[:, PROMPT - 1:-1]).float()
        F.cross_entropy(logits.flatten(0, 1), ids[:, PROMPT:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    clock.once(lambda: update(1))
    sequences = max(1, min(SEQUENCES, int(seconds / (1.5 * clock.once(lambda: update(1))))))
    secs = clock.median(lambda: clock.once(lambda: update(sequences)))
    tokens = sequences * NEW
    if device == "cuda":
        adapter, peak = torch.cuda.get_device_name(), torch.cuda.max_memory_reserved()
    else:
        import resource
        adapter, peak = "CPU", 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "torch": torch.__version__,
        "adapter": {"name": adapter, "backend": "cuda" if device == "cuda" else f"{torch.get_num_threads()} threads"},
        "model": {"name": name, "parameters": parameters, "held": {"float32": "f32", "bfloat16": "bf16"}[
            str(dtype).removeprefix("torch.")]},
        "decode": found,
        "update": dict(sequences=sequences, prompt=PROMPT, response=NEW, rank=RANK, ms=1e3 * secs,
                       tokens_per_sec=tokens / secs),
        "peak_bytes": peak,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("make", nargs="*", metavar="make DIR", help="write a checkpoint and problems instead")
    parser.add_argument("--model", default="smollm2-135m", choices=SHAPES)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="that are decoded together")
    parser.add_argument("--seconds", type=float, default=30, help="for each figure")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.make:
        if len(arguments.make) != 2 or arguments.make[0] != "make":
            parser.error("expected `make DIR` or nothing")
        return make(arguments.model, pathlib.Path(arguments.make[1]))
    found = measure(arguments.model, arguments.dtype, arguments.device, arguments.seconds, arguments.rows)
    if arguments.json:
        return print(json.dumps(found, indent=2))
    rows = "; ".join(f"decode {d['rows']} {d['tokens_per_sec']:.0f} tok/s" for d in found["decode"])
    print(f"torch {found['torch']}; {found['adapter']['name']}; {found['model']['name']} {found['model']['held']}; "
          f"{rows}; update {found['update']['tokens_per_sec']:.0f} tok/s; {found['peak_bytes'] >> 20} MiB")


if __name__ == "__main__":
    main()
