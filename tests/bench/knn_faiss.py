#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exact nearest neighbours by cosine: millrace against faiss and PyTorch.

    knn_faiss.py BUILD [--rounds N] [--train N] [--test N] [--dim N] [--k N]
                       [--markdown]

The K nearest of TRAIN rows for each of TEST rows, on one thread and on all.
Two kinds of rows: drawn evenly, where every neighbour is nearly as far as the
next; and clusters that overlap, as features of a network do. faiss searches an
IndexFlatIP and PyTorch multiplies and takes the largest, as DINO's evaluation
does; both over rows of length one, made before their turn. millrace begins
with the bare rows: lengths, packing and the exact f64 order are in its time.
All three must give the same cosines to 1e-5. Exit 77: faiss is missing.
"""
import os
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import race  # noqa: E402

np, faiss = race.need("numpy", "faiss")


def even(rng, rows, dim):
    return rng.standard_normal((rows, dim), dtype=np.float32)


def clusters(rng, rows, dim):
    """100 centers that share most of their direction; some rows lie between."""
    common = rng.standard_normal(dim, dtype=np.float32) * 2
    centers = common + np.random.default_rng(7).standard_normal((100, dim), dtype=np.float32)
    noise = rng.standard_normal((rows, dim), dtype=np.float32) * 0.6
    return centers[rng.integers(0, 100, rows)] + noise


def unit(x):
    return np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True))


class Ours:
    def __init__(self, build, folder, train, test, k):
        train.tofile(folder / "train.f32")
        test.tofile(folder / "test.f32")
        self.shape = (len(test), k)
        self.program = race.Program(build, "knn_bench", folder / "train.f32", folder / "test.f32", train.shape[1], k)

    def turn(self, threads):
        return self.program.turn(f"time {threads}")

    def result(self):
        n = self.shape[0] * self.shape[1]
        self.program.send("result")
        raw = self.program.process.stdout.read(n * 12)
        return np.frombuffer(raw, "<u4", n).reshape(self.shape), np.frombuffer(raw, "<f8", n, n * 4).reshape(self.shape)


class Peer:
    """search(threads) -> (index, cosine) of all rows of test."""

    def turn(self, threads):
        cpu, begin = race.cpu_seconds(), time.perf_counter()
        self.search(threads)
        return time.perf_counter() - begin, race.cpu_seconds() - cpu, len(self.test)


class Faiss(Peer):
    def __init__(self, train, test, k):
        self.index, self.test, self.k = faiss.IndexFlatIP(train.shape[1]), unit(test), k
        self.index.add(unit(train))

    def search(self, threads):
        faiss.omp_set_num_threads(threads)
        cosine, index = self.index.search(self.test, self.k)
        return index, cosine


class Torch(Peer):
    PART = 500  # rows of test at once: all products would be 1 GB

    def __init__(self, torch, train, test, k):
        self.torch, self.k = torch, k
        self.train, self.test = torch.from_numpy(unit(train)).T, torch.from_numpy(unit(test))

    def search(self, threads):
        self.torch.set_num_threads(threads)
        parts = [self.torch.mm(x, self.train).topk(self.k) for x in self.test.split(self.PART)]
        return (self.torch.cat([p.indices for p in parts]).numpy(), self.torch.cat([p.values for p in parts]).numpy())


def agree(ours, peers, threads, say):
    ours.turn(threads)
    index, cosine = ours.result()
    for label, peer in peers.items():
        their_index, their_cosine = peer.search(threads)
        off = float(np.abs(their_cosine - cosine).max())
        say(f"{label}: cosines differ by {off:.1e} at most, {np.mean(their_index == index):.2%} of the places agree")
        if not off < 1e-5:
            sys.exit(f"{label} found other neighbours than millrace")


def race_rows(args, name, make):
    rng = np.random.default_rng(3)
    train, test = make(rng, args.train, args.dim), make(np.random.default_rng(4), args.test, args.dim)
    peers = {f"faiss {faiss.__version__} IndexFlatIP": Faiss(train, test, args.k)}
    try:
        import torch
        peers[f"PyTorch {torch.__version__} mm + topk"] = Torch(torch, train, test, args.k)
    except ImportError:
        args.say("PyTorch is not installed")
    with tempfile.TemporaryDirectory() as tmp:
        ours = Ours(args.build, pathlib.Path(tmp), train, test, args.k)
        for threads in sorted({1, os.cpu_count()}):
            args.say(f"{name}, {threads} thread{'s' if threads > 1 else ''}")
            agree(ours, peers, threads, args.say)
            sides = {label: lambda s=s, t=threads: s.turn(t) for label, s in {"millrace": ours, **peers}.items()}
            got = race.run(sides, args.rounds, pause=0.2, say=args.say)
            race.rows(f"exact {args.k}-NN, {args.train:,} x {args.dim}, {args.test:,} queries, {name}; "
                      f"{threads} thread{'s' if threads > 1 else ''}", got, "millrace",
                      lambda _, s, cpu: f"{1 / s:,.0f} queries/s", args.say)
        ours.program.close()


def main():
    args = race.arguments(__doc__, rounds=5, train=50_000, test=5_000, dim=384, k=20)
    args.say(race.machine())
    race_rows(args, "even rows", even)
    race_rows(args, "clusters", clusters)


if __name__ == "__main__":
    main()
