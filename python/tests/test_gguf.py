"""What `srft export` writes, read by llama.cpp itself: PyPI's xllamacpp has it inside.

The numbers are transformers' and PEFT's, stored under tests/golden; the token ids too.
"""

import json
import os
import shutil
import sys

import numpy as np
import pytest
from conftest import ROOT
from llama import LlamaCpp, log_softmax

GOLDEN = ROOT / "tests" / "golden"
sys.path.insert(0, str(GOLDEN))
import numpy_srft  # noqa: E402

TOKENIZER = ROOT / "assets" / "tiny" / "tokenizer.json"  # the models below have none of their own


def tensors(path):
    """The tensors of a safetensors file; there is no more to the format."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    types = {"F64": "<f8", "F32": "<f4", "I64": "<i8"}
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[start:][slice(*entry["data_offsets"])], types[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
    }


def folder(home, name):
    """A model of tests/golden with a tokenizer."""
    path = home / name
    path.mkdir()
    for file in ("config.json", "model.safetensors"):
        shutil.copy(GOLDEN / name / file, path)
    shutil.copy(TOKENIZER, path)
    return path


def by_ggmls_gelu(name, ids):
    """Logits [T, V] in numpy float64, but for GELU: ggml looks its value up by an F16 number, in F16."""
    half = lambda x: x.astype(np.float16).astype(np.float64)
    whole = numpy_srft.activation
    numpy_srft.activation = lambda gate, config: half(whole(half(gate), config))
    try:
        config = json.loads((GOLDEN / name / "config.json").read_text())
        return numpy_srft.llama(tensors(GOLDEN / name / "model.safetensors"), config, ids)
    finally:
        numpy_srft.activation = whole


@pytest.mark.parametrize(
    "name", ["llama-gqa", "llama-tied", "llama3-rope", "llama-linear", "mistral", "qwen2", "qwen3", "gemma3"]
)
def test_llama_cpp_computes_the_same(program, tmp_path, name):
    program("export", "--model", folder(tmp_path, name), "--gguf", "f32", "--out", tmp_path / "m.gguf")
    golden = tensors(GOLDEN / name / "golden.safetensors")
    ids = golden["input_ids"][0]
    expected = log_softmax(golden["logits"][0])
    tolerance = 1e-4  # measured: 1.2e-5 to 2.4e-5
    if name == "gemma3":
        expected = log_softmax(by_ggmls_gelu(name, ids))
        tolerance = 1e-3  # measured: 1.2e-4; against transformers' GELU 3.3e-3
    assert LlamaCpp(tmp_path / "m.gguf").worst(ids, expected) < tolerance


@pytest.mark.parametrize("adapter, logits", [("full", "logits"), ("rslora", "rslora.logits")])
def test_an_adapter_over_its_base_is_the_adapted_model(program, tmp_path, adapter, logits):
    base = folder(tmp_path, "qwen2")
    program("export", "--model", base, "--gguf", "f32", "--out", tmp_path / "base.gguf")
    adapted = ["--model", GOLDEN / "lora" / adapter, "--base", base]
    program("export", *adapted, "--gguf-lora", "--out", tmp_path / "lora.gguf")
    program("export", *adapted, "--gguf", "f32", "--out", tmp_path / "merged.gguf")
    golden = tensors(GOLDEN / "lora" / "golden.safetensors")
    ids, expected = golden["input_ids"][0], log_softmax(golden[logits][0])
    assert LlamaCpp(tmp_path / "base.gguf", tmp_path / "lora.gguf").worst(ids, expected) < 1e-4
    assert LlamaCpp(tmp_path / "merged.gguf").worst(ids, expected) < 1e-4


# As far as llama.cpp rounds, of F16, BF16 and Q8_0 the activations too; measured: 1.6e-6, 5e-4, 3e-3, 1.6e-2.
@pytest.mark.parametrize("kind, tolerance", [("f32", 1e-5), ("f16", 2e-3), ("bf16", 0.02), ("q8_0", 0.06)])
def test_each_type_is_the_built_in_model(program, tmp_path, kind, tolerance):
    row = {"prompt": "59+63=", "response": "9+3=12,5+6+1=12>122"}
    (tmp_path / "data.jsonl").write_text(json.dumps(row) + "\n")
    program("score", "--data", tmp_path / "data.jsonl", "--out", tmp_path / "scores.jsonl", "--device", "cpu")
    scored = json.loads((tmp_path / "scores.jsonl").read_text())
    program("export", "--model", "tiny", "--gguf", kind, "--out", tmp_path / "m.gguf")
    model = LlamaCpp(tmp_path / "m.gguf")
    ids, response = model.tokens(row["prompt"]), scored["tokens"]
    assert model.tokens(row["prompt"] + row["response"]) == ids + response[:-1]
    found = [model.after(ids + response[:t], 23)[token] for t, token in enumerate(response)]
    assert np.abs(np.array(found) - scored["logprobs"]).max() < tolerance


def write_blank(path, rows):
    """A model of zeros with so many rows in its embedding."""
    config = json.loads((GOLDEN / "llama-tied" / "config.json").read_text())
    config["vocab_size"] = rows
    (path / "config.json").write_text(json.dumps(config))
    data = (GOLDEN / "llama-tied" / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    header.pop("__metadata__", None)
    header["model.embed_tokens.weight"]["shape"][0] = rows
    end = 0
    for entry in header.values():
        size = 4 * int(np.prod(entry["shape"]))
        entry["data_offsets"] = [end, end + size]
        end += size
    text = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


@pytest.mark.parametrize("kind", ["smollm2", "qwen3", "llama3"])
def test_llama_cpp_reads_text_as_transformers_does(program, tmp_path, kind):
    for file in (GOLDEN / "text" / kind).iterdir():
        shutil.copy(file, tmp_path)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    ids = [*tokenizer["model"]["vocab"].values(), *(token["id"] for token in tokenizer["added_tokens"])]
    write_blank(tmp_path, max(ids) + 1)
    program("export", "--model", tmp_path, "--gguf", "f32", "--out", tmp_path / "m.gguf")
    model = LlamaCpp(tmp_path / "m.gguf")
    rows = map(json.loads, (GOLDEN / "text" / "expected.jsonl").read_text().splitlines())
    rows = [row for row in rows if row.get("case") == "text" and row["kind"] == kind]
    # llama.cpp composes no characters (NFC), as Qwen's tokenizer does.
    rows = [row for row in rows if kind != "qwen3" or "\u0301" not in row["text"]]
    assert rows
    for row in rows:
        assert model.tokens(row["text"]) == row["ids"], row["text"]


def test_what_is_not_ours_stays(program, tmp_path):
    out, modelfile = tmp_path / "m.gguf", tmp_path / "m.Modelfile"
    export = ["export", "--model", "tiny", "--gguf", "q8_0", "--out", out]
    program(*export)
    whole, text = out.read_bytes(), modelfile.read_text()
    assert "FROM ./m.gguf" in text and 'PARAMETER stop "$"' in text
    program(*export)  # over what it wrote itself
    assert out.read_bytes() == whole
    out.write_bytes(whole + b"0")  # as another program's would be that keeps the metadata
    assert "no GGUF file written by srft" in program(*export, expect=2).stderr
    assert out.read_bytes() == whole + b"0"
    program(*export, "--overwrite")
    assert out.read_bytes() == whole
    modelfile.write_text(text + "# mine\n")
    out.unlink()
    assert "no Modelfile written by srft" in program(*export, expect=2).stderr
    assert not out.exists() and modelfile.read_text() == text + "# mine\n"
    assert "no adapter is here" in program("export", "--gguf-lora", "--out", out, expect=2).stderr
    os.mkfifo(tmp_path / "pipe")
    assert "a pipe" in program("export", "--gguf", "f32", "--out", tmp_path / "pipe", expect=2).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.Modelfile", "pipe"], "nothing is left half"
