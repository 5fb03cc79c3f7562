#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The same volumes under every --codec: each dataset is sound, gives the same
# values and says how it is stored; the option and the config's key are one.
. "$(dirname "$0")/system.sh"

"$MAKE_INPUT" volumes in 4
ingest() { # NAME OPTION...
    name=$1
    shift
    "$MILLRACE" ingest in -o "$name.mr" -q "$@" >/dev/null ||
        fail "cannot ingest with $*"
    "$MILLRACE" verify "$name.mr" >/dev/null || fail "$*: not sound"
    "$MILLRACE" export "$name.mr" -o "$name" -q >/dev/null
    (cd "$name" && find . -type f -exec sha256sum {} + | sort -k 2) >"$name.out"
    "$MILLRACE" inspect "$(find "$name.mr" -name '*.mrs')" >"$name.text"
}
for codec in auto lz4 lz4hc bitpack zstd raw; do
    ingest $codec --codec $codec
    equal "values through $codec" auto.out $codec.out
done
[ "$(wc -l <auto.out)" -ge 4 ] || fail "nothing was compared"
uses() { # NAME CODING
    grep -q "^  $2: [1-9]" "$1.text" || {
        cat "$1.text"
        fail "no chunk of $1 is '$2'"
    }
}
uses auto "bitpack, filter none"
uses lz4 "lz4, filter shuffle"
uses lz4hc "lz4, filter shuffle"
uses bitpack "bitpack, filter none"
uses zstd "zstd, filter delta"
uses raw "raw, filter none"

# The codec is part of what a shard is planned by.
echo 'codec: zstd' >options.yaml
ingest conf --config options.yaml
sed 1d zstd.text >want
sed 1d conf.text >got
equal "the option and the key of a config" want got

# What is there already keeps its codec.
cp -r lz4.mr more.mr
"$MILLRACE" ingest in -o more.mr --codec zstd -q >out || fail "a second time"
grep -q 'nothing new' out || fail "known samples were taken again"

rc=0
"$MILLRACE" ingest in -o x.mr --codec gzip 2>out || rc=$?
[ "$rc" = 2 ] && grep -q 'auto.*zstd' out || fail "--codec gzip ends with $rc"
echo "six codecs, the same values"
