# SPDX-License-Identifier: Apache-2.0
# A command that makes a generation is killed, or refused by the system, at
# every single call that changes its dataset; then the same command runs again.
# In the end the dataset is byte by byte that of a command that was left alone,
# `verify` says it is sound, and nothing else lies in it.
#
#   kill.sh KILLS [STEP [DONE]]     run by ./dev kill and, in part, by ctest
#
# KILLS at random moments with -j 8, of ingest, relabel, compact and merging (by
# reference, and by copying from /dev/shm) in turn; every STEP-th call (1: all of them). What held is noted in the file
# DONE, and not done again by the next run.
. "$(dirname "$0")/../system/system.sh"

kills=${1:-20}
step=${2:-1}
notes=${3:-$scratch/done}
touch "$notes"

# A count of strace is one thread's and one call's. All calls that change the
# dataset are the main thread's, so that the n-th one is always the same.
changing='openat pwrite64 write ftruncate fsync link rename unlink mkdir rmdir'
# What can be refused besides, though it changes nothing.
reading=mmap
errors_of() { # CALL
    case $1 in
    openat) echo ENOSPC EIO EINTR EMFILE ;;
    mmap) echo ENOMEM ;;
    *) echo ENOSPC EIO EINTR ;;
    esac
}
command -v strace >/dev/null || skip "strace is not installed"
strace -f -qq -o trace -e trace=none true 2>log ||
    skip "tracing is not permitted here: $(head -n 1 log)"

"$MAKE_INPUT" cells first 12
"$MAKE_INPUT" cells second 20 # the first 12 are the same
"$MAKE_INPUT" cells many 240
rest other second 32
rest more many 400

ingest() { # SOURCE DATASET THREADS [BEFORE THE PROGRAM...]
    source=$1
    dataset=$2
    threads=$3
    shift 3
    "$@" "$MILLRACE" ingest "$source" -o "$dataset" -j "$threads" -q \
        --group '{group}_*' --shard-size 70k
}
# The seven generations, each out of the one before: two ingests, a donor
# withdrawn, all as it was in the second, a label changed, dead rows removed,
# another dataset taken in by reference.
act() { # GENERATION DATASET [BEFORE THE PROGRAM...]
    name=$1
    dataset=$2
    shift 2
    case $name in
    first | second) ingest "$name" "$dataset" 1 "$@" ;;
    third) "$@" "$MILLRACE" withdraw "$dataset" --group donor1 -q ;;
    fourth) "$@" "$MILLRACE" rollback "$dataset@2" -q ;;
    fifth)
        "$@" "$MILLRACE" relabel "$dataset" ring/donor0_0.tif --class other -q
        ;;
    sixth) "$@" "$MILLRACE" compact "$dataset" -j 1 -q ;;
    seventh) ingest other.mr "$dataset" 1 "$@" ;;
    esac
}
# History tells who did what and when; all else is a function of the input.
same() { # WHAT CALM DATASET
    diff -rq -x history.jsonl "$2" "$3" >log 2>&1 || {
        cat log
        fail "$1: not the calm dataset"
    }
    "$MILLRACE" verify "$3" >log 2>&1 || {
        cat log
        fail "$1: not sound"
    }
}
# What a run that failed leaves: a dataset of whole generations, or none.
whole() { # WHAT DATASET
    if ls "$2"/manifest.*.pb >/dev/null 2>&1; then
        "$MILLRACE" verify "$2" >log 2>&1 || {
            cat log
            fail "$1: what it left is not sound"
        }
    elif [ "$generation" != first ]; then
        fail "$1: the generations before are lost"
    fi
}
begin() { # DATASET: as it is before the command that is disturbed
    rm -rf "$1"
    [ "$generation" = first ] || cp -a "$before.mr" "$1"
}
# The calls of the main thread, one a line: number of its kind, kind.
calls_of() { # CALL: how often, and from which on the dataset is meant
    awk -v call="$1" -v main="$main" '
        $1 == main && index($2, call "(") == 1 {
            n++
            if (!from && /x\.mr/) from = n
        }
        $1 != main && index($2, call "(") == 1 { other[$1]++ }
        END {
            for (t in other)
                if (from && other[t] >= from) exit 1
            print n + 0, from + 0
        }' trace || fail "$1: a helper's calls would be hit as well"
}

one() { # CALL N HOW STRACE'S WORD
    what="$generation generation, $3 at $1 $2"
    ! grep -qF "$what:" "$notes" || return 0
    begin x.mr
    code=0
    {
        act "$generation" x.mr strace -f -qq -o /dev/null -e trace="$1" \
            -e inject="$1:$4:when=$2" >out 2>&1 || code=$?
    } 2>/dev/null
    case $3/$code in
    KILL/137) outcome=killed ;;
    KILL/0) # chance says which thread opens what a library reads
        [ "$1" = openat ] || fail "$what: no kill"
        outcome=missed
        ;;
    KILL/*) fail "$what: ended with $code instead" ;;
    */0) outcome=borne ;; # it did not matter, or was tried again
    */[1-9])
        grep -q 'E0[0-9]*' out || fail "$what: no error with a number"
        outcome=refused
        ;;
    *)
        cat out
        fail "$what: exit $code"
        ;;
    esac
    goes_on
    echo "$what: $outcome" >>"$notes"
}
goes_on() {
    whole "$what" x.mr
    act "$generation" x.mr >out 2>&1 || {
        cat out
        fail "$what: does not go on"
    }
    same "$what" "$generation.mr" x.mr
}
# Under a limit of the system that is raised until it is of no matter: files of
# so many KiB, where the write that reaches it comes back short, or so many
# descriptors. False: of no matter.
under() { # OPTION OF ULIMIT, VALUE, NAME
    what="$generation generation, at most $2 $3"
    last=$(grep -F "$what:" "$notes" || :)
    if [ -z "$last" ]; then
        begin x.mr
        code=0
        (
            trap '' XFSZ
            ulimit "$1" "$2"
            act "$generation" x.mr
        ) >out 2>&1 || code=$?
        case $code in
        0) last="$what: enough" ;;
        # 127: the loader found no descriptor for a library; nothing began
        [1-9] | 127) last="$what: limited" ;;
        *)
            cat out
            fail "$what: exit $code"
            ;;
        esac
        [ "$code" = 0 ] || [ "$code" = 127 ] || grep -q 'E0[0-9]*' out ||
            fail "$what: no error with a number"
        goes_on
        echo "$last" >>"$notes"
    fi
    [ "$last" = "$what: limited" ]
}

generations='first second third fourth fifth sixth seventh'
ingest other other.mr 1 >/dev/null
before=
for generation in $generations; do
    [ "$generation" = first ] || cp -a "$before.mr" "$generation.mr"
    act "$generation" "$generation.mr" >/dev/null
    begin x.mr
    act "$generation" x.mr strace -f -y -qq -o trace \
        -e trace="$(echo "$changing $reading" | tr ' ' ,)" >/dev/null
    same "traced" "$generation.mr" x.mr
    main=$(awk '{ print $1; exit }' trace)
    at=0
    for call in $changing $reading; do
        counts=$(calls_of "$call")
        n=${counts#* }
        [ "$n" != 0 ] || continue
        while [ "$n" -le "${counts% *}" ]; do
            at=$((at + 1))
            n=$((n + 1))
            [ $((at % step)) = 0 ] || continue
            [ "$call" = mmap ] || one "$call" $((n - 1)) KILL signal=KILL
            for error in $(errors_of "$call"); do
                one "$call" $((n - 1)) $error error=$error
            done
        done
    done
    blocks=8 # of 512 bytes
    while under -f "$blocks" "blocks a file"; do
        blocks=$((blocks + 8 * step))
    done
    files=4
    while under -n "$files" descriptors; do
        files=$((files + 1))
    done
    before=$generation
done
# One that did not hold has ended the script.
row() { # WHAT OUTCOME
    printf '| %s' "$1"
    for generation in $generations; do
        printf ' | %s' "$(grep -c "^$generation .*: $2\$" "$notes" || :)"
    done
    echo ' | 0 |'
}
echo '| at each call that changes files, one thread | ingest | ingest more' \
    '| withdraw | rollback | relabel | compact | merge | not as a calm one |'
echo '|---|---|---|---|---|---|---|---|---|'
row "killed" killed
row "ENOSPC, EIO, EINTR, EMFILE, ENOMEM: a numbered error, exit 1 to 9" refused
row "the same: tried again or of no matter, exit 0" borne
row "files of at most 4, 8, 12 ... KiB, 4, 5, 6 ... descriptors" limited

# ---- at random moments, with eight threads; every second one twice ----

# What stands before a kind of command, what it does, and the calm end of it.
kinds='ingest relabel compact merge'
away=$(mktemp -d /dev/shm/millrace.XXXXXX 2>/dev/null || :)
if [ -n "$away" ]; then
    trap 'end_all; rm -rf "$scratch" "$away"' EXIT
    [ "$(stat -c %d "$away")" = "$(stat -c %d .)" ] || kinds="$kinds copy"
fi
base_of() { # KIND
    case $1 in
    relabel | merge | copy) echo ingest ;;
    compact) echo relabel ;;
    esac
}
run() { # KIND DATASET THREADS [BEFORE THE PROGRAM...]
    kind=$1
    dataset=$2
    threads=$3
    shift 3
    case $kind in
    ingest) ingest many "$dataset" "$threads" "$@" ;;
    relabel) "$@" "$MILLRACE" relabel "$dataset" --csv labels.csv -q ;;
    compact) "$@" "$MILLRACE" compact "$dataset" -j "$threads" -q ;;
    merge) ingest more.mr "$dataset" "$threads" "$@" ;;
    copy) ingest "$away/more.mr" "$dataset" "$threads" "$@" ;;
    esac
}
lay() { # KIND DATASET: as it is before that kind
    rm -rf "$2"
    [ -z "$(base_of "$1")" ] || cp -a "$(base_of "$1").calm" "$2"
}
# With one thread, and how long it takes with eight, in ms.
do_calmly() { # KIND
    lay "$1" "$1.calm"
    run "$1" "$1.calm" 1 >/dev/null
    lay "$1" x.mr
    began=$(date +%s%N)
    run "$1" x.mr 8 >/dev/null
    eval "calm_$1=$((($(date +%s%N) - began) / 1000000)) killed_$1=0"
    same "$1 with eight threads" "$1.calm" x.mr
}
# Killed once or twice in a row, and then left alone.
kill_one() { # KIND
    eval "calm=\$calm_$1 killed=\$killed_$1"
    lay "$1" x.mr
    for _ in 1 2; do
        if kill_within 0 "$calm" run "$1" x.mr 8 exec; then
            killed=$((killed + 1))
            all=$((all + 1))
            calm=$((calm + calm / 20))
        else # the machine was slower when the calm one was timed
            late=$((late + 1))
            calm=$((calm - calm / 8))
        fi
    done
    eval "calm_$1=\$calm killed_$1=\$killed"
    what="$1 killed after $moment s, seed $SEED"
    whole "$what" x.mr
    run "$1" x.mr 8 >out 2>&1 || {
        cat out
        fail "$what: does not go on"
    }
    same "$what" "$1.calm" x.mr
}

ingest more more.mr 1 >/dev/null
[ -z "$away" ] || cp -r more.mr "$away"
killed_copy=0
{
    echo key,class
    (cd many && find . -name '*_1*.tif') | sed 's/^..//; s/$/,other/'
} >labels.csv
for kind in $kinds; do
    do_calmly "$kind"
done
all=0
late=0
while [ "$all" -lt "$kills" ]; do
    for kind in $kinds; do
        [ "$kind" = ingest ] && generation=first || generation=later
        [ "$all" -ge "$kills" ] || kill_one "$kind"
        [ "$late" -lt $((20 + 4 * kills)) ] ||
            fail "$late kills came too late"
    done
done
echo
echo "With eight threads, killed at a random moment (seed $SEED), 0 not as a" \
    "calm one: ingest $killed_ingest, relabel --csv $killed_relabel, compact" \
    "$killed_compact, merge $killed_merge, merge from another file system" \
    "$killed_copy times."
