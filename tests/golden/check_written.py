#!/usr/bin/env python3
"""Whether transformers and PEFT read what srft wrote, and read the same model in it.

    python tests/golden/check_written.py BEFORE AFTER             # nothing was trained: the same logits
    python tests/golden/check_written.py BEFORE AFTER --trained   # finite logits that moved
    python tests/golden/check_written.py --adapter BASE ADAPTER MERGED

BEFORE is the folder that srft was given, AFTER the one that it wrote. With --adapter, ADAPTER on
BASE must give the logits of MERGED, the whole model that srft wrote of the same weights.
Prints a table, and ends with status 1 if a row failed. Reads the folders' files only; nothing is
fetched.
"""

import argparse
import json
import pathlib
import sys

import torch
import transformers
from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

SAME = 1e-6
# Two merges differ by the rounding of a sum; where that is rounded to half precision again, an
# element may fall to the other side, and a logit moves by that.
MERGED = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 0.2}
TEXT = "2+2=4"
failed = []


def row(what, good, says):
    failed.extend([] if good else [what])
    print(f"  {'ok  ' if good else 'FAIL'}  {what:34}  {says}")


def few(names):
    names = sorted(map(str, names))
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") if names else "none"


def read_config(folder):
    return json.loads((folder / "config.json").read_text())


def stored(folder):
    """Names to (dtype, shape) of the tensors in a folder's safetensors files, as they stand there."""
    tensors = {}
    for path in sorted(folder.glob("*model*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                part = file.get_slice(name)
                assert name not in tensors, f"{name} stands in two files"
                tensors[name] = (part.get_dtype(), tuple(part.get_shape()))
    return tensors


def load(folder, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager", local_files_only=True)


def logits(model):
    """Of three rows of tokens spread over the vocabulary, as long as the shortest context allows."""
    config = model.config
    length = min(24, config.max_position_embeddings)
    ids = torch.randint(0, config.vocab_size, (3, length), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return model.float().eval()(input_ids=ids, use_cache=False).logits


def apart(a, b):
    return float((a - b).abs().max())


def check_whole(folder):
    """The folder's own consistency: keys, tying, dtypes. Gives the model in float32."""
    config = read_config(folder)
    named = config.get("dtype") or config.get("torch_dtype") or "float32"
    tensors = stored(folder)
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", attn_implementation="eager", local_files_only=True, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        row(kind, not info[kind], few(info[kind]))
    index = folder / "model.safetensors.index.json"
    if index.exists():
        listed = json.loads(index.read_text())["weight_map"]
        row("index lists the tensors", set(listed) == set(tensors), f"{len(listed)} in {len(set(listed.values()))} files")
    tied = config.get("tie_word_embeddings", False)
    shared = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    row("tie_word_embeddings", tied == shared == ("lm_head.weight" not in tensors),
        f"config {tied}, model {shared}, lm_head.weight {'not ' * ('lm_head.weight' not in tensors)}in the file")
    short = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[named]
    other = [name for name, (dtype, _) in tensors.items() if dtype != short]
    row("dtype", not other and model.dtype == getattr(torch, named), f"config {named}; of another type: {few(other)}")
    return model.float()


def check_beside(before, after):
    """What stands beside the weights went along."""
    ours, theirs = read_config(after), read_config(before)
    changed = [k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)]
    row("config", set(changed) <= {"dtype", "torch_dtype", "transformers_version"}, f"changed: {few(changed)}")
    names, given = stored(after), stored(before)
    shapes = {k: v[1] for k, v in names.items()} == {k: v[1] for k, v in given.items()}
    row("names and shapes", shapes, f"{len(names)} tensors; only in one: {few(names.keys() ^ given.keys())}")
    for name in ("generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (before / name).exists():
            kept = (after / name).exists() and (after / name).read_bytes() == (before / name).read_bytes()
            row(name, kept, "the same bytes" if kept else "missing or different")
    if (before / "tokenizer_config.json").exists():
        ids, same = (AutoTokenizer.from_pretrained(f, local_files_only=True).encode(TEXT) for f in (after, before))
        row("AutoTokenizer", ids == same, f"{TEXT!r} -> {ids}")


def check_model(before, after, trained):
    print(f"{after}, written of {before}")
    written = logits(check_whole(after))
    check_beside(before, after)
    distance = apart(written, logits(load(before)))
    if trained:
        row("logits finite, and moved", bool(written.isfinite().all()) and distance > SAME, f"by {distance:.2e}")
    else:
        row("logits", distance <= SAME, f"{distance:.2e} apart, allowed {SAME:.0e}")


def check_adapter(base, adapter, merged):
    print(f"{adapter} on {base}")
    tensors = stored(adapter)
    plain = logits(load(base))
    model = PeftModel.from_pretrained(load(base), adapter)
    config = model.peft_config["default"]
    row("adapter_config.json", config.peft_type == "LORA" and config.task_type == "CAUSAL_LM",
        f"{config.peft_type}, {config.task_type}, r {config.r}, alpha {config.lora_alpha}, rslora {config.use_rslora}")
    expected = {k: tuple(v.shape) for k, v in get_peft_model_state_dict(model).items()}
    found = {k: shape for k, (_, shape) in tensors.items()}
    row("adapter tensors", expected == found, f"{len(found)}; only in one: {few(expected.keys() ^ found.keys())}")
    same = all(torch.equal(v.float(), safe_tensor(adapter, k)) for k, v in get_peft_model_state_dict(model).items())
    row("PEFT holds the file's values", same, "")
    with_adapter = logits(model)
    moved = apart(with_adapter, plain)
    row("adapter's logits finite, not base's", bool(with_adapter.isfinite().all()) and moved > SAME, f"moved by {moved:.2e}")
    print(f"{merged}, merged")
    whole = check_whole(merged)
    dtype = getattr(torch, read_config(merged).get("dtype") or read_config(merged).get("torch_dtype") or "float32")
    # PEFT's merge of the same adapter, rounded to what the file holds.
    distance = apart(logits(whole), logits(model.merge_and_unload().to(dtype)))
    row("merged logits", distance <= MERGED[dtype], f"{distance:.2e} from PEFT's, allowed {MERGED[dtype]:.0e} for {dtype}")


def safe_tensor(folder, name):
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        return file.get_tensor(name).float()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--trained", action="store_true", help="AFTER was trained: its logits must differ")
    parser.add_argument("--adapter", action="store_true", help="the folders are BASE ADAPTER MERGED")
    arguments = parser.parse_args()
    if len(arguments.folders) != 2 + arguments.adapter:
        parser.error("BEFORE AFTER, or --adapter BASE ADAPTER MERGED")
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    if arguments.adapter:
        check_adapter(*arguments.folders)
    else:
        check_model(*arguments.folders, arguments.trained)
    sys.exit(f"failed: {', '.join(failed)}" if failed else None)
