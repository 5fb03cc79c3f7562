# SPDX-License-Identifier: Apache-2.0
# Relabel, compact and purge as users do it: what streams see, what is left on
# the disk, who reads on, who may write.
. "$(dirname "$0")/system.sh"

dataset cells cells 60
have() { # FIELD OF inspect --json
    "$MILLRACE" inspect "$2" --json | sed 's/.*"'"$1"'":"*\([^,"]*\).*/\1/'
}
expect() { # WHAT GOT WANTED
    [ "$2" = "$3" ] || fail "$1: $2, not $3"
}
hashes() { # DATASET OUT
    "$MILLRACE" batch "$1" --split train --index 0:6 --batch-size 8 \
        --hash=rows >"$2" || fail "no batches of $1"
}
sound() { # DATASET
    "$MILLRACE" verify "$1" -q >out || {
        cat out
        fail "$1 is not sound"
    }
}

# ---- the same batches, however the samples are cut into shards ----

hashes cells.mr whole
"$MILLRACE" ingest cells -o cut.mr -q --group '{group}_*' --shard-size 20k \
    >/dev/null || fail "cannot ingest with small shards"
[ "$(have shards cut.mr)" -gt 3 ] || fail "one shard is no test"
hashes cut.mr cut
equal "batches of small shards" whole cut
expect "content of small shards" "$(have content_id cut.mr)" \
    "$(have content_id cells.mr)"

# ---- relabel: other classes, the same rows ----

cat >labels.csv <<'END'
key,class
spot/donor0_1.tif,ring
"ring/donor0_0.tif",comet
ring/donor0_3.tif,ring
END
"$MILLRACE" relabel cut.mr --csv labels.csv --dry-run -q | grep -q \
    'would relabel 2 samples' || fail "the plan is another one"
expect "after a dry run" "$(have generation cut.mr)" 1
"$MILLRACE" relabel cut.mr --csv labels.csv --json >out || fail "no relabel"
grep -q '"relabelled":2,"same":1,"regrouped":0,"new_classes":1' out ||
    fail "another count: $(cat out)"
"$MILLRACE" inspect --diff cut.mr@1 cut.mr --json >diff.json
grep -q '"added":0,"removed":0,"changed":0,"relabelled":2' diff.json ||
    fail "the difference is another one"
hashes cut.mr relabelled
cut -d ' ' -f 1-4 whole >a
cut -d ' ' -f 1-4 relabelled >b
equal "the rows of relabelled samples" a b
sound cut.mr

# ---- compact: what is withdrawn goes, all else stays ----

"$MILLRACE" withdraw cut.mr --group donor1 --reason 'donor1 said no' -q \
    >/dev/null || fail "cannot withdraw"
hashes cut.mr before
content=$(have content_id cut.mr)
serve open cut.mr
"$MILLRACE" compact cut.mr --dry-run 2>plan | grep -q 'generation 4' ||
    fail "no plan"
grep -q 'would remove 3 generations before it' plan ||
    fail "the plan does not say what goes: $(cat plan)"
"$MILLRACE" compact cut.mr 2>err >/dev/null || fail "cannot compact"
grep -q 'still read by somebody' err || fail "the reader is not noticed"
expect generation "$(have generation cut.mr)" 4
expect content "$(have content_id cut.mr)" "$content"
hashes cut.mr after
equal "batches after compacting" before after
hashes "$address" served
equal "a server that was open" before served
sound cut.mr
"$MILLRACE" inspect cut.mr@3 >/dev/null 2>&1 || fail "what is read is gone"
end_all
"$MILLRACE" inspect cut.mr@1 >/dev/null 2>err && fail "generation 1 is there"
grep -q E0324 err || fail "it is not said that generation 1 is gone"
"$MILLRACE" compact cut.mr -q | grep -q 'nothing to do' ||
    fail "the second time there is something to do"
[ "$(find cut.mr -name 'manifest*' | wc -l)" = 1 ] || fail "old manifests"

# ---- purge: nobody is left who was withdrawn ----

grep -rqa donor1 cut.mr || fail "nothing to purge is no test"
"$MILLRACE" compact cut.mr --purge -q >/dev/null 2>&1 || fail "cannot purge"
grep -rla donor1_ cut.mr && fail "a key is left"
grep -rla 'donor1 said' cut.mr && fail "the reason is left"
expect withdrawn "$(have withdrawn cut.mr)" 0
hashes cut.mr after
equal "batches after purging" before after
sound cut.mr
# It was said: now nothing keeps them out.
"$MILLRACE" ingest cells -o cut.mr -q --group '{group}_*' >/dev/null ||
    fail "cannot ingest again"
expect "samples of all sources" "$(have samples cut.mr)" 60
hashes cut.mr again
cut -d ' ' -f 1-4 again >b
equal "batches after a second ingest" a b

# ---- one writer at a time ----

if command -v flock >/dev/null; then
    for verb in "relabel cut.mr ring/donor0_0.tif --class ring" \
        "compact cut.mr"; do
        mkdir -p cut.mr/journal
        echo "pid 4711 on elsewhere" >cut.mr/journal/lock
        # shellcheck disable=SC2086 # several words
        flock cut.mr/journal/lock "$MILLRACE" $verb 2>err && fail "two writers"
        grep -q 'E0208.*held by pid 4711 on elsewhere' err ||
            fail "the first writer is not named"
    done
fi
