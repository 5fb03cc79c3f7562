#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random 96^3 boxes out of a 512^3 u16 volume: a shard against other stores.

    box.py BUILD [--rounds N] [--boxes N] [--side N] [--few 1] [--markdown]

Every store lies in a file in the page cache and is read by one thread; blocks
of 32^3, byte shuffle and LZ4 wherever there is a choice; millrace as it chooses
by itself (bit packing or LZ4), and once more held to LZ4. Only millrace checks
what it reads. Each side gives the same boxes, value by value. The volumes: made
of smooth clouds, cells and the noise of a camera; and a real head, if there is
one (MILLRACE_REAL_DATA), tiled to the same size.
Peers: Blosc2 b2nd (two ways to cut it), Zarr 3, HDF5 through h5py, and a plain
.npy mapped to memory (--few 1: Blosc2 only). Exit 77: Blosc2 is missing.
"""
import gzip
import math
import pathlib
import struct
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import race  # noqa: E402

np, blosc2 = race.need("numpy", "blosc2")

BOX = 96
BLOCK = 32


def smooth(rng, side, cells):
    """Values in [0, 1] that change over side / cells voxels: linear between."""
    coarse = rng.random((cells + 1,) * 3, dtype=np.float32)
    at = np.linspace(0, cells, side, endpoint=False, dtype=np.float32)
    low, part = at.astype(int), at % 1
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = side
        w = part.reshape(shape)
        coarse = coarse.take(low, axis) * (1 - w) + coarse.take(low + 1, axis) * w
    return coarse


def clouds(side):
    """A light-sheet stack: background, two scales of structure, shot noise."""
    rng = np.random.default_rng(1)
    v = 120 + 400 * smooth(rng, side, 6) ** 2
    cells = smooth(rng, side, side // 12)
    v += np.where(cells > 0.7, 6000 * (cells - 0.7), 0)
    for z in range(side):  # by planes: noise of all at once would be 1 GB
        v[z] += rng.standard_normal((side, side), dtype=np.float32) * np.sqrt(v[z]) * 0.5
    return np.clip(v, 0, 65535).astype("<u2")


def head(side):
    """A real T1 head, stretched to 12 bits and tiled with mirrors."""
    folder = race.real_data()
    found = sorted(folder.glob("nifti/mni152/*[tT]1*.nii.gz")) if folder else []
    if not found:
        return None
    raw = gzip.open(found[0]).read()
    dims, kind = struct.unpack_from("<8h", raw, 40), struct.unpack_from("<h", raw, 70)[0]
    types = {2: "u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8", 512: "<u2"}
    begin = int(struct.unpack_from("<f", raw, 108)[0])
    v = np.frombuffer(raw, types[kind], math.prod(dims[1:4]), begin).reshape(dims[3:0:-1]).astype(np.float32)
    v = ((v - v.min()) * (4095 / (v.max() - v.min()))).astype("<u2")
    pads = [(0, max(0, side - n)) for n in v.shape]
    return np.ascontiguousarray(np.pad(v, pads, mode="symmetric")[:side, :side, :side])


def write_nifti(path, v):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *v.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 512, 16)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    with open(path, "wb") as f:
        f.write(header)
        v.tofile(f)


class Ours:
    def __init__(self, build, folder, v, codec):
        if not (folder / "raw").exists():
            (folder / "raw").mkdir()
            write_nifti(folder / "raw" / "volume.nii", v)
        dataset = folder / f"{codec}.mr"
        race.millrace(build, "ingest", folder / "raw", "-o", dataset, "-q", "--codec", codec)
        self.program = race.Program(build, "box_bench", dataset, BOX, BOX, BOX)
        axes, dtype, shape, self.chunk = self.program.line().split()
        if (axes, dtype, shape) != ("ZYX", "u16", "x".join(map(str, v.shape))):
            sys.exit(f"the volume was ingested as {axes} {dtype} {shape}")
        self.bytes = sum(f.stat().st_size for f in dataset.rglob("*") if f.is_file())

    def order(self, word, places):
        return f"{word} {len(places)}\n" + "\n".join(f"{z} {y} {x}" for z, y, x in places)

    def turn(self, places):
        wall, cpu, _ = self.program.turn(self.order("time", places))
        return wall, cpu, len(places)

    def box(self, place):
        self.program.send(self.order("bytes", [place]))
        return np.frombuffer(self.program.process.stdout.read(BOX ** 3 * 2), "<u2").reshape((BOX,) * 3)


class Array:
    """Anything that gives a box by slices."""

    def __init__(self, array, size):
        self.array, self.bytes = array, size

    def box(self, place):
        z, y, x = place
        return np.array(self.array[z:z + BOX, y:y + BOX, x:x + BOX])

    def turn(self, places):
        cpu, begin = race.cpu_seconds(), time.perf_counter()
        for z, y, x in places:
            self.array[z:z + BOX, y:y + BOX, x:x + BOX]
        return time.perf_counter() - begin, race.cpu_seconds() - cpu, len(places)


class Copied(Array):
    """Slices are views: the box must be copied to be read at all."""

    def turn(self, places):
        cpu, begin = race.cpu_seconds(), time.perf_counter()
        for place in places:
            self.box(place)
        return time.perf_counter() - begin, race.cpu_seconds() - cpu, len(places)


def blosc2_of(folder, v, name, chunk):
    cparams = {"codec": blosc2.Codec.LZ4, "clevel": 5, "typesize": 2, "filters": [blosc2.Filter.SHUFFLE],
               "nthreads": 1}
    path = folder / f"{name}.b2nd"
    blosc2.asarray(v, urlpath=str(path), mode="w", chunks=(chunk,) * 3, blocks=(BLOCK,) * 3, cparams=cparams)
    array = blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
    return Array(array, path.stat().st_size)


def others(folder, v, say):
    """Stores that may be there or not."""
    found = {}
    try:
        import zarr
        codec = zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=2)
        z = zarr.create_array(store=str(folder / "v.zarr"), shape=v.shape, dtype=v.dtype, chunks=(BLOCK,) * 3,
                              compressors=codec)
        z[:] = v
        size = sum(f.stat().st_size for f in (folder / "v.zarr").rglob("*") if f.is_file())
        found[f"Zarr {zarr.__version__}, 32^3, Blosc LZ4"] = Array(zarr.open_array(str(folder / "v.zarr"), mode="r"),
                                                                  size)
    except ImportError:
        say("Zarr is not installed")
    try:
        import h5py
        import hdf5plugin
        path = folder / "v.h5"
        with h5py.File(path, "w") as f:
            f.create_dataset("v", data=v, chunks=(BLOCK,) * 3, compression=hdf5plugin.LZ4(), shuffle=True)
        h5 = f"HDF5 {h5py.version.hdf5_version} (h5py {h5py.__version__}), 32^3"
        found[f"{h5}, shuffle + LZ4"] = Array(h5py.File(path, "r")["v"], path.stat().st_size)
        path = folder / "blosc.h5"
        with h5py.File(path, "w") as f:
            f.create_dataset("v", data=v, chunks=(BLOCK,) * 3,
                             compression=hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE))
        found[f"{h5}, Blosc LZ4"] = Array(h5py.File(path, "r")["v"], path.stat().st_size)
    except ImportError:
        say("h5py or hdf5plugin is not installed")
    np.save(folder / "v.npy", v)
    found["NumPy, .npy mapped, not compressed"] = Copied(np.load(folder / "v.npy", mmap_mode="r"), v.nbytes)
    return found


def amplification(places, block):
    """Values decoded for each value wanted."""
    touched = [math.prod((p + BOX - 1) // block - p // block + 1 for p in place) for place in places]
    return sum(touched) * block ** 3 / (len(places) * BOX ** 3)


def race_volume(args, name, v):
    rng = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        ours, held = Ours(args.build, folder, v, "auto"), Ours(args.build, folder, v, "lz4")
        b = f"Blosc2 {blosc2.__version__}"
        stores = {"millrace": ours, f"{b}, chunks = blocks = 32^3": blosc2_of(folder, v, "one", BLOCK),
                  f"{b}, chunks 128^3, blocks 32^3": blosc2_of(folder, v, "many", 128)}
        if not args.few:
            stores["millrace, --codec lz4"] = held
            stores |= others(folder, v, args.say)
        for label, s in stores.items():
            args.say(f"{name}: {label}: {v.nbytes / s.bytes:.2f} times smaller than raw")
        for place in [(0, 0, 0), tuple(n - BOX for n in v.shape), *rng.integers(0, args.side - BOX + 1, (3, 3))]:
            z, y, x = map(int, place)
            for label, s in stores.items():
                if not np.array_equal(s.box((z, y, x)), v[z:z + BOX, y:y + BOX, x:x + BOX]):
                    sys.exit(f"{label} gave another box than the volume has")
        places = rng.integers(0, args.side - BOX + 1, (args.boxes, 3)).tolist()
        args.say(f"{name}: chunks {ours.chunk}, {amplification(places, BLOCK):.2f} values decoded for each wanted "
                 "(32^3)")
        got = race.run({label: lambda s=s: s.turn(places) for label, s in stores.items()}, args.rounds, say=args.say)
        race.rows(f"box 96^3 of {args.side}^3 u16, {name}; 1 thread", got, "millrace",
                  lambda _, s, cpu: f"{s * 1e3:.2f} ms", args.say)
        ours.program.close()
        held.program.close()


def main():
    args = race.arguments(__doc__, rounds=7, boxes=40, side=512, few=0)
    blosc2.set_nthreads(1)
    args.say(f"{race.machine()}; {args.boxes} boxes a turn")
    for name, v in (("clouds and cells", clouds(args.side)), ("a head", head(args.side))):
        if v is None:
            args.say("no real head: MILLRACE_REAL_DATA names no folder with nifti/mni152")
        else:
            race_volume(args, name, v)


if __name__ == "__main__":
    main()
