# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts beside it. They run under ctest, which sets MILLRACE
# (the program), MAKE_INPUT and CORPUS. All that they start ends with them.
set -eu
scratch=$(mktemp -d)
here=$(cd "$(dirname "$0")" && pwd)
started=
trap 'end_all; rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
cd "$scratch"
# What the user's shell says must not change what is tested.
unset MILLRACE_SIMD MILLRACE_LOG NO_COLOR
export LC_ALL=C
# Under ASan: what fontconfig keeps has no door to free it.
echo 'leak:libfontconfig' >"$scratch/leaks"
export LSAN_OPTIONS="suppressions=$scratch/leaks:print_suppressions=0"

skip() {
    printf 'skipped: %s\n' "$*"
    exit 77
}
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}
equal() { # WHAT FILE FILE
    cmp -s "$2" "$3" || {
        diff "$2" "$3" | head -n 6
        fail "$1: $2 and $3 differ"
    }
}
# A dataset of COUNT foreign files, made on the way: NAME.mr out of NAME/.
dataset() { # KIND NAME COUNT
    "$MAKE_INPUT" "$1" "$2" "$3"
    "$MILLRACE" ingest "$2" -o "$2.mr" -q --group '{group}_*' >/dev/null ||
        fail "cannot ingest $2"
}
# A folder of what comes after the files of another: no sample is in both.
rest() { # FOLDER OTHER COUNT
    "$MAKE_INPUT" cells "$1" "$3"
    (cd "$2" && find . -type f) | while read -r file; do
        rm "$1/$file"
    done
}

# ---- processes beside the script ----

# A number of seconds may pass until a condition holds.
await() { # SECONDS CONDITION...
    left=$(($1 * 20))
    shift
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.05
    done
}
gone() { # PID
    ! kill -0 "$1" 2>/dev/null
}
end() { # PID, at once
    { kill -9 "$1" && wait "$1"; } 2>/dev/null || :
}
end_all() {
    for pid in $started; do
        end "$pid"
    done
    started=
}
told() { # LOG PID: it is ready, or has ended
    grep -q '^ready ' "$1" 2>/dev/null || gone "$2"
}
# `server` is the process and `address` the place where it listens. A name
# without :// is an ipc socket here; tcp takes the first port that is free.
serve() { # tcp|NAME|ENDPOINT ARGUMENTS...
    place=$1
    shift
    tries=50
    while :; do
        case $place in
        tcp) address=tcp://127.0.0.1:$((20000 + ($$ * 61 + tries * 7) % 12000)) ;;
        *://*) address=$place ;;
        *) address=ipc://$scratch/$place ;;
        esac
        log=$scratch/serve.log
        rm -f "$log" # or what the last one said would count
        "$MILLRACE" serve "$@" --listen "$address" 2>"$log" &
        server=$!
        started="$started $server"
        await 20 told "$log" "$server" || fail "no server at $address"
        if gone "$server"; then
            wait "$server" || :
            grep -q 'E0559' "$log" && [ "$place" = tcp ] && [ "$tries" -gt 0 ] || {
                cat "$log"
                fail "the server at $address did not start"
            }
            tries=$((tries - 1))
            continue
        fi
        return 0
    done
}

# ---- chance ----

# Everything random in a test follows from SEED, which it prints: the same one
# in the environment repeats it.
: "${SEED:=$(date +%s)}"
state=$SEED
# Seconds between two numbers of milliseconds: `moment`.
draw() { # FROM TO
    state=$(((state * 1103515245 + 12345) % 2147483648))
    ms=$(($1 + state / 65536 % ($2 - $1 + 1)))
    moment=$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))
}
# Run a command and end it by SIGKILL after a drawn time. 0: it was killed;
# else it had ended by itself, well.
kill_within() { # FROM_MS TO_MS COMMAND...
    draw "$1" "$2"
    shift 2
    "$@" >killed.out 2>&1 &
    victim=$!
    started="$started $victim"
    sleep "$moment"
    kill -9 "$victim" 2>/dev/null || :
    code=0
    { wait "$victim" || code=$?; } 2>/dev/null # no "Killed"
    [ "$code" != 137 ] || return 0
    [ "$code" = 0 ] || {
        cat killed.out
        fail "exit $code: $*"
    }
    return 1
}
