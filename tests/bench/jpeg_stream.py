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
import streams  # noqa: E402
from PIL import Image  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

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
            picture = torchvision.io.decode_jpeg(data, mode=torchvision.io.ImageReadMode.RGB)
        else:
            picture = Image.open(self.files[i]).convert("RGB")
        return {"image": self.transform(picture)}


class Dali:
    def __init__(self, files, threads, u8):
        from nvidia.dali import fn, pipeline_def, types

        @pipeline_def(batch_size=streams.BATCH, num_threads=threads, device_id=None, prefetch_queue_depth=streams.READY)
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
        return {"image": torch.from_numpy(np.asarray(self.pipe.run()[0].as_tensor()))}


def main():
    args = race.arguments(__doc__, rounds=7, out="f32", images=512, batches=16)
    u8 = args.out == "u8"
    with tempfile.TemporaryDirectory() as tmp:
        raw = pathlib.Path(tmp) / "raw"
        what = pictures.make_jpegs(raw, args.images, race.real_data())
        race.millrace(args.build, "ingest", raw, "-o", f"{tmp}/jpegs.mr", "-q")
        files = sorted(map(str, raw.iterdir()))
        args.say(f"{race.machine()}; {args.threads} threads each; {what}")
        loader = f"torch {torch.__version__} DataLoader, torchvision {torchvision.__version__} v2"
        peers = {f"{loader}, Pillow {PIL.__version__}": streams.Torch(Files(files, False, u8), args.threads),
                 f"{loader}, decode_jpeg": streams.Torch(Files(files, True, u8), args.threads)}
        try:
            import nvidia.dali
            peers[f"DALI {nvidia.dali.__version__} (CPU)"] = Dali(files, args.threads, u8)
        except ImportError:
            args.say("DALI is not installed")
        streams.race_all(args, f"JPEG 500x375 -> RRC 224, flip, {'u8' if u8 else 'normalise, f32'}", f"{tmp}/jpegs.mr",
                         OURS % ENDS[args.out], peers)


if __name__ == "__main__":
    main()
