# SPDX-License-Identifier: Apache-2.0
"""A reader of shards and datasets, written from docs/shard-format.md alone.

It shares no line and no library with the program: Python's own library is all
that it needs (libzstd, through ctypes, for chunks that are compressed with
it). It is slow and means to be plain: where page and program differ, this is
what tells. All that does not hold raises Damaged; what a later version may
have brought raises Unknown.
"""
import ctypes
import ctypes.util
import hashlib
import os
import struct

MAJOR, MINOR = 1, 0
M64 = (1 << 64) - 1


class Damaged(Exception):
    """Bytes that are not as they were written."""


class Unknown(Exception):
    """Something that this reader does not know: newer, or not to be had."""


def need(holds, what):
    if not holds:
        raise Damaged(what)


def part(data, at, size, what="bytes"):
    need(0 <= at and size >= 0 and at + size <= len(data), what + " end early")
    return data[at:at + size]


# ---- sums -------------------------------------------------------------------

def _crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


CRC = _crc_table()


def crc32c(*parts):
    crc = 0xFFFFFFFF
    for data in parts:
        for byte in data:
            crc = CRC[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")
P32 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
       0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def _u64(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def _u32(data, at):
    return int.from_bytes(data[at:at + 4], "little")


def _fold(a, b):
    product = a * b
    return (product ^ product >> 64) & M64


def _avalanche(h):
    h = (h ^ h >> 37) * 0x165667919E3779F9 & M64
    return h ^ h >> 32


def _avalanche64(h):
    h = (h ^ h >> 33) * P64[1] & M64
    h = (h ^ h >> 29) * P64[2] & M64
    return h ^ h >> 32


def _mix16(data, at, k):
    return _fold(_u64(data, at) ^ _u64(SECRET, k),
                 _u64(data, at + 8) ^ _u64(SECRET, k + 8))


def _xxh3_short(data):
    n = len(data)
    if n == 0:
        return _avalanche64(_u64(SECRET, 56) ^ _u64(SECRET, 64))
    if n <= 3:
        x = data[0] << 16 | data[n >> 1] << 24 | data[n - 1] | n << 8
        return _avalanche64(x ^ _u32(SECRET, 0) ^ _u32(SECRET, 4))
    if n <= 8:
        x = _u32(data, n - 4) + (_u32(data, 0) << 32)
        x ^= _u64(SECRET, 8) ^ _u64(SECRET, 16)
        x ^= (x << 49 | x >> 15) & M64 ^ (x << 24 | x >> 40) & M64
        x = x * 0x9FB21C651E98DF25 & M64
        x = (x ^ (x >> 35) + n) * 0x9FB21C651E98DF25 & M64
        return x ^ x >> 28
    low = _u64(data, 0) ^ _u64(SECRET, 24) ^ _u64(SECRET, 32)
    high = _u64(data, n - 8) ^ _u64(SECRET, 40) ^ _u64(SECRET, 48)
    swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
    return _avalanche(n + swapped + high + _fold(low, high) & M64)


def _xxh3_middle(data):
    n = len(data)
    acc = n * P64[0]
    if n <= 128:
        for i in range((n - 1) // 32 + 1):
            acc += _mix16(data, 16 * i, 32 * i)
            acc += _mix16(data, n - 16 * (i + 1), 32 * i + 16)
        return _avalanche(acc & M64)
    for i in range(8):
        acc += _mix16(data, 16 * i, 16 * i)
    acc = _avalanche(acc & M64)
    for i in range(8, n // 16):
        acc += _mix16(data, 16 * i, 16 * (i - 8) + 3)
    return _avalanche(acc + _mix16(data, n - 16, 136 - 17) & M64)


def _stripe(acc, words, keys):
    for i in range(8):
        keyed = words[i] ^ keys[i]
        acc[i ^ 1] += words[i]
        acc[i] = acc[i] + (keyed & 0xFFFFFFFF) * (keyed >> 32) & M64


def xxh3(data):
    """XXH3-64 with seed 0."""
    n = len(data)
    if n <= 16:
        return _xxh3_short(data)
    if n <= 240:
        return _xxh3_middle(data)
    acc = [P32[2], *P64[:4], P32[1], P64[4], P32[0]]
    keys = [struct.unpack_from("<8Q", SECRET, 8 * i) for i in range(17)]
    for s in range((n - 1) // 64):
        _stripe(acc, struct.unpack_from("<8Q", data, 64 * s), keys[s % 16])
        if s % 16 == 15:
            for i in range(8):
                a = acc[i] & M64
                acc[i] = (a ^ a >> 47 ^ keys[16][i]) * P32[0] & M64
    _stripe(acc, struct.unpack_from("<8Q", data, n - 64),
            struct.unpack_from("<8Q", SECRET, 192 - 64 - 7))
    h = n * P64[0]
    for i in range(0, 8, 2):
        h += _fold(acc[i] & M64 ^ _u64(SECRET, 11 + 8 * i),
                   acc[i + 1] & M64 ^ _u64(SECRET, 19 + 8 * i))
    return _avalanche(h & M64)


# ---- protobuf ---------------------------------------------------------------

def _varint(data, at):
    value = shift = 0
    while True:
        need(at < len(data) and shift < 70, "message ends early")
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value & M64, at


class Message:
    """Fields by number, as they come; unknown ones harm nobody."""

    def __init__(self, data):
        self.fields, at = {}, 0
        while at < len(data):
            tag, at = _varint(data, at)
            if tag & 7 == 0:
                value, at = _varint(data, at)
            else:
                need(tag & 7 in (1, 2, 5), "message has a wrong wire type")
                size = 8 if tag & 7 == 1 else 4
                if tag & 7 == 2:
                    size, at = _varint(data, at)
                value = part(data, at, size, "message")
                at += size
            self.fields.setdefault(tag >> 3, []).append(value)

    def int(self, n, default=0):
        value = self.fields.get(n, [default])[-1]
        return value if isinstance(value, int) else \
            int.from_bytes(value, "little")

    def bytes(self, n):
        return self.fields.get(n, [b""])[-1]

    def text(self, n):
        return self.bytes(n).decode()

    def texts(self, n):
        return [v.decode() for v in self.fields.get(n, [])]

    def messages(self, n):
        return [Message(v) for v in self.fields.get(n, [])]

    def double(self, n):
        return struct.unpack("<d", self.fields.get(n, [bytes(8)])[-1])[0]

    def _packed(self, n):  # packed (bytes) or one by one
        return self.fields.get(n, [])

    def doubles(self, n):
        return [x for v in self._packed(n)
                for x in struct.unpack("<%dd" % (len(v) // 8), v)]

    def ints(self, n):
        out = []
        for v in self._packed(n):
            if isinstance(v, int):
                out.append(v)
                continue
            at = 0
            while at < len(v):
                x, at = _varint(v, at)
                out.append(x)
        return out


class Schema:
    def __init__(self, data):
        m = Message(data)
        self.fields = [(f.text(1), f.int(2)) for f in m.messages(1)]
        self.levels = [(f.int(3), f.ints(4)) for f in m.messages(1)]
        self.classes, self.config = m.texts(2), m.text(3)
        self.writer = m.text(4)


# ---- chunks -----------------------------------------------------------------

def lz4_block(data, raw_len):
    out, at = bytearray(), 0

    def length(n, at):
        more = 255 if n == 15 else 0
        while more == 255:
            need(at < len(data), "LZ4 block ends early")
            more, at = data[at], at + 1
            n += more
        return n, at

    while True:
        need(at < len(data), "LZ4 block ends early")
        token = data[at]
        size, at = length(token >> 4, at + 1)
        out += part(data, at, size, "LZ4 literals")
        at += size
        if at == len(data):
            break
        back = int.from_bytes(part(data, at, 2, "LZ4 match"), "little")
        size, at = length(token & 15, at + 2)
        need(0 < back <= len(out) and len(out) + size + 4 <= raw_len,
             "LZ4 match leaves the block")
        for _ in range(size + 4):
            out.append(out[-back])
    need(len(out) == raw_len, "LZ4 block has another length")
    return bytes(out)


def zstd_frame(data, raw_len):
    name = ctypes.util.find_library("zstd")
    if name is None:
        raise Unknown("zstd: the library is not here")
    zstd = ctypes.CDLL(name)
    zstd.ZSTD_decompress.restype = ctypes.c_size_t
    zstd.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong
    zstd.ZSTD_findFrameCompressedSize.restype = ctypes.c_size_t
    source, size = ctypes.c_char_p(data), ctypes.c_size_t(len(data))
    need(zstd.ZSTD_getFrameContentSize(source, size) == raw_len and
         zstd.ZSTD_findFrameCompressedSize(source, size) == len(data) and
         zstd.ZSTD_getDictID_fromFrame(source, size) == 0, "zstd frame")
    out = ctypes.create_string_buffer(raw_len)
    got = zstd.ZSTD_decompress(out, ctypes.c_size_t(raw_len), source, size)
    need(got == raw_len, "zstd frame")
    return out.raw


def unpack_bits(data, k, raw_len):
    """Codec 3: blocks of 128 numbers of w bits each."""
    need(k in (1, 2) and raw_len % k == 0, "packed elements")
    s, zero, entries, back = struct.unpack("<BBHI", part(data, 0, 8))
    need(zero == 0 and entries <= 256 and
         s == (k if entries == 0 else 1) and (entries == 0 or k == 2),
         "packing's head")
    n, at = raw_len // k, 8
    palette = struct.unpack("<%dH" % entries, part(data, at, 2 * entries))
    blocks, at, mask = n // 128, at + 2 * entries, (1 << 8 * s) - 1
    widths, at = part(data, at, blocks), at + blocks
    bases, at = part(data, at, blocks * s), at + blocks * s
    out, lanes = [], 16 // s
    for block, width in enumerate(widths):
        base = int.from_bytes(bases[block * s:block * s + s], "little")
        predicted, w = width >> 7, width & 127
        need(w <= 8 * s and (not predicted or 16 <= back <= 128 * block),
             "block of packed numbers")
        words = part(data, at, 16 * w)
        at += 16 * w
        strings = [int.from_bytes(b"".join(
            words[16 * row + c * s:16 * row + c * s + s]
            for row in range(w)), "little") for c in range(lanes)]
        for i in range(128):
            p = strings[i % lanes] >> i // lanes * w & (1 << w) - 1
            out.append((p + base + (out[len(out) - back] if predicted else 0))
                       & mask)
    rest = part(data, at, (n - 128 * blocks) * s)
    need(at + len(rest) == len(data), "packed numbers' end")
    out += [int.from_bytes(rest[i:i + s], "little")
            for i in range(0, len(rest), s)]
    if entries:
        out = [palette[i] if i < entries else 0 for i in out]
    return struct.pack("<%d%s" % (n, "B" if k == 1 else "H"), *out)


def unshuffle(data, k):
    out, n = bytearray(len(data)), len(data) // k
    for b in range(k):
        out[b::k] = data[b * n:(b + 1) * n]
    return bytes(out)


def undelta(data, k):
    letter, mask = {1: "B", 2: "H", 4: "I", 8: "Q"}[k], (1 << 8 * k) - 1
    sum, out = 0, []
    for z in struct.unpack("<%d%s" % (len(data) // k, letter), data):
        sum = sum + (-(z + 1 >> 1) if z & 1 else z >> 1) & mask
        out.append(sum)
    return struct.pack("<%d%s" % (len(out), letter), *out)


def decode(payload, codec, filter, k, raw_len):
    if codec > 3 or filter > 2:
        raise Unknown("codec %d, filter %d" % (codec, filter))
    need(codec != 3 or filter == 0, "packed and filtered")
    if codec == 1:
        payload = lz4_block(payload, raw_len)
    elif codec == 2:
        payload = zstd_frame(payload, raw_len)
    elif codec == 3:
        payload = unpack_bits(payload, k, raw_len)
    need(len(payload) == raw_len, "chunk has another length")
    if filter != 0:
        need(k in (1, 2, 4, 8) and raw_len % k == 0, "broken elements")
        payload = unshuffle(payload, k)
    return undelta(payload, k) if filter == 2 else payload


# ---- shard ------------------------------------------------------------------

DTYPES = {1: ("u8", 1), 2: ("i8", 1), 3: ("u16", 2), 4: ("i16", 2),
          5: ("u32", 4), 6: ("i32", 4), 7: ("u64", 8), 8: ("i64", 8),
          9: ("f16", 2), 10: ("bf16", 2), 11: ("f32", 4), 12: ("f64", 8)}
INTEGERS = "u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"
CHUNKS, JPEG, BYTES = 1, 2, 3
SAMPLES, GRIDS, CHUNK_ROWS, MOMENTS, SCHEMA, STATS, LABELS = range(1, 8)
ROW_BYTES = {SAMPLES: 64, GRIDS: 96, CHUNK_ROWS: 24, MOMENTS: 144, SCHEMA: 1,
             STATS: 40, LABELS: 16}


def check_version(major, minor, what):
    if major != MAJOR:
        raise Unknown("%s of version %d.%d" % (what, major, minor))


class Grid:
    def __init__(self, row):
        (self.field, self.encoding, dtype, ndim, axes, self.flags, _,
         *numbers) = struct.unpack("<HBBB8sBH16IQQ", row)
        if self.encoding not in (CHUNKS, JPEG, BYTES):
            raise Unknown("encoding %d" % self.encoding)
        if dtype not in DTYPES:
            raise Unknown("dtype %d" % dtype)
        if self.flags & ~3:
            raise Unknown("field with flags %#x" % self.flags)
        need(ndim <= 8, "grid row of more than 8 axes")
        self.dtype, self.item = DTYPES[dtype]
        self.axes = axes[:ndim].decode("ascii")
        self.dims, self.chunk = numbers[:ndim], numbers[8:8 + ndim]
        self.jpeg = numbers[8:11]
        self.first, self.content = numbers[16], numbers[17]
        if self.encoding == CHUNKS:
            need(all(0 < c for c in self.chunk), "chunk without size")
        self.grid = [-(-d // c) for d, c in zip(self.dims, self.chunk)] \
            if self.encoding == CHUNKS else []
        self.chunks = product(self.grid)

    def place(self, i):
        """First element and size of a chunk, clipped at the edges."""
        at = []
        for n in reversed(self.grid):
            at.insert(0, i % n)
            i //= n
        low = [p * c for p, c in zip(at, self.chunk)]
        return low, [min(c, d - b) for c, d, b in
                     zip(self.chunk, self.dims, low)]


def product(numbers):
    out = 1
    for n in numbers:
        out *= n
    return out


class Shard:
    """`ref` is a PbShard of a manifest, or None."""

    def __init__(self, data, ref=None):
        self.data, self.codings = data, set()
        head = part(data, 0, 64, "head")
        need(head[:8] == b"\x89MRS\r\n\x1a\n", "no shard")
        need(crc32c(head[:60]) == _u32(head, 60), "head's checksum")
        major, minor, incompatible = struct.unpack_from("<HHI", head, 8)
        check_version(major, minor, "shard")
        if incompatible != 0:
            raise Unknown("features %#x" % incompatible)
        self.plan_tag = head[20:36]
        self._tail()
        if ref is not None:
            need(ref.int(2) == len(data) and ref.bytes(1) == self.id and
                 ref.int(3) == self.foot_hash and
                 ref.int(4) == self.samples and
                 ref.bytes(6) == self.plan_tag, "not the manifest's shard")
        self._foot()

    def _tail(self):
        for at in len(self.data) - 64, len(self.data) - 8192:
            tail = self.data[at:at + 64] if at >= 64 else b""
            if tail[:8] == b"MRSTAIL\n" and crc32c(tail[:60]) == _u32(tail, 60):
                break
        else:
            raise Damaged("both tails")
        (self.foot_off, self.foot_len, self.foot_hash, self.toc_rows,
         self.pages, self.samples, self.id) = struct.unpack_from(
             "<QQQIII16s", tail, 8)
        end = self.foot_off + self.foot_len
        need(self.foot_off >= 64 and self.foot_off % 64 == 0 and
             -(-end // 4096) * 4096 + 8192 == len(self.data), "tail's numbers")

    def _foot(self):
        foot = part(self.data, self.foot_off, self.foot_len, "foot")
        size = self.foot_len - 8 * self.pages
        need(size >= 24 * self.toc_rows and -(-size // 65536) == self.pages,
             "foot's pages")
        toc = foot[:24 * self.toc_rows]
        need(xxh3(toc + foot[size:]) == self.foot_hash, "foot's hash")
        self.foot, self.hashes = foot[:size], foot[size:]
        self.proven, self.tables = set(), {}
        for i in range(self.toc_rows):
            id, row, off, rows = struct.unpack_from("<IIQQ", toc, 24 * i)
            need(off % 64 == 0 and off + row * rows <= size, "table's place")
            if id not in ROW_BYTES:
                continue
            need(row == ROW_BYTES[id] and id not in self.tables, "table's rows")
            self.tables[id] = off, rows
        need(self.tables.get(SAMPLES, (0, -1))[1] == self.samples,
             "table of samples")
        self.schema = Schema(self.rows(SCHEMA, 0, self.tables[SCHEMA][1])) \
            if SCHEMA in self.tables else None

    def foot_bytes(self, at, size):
        out = part(self.foot, at, size, "foot")
        for page in range(at // 65536, -(-(at + size) // 65536)):
            if page not in self.proven:
                need(xxh3(self.foot[65536 * page:65536 * (page + 1)]) ==
                     _u64(self.hashes, 8 * page), "page %d of the foot" % page)
                self.proven.add(page)
        return out

    def rows(self, table, first, count):
        need(table in self.tables, "table %d is missing" % table)
        off, rows = self.tables[table]
        need(first + count <= rows, "rows that are not there")
        size = ROW_BYTES[table]
        return self.foot_bytes(off + size * first, size * count)

    def frame(self, at, stored, kind=None):
        """Header and payload of the frame at an offset, proven."""
        header = part(self.data, at, 32, "frame")
        need(at % 64 == 0 and at + 32 + stored <= self.foot_off and
             header[:4] == b"MRMF" and _u32(header, 8) == stored and
             kind in (None, header[4]), "frame's header")
        payload = part(self.data, at + 32, stored, "frame")
        need(crc32c(self.plan_tag, header[:28], payload) == _u32(header, 28),
             "frame's checksum")
        return header, payload

    def sample(self, i):
        return Sample(self, i)


class Sample:
    def __init__(self, shard, i):
        if shard.schema is None:
            raise Damaged("shard without a schema")
        row = shard.rows(SAMPLES, i, 1)
        (self.uid, meta_off, meta_len, first, count, self.flags, self.cls,
         self.group_hash, self.content, self.key_hash) = struct.unpack(
             "<16sQIIHHIQQQ", row)
        self.shard, self.first = shard, first
        self.grid_rows = shard.rows(GRIDS, first, count)
        header, payload = shard.frame(meta_off, meta_len, 5)
        self.meta = meta = Message(payload)
        self.key, self.group = meta.text(2), meta.text(3)
        self.class_name = meta.text(4)
        need(meta.bytes(1) == self.uid and meta.int(9) == i and
             meta.bytes(6) == self.grid_rows, "meta frame and sample row")
        need(xxh3(self.key.encode()) == self.key_hash, "key's hash")
        group = hashlib.sha256(self.group.encode()).digest()
        need(self.group_hash == (_u64(group, 0) if self.group else 0),
             "group's hash")
        if self.cls != 0xFFFFFFFF:
            need(shard.schema.classes[self.cls] == self.class_name, "class")
        told = b"".join(
            self.grid_rows[96 * f:96 * f + 2] +
            self.grid_rows[96 * f + 88:96 * f + 96] for f in range(count))
        need(xxh3(told + self.class_name.encode()) == self.content, "content")
        self.fields = count

    def grid(self, f):
        return Grid(self.grid_rows[96 * f:96 * f + 96])

    def geometry(self, f):
        metas = self.meta.messages(5)
        geometry = metas[f].messages(1)[:1] if f < len(metas) else []
        return geometry[0] if geometry else Message(b"")

    def moments(self):
        """{(field, channel): [non-finite, all, nonzero, label]}."""
        data, out = self.meta.bytes(8), {}
        for at in range(0, len(data), 144):
            n = struct.unpack_from("<IIQ" + 3 * "Q4d", data, at)
            out[n[0] - self.first, n[1]] = [n[2], n[3:8], n[8:13], n[13:18]]
        return out

    def chunk_stats(self, f):
        """Of each chunk: min, max, nonzero, NaN, {value: count} of labels."""
        grid, out = self.grid(f), []
        whole = grid.dtype in INTEGERS
        form = "Q" if grid.dtype[0] == "u" else "q" if whole else "d"
        for i in range(grid.chunks):
            row = self.shard.rows(STATS, grid.first + i, 1)
            first, nonzero, nan, labels, flags = struct.unpack_from(
                "<QIIII", row, 16)
            need(labels <= 4096 and flags & ~1 == 0, "chunk statistics")
            told = self.shard.rows(LABELS, first, labels)
            out.append((*struct.unpack_from("<2" + form, row), nonzero, nan,
                        dict(struct.iter_unpack("<%sQ" % form, told)), flags))
        return out

    def _chunk(self, row, raw_len, item):
        place, stored, raw, crc, codec, filter, kind, flags = struct.unpack(
            "<QIIIBBBB", row)
        if flags & ~1:
            raise Unknown("chunk with flags %#x" % flags)
        if flags & 1:
            need(raw == raw_len, "constant chunk's length")
            return struct.pack("<Q", place)[:item] * (raw_len // item)
        need(raw == raw_len, "chunk's length")
        header, payload = self.shard.frame(place, stored, kind)
        self.shard.codings.add((codec, filter))
        need(_u32(header, 28) == crc and _u32(header, 12) == raw and
             header[5] == codec and header[6] == filter, "frame and its row")
        return decode(payload, codec, filter, header[7], raw_len)

    def verbatim(self, f):
        """The stored file of a JPEG or bytes field."""
        grid = self.grid(f)
        row = self.shard.rows(CHUNK_ROWS, grid.first, 1)
        stored, raw = struct.unpack_from("<II", row, 8)
        if row[23] & 1:
            return b""
        kind = {JPEG: 3, BYTES: 4}[grid.encoding]
        return self._chunk(row, raw, 1) if row[22] == kind else need(0, "kind")

    def box(self, f, start=None, size=None):
        """Row-major bytes of a box; of the whole field without one."""
        grid = self.grid(f)
        need(grid.encoding == CHUNKS, "field is no array")
        start, size = start or [0] * len(grid.dims), size or grid.dims
        out = bytearray(product(size) * grid.item)
        rows = self.shard.rows(CHUNK_ROWS, grid.first, grid.chunks)
        for i in range(grid.chunks):
            low, dims = grid.place(i)
            if all(b < s + n and s < b + d for b, d, s, n in
                   zip(low, dims, start, size)):
                data = self._chunk(rows[24 * i:24 * i + 24],
                                   product(dims) * grid.item, grid.item)
                place(out, start, size, data, low, dims, grid.item)
        if size == grid.dims:
            need(xxh3(bytes(out)) == grid.content, "field's hash")
        return bytes(out)


def place(out, start, size, data, low, dims, item):
    """Copy what chunk and box share, run by run of the last axis."""
    if not dims:
        out[:] = data
        return
    begin = [max(s, b) for s, b in zip(start, low)]
    end = [min(s + n, b + d) for s, n, b, d in zip(start, size, low, dims)]
    run = (end[-1] - begin[-1]) * item
    for i in range(product(e - b for b, e in zip(begin[:-1], end[:-1]))):
        to = source = 0
        for axis in range(len(dims)):
            p = begin[axis]
            if axis < len(dims) - 1:
                rest = product(e - b for b, e in zip(begin[axis + 1:-1],
                                                     end[axis + 1:-1]))
                p += i // rest % (end[axis] - begin[axis])
            to = to * size[axis] + p - start[axis]
            source = source * dims[axis] + p - low[axis]
        out[to * item:to * item + run] = \
            data[source * item:source * item + run]


# ---- dataset ----------------------------------------------------------------

class Dataset:
    def __init__(self, folder, generation=None):
        self.folder, self.shards = folder, {}
        if generation is None:
            names = [n for n in os.listdir(folder)
                     if n.startswith("manifest.") and n.endswith(".pb")]
            need(names, "no dataset")
            generation = max(int(n.split(".")[1]) for n in names)
        self.manifest = self._manifest(self._file("manifest.%06d.pb"
                                                  % generation))
        need(self.manifest.int(1) == generation, "generation's number")
        self.refs = self.manifest.messages(5)
        self.schema = Schema(self.manifest.bytes(4))
        self.splits = [(m.text(1), m.int(2)) for m in self.manifest.messages(6)]
        self._index(self._file("index.%06d.mri" % generation))

    def _file(self, name):
        with open(os.path.join(self.folder, name), "rb") as f:
            return f.read()

    @staticmethod
    def _manifest(data):
        need(part(data, 0, 32)[:8] == b"\x89MRM\r\n\x1a\n", "no manifest")
        size, sum = struct.unpack_from("<QQ", data, 16)
        need(size == len(data) - 32 and xxh3(data[:24] + data[32:]) == sum,
             "manifest's hash")
        check_version(*struct.unpack_from("<HH", data, 8), "manifest")
        features, message = _u32(data, 12), Message(data[32:])
        if features & ~3 != 0:
            raise Unknown("manifest with features %#x" % features)
        need((features & 1 != 0) == (message.bytes(20) != b""), "withdrawn")
        need((features & 2 != 0) == (message.int(22) != 0), "superseded")
        return message

    def _index(self, data):
        head = part(data, 0, 64, "index")
        need(head[:8] == b"\x89MRI\r\n\x1a\n", "no index")
        need(crc32c(head[:60]) == _u32(head, 60), "index' checksum")
        major, minor, splits, samples, body_len, pages = struct.unpack_from(
            "<HHIQQI", head, 8)
        check_version(major, minor, "index")
        if _u32(head, 36) != 0:
            raise Unknown("index with features %#x" % _u32(head, 36))
        need(len(data) == 64 + body_len + 8 * pages and
             len(data) == self.manifest.int(13) and
             pages == -(-body_len // 65536) and
             samples == self.manifest.int(9) and splits == len(self.splits),
             "index' numbers")
        hashes = data[64 + body_len:]
        need(hashlib.sha256(head + hashes).digest()[:16] ==
             self.manifest.bytes(12), "index is another's")
        body = data[64:64 + body_len]
        for i in range(pages):
            need(xxh3(body[65536 * i:65536 * (i + 1)]) == _u64(hashes, 8 * i),
                 "page %d of the index" % i)
        counts = struct.unpack("<%dQ" % splits, part(body, 0, 8 * splits))
        need(list(counts) == [n for _, n in self.splits], "splits' counts")
        at = -(-8 * splits // 64) * 64
        self.entries = [struct.unpack("<16sII", part(body, at + 24 * i, 24))
                        for i in range(samples)]
        at += -(-24 * samples // 64) * 64
        self.ranks = []
        for n in counts:
            ranks = struct.unpack("<%dI" % n, part(body, at, 4 * n))
            need(all(r < samples for r in ranks) and
                 all(a < b for a, b in zip(ranks, ranks[1:])), "ranks")
            self.ranks.append(ranks)
            at += -(-4 * n // 64) * 64
        uids = [e[0] for e in self.entries]
        need(all(a < b for a, b in zip(uids, uids[1:])), "order of the index")

    def shard(self, i):
        if i not in self.shards:
            name = self.refs[i].bytes(1).hex()
            self.shards[i] = Shard(self._file(os.path.join(
                "shards", name[:2], name + ".mrs")), self.refs[i])
        return self.shards[i]

    def sample(self, rank):
        uid, shard, row = self.entries[rank]
        need(shard < len(self.refs), "index names no shard")
        sample = self.shard(shard).sample(row)
        need(sample.uid == uid, "index and sample row")
        return sample

    def content_id(self):
        def u64(n):
            return struct.pack("<Q", n)
        sum = hashlib.sha256(b"millrace-content-1\0")
        sum.update(u64(len(self.schema.classes)))
        for name in self.schema.classes:
            sum.update(u64(len(name.encode())) + name.encode())
        sum.update(u64(len(self.entries)))
        for rank in range(len(self.entries)):
            sample = self.sample(rank)
            sum.update(sample.uid + u64(sample.content))
        sum.update(u64(len(self.splits)))
        for (name, _), ranks in zip(self.splits, self.ranks):
            sum.update(u64(len(name.encode())) + name.encode())
            sum.update(u64(len(ranks)))
            sum.update(b"".join(u64(r) for r in ranks))
        return sum.digest()[:16]
