#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Race a DINO training step against PyTorch's, in turns, in one sitting.

    dino_step.py BUILD [--preset small|tiny|demo] [--rounds N] [--steps N]
                 [--compiled 1] [--markdown]

small is ViT-S/16 on 5 channels, 2 x 224 + 8 x 96 crops, batch 2, 65,536
outputs. In each round both sides make a few steps in f32 on as many threads,
one after the other, and the best of each side's are compared. PyTorch runs its
fastest eager parts: scaled_dot_product_attention, fused AdamW, foreach EMA.
That both compute the same is shown by tests/parity/dino.py; here only the
networks' sizes are compared. Exit 77: PyTorch is missing.
"""
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "parity"))
import race  # noqa: E402
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


def peer_turn(peer, steps):
    best, cpu = [], race.cpu_seconds()
    for _ in range(steps):
        begin = time.perf_counter()
        peer.step()
        best.append(time.perf_counter() - begin)
    return min(best), (race.cpu_seconds() - cpu) / steps, 1


class Ours:
    def __init__(self, args):
        self.program = args.build / "train" / "model" / "dino_bench"
        if not self.program.exists():
            race.skip(f"no {self.program}: cmake --build {args.build} --target bench_programs")
        self.order = ["--preset", args.preset, "--threads", str(args.threads), "--steps"]
        self.said = ""

    def turn(self, steps):
        self.said = subprocess.run([self.program, *self.order, str(steps)], capture_output=True, text=True,
                                   check=True).stdout
        return self.number(r"least ([0-9.]+)") * 1e-3, 0.0, 1

    def number(self, pattern):
        return float(re.search(pattern, self.said).group(1))


def main():
    args = race.arguments(__doc__, rounds=5, preset="small", steps=4, compiled=0)
    torch.set_num_threads(args.threads)
    peer, ours = Peer(PRESETS[args.preset], args.compiled), Ours(args)
    name = f"PyTorch {torch.__version__} {'compiled' if args.compiled else 'eager'}"
    args.say(f"{race.machine()}; {args.threads} threads each")
    peer_turn(peer, 2)
    ours.turn(1)
    size = sum(p.numel() for p in peer.s.values())
    if abs(ours.number(r"([0-9.]+) M parameters") - size * 1e-6) > 0.06:
        sys.exit(f"the networks differ: {size} parameters in PyTorch, here: {ours.said}")
    got = race.run({"millrace": lambda: ours.turn(args.steps), name: lambda: peer_turn(peer, args.steps)},
                   args.rounds, say=args.say)
    memory = {"millrace": ours.number(r"resident at most ([0-9.]+)"),
              name: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    flops = ours.number(r"([0-9.]+) GFLOP a step")
    race.rows(f"DINO step, {args.preset}, {flops:.0f} GFLOP, f32; {args.threads} threads", got, "millrace",
              lambda side, s, cpu: f"{s:.3f} s, {flops / s:.0f} GFLOP/s, {memory[side]:,.0f} MiB", args.say, cpu=False)


if __name__ == "__main__":
    main()
