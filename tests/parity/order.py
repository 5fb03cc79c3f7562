# SPDX-License-Identifier: Apache-2.0
"""The vectors of docs/stream-order.md, computed from its text alone.

    python3 order.py [--check docs/stream-order.md]

Needs xxhash from PyPI. Without it: "skipped", exit 77. With --check every
line of the form `name = value` that this prints must stand in the page.
"""
import struct
import sys

try:
    import xxhash
except ImportError:
    print("skipped: no xxhash")
    sys.exit(77)

M64, M32 = (1 << 64) - 1, (1 << 32) - 1


def crc32c(data):
    crc = M32
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ M32


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 >> 32 ^ c[1] ^ k[0], p1 & M32, p0 >> 32 ^ c[3] ^ k[1], p0 & M32]
        k = [k[0] + 0x9E3779B9 & M32, k[1] + 0xBB67AE85 & M32]
    return c


class Draws:
    def __init__(self, key, view, op):
        self.key, self.view, self.op, self.i = (key & M32, key >> 32), view, op, 0

    def u32(self):
        word = philox((self.i // 4, self.view, self.op, 0), self.key)[self.i % 4]
        self.i += 1
        return word

    def below(self, n):
        return self.u32() * n >> 32


def order_key(seed, epoch, split):
    return xxhash.xxh3_64_intdigest(struct.pack("<QQ", seed, epoch) + split.encode())


def order(n, seed, epoch, split):
    key = order_key(seed, epoch, split)
    if n <= 4096:
        table, d = list(range(n)), Draws(key, 0, crc32c(b"order"))
        for i in range(n - 1, 0, -1):
            j = d.below(i + 1)
            table[i], table[j] = table[j], table[i]
        return table.__getitem__
    half = 1
    while 4**half < n:
        half += 1
    mask = (1 << half) - 1

    def at(p):
        while True:
            left, right = p >> half, p & mask
            for i in range(8):
                f = xxhash.xxh3_64_intdigest(struct.pack("<IQ", i, right), key)
                left, right = right, left ^ (f & mask)
            p = left << half | right
            if p < n:
                return p

    return at


def vectors():
    small, large = order(10, 42, 0, "train"), order(1000000, 42, 1, "train")
    uid = bytes(range(16))
    key = xxhash.xxh3_64_intdigest(struct.pack("<QQ", 42, 1) + uid + struct.pack("<Q", 0))
    op = crc32c(b"flip#0")
    yield "order_key(42, 0, train)", f"{order_key(42, 0, 'train'):016x}"
    union = "+".join("fold%d" % i for i in range(64))
    yield "order_key(42, 0, fold0+fold1+..+fold63)", f"{order_key(42, 0, union):016x}"
    yield "order(10, 42, 0, train)", " ".join(str(small(i)) for i in range(10))
    yield "order(1000000, 42, 1, train)", " ".join(str(large(i)) for i in range(10))
    yield "draw_key(42, 1, 000102..0f, 0)", f"{key:016x}"
    yield "op(flip#0)", f"{op:08x}"
    d = Draws(key, 2, op)
    yield "words(view 2)", " ".join(f"{d.u32():08x}" for _ in range(6))


def main():
    lines = [f"{name} = {value}" for name, value in vectors()]
    print("\n".join(lines))
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        page = open(sys.argv[2], encoding="utf-8").read()
        missing = [line for line in lines if line not in page]
        for line in missing:
            print("not in the page:", line)
        sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
