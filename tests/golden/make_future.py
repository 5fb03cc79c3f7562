# SPDX-License-Identifier: Apache-2.0
"""Write future.mr: a dataset as a later millrace of version 1.7 may write it.

    make_future.py OUT

It is written from docs/shard-format.md alone, with everything that a reader
of version 1.0 has to pass over (a table, message fields, features that may be
ignored, reserved bytes) and everything that it has to refuse one by one (a
codec, a filter, a dtype, an encoding), beside values that it must still read.
"""
import hashlib
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "parity"))
from shards import crc32c, xxh3  # noqa: E402

MINOR = 7
TAG = hashlib.sha256(b"golden future").digest()[:16]
CONFIG, WRITER = '{"golden":1}', "millrace of another day"
FIELDS = [("image", 1), ("label", 2), ("spectrum", 9)]
CLASSES = ["ring", "spot"]


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


def unknown():
    """Fields of all wire types with numbers that nobody has given out."""
    return field(900, 1 << 63) + field(901, "of another day") + \
        varint(902 << 3 | 1) + bytes(range(8)) + \
        varint(903 << 3 | 5) + bytes(range(4))


def pad(data, to):
    return data + bytes(-len(data) % to)


def seal(head):
    return head + struct.pack("<I", crc32c(head))


def pages(data):
    return b"".join(struct.pack("<Q", xxh3(data[at:at + 65536]))
                    for at in range(0, len(data), 65536))


class Shard:
    def __init__(self):
        self.body = seal(struct.pack(
            "<8sHHII16s24s", b"\x89MRS\r\n\x1a\n", 1, MINOR, 0, 0xFFFF0000,
            TAG, b"reserved, and not zero!!"))
        self.ordinal = 0
        self.samples = self.grids = self.chunks = b""
        self.moments = self.stats = self.labels = b""
        self.schema = b"".join(
            field(1, field(1, name) + field(2, kind) + unknown())
            for name, kind in FIELDS) + \
            b"".join(field(2, name) for name in CLASSES) + \
            field(3, CONFIG) + field(4, WRITER) + unknown()
        self.frame(1, self.schema)
        self.entries = []

    def frame(self, kind, payload, codec=0, filter=0, element=1, raw_len=None):
        at = len(self.body)
        raw_len = len(payload) if raw_len is None else raw_len
        head = struct.pack("<4sBBBBIIQ4s", b"MRMF", kind, codec, filter,
                           element, len(payload), raw_len, self.ordinal,
                           b"rsvd")
        crc = crc32c(TAG, head, payload)
        self.body = pad(self.body + head + struct.pack("<I", crc) + payload, 64)
        self.ordinal += 1
        return struct.pack("<QIIIBBBB", at, len(payload), raw_len, crc, codec,
                           filter, kind, 0)

    def add(self, key, cls, fields, flags=0):
        """Fields: (name, encoding, dtype, axes, dims, chunk, [chunks])."""
        first_grid, rows = len(self.grids) // 96, [b"", b"", b"", b"", b""]
        told = b""
        for f, (name, encoding, dtype, axes, dims, chunk, parts) in \
                enumerate(fields):
            known = encoding == 1 and dtype == 1 and flags == 0
            values = b"".join(raw for raw, *_ in parts)
            first_chunk = (len(self.chunks) + len(rows[1])) // 24
            numbers = list(dims) + [0] * (8 - len(dims)) + \
                list(chunk) + [0] * (8 - len(chunk))
            rows[0] += struct.pack(
                "<HBBB8sBH16IQQ", name, encoding, dtype, len(axes),
                axes.encode(), flags or (2 if name == 1 and known else 0), 0,
                *numbers,
                first_chunk, xxh3(values))
            told += struct.pack("<HQ", name, xxh3(values))
            for raw, stored, codec, filter in parts:
                row = self.frame(2 if encoding == 1 else 4, stored, codec,
                                 filter, 1, len(raw))
                if raw != stored and codec == filter == 0:
                    row = row[:-1] + b"\x40"  # a flag
                rows[1] += row
                rows[3], rows[4] = self.count(rows, name, known, raw)
            if known:
                rows[2] += self.sums(first_grid + f, values)
        meta = field(1, uid_of(key)) + field(2, key) + \
            field(4, CLASSES[cls]) + field(6, rows[0]) + field(7, rows[1]) + \
            field(8, rows[2]) + field(9, len(self.samples) // 64) + \
            field(10, rows[3]) + field(11, rows[4]) + unknown()
        for _ in fields:
            meta += field(5, field(1, unknown()) + unknown())
        place = self.frame(5, meta)
        told += CLASSES[cls].encode()
        self.entries.append((uid_of(key), len(self.samples) // 64, xxh3(told)))
        self.samples += struct.pack(
            "<16sQIIHHIQQQ", uid_of(key), struct.unpack_from("<Q", place)[0],
            len(meta), first_grid, len(fields), 0, cls, 0, xxh3(told),
            xxh3(key.encode()))
        self.grids += rows[0]
        self.chunks += rows[1]
        self.moments += rows[2]
        self.stats += rows[3]
        self.labels += rows[4]

    def count(self, rows, name, known, raw):
        """Statistics of one more chunk, and its labels."""
        first = (len(self.labels) + len(rows[4])) // 16
        if not known:
            return rows[3] + struct.pack("<QQQIIII", 0, 0, first, 0, 0, 0,
                                         0), rows[4]
        seen = sorted(set(raw)) if name == 1 else []
        return rows[3] + struct.pack(
            "<QQQIIII", min(raw), max(raw), first, sum(x != 0 for x in raw), 0,
            len(seen), 0), rows[4] + b"".join(
                struct.pack("<QQ", x, raw.count(x)) for x in seen)

    @staticmethod
    def sums(grid, values):
        def part(numbers):
            if not numbers:
                return bytes(40)
            return struct.pack("<Q4d", len(numbers), min(numbers),
                               max(numbers), sum(numbers),
                               sum(x * x for x in numbers))
        return struct.pack("<IIQ", grid, 0, 0) + part(list(values)) + \
            part([x for x in values if x]) + bytes(40) + b"reserved"

    def finish(self):
        tables = [(1, 64, self.samples), (2, 96, self.grids),
                  (3, 24, self.chunks), (4, 144, self.moments),
                  (5, 1, self.schema), (6, 40, self.stats),
                  (7, 16, self.labels), (99, 17, bytes(range(51)))]
        toc, rest, at = b"", b"", -(-24 * len(tables) // 64) * 64
        for id, row, data in tables:
            toc += struct.pack("<IIQQ", id, row, at, len(data) // row)
            rest += pad(data, 64)
            at += len(pad(data, 64))
        foot = pad(toc, 64) + rest
        hashes = pages(foot)
        self.foot_hash, whole = xxh3(toc + hashes), foot + hashes
        self.id = hashlib.sha256(whole).digest()[:16]
        tail = seal(struct.pack(
            "<8sQQQIII16s", b"MRSTAIL\n", len(self.body), len(whole),
            self.foot_hash, len(tables), len(hashes) // 8, len(self.entries),
            self.id))
        return pad(self.body + whole, 4096) + tail + \
            bytes(8192 - 2 * len(tail)) + tail


def uid_of(key):
    source = hashlib.sha256(key.encode()).digest()
    return hashlib.sha256(b"millrace-uid-1\0" +
                          struct.pack("<Q", len(key.encode())) + key.encode() +
                          struct.pack("<Q", 1) + source).digest()[:16]


def write(folder, name, data):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def make_index(entries):
    n = len(entries)
    body = pad(struct.pack("<Q", n), 64)
    body = pad(body + b"".join(struct.pack("<16sII", uid, 0, row)
                               for uid, row, _ in entries), 64)
    body = pad(body + struct.pack("<%dI" % n, *range(n)), 64)
    hashes = pages(body)
    head = seal(struct.pack("<8sHHIQQII20s", b"\x89MRI\r\n\x1a\n", 1, MINOR, 1,
                            n, len(body), len(hashes) // 8, 0,
                            b"reserved, not zero!!"))
    return head + body + hashes, \
        hashlib.sha256(head + hashes).digest()[:16]


def make_manifest(shard, size, index, index_hash, entries):
    sum = hashlib.sha256(b"millrace-content-1\0")
    u64 = struct.Struct("<Q").pack
    sum.update(u64(len(CLASSES)))
    for name in CLASSES:
        sum.update(u64(len(name)) + name.encode())
    sum.update(u64(len(entries)))
    for uid, _, content in entries:
        sum.update(uid + u64(content))
    sum.update(u64(1) + u64(5) + b"train" + u64(len(entries)))
    for rank in range(len(entries)):
        sum.update(u64(rank))
    ref = field(1, shard.id) + field(2, size) + varint(3 << 3 | 1) + \
        u64(shard.foot_hash) + field(4, len(entries)) + field(5, 300) + \
        field(6, TAG) + unknown()
    message = field(1, 1) + field(4, shard.schema) + field(5, ref) + \
        field(6, field(1, "train") + field(2, len(entries)) + unknown()) + \
        field(7, "{}") + field(9, len(entries)) + field(12, index_hash) + \
        field(13, len(index)) + field(14, sum.digest()[:16]) + \
        field(15, "flat") + unknown()
    head = struct.pack("<8sHHIQ", b"\x89MRM\r\n\x1a\n", 1, MINOR, 0,
                       len(message))
    return head + struct.pack("<Q", xxh3(head + message)) + message


def main(out):
    def ramp(n):
        return bytes(range(n))
    shard = Shard()
    plain = [(ramp(32), ramp(32), 0, 0)]
    shard.add("plain", 0, [(0, 1, 1, "YX", (4, 8), (4, 8), plain)])
    # The second of two chunks: box [0, 4) can be read, the whole cannot.
    shard.add("codec", 0, [(0, 1, 1, "YX", (8, 8), (4, 8), plain + [
        (ramp(32), b"packed like nothing that is known", 77, 0)])])
    shard.add("filter", 1, [(0, 1, 1, "YX", (8, 8), (4, 8), plain + [
        (ramp(32), ramp(32), 0, 9)])])
    shard.add("dtype", 1, [
        (0, 1, 200, "YX", (4, 8), (4, 8), plain),
        (1, 1, 1, "YX", (4, 8), (4, 8), plain)])
    shard.add("encoding", 1, [
        (0, 9, 1, "YX", (4, 8), (4, 8), plain),
        (2, 1, 1, "X", (32,), (32,), plain)])
    shard.frame(99, b"a frame that belongs to no sample")
    shard.add("chunk.flag", 1, [(0, 1, 1, "YX", (8, 8), (4, 8), plain + [
        (ramp(32), bytes(32), 0, 0)])])
    shard.add("grid.flag", 1, [
        (0, 1, 1, "YX", (4, 8), (4, 8), plain)], flags=0x20)
    data = shard.finish()
    entries = sorted(shard.entries)
    index, index_hash = make_index(entries)
    name = shard.id.hex()
    write(out, "shards/%s/%s.mrs" % (name[:2], name), data)
    write(out, "index.000001.mri", index)
    write(out, "manifest.000001.pb",
          make_manifest(shard, len(data), index, index_hash, entries))


if __name__ == "__main__":
    main(sys.argv[1])
