#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds of salvage_fuzz: bodies of small shards, from the page
docs/shard-format.md alone.

    make_shards.py CORPUS_FOLDER      (tests/fuzz/corpus)

Needs nothing but Python; deterministic. The first byte of a seed tells the
target to make the checksums right (1) or to leave them (0).
"""
import pathlib
import struct
import sys

SCHEMA, CHUNK, JPEG, BYTES, META = 1, 2, 3, 4, 5
TAG = bytes(16)


def crc32c(*parts):
    crc = 0xFFFFFFFF
    for part in parts:
        for byte in part:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


class Shard:
    """Head and frames, one after the other."""

    def __init__(self, tag=TAG):
        head = struct.pack("<8sHHII16s24x", b"\x89MRS\r\n\x1a\n", 1, 0, 0, 0, tag)
        self.out = head + struct.pack("<I", crc32c(head))
        self.tag, self.ordinal = tag, 0

    def frame(self, kind, payload, raw_len=None, codec=0, filter_=0, element=1):
        """Append a frame; its chunk row comes back."""
        at = len(self.out)
        raw_len = len(payload) if raw_len is None else raw_len
        head = struct.pack("<4sBBBBIIQ4x", b"MRMF", kind, codec, filter_, element, len(payload),
                           raw_len, self.ordinal)
        crc = crc32c(self.tag, head, payload)
        self.out += head + struct.pack("<I", crc) + payload
        self.out += bytes(-len(self.out) % 64)
        self.ordinal += 1
        return struct.pack("<QIIIBBBB", at, len(payload), raw_len, crc, codec, filter_, kind, 0)

    def schema(self, names=("image",), classes=("disc",)):
        self.frame(SCHEMA, b"".join(field(1, field(1, n) + field(2, 1)) for n in names) +
                   b"".join(field(2, c) for c in classes) + field(3, "{}"))

    def sample(self, row, grids, chunks, moments=(), class_name="disc"):
        fields = b"".join(field(5, field(1, struct.pack("<Bd", 9, 1.0)) +
                                field(2, field(1, "a.tif"))) for _ in grids)
        self.frame(META, field(1, bytes([row]) * 16) + field(2, f"a{row}.tif") + field(3, "d") +
                   field(4, class_name) + fields + field(6, b"".join(grids)) +
                   field(7, b"".join(chunks)) + field(8, b"".join(moments)) + field(9, row))


def grid(encoding, dtype, axes, dims, chunk, first, content):
    """One grid row; field 0."""
    pad = [0] * (8 - len(dims))
    return struct.pack("<HBBB8sBH8I8IQQ", 0, encoding, dtype, len(dims), axes.encode(), 0, 0,
                       *dims, *pad, *chunk, *([0] * (8 - len(chunk))), first, content)


def moment(number):
    return struct.pack("<II", number, 0) + bytes(136)


def constant(value, raw_len):
    return struct.pack("<QIIIBBBB", value, 0, raw_len, 0, 0, 0, CHUNK, 1)


def seeds():
    # XXH3-64 of the fields, as any implementation gives them.
    zeros16, text = 0xD0A66A65C7528968, 0x78AF5F94892F3950
    s = Shard()
    s.schema()
    s.sample(0, [grid(1, 1, "YX", [4, 4], [4, 4], 0, zeros16)], [constant(0, 16)], [moment(0)])
    yield "constant", 1, s.out

    s = Shard()
    s.schema()
    row = s.frame(BYTES, b"abc")
    s.sample(0, [grid(3, 1, "X", [3], [], 0, text)], [row])
    row = s.frame(JPEG, bytes(range(40)))
    s.sample(1, [grid(2, 1, "YXC", [4, 4, 3], [3], 1, 5)], [row], [moment(1)])
    yield "verbatim", 1, s.out
    yield "headless", 0, bytes(64) + s.out[64:]
    yield "schemaless", 1, s.out[:64] + bytes(128) + s.out[192:]

    s = Shard()
    s.schema()
    lz4 = bytes([0x1F, 0, 1, 0, 231, 0x50, 0, 0, 0, 0, 0])  # 256 zeros
    rows = [s.frame(CHUNK, lz4, 256, codec=1, filter_=1, element=2),
            s.frame(CHUNK, bytes(128), 128, element=2), constant(7, 128)]
    s.sample(0, [grid(1, 3, "ZYX", [2, 8, 16], [1, 8, 16], 0, 1)], rows[:2], [moment(0)])
    s.sample(1, [grid(1, 3, "YX", [16, 8], [8, 8], 2, 2)], rows[1:], [moment(1)])
    yield "chunks", 1, s.out
    yield "cut", 1, s.out[:-70]
    yield "frames_everywhere", 0, (b"MRMF" + bytes(4) + struct.pack("<I", 300) + bytes(52)) * 40


def main():
    folder = pathlib.Path(sys.argv[1]) / "salvage_fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    for name, mend, data in seeds():
        (folder / name).write_bytes(bytes([mend]) + data)


main()
