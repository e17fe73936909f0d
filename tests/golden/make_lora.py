#!/usr/bin/env python3
"""Golden files of LoRA: adapters on qwen2/ and gemma3/, as PEFT runs, trains, merges and saves them.

Writes lora/: full/ (every projection, r 4, alpha 8) and rslora/ (three of them, r 2, alpha 3,
use_rslora) by PEFT's `save_pretrained`; refused/NAME/adapter_config.json, each of an adapter that is
more than W + scaling B A; golden.safetensors and golden.json, of full/ unless the name says otherwise.
lora-gemma3/ has full/ and the two golden files, over gemma3/.
Batch, loss and AdamW are those of make_models.py; only A and B are trained and clipped, and both are
matrices, so both decay. Names are those of PEFT's files, behind `grad.` and `final.`.
PEFT's logits are held against numpy float64 on merged weights (W + scaling B A, scaling = alpha / r,
or alpha / sqrt(r) with use_rslora), its gradients and ten steps against torch float64. Another
scaling, or any module's adapter left out, must change the logits by far more.

    python tests/golden/make_lora.py
"""

import json
import os
import pathlib
import shutil
import warnings

import numpy as np
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file

from common import header
from make_models import batch, eager, furthest, nll, nll_f64, off_f64, statistics, train, training_record, write

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "lora"
BASE, SEED = "qwen2", 1500  # relative: PEFT writes it into adapter_config.json
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PLAIN = dict(r=4, lora_alpha=8, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", target_modules=ALL)
RSLORA = PLAIN | dict(r=2, lora_alpha=3, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"])
REFUSED = {
    "modules_to_save": dict(modules_to_save=["embed_tokens"]),
    "bias": dict(bias="lora_only"),
    "use_dora": dict(use_dora=True),
    "rank_pattern": dict(rank_pattern={"q_proj": 2}),
    "layers_to_transform": dict(layers_to_transform=[1]),
}


def adapted(base, settings, seed):
    """A model with an adapter as if trained: B is not 0."""
    model = get_peft_model(eager(base), LoraConfig(**settings)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                std = 0.3 if "lora_A" in name else 0.1
                parameter.copy_(std * torch.randn(parameter.shape, generator=generator))
    return model


def save(model, folder):
    model.save_pretrained(folder)
    (folder / "README.md").unlink()  # a model card to fill in
    config_path = folder / "adapter_config.json"
    config = json.loads(config_path.read_text())
    config["target_modules"].sort()  # a set: in another order every time
    config_path.write_text(json.dumps(config, indent=2) + "\n")
    return load_file(folder / "adapter_model.safetensors"), config


def scaling(config):
    return config["lora_alpha"] / (np.sqrt(config["r"]) if config["use_rslora"] else config["r"])


def merge(weights, adapter, scale):
    """W + scale B A where there is an adapter, in the number type of `weights`."""
    merged = dict(weights)
    for name, a in adapter.items():
        if ".lora_A." in name:
            target = name.removeprefix("base_model.model.").replace(".lora_A.", ".")
            merged[target] = weights[target] + scale * (adapter[name.replace(".lora_A.", ".lora_B.")] @ a)
    return merged


def make(folder, base_name, seed, adapters):
    """An adapter's folder for each of `adapters`, `full` first, and the golden files beside."""
    shutil.rmtree(folder, ignore_errors=True)
    base = load_file(HERE / base_name / "model.safetensors")
    weights = {k: v.double().numpy() for k, v in base.items()}
    config = json.loads((HERE / base_name / "config.json").read_text())
    ids, mask = batch(config["vocab_size"], seed + 1)
    pair = mask[:, 1:]
    run = lambda model: model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
    noise, tensors, golden = {}, {}, {"base": base_name}

    for name, settings in adapters.items():
        model = adapted(base_name, settings, seed)
        adapter, written = save(model, folder / name)
        exact = {k: v.double().numpy() for k, v in adapter.items()}
        again = PeftModel.from_pretrained(eager(base_name), folder / name).eval()
        with torch.no_grad():
            logits, reread = run(model), run(again)
            merged = again.merge_and_unload()
            apart = float((run(merged) - logits)[mask].abs().max())
        assert torch.equal(logits, reread) and apart < 1e-4, (name, apart)
        noise[f"{name}.logits"] = off_f64(logits, merge(weights, exact, scaling(written)), config, ids)
        noise[f"{name}.merged_logits"] = apart
        other = written | {"use_rslora": not written["use_rslora"]}
        mutants = {"scaling": off_f64(logits, merge(weights, exact, scaling(other)), config, ids)}
        for module in settings["target_modules"]:
            left = {k: v for k, v in exact.items() if f".{module}." not in k}
            mutants[module] = off_f64(logits, merge(weights, left, scaling(written)), config, ids)
        assert noise[f"{name}.logits"] < 1e-4 and min(mutants.values()) > 0.01, (name, noise, mutants)
        golden[name] = {"r": written["r"], "lora_alpha": written["lora_alpha"], "use_rslora": written["use_rslora"],
                        "scaling": float(scaling(written)), "target_modules": written["target_modules"]}
        print(f"{name}: {sum(v.numel() for v in adapter.values())} parameters in {len(adapter)} tensors\n"
              f"  mutants: {mutants}")
        if name == "rslora":
            tensors["rslora.logits"] = statistics(logits, ids, mask)[0]["logits"]
            continue
        full, full_adapter = model, adapter
        theirs = {k: p.detach() for k, p in merged.named_parameters() if not torch.equal(p, base[k])}
        assert len(theirs) == len(adapter) / 2
        tensors |= {f"merged.{k}": v for k, v in theirs.items()}

    logits = run(full)
    loss = nll(logits, ids, pair)
    loss.backward()
    trained = {n.replace(".default.", "."): p for n, p in full.named_parameters() if p.requires_grad}
    assert trained.keys() == full_adapter.keys()
    statistic_tensors, golden["loss"] = statistics(logits, ids, mask)
    gradients = {f"grad.{n}": p.grad.clone() for n, p in trained.items()}
    losses, norms, final_loss = train(list(trained.values()), lambda: nll(run(full), ids, pair))
    final = {f"final.{n}": p.detach().clone() for n, p in trained.items()}

    base64 = {k: v.double() for k, v in base.items()}
    exact = {k: v.double().requires_grad_() for k, v in full_adapter.items()}
    loss_exact = lambda: nll_f64(merge(base64, exact, PLAIN["lora_alpha"] / PLAIN["r"]), config, ids)
    exact_gradients = dict(zip(exact, torch.autograd.grad(loss_exact(), exact.values())))
    losses64, norms64, final_loss64 = train(list(exact.values()), loss_exact)
    noise |= {
        "loss": abs(float(loss.detach()) - losses64[0]),
        "gradients": max(float((gradients[f"grad.{k}"] - g).abs().max()) for k, g in exact_gradients.items()),
        "loss_before_step": furthest(losses + [final_loss], losses64 + [final_loss64]),
        "grad_norm": furthest(norms, norms64),
        "final_parameters": max(float((final[f"final.{k}"] - p.detach()).abs().max()) for k, p in exact.items()),
    }
    gradient = torch.cat([g.flatten() for g in exact_gradients.values()]).abs()
    assert noise["gradients"] < 1e-4 and noise["loss_before_step"] < 1e-4 and noise["final_parameters"] < 5e-5, noise
    assert gradient.min() > 1e-6, gradient.min()

    golden |= {"loss_f32": float(loss.detach()), "valid_pairs": int(pair.sum()),
               "training": training_record(losses, norms, final_loss), "float32_noise": noise}
    write(folder, {**statistic_tensors, **tensors, **gradients, **final}, golden, header("make_lora.py", "peft"))
    print(f"full: loss {losses[0]:.4f} -> {final_loss:.4f} in ten steps, grad norm {norms[0]:.2f}, gradients "
          f"{gradient.min():.1e}..{gradient.max():.2f}\n  float32 noise: {noise}")
    return {k: v.shape for k, v in full_adapter.items()}


def make_refused(plain):
    """Settings of adapters with other tensors than `plain`."""
    for name, change in REFUSED.items():
        refused = LoraConfig(**PLAIN | change)
        with warnings.catch_warnings():  # of the untied head, which is the point
            warnings.simplefilter("ignore")
            more = {k: v.shape for k, v in get_peft_model_state_dict(get_peft_model(eager(BASE), refused)).items()}
        assert more != plain, f"{name} adds nothing to the plain adapter"
        refused.base_model_name_or_path, refused.inference_mode = BASE, True
        refused.target_modules = sorted(refused.target_modules)
        refused.save_pretrained(FOLDER / "refused" / name)


if __name__ == "__main__":
    os.chdir(HERE)
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    print(json.dumps(header("make_lora.py", "peft")["libraries"]))
    make_refused(make(FOLDER, BASE, SEED, {"full": PLAIN, "rslora": RSLORA}))
    make(HERE / "lora-gemma3", "gemma3", 100, {"full": PLAIN})
