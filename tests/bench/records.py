#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small records read at random, and the opening of many of them.

    records.py BUILD [--rounds N] [--records N] [--bytes N] [--reads N]
                     [--opened N] [--markdown]

One thread copies records of noise out of files in the page cache, in an order
that no one can foresee; only millrace checks what it reads. Each side gives the
same records, byte by byte. Peers: LMDB (left out if there is no module lmdb;
its time includes Python's loop), and rows of a mapped .npy,
gathered by NumPy in calls of 256. millrace
reads twice: ranks known in advance, as a stream knows them (mri_dataset_foresee),
and one at a time. Then a dataset of --opened samples of 16 bytes is
opened: how long, and how much memory is resident afterwards; there is no peer.
"""
import pathlib
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import race  # noqa: E402

np = race.need("numpy")

OPENINGS = 50


def make(build, path, count, size):
    program = build / "bench" / "records_bench"
    if not program.exists():
        race.skip(f"no {program}: cmake --build {build} --target bench_programs")
    subprocess.run([program, "make", path, str(count), str(size)], check=True)
    return race.Program(build, "records_bench", "read", path)


class Ours:
    def __init__(self, program, size, order="time"):
        self.program, self.size, self.order, self.seed = program, size, order, 0

    def record(self, i):
        self.program.send(f"bytes {i}")
        return self.program.process.stdout.read(self.size)

    def turn(self, reads):
        self.seed += 1
        return self.program.turn(f"{self.order} {reads} {self.seed}")


class Lmdb:
    """Keys are ranks of 8 bytes; no copy of the key's page, one of the value."""

    def __init__(self, lmdb, folder, rows):
        self.count = len(rows)
        self.env = lmdb.open(str(folder / "lmdb"), map_size=4 * rows.nbytes + (1 << 26), readahead=False, sync=False)
        with self.env.begin(write=True) as t:
            for i, row in enumerate(rows):
                t.put(i.to_bytes(8, "big"), row.tobytes(), append=True)
        self.reader = self.env.begin()

    def record(self, i):
        return self.reader.get(i.to_bytes(8, "big"))

    def turn(self, reads):
        keys = [random.randrange(self.count).to_bytes(8, "big") for _ in range(reads)]
        get, cpu, begin = self.reader.get, race.cpu_seconds(), time.perf_counter()
        for key in keys:
            get(key)
        return time.perf_counter() - begin, race.cpu_seconds() - cpu, reads


class Mapped:
    def __init__(self, folder, rows):
        np.save(folder / "rows.npy", rows)
        self.rows = np.load(folder / "rows.npy", mmap_mode="r")

    def record(self, i):
        return self.rows[i].tobytes()

    def turn(self, reads):
        places = np.random.default_rng().integers(0, len(self.rows), reads)
        out = np.empty((256, self.rows.shape[1]), np.uint8)  # in the cache, as one record is
        cpu, begin = race.cpu_seconds(), time.perf_counter()
        for k in range(0, reads - reads % 256, 256):
            np.take(self.rows, places[k:k + 256], axis=0, out=out, mode="clip")
        return time.perf_counter() - begin, race.cpu_seconds() - cpu, reads - reads % 256


def race_records(args, folder):
    ours = Ours(make(args.build, folder / "records.mr", args.records, args.bytes), args.bytes)
    rows = np.stack([np.frombuffer(ours.record(i), np.uint8) for i in range(args.records)])
    single = "millrace, one at a time"
    stores = {"millrace": Ours(ours.program, args.bytes, "ahead"), single: ours, f"NumPy {np.__version__}, .npy mapped": Mapped(folder, rows)}
    try:
        import lmdb
        stores[f"LMDB {'.'.join(map(str, lmdb.version()))}, through Python"] = Lmdb(lmdb, folder, rows)
    except ImportError:
        args.say("left out: there is no module lmdb")
    for i in random.sample(range(args.records), 100):
        for label, store in stores.items():
            if store.record(i) != rows[i].tobytes():
                sys.exit(f"{label} gave another record")
    got = race.run({label: lambda s=s: s.turn(args.reads) for label, s in stores.items()}, args.rounds, say=args.say)
    race.rows(f"{args.records:,} records of {args.bytes:,} bytes, read at random; 1 thread", got, "millrace",
              lambda _, s, cpu: f"{1 / s:,.0f}/s", args.say)
    ours.program.close()


def opening(args, folder):
    program = make(args.build, folder / "many.mr", args.opened, 16)
    program.send("memory")
    kib = int(program.line())
    times = sorted(s / n for s, _, n in (program.turn(f"open {OPENINGS}") for _ in range(args.rounds)))
    args.say("\n| samples | opening | resident afterwards |\n|---|---|---|")
    print(f"| {args.opened:,} | {times[len(times) // 2] * 1e3:.2f} ms ({times[0] * 1e3:.2f} - {times[-1] * 1e3:.2f}) | "
          f"{kib / 1024:.1f} MiB |", flush=True)
    program.close()


def main():
    args = race.arguments(__doc__, rounds=11, records=200000, bytes=2048, reads=100000, opened=1000000)
    args.say(f"{race.machine()}; {args.reads} reads a turn")
    for part in (race_records, opening):
        with tempfile.TemporaryDirectory() as tmp:
            part(args, pathlib.Path(tmp))


if __name__ == "__main__":
    main()
