#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo's training beside PyTorch: weights, batches, steps, end to end.

    demo_train.py MILLRACE [--steps 200] [--cells 400] [--seed 7]

Makes cells, ingests them and trains by docs/recipes/cells.yaml. PyTorch draws
the same first weights from the seed (Philox and the normal quantile of SciPy),
takes its batches from `millrace batch -o`, and makes the same steps in the
network of dino.py. Prints the largest relative difference of the loss; fails
above 1e-4. Exit 77: PyTorch or SciPy is missing.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import dino  # says `skipped` and ends where PyTorch is missing

try:
    import numpy as np
    import torch
    from scipy.special import ndtri
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPE = os.path.join(HERE, "..", "..", "docs", "recipes", "cells.yaml")
# What stands in the recipe, and what it leaves at its default.
NET = dict(channels=5, patch=8, dim=96, depth=2, heads=3, global_size=40,
           local_size=24, local_count=4, head_hidden=256, bottleneck=64,
           out_dim=64, norm_last_layer=1, batch=32, drop_path=0.0, lr=0.012,
           min_lr=1e-5, momentum=0.98, warmup=90, freeze=10, temperature=0.04,
           temperature_begin=0.04, temperature_warmup=0)
TOTAL = 900


def words(name, count, seed):
    """Element i: word i mod 4 of block {i / 4, FNV-1a of the name, 0}."""
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    c = [blocks, np.full_like(blocks, h & 0xFFFFFFFF),
         np.full_like(blocks, h >> 32), np.zeros_like(blocks)]
    return np.stack(dino.philox(c, seed), 1).reshape(-1)[:count].astype(np.float64)


def first_weights(seed):
    """Normal (0.02) matrices, biases 0, gains 1; uniform within 1/sqrt(fan
    in): the patch embedding, as in PyTorch's convolutions, and weight_v."""
    out = {}
    for name, like in dino.make_params(NET, torch.Generator()).items():
        w = words(name, like.numel(), seed)
        fan = {"backbone.patch_embed.proj.weight": 320, "head.last_layer.weight_v": 64,
               "backbone.patch_embed.proj.bias": 320}.get(name)
        if fan:
            v = (2 * np.floor(w / 256) * 2.0 ** -24 - 1) * fan ** -0.5
        elif "norm" in name or name.endswith("weight_g"):
            v = np.full_like(w, 0.0 if name.endswith("bias") else 1.0)
        elif name.endswith("bias"):
            v = np.zeros_like(w)
        else:
            v = 0.02 * ndtri((w + 0.5) * 2.0 ** -32)
        out[name] = torch.from_numpy(v.astype(np.float32).reshape(like.shape))
    return out


def call(*words):
    return subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True).stdout


def train_ours(millrace, data, run, seed, steps):
    """Losses of the first steps, then a stop."""
    metrics = os.path.join(run, "metrics.jsonl")
    p = subprocess.Popen([millrace, "train", RECIPE, data, "-o", run, "--seed", str(seed), "-q"])
    lines = []
    while p.poll() is None and len(lines) <= steps:
        time.sleep(0.2)
        lines = open(metrics).read().splitlines() if os.path.exists(metrics) else []
    if p.poll() is None:
        p.send_signal(signal.SIGTERM)
    if p.wait() not in (0, 75):
        sys.exit(f"train ended with {p.returncode}")
    return [json.loads(line)["loss"] for line in open(metrics).read().splitlines()[:steps]]


def pipeline_of(run):
    """As the checkpoint has it: with the statistics of the dataset filled in."""
    raw = open(os.path.join(run, "checkpoints", "last.safetensors"), "rb").read()
    meta = json.loads(raw[8:8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
    states = [json.loads(v) for v in meta.values() if v.startswith("{")]
    return next(s["pipeline"] for s in states if "pipeline" in s)


def batches_of(millrace, data, pipeline, seed, per_epoch, folder):
    def get(c, step):
        path = os.path.join(folder, "batch.safetensors")
        call(millrace, "batch", data, "--pipeline", pipeline, "--seed", seed, "--tail", "drop",
             "--batch-size", c["batch"], "--epoch", step // per_epoch, "--index", step % per_epoch, "-o", path, "-q")
        t = dino.st_read(path)
        name = {k.rsplit(".", 1)[-1]: k for k in t}
        return [torch.from_numpy(t[name[k]].copy()).flatten(0, 1) for k in ("global", "local")]
    return get


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("millrace")
    p.add_argument("--steps", type=int, default=200)
    p.add_argument("--cells", type=int, default=400)
    p.add_argument("--seed", type=int, default=7)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raw, data, run, pipe = (os.path.join(folder, n) for n in ("raw", "cells.mr", "run", "pipe.yaml"))
        call(a.millrace, "synth", "cells", raw, "--count", a.cells, "--seed", a.seed, "-q")
        call(a.millrace, "ingest", raw, "-o", data, "--group", "{group}_*", "-q")
        ours = np.array(train_ours(a.millrace, data, run, a.seed, a.steps))
        open(pipe, "w").write(pipeline_of(run))
        rows = json.loads(call(a.millrace, "inspect", data, "--json"))
        train_rows = rows["splits"]["train"]
        get = batches_of(a.millrace, data, pipe, a.seed, train_rows // NET["batch"], folder)
        theirs, _, _ = dino.train(NET, first_weights(a.seed), len(ours), TOTAL, get)
    off = np.abs(ours - theirs) / np.abs(theirs)
    for i in range(0, len(ours), 20):
        print(f"step {i + 1:4}  millrace {ours[i]:.6f}  PyTorch {theirs[i]:.6f}  off by {off[i]:.1e}")
    print(f"{len(ours)} steps: largest relative difference of the loss {off.max():.2e} at step {off.argmax() + 1}, PyTorch {torch.__version__}")
    sys.exit(0 if len(ours) == a.steps and off.max() < 1e-4 else 1)


if __name__ == "__main__":
    main()
