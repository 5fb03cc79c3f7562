#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random 4 x 96^3 patches of an i16 volume with four channels, as f32.

    patch.py BUILD [--rounds N] [--patches N] [--side N] [--markdown]

What a network for segmentation asks for: all channels of a box, as floats, once
as they are and once with slope and intercept applied. One thread, files in the
page cache; blocks of 1 x 32^3, byte shuffle and LZ4 where there is a choice.
Only millrace checks what it reads; how much of its time that is, is measured
with the checksum alone over as many bytes of cache. Each side gives the same
floats. Peers: a mapped .npy, which is not compressed, and Blosc2 b2nd.
"""
import pathlib
import struct
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import race  # noqa: E402
from box import clouds  # noqa: E402

np, blosc2 = race.need("numpy", "blosc2")

BOX = 96
BLOCK = 32
SLOPE, INTER = 0.5, -1024.0


def write_nifti(path, v, slope, inter):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 4, *v.shape[::-1], 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<3f", header, 108, 352, slope, inter)
    header[344:348] = b"n+1\0"
    with open(path, "wb") as f:
        f.write(header)
        v.tofile(f)


class Ours:
    def __init__(self, build, folder, v, name, scale):
        (folder / name).mkdir()
        write_nifti(folder / name / "volume.nii", v, *scale)
        race.millrace(build, "ingest", folder / name, "-o", folder / f"{name}.mr", "-q")
        self.program = race.Program(build, "box_bench", folder / f"{name}.mr", len(v), BOX, BOX, BOX)
        self.what = self.program.line()
        self.bytes = sum(f.stat().st_size for f in (folder / f"{name}.mr").rglob("*.mrs"))

    def turn(self, places):
        lines = "\n".join(f"0 {z} {y} {x}" for z, y, x in places)
        wall, cpu, _ = self.program.turn(f"f32 {len(places)}\n{lines}")
        return wall, cpu, len(places)

    def stored(self, place):
        self.program.send("bytes 1\n0 {} {} {}".format(*place))
        return np.frombuffer(self.program.process.stdout.read(4 * BOX ** 3 * 2), "<i2").reshape(4, BOX, BOX, BOX)


class Array:
    def __init__(self, array, scale):
        self.array, self.scale = array, scale

    def patch(self, place):
        z, y, x = place
        part = self.array[:, z:z + BOX, y:y + BOX, x:x + BOX]
        if self.scale == (1, 0):
            return part.astype(np.float32)
        out = np.multiply(part, np.float32(self.scale[0]), dtype=np.float32)
        out += np.float32(self.scale[1])
        return out

    def turn(self, places):
        cpu, begin = race.cpu_seconds(), time.perf_counter()
        for place in places:
            self.patch(place)
        return time.perf_counter() - begin, race.cpu_seconds() - cpu, len(places)


def checks(args, ours, got, places, v):
    """CRC over as many stored bytes as a patch touches, beside the patch."""
    touched = np.mean([np.prod([(p + BOX - 1) // BLOCK - p // BLOCK + 1 for p in place]) for place in places])
    stored = int(ours.bytes * touched * 4 * BLOCK ** 3 / v.size)
    times = []
    for _ in range(args.rounds):
        _, cpu, _ = ours.program.turn(f"crc {stored * len(places)}")
        times.append(cpu / len(places))
    crc, patch = sorted(times)[len(times) // 2], sorted(cpu for _, cpu in got)[len(got) // 2]
    args.say("\n| bytes checked a patch | CRC alone | patch | share |\n|---|---|---|---|")
    print(f"| {stored / 1e6:.2f} MB | {crc * 1e3:.3f} ms, {stored / max(crc, 1e-9) / 1e9:.0f} GB/s | {patch * 1e3:.2f} ms "
          f"| {100 * crc / patch:.1f} % |", flush=True)


def race_scale(args, folder, v, scale):
    name = "plain" if scale == (1, 0) else "scaled"
    ours = Ours(args.build, folder, v, name, scale)
    np.save(folder / "v.npy", v)
    cparams = {"codec": blosc2.Codec.LZ4, "clevel": 5, "typesize": 2, "filters": [blosc2.Filter.SHUFFLE], "nthreads": 1}
    path = folder / f"{name}.b2nd"
    blosc2.asarray(v, urlpath=str(path), mode="w", chunks=(1, 128, 128, 128), blocks=(1, BLOCK, BLOCK, BLOCK),
                   cparams=cparams)
    stores = {f"NumPy {np.__version__}, .npy mapped, not compressed": Array(np.load(folder / "v.npy", mmap_mode="r"), scale),
              f"Blosc2 {blosc2.__version__}, chunks 1x128^3, blocks 1x32^3":
              Array(blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1}), scale)}
    args.say(f"{name}: {ours.what}; {v.nbytes / ours.bytes:.2f} times smaller than raw")
    rng = np.random.default_rng(3)
    limits = [n - BOX + 1 for n in v.shape[1:]]
    places = rng.integers(0, limits, (args.patches, 3)).tolist()
    for place in places[:3]:
        want = Array(v, scale).patch(place)
        for label, s in stores.items():
            if not np.array_equal(s.patch(place), want):
                sys.exit(f"{label} gave another patch than the volume has")
        z, y, x = place
        if not np.array_equal(ours.stored(place), v[:, z:z + BOX, y:y + BOX, x:x + BOX]):
            sys.exit("millrace gave another patch than the volume has")
    sides = {"millrace": lambda: ours.turn(places)} | {k: lambda s=s: s.turn(places) for k, s in stores.items()}
    got = race.run(sides, args.rounds, say=args.say)
    race.rows(f"patch 4x96^3 i16 -> f32, {name}; 1 thread", got, "millrace", lambda _, s, cpu: f"{cpu * 1e3:.2f} ms CPU",
              args.say)
    if name == "plain":
        checks(args, ours, got["millrace"], places, v)
    ours.program.close()


def main():
    args = race.arguments(__doc__, rounds=7, patches=12, side=224)
    blosc2.set_nthreads(1)
    args.say(f"{race.machine()}; {args.patches} patches a turn")
    one = clouds(args.side)
    v = np.stack([one // k for k in (2, 3, 5, 7)]).astype("<i2")
    for scale in ((1, 0), (SLOPE, INTER)):
        with tempfile.TemporaryDirectory() as tmp:
            race_scale(args, pathlib.Path(tmp), v, scale)


if __name__ == "__main__":
    main()
