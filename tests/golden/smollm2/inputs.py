"""What the generator of golden.json and the tests that read it both compute: numbers that would be too many to store.

Of numpy alone; every number follows from a name and an index.
"""

import zlib

import numpy as np

RANK, ALPHA = 4, 8
HIDDEN, KEYS, INNER, LAYERS = 576, 192, 1536, 30
MATRICES = {  # Out, In
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KEYS, HIDDEN),
    "self_attn.v_proj": (KEYS, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}


def spread(name, count):
    """So many float32 numbers in [-1, 1): splitmix64 of the name's CRC-32 and the index."""
    x = (np.uint64(zlib.crc32(name.encode())) << np.uint64(32)) + np.arange(count, dtype=np.uint64)
    x *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in [(30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)]:
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return ((x >> np.uint64(40)).astype(np.float64) / 2**23 - 1).astype(np.float32)


def adapter():
    """Adapters over every matrix, by PEFT's names: A within ±1/√In, as fresh ones have, and B within ±0.01, not 0."""
    tensors = {}
    for layer in range(LAYERS):
        for matrix, (rows, columns) in MATRICES.items():
            name = f"base_model.model.model.layers.{layer}.{matrix}"
            for part, shape, most in [("A", (RANK, columns), columns**-0.5), ("B", (rows, RANK), 0.01)]:
                key = f"{name}.lora_{part}.weight"
                tensors[key] = np.float32(most) * spread(key, shape[0] * shape[1]).reshape(shape)
    return tensors


def digest(name, values):
    """Two numbers of a vector [N] that hardly any other has: its norm, and its product with a direction of its own,
    over √N: never larger than the norm."""
    values = np.asarray(values, dtype=np.float64).ravel()
    return [float(np.linalg.norm(values)), float(values @ spread(name, len(values))) / len(values) ** 0.5]


def projections(logits):
    """Four numbers of logits [V]: their mean product with fixed directions, as large as √V of them make it."""
    logits = np.asarray(logits, dtype=np.float64)
    return [float(logits @ spread(f"logits {i}", len(logits))) / len(logits) ** 0.5 for i in range(4)]
