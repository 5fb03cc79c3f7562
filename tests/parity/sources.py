#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare what ingest reads of foreign files with what their own libraries read.

    sources.py DUMP_SOURCE [DATA]

DUMP_SOURCE is the built tests/parity/dump_source. Files of many kinds are
written here with tifffile, nibabel and Pillow and read back by both sides;
DATA (default MILLRACE_REAL_DATA, else ../shared/data beside the tree) adds real
ones. Values must be equal bit by bit, affines number by number. Exit 77: a peer
is missing.
"""
import itertools
import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

try:
    import nibabel
    import numpy as np
    import tifffile
    from PIL import Image
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
Image.MAX_IMAGE_PIXELS = None

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Tally:
    def __init__(self):
        self.equal = 0
        self.both_refuse = 0
        self.ours_only = []
        self.theirs_only = []
        self.wrong = []


def dump(tool, path, scratch, *options):
    """All samples that we read, as [(json, array)]; or the refusal's json."""
    for old in scratch.iterdir():
        old.unlink()
    run = subprocess.run([tool, *options, str(path), str(scratch)],
                         capture_output=True, text=True)
    if run.returncode < 0:
        raise SystemExit(f"{path}: killed by signal {-run.returncode}")
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    if run.returncode != 0:
        return lines[-1]
    return [(line, np.load(scratch / f"{line['index']}.npy")) for line in lines]


def same(ours, theirs):
    theirs = np.asarray(theirs)
    if theirs.dtype == bool:
        theirs = theirs.astype("u1")
    if np.iscomplexobj(theirs):
        part = theirs.real.dtype
        theirs = np.ascontiguousarray(theirs).view(part)
        theirs = theirs.reshape(*ours.shape) if ours.size == theirs.size else theirs
    theirs = theirs.astype(theirs.dtype.newbyteorder("="))
    return (ours.dtype == theirs.dtype and ours.shape == theirs.shape
            and ours.tobytes() == np.ascontiguousarray(theirs).tobytes())


def judge(tally, name, ours, theirs):
    """theirs: list of arrays, or the exception."""
    refused = isinstance(ours, dict)
    if refused and isinstance(theirs, Exception):
        tally.both_refuse += 1
    elif refused:
        tally.theirs_only.append(f"{name}: E{ours['error']:04} {ours['text']}")
    elif isinstance(theirs, Exception):
        tally.ours_only.append(f"{name}: {theirs!r:.90}")
    elif len(ours) != len(theirs):
        tally.wrong.append(f"{name}: {len(ours)} samples, not {len(theirs)}")
    else:
        bad = [i for i, (o, t) in enumerate(zip(ours, theirs))
               if not same(o[1], t)]
        if bad:
            o, t = ours[bad[0]][1], np.asarray(theirs[bad[0]])
            tally.wrong.append(f"{name}: sample {bad[0]} differs: {o.dtype}"
                               f"{o.shape} and {t.dtype}{t.shape}")
        else:
            tally.equal += 1


def read_tiff(path):
    try:
        with tifffile.TiffFile(path) as tif:
            return [tif.asarray()], tif.pages[0]
    except Exception as error:
        return error, None


def check_tiff(tally, tool, path, scratch, name=None, options=("--label",)):
    theirs, _ = read_tiff(path)
    judge(tally, name or path, dump(tool, path, scratch, *options), theirs)


def check_palette(tally, tool, path, scratch, name=None):
    """RGB as Pillow paints it (Pillow has 8 bits only)."""
    ours = dump(tool, path, scratch)
    theirs = np.asarray(Image.open(path).convert("RGB"))
    if not isinstance(ours, dict) and ours[0][1].dtype == np.uint16:
        ours[0] = (ours[0][0], (ours[0][1] >> 8).astype("u1"))
    judge(tally, f"{name or path} (palette)", ours, [theirs])


def nifti_of(path):
    try:
        image = nibabel.load(path)
        raw = np.asanyarray(image.dataobj.get_unscaled())
        if raw.dtype.names:  # RGB24, RGBA32
            raw = np.stack([raw[n] for n in raw.dtype.names], axis=0)
        return [raw.T], image
    except Exception as error:
        return error, None


def check_nifti(tally, tool, path, scratch, name=None, pair=None):
    options = ("--pair", str(pair)) if pair else ()
    ours = dump(tool, path, scratch, *options)
    theirs, image = nifti_of(path)
    judge(tally, name or path, ours, theirs)
    if image is None or isinstance(ours, dict):
        return
    line = ours[0][0]
    affine = np.array(line["affine"]).reshape(3, 4)
    if not np.array_equal(affine, image.affine[:3]):
        tally.wrong.append(f"{name or path}: affine {affine.tolist()}, not "
                           f"{image.affine[:3].tolist()}")
    slope, inter = image.dataobj.slope, image.dataobj.inter
    if (line["slope"], line["inter"]) != (slope, inter):
        tally.wrong.append(f"{name or path}: slope {line['slope']} {slope}")


def check_picture(tally, tool, path, scratch, name=None):
    """JPEG and PNG: Pillow's raw samples."""
    try:
        image = Image.open(path)
        bits = image.tile[0][3] if image.format == "PNG" else None
        bits = bits[0] if isinstance(bits, tuple) else bits
        theirs = np.asarray(image)
        if image.mode == "P":
            theirs = np.asarray(image.convert(
                "RGBA" if "transparency" in image.info else "RGB"))
        scale = {"L;2": 85, "L;4": 17}.get(bits)
        theirs = [theirs // scale if scale else theirs]
        if image.mode == "I":  # grey of 16 bits
            theirs = [theirs[0].astype("u2")]
    except Exception as error:
        theirs = error
    judge(tally, name or path, dump(tool, path, scratch), theirs)
    stored = scratch / "0.jpg"
    if stored.exists() and not isinstance(theirs, Exception):
        again = np.asarray(Image.open(stored))
        if not np.array_equal(again, theirs[0]):
            tally.wrong.append(f"{name or path}: the stored JPEG decodes to "
                               "other pixels")


def ramp(shape, dtype, rng):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    if dtype.kind == "c":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def made_tiffs(folder, rng):
    """(name, path) of TIFFs of every kind that tifffile writes and we read."""
    n = 0

    def write(name, data, **options):
        """None where tifffile cannot write such a thing."""
        nonlocal n
        path = folder / f"{n}.tif"
        n += 1
        try:
            tifffile.imwrite(path, data, **options)
        except Exception as error:
            print(f"  not written: {name}: {error!r:.100}")
            return None
        return name, path

    dtypes = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8",
              "c8", "c16", "?"]
    for dtype, order, big in itertools.product(dtypes, "<>", (False, True)):
        yield write(f"{dtype}{order}big={big}", ramp((13, 17), dtype, rng),
                    byteorder=order, bigtiff=big, photometric="minisblack")
    codecs = ["none", "lzw", "zlib", "packbits", "zstd", "adobe_deflate"]
    shapes = [((33, 47), {}), ((33, 47, 3), {"photometric": "rgb"}),
              ((3, 33, 47), {"photometric": "rgb", "planarconfig": "separate"}),
              ((33, 47, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
              ((5, 33, 47), {"photometric": "minisblack"}),
              ((2, 3, 33, 47), {"photometric": "minisblack"})]
    places = [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}]
    for dtype, codec, (shape, kind), place, order in itertools.product(
            ["u1", "u2", "i4", "f4", "f8"], codecs, shapes, places, "<>"):
        if codec == "packbits" and dtype != "u1":
            continue
        yield write(f"{dtype} {codec} {shape} {place} {order}",
                    ramp(shape, dtype, rng), compression=codec,
                    byteorder=order, **kind, **place)
    for dtype, codec, place, order in itertools.product(
            ["u1", "u2", "u4", "u8", "i2", "f2", "f4", "f8"],
            ["lzw", "zlib", "zstd"], places, "<>"):
        for shape, kind in shapes[:4]:
            floating = np.dtype(dtype).kind == "f"
            predictor = 3 if floating else 2
            yield write(f"{dtype} {codec} predictor {predictor} {shape} "
                        f"{place} {order}", ramp(shape, dtype, rng),
                        compression=codec, predictor=predictor,
                        byteorder=order, **kind, **place)
    for dtype, codec, order in itertools.product(
            ["c8", "c16"], ["lzw", "zlib", "zstd"], "<>"):
        yield write(f"{dtype} {codec} {order}", ramp((9, 11), dtype, rng),
                    compression=codec, byteorder=order)
    for bits in [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15]:
        kind = "u1" if bits <= 8 else "u2"
        for shape, codec, order in itertools.product(
                [(21, 37), (21, 37, 3)], ["none", "zlib"], "<>"):
            if bits == 1 and len(shape) == 3:
                continue
            data = rng.integers(0, 1 << bits, shape).astype(kind)
            if codec != "none" or bits == 1:
                continue
            yield write(f"{bits} bits {shape} {codec} {order}", data,
                        bitspersample=bits, byteorder=order,
                        photometric="rgb" if len(shape) == 3 else "minisblack")
    for codec, place in itertools.product(["none", "packbits", "zlib"],
                                          [{}, {"rowsperstrip": 5}]):
        data = rng.integers(0, 2, (19, 43)).astype(bool)
        yield write(f"bilevel {codec} {place}", data, compression=codec,
                    photometric="miniswhite", **place)
    for axes, shape in [("TZCYX", (2, 3, 4, 8, 9)), ("ZYX", (5, 8, 9)),
                        ("CYX", (3, 8, 9)), ("TCYX", (2, 3, 8, 9)),
                        ("YXS", (8, 9, 3)), ("ZYXS", (4, 8, 9, 3))]:
        kind = {"photometric": "rgb"} if axes.endswith("S") else {
            "photometric": "minisblack"}
        for dtype in ("u1", "u2", "f4"):
            data = ramp(shape, dtype, rng)
            if dtype != "f4" or "S" not in axes:
                yield write(f"ome {axes} {dtype}", data, ome=True,
                            metadata={"axes": axes}, **kind)
            if "S" not in axes or dtype == "u1":
                yield write(f"imagej {axes} {dtype}", data, imagej=True,
                            metadata={"axes": axes}, **kind)
            yield write(f"shaped {axes} {dtype}", data,
                        metadata={"axes": axes}, **kind)
    yield write("truncated imagej", ramp((6, 8, 9), "u2", rng), imagej=True,
                truncate=True, photometric="minisblack")
    yield write("truncated shaped", ramp((6, 8, 9), "u2", rng), truncate=True,
                photometric="minisblack")
    yield write("no metadata", ramp((6, 8, 9), "u2", rng), metadata=None,
                photometric="minisblack")


def made_palettes(tally, tool, folder, scratch, rng):
    """Colours of 8 bits, written in the three ways that there are, and of 16."""
    for step, shift, down in [(257, 0, 8), (256, 0, 8), (1, 0, 0), (251, 3, None)]:
        table = (rng.permutation(256)[None].repeat(3, 0) * step + shift)
        table = np.stack([np.roll(row, 7 * k) for k, row in enumerate(table)])
        path = folder / "palette.tif"
        indices = rng.integers(0, 256, (20, 30), "u1")
        tifffile.imwrite(path, indices, photometric="palette",
                         colormap=table.astype("u2"))
        painted = np.moveaxis(table[:, indices], 0, -1).astype("u2")
        if down is not None:
            painted = (painted >> down).astype("u1")
        name = f"palette times {step} plus {shift}"
        judge(tally, name, dump(tool, path, scratch), [painted])
        check_tiff(tally, tool, path, scratch, name + " as labels")


def set_quaternion(image, code, quaternion, rng):
    """Into the header, whether nibabel would have it or not."""
    header = image.header
    header["sform_code"], header["qform_code"] = 0, code
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = quaternion
    header["pixdim"][:4] = rng.choice([-1, 1, 0]), *rng.uniform(0.5, 3, 3)
    for axis in "xyz":
        header[f"qoffset_{axis}"] = rng.normal()
    image._affine = None  # else it would be written over the above


def made_niftis(folder, rng):
    dtypes = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "c8",
              "c16"]
    shapes = [(5, 6, 7), (5, 6), (4, 5, 6, 3), (4, 1, 6, 1, 2), (3, 2, 2, 2, 2, 2, 2)]
    n = 0
    for dtype, order, shape, version in itertools.product(
            dtypes, "<>", shapes, (nibabel.Nifti1Image, nibabel.Nifti2Image)):
        data = ramp(shape, dtype, rng).astype(np.dtype(dtype).newbyteorder(order))
        form = n % 4
        affine = rng.normal(size=(4, 4))
        affine[3] = 0, 0, 0, 1
        header = version.header_class(endianness=order)
        header.set_data_dtype(data.dtype)
        image = version(data, affine, header)
        image.header.set_xyzt_units(*[("mm", "sec"), ("meter", "msec"),
                                      ("micron", "usec"), ("mm", "hz")][n % 4])
        if form == 2:  # neither: from the size alone
            set_quaternion(image, 0, rng.normal(size=3), rng)
        elif form == 1:  # a rotation, perhaps a flipped one
            turn = rng.normal(size=4)
            set_quaternion(image, 1, (turn / np.linalg.norm(turn))[1:], rng)
        elif form == 3:  # half a turn: w is 0 or nearly so, or cannot be
            axis = rng.normal(size=3)
            axis *= (1 - n * 1e-17) / np.linalg.norm(axis)
            set_quaternion(image, 2, axis, rng)
        if np.dtype(dtype).kind in "iu" and n % 3 == 0:
            image.header.set_slope_inter(0.25 + n, -n)
        ends = [".nii", ".nii.gz", ".img"]
        path = folder / f"{n}{ends[n % 3]}"
        n += 1
        if path.suffix == ".img":
            pair = {nibabel.Nifti1Image: nibabel.Nifti1Pair,
                    nibabel.Nifti2Image: nibabel.Nifti2Pair}[version]
            two = pair(data, np.eye(4), image.header)
            two._affine, two._header = None, image.header
            two.to_filename(path)
            yield f"nifti {dtype}{order}{shape} pair", path.with_suffix(".hdr"), path
        else:
            image.to_filename(path)
            yield f"nifti {dtype}{order}{shape}{path.suffix}", path, None
    for fields in (["R", "G", "B"], ["R", "G", "B", "A"]):
        data = np.zeros((3, 4, 5), [(f, "u1") for f in fields])
        for f in fields:
            data[f] = rng.integers(0, 256, (3, 4, 5))
        path = folder / f"{''.join(fields)}.nii.gz"
        nibabel.Nifti1Image(data, np.eye(4)).to_filename(path)
        yield f"nifti {''.join(fields)}", path, None


def made_pictures(folder, rng):
    noise = rng.integers(0, 256, (37, 53, 3), "u1")
    smooth = np.asarray(Image.fromarray(noise).resize((211, 149)))
    n = 0
    for grey, quality, sampling, progressive, restart in itertools.product(
            (False, True), (20, 95), (0, 1, 2), (False, True), (0, 3)):
        path = folder / f"{n}.jpg"
        n += 1
        picture = Image.fromarray(smooth[..., 0] if grey else smooth)
        exif = Image.Exif()
        exif[0x0112] = 1 + n % 8
        exif[0x010e] = "somebody"
        picture.save(path, quality=quality, subsampling=sampling,
                     progressive=progressive, restart_marker_rows=restart,
                     exif=exif, comment=b"somebody")
        yield f"jpeg {grey} {quality} {sampling} {progressive} {restart}", path
    modes = [("1", smooth[..., 0] > 127), ("L", smooth[..., 0]),
             ("LA", smooth[..., :2]), ("RGB", smooth),
             ("RGBA", np.dstack([smooth, smooth[..., 0]])),
             ("I;16", smooth[..., 0].astype("u2") * 257 + 3)]
    for mode, data in modes:
        path = folder / f"{n}.png"
        n += 1
        if mode == "I;16":
            Image.fromarray(data).save(path)
        else:
            Image.fromarray(data, mode).save(path)
        yield f"png {mode}", path
    for bits in (1, 2, 4, 8):
        colours = 1 << bits
        indices = Image.fromarray((smooth[..., 0].astype("i4") % colours).astype("u1"), "P")
        indices.putpalette(rng.integers(0, 256, 3 * colours).astype("u1").tobytes())
        for clear in ({}, {"transparency": bytes(rng.integers(0, 256, colours).tolist())}):
            path = folder / f"{n}.png"
            n += 1
            indices.save(path, bits=bits, **clear)
            yield f"png palette {bits} {bool(clear)}", path


def made(tally, tool, folder, scratch):
    rng = np.random.default_rng(1)
    for made_one in made_tiffs(folder, rng):
        if made_one is not None:
            name, path = made_one
            check_tiff(tally, tool, path, scratch, name)
            path.unlink()
    made_palettes(tally, tool, folder, scratch, rng)
    for name, path, pair in made_niftis(folder, rng):
        check_nifti(tally, tool, path, scratch, name, pair)
    for name, path in made_pictures(folder, rng):
        check_picture(tally, tool, path, scratch, name)


def real(tally, tool, data, scratch):
    for path in sorted(data.rglob("*")):
        kind = "".join(path.suffixes).lower()
        name = str(path.relative_to(data))
        if path.is_dir() or path.stat().st_size == 0:
            continue
        if kind.endswith((".tif", ".tiff")):
            _, page = read_tiff(path)
            check_tiff(tally, tool, path, scratch, name)
            if page is not None and page.photometric == 3:
                ours = dump(tool, path, scratch)
                if not isinstance(ours, dict) and ours[0][1].ndim == 3:
                    check_palette(tally, tool, path, scratch, name)
        elif kind.endswith((".nii", ".nii.gz")):
            check_nifti(tally, tool, path, scratch, name)
        elif kind.endswith((".png", ".jpg")):
            check_picture(tally, tool, path, scratch, name)


def report(title, tally):
    print(f"{title}: {tally.equal} equal, {tally.both_refuse} refused by both, "
          f"{len(tally.theirs_only)} refused by us alone, "
          f"{len(tally.ours_only)} by the peer alone, {len(tally.wrong)} wrong")
    for label, rows in (("we refuse", tally.theirs_only),
                        ("peer refuses", tally.ours_only),
                        ("WRONG", tally.wrong)):
        for row in rows:
            print(f"  {label}: {row}")


def main():
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    tool = os.path.abspath(sys.argv[1])
    data = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else os.environ.get(
        "MILLRACE_REAL_DATA", ROOT.parent / "shared" / "data"))
    tallies = []
    with tempfile.TemporaryDirectory() as temp:
        folder, scratch = pathlib.Path(temp, "made"), pathlib.Path(temp, "out")
        folder.mkdir()
        scratch.mkdir()
        tallies.append(Tally())
        made(tallies[-1], tool, folder, scratch)
        report("made here", tallies[-1])
        if data.is_dir():
            tallies.append(Tally())
            real(tallies[-1], tool, data, scratch)
            report("real files", tallies[-1])
        else:
            print(f"skipped: no real data in {data}")
    return 1 if any(t.wrong for t in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
