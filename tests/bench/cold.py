#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads that go to the disk: boxes, small records, samples of 128 KiB.

    cold.py BUILD [--rounds N] [--side N] [--boxes N] [--records N]
                  [--samples N] [--reads N] [--markdown]

Before each turn every side closes its files, the page cache lets go of them, and
they are opened again; the clock runs for the reads alone, by one thread. What
counts is time by the clock: most of it is waiting. millrace reads mapped and not
(MILLRACE_NO_MMAP; a copy of the files, since the page cache keeps what somebody
has mapped); records and samples with ranks known in advance, as a stream
knows them, and one at a time. It checks what it reads, and nobody else does.
Peers: Blosc2 b2nd, Zarr, and a mapped .npy for boxes; LMDB and a mapped .npy for
records. Files lie in the folder that TMPDIR names: it must be on a disk.
"""
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import race  # noqa: E402

np, blosc2 = race.need("numpy", "blosc2")
from box import BLOCK, BOX, clouds, write_nifti  # noqa: E402

NO_MMAP = {"MILLRACE_NO_MMAP": "1"}


def copy_of(dataset):
    other = dataset.with_suffix(".copy.mr")
    shutil.copytree(dataset, other)
    os.sync()
    return other


class Boxes:
    """millrace: boxes at the places that `draw` gives."""

    def __init__(self, build, dataset, draw, **environment):
        self.program = race.Program(build, "box_bench", dataset, BOX, BOX, BOX, **environment)
        self.program.line()
        self.draw = draw

    def turn(self):
        places = self.draw()
        self.program.send("drop")
        self.program.line()
        wall, cpu, _ = self.program.turn(f"time {len(places)}\n" + "\n".join("{} {} {}".format(*p) for p in places))
        return wall, cpu, len(places)


class Arrays:
    """Boxes of anything that is opened by a function and gives them by slices."""

    def __init__(self, path, open_it, draw):
        self.path, self.open_it, self.draw = path, open_it, draw

    def turn(self):
        places = self.draw()
        race.forget(self.path)
        array = self.open_it(self.path)
        cpu, begin = race.cpu_seconds(), time.perf_counter()
        for z, y, x in places:
            np.array(array[z:z + BOX, y:y + BOX, x:x + BOX])
        got = time.perf_counter() - begin, race.cpu_seconds() - cpu, len(places)
        del array
        return got


class Records:
    def __init__(self, program, order, reads):
        self.program, self.order, self.reads, self.seed = program, order, reads, 0

    def turn(self):
        self.seed += 1
        self.program.send("drop")
        self.program.line()
        return self.program.turn(f"{self.order} {self.reads} {self.seed}")


class Rows:
    def __init__(self, path, reads):
        self.path, self.reads = path, reads

    def turn(self):
        race.forget(self.path)
        rows = np.load(self.path, mmap_mode="r")
        places = np.random.default_rng().integers(0, len(rows), self.reads)
        cpu, begin = race.cpu_seconds(), time.perf_counter()
        for i in places:
            np.array(rows[i])
        return time.perf_counter() - begin, race.cpu_seconds() - cpu, self.reads


class Lmdb:
    def __init__(self, lmdb, path, rows, reads):
        self.lmdb, self.path, self.reads, self.count = lmdb, path, reads, len(rows)
        with lmdb.open(str(path), map_size=4 * rows.nbytes + (1 << 26)) as env, env.begin(write=True) as t:
            for i, row in enumerate(rows):
                t.put(i.to_bytes(8, "big"), row.tobytes(), append=True)

    def turn(self):
        race.forget(self.path)
        with self.lmdb.open(str(self.path), readonly=True, readahead=False, lock=False) as env, env.begin() as reader:
            keys = [random.randrange(self.count).to_bytes(8, "big") for _ in range(self.reads)]
            cpu, begin = race.cpu_seconds(), time.perf_counter()
            for key in keys:
                reader.get(key)
            return time.perf_counter() - begin, race.cpu_seconds() - cpu, self.reads


def show(work, got, args, unit):
    race.rows(work, got, "millrace", lambda _, s, cpu: f"{s * 1e3:.2f} ms" if unit else f"{1 / s:,.0f}/s", args.say)


def boxes(args, folder):
    v = clouds(args.side)
    rng = np.random.default_rng(2)

    def draw():
        return rng.integers(0, args.side - BOX + 1, (args.boxes, 3)).tolist()

    (folder / "raw").mkdir()
    write_nifti(folder / "raw" / "volume.nii", v)
    race.millrace(args.build, "ingest", folder / "raw", "-o", folder / "v.mr", "-q")
    cparams = {"codec": blosc2.Codec.LZ4, "clevel": 5, "typesize": 2, "filters": [blosc2.Filter.SHUFFLE], "nthreads": 1}
    blosc2.asarray(v, urlpath=str(folder / "v.b2nd"), mode="w", chunks=(128,) * 3, blocks=(BLOCK,) * 3, cparams=cparams)
    np.save(folder / "v.npy", v)

    def b2nd(path, **how):
        return blosc2.open(str(path), mode="r", dparams={"nthreads": 1}, **how)

    sides = {"millrace": Boxes(args.build, folder / "v.mr", draw),
             "millrace, --no-mmap": Boxes(args.build, copy_of(folder / "v.mr"), draw, **NO_MMAP),
             f"Blosc2 {blosc2.__version__}, chunks 128^3": Arrays(folder / "v.b2nd", b2nd, draw),
             f"Blosc2 {blosc2.__version__}, chunks 128^3, mapped":
             Arrays(folder / "v.b2nd", lambda p: b2nd(p, mmap_mode="r"), draw),
             "NumPy, .npy mapped": Arrays(folder / "v.npy", lambda p: np.load(p, mmap_mode="r"), draw)}
    try:
        import zarr
        codec = zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=2)
        z = zarr.create_array(store=str(folder / "v.zarr"), shape=v.shape, dtype=v.dtype, chunks=(BLOCK,) * 3,
                              compressors=codec)
        z[:] = v
        sides[f"Zarr {zarr.__version__}, 32^3"] = Arrays(folder / "v.zarr", lambda p: zarr.open_array(str(p), mode="r"),
                                                        draw)
    except ImportError:
        args.say("left out: there is no module zarr")
    got = race.run({k: s.turn for k, s in sides.items()}, args.rounds, say=args.say)
    show(f"cold: box 96^3 of {args.side}^3 u16", got, args, True)
    for side in sides.values():
        if isinstance(side, Boxes):
            side.program.close()


def records(args, folder, count, size):
    dataset = folder / "r.mr"
    program = args.build / "bench" / "records_bench"
    race.subprocess.run([program, "make", dataset, str(count), str(size)], check=True)
    mapped = race.Program(args.build, "records_bench", "read", dataset)
    ranged = race.Program(args.build, "records_bench", "read", copy_of(dataset), **NO_MMAP)
    rows = np.random.default_rng(1).integers(0, 256, (count, size), np.uint8)
    np.save(folder / "r.npy", rows)
    sides = {"millrace": Records(mapped, "want", args.reads), "millrace, one at a time": Records(mapped, "time", args.reads),
             "millrace, --no-mmap": Records(ranged, "want", args.reads), "NumPy, .npy mapped": Rows(folder / "r.npy", args.reads)}
    try:
        import lmdb
        sides[f"LMDB {'.'.join(map(str, lmdb.version()))}, through Python"] = Lmdb(lmdb, folder / "r.lmdb", rows, args.reads)
    except ImportError:
        args.say("left out: there is no module lmdb")
    for p in (mapped, ranged):
        p.turn("time 1 1")  # it opens the dataset at its first read
    got = race.run({k: s.turn for k, s in sides.items()}, args.rounds, say=args.say)
    show(f"cold: records of {size:,} bytes at random out of {count * size >> 20} MiB", got, args, False)
    for p in (mapped, ranged):
        p.close()


def main():
    args = race.arguments(__doc__, rounds=5, side=384, boxes=10, records=150000, samples=3000, reads=1000)
    blosc2.set_nthreads(1)
    args.say(f"{race.machine()}, {os.environ.get('TMPDIR', tempfile.gettempdir())}")
    for part in (boxes, lambda a, f: records(a, f, a.records, 2048), lambda a, f: records(a, f, a.samples, 131072)):
        with tempfile.TemporaryDirectory() as tmp:
            part(args, pathlib.Path(tmp))


if __name__ == "__main__":
    main()
