# SPDX-License-Identifier: Apache-2.0
"""The golden datasets through the reader of shards.py, value by value.

    read_shards.py SET.txt PICTURES GOLDEN [MILLRACE [--today]]

--today: statistics that the first writers of version 1 did not write must be
there.

Needs Python 3.9 and nothing else; what is there besides (libzstd, Pillow, the
program) is used and named. The table says what the files hold and the formula
of values.py gives each value: no golden file is its own judge.
"""
import hashlib
import json
import math
import os
import random
import struct
import subprocess
import sys

import shards
from golden_values import read_table, values, whole_numbers

SPLITS = ["train", "val", "test"]
CLASSES = ["ring", "spot", "über"]
FIELDS = [("image", 1), ("label", 2), ("half", 1), ("text", 0)]
LEVELS = [(0, []), (0, []), (1, [1, 2, 2]), (0, [])]
counts = {"fields": 0, "values": 0, "boxes": 0, "bins": 0, "flips": 0,
          "measures": 0, "pictures": 0, "foregrounds": 0}
skipped, codings = set(), set()


def equal(got, want, what):
    if got != want:
        sys.exit("FAILED: %s: %.200r is not %.200r" % (what, got, want))


def near(got, want, scale, what):
    if abs(got - want) > 1e-9 * scale:
        sys.exit("FAILED: %s: %r is not %r" % (what, got, want))


# ---- statistics, computed again ---------------------------------------------

def moments(numbers):
    finite = [x for x in numbers if math.isfinite(x)]
    if not finite:
        return [0, 0.0, 0.0, 0.0, 0.0]
    return [len(finite), min(finite), max(finite), math.fsum(finite),
            math.fsum(x * x for x in finite)]


def check_moments(got, want, what):
    equal(list(got[:3]), want[:3], what)
    near(got[3], want[3], math.sqrt(want[0] * want[4]), what + " (sum)")
    near(got[4], want[4], want[4], what + " (squares)")


def strides(axes, shape):
    out, n = {}, 1
    for axis, size in zip(reversed(axes), reversed(shape)):
        out[axis] = n, size
        n *= size
    return out


def foreground(step, field):
    """For each element: whether the first label that fits is above zero."""
    mine = strides(field.axes, field.shape)
    space = {a: n for a, n in zip(field.axes, field.shape) if a in "ZYX"}
    for label in step.fields:
        other = strides(label.axes, label.shape)
        if label.name != "label" or label.encoding != "chunks" or \
                {a: n for a, (_, n) in other.items() if a in "ZYX"} != space \
                or any(a not in "ZYXCT" or
                       (a in "CT" and n not in (1, mine.get(a, (0, 1))[1]))
                       for a, (_, n) in other.items()):
            continue
        above = [x > 0 for x in whole_numbers(label, values(step, label))]
        picked = [(s, n, other[a][0]) for a, (s, n) in mine.items()
                  if a in other and other[a][1] > 1]
        return [above[sum(i // s % n * o for s, n, o in picked)]
                for i in range(field.count)]
    return [False] * field.count


def check_statistics(step, sample, f, field, numbers):
    slope, inter = field.slope, field.inter
    physical = [x * slope + inter for x in map(float, numbers)] \
        if field.scaled else list(map(float, numbers))
    stride, channels = strides(field.axes, field.shape).get("C", (1, 1))
    under = foreground(step, field) if field.name != "label" else \
        [False] * field.count
    for c in range(channels):
        row = sample.moments()[f, c]
        mine = [i for i in range(field.count) if i // stride % channels == c]
        here = [physical[i] for i in mine]
        what = "%s %s channel %d" % (step.key, field.name, c)
        equal(row[0], sum(not math.isfinite(x) for x in here), what)
        check_moments(row[1], moments(here), what)
        check_moments(row[2], moments(x for x in here if x != 0), what)
        check_moments(row[3], moments(physical[i] for i in mine if under[i]),
                      what + " under the label")


def check_chunk_statistics(step, sample, f, field, numbers):
    grid = sample.grid(f)
    for i, told in enumerate(sample.chunk_stats(f)):
        low, size = grid.place(i)
        here = [numbers[j] for j in inside(field.shape, low, size)]
        real = [x for x in here if x == x]
        want = [min(real), max(real)] if real else [math.nan] * 2
        what = "chunk %d of %s %s" % (i, step.key, field.name)
        equal(str([x + 0 for x in told[:2]]), str([x + 0 for x in want]), what)
        equal(told[2:4], (sum(x != 0 for x in here), len(here) - len(real)),
              what)
        seen = {}
        for x in here if field.name == "label" else []:
            seen[x] = seen.get(x, 0) + 1
        equal(told[4], seen, what + " labels")
        equal(list(told[4]), sorted(seen), what + " order")


# ---- fields -----------------------------------------------------------------

def inside(shape, low, size):
    """Places of a box in the whole, in row-major order."""
    at = [0]
    for full, first, n in zip(shape, low, size):
        at = [a * full + first + i for a in at for i in range(n)]
    return at


def check_array(step, sample, f, field, chance):
    grid = sample.grid(f)
    equal((grid.dtype, grid.axes, grid.dims, grid.flags & 1),
          (field.dtype, field.axes, field.shape, int(field.scaled)), step.key)
    equal(grid.flags >> 1 & 1, int(field.name == "label"), step.key)
    want, item = values(step, field), grid.item
    got = sample.box(f)
    if got != want:
        sys.exit("FAILED: values of %s %s" % (step.key, field.name))
    for _ in range(3):
        low = [chance.randrange(n) for n in field.shape]
        size = [1 + chance.randrange(min(n - b, 12))
                for n, b in zip(field.shape, low)]
        box = b"".join(want[i * item:i * item + item]
                       for i in inside(field.shape, low, size))
        equal(sample.box(f, low, size), box, "a box of " + step.key)
        counts["boxes"] += 1
    numbers = whole_numbers(field, want)
    check_statistics(step, sample, f, field, numbers)
    check_chunk_statistics(step, sample, f, field, numbers)
    counts["values"] += field.count
    check_order(step, sample, f)


def check_order(step, sample, f):
    """Chunks lie in Morton order."""
    grid, placed = sample.grid(f), []
    rows = sample.shard.rows(shards.CHUNK_ROWS, grid.first, grid.chunks)
    bits = [(n - 1).bit_length() for n in grid.grid]
    for i in range(grid.chunks):
        code, n = 0, 0
        low, _ = grid.place(i)
        at = [b // c for b, c in zip(low, grid.chunk)]
        for bit in range(max(bits, default=0)):
            for axis in reversed(range(len(at))):
                if bit < bits[axis]:
                    code |= (at[axis] >> bit & 1) << n
                    n += 1
        if not rows[24 * i + 23] & 1:
            placed.append((code, struct.unpack_from("<Q", rows, 24 * i)[0]))
    offsets = [off for _, off in sorted(placed)]
    equal(offsets, sorted(offsets), "order of the chunks of " + step.key)


def check_picture(sample, f, field, data):
    grid = sample.grid(f)
    equal((grid.axes, grid.dims), (field.axes, field.shape), field.pattern)
    try:
        import io
        from PIL import Image
    except ImportError:
        skipped.add("decoded JPEG (no Pillow)")
        return
    image = Image.open(io.BytesIO(data))
    # The same library gives the same values, another one nearly so; the hash
    # tells only the first.
    if shards.xxh3(image.tobytes()) != grid.content:
        skipped.add("hash of decoded JPEG (another decoder)")
    equal([image.height, image.width], grid.dims[:2], field.pattern)
    equal(len(image.getbands()), grid.jpeg[0], field.pattern)


def check_geometry(sample, f, field):
    g = sample.geometry(f)
    if not field.scaled:
        equal((g.double(1) or 1.0, g.double(2), g.int(5), g.bytes(6)),
              (1.0, 0.0, 0, b""), "geometry of " + sample.key)
        return
    equal((g.double(1), g.double(2)), (field.slope, field.inter), sample.key)
    equal(g.doubles(3), [-1, 0, 0, 10.5, 0, 0.75, 0, -20, 0, 0, 2, 30.125],
          sample.key)
    equal(g.doubles(4), [0.5 + i for i in range(len(field.shape))], sample.key)
    equal(g.int(5), 6, sample.key)
    equal(g.bytes(6), bytes(i * 7 & 255 for i in range(348)), sample.key)
    equal(g.texts(7), ["DAPI", "β-catenin", "GFP"]
          if field.axes.startswith("C") else [], sample.key)


def source_bytes(step, field, pictures):
    if field.encoding == "jpeg":
        with open(os.path.join(pictures, field.pattern), "rb") as f:
            return f.read()
    return values(step, field)


def check_sample(step, sample, pictures, chance):
    equal((sample.key, sample.group, sample.class_name),
          (step.key, step.group, step.class_name), "words")
    equal(sample.cls, CLASSES.index(step.class_name) if step.class_name
          else 0xFFFFFFFF, "class of " + step.key)
    images = [hashlib.sha256(source_bytes(step, field, pictures)).digest()
              for field in step.fields if field.name == "image"]
    key = step.key.encode()
    uid = hashlib.sha256(b"millrace-uid-1\0" + struct.pack("<Q", len(key)) +
                         key + struct.pack("<Q", len(images)) +
                         b"".join(images)).digest()[:16]
    equal(sample.uid, uid, "uid of " + step.key)
    equal(sample.fields, len(step.fields), "fields of " + step.key)
    for f, field in enumerate(step.fields):
        grid = sample.grid(f)
        equal(FIELDS[grid.field][0], field.name, step.key)
        check_geometry(sample, f, field)
        counts["fields"] += 1
        if field.encoding == "chunks":
            check_array(step, sample, f, field, chance)
        elif field.encoding == "jpeg":
            stored = sample.verbatim(f)
            equal(stored, source_bytes(step, field, pictures), step.key)
            check_picture(sample, f, field, stored)
        else:
            want = field.pattern.encode()[:field.shape[0]]
            equal(sample.verbatim(f), want, step.key)
            equal(grid.content, shards.xxh3(want), step.key)


# ---- datasets ---------------------------------------------------------------

def check_splits(dataset, steps):
    everywhere = sorted(r for ranks in dataset.ranks for r in ranks)
    equal(everywhere, list(range(len(dataset.entries))), "splits")
    where = {}
    for split, ranks in enumerate(dataset.ranks):
        for rank in ranks:
            group = steps[dataset.sample(rank).key].group
            if group and where.setdefault(group, split) != split:
                sys.exit("FAILED: %s is in two splits" % group)


def unit(row):
    """What a row's moments become by (x - min) / (max - min)."""
    n, low, high, sum, squares = row
    if n == 0:
        return None
    if low == high:
        return [n, 0.0, 0.0, 0.0, 0.0]
    span = high - low
    return [n, 0.0, 1.0, (sum - n * low) / span,
            (squares - 2 * low * sum + n * low * low) / span / span]


def merged(parts):
    parts = [p for p in parts if p and p[0]]
    return [sum(p[0] for p in parts), min((p[1] for p in parts), default=0.0),
            max((p[2] for p in parts), default=0.0),
            math.fsum(p[3] for p in parts), math.fsum(p[4] for p in parts)]


def check_dataset_statistics(dataset):
    """Sums of the moment rows in the order of uid."""
    told = {(m.text(1), m.text(2)): m.messages(3)
            for m in dataset.manifest.messages(8)}
    names = {"": range(len(dataset.entries))}
    names.update(zip((n for n, _ in dataset.splits), dataset.ranks))
    for (split, field), channels in told.items():
        for c, channel in enumerate(channels):
            rows = []
            for rank in names[split]:
                sample = dataset.sample(rank)
                rows += [sample.moments()[f, c] for f in range(sample.fields)
                         if FIELDS[sample.grid(f).field][0] == field and
                         (f, c) in sample.moments()]
            what = "statistics of %s %s %d" % (split or "all", field, c)
            equal(channel.int(4), sum(r[0] for r in rows), what)
            for kind, want in ((1, merged(r[1] for r in rows)),
                               (2, merged(r[2] for r in rows)),
                               (3, merged(unit(r[1]) for r in rows)),
                               (5, merged(r[3] for r in rows))):
                m = channel.messages(kind)[0] if channel.messages(kind) \
                    else shards.Message(b"")
                check_moments([m.int(1)] + [m.double(i) for i in range(2, 6)],
                              want, "%s, %d" % (what, kind))


# ---- histograms -------------------------------------------------------------

PERCENT = 0.5, 5, 25, 50, 75, 95, 99.5
LARGEST = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]


def bin_of(x):
    """Of a physical value, on the grid of 65,536."""
    x = max(-LARGEST, min(LARGEST, x)) or 0.0
    h = struct.unpack("<I", struct.pack("<f", x))[0] >> 16
    return 65535 - h if h >= 32768 else h + 32768


def middle(b):
    if b in (32767, 32768):
        return 0.0
    h = b - 32768 if b >= 32768 else 65535 - b
    return struct.unpack("<f", struct.pack("<I", h << 16 | 0x8000))[0]


def percentile(pairs, n, p, low, high):
    """Of (value, count) in ascending order."""
    left = place(n, p)
    for value, count in pairs:
        if left < count:
            return max(low, min(high, value))
        left -= count


def picture_values(path):
    from PIL import Image
    return Image.open(path).tobytes()


def channel_values(step, field, c, pictures):
    stride, channels = strides(field.axes, field.shape).get("C", (1, 1))
    whole = picture_values(os.path.join(pictures, field.pattern)) \
        if field.encoding == "jpeg" \
        else whole_numbers(field, values(step, field))
    return [x for i, x in enumerate(whole)
            if i // stride % channels == c] if c < channels else []


def fits_small_bins(fields):
    return all(f.dtype in ("u8", "i8", "u16", "i16") for f in fields) and \
        len({(f.slope, f.inter) for f in fields}) == 1


PLAIN, DECODED = (4, 5, 6), (7, 8, 9)  # fields of the statistics: the bins
# and of a channel: percentiles, those of what is not zero, histogram
OF_CHANNEL = {PLAIN: (6, 7, 8), DECODED: (9, 10, 11)}


def without_pictures(told):
    """Nothing is said of JPEGs: so writers of 1.0 did it."""
    return told.int(7) == 0 and not any(
        c.fields.get(n) for c in told.messages(3) for n in (9, 10, 11))


def bin_and_value(field, x, kind):
    real = float(x) * field.slope + field.inter if field.scaled else float(x)
    if not math.isfinite(real):
        return None, real
    return x + 32768 if kind == 1 else bin_of(real), real


def says_of_foreground(dataset):
    return any(c.fields.get(12) for m in dataset.manifest.messages(8)
               for c in m.messages(3))


def foreground_bins(here, c, kind):
    """Bins of the values of channel c under labels."""
    out = {}
    for step, field in here:
        if field.encoding != "chunks":
            continue
        under = foreground(step, field)
        stride, channels = strides(field.axes, field.shape).get("C", (1, 1))
        for i, x in enumerate(whole_numbers(field, values(step, field))):
            if under[i] and i // stride % channels == c:
                b, _ = bin_and_value(field, x, kind)
                if b is not None:
                    out[b] = out.get(b, 0) + 1
    return out


def can_decode():
    if "hash of decoded JPEG (another decoder)" in skipped or \
            "decoded JPEG (no Pillow)" in skipped:
        skipped.add("histograms of decoded JPEG")
        return False
    return True


def check_histograms(dataset, live, pictures):
    """Bins and percentiles, counted again from the values of the table."""
    names = {"": range(len(dataset.entries))}
    names.update(zip((n for n, _ in dataset.splits), dataset.ranks))
    images = [n for n, kind in FIELDS if kind == 1]
    for told in dataset.manifest.messages(8):
        split, name, channels = told.text(1), told.text(2), told.messages(3)
        everywhere = [f for s in live.values() for f in s.fields
                      if f.name == name]
        here = [(s, f) for s in (live[dataset.sample(r).key]
                                 for r in names[split])
                for f in s.fields if f.name == name]
        what = "histogram of %s %s" % (split or "all", name)
        ways = {f.encoding for f in everywhere}
        fields = DECODED if "jpeg" in ways else PLAIN
        kind = 0 if name not in images or not everywhere or \
            not ways <= {"chunks", "jpeg"} else \
            1 if fits_small_bins(everywhere) else 2
        if fields == DECODED and not without_pictures(told) and \
                not can_decode():
            continue
        if fields == DECODED and without_pictures(told):
            kind, fields = 0, PLAIN
        equal([told.int(n[0]) for n in (PLAIN, DECODED)],
              [kind if fields == n else 0 for n in (PLAIN, DECODED)], what)
        if kind == 1:
            slope, inter = (told.double(n) for n in fields[1:])
            equal((slope, inter), (everywhere[0].slope, everywhere[0].inter),
                  what)
        for c, channel in enumerate(channels):
            counted, nonzero = {}, {}
            for step, f in here if kind else []:
                for x in channel_values(step, f, c, pictures):
                    b, real = bin_and_value(f, x, kind)
                    if b is not None:
                        counted[b] = counted.get(b, 0) + 1
                        if real != 0:
                            nonzero[b] = nonzero.get(b, 0) + 1
            numbers = OF_CHANNEL[fields]
            check_histogram(channel.bytes(numbers[2]),
                            counted if split and kind else {}, what)
            parts = [(numbers[0], counted, 1), (numbers[1], nonzero, 2)]
            if kind and says_of_foreground(dataset):
                under = foreground_bins(here, c, kind)
                check_histogram(channel.bytes(13), under if split else {},
                                what + " foreground")
                parts.append((12, under, 5))
                counts["foregrounds"] += under != {}
            counts["pictures"] += fields == DECODED and counted != {}
            for number, bins, part in parts:
                pairs = [((b - 32768) * slope + inter if kind == 1
                          else middle(b), bins[b]) for b in sorted(bins)]
                if kind == 1 and slope < 0:
                    pairs.reverse()
                m = channel.messages(part)[0] if channel.messages(part) \
                    else shards.Message(b"")
                want = [percentile(pairs, sum(bins.values()), p, m.double(2),
                                   m.double(3)) for p in PERCENT] \
                    if bins else []
                equal(channel.doubles(number), want, what + " percentiles")


def check_histogram(data, want, what):
    at, last, got = 0, -1, {}
    while at < len(data):
        gap, at = shards._varint(data, at)
        last += gap + 1
        got[last], at = shards._varint(data, at)
    equal(got, want, what)
    counts["bins"] += len(got)


def place(n, p):
    return max(0, math.ceil(n * (p / 100) - 1))


def check_measures(dataset):
    """Lengths and spacings of the samples; writers of 1.0 said nothing."""
    names = {"": range(len(dataset.entries))}
    names.update(zip((n for n, _ in dataset.splits), dataset.ranks))
    told = {(m.text(1), m.text(2)): m.messages(10)
            for m in dataset.manifest.messages(8)}
    if not any(told.values()):
        return
    for (split, name), measures in told.items():
        want = {}
        for rank in names[split]:
            sample = dataset.sample(rank)
            for f in range(sample.fields):
                grid = sample.grid(f)
                if FIELDS[grid.field][0] != name:
                    continue
                steps = sample.geometry(f).doubles(4) or [0] * len(grid.dims)
                for axis, n, step in zip(grid.axes, grid.dims, steps):
                    want.setdefault((axis, 1), []).append(float(n))
                    if step > 0 and math.isfinite(step):
                        want.setdefault((axis, 2), []).append(step)
        what = "measures of %s %s" % (split or "all", name)
        order = sorted(want, key=lambda k: ("TCZYXSRUVW".index(k[0]), k[1]))
        equal([(m.text(1), m.int(2)) for m in measures], order, what)
        for m in measures:
            values = sorted(want[m.text(1), m.int(2)])
            equal(m.int(3), len(values), what)
            equal(m.doubles(4), [values[place(len(values), p)]
                                 for p in PERCENT], what)
            kept = [struct.unpack_from("<dQ", m.bytes(5), at)
                    for at in range(0, len(m.bytes(5)), 16)]
            equal(kept, [(v, values.count(v)) for v in sorted(set(values))]
                  if split else [], what)
            counts["measures"] += 1


def check_program(program, path, dataset):
    out = subprocess.run([program, "inspect", path, "--json"], check=True,
                         stdout=subprocess.PIPE).stdout
    told = json.loads(out)
    equal(told["samples"], len(dataset.entries), path)
    equal(told["content_id"], dataset.manifest.bytes(14).hex(), path)
    equal([told["splits"][n] for n in SPLITS],
          [len(r) for r in dataset.ranks], path)
    equal(told["format"]["version"], "1.0", path)


def check_generation(path, generation, state, pictures, program):
    dataset = shards.Dataset(path, generation)
    equal(dataset.content_id(), dataset.manifest.bytes(14), "content_id")
    equal(dataset.schema.fields, FIELDS, "schema")
    equal(dataset.schema.levels, LEVELS, "levels")
    equal(dataset.schema.classes, CLASSES, "classes")
    equal([n for n, _ in dataset.splits], SPLITS, "splits")
    equal(len(dataset.entries), len(state.live), "samples")
    equal(len(dataset.refs), state.shards, "shards")
    gone = dataset.manifest.bytes(20)
    equal(len(gone), 32 * len(state.withdrawn), "withdrawn")
    hashes = sorted(gone[at + 16:at + 24] for at in range(0, len(gone), 32))
    equal(hashes, sorted(struct.pack("<Q", shards.xxh3(k.encode()))
                         for k in state.withdrawn), "keys withdrawn")
    chance = random.Random(generation)
    for rank in range(len(dataset.entries)):
        sample = dataset.sample(rank)
        if sample.key not in state.live:
            sys.exit("FAILED: %s should not be there" % sample.key)
        check_sample(state.live[sample.key], sample, pictures, chance)
    for shard in dataset.shards.values():
        codings.update(shard.codings)
        digest = hashlib.sha256(shard.foot + shard.hashes).digest()
        equal(digest[:16], shard.id, "id of a shard")
    check_splits(dataset, state.live)
    check_dataset_statistics(dataset)
    check_histograms(dataset, state.live, pictures)
    check_measures(dataset)
    if program:
        check_program(program, "%s@%d" % (path, generation), dataset)


# ---- damage -----------------------------------------------------------------

def read_all(data):
    shard = shards.Shard(data)
    for page in range(0, len(shard.foot), 65536):
        shard.foot_bytes(page, min(65536, len(shard.foot) - page))
    for i in range(shard.samples):
        sample = shard.sample(i)
        for f in range(sample.fields):
            sample.box(f)


def refused(data, what):
    try:
        read_all(bytes(data))
    except shards.Damaged:
        counts["flips"] += 1
        return
    except shards.Unknown:
        pass
    sys.exit("FAILED: %s is not seen as damage" % what)


def check_damage(path):
    """Flips in head, frames, foot, and both tails; cuts."""
    with open(path, "rb") as f:
        whole = bytearray(f.read())
    shard = shards.Shard(bytes(whole))
    end = shard.foot_off + shard.foot_len
    chance = random.Random(1)
    places = [(at, None) for at in range(64)] + \
        [(at, None) for at in range(shard.foot_off, end)] + \
        [(len(whole) - 64 + at, len(whole) - 8192 + at) for at in range(64)]
    for at, twin in places:
        for bit in range(8) if at < 64 or twin else [chance.randrange(8)]:
            for place in (at, twin):
                if place is not None:
                    whole[place] ^= 1 << bit
            refused(whole, "bit %d of byte %d" % (bit, at))
            for place in (at, twin):
                if place is not None:
                    whole[place] ^= 1 << bit
    for _ in range(200):
        at = chance.randrange(64, shard.foot_off)
        whole[at] ^= 1 << chance.randrange(8)
        flipped = bytes(whole)
        if in_frames(shard, at):
            refused(flipped, "byte %d of the body" % at)
        whole[:] = shard.data
    for size in range(0, len(whole), 509):
        refused(whole[:size], "a cut at %d" % size)
    one = bytearray(whole)
    one[-64] ^= 1
    read_all(bytes(one))  # the other tail tells


def frames(data, end):
    """Offset and size of every frame, header and all, and its kind."""
    at = 64
    while at < end:
        size = 32 + struct.unpack_from("<I", data, at + 8)[0]
        yield at, size, data[at + 4]
        at += -(-size // 64) * 64


def check_swaps(dataset):
    """A frame in another's place, a shard under another's name."""
    for i, ref in enumerate(dataset.refs):
        data = dataset.shard(i).data
        try:
            shards.Shard(data, dataset.refs[i - 1])
        except shards.Damaged:
            counts["flips"] += 1
        else:
            sys.exit("FAILED: a shard under another's name")
        chunks = [(at, size) for at, size, kind
                  in frames(data, dataset.shard(i).foot_off) if kind == 2]
        for (a, size_a), (b, size_b) in zip(chunks, chunks[1:]):
            at, frm, size = (a, b, size_b) if size_b <= size_a else \
                (b, a, size_a)
            swapped = bytearray(data)
            swapped[at:at + size] = data[frm:frm + size]
            refused(swapped, "the frame of %d at %d" % (frm, at))


def in_frames(shard, at):
    """Not in the zeros between frames, nor in the schema's frame."""
    return any(begin <= at < begin + size and kind != 1
               for begin, size, kind in frames(shard.data, shard.foot_off))


# ---- what a later version brings --------------------------------------------

def unknown(read, what):
    try:
        read()
    except shards.Unknown:
        return
    sys.exit("FAILED: %s is not refused as unknown" % what)


def check_future(path):
    """As make_future.py wrote it: what is new hides nothing else."""
    dataset = shards.Dataset(path)
    ramp = bytes(range(32))
    equal(dataset.content_id(), dataset.manifest.bytes(14), "content_id")
    equal(dataset.schema.fields[2], ("spectrum", 9), "a kind of field")
    samples = [dataset.sample(i) for i in range(len(dataset.entries))]
    by_key = {s.key: s for s in samples}
    equal(by_key["plain"].box(0), ramp, "plain")
    for key in "codec", "filter", "chunk.flag":
        equal(by_key[key].box(0, [0, 0], [4, 8]), ramp, key)
        unknown(lambda: by_key[key].box(0), key)
    for key in "dtype", "encoding", "grid.flag":
        unknown(lambda: by_key[key].grid(0), key)
    equal(by_key["dtype"].box(1), ramp, "beside an unknown dtype")
    equal(by_key["encoding"].box(1), ramp, "beside an unknown encoding")


def main():
    table, pictures, golden = sys.argv[1:4]
    program = sys.argv[4] if len(sys.argv) > 4 else None
    today = sys.argv[5:] == ["--today"]
    small = None
    for name, generations in read_table(table):
        path = os.path.join(golden, name + ".mr")
        for i, state in enumerate(generations):
            if state.gone:
                continue
            check_generation(path, i + 1, state, pictures, program)
        equal(shards.Dataset(path).manifest.int(1), len(generations),
              "generation in force")
        for folder, _, files in os.walk(os.path.join(path, "shards")):
            for file in files:
                file = os.path.join(folder, file)
                if not small or os.path.getsize(file) < os.path.getsize(small):
                    small = file
    equal(sorted(codings), [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 0)],
          "codecs and filters that occur")
    check_damage(small)
    check_swaps(shards.Dataset(os.path.join(golden, "history.mr")))
    if os.path.exists(os.path.join(golden, "future.mr")):
        check_future(os.path.join(golden, "future.mr"))
    else:
        skipped.add("what a later version brings (no future.mr)")
    if today:  # what the first writers of version 1 did not say
        # Labels are over fields that are pictures in some samples.
        demanded = ["measures"] + ["pictures", "foregrounds"] * can_decode()
        missing = [what for what in demanded if counts[what] == 0]
        equal(missing, [], "statistics that today's writer leaves out")
    print("%(fields)d fields, %(values)d values, %(boxes)d boxes, %(bins)d bins, "
          "%(measures)d lengths and spacings, histograms of %(pictures)d "
          "channels of pictures and %(foregrounds)d under labels; %(flips)d "
          "damages refused" % counts)
    for what in sorted(skipped):
        print("skipped:", what)


if __name__ == "__main__":
    main()
