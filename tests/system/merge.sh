# SPDX-License-Identifier: Apache-2.0
# Datasets as sources: merged by reference, mixed with files, again, refused.
. "$(dirname "$0")/system.sh"

have() { # FIELD OF inspect --json
    "$MILLRACE" inspect "$2" --json | sed 's/.*"'"$1"'":"*\([^,"]*\).*/\1/'
}
expect() { # WHAT GOT WANTED
    [ "$2" = "$3" ] || fail "$1: $2, not $3"
}
hashes() { # DATASET OUT: all samples, by uid, whatever their split
    "$MILLRACE" batch "$1" --split all --index 0:4 --batch-size 8 --hash \
        >"$2" || fail "no batches of $1"
}
make() { # SOURCE DATASET
    "$MILLRACE" ingest "$1" -o "$2" -q --group '{group}_*' --shard-size 40k \
        >/dev/null || fail "cannot ingest $1"
}
refused() { # WORDS ARGUMENTS...
    words=$1
    shift
    code=0
    "$MILLRACE" ingest "$@" -q >/dev/null 2>err || code=$?
    expect "exit of ingest $*" "$code" 2
    grep -q "E0361.*$words" err || fail "$words: not said: $(cat err)"
}

"$MAKE_INPUT" cells whole 40
cp -r whole one
cp -r whole two
find one -name 'donor[0-2]_*' -delete
find two -name 'donor[3-9]*' -delete
for part in whole one two; do
    make $part $part.mr
done
hashes whole.mr whole.out

# ---- two datasets are one ----

"$MILLRACE" ingest one.mr two.mr -o both.mr -q >out || fail "cannot merge"
expect samples "$(have samples both.mr)" 40
expect groups "$(have groups both.mr)" "$(have groups whole.mr)"
hashes both.mr both.out
equal "batches of all samples" whole.out both.out
shard=$(find both.mr/shards -name '*.mrs' | head -n 1)
[ "$(stat -c %h "$shard")" = 2 ] || fail "the shards are no links"
"$MILLRACE" verify both.mr -q || fail "both.mr is not sound"
for part in one two both; do # classes, groups, splits are kept
    "$MILLRACE" inspect $part.mr --samples | tail -n +2 | sort >$part.lines
done
sort one.lines two.lines >a
equal "what is said of the samples" a both.lines
"$MILLRACE" ingest one.mr two.mr -o both.mr -q | grep -q 'nothing new' ||
    fail "the second time there is something new"
expect generation "$(have generation both.mr)" 1

# ---- from another file system: copied ----

away=$(mktemp -d /dev/shm/millrace.XXXXXX 2>/dev/null || :)
if [ -n "$away" ] && [ "$(stat -c %d "$away")" != "$(stat -c %d .)" ]; then
    trap 'end_all; rm -rf "$scratch" "$away"' EXIT
    cp -r two.mr "$away/two.mr"
    "$MILLRACE" ingest one.mr "$away/two.mr" -o copied.mr -q >/dev/null ||
        fail "cannot merge from another file system"
    [ "$(find copied.mr/shards -links 1 -name '*.mrs' | wc -l)" = \
        "$(find two.mr/shards -name '*.mrs' | wc -l)" ] ||
        fail "other shards than those of two.mr are copied"
    diff -r -x history.jsonl both.mr copied.mr >log ||
        fail "a copy is another dataset: $(cat log)"
    "$MILLRACE" verify copied.mr -q || fail "copied.mr is not sound"
    (
        ulimit -f 8 # blocks of 512 bytes: no shard of two.mr is so short
        trap '' XFSZ
        "$MILLRACE" ingest "$away/two.mr" -o short.mr -q
    ) >/dev/null 2>err && fail "a copy that was cut short is taken"
    grep -q 'E0[0-9]*' err || fail "no error of a copy that was cut short"
    [ ! -e short.mr ] || fail "something is left of it: $(find short.mr)"
else
    [ -z "$away" ] || rm -rf "$away"
    echo "skipped: copying: no second file system at /dev/shm"
fi

# ---- files and datasets, in either order ----

"$MILLRACE" ingest one.mr two -o mixed.mr -q --group '{group}_*' >/dev/null ||
    fail "cannot mix"
expect samples "$(have samples mixed.mr)" 40
hashes mixed.mr mixed.out
equal "batches of files and a dataset" whole.out mixed.out
cp -r two.mr more.mr
"$MILLRACE" ingest one.mr -o more.mr -q >/dev/null || fail "cannot add"
hashes more.mr more.out
equal "batches of a dataset that took another" whole.out more.out

# ---- what is withdrawn there stays out here ----

"$MILLRACE" withdraw one.mr --group donor3 -q >/dev/null
left=$(have samples one.mr)
"$MILLRACE" ingest one.mr two.mr -o fewer.mr -q >/dev/null ||
    fail "cannot merge what has withdrawn samples"
expect "samples without donor3" "$(have samples fewer.mr)" \
    $((left + $(have samples two.mr)))
"$MILLRACE" ingest one -o fewer.mr -q --group '{group}_*' >/dev/null ||
    fail "cannot ingest"
expect "samples after their source" "$(have samples fewer.mr)" \
    $((left + $(have samples two.mr)))
"$MILLRACE" ingest one.mr@1 two.mr -o older.mr -q >/dev/null ||
    fail "cannot merge an older generation"
expect "samples of an older generation" "$(have samples older.mr)" 40
"$MILLRACE" verify fewer.mr older.mr -q || fail "not sound"

# ---- folds ----

for part in one two; do
    "$MILLRACE" ingest $part -o folds-$part.mr -q --group '{group}_*' \
        --folds 2 >/dev/null || fail "cannot ingest into folds"
    "$MILLRACE" inspect folds-$part.mr --samples | tail -n +2
done | sort >a
"$MILLRACE" ingest folds-one.mr folds-two.mr -o folds.mr -q >/dev/null ||
    fail "cannot merge folds"
"$MILLRACE" inspect folds.mr --samples | tail -n +2 | sort >b
equal "folds of the samples" a b
"$MILLRACE" verify folds.mr -q || fail "folds.mr is not sound"
code=0
"$MILLRACE" ingest folds-one.mr two.mr -o no.mr -q 2>err || code=$?
expect "exit of a merge of other splits" "$code" 2
grep -q "E0362.*two.mr has other splits than fold0 to fold1" err ||
    fail "other splits: not said: $(cat err)"

# ---- one name, two samples ----

cp -r two.mr other.mr
key=$(find two -name '*_1*' -printf '%P\n' | head -n 1)
"$MILLRACE" relabel other.mr "$key" --class none -q >/dev/null
refused "two samples with one uid: '$key' of two.mr and '$key' of other.mr" \
    two.mr other.mr -o no.mr
[ ! -e no.mr ] || fail "a refused merge leaves something"
refused "one uid.* of both.mr and .* of other.mr" other.mr -o both.mr
mkdir -p "changed/$(dirname "$key")"
cp "$(find one -name '*.tif' | head -n 1)" "changed/$key"
make changed changed.mr
refused "two samples with one key: '$key'" two.mr changed.mr -o no.mr
refused "withdrawn here and alive there" one.mr whole.mr -o no.mr
expect "a dataset after refusals" "$(have generation both.mr)" 1
