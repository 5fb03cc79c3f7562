# SPDX-License-Identifier: Apache-2.0
# The life of a server: how it begins and ends, whom it refuses, and what it
# bears of clients that break the rules, without harm to those that do not.
. "$(dirname "$0")/system.sh"

dataset cells cells 120
"$MILLRACE" batch cells.mr --hash --batch-size 8 >want
serves() { # WHAT: our server still gives the right bits
    timeout 60 "$MILLRACE" batch "$address" --hash --batch-size 8 >got ||
        fail "$1: the server does not serve"
    equal "$1" want got
    echo "$1"
}
ends() { # SIGNAL CODE: our server, within a moment
    kill -"$1" "$server"
    await 20 gone "$server" || fail "a server goes on after SIG$1"
    code=0
    wait "$server" || code=$?
    [ "$code" = "$2" ] || fail "exit $code after SIG$1, not $2"
}
refused() { # CODE WORDS ENDPOINT
    code=0
    timeout 20 "$MILLRACE" serve cells.mr --listen "$3" 2>refused || code=$?
    [ "$code" = "$1" ] && grep -q "error.*$2" refused || {
        cat refused
        fail "exit $code for $3, not $1 and '$2'"
    }
}
memory() { # of our server, MB
    awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$server/status"
}

# ---- beginning and end ----

serve a.sock cells.mr
[ "$(stat -c %a a.sock)" = 600 ] || fail "others may enter a.sock"
serves "over ipc"
refused 1 "'$address' is served already: held by pid $server" "$address"
serves "after a second server was refused"
ends TERM 0
[ ! -e a.sock ] && [ ! -e a.sock.lock ] || fail "a.sock is left behind"
serve a.sock cells.mr
ends INT 130
serve a.sock cells.mr
end "$server"
[ -e a.sock ] || fail "this was to leave a socket behind"
serve a.sock cells.mr
serves "in place of a server that was killed"
ends TERM 0

# Closed streams: no file of ours takes their numbers.
"$MILLRACE" serve cells.mr --listen "ipc://$scratch/a.sock" <&- >&- 2>&- &
server=$!
started="$started $server"
address=ipc://$scratch/a.sock
await 20 [ -S a.sock ] || fail "no server where all streams are closed"
serves "with all streams closed"
for stream in 0 1 2; do
    [ "$(readlink "/proc/$server/fd/$stream")" = /dev/null ] ||
        fail "$(readlink "/proc/$server/fd/$stream") is stream $stream"
done
ends TERM 0

serve tcp cells.mr
refused 1 "another process listens at '$address'" "$address"
serves "over tcp"
ends TERM 0
for place in tcp://0.0.0.0:5570 'tcp://*:5570' tcp://192.168.1.1:5570 \
    tcp://example.org:5570 'tcp://[::]:5570'; do
    refused 7 "is not an address of this machine's loopback" "$place"
done
echo "five addresses that are not loopback refused"

# ---- junk ----

serve tcp cells.mr
echo "seed $SEED"
if command -v bash >/dev/null; then
    for kilobytes in 0 1 100; do
        head -c "${kilobytes}k" /dev/urandom >bytes
        bash -c 'cat bytes >"/dev/tcp/127.0.0.1/$1"' bash "${address##*:}" \
            2>/dev/null || : # it may close before all is said
    done
    serves "after random bytes over tcp"
else
    echo "skipped, no bash: random bytes over tcp"
fi
"$BAD_CLIENT" junk "$address" "$SEED" 10000
serves "after 10000 messages of junk"
ends TERM 0

# ---- clients that do not read ----

serve a.sock cells.mr --memory 64M
before=$(memory)
"$BAD_CLIENT" deaf "$address" 30 &
deaf=$!
started="$started $deaf"
for i in 1 2 3 4; do
    sleep 0.5
    serves "beside a deaf client, $i"
done
gone "$deaf" && fail "the deaf client has gone"
grown=$(($(memory) - before))
if grep -aqE '__[at]san_init' "$MILLRACE"; then
    echo "skipped, a sanitizer keeps what is freed: how much it grew"
else
    [ "$grown" -le 96 ] || fail "a deaf client made it grow by $grown MB"
    echo "it grew by $grown MB, of 64 that it may"
fi
end "$deaf"

cat >slow.yaml <<'END'
- multi_crop:
    global: {count: 2, size: 320}
    local: {count: 8, size: 96}
- blur: {kernel: 15}
END
"$MILLRACE" batch "$address" --pipeline slow.yaml --batch-size 8 --hash >lines &
stopped=$!
started="$started $stopped"
await 60 [ -s lines ] || fail "no first batch"
kill -STOP "$stopped"
serves "beside a client that was stopped"
ends TERM 0
[ ! -e a.sock ] || fail "a.sock is left behind"
