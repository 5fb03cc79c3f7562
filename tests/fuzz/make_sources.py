#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds of jpeg_fuzz, png_fuzz, tiff_fuzz and nifti_fuzz.

    make_sources.py CORPUS_FOLDER      (tests/fuzz/corpus)

Small files of every kind that the decoders of ingest know, by tifffile,
nibabel and Pillow; deterministic.
"""
import gzip
import io
import pathlib
import sys

import nibabel
import numpy as np
import tifffile
from PIL import Image

RNG = np.random.default_rng(7)


def save(folder, name, data):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def image_bytes(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def jpegs(folder):
    rgb = Image.fromarray(RNG.integers(0, 256, (17, 23, 3), "u1")).resize((23, 17))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010e] = "x"
    for name, image, options in [
            ("grey", rgb.convert("L"), {}),
            ("420", rgb, {"subsampling": 2}),
            ("444", rgb, {"subsampling": 0, "quality": 30}),
            ("progressive", rgb, {"progressive": True}),
            ("restart", rgb, {"restart_marker_rows": 1}),
            ("exif", rgb.convert("L"), {"exif": exif, "comment": b"c"})]:
        save(folder, name + ".jpg", image_bytes(image, "JPEG", **options))


def pngs(folder):
    rgb = Image.fromarray(RNG.integers(0, 256, (6, 7, 3), "u1"))
    for mode in ("1", "L", "LA", "RGB", "RGBA"):
        save(folder, mode + ".png", image_bytes(rgb.convert(mode), "PNG"))
    deep = Image.fromarray(RNG.integers(0, 65536, (6, 7)).astype("u2"))
    save(folder, "16.png", image_bytes(deep, "PNG"))
    for bits in (1, 2, 4, 8):
        index = Image.fromarray(RNG.integers(0, 1 << bits, (6, 7), "u1"), "P")
        index.putpalette(RNG.integers(0, 256, 3 << bits, "u1").tobytes())
        save(folder, f"palette{bits}.png",
             image_bytes(index, "PNG", bits=bits, transparency=b"\x10\x20"))


def tiffs(folder):
    def write(name, data, **options):
        out = io.BytesIO()
        tifffile.imwrite(out, data, **options)
        save(folder, name + ".tif", out.getvalue())

    grey = {"photometric": "minisblack", "metadata": None}
    small = RNG.integers(0, 60000, (6, 9)).astype("u2")
    write("u16", small, **grey)
    write("big_endian", small, byteorder=">", **grey)
    write("bigtiff", small, bigtiff=True, **grey)
    write("rows", small, rowsperstrip=2, **grey)
    write("stack", np.stack([small] * 3), **grey)
    write("tile", RNG.integers(0, 256, (20, 20), "u1"), tile=(16, 16), **grey)
    write("rgb", RNG.integers(0, 256, (5, 6, 3), "u1"), photometric="rgb",
          metadata=None)
    write("planar", RNG.integers(0, 256, (3, 5, 6), "u1"), photometric="rgb",
          planarconfig="separate", metadata=None)
    write("bilevel", RNG.integers(0, 2, (5, 11)).astype(bool), **grey)
    write("bits12", RNG.integers(0, 4096, (5, 7)).astype("u2"),
          bitspersample=12, **grey)
    write("complex", RNG.normal(size=(3, 4)).astype("c8"), **grey)
    write("palette", RNG.integers(0, 16, (5, 7), "u1"), photometric="palette",
          colormap=RNG.integers(0, 65536, (3, 256)).astype("u2"), metadata=None)
    smooth = np.add.outer(np.arange(12), np.arange(9)).astype("u2")
    for codec in ("lzw", "zlib", "packbits", "zstd"):
        kind = "u1" if codec == "packbits" else "u2"
        write(codec, smooth.astype(kind), compression=codec, **grey)
    write("predictor", smooth, compression="lzw", predictor=2, **grey)
    write("float", smooth.astype("f4"), compression="zlib", predictor=3, **grey)
    write("jpeg", RNG.integers(0, 256, (16, 16, 3), "u1"), compression="jpeg",
          photometric="ycbcr", metadata=None)
    write("jpeg_tile", RNG.integers(0, 256, (16, 20), "u1"), compression="jpeg",
          tile=(16, 16), **grey)
    five = RNG.integers(0, 256, (2, 3, 2, 4, 5), "u1")
    write("ome", five, ome=True, metadata={
        "axes": "TZCYX", "Channel": {"Name": ["a", "b"]},
        "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "nm"},
        photometric="minisblack")
    write("imagej", five, imagej=True, metadata={"axes": "TZCYX", "unit": "um",
                                                 "spacing": 2.0},
          resolution=(4, 4), photometric="minisblack")
    write("virtual", five, imagej=True, truncate=True,
          metadata={"axes": "TZCYX"}, photometric="minisblack")
    write("shaped", five, metadata={"axes": "TZCYX"}, photometric="minisblack")


def niftis(folder):
    def write(name, image):
        save(folder, name + ".nii", image.to_bytes())

    for dtype in ("u1", "i2", "f4", "c8", "f8"):
        data = RNG.normal(size=(2, 3, 2)).astype(dtype)
        write(dtype, nibabel.Nifti1Image(data, np.eye(4)))
    swapped = nibabel.Nifti1Header(endianness=">")
    swapped.set_data_dtype(">i2")
    write("swapped", nibabel.Nifti1Image(np.ones((2, 2, 2), ">i2"), np.eye(4),
                                         swapped))
    write("v2", nibabel.Nifti2Image(np.ones((2, 2, 2, 2), "i2"), np.eye(4)))
    turned = nibabel.Nifti1Image(np.ones((2, 2), "u1"), np.eye(4))
    turned.set_sform(None, 0)
    turned.set_qform(np.diag([-1, -2, 3, 1]), 1)
    turned.header.extensions.append(
        nibabel.nifti1.Nifti1Extension("comment", b"somebody"))
    write("qform", turned)
    pair = nibabel.Nifti1Pair(np.ones((2, 2, 2), "u1"), np.eye(4))
    pair.file_map["header"].fileobj = io.BytesIO()
    pair.file_map["image"].fileobj = io.BytesIO()
    pair.to_file_map(pair.file_map)
    header = pair.file_map["header"].fileobj.getvalue()
    save(folder, "pair.hdr", header.ljust(400, b"\0") + bytes(8))
    save(folder, "u1.nii.gz", gzip.compress(
        nibabel.Nifti1Image(np.ones((2, 2, 2), "u1"), np.eye(4)).to_bytes(),
        mtime=0))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[1])
    jpegs(root / "jpeg_fuzz")
    pngs(root / "png_fuzz")
    tiffs(root / "tiff_fuzz")
    niftis(root / "nifti_fuzz")
