# SPDX-License-Identifier: Apache-2.0
"""The table of golden datasets, and the formula of their values."""
import struct

FORMS = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i",
         "u64": "Q", "i64": "q", "f16": "e", "bf16": "H", "f32": "f",
         "f64": "d"}
# Bits of the whole, of the significand; how many quarters stay exact.
FLOATS = {"f16": (16, 10, 127), "bf16": (16, 7, 127),
          "f32": (32, 23, 1000000), "f64": (64, 52, 1 << 40)}
M64 = (1 << 64) - 1


class Field:
    def __init__(self, words):
        self.name, self.encoding, self.dtype, self.pattern = words[:4]
        self.axes = words[4].strip("-")
        self.shape = [int(n) for n in words[5].split("x")] if self.axes else []
        self.scaled = len(words) > 6
        self.slope = float(words[7]) if self.scaled else 1.0
        self.inter = float(words[9]) if self.scaled else 0.0
        self.count = 1
        for n in self.shape:
            self.count *= n


class Step:
    def __init__(self, words):
        self.key, self.group, self.class_name = (w if w != "-" else ""
                                                 for w in words)
        self.fields = []

    def labelled(self, class_name, group):
        other = Step((self.key, group, class_name))
        other.fields = self.fields
        return other


class State:
    def __init__(self, live, withdrawn, shards):
        self.live, self.withdrawn, self.shards = live, withdrawn, shards
        self.gone = False


def read_table(path):
    """[(dataset, [State of each generation])]"""
    out, live, gone, shards = [], {}, set(), 0
    with open(path, encoding="utf-8") as f:
        lines = [line.split() for line in f]
    for words in lines:
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "dataset":
            out.append((words[1], []))
            live, gone, shards = {}, set(), 0
        elif words[0] == "shard":
            shards += 1
        elif words[0] == "sample":
            step = Step(words[1:])
            live[step.key] = step
        elif words[0] == "field":
            step.fields.append(Field(words[1:]))
        else:
            if words[0] == "withdraw":
                del live[words[1]]
                gone.add(words[1])
            elif words[0] == "relabel":
                live[words[1]] = live[words[1]].labelled(*words[2:])
                shards += 1
            elif words[0] == "compact":
                shards = int(words[1])
                for state in out[-1][1]:
                    state.gone = True
            elif words[0] == "rollback":
                was = out[-1][1][int(words[1]) - 1]
                live, gone = dict(was.live), set(was.withdrawn)
            else:
                assert words[0] == "commit", words
            out[-1][1].append(State(dict(live), set(gone), shards))
    return out


def mix(seed, n):
    z = seed + (n + 1) * 0x9E3779B97F4A7C15 & M64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & M64
    return z ^ z >> 31


def quarters(dtype, n):
    """The bits of n / 4, by Python's own floats."""
    if dtype == "bf16":
        return struct.unpack("<I", struct.pack("<f", n / 4))[0] >> 16
    form = {"f16": "eH", "f32": "fI", "f64": "dQ"}[dtype]
    return struct.unpack("<" + form[1], struct.pack("<" + form[0], n / 4))[0]


def float_bits(dtype, pattern, i, seed):
    bits, fraction, bound = FLOATS[dtype]
    sign = 1 << bits - 1
    infinite = sign - (1 << fraction)
    special = [infinite | 1 << fraction - 1, infinite, infinite | sign, sign,
               0, infinite - 1, infinite - 1 | sign, 1, quarters(dtype, 6)]
    if pattern == "ramp":
        return quarters(dtype, i % 200 - 100)
    if pattern == "random":
        return quarters(dtype, mix(seed, i) % (2 * bound + 1) - bound)
    return {"constant": quarters(dtype, 21), "nan": special[0],
            "special": special[i % 9], "zero": 0}[pattern]


def in_plain_block(shape, i):
    blocks = 0
    for n in reversed(shape):
        blocks += i % n // 32
        i //= n
    return blocks % 2 == 0


def integer(field, i, seed):
    if field.pattern == "random":
        return mix(seed, i)
    if field.pattern == "sparse":
        m = mix(seed, i)
        return (m >> 8) % 5 + 1 if m % 16 == 0 else 0
    if field.pattern == "palette":
        return (0, 17, 4000, 65535, 300)[mix(seed, i) % 5]
    if field.pattern == "steps":
        return i // 700
    if field.pattern == "smooth":
        return 1000 + i // 7 % 50 + mix(seed, i) % 4
    if field.pattern == "patchy" and in_plain_block(field.shape, i):
        return 7
    return {"constant": 22, "zero": 0}.get(field.pattern, 3 * i + 1)


def values(step, field):
    """The bytes of an array."""
    seed = 0
    for byte in (step.key + "/" + field.name).encode():
        seed = seed * 31 + byte & M64
    if field.dtype in FLOATS:
        size, bits = FLOATS[field.dtype][0] // 8, [
            float_bits(field.dtype, field.pattern, i, seed)
            for i in range(field.count)]
    else:
        size = struct.calcsize("<" + FORMS[field.dtype])
        bits = [integer(field, i, seed) & (1 << 8 * size) - 1
                for i in range(field.count)]
    return struct.pack("<%d%s" % (field.count, " BH I   Q"[size]), *bits)


def whole_numbers(field, data):
    """Elements as Python's numbers."""
    out = struct.unpack("<%d%s" % (field.count, FORMS[field.dtype]), data)
    if field.dtype == "bf16":
        return [struct.unpack("<f", struct.pack("<I", x << 16))[0]
                for x in out]
    return list(out)
