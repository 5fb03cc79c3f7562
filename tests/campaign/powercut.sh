# SPDX-License-Identifier: Apache-2.0
# The power goes at any moment of what makes generations: in a model of a file
# system that keeps only what POSIX promises (powercut.c), and on real ones.
#
#   powercut.sh STATES CUTS [NOTES [KINDS]]    run by ./dev powercut; ctest: a part
#
# STATES of the model, CUTS of ext4 and xfs each (or those KINDS): a file system in an image
# is shut down by an ioctl at a random moment, without what its journal has not
# written yet, and mounted again. What held is noted in NOTES and in NOTES.fs,
# and not done again by the next run.
. "$(dirname "$0")/../system/system.sh"

states=${1:-2000}
cuts=${2:-0}
notes=${3:-$scratch/notes}
kinds=${4:-ext4 xfs}
export SEED
touch "$notes" "$notes.fs"
"$MAKE_INPUT" cells first 12
"$MAKE_INPUT" cells second 20 # the first 12 are the same
rest near second 32
"$MAKE_INPUT" cells before 32
rest far before 40

ingest() { # SOURCE DATASET
    "$MILLRACE" ingest "$1" -o "$2" -j 1 -q --group '{group}_*' \
        --shard-size 70k
}
ingest near near.mr >/dev/null
ingest far far.mr >/dev/null

# A file system without a disk, where there is one: the model syncs for nothing.
memory=$(mktemp -d /dev/shm/millrace.XXXXXX 2>/dev/null || mktemp -d)
trap 'end_all; put_away; rm -rf "$scratch" "$memory"' EXIT
cp -a near.mr "$memory/" # shards are linked from it, and copied from the other
mounted=
put_away() {
    [ -z "$mounted" ] || umount "$mounted" 2>/dev/null || :
}
[ "$states" = 0 ] ||
    TMPDIR=$memory "$POWERCUT" first second \
    "$memory/near.mr" far.mr "$states" "$notes" ||
    fail "the model finds a state that is not sound"
[ "$cuts" != 0 ] || exit 0

# ---- real file systems ----

act() { # GENERATION DATASET
    case $1 in
    1) ingest first "$2" ;;
    2) ingest second "$2" ;;
    3 | 8) "$MILLRACE" withdraw "$2" --group donor1 -q ;;
    4) "$MILLRACE" rollback "$2@2" -q ;;
    5) "$MILLRACE" relabel "$2" ring/donor0_0.tif --class other -q ;;
    6) ingest "$(dirname "$2")/near.mr" "$2" ;;
    7) ingest far.mr "$2" ;;
    9) "$MILLRACE" compact "$2" -q ;;
    10) "$MILLRACE" withdraw "$2" --group donor2 -q ;;
    11) "$MILLRACE" compact "$2" --purge -q ;;
    esac
}
last=11
for k in $(seq $last); do # as it is after each of them
    [ "$k" = 1 ] || cp -a "calm.$((k - 1))" "calm.$k"
    act "$k" "calm.$k" >/dev/null
done
# The commands one after the other; what has come to an end stands in `acked`,
# which the cut does not touch.
all_of_them() { # DATASET
    for k in $(seq $last); do
        act "$k" "$1" >out 2>&1 || return 0
        echo "$k" >>acked
    done
}
acked() {
    tail -n 1 acked
}
lines() { # FILE
    if [ -e "$1" ]; then grep -c '^[0-9a-f]' "$1" || :; else echo 0; fi
}
# Shards that are finished and not in the journal: the next run would not find
# them. One may be: that which was being noted.
unnoted() { # DATASET
    shards=$(find "$1/shards" -name '*.mrs' | wc -l)
    echo $((shards - $(lines "$1/journal/shards.jsonl")))
}
# What was acknowledged when the cut began must be there. The program goes on
# for a moment on a file system that is down, and may end well for all it knows:
# that counts for nothing.
judge() { # WHAT ACKNOWLEDGED DATASET
    held=$2
    most=$(($(acked) + 1))
    set -- "$1" "$3"
    latest=$(find "$2" -maxdepth 1 -name 'manifest.*.pb' 2>/dev/null |
        sed 's/.*manifest\.0*\([0-9]*\)\.pb/\1/' | sort -n | tail -n 1)
    latest=${latest:-0}
    if [ "$latest" -lt "$held" ] || [ "$latest" -gt "$most" ]; then
        ls -lR "$2"
        fail "$1: $held was acknowledged, $latest is in force"
    fi
    if [ "$latest" != 0 ]; then
        "$MILLRACE" verify "$2" >log 2>&1 || {
            cat log
            fail "$1: not sound"
        }
        # All that the generation had is there; there may be more beside it.
        (cd "calm.$latest" && find . -type f ! -name history.jsonl) >files
        while read -r file; do
            cmp -s "calm.$latest/$file" "$2/$file" ||
                fail "$1: $file of generation $latest is not as it was"
        done <files
        [ "$(lines "$2/history.jsonl")" -ge "$held" ] ||
            fail "$1: lines of history are gone"
    elif [ -d "$2/shards" ]; then
        [ "$(unnoted "$2")" -le 1 ] || fail "$1: finished shards are not noted"
    fi
    k=$((latest > held ? latest : held < last ? held + 1 : last))
    act "$k" "$2" >out 2>&1 || {
        cat out
        fail "$1: does not go on"
    }
    diff -rq -x history.jsonl "calm.$k" "$2" >log 2>&1 || {
        cat log
        fail "$1: gone on, not the calm dataset"
    }
}
real() { # KIND SIZE MKFS...
    kind=$1
    size=$2
    shift 2
    done=$(grep -c "^$kind [0-9]" "$notes.fs" || :)
    command -v "$1" >/dev/null || {
        echo "skipped: $kind: no $1 here"
        return 0
    }
    image=$memory/$kind
    truncate -s "$size" "$image"
    "$@" "$image" >log 2>&1 || fail "$1: $(tail -n 1 log)"
    mkdir -p "$kind"
    mount -o loop "$image" "$kind" 2>log || {
        echo "skipped: $kind: $(head -n 1 log)"
        return 0
    }
    mounted=$PWD/$kind
    cp -a near.mr "$kind/"
    began=$(date +%s%N)
    echo 0 >acked
    all_of_them "$kind/x.mr"
    calm=$((($(date +%s%N) - began) / 1000000)) # ms
    [ "$(acked)" = "$last" ] || fail "$kind: $(cat out)"
    while [ "$done" -lt "$cuts" ]; do
        rm -rf "$kind/x.mr"
        sync -f "$kind"
        echo 0 >acked
        draw 0 "$calm"
        all_of_them "$kind/x.mr" &
        writer=$!
        started="$started $writer"
        sleep "$moment"
        before=$(acked)
        "$SHUTDOWN_FS" "$kind" 2>log || {
            echo "skipped: $kind: $(cat log)"
            break
        }
        wait "$writer" || :
        umount "$kind" 2>log || fail "$kind: $(cat log)"
        mount -o loop "$image" "$kind" 2>log || fail "$kind: $(cat log)"
        judge "$kind, cut $done after $moment s of $calm, seed $SEED" \
            "$before" "$kind/x.mr"
        [ "$latest" -ge "$(acked)" ] || echo "$kind too late" >>"$notes.fs"
        echo "$kind $before" >>"$notes.fs"
        done=$((done + 1))
    done
    umount "$kind"
    mounted=
}
row() { # KIND
    printf '| %s' "$1"
    for k in $(seq 0 $last); do
        printf ' | %s' "$(grep -c "^$1 $k\$" "$notes.fs" || :)"
    done
    echo ' | 0 |'
}
[ "$(id -u)" = 0 ] || {
    echo "skipped: real file systems: only root can mount them"
    exit 0
}
for kind in $kinds; do
    case $kind in
    ext4) real ext4 64M mkfs.ext4 -q ;;
    xfs) real xfs 320M mkfs.xfs -q ;; # it takes no less
    esac
done
echo
echo '| shut down after | nothing | ingest | ingest more | withdraw' \
    '| rollback | relabel | merge | merge, copying | withdraw | compact | withdraw' \
    '| compact --purge | wrong |'
echo '|---|---|---|---|---|---|---|---|---|---|---|---|---|---|'
for kind in $kinds; do
    row "$kind"
done
echo
echo "Seed $SEED. A command that went on after the cut took its end for well" \
    "$(grep -c 'too late' "$notes.fs" || :) times."
