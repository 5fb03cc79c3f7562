# SPDX-License-Identifier: Apache-2.0
"""Endless streams of batches, raced in mid-course: millrace's and others'."""
import sys
import time

import race
import torch

BATCH, READY = 64, 4  # rows; batches that lie ready on each side
NEAR = 0.06           # of the deviation: each side draws its own crops


class Endless(torch.utils.data.Sampler):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        while True:
            yield from torch.randperm(self.n).tolist()


class Torch:
    """A DataLoader with worker processes; its batches are dicts of tensors."""

    def __init__(self, data, workers):
        self.it = iter(torch.utils.data.DataLoader(data, BATCH, sampler=Endless(len(data)), num_workers=workers,
                                                   prefetch_factor=max(1, READY // workers)))
        self.pids = [w.pid for w in self.it._workers]

    def next(self):
        return next(self.it)


def turn_of(peer, batches):
    def turn():
        for _ in range(2 * READY):  # those that lay ready, and into the stride
            peer.next()
        cpu, begin = race.cpu_seconds(peer.pids), time.perf_counter()
        for _ in range(batches):
            peer.next()
        return time.perf_counter() - begin, race.cpu_seconds(peer.pids) - cpu, batches * BATCH
    return turn


def turn_of_ours(program, batches):
    def turn():
        program.turn(f"take {2 * READY}")
        return program.turn(f"take {batches}")
    return turn


def look(peer, batches):
    """{name: (shape of a row, mean, deviation)}"""
    parts = [peer.next() for _ in range(batches)]
    found = {}
    for name in parts[0]:
        rows = torch.cat([p[name] for p in parts]).double()
        found[name] = "x".join(map(str, rows.shape[1:])), rows.mean().item(), rows.std().item()
    return found


def look_ours(program, batches):
    program.send(f"look {batches}")
    found = {}
    while line := program.line_or_none():
        name, _, shape, mean, std = line.split()
        found[name] = shape, float(mean), float(std)
    return found


def same_work(ours, peers, say):
    """Shapes equal; mean and deviation near each other."""
    here = look_ours(ours, 16)
    say(f"millrace: {here}")
    for label, peer in peers.items():
        there = look(peer, 16)
        say(f"{label}: {there}")
        for name, (shape, mean, std) in here.items():
            s, m, d = there[name]
            if s != shape or abs(m - mean) > NEAR * std or abs(d / std - 1) > NEAR:
                sys.exit(f"{label} did other work than millrace on {name}")


def race_all(args, work, dataset, pipeline, peers):
    ours = race.Program(args.build, "stream_bench", dataset, pipeline, BATCH, args.threads, READY)
    same_work(ours, peers, args.say)
    sides = {"millrace": turn_of_ours(ours, args.batches)}
    sides |= {name: turn_of(peer, args.batches) for name, peer in peers.items()}
    got = race.run(sides, args.rounds, pause=0.6, say=args.say)
    race.rows(f"{work}; {args.threads} threads", got, "millrace",
              lambda _, s, cpu: f"{1 / s:,.0f}/s, {cpu * 1000:.2f} CPU-s per 1,000", args.say)
    ours.close()
