#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole way of real files: ingest, then export --as npy, against the files'
own libraries.

    volumes.py MILLRACE [DATA]

DATA (default MILLRACE_REAL_DATA, else ../shared/data beside the tree) holds the
folders nifti, tiff, images and cells. For every file that both sides accept,
values must be equal bit by bit, and of a volume affine, spacing, slope and
intercept number by number. What one side alone accepts is listed with the
other's reason. Exit 77: a peer or the data is missing; 1: something differs.
"""
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

ROOT = pathlib.Path(__file__).resolve().parents[2]


def millrace(program, *arguments):
    run = subprocess.run([program, *map(str, arguments)], capture_output=True,
                         text=True)
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, arguments))}: exit "
                         f"{run.returncode}\n{run.stderr}")
    return run.stdout


def of_tiff(path):
    """The file's values; a palette as RGB, as we store it, unless it maps each
    index to itself as a grey."""
    with tifffile.TiffFile(path) as tif:
        values, page = tif.asarray(), tif.pages[0]
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            table = page.colormap
            if np.array_equal(table >> 8, [np.arange(table.shape[1])] * 3):
                return values
            narrow = np.array_equal(table >> 8, table & 255)
            values = np.moveaxis(table[:, values.astype("i4")], 0, -1)
            values = (values >> 8).astype("u1") if narrow else values
        return values


def of_nifti(path):
    image = nibabel.load(path)
    values = np.asanyarray(image.dataobj.get_unscaled()).T
    return values, {
        "affine": image.affine[:3].ravel().tolist(),
        "spacing": [float(z) for z in image.header.get_zooms()[::-1]],
        "slope": image.dataobj.slope,
        "intercept": image.dataobj.inter,
    }


def of_file(path):
    """(values, numbers beside them) by the file's own library."""
    kind = path.name.lower()
    if kind.endswith((".nii", ".nii.gz")):
        return of_nifti(path)
    if kind.endswith((".tif", ".tiff")):
        return of_tiff(path), {}
    return np.asarray(Image.open(path)), {}


def plain(values):
    """As it is stored: native order, C order, no bool."""
    values = np.asarray(values)
    if values.dtype == bool:
        values = values.astype("u1")
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("=")))


def difference(folder, key, theirs, numbers):
    """None if what we brought out is equal."""
    kept = folder / "jpeg" / key
    if kept.exists():
        again = np.asarray(Image.open(kept))
        return None if np.array_equal(again, theirs) else "decodes otherwise"
    ours = np.load(folder / "npy" / f"{key}.npy")
    theirs = plain(theirs)
    if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        return (f"{ours.dtype}{list(ours.shape)}, not "
                f"{theirs.dtype}{list(theirs.shape)}")
    if ours.tobytes() != theirs.tobytes():
        return f"{np.count_nonzero(ours != theirs)} of {ours.size} values differ"
    beside = json.loads((folder / "npy" / f"{key}.json").read_text())
    for name, number in numbers.items():
        if not np.array_equal(beside[name], number):
            return f"{name} {beside[name]}, not {number}"
    return None


def check_folder(program, data, scratch):
    """One folder of foreign files; the number that differ."""
    dataset = scratch / f"{data.name}.mr"
    report = json.loads(millrace(program, "ingest", data, "-o", dataset,
                                 "--max-bad", "100%", "--json", "-q"))
    millrace(program, "verify", dataset, "-q")
    (scratch / data.name).mkdir()
    for form in ("npy", "jpeg"):
        millrace(program, "export", dataset, "-o", scratch / data.name / form,
                 "--as", form, "-q")
    refused = {bad["key"]: f"{bad['code']} {bad['reason']}"
               for bad in report["quarantine"]}
    equal, both, lines, wrong = 0, 0, [], 0
    for path in sorted(data.rglob("*")):
        if path.is_dir():
            continue
        key = str(path.relative_to(data))
        try:
            theirs, numbers = of_file(path)
        except Exception as error:
            reason = str(error).splitlines()[0][:70]
            if key in refused:
                both += 1
                lines.append(f"  neither    {key}: {refused[key]} | {reason}")
            else:
                lines.append(f"  ours only  {key}: {reason}")
            continue
        if key in refused:
            lines.append(f"  theirs only {key}: {refused[key]}")
            continue
        what = difference(scratch / data.name, key, theirs, numbers)
        if what is None:
            equal += 1
        else:
            wrong += 1
            lines.append(f"  DIFFERS    {key}: {what}")
    ours = sum(line.startswith("  ours") for line in lines)
    alone = sum(line.startswith("  theirs") for line in lines)
    print(f"{data.name}: {report['inputs']} files, {report['samples']} samples, "
          f"{report['quarantined']} set aside; {equal} equal, {wrong} differ, "
          f"{ours} only ours, {alone} only theirs, {both} neither's")
    print("\n".join(lines)) if lines else None
    return wrong


def main():
    if not 2 <= len(sys.argv) <= 3:
        raise SystemExit(__doc__)
    program = str(pathlib.Path(sys.argv[1]).resolve())
    data = pathlib.Path(sys.argv[2] if len(sys.argv) == 3 else os.environ.get(
        "MILLRACE_REAL_DATA", ROOT.parent / "shared" / "data"))
    folders = [data / name for name in ("nifti", "tiff", "images", "cells")
               if (data / name).is_dir()]
    if not folders:
        print(f"skipped: no nifti, tiff, images or cells in {data}")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as scratch:
        wrong = sum(check_folder(program, folder, pathlib.Path(scratch))
                    for folder in folders)
    print(f"tifffile {tifffile.__version__}, nibabel {nibabel.__version__}, "
          f"Pillow {Image.__version__}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
