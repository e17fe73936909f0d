#!/usr/bin/env python3
"""Golden files of GGUF, by llama.cpp's own Python package.

Writes gguf/blocks.json: numbers, as the hexadecimal digits of their float32 bytes, and what `gguf.quants`
makes of them as F16, BF16 and Q8_0; and gguf/written.gguf, a small file with a key of every type that srft
writes and tensors of every type, which `crates/formats` must write byte for byte (its test has the same
keys and numbers).

    python tests/golden/make_gguf.py
"""

import json
import pathlib

import gguf
import numpy as np

from common import header

FOLDER = pathlib.Path(__file__).parent / "gguf"
TYPES = {name: getattr(gguf.GGMLQuantizationType, name) for name in ("F16", "BF16", "Q8_0")}


def numbers():
    """Blocks of 32: of many sizes, with ties, zeros, and the smallest and largest that fit."""
    draw = np.random.default_rng(0)
    blocks = [draw.normal(size=32) * 10.0**power for power in (-9, -6, -4, -2, 0, 2, 4)]
    blocks.append(np.zeros(32))
    ties = np.arange(32) - 15.5  # with a largest of 127 the scale is 1, and each lies half way
    ties[0] = -127
    blocks.append(ties)
    halves = np.ldexp(1 + np.arange(32) / 2**12, 3)  # between two numbers of F16, some in the middle
    blocks.append(halves)
    blocks.append(np.ldexp(1.0, np.arange(-32, 0)))  # subnormal in F16, then too small for it
    blocks.append(np.where(np.arange(32) % 2, 65504.0, -65504.0))
    return np.stack(blocks).astype(np.float32)


def blocks():
    values = numbers()
    stored = {name: gguf.quants.quantize(values, kind).tobytes().hex() for name, kind in TYPES.items()}
    return {**header("make_gguf.py", "gguf"), "values": values.tobytes().hex(), **stored}


def write(path):
    """The same keys in the same order, and the same tensors, as the test of `write.rs`."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint64("srft.length", 0)  # filled in below, when it is known
    writer.add_name("naïve")
    writer.add_uint32("llama.block_count", 2)
    writer.add_float32("llama.rope.freq_base", 10000.5)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_array("tokenizer.ggml.tokens", ["a", "▁b", "<|end|>"])
    writer.add_key_value("tokenizer.ggml.token_type", [1, 4, -3], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.INT32)
    writer.add_array("tokenizer.ggml.scores", [0.0, -1.5, 2.25])
    values = numbers()
    for name, rows, kind in [("norm", None, "F32"), ("f32", 2, "F32"), ("f16", 3, "F16"), ("bf16", 1, "BF16"), ("q8", 4, "Q8_0")]:
        data = values[4] if rows is None else values[4 : 4 + rows]
        kind = getattr(gguf.GGMLQuantizationType, kind)
        writer.add_tensor(name + ".weight", gguf.quants.quantize(data, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "blocks.json").write_text(json.dumps(blocks(), indent=1) + "\n")
    path = FOLDER / "written.gguf"
    write(path)
    data = path.read_bytes()
    at = data.index(b"srft.length") + len("srft.length") + 4
    path.write_bytes(data[:at] + len(data).to_bytes(8, "little") + data[at + 8 :])


if __name__ == "__main__":
    main()
