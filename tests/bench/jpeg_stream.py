#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""JPEGs -> random resized crop 224, flip, normalise: millrace against others.

    jpeg_stream.py BUILD [--rounds N] [--threads N] [--out f32|u8] [--markdown]

Peers: torch's DataLoader with torchvision's v2 transforms, once over Pillow
and once over torchvision's own decoder, and DALI (on the CPU) where it is
installed. All read the same files from the page cache, keep four batches of
64 ready, and use as many threads or worker processes; a turn is timed in the
middle of an endless stream. Mean and deviation of what comes out must agree.
Exit 77: torch, torchvision or Pillow is missing.
"""
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
import race  # noqa: E402

torch, torchvision, PIL, _ = race.need("torch", "torchvision", "PIL", "numpy")
import numpy as np  # noqa: E402
import pictures  # noqa: E402
from PIL import Image  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

BATCH, READY = 64, 4
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
OURS = "[random_resized_crop: {size: 224, filter: bilinear}, flip, %s]"
ENDS = {"f32": f"normalize: {{mean: {MEAN}, std: {STD}}}", "u8": "to: {dtype: u8}"}


class Files(torch.utils.data.Dataset):
    def __init__(self, files, own_decoder, u8):
        crop = [v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip()]
        to_tensor = [] if own_decoder else [v2.ToImage()]
        finish = [] if u8 else [v2.ToDtype(torch.float32, scale=True),
                                v2.Normalize([m / 255 for m in MEAN], [s / 255 for s in STD])]
        self.files, self.own_decoder = files, own_decoder
        self.transform = v2.Compose(crop + to_tensor + finish)

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        if self.own_decoder:
            data = torchvision.io.read_file(self.files[i])
            return self.transform(torchvision.io.decode_jpeg(data, mode=torchvision.io.ImageReadMode.RGB))
        with Image.open(self.files[i]) as f:
            return self.transform(f.convert("RGB"))


class Endless(torch.utils.data.Sampler):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        while True:
            yield from torch.randperm(self.n).tolist()


class Torch:
    def __init__(self, files, workers, own_decoder, u8):
        data = Files(files, own_decoder, u8)
        self.it = iter(torch.utils.data.DataLoader(data, BATCH, sampler=Endless(len(files)), num_workers=workers,
                                                   prefetch_factor=max(1, READY // workers)))
        self.pids = [w.pid for w in self.it._workers]

    def next(self):
        return next(self.it)


class Dali:
    def __init__(self, files, threads, u8):
        from nvidia.dali import fn, pipeline_def, types

        @pipeline_def(batch_size=BATCH, num_threads=threads, device_id=None, prefetch_queue_depth=READY)
        def steps():
            data, _ = fn.readers.file(files=files, random_shuffle=True, initial_fill=len(files))
            x = fn.decoders.image_random_crop(data, device="cpu", output_type=types.RGB)
            x = fn.resize(x, size=[224, 224], interp_type=types.INTERP_LINEAR, antialias=True)
            flip = fn.random.coin_flip()
            if u8:
                return fn.transpose(fn.flip(x, horizontal=flip), perm=[2, 0, 1])
            return fn.crop_mirror_normalize(x, dtype=types.FLOAT, output_layout="CHW", mean=MEAN, std=STD, mirror=flip)
        self.pids, self.pipe = [], steps()
        self.pipe.build()

    def next(self):
        return torch.from_numpy(np.asarray(self.pipe.run()[0].as_tensor()))


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
    rows = torch.cat([peer.next() for _ in range(batches)]).double()
    return "x".join(map(str, rows.shape[1:])), rows.mean().item(), rows.std().item()


def same_work(ours, peers, say):
    """Not bit by bit: each side draws its own crops."""
    ours.send("look 16")
    name, dtype, shape, mean, std = ours.line().split()
    ours.line()
    say(f"millrace: {name} {dtype} {shape}, mean {mean}, deviation {std}")
    for label, peer in peers.items():
        their_shape, their_mean, their_std = look(peer, 16)
        say(f"{label}: {their_shape}, mean {their_mean:.6f}, deviation {their_std:.6f}")
        if their_shape != shape or abs(their_mean - float(mean)) > 0.06 * their_std \
                or abs(their_std / float(std) - 1) > 0.06:
            sys.exit(f"{label} did other work than millrace")


def main():
    args = race.arguments(__doc__, rounds=7, out="f32", images=512, batches=16)
    u8 = args.out == "u8"
    with tempfile.TemporaryDirectory() as tmp:
        raw = pathlib.Path(tmp) / "raw"
        what = pictures.make_jpegs(raw, args.images, race.real_data())
        race.millrace(args.build, "ingest", raw, "-o", f"{tmp}/jpegs.mr", "-q")
        files = sorted(map(str, raw.iterdir()))
        args.say(f"{race.machine()}; {args.threads} threads each; {what}")
        ours = race.Program(args.build, "stream_bench", f"{tmp}/jpegs.mr", OURS % ENDS[args.out], BATCH,
                            args.threads, READY)
        peers = {f"torch {torch.__version__} DataLoader, torchvision {torchvision.__version__} v2, "
                 f"Pillow {PIL.__version__}": Torch(files, args.threads, False, u8),
                 f"torch {torch.__version__} DataLoader, torchvision {torchvision.__version__} v2, "
                 "decode_jpeg": Torch(files, args.threads, True, u8)}
        try:
            import nvidia.dali
            peers[f"DALI {nvidia.dali.__version__} (CPU)"] = Dali(files, args.threads, u8)
        except ImportError:
            args.say("DALI is not installed")
        same_work(ours, peers, args.say)
        sides = {"millrace": turn_of_ours(ours, args.batches)}
        sides |= {name: turn_of(peer, args.batches) for name, peer in peers.items()}
        got = race.run(sides, args.rounds, pause=0.6, say=args.say)
        race.rows(f"JPEG 500x375 -> RRC 224, flip, {'u8' if u8 else 'normalise, f32'}; {args.threads} threads", got,
                  "millrace", lambda _, s, cpu: f"{1 / s:,.0f}/s, {cpu * 1000:.2f} CPU-s per 1,000", args.say)
        ours.close()


if __name__ == "__main__":
    main()
