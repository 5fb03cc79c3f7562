# SPDX-License-Identifier: Apache-2.0
"""Do two folders hold the same manifests, but for what came after 1.0?

    same_manifests.py OLD NEW

Message fields with numbers that 1.0 did not know are left out of NEW's; what
is left must be OLD's byte for byte. The hashes of the manifest before and of
the first one follow from that, so they may differ.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "parity"))
from shards import _varint  # noqa: E402

HEAD = 32
STATISTICS, CHANNELS, HASHES = 8, 3, (2, 3)
KNOWN = {"statistics": 6, "channel": 8}  # the highest numbers of 1.0


def fields(data):
    """(number, bytes of the whole field, bytes of its value)."""
    at = 0
    while at < len(data):
        begin = at
        tag, at = _varint(data, at)
        first = at
        if tag & 7 == 0:
            _, at = _varint(data, at)
        elif tag & 7 == 2:
            size, first = _varint(data, at)
            at = first + size
        else:
            at += {1: 8, 5: 4}[tag & 7]
        yield tag >> 3, data[begin:at], data[first:at]


def channel(data):
    return [whole for n, whole, _ in fields(data) if n <= KNOWN["channel"]]


def statistics(data):
    return [channel(value) if n == CHANNELS else whole
            for n, whole, value in fields(data) if n <= KNOWN["statistics"]]


def manifest(path):
    with open(path, "rb") as f:
        data = f.read()
    return [data[:16]] + [
        statistics(value) if n == STATISTICS else whole
        for n, whole, value in fields(data[HEAD:]) if n not in HASHES]


def manifests(folder):
    return sorted(os.path.relpath(os.path.join(path, name), folder)
                  for path, _, names in os.walk(folder) for name in names
                  if name.startswith("manifest."))


old, new = sys.argv[1:]
if manifests(old) != manifests(new):
    sys.exit(f"FAILED: other manifests: {manifests(old)}, {manifests(new)}")
for name in manifests(old):
    if manifest(os.path.join(old, name)) != manifest(os.path.join(new, name)):
        sys.exit(f"FAILED: {name} says other things than before")
print(f"today's writer gives the same {len(manifests(old))} manifests, but "
      "for fields that came later")
