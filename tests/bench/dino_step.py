#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Race a DINO training step against PyTorch's, in turns, in one sitting.

    dino_step.py DINO_BENCH [--preset small|tiny|demo] [--rounds 5] [--compile]

DINO_BENCH is the built train/model/dino_bench. In each round both sides make a
few steps on all CPUs, one after the other, and the better of each side's are
compared, so that what else the machine does meets both. Prints milliseconds of
each round and the ratio (over 1: we are faster) with its spread. PyTorch runs
its fastest eager parts: scaled_dot_product_attention, fused AdamW, foreach EMA.
Exit 77: PyTorch is missing.
"""
import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "parity"))
import dino  # noqa: E402  (exits with 77 where PyTorch is missing)
import torch  # noqa: E402

TINY = dict(dino.PRESETS["small"], dim=192, heads=3, batch=8)
PRESETS = {"small": dino.PRESETS["small"], "tiny": TINY, "demo": dict(dino.PRESETS["demo"], drop_path=0.0)}


class Peer:
    """The same step in PyTorch: no checks, no copies that are not needed."""

    def __init__(self, c, compiled):
        params = dino.make_params(c, torch.Generator().manual_seed(1))
        self.c, self.center = c, torch.zeros(1, c["out_dim"])
        self.s = {k: v.clone().requires_grad_(not k.endswith("weight_g")) for k, v in params.items()}
        self.t = {k: v.clone() for k, v in params.items()}
        self.trained = [p for p in self.s.values() if p.requires_grad]
        self.opt = torch.optim.AdamW(self.trained, lr=1e-4, weight_decay=0.04, fused=True)
        self.big, self.small = dino.crops(c, 0)
        self.network = torch.compile(self.forward) if compiled else self.forward

    def drop(self, n):
        rows = n

        def factors(name, rate):
            if rate == 0:
                return 1.0
            return (torch.rand(rows, 1, 1) < 1 - rate).float() / (1 - rate)
        return factors

    def forward(self, p, groups, train):
        rows = [dino.vit(self.c, p, x, self.drop(len(x)) if train else lambda *_: 1.0) for x in groups]
        return dino.head(p, torch.cat(rows))

    def step(self):
        with torch.no_grad():
            t = self.network(self.t, [self.big], False)
        s = self.network(self.s, [self.big, self.small], True)
        loss = dino.dino_loss(self.c, s, t, self.center, 0.04)
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            grads = [p.grad for p in self.trained]
            norms = torch._foreach_norm(grads)
            torch._foreach_mul_(grads, [min(1.0, 3.0 / (n.item() + 1e-6)) for n in norms])
            self.opt.step()
            self.center = self.center * 0.9 + t.mean(0, keepdim=True) * 0.1
            torch._foreach_lerp_(list(self.t.values()), [p.detach() for p in self.s.values()], 0.004)
        return loss.item()


def time_peer(peer, steps):
    best = []
    for _ in range(steps):
        begin = time.perf_counter()
        peer.step()
        best.append((time.perf_counter() - begin) * 1e3)
    return min(best)


def time_ours(program, preset, steps):
    out = subprocess.run([program, "--preset", preset, "--steps", str(steps)],
                         capture_output=True, text=True, check=True).stdout
    return float(re.search(r"least ([0-9.]+)", out).group(1))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dino_bench")
    p.add_argument("--preset", default="small", choices=PRESETS)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", type=int, default=4)
    p.add_argument("--compile", action="store_true")
    args = p.parse_args()
    peer = Peer(PRESETS[args.preset], args.compile)
    for _ in range(2):
        peer.step()
    ratios = []
    for i in range(args.rounds):
        theirs = time_peer(peer, args.steps)
        ours = time_ours(args.dino_bench, args.preset, args.steps)
        ratios.append(theirs / ours)
        print(f"round {i}: PyTorch {theirs:8.1f} ms, millrace {ours:8.1f} ms, ratio {ratios[-1]:.2f}", flush=True)
    print(f"{args.preset}: ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) against "
          f"PyTorch {torch.__version__}{' compiled' if args.compile else ''}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
