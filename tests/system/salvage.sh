# SPDX-License-Identifier: Apache-2.0
# A damaged dataset as its user finds it: verify tells, salvage brings back the
# rest, and the exit code says whether anything is lost.
. "$(dirname "$0")/system.sh"

dataset cells cells 60
shard=$(find cells.mr -name '*.mrs' | head -n 1)

# ---- nothing is lost: the same dataset, also from a shard without an end ----

"$MILLRACE" salvage cells.mr -o same.mr -q >out || fail "exit $? of a sound one"
grep -q ': 60 samples saved, 0 lost' out || fail "not 60 saved"
for name in cells same; do
    "$MILLRACE" batch $name.mr --index 0:4 --batch-size 8 --hash=rows >$name.rows ||
        fail "no batches of $name.mr"
    (cd $name.mr && find shards -type f -exec cksum {} +) | sort >$name.sums
done
equal "the rows of a salvaged dataset" cells.rows same.rows
equal "its shards" cells.sums same.sums

# ---- a page of a shard is lost ----

cp -r cells.mr hurt.mr
dd if=/dev/zero of="hurt${shard#cells}" bs=4096 seek=3 count=1 conv=notrunc \
    2>/dev/null
(cd hurt.mr && find . -type f -exec cksum {} +) | sort >before
code=0
"$MILLRACE" verify hurt.mr >out 2>&1 || code=$?
[ $code = 3 ] || fail "verify ends with $code"
grep -q "'millrace salvage' brings back" out || fail "verify does not point on"
code=0
"$MILLRACE" salvage hurt.mr -o saved.mr -q >out || code=$?
[ $code = 3 ] || fail "salvage ends with $code, not 3"
lost=$(grep -c '^lost: ' out)
[ "$lost" -gt 0 ] || fail "nothing is named"
grep -q "$((60 - lost)) samples saved, $lost lost" out || fail "wrong counts"
"$MILLRACE" verify saved.mr >out || fail "what was saved is not sound"
(cd hurt.mr && find . -type f -exec cksum {} +) | sort >after
equal "the source" before after
code=0
"$MILLRACE" salvage hurt.mr -o again.mr --json -q >out.json || code=$?
[ $code = 3 ] || fail "salvage --json ends with $code"
grep -q '"schema":"millrace.salvage.1"' out.json || fail "no JSON"
[ "$(grep -o '"uid":"[0-9a-f]*"' out.json | wc -l)" = "$lost" ] ||
    fail "JSON names others"

# ---- a relabelled sample stands twice: the later label comes back ----

label() { # DATASET: the class of the sample that was relabelled
    "$MILLRACE" inspect "$1" --samples | awk -v key="$key" \
        '$1 == key { print $2 }'
}
cp -r cells.mr twice.mr
set -- $("$MILLRACE" inspect cells.mr --samples | sed -n 2p)
key=$1
old=$2
new=ring
[ "$old" != ring ] || new=spot
"$MILLRACE" relabel twice.mr "$key" --class $new -q >/dev/null ||
    fail "cannot relabel"
for turn in 1 2 3; do # the ids of shards have no order: try a few
    rm -rf twice.lost twice.saved
    cp -r twice.mr twice.lost
    rm "$(ls twice.lost/index.*.mri | tail -n 1)"
    "$MILLRACE" salvage twice.lost -o twice.saved >out 2>err ||
        fail "cannot salvage without an index"
    grep -q ': 60 samples saved' out || fail "not 60 saved"
    [ "$(label twice.saved)" = $new ] || fail "turn $turn: the old label is back"
    grep -q 'two labels' err && fail "the manifest says which is the later"
    new2=$old
    old=$new
    new=$new2
    "$MILLRACE" relabel twice.mr "$key" --class $new -q >/dev/null ||
        fail "cannot relabel again"
done
rm -rf twice.saved
rm twice.mr/index.*.mri twice.mr/manifest.*.pb
"$MILLRACE" salvage twice.mr -o twice.saved >out 2>err ||
    fail "cannot salvage without a manifest"
grep -q 'stood there with two labels' err || fail "two labels are not told"
