#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""DINO steps in PyTorch beside the engine's: same weights, pictures, drop-path.

    dino.py run DINO_STEPS [--preset tiny|demo|small] [--steps N] [--backend B]
    dino.py golden FILE.safetensors

DINO_STEPS is the built tests/parity/dino_steps. `run` prints the largest
relative difference of the loss, and of each gradient of the first step beside
its norm; it fails above 1e-4. `golden` writes what train/model/dino_test.c
compares with. Exit 77: PyTorch is missing.

The network, loss, schedules and optimiser are written here from the papers
and the description of main_dino.py, and share nothing with the engine but the
counter RNG that makes pictures and drop-path factors.
"""
import argparse
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

PRESETS = {
    "tiny": dict(channels=3, patch=4, dim=12, depth=2, heads=2, global_size=12,
                 local_size=8, local_count=2, head_hidden=10, bottleneck=6,
                 out_dim=14, norm_last_layer=0, batch=4, drop_path=0.3, lr=0.05,
                 momentum=0.9, warmup=2, freeze=1, temperature=0.05,
                 temperature_begin=0.04, temperature_warmup=3),
    # docs/recipes/cells.yaml, with drop-path
    "demo": dict(channels=5, patch=8, dim=96, depth=2, heads=3, global_size=40,
                 local_size=24, local_count=4, head_hidden=256, bottleneck=64,
                 out_dim=64, norm_last_layer=1, batch=32, drop_path=0.1,
                 lr=0.012, momentum=0.98, warmup=20, freeze=10,
                 temperature=0.04, temperature_begin=0.04,
                 temperature_warmup=0),
    "small": dict(channels=5, patch=16, dim=384, depth=12, heads=6,
                  global_size=224, local_size=96, local_count=8,
                  head_hidden=2048, bottleneck=256, out_dim=65536,
                  norm_last_layer=1, batch=2, drop_path=0.1, lr=0.0005,
                  momentum=0.996, warmup=2, freeze=1, temperature=0.04,
                  temperature_begin=0.04, temperature_warmup=0),
}


# ------------------------------------------------------------- safetensors
def st_write(path, tensors, meta):
    header, blobs, at = {"__metadata__": {k: str(v) for k, v in meta.items()}}, [], 0
    for name, t in tensors.items():
        a = np.ascontiguousarray(t)
        kind = {"float32": "F32", "float64": "F64"}[str(a.dtype)]
        header[name] = {"dtype": kind, "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        blobs.append(a.tobytes())
        at += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def st_read(path):
    raw = open(path, "rb").read()
    n = struct.unpack_from("<Q", raw)[0]
    header = json.loads(raw[8:8 + n])
    header.pop("__metadata__", None)
    kinds = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "U8": np.uint8}
    return {k: np.frombuffer(raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]],
                             kinds[v["dtype"]]).reshape(v["shape"]) for k, v in header.items()}


# -------------------------------------------------------------- counter RNG
def philox(c, key):
    """Philox4x32-10 on arrays of counters c [4, n]."""
    c = [np.asarray(x, np.uint64) for x in c]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & low,
             (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def uniform(shape, key):
    """mri_draw_range(-2, 2) of the sequence `key`, as f32."""
    n = int(np.prod(shape))
    blocks = np.arange((n + 3) // 4, dtype=np.uint64)
    zero = np.zeros_like(blocks)
    w = np.stack(philox([blocks, zero, zero, zero], key), 1).reshape(-1)[:n]
    return torch.from_numpy((-2 + 4 * ((w >> np.uint64(8)).astype(np.float64) * 2.0 ** -24)).astype(np.float32).reshape(shape))


def crc32c(text):
    crc = 0xFFFFFFFF
    for b in text.encode():
        crc ^= b
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def drop_factors(c, name, rate, step):
    """One factor a sequence: global views of all samples, then local ones."""
    out, before = [], 0
    for views in (2, c["local_count"]):
        if views == 0:
            continue
        sample, view = np.divmod(np.arange(c["batch"] * views), views)
        k = np.full_like(sample, crc32c(name))
        w = philox([np.full_like(sample, step), sample, k, view + before], 1)[0]
        unit = (w >> np.uint64(8)).astype(np.float64) * 2.0 ** -24
        out.append(np.where(unit < 1 - rate, 1 / (1 - rate), 0.0))
        before += views
    return [torch.from_numpy(o.astype(np.float32)).view(-1, 1, 1) for o in out]


# ------------------------------------------------------------------ network
def make_params(c, gen):
    p, D, h, k = {}, c["dim"], c["head_hidden"], c["bottleneck"]

    def normal(name, *shape):
        p[name] = torch.randn(shape, generator=gen) * 0.02

    def flat(name, bound, *shape):
        p[name] = (torch.rand(shape, generator=gen) * 2 - 1) * bound

    def line(name, o, i):
        normal(name + ".weight", o, i)
        flat(name + ".bias", 0.02, o)  # not 0, so that they matter at once

    def norm(name):
        p[name + ".weight"] = 1 + (torch.rand(D, generator=gen) - 0.5) * 0.2
        flat(name + ".bias", 0.1, D)
    normal("backbone.cls_token", 1, 1, D)
    normal("backbone.pos_embed", 1, 1 + (c["global_size"] // c["patch"]) ** 2, D)
    fan = c["channels"] * c["patch"] ** 2
    flat("backbone.patch_embed.proj.weight", fan ** -0.5, D, c["channels"], c["patch"], c["patch"])
    flat("backbone.patch_embed.proj.bias", fan ** -0.5, D)
    for i in range(c["depth"]):
        b = f"backbone.blocks.{i}."
        norm(b + "norm1")
        line(b + "attn.qkv", 3 * D, D)
        line(b + "attn.proj", D, D)
        norm(b + "norm2")
        line(b + "mlp.fc1", 4 * D, D)
        line(b + "mlp.fc2", D, 4 * D)
    norm("backbone.norm")
    line("head.mlp.0", h, D)
    line("head.mlp.2", h, h)
    line("head.mlp.4", k, h)
    p["head.last_layer.weight_g"] = torch.ones(c["out_dim"], 1)
    flat("head.last_layer.weight_v", k ** -0.5, c["out_dim"], k)
    return p


def vit(c, p, x, drop):
    """x [N, C, s, s] -> [N, D]; drop(name, rate) -> factors [N, 1, 1]."""
    D, patch, heads = c["dim"], c["patch"], c["heads"]
    grid, g = c["global_size"] // patch, x.shape[-1] // patch
    pos = p["backbone.pos_embed"]
    if g != grid:
        patch_pos = pos[:, 1:].reshape(1, grid, grid, D).permute(0, 3, 1, 2)
        patch_pos = F.interpolate(patch_pos, scale_factor=(g + 0.1) / grid, mode="bicubic")
        pos = torch.cat([pos[:, :1], patch_pos.permute(0, 2, 3, 1).reshape(1, g * g, D)], 1)
    x = F.conv2d(x, p["backbone.patch_embed.proj.weight"], p["backbone.patch_embed.proj.bias"], patch)
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([p["backbone.cls_token"].expand(len(x), 1, D), x], 1) + pos

    def norm(name, x):
        return F.layer_norm(x, (D,), p[name + ".weight"], p[name + ".bias"], 1e-6)

    def line(name, x):
        return F.linear(x, p[name + ".weight"], p[name + ".bias"])
    for i in range(c["depth"]):
        b, rate = f"backbone.blocks.{i}.", c["drop_path"] * i / max(1, c["depth"] - 1)
        q, k, v = line(b + "attn.qkv", norm(b + "norm1", x)).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v)
        x = x + line(b + "attn.proj", a.transpose(1, 2).flatten(2)) * drop(b + "drop1", rate)
        x = x + line(b + "mlp.fc2", F.gelu(line(b + "mlp.fc1", norm(b + "norm2", x)))) * drop(b + "drop2", rate)
    return norm("backbone.norm", x)[:, 0]


def head(p, x):
    for n, i in enumerate((0, 2, 4)):
        x = F.linear(x, p[f"head.mlp.{i}.weight"], p[f"head.mlp.{i}.bias"])
        x = F.gelu(x) if n < 2 else x
    v = p["head.last_layer.weight_v"]
    return F.normalize(x, dim=-1) @ (p["head.last_layer.weight_g"] * v / v.norm(dim=1, keepdim=True)).t()


def dino_loss(c, s, t, center, temperature):
    """s: rows by crop size, sample, view; t: by sample, view."""
    B, n, K = c["batch"], c["local_count"], c["out_dim"]
    s = F.log_softmax(s / 0.1, -1)
    views = torch.cat([s[:2 * B].view(B, 2, K), s[2 * B:].view(B, n, K)], 1)
    t = F.softmax((t - center) / temperature, -1).view(B, 2, K)
    pairs = [-(t[:, i] * views[:, v]).sum(-1).mean() for i in range(2) for v in range(2 + n) if v != i]
    return sum(pairs) / len(pairs)


# ---------------------------------------------------------------- training
def cosine(a, b, n):
    return b + 0.5 * (a - b) * (1 + np.cos(np.pi * np.arange(n) / n))


def schedules(c, n):
    peak, warm = c["lr"] * c["batch"] / 256, min(c["warmup"], n)
    lr = np.concatenate([np.linspace(0, peak, warm), cosine(peak, c.get("min_lr", 1e-6), n - warm)])
    w = min(c["temperature_warmup"], n)
    heat = np.concatenate([np.linspace(c["temperature_begin"], c["temperature"], c["temperature_warmup"])[:w],
                           np.full(n - w, c["temperature"])])
    return lr, cosine(0.04, 0.4, n), cosine(c["momentum"], 1, n), heat


def crops(c, step):
    C, g, l = c["channels"], c["global_size"], c["local_size"]
    return (uniform((2 * c["batch"], C, g, g), 1000 + 2 * step),
            uniform((c["local_count"] * c["batch"], C, l, l), 1001 + 2 * step))


def train(c, params, steps, total=None, batches=crops):
    """Losses, the gradients of the first step, the final state, of the first
    `steps` of a schedule of `total`; batches(c, i) gives both sizes of crops."""
    s = {k: v.clone().requires_grad_(not (c["norm_last_layer"] and k.endswith("weight_g"))) for k, v in params.items()}
    t = {k: v.clone() for k, v in params.items()}
    m, v2 = ({k: torch.zeros_like(x) for k, x in params.items()} for _ in range(2))
    count = {}
    center, losses, first = torch.zeros(1, c["out_dim"]), [], {}
    lr, wd, keep, heat = schedules(c, total or steps)
    for i in range(steps):
        big, small = batches(c, i)
        with torch.no_grad():
            tt = head(t, vit(c, t, big, lambda *_: 1.0))
        rows = []
        for group, x in enumerate((big, small)):
            if len(x):
                rows.append(vit(c, s, x, lambda name, rate: drop_factors(c, "student." + name, rate, i)[group] if rate > 0 else 1.0))
        loss = dino_loss(c, head(s, torch.cat(rows)), tt, center, float(heat[i]))
        for p in s.values():
            p.grad = None
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for name, p in s.items():
                if p.grad is not None:
                    if i == 0:
                        first[name] = p.grad.clone()
                    g = p.grad * min(1.0, 3.0 / (p.grad.norm().item() + 1e-6))
                    if not (i < c["freeze"] and "last_layer" in name):
                        k = count[name] = count.get(name, 0) + 1
                        if p.ndim > 1 and not name.endswith(".bias"):
                            p.mul_(1 - lr[i] * wd[i])
                        m[name].mul_(0.9).add_(g, alpha=0.1)
                        v2[name].mul_(0.999).addcmul_(g, g, value=0.001)
                        denom = v2[name].sqrt() / math.sqrt(1 - 0.999 ** k) + 1e-8
                        p.addcdiv_(m[name], denom, value=-lr[i] / (1 - 0.9 ** k))
                t[name].mul_(keep[i]).add_(p, alpha=1 - keep[i])
            center = center * 0.9 + tt.mean(0, keepdim=True) * 0.1
    state = {"student." + k: x.detach() for k, x in s.items()}
    state.update({"teacher." + k: x for k, x in t.items()})
    state["center"] = center
    return losses, first, state


# ---------------------------------------------------------------- commands
def relative(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


def run(args):
    c = dict(PRESETS[args.preset])
    params = make_params(c, torch.Generator().manual_seed(args.seed))
    with tempfile.TemporaryDirectory() as folder:
        a, b = os.path.join(folder, "in"), os.path.join(folder, "out")
        st_write(a, {"student." + k: v.numpy() for k, v in params.items()}, dict(c, steps=args.steps))
        subprocess.run([args.dino_steps, a, b, args.backend, str(args.threads), str(args.parts)], check=True)
        ours = st_read(b)
    losses, first, state = train(c, params, args.steps)
    off = np.abs(ours["loss"] - losses) / np.abs(losses)
    biggest = max(g.norm().item() for g in first.values())
    grads = {k: relative(ours["grad.student." + k], g) for k, g in first.items() if g.norm().item() > 1e-5 * biggest}
    worst = max(grads, key=grads.get)
    weights = {k: relative(ours[k], v) for k, v in state.items() if k in ours}
    last = max(weights, key=weights.get)
    print(f"{args.preset}: {args.steps} steps, loss {losses[0]:.6f} -> {losses[-1]:.6f} (engine {ours['loss'][-1]:.6f})")
    print(f"loss: largest relative difference {off.max():.2e} at step {off.argmax()}")
    print(f"gradients of step 0: largest {grads[worst]:.2e} of its norm, {worst}")
    print(f"state after the last step: largest {weights[last]:.2e} of its norm, {last}")
    return 0 if off.max() < 1e-4 and grads[worst] < 1e-4 else 1


def golden(args):
    c, steps = dict(PRESETS["tiny"]), 6
    params = make_params(c, torch.Generator().manual_seed(3))
    losses, first, state = train(c, params, steps)
    out = {"student." + k: v.numpy() for k, v in params.items()}
    out.update({"grad." + k: v.numpy() for k, v in first.items()})
    out["loss"] = np.array(losses)
    for to in (3, 5):  # positions learned for 4 x 4 patches, for other sizes
        pos = uniform((1, 17, 3), 77)
        p = F.interpolate(pos[:, 1:].reshape(1, 4, 4, 3).permute(0, 3, 1, 2), scale_factor=(to + 0.1) / 4, mode="bicubic")
        out[f"positions.{to}"] = torch.cat([pos[:, :1], p.permute(0, 2, 3, 1).reshape(1, to * to, 3)], 1).numpy()
    st_write(args.file, out, dict(c, steps=steps, made_by="tests/parity/dino.py golden"))
    print(f"{args.file}: {os.path.getsize(args.file)} bytes, loss {losses}")
    return 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="command", required=True)
    r = sub.add_parser("run")
    r.add_argument("dino_steps")
    r.add_argument("--preset", default="demo", choices=PRESETS)
    r.add_argument("--steps", type=int, default=200)
    r.add_argument("--backend", default="cpu")
    r.add_argument("--threads", type=int, default=0)
    r.add_argument("--parts", type=int, default=1)
    r.add_argument("--seed", type=int, default=3)
    g = sub.add_parser("golden")
    g.add_argument("file")
    args = p.parse_args()
    sys.exit(run(args) if args.command == "run" else golden(args))


if __name__ == "__main__":
    main()
