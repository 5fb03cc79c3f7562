# SPDX-License-Identifier: Apache-2.0
# The one idea: a batch is a function of dataset, pipeline, seed, epoch and
# index. The first 20 batches are the same bits from the dataset, from a
# server, from two of which one dies, by any number of threads, in parts put
# together again, and by any instructions of the CPU.
. "$(dirname "$0")/system.sh"

cat >cells.yaml <<'END'
- select: {channels: [4, 0, 2]}
- minmax: {per: channel}
- multi_crop:
    global: {count: 2, size: 32, scale: [0.4, 1.0]}
    local: {count: 3, size: 16, scale: [0.05, 0.4]}
- flip: {horizontal: 0.5, vertical: 0.5}
- brightness: {p: 0.8}
- blur: {p: {global: [1.0, 0.1], local: 0.5}}
- solarize: {p: {global: [0, 0.2], local: 0}}
- normalize: {from: dataset}
END
cat >photos.yaml <<'END'
- random_resized_crop: {size: 40}
- flip: {horizontal: 0.5}
- to: {dtype: u8}
END
cat >volumes.yaml <<'END'
- crop3d: {size: [8, 24, 16]}
- flip: {horizontal: 0.5, vertical: 0.5, depth: 0.5}
- normalize: {mean: 400, std: 150}
END

# So much to compute that a server can be killed in the middle of it.
cat >slow.yaml <<'END'
- multi_crop:
    global: {count: 2, size: 320, scale: [0.4, 1.0]}
    local: {count: 8, size: 96, scale: [0.05, 0.4]}
- blur: {kernel: 15}
END

# ARGUMENTS of a stream out of $kind; SOURCE comes first.
batches() {
    timeout 120 "$MILLRACE" batch "$@" --pipeline "$pipe.yaml" --seed 7 \
        --epoch 3 --batch-size 6 --index 0:20 || fail "batch $*"
}
same() { # WHAT; hashes of batches on stdin
    cat >got
    equal "$kind, $1" want got
    echo "$kind: $1"
}
# The rows of three consumers: field 2 is the batch, field 3 the row in it.
together() {
    for r in 0 1 2; do
        batches "$1" --hash=rows --consumer "$r/3" >"rows.$r"
        [ "$(wc -l <"rows.$r")" = 40 ] || fail "$kind: consumer $r/3 of $1"
    done
    sort -n -k 2,2 -k 3,3 rows.0 rows.1 rows.2
}
# One of two servers is killed between two batches. A consumer that had its
# last batch by then has shown nothing: once more.
one_dies() {
    tries=0
    while :; do
        serve one.sock "$kind.mr" -j 1
        one=$server
        : >lines
        batches "$address,$other" --hash >lines &
        consumer=$!
        until [ "$(wc -l <lines)" -ge 10 ] || gone "$consumer"; do :; done
        end "$one"
        at=$(wc -l <lines)
        wait "$consumer" || fail "$kind: the consumer did not survive"
        equal "$kind, one of two servers killed after batch $at" want lines
        [ "$at" -ge 20 ] || break
        tries=$((tries + 1))
        [ "$tries" -lt 20 ] || fail "$kind: never quick enough with the kill"
    done
    echo "$kind: one of two servers killed after batch $at"
}

for kind in cells photos volumes; do
    pipe=$kind
    dataset "$kind" "$kind" 180
    batches "$kind.mr" --hash -j 1 >want
    [ "$(sort -u want | wc -l)" = 20 ] || fail "$kind: batches are alike"

    batches "$kind.mr" --hash -j 2 | same "two threads"
    levels=
    for level in scalar sse2 avx2 avx512; do
        if MILLRACE_SIMD=$level "$MILLRACE" --version >/dev/null 2>&1; then
            MILLRACE_SIMD=$level batches "$kind.mr" --hash | same "$level"
        else
            levels="$levels $level"
        fi
    done
    [ -z "$levels" ] || echo "skipped, this CPU lacks them:$levels"

    serve tcp "$kind.mr" -j 2
    batches "$address" --hash | same "a server over tcp"
    serve one.sock "$kind.mr" -j 1
    one=$server
    two=$address
    MILLRACE_SIMD=scalar serve two.sock "$kind.mr" -j 2
    other=$address
    two=$two,$other
    batches "$two" --hash | same "two servers over ipc, one of them scalar"

    batches "$kind.mr" --hash=rows >want.rows
    for source in "$kind.mr" "$two"; do
        together "$source" >got.rows
        equal "$kind, three consumers of $source" want.rows got.rows
    done
    echo "$kind: three consumers put together again"

    end_all
done

kind=cells
pipe=slow
batches cells.mr --hash -j 2 >want
serve other.sock cells.mr -j 1
other=$address
one_dies
