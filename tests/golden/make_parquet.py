#!/usr/bin/env python3
"""Golden Parquet files: what pyarrow writes of a few rows, in each compression, encoding and page format.

Writes parquet/:

    rows.jsonl      the rows, as JSON
    NAME.parquet    the same rows, several row groups each; NAME says how they are written
    types.parquet   columns whose values JSON has not, and types.jsonl, what becomes of them
    empty.parquet   no rows
    image.parquet   bytes that are no text, in the second row
    bomb-NAME       a kilobyte or two that stand for 300 MB: in one row, and in millions

The files have no header of their own. They were written by pyarrow 26.0.1.

    python tests/golden/make_parquet.py
"""

import datetime
import decimal
import json
import pathlib
import shutil

import pyarrow as pa
import pyarrow.parquet as pq

OUT = pathlib.Path(__file__).parent / "parquet"


def rows():
    for n in range(7):
        tools = [{"name": "add", "arguments": [n, 1]}, {"name": "none", "arguments": []}][: n % 3]
        yield {
            "prompt": [{"role": "system", "content": "Añade 算"}, {"role": "user", "content": f"{n}+1=" * (n + 1)}],
            "answer": str(n + 1),
            "reward_model": {"ground_truth": str(n + 1), "style": "rule", "steps": [[n], [], [n, 1]]},
            "tools_used": tools if n != 4 else None,
            "level": n if n % 2 else None,
            "share": n / 7,
            "done": n > 3,
            "kind": "even" if n % 2 == 0 else "odd",
        }


STRING = pa.string()
CALL = pa.struct([("name", STRING), ("arguments", pa.list_(pa.int64()))])
SCHEMA = pa.schema([
    ("prompt", pa.list_(pa.struct([("role", STRING), ("content", STRING)]))),
    ("answer", pa.large_string()),
    ("reward_model", pa.struct([("ground_truth", STRING), ("style", STRING), ("steps", pa.list_(pa.list_(pa.int32())))])),
    ("tools_used", pa.large_list(CALL)),
    ("level", pa.int16()),
    ("share", pa.float64()),
    ("done", pa.bool_()),
    ("kind", pa.dictionary(pa.int32(), STRING)),
])


def jsonl(name, rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (OUT / name).write_text(text)


def types():
    moment = datetime.datetime(2024, 7, 26, 12, 30, 15, 250000, datetime.timezone.utc)
    table = pa.table({
        "prompt": pa.array(["a"]),
        "u8": pa.array([255], pa.uint8()),
        "u64": pa.array([2**64 - 1], pa.uint64()),
        "i64": pa.array([-(2**63)], pa.int64()),
        "f16": pa.array([0.5], pa.float16()),
        "f32": pa.array([0.1], pa.float32()),
        "nan": pa.array([float("nan")], pa.float64()),
        "decimal": pa.array([decimal.Decimal("-12.345")], pa.decimal128(9, 3)),
        "date": pa.array([moment.date()], pa.date32()),
        "ms": pa.array([moment], pa.timestamp("ms", tz="UTC")),
        "us": pa.array([moment], pa.timestamp("us")),
        "ns": pa.array([moment], pa.timestamp("ns")),
        "map": pa.array([[("x", 1), ("y", None)]], pa.map_(STRING, pa.int64())),
        "view": pa.array(["seen"], pa.string_view()),
        "binary": pa.array([b"plain"], pa.binary()),
        "null": pa.nulls(1),
    })
    pq.write_table(table, OUT / "types.parquet")
    jsonl("types.jsonl", [{
        "prompt": "a", "u8": 255, "u64": 2**64 - 1, "i64": -(2**63), "f16": 0.5, "f32": 0.1, "nan": None,
        "decimal": "-12.345", "date": "2024-07-26", "ms": "2024-07-26 12:30:15.250 +00:00",
        "us": "2024-07-26 12:30:15.250000 +00:00", "ns": "2024-07-26 12:30:15.250000 +00:00",
        "map": {"x": 1, "y": None}, "view": "seen", "binary": "plain", "null": None,
    }])


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    jsonl("rows.jsonl", rows())
    table = pa.Table.from_pylist(list(rows()), SCHEMA)
    # The Arrow schema, which only Arrow reads, is half of such a small file.
    common = {"row_group_size": 3, "store_schema": False, "write_statistics": False}
    for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]:
        pq.write_table(table, OUT / f"{codec}.parquet", compression=codec, **common)
    pq.write_table(table, OUT / "pages-2.parquet", compression="zstd", data_page_version="2.0", data_page_size=64, **common)
    pq.write_table(table, OUT / "plain.parquet", use_dictionary=False, **common)
    pq.write_table(table, OUT / "delta.parquet", use_dictionary=False, **common,
                   column_encoding={"answer": "DELTA_BYTE_ARRAY", "level": "DELTA_BINARY_PACKED",
                                    "share": "BYTE_STREAM_SPLIT", "kind": "DELTA_LENGTH_BYTE_ARRAY"})
    pq.write_table(table.slice(0, 0), OUT / "empty.parquet", **common)
    types()
    pq.write_table(pa.table({"prompt": ["a", "b"], "image": [b"a", b"\xff\xd8"]}), OUT / "image.parquet", **common)
    row = pa.table({"prompt": [" " * (300 << 20)]})
    pq.write_table(row, OUT / "bomb-row.parquet", compression="brotli", use_dictionary=False, **common)
    millions = pa.table({"prompt": pa.array(["a"] * 3_000_000)})
    pq.write_table(millions, OUT / "bomb-rows.parquet", store_schema=False, write_statistics=False,
                   data_page_size=1 << 30, max_rows_per_page=1 << 30)


main()
