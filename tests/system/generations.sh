# SPDX-License-Identifier: Apache-2.0
# Generations as users make them: withdraw, roll back, compare; what streams
# see before and after; two writers; a kill at any moment.
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

# ---- who is withdrawn is streamed no more; who has it open keeps it ----

content=$(have content_id cells.mr)
hashes cells.mr before
serve open cells.mr
"$MILLRACE" withdraw cells.mr spot/donor0_1.tif --group donor1 \
    --reason 'no consent' -q >out || fail "cannot withdraw"
expect generation "$(have generation cells.mr)" 2
expect samples "$(have samples cells.mr)" 53
expect withdrawn "$(have withdrawn cells.mr)" 7
"$MILLRACE" inspect cells.mr --samples >all
grep -q 'donor1_' all && fail "donor1 is still listed"
hashes "$address" served
equal "a server that was open" before served
hashes cells.mr@1 old
equal "the generation before" before old
end_all
grep -q '"what":"withdraw".*"reason":"no consent"' cells.mr/history.jsonl ||
    fail "history does not tell"
"$MILLRACE" export cells.mr -o exported -q >/dev/null || fail "no export"
find exported | grep -q donor1_ && fail "donor1 is exported"

# A row hangs on its sample alone: those that are left are the same rows.
cat >random.yaml <<'END'
- random_resized_crop: {size: 24}
- flip: {horizontal: 0.5, vertical: 0.5}
END
epoch() { # DATASET OUT SPLIT: whole rows of an epoch, without their places
    "$MILLRACE" batch "$1" --split "$3" --index 0:6 --batch-size 8 \
        --hash=rows --pipeline random.yaml >rows || fail "no rows of $1"
    cut -d ' ' -f 4- rows | grep -v '^00000000000000000000000000000000 ' |
        sort >"$2"
}
epoch cells.mr@1 rows.1 train
epoch cells.mr@2 rows.2 train
expect "rows before" "$(wc -l <rows.1)" 48
expect "rows after" "$(wc -l <rows.2)" 41
comm -13 rows.1 rows.2 | grep . && fail "rows that were not there before"
for split in val test; do # where nobody left, the batches are the same
    for n in 1 2; do
        "$MILLRACE" batch "cells.mr@$n" --split $split --index 0:1 --hash \
            >"$split.$n" || fail "no batch of $split"
    done
    equal "batches of $split" $split.1 $split.2
done

# ---- it stays out, and asking again changes nothing ----

"$MILLRACE" withdraw cells.mr --group donor1 -q | grep -q 'nothing left' ||
    fail "the second time there is something to do"
"$MILLRACE" ingest cells -o cells.mr -q --group '{group}_*' >/dev/null ||
    fail "cannot ingest again"
expect generation "$(have generation cells.mr)" 2

# ---- an older generation, wherever a dataset is named ----

"$MILLRACE" verify cells.mr@1 -q >out || fail "cannot verify a generation"
"$MILLRACE" salvage cells.mr@1 -o saved.mr -q >/dev/null ||
    fail "cannot salvage a generation"
expect "samples saved" "$(have samples saved.mr)" 60
"$MILLRACE" ingest cells.mr@1 -o taken.mr -q >/dev/null ||
    fail "cannot take a generation in"
expect "content taken in" "$(have content_id taken.mr)" "$content"
"$MILLRACE" export cells.mr@1 -o first -q >/dev/null || fail "cannot export"
find first | grep -q donor1_ || fail "donor1 of generation 1 is not exported"
serve aged cells.mr@1
hashes "$address" served
equal "a server of generation 1" before served
end_all
for verb in verify "salvage -o new.mr" inspect "export -o new" \
    "ingest -o new.mr" batch "serve --listen ipc://$scratch/no.sock"; do
    code=0
    # shellcheck disable=SC2086 # several words
    "$MILLRACE" ${verb%% *} cells.mr@9 ${verb#"${verb%% *}"} >/dev/null \
        2>err || code=$?
    expect "exit of $verb of no generation" "$code" 2
    grep -q E0324 err || fail "$verb: not said: $(cat err)"
done

# ---- differences ----

"$MILLRACE" inspect --diff cells.mr@1 cells.mr --json >diff.json
grep -q '"added":0,"removed":7,"changed":0,"relabelled":0' diff.json ||
    fail "the difference is another one"
"$MILLRACE" inspect --diff cells.mr@1 cells.mr | grep -q 'spot/donor0_1.tif' ||
    fail "the difference does not name a key"

# ---- back, and the same batches ----

"$MILLRACE" rollback cells.mr@1 -q >/dev/null || fail "cannot roll back"
expect generation "$(have generation cells.mr)" 3
expect content "$(have content_id cells.mr)" "$content"
hashes cells.mr after
equal "batches after rolling back" before after
"$MILLRACE" rollback cells.mr@1 | grep -q 'nothing to do' ||
    fail "the second time there is something to do"

# ---- one writer at a time: flock(1) holds what a writer holds ----

if command -v flock >/dev/null; then
    mkdir cells.mr/journal
    echo "pid 4711 on elsewhere" >cells.mr/journal/lock
    flock cells.mr/journal/lock "$MILLRACE" withdraw cells.mr \
        --group donor2 2>err && fail "two writers"
    grep -q 'E0208.*held by pid 4711 on elsewhere' err ||
        fail "the first writer is not named"
    # its holder has died: the lock is free
fi

# ---- killed at any moment: the old generation or the new ----

killed=0
round=0
while [ "$round" -lt 24 ]; do
    round=$((round + 1))
    was=$(have generation cells.mr)
    if [ $((round % 2)) = 1 ]; then
        set -- withdraw cells.mr --group donor2
    else
        set -- rollback cells.mr@1
    fi
    kill_within 1 60 "$MILLRACE" "$@" && killed=$((killed + 1))
    now=$(have generation cells.mr) || fail "it cannot be opened (SEED=$SEED)"
    case $(have samples cells.mr) in
    60 | 54) ;;
    *) fail "neither the old nor the new (SEED=$SEED)" ;;
    esac
    [ "$now" -le $((was + 1)) ] || fail "two generations at once"
done
# The next writer clears away what the killed ones left.
"$MILLRACE" rollback cells.mr@1 -q >/dev/null || fail "no rollback after kills"
"$MILLRACE" verify cells.mr -q >out || {
    cat out
    fail "damaged by a kill (SEED=$SEED)"
}
hashes cells.mr after
equal "batches after kills" before after

# ---- killed at every call that changes the file system ----

state_of() { # DATASET: generation and samples
    echo "$(have generation "$1") $(have samples "$1")"
}
calls=0
every_call() { # BASE OLD NEW VERB ARGUMENTS...
    base=$1 old=$2 new=$3
    shift 3
    for call in mkdir pwrite64 ftruncate fsync link rename unlink rmdir; do
        n=0
        code=137
        while [ "$code" = 137 ]; do
            n=$((n + 1))
            rm -rf x.mr
            cp -r "$base" x.mr
            code=0
            strace -f -o /dev/null -e trace=$call \
                -e inject=$call:signal=KILL:when=$n "$MILLRACE" "$@" -q \
                >/dev/null 2>&1 || code=$?
            case $(state_of x.mr) in
            "$old" | "$new") ;;
            *) fail "neither old nor new: $* killed at $call $n" ;;
            esac
            calls=$((calls + 1))
            "$MILLRACE" "$@" -q >/dev/null || fail "no second run: $call $n"
            expect "the second run" "$(state_of x.mr)" "$new"
            "$MILLRACE" verify x.mr -q >out || {
                cat out
                fail "damaged: $* killed at $call $n"
            }
            [ ! -e x.mr/journal ] || fail "a journal is left: $call $n"
            [ "$n" -lt 400 ] || fail "no end of $call"
        done
    done
}
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" # which is a tracer too
if strace -f -o /dev/null -e inject=mkdir:signal=KILL:when=99 \
    "$MILLRACE" --version >/dev/null 2>&1; then
    "$MILLRACE" ingest cells -o one.mr -q --group '{group}_*' >/dev/null
    every_call one.mr "1 60" "2 53" withdraw x.mr spot/donor0_1.tif \
        --group donor1
    cp -r one.mr two.mr
    "$MILLRACE" withdraw two.mr --group donor2 -q >/dev/null
    every_call two.mr "2 54" "3 60" rollback x.mr@1
    echo "$calls runs, killed at every call of eight kinds"
else
    echo "strace is not there, or may not trace: no kills at every call"
fi
echo "generations: $killed of 24 killed, SEED=$SEED"
