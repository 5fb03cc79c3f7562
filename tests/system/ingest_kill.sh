# SPDX-License-Identifier: Apache-2.0
# SIGKILL at random moments of an ingest, then the same command: the dataset
# is byte by byte that of an ingest that was left alone, by one thread and by
# two, and nothing else lies in it.
. "$(dirname "$0")/system.sh"

"$MAKE_INPUT" cells cells 240
ingest() { # DATASET THREADS
    "$MILLRACE" ingest cells -o "$1" -j "$2" -q --group '{group}_*' \
        --shard-size 200k
}
# History tells who did what and when; all else is a function of the input.
listing() { # DATASET
    (cd "$1" && find . -type f ! -name history.jsonl -exec cksum {} + |
        sort -k 3)
}

began=$(date +%s%N)
ingest calm.mr 1 >/dev/null || fail "the calm ingest"
calm=$((($(date +%s%N) - began) / 1000000)) # ms
listing calm.mr >want
echo "seed $SEED"
kills=0
i=0
# A kill that comes too late counts for nothing: some rounds more.
while [ "$kills" -lt 10 ] && [ "$i" -lt 40 ]; do
    i=$((i + 1))
    threads=$((i % 2 + 1))
    set -- "$MILLRACE" ingest cells -o "$i.mr" -j "$threads" -q \
        --group '{group}_*' --shard-size 200k
    for again in 1 2; do
        if kill_within 0 "$calm" "$@"; then
            kills=$((kills + 1))
            echo "kill $kills after $moment s, -j $threads"
        fi
    done
    ingest "$i.mr" "$threads" >/dev/null || fail "$i.mr does not go on"
    listing "$i.mr" >got
    equal "$i.mr" want got
    "$MILLRACE" verify "$i.mr" >log || {
        cat log
        fail "$i.mr is not sound"
    }
    rm -r "$i.mr"
done
[ "$kills" -ge 4 ] || fail "only $kills kills came in time"
echo "$(wc -l <want) files, the same after $kills kills"
