#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds of features_fuzz: small feature tables without checksums.

    make_features.py CORPUS_FOLDER      (tests/fuzz/corpus)

Needs nothing but Python; deterministic.
"""
import json
import pathlib
import struct
import sys


def table(keys, labels, splits, groups, rows, shift=0):
    """The bytes of a table; `shift` moves columns off their alignment."""
    n, key_bytes = len(keys), "".join(keys).encode()
    ends = [0]
    for key in keys:
        ends.append(ends[-1] + len(key.encode()))
    columns = [
        ("group", "U64", [n], struct.pack(f"<{n}Q", *groups)),
        ("key_offsets", "U64", [n + 1], struct.pack(f"<{n + 1}Q", *ends)),
        ("features", "F32", [n, len(rows[0]) if rows else 3],
         b"".join(struct.pack(f"<{len(r)}f", *r) for r in rows)),
        ("label", "I32", [n], struct.pack(f"<{n}i", *labels)),
        ("uid", "U8", [n, 16], bytes(i % 251 for i in range(16 * n))),
        ("split", "U8", [n], bytes(splits)),
        ("key_bytes", "U8", [len(key_bytes)], key_bytes),
    ]
    meta = {"schema": "millrace.features.1",
            "weights": {"kind": "checkpoint", "hash": "0123456789abcdef", "seed": "7", "step": 4,
                        "branch": "teacher", "arch": "vit_tiny"},
            "dataset": {"content_id": "ab" * 16, "generation": 1}, "split": "all",
            "classes": ["disc", "ring"], "splits": ["train", "test"],
            "groups": {f"{g:016x}": f"donor{g}" for g in sorted(set(groups)) if g},
            "pipeline": "[]"}
    header = {"__metadata__": {"millrace.features": json.dumps(meta)}}
    data = b"\1" * shift
    if shift:
        header["odd"] = {"dtype": "U8", "shape": [shift], "data_offsets": [0, shift]}
    for name, kind, shape, raw in columns:
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def main():
    folder = pathlib.Path(sys.argv[1]) / "features_fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    three = (["a.tif", "b/\u00e9.tif", ""], [0, -1, 1], [0, 255, 1], [5, 0, 9])
    rows = [[1, 2], [-0.5, 0], [3e38, 1e-45]]
    (folder / "three.mrf").write_bytes(table(*three, rows))
    (folder / "unaligned.mrf").write_bytes(table(*three, rows, shift=3))
    (folder / "empty.mrf").write_bytes(table([], [], [], [], []))
    (folder / "nan.mrf").write_bytes(table(*three, [[1, 2], [float("nan"), 0], [3, 4]]))


if __name__ == "__main__":
    main()
