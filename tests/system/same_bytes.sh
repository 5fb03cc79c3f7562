# SPDX-License-Identifier: Apache-2.0
# The bytes of a dataset follow from its input alone: one thread, two, eight,
# stopped and resumed, on another path, by another user give the same SHA-256
# of every shard, index and manifest, in the first generation and the second.
. "$(dirname "$0")/system.sh"

"$MAKE_INPUT" cells first 60
"$MAKE_INPUT" cells second 90 # the first 60 are the same
"$MAKE_INPUT" volumes first/more 6
"$MAKE_INPUT" volumes second/more 6
ingest() { # SOURCE DATASET THREADS
    "$MILLRACE" ingest "$1" -o "$2" -j "$3" -q --group '{group}_*' \
        --shard-size 200k
}
both() { # DATASET THREADS
    ingest first "$1" "$2" >/dev/null || fail "$1, first"
    ingest second "$1" "$2" >/dev/null || fail "$1, second"
}
sums() { # DATASET
    (cd "$1" && find . -type f ! -name history.jsonl -exec sha256sum {} + |
        sort -k 2)
}
same() { # WHAT DATASET
    sums "$2" >got
    equal "$1" want got
    echo "$1: the same"
}

both one.mr 1
sums one.mr >want
[ "$(grep -c '\.mrs$' want)" -ge 6 ] || fail "too few shards to tell"
for threads in 2 8; do
    both "$threads.mr" "$threads"
    same "-j $threads" "$threads.mr"
done

# A little later each time, until one comes through: some stop in the midst.
stops=0
for source in first second; do
    ms=1
    while kill_within "$ms" "$ms" "$MILLRACE" ingest "$source" -o cut.mr -j 2 \
        -q --group '{group}_*' --shard-size 200k; do
        stops=$((stops + 1))
        ms=$((ms + ms / 3 + 2))
    done
done
[ "$stops" -ge 2 ] || fail "no kill came in time"
same "killed $stops times and resumed" cut.mr

mkdir -p "another place/with space"
cp -a first second "another place/with space"
(cd "another place/with space" && both there.mr 2)
same "on another path" "another place/with space/there.mr"

if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    mkdir open
    chmod 777 open
    chmod 755 .
    cp "$MILLRACE" open/millrace
    MILLRACE=$scratch/open/millrace
    for source in first second; do
        (umask 077 && HOME=/ USER=nobody LC_ALL=C.UTF-8 TZ=Asia/Tokyo \
            setpriv --reuid 65534 --regid 65534 --clear-groups \
            "$MILLRACE" ingest "$source" -o open/d.mr -j 2 -q \
            --group '{group}_*' --shard-size 200k >/dev/null) ||
            fail "as another user"
    done
    same "by another user, of another time zone" open/d.mr
else
    echo "left out: another user, since only root can become one"
fi
