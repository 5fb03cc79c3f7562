#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cells of `millrace synth cells` beside a reference in NumPy.

usage: synth_cells.py BUILD [--count N] [--seed S] [--donors D]

The reference draws the same words and follows docs/synthetic-cells.md; it
shares nothing with tools/synth. Sums in another order may move a value over
the edge of rounding: +-1 count in a few pixels. tifffile reads the files, so
that shape, axes and names of channels are looked at, too. Exit 77: skipped.

The classes are states of a cell that differ in where things lie. The amount of
stain of a channel depends on donor, cell and cell size only, never on the
class. Nuisance, as in a laboratory: staining of the donor and of the cell,
background, lamp gradient, blur, focus, shot and read noise, hot pixels, cell
size, position and direction.
"""
import argparse
import math
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

try:
    import numpy as np
    import tifffile
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

SIZE = 72
CHANNELS = ["DAPI", "Tubulin", "Actin", "Mito", "Marker"]
CLASSES = ["activated", "apoptotic", "binucleate", "dividing", "migrating", "resting", "starved", "stretched"]
(ACTIVATED, APOPTOTIC, BINUCLEATE, DIVIDING, MIGRATING, RESTING, STARVED, STRETCHED) = range(8)
STAIN = [550e3, 990e3, 880e3, 770e3, 770e3]           # summed counts of a channel, donor and cell at 1, R = 20
HOT = 0.6                                             # share of channels that hold a hot pixel
PI, TAU = math.pi, 2.0 * math.pi
MID = (SIZE - 1) / 2.0                                # 35.5

# ---------------------------------------------------------------- random words
TAG = 0x6C6C6563                                      # "cell", little-endian


def philox(seed, c0, c1, c2, c3):
    """Philox4x32-10 -> words [..., 4]; key = low and high half of the seed."""
    c = [np.asarray(v, np.uint64) for v in np.broadcast_arrays(c0, c1, c2, c3)]
    k0, k1 = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    s, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> s) ^ c[1] ^ np.uint64(k0), p1 & low, (p0 >> s) ^ c[3] ^ np.uint64(k1), p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, -1)


def near_normal(b):
    """Sum of 8 bytes -> mean 0, variance 1 (reaches 4.88)."""
    return (b - 1020.0) / 209.0215


class Draw:
    """The words of one stream in order; block n has counter {n, stream, index, TAG}."""

    def __init__(self, seed, stream, index, blocks=256):
        self.w = philox(seed, np.arange(blocks), stream, index, TAG).reshape(-1).tolist()
        self.i = 0

    def word(self):
        self.i += 1
        return self.w[self.i - 1]

    def u(self, a=0.0, b=1.0):
        return a + (b - a) * ((self.word() >> 8) * 2.0 ** -24)

    def n(self):
        w, v = self.word(), self.word()
        return near_normal(sum((w >> s & 255) + (v >> s & 255) for s in (0, 8, 16, 24)))

    def int(self, a, b):
        """a..b inclusive."""
        return a + (self.word() * (b - a + 1) >> 32)


# ---------------------------------------------------------------- canvas
YY, XX = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)


def smooth(t):
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def splat(img, x, y, w):
    """Adds w at a real position with bilinear shares; what falls outside is lost."""
    x0, y0 = math.floor(x), math.floor(y)
    fx, fy = x - x0, y - y0
    for j, i, s in ((y0, x0, (1 - fx) * (1 - fy)), (y0, x0 + 1, fx * (1 - fy)),
                    (y0 + 1, x0, (1 - fx) * fy), (y0 + 1, x0 + 1, fx * fy)):
        if 0 <= j < SIZE and 0 <= i < SIZE:
            img[j, i] += s * w


def bump(x, y, r):
    """(window, (1 - d^2/r^2)^2 inside d < r)."""
    x0, x1 = max(0, math.ceil(x - r)), min(SIZE - 1, math.floor(x + r))
    y0, y1 = max(0, math.ceil(y - r)), min(SIZE - 1, math.floor(y + r))
    dx, dy = np.arange(x0, x1 + 1) - x, np.arange(y0, y1 + 1) - y
    t = 1.0 - (dx[None] ** 2 + dy[:, None] ** 2) / (r * r)
    return (slice(y0, y1 + 1), slice(x0, x1 + 1)), np.maximum(t, 0.0) ** 2


def spot(img, x, y, r, w):
    """Adds a soft spot."""
    at, v = bump(x, y, r)
    img[at] += w * v


def dab(img, x, y, r, w):
    """Multiplies by 1 + w in a soft spot."""
    at, v = bump(x, y, r)
    img[at] *= 1.0 + w * v


def mix(a, b, share):
    """Both to sum 1, then (1 - share) a + share b."""
    return (1.0 - share) / a.sum() * a + share / b.sum() * b


def gauss_blur(img, sigma):
    """Separable, 9 taps, edge pixels repeated."""
    k = np.exp(-0.5 * (np.arange(-4, 5) / sigma) ** 2)
    k /= k.sum()
    p = np.pad(img, 4, mode="edge")
    t = sum(k[i] * p[i:i + SIZE, :] for i in range(9))
    return sum(k[i] * t[:, i:i + SIZE] for i in range(9))


class Outline:
    """A closed curve, rho < 1 inside: an ellipse (half axes a, b; first axis at angle t) with waves."""

    def __init__(self, cx, cy, a, b, t, waves=()):
        self.cx, self.cy, self.a, self.b, self.c, self.s, self.waves = cx, cy, a, b, math.cos(t), math.sin(t), waves
        self.r = math.sqrt(a * b)

    def at(self, rho, phi):
        """Image position at a share rho of the half axes, waves left out."""
        x, y = rho * self.a * math.cos(phi), rho * self.b * math.sin(phi)
        return self.cx + self.c * x - self.s * y, self.cy + self.s * x + self.c * y

    def rho(self, px, py):
        dx, dy = px - self.cx, py - self.cy
        x, y = (self.c * dx + self.s * dy) / self.a, (self.c * dy - self.s * dx) / self.b
        r = (x * x + y * y) ** 0.5 + 1e-9
        c1, s1 = x / r, y / r
        c, s, e = c1, s1, 1.0
        for p, q in self.waves:                       # waves of 2, 3, 4 periods
            c, s = c * c1 - s * s1, s * c1 + c * s1
            e = e + p * c + q * s
        return r / e

    def mask(self, soft):
        return smooth((1.0 - self.rho(XX, YY)) * self.r / soft + 0.5)


def fibre(img, cell, x, y, t, bend, length, w, limit=0.97):
    """Lays w every 0.75 px along a bending path until the length is spent or the path leaves the cell."""
    i = 0
    while i * 0.75 < length and cell.rho(x, y) < limit:
        splat(img, x, y, w)
        x, y, t = x + 0.75 * math.cos(t), y + 0.75 * math.sin(t), t + 0.75 * bend
        i += 1


# ---------------------------------------------------------------- the cell
def plan(index, donors):
    """(class, donor)."""
    return index % 8, index // 8 % donors


def donor(seed, d):
    r = Draw(seed, 0, d, 16)
    return dict(gain=[math.exp(0.35 * r.n()) for _ in range(5)],
                background=[r.u(200, 400) for _ in range(5)],
                blur=[r.u(0.7, 1.0) for _ in range(5)],
                tilt=[(r.u(-0.2, 0.2), r.u(-0.2, 0.2)) for _ in range(5)],
                read=r.u(3, 7), photon=r.u(0.3, 0.8), size=math.exp(0.06 * r.n()))


def render(seed, index, donors):
    """u16 [5, 72, 72]"""
    k, d = plan(index, donors)
    D = donor(seed, d)
    # --- stream 1: shape, unbound shares, nucleus
    g = Draw(seed, 1, index)
    R = min(max(20.0 * D["size"] * math.exp(0.11 * g.n()), 15.0), 25.0)
    cx, cy, th = MID + g.u(-5, 5), MID + g.u(-5, 5), g.u(0, TAU)
    asp = math.exp(abs(0.10 * g.n()))
    stretch = g.u()
    if k == STRETCHED: asp *= 1.25 + 0.35 * stretch
    if k == MIGRATING: asp *= 1.1 + 0.3 * stretch
    if k == DIVIDING: asp = 1.0 + 0.3 * (asp - 1.0)
    amp = 0.015 if k == DIVIDING else 0.045
    waves = [(amp * v * g.n(), amp * v * g.n()) for v in (1.0, 0.7, 0.5)]
    q = math.sqrt(asp)
    cell = Outline(cx, cy, R * q, R / q, th, waves)
    rho = cell.rho(XX, YY)
    M = smooth((1.0 - rho) * R / 1.5 + 0.5)
    T = M * (0.35 + 0.65 * np.maximum(1.0 - rho * rho, 0.0))          # thickness
    edge = M * smooth(((rho - 1.0) * R + 4.5) / 3.0)                  # cortex
    front = ((XX - cx) * math.cos(th) + (YY - cy) * math.sin(th)) / (R * q)
    free = [g.u(0.02, 0.10)] + [g.u(0.15, 0.35) for _ in range(4)]    # share of unbound stain
    na = R * g.u(0.34, 0.44)
    nasp, nt = math.sqrt(1.0 + abs(0.15 * g.n())), g.u(0, TAU)
    ox, oy = 0.12 * R * g.n(), 0.12 * R * g.n()
    if k == MIGRATING: ox = -R * g.u(0.30, 0.42)
    if k == STRETCHED:
        nasp = math.sqrt(g.u(1.5, 2.0))
        nt = th + 0.15 * g.n()
    ox, oy = min(max(ox, -0.42 * R), 0.42 * R), min(max(oy, -0.25 * R), 0.25 * R)
    nx, ny = cx + cell.c * ox - cell.s * oy, cy + cell.s * ox + cell.c * oy
    nw = [(0.03 * g.n(), 0.03 * g.n()) for _ in range(3)]
    nuclei = []
    if k == BINUCLEATE:
        s = na * g.u(0.80, 0.95)
        for sg in (1, -1):
            nuclei.append(Outline(nx + sg * s * math.cos(nt), ny + sg * s * math.sin(nt),
                                  0.76 * na, 0.70 * na, nt + PI / 2, nw))
    elif k == APOPTOTIC:
        for _ in range(g.int(7, 10)):
            t, h = g.u(0, TAU), na * 1.25 * math.sqrt(g.u())
            f = na * g.u(0.2, 0.42)
            nuclei.append(Outline(nx + h * math.cos(t), ny + h * math.sin(t), f, f, 0.0, nw))
    elif k == DIVIDING:
        x, y = cx + 0.05 * R * g.n(), cy + 0.05 * R * g.n()
        a, b = na * g.u(1.05, 1.25), na * g.u(0.42, 0.54)
        nuclei.append(Outline(x, y, a, b, th + PI / 2, nw))
    else:
        nuclei.append(Outline(nx, ny, na * nasp, na / nasp, nt, nw))
    N = np.zeros_like(M)
    for o in nuclei:
        N = np.maximum(N, o.mask(1.2))
    cyto = T * (1.0 - 0.85 * N)
    S = []

    # --- stream 2: DAPI
    r = Draw(seed, 2, index)
    img = N.copy()
    if k not in (DIVIDING, APOPTOTIC):
        for _ in range(r.int(2, 4)):                                  # nucleoli: dark
            t, h = r.u(0, TAU), 0.6 * na * math.sqrt(r.u())
            o = nuclei[r.int(0, len(nuclei) - 1)]
            dab(img, o.cx + h * math.cos(t), o.cy + h * math.sin(t), r.u(2.0, 3.2), -0.55)
        for _ in range(12):                                           # chromatin: uneven
            t, h = r.u(0, TAU), na * math.sqrt(r.u())
            o = nuclei[r.int(0, len(nuclei) - 1)]
            dab(img, o.cx + h * math.cos(t), o.cy + h * math.sin(t), 2.5, r.u(-0.2, 0.3))
    S.append(mix(img, T, free[0]))

    # --- stream 3: Tubulin
    r = Draw(seed, 3, index)
    img = np.zeros_like(M)
    px, py = 0.55 * R * math.cos(th), 0.55 * R * math.sin(th)         # spindle poles: centre +- (px, py)
    if k == DIVIDING:
        length = 0.55 * R * r.u(1.5, 2.0)
        for i in range(26):                                           # arcs from a pole over the plate
            v, sg = r.u(-1, 1), (1 if i & 1 else -1)
            fibre(img, cell, cx + sg * px, cy + sg * py,
                  th + (PI if sg > 0 else 0.0) + 0.75 * v, -1.35 * v / R, length, 1.0)
        for i in range(10):                                           # asters, outwards
            v, sg = r.u(-1.3, 1.3), (1 if i & 1 else -1)
            fibre(img, cell, cx + sg * px, cy + sg * py, th + (0.0 if sg > 0 else PI) + v, 0.0, 0.35 * R, 0.6)
        img = mix(img, T, 0.25 + free[1])
    elif k == APOPTOTIC:                                              # stubs in a soluble pool
        for _ in range(10):
            t, h, u, l = r.u(0, TAU), 0.8 * R * math.sqrt(r.u()), r.u(0, TAU), r.u(2, 5)
            fibre(img, cell, cx + h * math.cos(t), cy + h * math.sin(t), u, 0.0, l, 1.0)
        img = mix(img, cyto, 0.6 + 0.4 * free[1])
    elif k in (STRETCHED, MIGRATING):                                 # along the cell
        for i in range(r.int(18, 34)):
            a, b, t, bend, l = r.u(-0.9, 0.9), r.u(-0.8, 0.8), 0.10 * r.n(), 0.010 * r.n(), R * r.u(0.7, 1.6)
            x, y = 0.9 * a * R * q, b * R / q
            fibre(img, cell, cx + cell.c * x - cell.s * y, cy + cell.s * x + cell.c * y,
                  th + t + (0.0 if i & 1 else PI), bend, l, 1.0)
        img = mix(img, cyto, free[1])
    elif k == STARVED:                                                # a cage around the nucleus
        for _ in range(r.int(14, 28)):
            t, h, l, v = r.u(0, TAU), na * r.u(1.05, 1.7), r.u(1, 2), 0.12 * r.n()
            fibre(img, cell, nx + h * math.cos(t), ny + h * math.sin(t), t + PI / 2 + v, 1.0 / h, l * h, 1.0)
        img = mix(img, cyto, free[1])
    else:                                                             # rays from the centrosome
        t = r.u(0, TAU)
        gx, gy = nx + 1.05 * na * math.cos(t), ny + 1.05 * na * math.sin(t)
        n = r.int(18, 34)
        for i in range(n):
            t, bend, l, s = TAU * (i + r.u()) / n, 0.020 * r.n(), R * r.u(0.8, 1.9), r.u(0, 4)
            fibre(img, cell, gx + s * math.cos(t), gy + s * math.sin(t), t, bend, l, 1.0)
        img = mix(img, cyto, free[1])
    S.append(img)

    # --- stream 4: Actin
    r = Draw(seed, 4, index)
    img = np.zeros_like(M)
    if k == STRETCHED:                                                # stress fibres
        n = r.int(6, 8)
        for i in range(n):
            y, x, t = 0.9 * R / q * (2.0 * (i + r.u(0.2, 0.8)) / n - 1.0), R * r.u(-0.15, 0.15), th + 0.04 * r.n()
            for v in (0.0, PI):
                fibre(img, cell, cx + cell.c * x - cell.s * y, cy + cell.s * x + cell.c * y, t + v, 0.0, 2.0 * R, 1.0)
        img = mix(mix(img, edge, r.u(0.1, 0.4)), cyto, free[2])
    elif k == MIGRATING:                                              # a lamella in front
        img = M * smooth((front - 0.25) / 0.5) * (0.3 + smooth((rho - 0.6) / 0.3))
        img = mix(mix(img, edge, r.u(0.1, 0.4)), cyto, free[2])
    elif k == APOPTOTIC:                                              # blebs
        for _ in range(r.int(14, 20)):
            t, h = r.u(0, TAU), R * r.u(0.7, 1.0)
            spot(img, cx + h * math.cos(t), cy + h * math.sin(t), r.u(3.0, 4.5), 1.0)
        img = mix(img, cyto, free[2])
    else:                                                             # cortex, uneven
        img = mix(edge, cyto, free[2])
        for _ in range(8):
            t, h = r.u(0, TAU), R * r.u(0.2, 1.0)
            dab(img, cx + h * math.cos(t), cy + h * math.sin(t), 6.0, r.u(-0.4, 0.6))
    S.append(img)

    # --- stream 5: Mito
    r = Draw(seed, 5, index)
    img = np.zeros_like(M)
    side = r.u(0, TAU)
    if k == MIGRATING: side = th + PI
    for _ in range(r.int(16, 44)):
        a, b, t, n, l, w = r.u(), math.sqrt(r.u()), r.u(0, TAU), r.n(), r.u(5, 10), r.u(0.6, 1.4)
        if k in (RESTING, BINUCLEATE, STRETCHED):                     # tubules all over the cytoplasm
            x, y = cell.at(0.38 + 0.52 * b, TAU * a)
            if k == STRETCHED: t = th + 0.2 * n + (PI if t > PI else 0.0)
            fibre(img, cell, x, y, t, 0.10 * n, l, w, 0.92)
        elif k in (ACTIVATED, DIVIDING):                              # round pieces
            x, y = cell.at(0.62 + 0.28 * b if k == DIVIDING else 0.42 + 0.46 * b, TAU * a)
            spot(img, x, y, 1.9, w)
        else:                                                         # gathered on one side of the nucleus
            u = side + (TAU * a - PI) * (0.45 if k == STARVED else 0.35 if k == APOPTOTIC else 0.5)
            h = na * (1.0 + 0.75 * b)
            fibre(img, cell, nx + h * math.cos(u), ny + h * math.sin(u), t, 0.10 * n, 0.5 * l, w, 0.92)
    if k != APOPTOTIC:
        img *= 1.0 - 0.8 * N
    S.append(mix(img, cyto, free[3]))

    # --- stream 6: Marker
    r = Draw(seed, 6, index)
    img = np.zeros_like(M)
    if k == ACTIVATED:                                                # in the nucleus
        img = mix(N, cyto, free[4])
    elif k == RESTING:                                                # in the cytoplasm, denser towards the nucleus
        img = mix(cyto * np.maximum(1.0 - rho, 0.0), cyto, free[4])
    elif k == DIVIDING:                                               # at the spindle poles
        for sg in (1, -1):
            spot(img, cx + sg * px, cy + sg * py, 4.0, 1.0)
        img = mix(img, T, 0.5 + 0.5 * free[4])
    elif k == MIGRATING:                                              # at the leading edge
        img = mix(edge * smooth(front / 0.5), cyto, free[4])
    else:                                                             # spots: adhesions at the rim, or vesicles
        for _ in range(r.int(6, 16) if k == APOPTOTIC else r.int(10, 30)):
            t, u, s, w = r.u(0, TAU), r.u(), r.u(), r.u(0.6, 1.4)
            x, y = cell.at(0.78 + 0.15 * u if k == STRETCHED else 0.40 + 0.5 * math.sqrt(u), t)
            spot(img, x, y, 1.6 + (0.8 if k == STRETCHED else 1.0) * s, w)
        img = mix(img, cyto, free[4])
    S.append(img)

    # --- stream 7: stain, optics, sensor; stream 8: noise, two pixels a block, channel-major
    r = Draw(seed, 7, index)
    focus = math.exp(0.10 * r.n())
    w = philox(seed, np.arange(5 * SIZE * SIZE // 2), 8, index, TAG).reshape(5, SIZE, SIZE, 2)
    z = near_normal(sum((w >> np.uint64(s) & np.uint64(255)).sum(-1).astype(np.float64) for s in (0, 8, 16, 24)))
    out = np.empty((5, SIZE, SIZE), np.uint16)
    for c in range(5):
        total = STAIN[c] * D["gain"][c] * math.exp(0.25 * r.n()) * (R / 20.0) ** 2
        hot, hx, hy, height = r.u(), r.int(0, SIZE - 1), r.int(0, SIZE - 1), r.u(0.5, 2.5)
        img = gauss_blur(S[c] * (total / S[c].sum()), D["blur"][c] * focus)
        tx, ty = D["tilt"][c]
        img = img * (1.0 + tx * (XX - MID) / 36.0 + ty * (YY - MID) / 36.0) + D["background"][c]
        img += z[c] * np.sqrt(D["read"] ** 2 + D["photon"] * img)
        if hot < HOT:
            img[hy, hx] += height * (img.max() - img.min())
        out[c] = np.clip(np.floor(img + 0.5), 0, 65535)
    return out


def name(index, donors):
    k, d = plan(index, donors)
    return f"{CLASSES[k]}/donor{d}_cell{index:04d}.tif"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--count", type=int, default=96)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--donors", type=int, default=5)
    a = p.parse_args()
    worst = moved = 0
    with tempfile.TemporaryDirectory() as raw:
        subprocess.run([os.path.join(a.build, "bin", "millrace"), "synth", "cells", raw, "-q",
                        "--count", str(a.count), "--seed", str(a.seed), "--donors", str(a.donors)],
                       check=True, stdout=subprocess.DEVNULL)
        for i in range(a.count):
            with tifffile.TiffFile(os.path.join(raw, name(i, a.donors))) as f:
                got, axes = f.asarray(), f.series[0].axes
                names = [c.get("Name") for c in xml.fromstring(f.ome_metadata).iter() if c.tag.endswith("}Channel")]
            assert axes == "CYX" and names == CHANNELS, (i, axes, names)
            d = np.abs(got.astype(int) - render(a.seed, i, a.donors))
            worst, moved = max(worst, d.max()), moved + (d != 0).sum()
    print(f"{a.count} cells of seed {a.seed}: {moved} of {a.count * 5 * SIZE * SIZE} values differ, "
          f"by {worst} at most")
    sys.exit(1 if worst > 1 or moved > 1e-5 * a.count * 5 * SIZE * SIZE + 5 else 0)


if __name__ == "__main__":
    main()
