# SPDX-License-Identifier: Apache-2.0
"""Random single-bit flips in files of other formats: how many of them come
back as wrong data without an error?

    python3 others.py [FLIPS [SEED [NOTES]]]

The same 16 cells of 5 x 48 x 48 u16 lie in every file, written and read by the
format's own library with its defaults; `.nii.gz` holds them as one volume. A
library that is not installed is named and left out; says skipped if none is.
What was counted of a format goes to the file NOTES; a run that finds it there
does not count it again.
"""
import importlib
import json
import os
import random
import sys
import tempfile
import warnings

try:
    import numpy as np
except ImportError as e:
    print("skipped:", e)
    sys.exit(77)

N, SHAPE = 16, (5, 48, 48)
warnings.simplefilter("ignore")


def cells():
    """Noise of eight bits over a blob: compresses as pictures do."""
    g = np.random.default_rng(7)
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    blob = 2000 * np.exp(-4 * (x * x + y * y))
    return (blob + g.integers(200, 456, (N, *SHAPE))).astype(np.uint16)


class Npy:
    name, needs = ".npy", ["numpy"]

    def write(self, folder, data):
        np.save(folder + "/x.npy", data)
        return folder + "/x.npy"

    def read(self, folder):
        return np.load(folder + "/x.npy")


class Safetensors:
    name, needs = "safetensors", ["safetensors.numpy"]

    def write(self, folder, data):
        from safetensors.numpy import save_file

        save_file({"x": data}, folder + "/x.safetensors")
        return folder + "/x.safetensors"

    def read(self, folder):
        from safetensors.numpy import load_file

        return load_file(folder + "/x.safetensors")["x"]


class Zarr:
    """One array, a chunk a cell, Blosc (LZ4 and shuffle); any of its files."""

    name, needs = "Zarr, Blosc", ["zarr"]

    def write(self, folder, data):
        import zarr
        from zarr.codecs import BloscCodec

        a = zarr.create_array(
            folder + "/x.zarr", shape=data.shape, dtype=data.dtype, chunks=(1, *SHAPE),
            compressors=[BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")])
        a[:] = data
        return [os.path.join(d, f) for d, _, fs in os.walk(folder + "/x.zarr") for f in fs]

    def read(self, folder):
        import zarr

        return zarr.open_array(folder + "/x.zarr", mode="r")[:]


class Mds:
    """MosaicML streaming, no hashes asked for: its default."""

    name, needs = "MDS", ["streaming"]

    def write(self, folder, data):
        from streaming import MDSWriter

        with MDSWriter(out=folder + "/mds", columns={"x": "ndarray"}) as w:
            for x in data:
                w.write({"x": x})
        return folder + "/mds/shard.00000.mds"

    def read(self, folder):
        from streaming.base.format import reader_from_json

        with open(folder + "/mds/index.json") as f:
            r = reader_from_json(folder + "/mds", None, json.load(f)["shards"][0])
        return np.stack([r[i]["x"] for i in range(N)])


class TfRecord:
    """tf.data.TFRecordDataset, a cell's bytes a record. It checks CRC-32C."""

    name, needs = "TFRecord, tf.data", ["tensorflow"]

    def write(self, folder, data):
        import tensorflow as tf

        with tf.io.TFRecordWriter(folder + "/x.tfrecord") as w:
            for x in data:
                w.write(x.tobytes())
        return folder + "/x.tfrecord"

    def read(self, folder):
        import tensorflow as tf

        records = [r.numpy() for r in tf.data.TFRecordDataset(folder + "/x.tfrecord")]
        return np.stack([np.frombuffer(r, np.uint16).reshape(SHAPE) for r in records])


class WebDataset:
    """A tar of .npy members, read by WebDataset's own loop."""

    name, needs = "WebDataset", ["webdataset"]

    def write(self, folder, data):
        import webdataset

        with webdataset.TarWriter(folder + "/x.tar") as w:
            for i, x in enumerate(data):
                w.write({"__key__": f"{i:06d}", "npy": x})
        return folder + "/x.tar"

    def read(self, folder):
        import webdataset

        d = webdataset.WebDataset(folder + "/x.tar", shardshuffle=False, empty_check=False).decode()
        return np.stack([s["npy"] for s in d])


class Nifti:
    name, needs = ".nii.gz, nibabel", ["nibabel"]

    def write(self, folder, data):
        import nibabel

        volume = data.reshape(-1, 48, 48)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder + "/x.nii.gz")
        return folder + "/x.nii.gz"

    def read(self, folder):
        import nibabel

        image = nibabel.load(folder + "/x.nii.gz")
        return np.asarray(image.dataobj), image.affine


def equal(a, b):
    if isinstance(a, tuple):
        return all(equal(x, y) for x, y in zip(a, b))
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def trial(peer, folder, path, bit, want):
    """'error', 'same' or 'wrong'."""
    with open(path, "r+b") as f:
        f.seek(bit // 8)
        was = f.read(1)[0]
        f.seek(bit // 8)
        f.write(bytes([was ^ 1 << bit % 8]))
        f.flush()
        try:
            got = "same" if equal(peer.read(folder), want) else "wrong"
        except Exception:  # whatever it is, something was said
            got = "error"
        f.seek(bit // 8)
        f.write(bytes([was]))
    return got


def campaign(peer, data, flips, seed):
    rng = random.Random(seed)
    count = {"error": 0, "same": 0, "wrong": 0}
    with tempfile.TemporaryDirectory() as folder:
        paths = peer.write(folder, data)
        paths = sorted(paths) if isinstance(paths, list) else [paths]
        sizes = [os.path.getsize(p) for p in paths]
        want = peer.read(folder)
        for _ in range(flips):
            bit = rng.randrange(8 * sum(sizes))
            for path, size in zip(paths, sizes):
                if bit < 8 * size:
                    break
                bit -= 8 * size
            count[trial(peer, folder, path, bit, want)] += 1
        if not equal(peer.read(folder), want):
            raise SystemExit(f"{peer.name}: the file is not as it was")
    return count, sum(sizes)


def version(peer):
    module = importlib.import_module(peer.needs[0].split(".")[0])
    return getattr(module, "__version__", "")


def noted(path, key):
    """The row that an earlier run made of this, or None."""
    try:
        with open(path) as f:
            for line in f:
                was, _, row = line.rstrip("\n").partition("\t")
                if was == key and row.endswith("% |"):
                    return row
    except OSError:
        pass
    return None


def main():
    flips = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    notes = sys.argv[3] if len(sys.argv) > 3 else os.devnull
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    data, missing, rows = cells(), [], []
    for kind in (Mds, TfRecord, WebDataset, Npy, Safetensors, Zarr, Nifti):
        peer = kind()
        try:
            for module in peer.needs:
                importlib.import_module(module)
        except Exception as e:
            missing.append(f"{peer.name} ({e})")
            continue
        key = f"{peer.name} {version(peer)} {flips} {seed}"
        row = noted(notes, key)
        if row is None:
            count, size = campaign(peer, data, flips, seed)
            row = (f"| {peer.name} {version(peer)} | {size} | {flips} | {count['error']} | {count['same']} "
                   f"| {count['wrong']} | {100 * count['wrong'] / flips:.2f} % |")
            with open(notes, "a") as f:
                f.write(f"{key}\t{row}\n")
        rows.append(row)
        print(rows[-1], file=sys.stderr)
    if not rows:
        print("skipped: none of them is installed:", ", ".join(missing))
        sys.exit(77)
    print("| format | bytes | flips | error | same data | wrong data, no error | share |\n|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    print(f"\nSeed {seed}." + (f" Not installed: {'; '.join(missing)}." if missing else ""))


main()
