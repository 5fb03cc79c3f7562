#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Features, neighbours and components beside PyTorch's and scikit-learn's.

    eval.py MILLRACE [--keep DIR]

MILLRACE is the built program. In a folder of its own the script makes synthetic
cells, trains a small network for a few steps, and checks
  features  against a PyTorch forward of the same weights, on pictures that are
            prepared here from the stored pixels
  knn       against DINO's formula in PyTorch f64, and against scikit-learn
  plot      against scikit-learn's PCA: shares, and every mark of the SVG
It fails where one is off by more than rounding. Exit 77: a peer is missing.
"""
import argparse
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

try:
    import numpy as np
    import sklearn
    import torch
    import torch.nn.functional as F
    from sklearn.decomposition import PCA
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix
    from sklearn.neighbors import KNeighborsClassifier
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import dino  # noqa: E402

KINDS = {"F32": "<f4", "F64": "<f8", "U8": "u1", "U16": "<u2", "I32": "<i4", "I64": "<i8", "U64": "<u8", "U32": "<u4"}
RUN = {"model.arch": "vit_tiny", "model.dim": 48, "model.depth": 3, "model.heads": 3, "model.patch": 8,
       "model.head_hidden": 64, "model.bottleneck": 32, "model.out_dim": 64, "data.global_size": 40,
       "data.local_size": 24, "data.local_count": 2, "train.batch_size": 16, "train.steps": 12,
       "train.warmup_steps": 3}


def st_read(path):
    """Tensors and metadata of a safetensors file."""
    raw = pathlib.Path(path).read_bytes()
    n = struct.unpack_from("<Q", raw)[0]
    header = json.loads(raw[8:8 + n])
    meta = header.pop("__metadata__", {})
    return {k: np.frombuffer(raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]],
                             KINDS[v["dtype"]]).reshape(v["shape"]) for k, v in header.items()}, meta


class Program:
    def __init__(self, path):
        self.path = path

    def __call__(self, *args):
        done = subprocess.run([self.path, *map(str, args)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{self.path} {' '.join(map(str, args))}: {done.returncode}: {done.stderr}")
        return done.stdout


failures = []


def check(what, off, bound):
    print(f"{'ok  ' if off <= bound else 'OFF '} {what}: {off:.3g} (at most {bound:.3g})")
    if not off <= bound:
        failures.append(what)


class Table:
    def __init__(self, path):
        self.columns, meta = st_read(path)
        self.meta = json.loads(meta["millrace.features"])
        self.x = self.columns["features"].astype(np.float64)
        self.label, self.split = self.columns["label"], self.columns["split"]

    def side(self, name):
        return np.flatnonzero((self.split == self.meta["splits"].index(name)) & (self.label >= 0))


# ---------------------------------------------------------------- features
def shown(pixels, pipeline):
    """Stored pixels [N, C, H, W] as the pipeline says, in f64."""
    x = torch.from_numpy(pixels.astype(np.float64))
    for step in pipeline:
        (name, p), = step.items()
        if name == "minmax@1":
            low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
            x = (x - low) / (high - low)
        elif name == "resize@1":
            x = F.interpolate(x, p["size"], mode=p["filter"], antialias=p["antialias"], align_corners=False)
        elif name == "normalize@1":
            mean, std = (torch.tensor(p[k], dtype=torch.float64).view(-1, 1, 1) for k in ("mean", "std"))
            x = (x - mean) / std
        else:
            sys.exit(f"no rule for {name}")
    return x


def check_features(run, folder, table):
    weights, meta = st_read(folder / "run" / "checkpoints" / "last.safetensors")
    model = json.loads(meta["millrace.state"])["model"]
    c = dict(dim=model["dim"], patch=model["patch"], heads=model["heads"], depth=model["depth"],
             global_size=model["image"], drop_path=0.0)
    params = {k.removeprefix("teacher."): torch.from_numpy(v.astype(np.float64)) for k, v in weights.items()
              if k.startswith("teacher.backbone.")}
    run("batch", folder / "cells.mr", "--split", "all", "--order", "uid", "--batch-size", len(table.x), "-o",
        folder / "stored.safetensors", "-q")
    stored, _ = st_read(folder / "stored.safetensors")
    if not np.array_equal(stored["uid"], table.columns["uid"]):
        sys.exit("the rows of the table are not the samples of the dataset in the order of uids")
    pixels = stored["image"]
    pipeline = json.loads(table.meta["pipeline"])
    with torch.no_grad():
        want = dino.vit(c, params, shown(pixels, pipeline), lambda *_: 1.0).numpy()
    off = np.linalg.norm(want - table.x, axis=1) / np.linalg.norm(want, axis=1)
    check(f"features of {len(want)} pictures against PyTorch {torch.__version__} in f64, relative", off.max(), 1e-5)


def train(run, folder, name, seed, keys):
    run("train", "dino", folder / "cells.mr", "-o", folder / name, "--seed", seed, "-q",
        *(w for k, v in keys.items() for w in ("--set", f"{k}={v}")))


def check_random(run, folder):
    """A teacher that never moves is what the training began with."""
    train(run, folder, "still", 7, {**RUN, "train.momentum": 1, "train.steps": 3})
    run("eval", "features", folder / "still", folder / "cells.mr", "-o", folder / "still.mrf", "-q")
    off = Table(folder / "still.mrf").x - Table(folder / "untrained.mrf").x
    check("random:7 against the first teacher of train --seed 7", np.abs(off).max(), 0)


# --------------------------------------------------------------- neighbours
def votes_in_torch(table, k, temperature):
    """DINO's own: top k of the products, exp, scattered to classes, sorted."""
    a, b = table.side("train"), table.side("test")
    train, test = (F.normalize(torch.from_numpy(table.x[i]), dim=1) for i in (a, b))
    label = torch.from_numpy(table.label[a].astype(np.int64))
    similar, index = (test @ train.T).topk(k, dim=1, largest=True, sorted=True)
    one_hot = torch.zeros(len(b), k, len(table.meta["classes"]), dtype=torch.float64)
    one_hot.scatter_(2, label[index].unsqueeze(2), 1)
    return (one_hot * (similar / temperature).exp().unsqueeze(2)).sum(1), torch.from_numpy(table.label[b].astype(np.int64))


def check_knn(run, path, name):
    table = Table(path)
    a, b = table.side("train"), table.side("test")
    unit = table.x / np.linalg.norm(table.x, axis=1, keepdims=True)
    for k, temperature in ((20, 0.07), (1, 0.07), (5, 1.0), (100, 0.07), (len(a), 0.2)):
        got = json.loads(run("eval", "knn", path, "--k", k, "--temperature", temperature, "--json"))
        votes, truth = votes_in_torch(table, k, temperature)
        what = f"{name}, k {k}, T {temperature}"
        named = votes.argmax(1)
        top5 = ((votes.topk(5).indices == truth[:, None]) & (votes.topk(5).values > 0)).any(1)
        check(f"{what}: top-1 {got['top1']:.3f} against PyTorch", abs(got["top1"] - (named == truth).double().mean().item()), 1e-12)
        check(f"{what}: top-5 {got['top5']:.3f} against PyTorch", abs(got["top5"] - top5.double().mean().item()), 1e-12)
        sk = KNeighborsClassifier(k, weights=lambda d: np.exp((1 - d) / temperature), algorithm="brute", metric="cosine")
        called = sk.fit(unit[a], table.label[a]).predict(unit[b])
        check(f"{what}: top-1 against scikit-learn", abs(got["top1"] - np.mean(called == table.label[b])), 1e-12)
        check(f"{what}: balanced against scikit-learn",
              abs(got["balanced"] - balanced_accuracy_score(table.label[b], called)), 1e-12)
        matrix = np.zeros((len(table.meta["classes"]),) * 2, int)
        for answer in got["confusion"]:
            matrix[tuple(table.meta["classes"].index(answer[m]) for m in ("class", "called"))] = answer["count"]
        labels = range(len(matrix))
        check(f"{what}: confusion against scikit-learn",
              np.abs(matrix - confusion_matrix(table.label[b], called, labels=labels)).max(), 0)
        commonest = np.bincount(table.label[b]).max() / len(b)
        check(f"{what}: chance {got['chance']:.3f}", abs(got["chance"] - commonest), 1e-12)


# --------------------------------------------------------------- components
def marks(path):
    """Centers of the marks of an SVG that is valid XML, shifted by a radius."""
    root = xml.etree.ElementTree.parse(path).getroot()
    found = []
    for e in root.iter("{http://www.w3.org/2000/svg}path"):
        style, circle = e.get("style", ""), re.match(r"M ([-0-9.]+) ([-0-9.]+) C", e.get("d"))
        if circle and "stroke:rgb" in style and "fill-opacity:1;" not in style:  # the legend's are opaque
            found.append([float(v) for v in circle.groups()])
    return np.array(found)


def check_plot(run, folder, path, name):
    table = Table(path)
    svg = folder / f"{name}.svg"
    got = json.loads(run("eval", "plot", path, "-o", svg, "-o", folder / f"{name}.png", "--json"))
    unit = table.x / np.linalg.norm(table.x, axis=1, keepdims=True)
    pca = PCA(2, svd_solver="full").fit(unit)
    check(f"{name}: shares of the variance against scikit-learn {sklearn.__version__}",
          np.abs(np.array(got["variance"]) - pca.explained_variance_ratio_).max(), 1e-10)
    places, want = marks(svg), pca.transform(unit)
    if places.shape != want.shape:
        sys.exit(f"{svg} has {len(places)} marks, not {len(want)}")
    for k in range(2):  # linear in the component, either way round; cairo rounds to 1/256
        line = np.polynomial.polynomial.Polynomial.fit(want[:, k], places[:, k], 1)
        check(f"{name}: marks along component {k + 1}, points of the page",
              np.abs(line(want[:, k]) - places[:, k]).max(), 2.5e-3)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("millrace")
    p.add_argument("--keep", type=pathlib.Path, help="work there, and leave it")
    args = p.parse_args()
    run = Program(args.millrace)
    with tempfile.TemporaryDirectory() as tmp:
        folder = args.keep or pathlib.Path(tmp)
        folder.mkdir(exist_ok=True)
        run("synth", "cells", folder / "raw", "--count", 480, "--donors", 12, "-q")
        run("ingest", folder / "raw", "-o", folder / "cells.mr", "--group", "{group}_*", "-q")
        train(run, folder, "run", 0, RUN)
        run("eval", "features", folder / "run", folder / "cells.mr", "-o", folder / "trained.mrf", "-q")
        run("eval", "features", "random:7", folder / "cells.mr", "--like", folder / "run", "-o",
            folder / "untrained.mrf", "-q")
        check_features(run, folder, Table(folder / "trained.mrf"))
        check_random(run, folder)
        for name in ("trained", "untrained"):
            check_knn(run, folder / f"{name}.mrf", name)
            check_plot(run, folder, folder / f"{name}.mrf", name)
    print(f"{len(failures)} off" if failures else "all agree")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
