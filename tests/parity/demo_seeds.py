#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Is the figure that ./dev demo prints an honest one?

usage: demo_seeds.py BUILD [--seeds 7,8,9] [--out DIR] [--steps N]

For each seed: cells, dataset, training and features by BUILD/bin/millrace, as
in tools/demo.sh. Then
  - trained kNN top-1 >= untrained + 10 points, and >= 2 x chance;
  - classifiers on the channels' means, donors held out (5 folds over all
    cells), stay within 10 points of chance: logistic regression, nearest
    neighbours, a forest, on raw means and on means less background.
Prints a table in Markdown, ends with 1 if a line does not hold, with 77 (after
"skipped") where scikit-learn is missing. A finished --out is not made anew.
"""
import argparse
import glob
import json
import os
import platform
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
except ImportError as e:
    print("skipped: no", e.name)
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RECIPE = os.path.join(ROOT, "docs", "recipes", "cells.yaml")
COUNT, DONORS = 2400, 30  # as in tools/demo.sh
CHANCE = 100 / 8


def cpu_name():
    try:
        with open("/proc/cpuinfo") as f:
            names = [l.split(":")[1].strip() for l in f if l.startswith("model name")]
        return f"{names[0]}, {len(names)} threads"
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def run(program, *args):
    p = subprocess.run([program, *args, "--json", "-q"], capture_output=True, text=True)
    if p.returncode != 0:
        sys.exit(f"{' '.join(args)} ended with {p.returncode}\n{p.stderr}")
    return json.loads(p.stdout.splitlines()[-1])


def load_cells(raw):
    """[n, 5, 72, 72], classes, donors; a file ends with its pixels."""
    files = sorted(glob.glob(os.path.join(raw, "*", "*.tif")))
    x = np.stack([np.fromfile(f, np.uint8)[-5 * 72 * 72 * 2:].view("<u2").reshape(5, 72, 72) for f in files])
    classes = np.array([f.split(os.sep)[-2] for f in files])
    donors = np.array([os.path.basename(f).split("_")[0] for f in files])
    return x.astype(np.float32), classes, donors


def summaries(x):
    low, high = x.min((2, 3), keepdims=True), x.max((2, 3), keepdims=True)
    background = np.percentile(x, 5, axis=(2, 3))
    return {
        "means": x.mean((2, 3)),
        "means less background": x.mean((2, 3)) - background,
        "means after min-max": ((x - low) / (high - low)).mean((2, 3)),
    }


def classifiers():
    return {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        "neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier(20)),
        "forest": RandomForestClassifier(200, random_state=0),
    }


def donors_held_out(features, classes, donors):
    """{classifier: percent right}, each cell judged by what never saw its donor."""
    right = {name: 0 for name in classifiers()}
    for train, test in GroupKFold(5).split(features, classes, donors):
        for name, c in classifiers().items():
            right[name] += (c.fit(features[train], classes[train]).predict(features[test]) == classes[test]).sum()
    return {name: 100 * n / len(classes) for name, n in right.items()}


def losses(run_dir):
    """(first, highest mean of 50 steps, last mean of 50 steps)"""
    with open(os.path.join(run_dir, "metrics.jsonl")) as f:
        loss = [r["loss"] for r in map(json.loads, f) if "loss" in r]
    mean = np.convolve(loss, np.ones(50) / 50, "valid")
    return loss[0], mean.max(), mean[-1]


def one_seed(program, seed, out, steps):
    raw, dataset, trained = (os.path.join(out, n) for n in ("raw", "cells.mr", "run"))
    os.makedirs(out, exist_ok=True)
    run(program, "synth", "cells", raw, "--count", str(COUNT), "--donors", str(DONORS), "--seed", str(seed))
    run(program, "ingest", raw, "-o", dataset, "--group", "{group}_*")
    more = ["--set", f"train.steps={steps}"] if steps else []
    report = run(program, "train", RECIPE, dataset, "-o", trained, "--seed", str(seed), *more)
    top1 = {}
    for name, weights in (("untrained", [f"random:{seed}", dataset, "--like", trained]), ("trained", [trained, dataset])):
        table = os.path.join(out, name + ".mrf")
        run(program, "eval", "features", *weights, "-o", table)
        for split in ("test", "val"):
            top1[name, split] = 100 * run(program, "eval", "knn", table, "--test", split)["top1"]
    x, classes, donors = load_cells(raw)
    means = {name: donors_held_out(f, classes, donors) for name, f in summaries(x).items()}
    return top1, losses(trained), report, means


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build")
    p.add_argument("--seeds", default="7,8,9")
    p.add_argument("--out")
    p.add_argument("--steps", type=int)
    a = p.parse_args()
    program = os.path.join(a.build, "bin", "millrace")
    if not os.path.exists(program):
        sys.exit(f"no {program}: build first")
    scratch = tempfile.TemporaryDirectory() if a.out is None else None
    bad, figures = [], []
    for seed in map(int, a.seeds.split(",")):
        out = os.path.join(a.out or scratch.name, f"seed{seed}")
        top1, loss, report, means = one_seed(program, seed, out, a.steps)
        figures.append((seed, top1, loss, report, means))
        print(f"seed {seed}: untrained {top1['untrained', 'test']:.1f}, trained {top1['trained', 'test']:.1f}, "
              f"best by means {max(means['means'].values()):.1f}", file=sys.stderr)
        if top1["trained", "test"] < top1["untrained", "test"] + 10:
            bad.append(f"seed {seed}: not 10 points above untrained")
        if top1["trained", "test"] < 2 * CHANCE:
            bad.append(f"seed {seed}: not twice chance")
        for kind in ("means", "means less background"):
            for name, percent in means[kind].items():
                if abs(percent - CHANCE) > 10:
                    bad.append(f"seed {seed}: {name} on {kind}: {percent:.1f}, chance is {CHANCE}")
    print(f"{cpu_name()}; {COUNT} cells, {DONORS} donors; kNN top-1 in %, chance {CHANCE}\n")
    print("| seed | untrained, test (val) | trained, test (val) | loss: first, highest, last | images/s | seconds |")
    print("|---|---|---|---|---|---|")
    for seed, top1, loss, report, _ in figures:
        print(f"| {seed} | {top1['untrained', 'test']:.1f} ({top1['untrained', 'val']:.1f}) "
              f"| **{top1['trained', 'test']:.1f}** ({top1['trained', 'val']:.1f}) "
              f"| {loss[0]:.2f}, {loss[1]:.2f}, {loss[2]:.2f} "
              f"| {report['images_per_s']:.0f} | {report['seconds']:.0f} |")
    print("\n| seed | summary of a channel | logistic | neighbours | forest |\n|---|---|---|---|---|")
    for seed, _, _, _, means in figures:
        for kind, percents in means.items():
            print(f"| {seed} | {kind} | " + " | ".join(f"{v:.1f}" for v in percents.values()) + " |")
    print("\n" + ("\n".join(bad) if bad else "holds"))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
