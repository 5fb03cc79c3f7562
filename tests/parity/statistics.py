#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare a dataset's statistics with NumPy's in float64, over generations.

    statistics.py MILLRACE [SEED [TRIALS]]     so many, or those so named

TIFF, NIfTI and JPEG files of many types, shapes and scales are written here, then
ingested in two steps, withdrawn from and rolled back. After each step every
split's moments must be NumPy's within 1e-6 (|mean| + std); percentiles must be
numpy.percentile's of method inverted_cdf, to the last bit where the values are
integers of up to 16 bits with one scale, within 2^-8 otherwise; those of lengths
and spacings must be NumPy's to the last bit; the histograms
in the manifest must be those of a dataset that was ingested at once; and verify
must be content. Exit 77: a peer is missing.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import warnings

try:
    import nibabel
    import numpy as np
    import tifffile
    from PIL import Image
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

warnings.simplefilter("ignore")
PERCENT = [0.5, 5, 25, 50, 75, 95, 99.5]
SMALL = ("u1", "i1", "u2", "i2", "jpeg")


class Trial:
    """Files of one kind, and what they hold: {key: float64 [C, n]}."""

    def __init__(self, name, dtypes, scales=((1, 0),), channels=1, count=24):
        self.name, self.dtypes, self.scales = name, dtypes, scales
        self.channels, self.count = channels, count
        self.nifti = scales != ((1, 0),)
        self.measured = {}  # key: {(axis, length or spacing): value}
        self.exact = all(d in SMALL for d in dtypes) and len(scales) == 1

    def values(self, rng, dtype, shape):
        if dtype[0] == "f":
            a = rng.normal(0, 10.0 ** rng.integers(-3, 5), shape)
            a[rng.random(shape) < 0.2] = 0
            if not self.nifti:
                a[rng.random(shape) < 0.01] = np.nan
                a[rng.random(shape) < 0.01] = np.inf
            return a.astype(dtype)
        info = np.iinfo(dtype)
        low, high = sorted(int(v) for v in rng.integers(
            max(info.min, -(2**40)), min(info.max, 2**40), 2))
        a = rng.integers(low, high + 1, shape)
        a[rng.random(shape) < 0.3] = 0
        return a.astype(dtype)

    def write_jpeg(self, rng, path, side):
        """Pixels as Pillow decodes them: libjpeg-turbo, as we do."""
        a = rng.integers(0, 256, (side // 4 + 1, side // 3 + 1, 3))
        a = Image.fromarray(a.astype("u1")).resize((side, side + 9))
        if rng.random() < 0.3:
            a = a.convert("L")
        a.save(path, "JPEG", quality=int(rng.integers(30, 96)),
               subsampling=int(rng.integers(0, 3)),
               progressive=bool(rng.random() < 0.3))
        a = np.asarray(Image.open(path))
        return a[None] if a.ndim == 2 else np.moveaxis(a, 2, 0)

    def write(self, rng, folder, first, count):
        held = {}
        for i in range(first, first + count):
            dtype = self.dtypes[i % len(self.dtypes)]
            slope, inter = self.scales[i % len(self.scales)]
            # more than 256 KiB now and then: several chunks
            side = int(rng.integers(300, 420) if i % 8 == 5
                       else rng.integers(5, 50))
            if dtype == "jpeg":
                name = f"g{i // 3}_{i}.jpg"
                a = self.write_jpeg(rng, folder / name, side)
            elif self.nifti:
                name = f"g{i // 3}_{i}.nii"
                a = self.values(rng, dtype, (7, side, side))
                # some spacings occur often, some once
                step = rng.choice([0.5, 1, 2.5, rng.random() + 0.1], 3)
                image = nibabel.Nifti1Image(a, np.diag([*step, 1]))
                image.header.set_data_dtype(a.dtype)
                image.header.set_slope_inter(1, 0)
                nibabel.save(image, folder / name)
                raw = bytearray((folder / name).read_bytes())
                raw[112:120] = np.array([slope, inter], "<f4").tobytes()
                (folder / name).write_bytes(bytes(raw))
                self.measured[name] = {
                    (axis, kind): float(v) for kind, of in
                    (("length", a.shape), ("spacing", step.astype("f4")))
                    for axis, v in zip("XYZ", of)}
                slope, inter = (float(np.float32(v)) for v in (slope, inter))
            else:
                name = f"g{i // 3}_{i}.tif"
                a = self.values(rng, dtype, (self.channels, side, side))
                tifffile.imwrite(folder / name, a, ome=True,
                                 metadata={"axes": "CYX"})
            if not self.nifti:
                axes = "CYX" if len(a) > 1 else "YX"
                self.measured[name] = dict(zip(
                    ((axis, "length") for axis in axes),
                    a.shape[-len(axes):]))
            physical = a.astype("f8") * slope + inter
            held[name] = physical.reshape(len(a) if dtype == "jpeg"
                                          else self.channels, -1)
        return held


def run(*arguments, fails=False):
    got = subprocess.run([str(a) for a in arguments], capture_output=True,
                         text=True)
    if (got.returncode != 0) != fails:
        raise SystemExit(f"{' '.join(map(str, arguments))}: exit "
                         f"{got.returncode}\n{got.stderr}{got.stdout}")
    return got.stdout


def check_moments(what, said, x):
    assert said["count"] == x.size, (what, said["count"], x.size)
    if x.size == 0:
        return
    bound = 1e-6 * (abs(x.mean()) + x.std())
    assert said["min"] == x.min() and said["max"] == x.max(), what
    assert abs(said["mean"] - x.mean()) <= bound, (what, said, x.mean())
    assert abs(said["std"] - x.std()) <= bound, (what, said, x.std())


def check_percentiles(what, said, x, exact):
    if x.size == 0:
        assert said is None, what
        return
    want = np.percentile(x, PERCENT, method="inverted_cdf")
    got = [said[f"{p:g}"] for p in PERCENT]
    for p, a, b in zip(PERCENT, got, want):
        if exact:
            assert a == b, (what, p, a, b)
        else:
            b = float(np.float32(b))
            assert abs(a - b) <= abs(b) / 256, (what, p, a, b)


def check_measures(what, told, keys, held, trial):
    """Lengths and spacings: exact."""
    said = {(m["split"], m["axis"], m["measure"]):
            (m["samples"], m["percentiles"]) for m in told}
    assert len(said) == len(told), what
    want = {}
    for key in held:
        for (axis, kind), value in trial.measured[key].items():
            for split in (keys[key], "all"):
                want.setdefault((split, axis, kind), []).append(value)
    assert set(said) == set(want), (what, set(said) ^ set(want))
    for key, values in want.items():
        count, percentiles = said[key]
        assert count == len(values), (what, key, count)
        check_percentiles(what + key, percentiles,
                          np.array(values, "f8"), True)


def check(millrace, dataset, held, trial):
    """All that inspect --stats says, against the arrays."""
    run(millrace, "verify", dataset.split("@")[0], "-q")
    told = json.loads(run(millrace, "inspect", dataset, "--json", "--stats",
                          "--samples"))
    keys = splits_of(told)
    assert set(keys) == set(held), (dataset, set(keys) ^ set(held))
    check_measures((trial.name, dataset), told["measures"], keys, held, trial)
    for row in told["stats"]:
        what = (trial.name, dataset, row["split"], row["channel"])
        mine = [v[row["channel"]] for k, v in held.items()
                if row["split"] in ("all", keys[k])
                and row["channel"] < len(v)]
        x = np.concatenate(mine) if mine else np.zeros(0)
        finite = x[np.isfinite(x)]
        assert row["non_finite"] == x.size - finite.size, what
        check_moments(what, row, finite)
        check_moments(what + ("nonzero",), row["nonzero"], finite[finite != 0])
        check_percentiles(what, row["percentiles"], finite, trial.exact)
        check_percentiles(what + ("nonzero",), row["nonzero_percentiles"],
                          finite[finite != 0], trial.exact)
        assert row["percentiles_exact"] == trial.exact, what
    return {(r["split"], r["channel"]): (r["percentiles"],
                                         r["nonzero_percentiles"])
            for r in told["stats"]}


def splits_of(told):
    """The list of samples, wherever it stands."""
    for value in told.values():
        if isinstance(value, list) and value and isinstance(value[0], dict) \
                and "key" in value[0]:
            return {s["key"]: s["split"] for s in value}
    raise SystemExit(f"no samples in {sorted(told)}")


def play(millrace, trial, rng, scratch):
    source, other = scratch / "source", scratch / "other"
    source.mkdir(), other.mkdir()
    dataset = str(scratch / "d.mr")
    ingest = ("ingest", source, "-o", dataset, "--group", "{group}_*", "-q")
    half = trial.count // 2
    held = trial.write(rng, source, 0, half)
    run(millrace, *ingest)
    check(millrace, dataset, held, trial)
    first = dict(held)
    held.update(trial.write(rng, source, half, trial.count - half))
    run(millrace, *ingest)
    check(millrace, dataset, held, trial)
    check(millrace, dataset + "@1", first, trial)
    gone = sorted(held)[1::5]
    run(millrace, "withdraw", dataset, *gone, "-q")
    left = {k: v for k, v in held.items() if k not in gone}
    check(millrace, dataset, left, trial)
    run(millrace, "rollback", dataset + "@2", "-q")
    check(millrace, dataset, held, trial)
    run(millrace, "rollback", dataset + "@3", "-q")
    carried = check(millrace, dataset, left, trial)
    if trial.nifti:
        run(millrace, "compact", dataset, "-q")
        check(millrace, dataset, left, trial)
    # All that is left, at once and on three threads: "all" must be the same.
    for key in left:
        shutil.copy(source / key, other / key)
    fresh = str(scratch / "fresh.mr")
    run(millrace, "ingest", other, "-o", fresh, "--group", "{group}_*", "-q",
        "-j", 3)
    for key, value in check(millrace, fresh, left, trial).items():
        if key[0] == "all":
            assert carried[key] == value, (trial.name, key)


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    millrace = pathlib.Path(sys.argv[1]).resolve()
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 21
    trials = [
        Trial("u16, 3 channels", ["u2"], channels=3),
        Trial("f32", ["f4"], channels=2),
        Trial("i16 of one scale", ["i2"], scales=((0.5, -1024),)),
        Trial("i16 of two scales", ["i2"], scales=((0.5, -1024), (0.25, 3))),
        Trial("u8 and i16", ["u1", "i2"]),
        Trial("i8", ["i1"]),
        Trial("f64 and u16", ["f8", "u2"]),
        Trial("u32 and i32", ["u4", "i4"]),
        Trial("f32, scaled", ["f4"], scales=((3, 0.5),)),
        Trial("JPEG", ["jpeg"]),
        Trial("JPEG and u16", ["jpeg", "u2"]),
        Trial("JPEG and f32", ["jpeg", "f4"]),
        # more than there is room for at once
        Trial("u16, 130 channels", ["u2"], channels=130, count=5),
    ]
    word = sys.argv[3] if len(sys.argv) > 3 else ""
    count = int(word) if word.isdigit() else len(trials)
    for i, trial in enumerate(trials[:count]):
        if not word.isdigit() and word not in trial.name:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            play(millrace, trial, np.random.default_rng([seed, i]),
                 pathlib.Path(scratch))
        print(f"{trial.name}: as NumPy says")


main()
