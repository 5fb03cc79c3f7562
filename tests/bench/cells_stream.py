#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""16-bit cells of 5 channels -> 2 global and 6 local crops: millrace against torch.

    cells_stream.py BUILD [--rounds N] [--threads N] [--markdown]

What a user of scDINO does: min-max by channel, 2 x 64 and 6 x 32 bicubic
crops, flips, normalise to f32; and the same with brightness, blur and
solarising in between. Peer: torch's DataLoader with torchvision's v2
transforms on tensors, once over TIFFs through tifffile, once over one .npy
mapped to memory. The cells are made up, 72 x 72, as small as scDINO's.
Exit 77: torch, torchvision or tifffile is missing.
"""
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import race  # noqa: E402

torch, torchvision, tifffile, np = race.need("torch", "torchvision", "tifffile", "numpy")
import streams  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

MEAN, STD = 0.2, 0.25
START = "minmax, multi_crop: {global: {size: 64}, local: {count: 6, size: 32}}, " \
        "flip: {horizontal: 0.5, vertical: 0.5}"
LOOKS = ("brightness: {p: 0.8}, blur: {p: {global: [1.0, 0.1], local: 0.5}}, "
         "solarize: {p: {global: [0, 0.2], local: 0}}")
END = f"normalize: {{mean: {MEAN}, std: {STD}}}"


def make_cells(count):
    """[count, 5, 72, 72] u16: a nucleus, a body and grains, with noise."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:72, :72].astype(np.float32)
    cells = np.empty((count, 5, 72, 72), "<u2")
    for cell in cells:
        cy, cx = rng.uniform(28, 44, 2)
        far = np.hypot((y - cy) * rng.uniform(0.8, 1.2), (x - cx) * rng.uniform(0.8, 1.2))
        for c in range(5):
            size = rng.uniform(8, 26)
            body = 1 / (1 + np.exp((far - size) / rng.uniform(1, 3)))
            grains = np.repeat(np.repeat(rng.random((18, 18)), 4, 0), 4, 1)
            light = 200 + body * (rng.uniform(1000, 9000) + 4000 * grains)
            cell[c] = np.clip(rng.normal(light, np.sqrt(light) * 2), 0, 65535)
    return cells


class Brightness(torch.nn.Module):
    def forward(self, x):
        if torch.rand(()) >= 0.8:
            return x
        return (x * torch.empty(len(x), 1, 1).uniform_(0.5, 1.25)).clamp_(0, 1)


def view(size, scale, blur, solarize, looks):
    steps = [v2.RandomResizedCrop(size, scale, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
             v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
    if looks:
        steps += [Brightness(), v2.RandomApply([v2.GaussianBlur(5, (0.1, 1.5))], blur)]
        steps += [v2.RandomSolarize(0.5, solarize)] if solarize else []
    return v2.Compose(steps + [v2.Normalize([MEAN] * 5, [STD] * 5)])


class Cells(torch.utils.data.Dataset):
    def __init__(self, read, count, looks):
        self.read, self.count = read, count
        self.large = [view(64, (0.4, 1.0), 1.0, 0.0, looks), view(64, (0.4, 1.0), 0.1, 0.2, looks)]
        self.small = view(32, (0.05, 0.4), 0.5, 0.0, looks)

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        x = torch.from_numpy(self.read(i).astype(np.float32))
        low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
        x = (x - low) / (high - low).clamp_min(1)
        return {"global": torch.stack([v(x) for v in self.large]),
                "local": torch.stack([self.small(x) for _ in range(6)])}


class FromTiff:
    def __init__(self, files):
        self.files = files

    def __call__(self, i):
        return tifffile.imread(self.files[i])


class FromArray:
    def __init__(self, path):
        self.cells = np.load(path, mmap_mode="r")

    def __call__(self, i):
        return self.cells[i]


def main():
    args = race.arguments(__doc__, rounds=5, cells=512, batches=16)
    with tempfile.TemporaryDirectory() as tmp:
        raw, cells = pathlib.Path(tmp) / "raw", make_cells(args.cells)
        raw.mkdir()
        for i, cell in enumerate(cells):
            tifffile.imwrite(raw / f"{i:05d}.tif", cell, photometric="minisblack", planarconfig="separate")
        np.save(f"{tmp}/cells.npy", cells)
        race.millrace(args.build, "ingest", raw, "-o", f"{tmp}/cells.mr", "-q")
        files = sorted(map(str, raw.iterdir()))
        args.say(f"{race.machine()}; {args.threads} threads each; {args.cells} cells")
        loader = f"torch {torch.__version__} DataLoader, torchvision {torchvision.__version__} v2"
        for looks in (False, True):
            steps = f"[{START}, {LOOKS}, {END}]" if looks else f"[{START}, {END}]"
            peers = {f"{loader}, tifffile {tifffile.__version__}": FromTiff(files),
                     f"{loader}, mapped .npy": FromArray(f"{tmp}/cells.npy")}
            peers = {k: streams.Torch(Cells(v, len(files), looks), args.threads) for k, v in peers.items()}
            work = "cell 5x72x72 u16 -> min-max, 2x64 + 6x32 crops, flips, "
            work += "brightness, blur, solarise, normalise" if looks else "normalise"
            streams.race_all(args, work, f"{tmp}/cells.mr", steps, peers)


if __name__ == "__main__":
    main()
