# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/augment.safetensors: what torch, torchvision, Pillow and
NumPy make of one small picture. stream/parity_test.c compares.

    python3 augment.py OUT.safetensors

Needs torch, torchvision, Pillow, numpy, safetensors; says skipped without.
"""
import sys

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    import torchvision.transforms.functional as T
    from PIL import Image
    from safetensors.torch import save_file
except ImportError as e:
    print("skipped:", e)
    sys.exit(77)

C, H, W = 2, 25, 29
Y, X, CH, CW = 3, 5, 19, 21  # the crop
SIZES = {"down": (10, 12), "up": (27, 24), "tiny": (4, 3)}


def picture():
    g = torch.Generator().manual_seed(7)
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    base = torch.stack([0.5 + 0.4 * torch.sin(0.3 * x + c) * torch.cos(0.2 * y) for c in range(C)])
    return (base + 0.1 * torch.rand(C, H, W, generator=g)).clamp(0, 1).float()


def main():
    x = picture()
    crop = x[:, Y : Y + CH, X : X + CW]
    out = {"x": x}
    for name, size in SIZES.items():
        for mode in ("bicubic", "bilinear"):
            for antialias in (True, False):
                y = F.interpolate(crop[None].double(), size, mode=mode, antialias=antialias, align_corners=False)
                out[f"{mode}.{'antialias' if antialias else 'plain'}.{name}"] = y[0].float()
        out[f"nearest.plain.{name}"] = F.interpolate(crop[None], size, mode="nearest-exact")[0]
        planes = [
            np.asarray(Image.fromarray(p.numpy()).resize(size[::-1], Image.BICUBIC))
            for p in crop.contiguous()
        ]
        out[f"pillow.antialias.{name}"] = torch.tensor(np.stack(planes))
    out["blur.5"] = T.gaussian_blur(x, [5, 5], [1.1, 1.1])
    out["blur.9"] = T.gaussian_blur(x, [9, 9], [2.3, 2.3])
    # torchvision takes one channel or three
    out["solarize"] = torch.cat([T.solarize(p[None], 0.5) for p in x])
    out["brightness"] = torch.cat([T.adjust_brightness(p[None], 1.2) for p in x])
    out["hflip"], out["vflip"] = T.hflip(x), T.vflip(x)
    out["normalize"] = T.normalize(x, [0.4, 0.5], [0.2, 0.3])
    flat = x.double().reshape(C, -1)
    low, high = flat.min(1).values[:, None, None], flat.max(1).values[:, None, None]
    out["minmax"] = ((x.double() - low) / (high - low)).float()
    save_file({k: v.contiguous() for k, v in out.items()}, sys.argv[1])
    print(f"{len(out)} tensors, torch {torch.__version__}, Pillow {Image.__version__}")


if __name__ == "__main__":
    main()
