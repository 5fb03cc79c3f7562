#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writing a u16 volume: against its own parts, and against other stores.

    write.py BUILD [--rounds N] [--side N] [--markdown]

The parts (statistics; filter and codec; checksums and hashes) are done one by one
to every chunk, in the same run: what writing costs beyond their sum is what it
wastes. The sums cut a chunk out of the volume twice where writing does it once.
Peers write the same volume by one thread with byte shuffle and LZ4, in chunks of
32^3; they take no statistics and, but for millrace, sync nothing: compare the
CPU. Peers: Blosc2 b2nd, Zarr, HDF5, and .npy, which is not compressed.
"""
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import race  # noqa: E402

np, blosc2 = race.need("numpy", "blosc2")
from box import BLOCK, clouds  # noqa: E402

PARTS = ("survey", "pack", "sum")


def timed(do, path):
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    cpu, begin = race.cpu_seconds(), time.perf_counter()
    do(path)
    return time.perf_counter() - begin, race.cpu_seconds() - cpu, 1


def peers(v, say):
    cparams = {"codec": blosc2.Codec.LZ4, "clevel": 5, "typesize": 2, "filters": [blosc2.Filter.SHUFFLE], "nthreads": 1}
    found = {f"Blosc2 {blosc2.__version__}, chunks 128^3, blocks 32^3":
             lambda p: blosc2.asarray(v, urlpath=str(p), mode="w", chunks=(128,) * 3, blocks=(BLOCK,) * 3, cparams=cparams),
             "NumPy, .npy, not compressed": lambda p: np.save(p, v)}
    try:
        import zarr
        codec = zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=2)

        def write(path):
            zarr.create_array(store=str(path), shape=v.shape, dtype=v.dtype, chunks=(BLOCK,) * 3, compressors=codec)[:] = v

        found[f"Zarr {zarr.__version__}, 32^3, Blosc LZ4"] = write
    except ImportError:
        say("left out: there is no module zarr")
    try:
        import h5py
        import hdf5plugin

        def write5(path):
            with h5py.File(path, "w") as f:
                f.create_dataset("v", data=v, chunks=(BLOCK,) * 3, compression=hdf5plugin.LZ4(), shuffle=True)

        found[f"HDF5 {h5py.version.hdf5_version}, 32^3, shuffle + LZ4"] = write5
    except ImportError:
        say("left out: there is no module h5py or hdf5plugin")
    return found


def main():
    args = race.arguments(__doc__, rounds=7, side=256)
    blosc2.set_nthreads(1)
    args.say(race.machine())
    v = clouds(args.side)
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        v.tofile(folder / "raw")
        (folder / "out").mkdir()
        program = race.Program(args.build, "write_bench", folder / "out", folder / "raw", *v.shape)

        def ours(order):
            wall, cpu, _ = program.turn(order)
            return wall, cpu, 1

        sides = {"millrace": lambda: ours("write")} | {part: lambda p=part: ours(p) for part in PARTS}
        sides |= {name: lambda d=do, i=i: timed(d, folder / f"peer{i}.npy") for i, (name, do) in enumerate(peers(v, args.say).items())}
        got = race.run(sides, args.rounds, say=args.say)
        program.close()
    whole = [cpu for _, cpu in got["millrace"]]
    parts = {part: [cpu for _, cpu in got.pop(part)] for part in PARTS}
    share = [100 * sum(parts[p][i] for p in PARTS) / whole[i] for i in range(args.rounds)]
    rate = {k: f"{v.nbytes / statistics.median(t) / 1e9:.2f} GB/s" for k, t in (parts | {"whole": whole}).items()}
    args.say("\n| writing | statistics | filter and codec | checksum and hash | the parts' share of writing |\n|---|---|---|---|---|")
    print(f"| {rate['whole']} | {rate['survey']} | {rate['pack']} | {rate['sum']} | {race.spread(share, 0)} % |", flush=True)
    race.rows(f"write {args.side}^3 u16, clouds and cells; 1 thread", got, "millrace",
              lambda _, s, cpu: f"{v.nbytes / cpu / 1e9:.2f} GB/s of CPU", args.say)


if __name__ == "__main__":
    main()
