# SPDX-License-Identifier: Apache-2.0
# The one idea: --no-mmap changes how files are read and nothing of what is
# read. Every verb that reads a dataset says the same with it and without, from
# the command line, a config file and the environment.
. "$(dirname "$0")/system.sh"
unset MILLRACE_NO_MMAP

dataset volumes v 24
cat >crop.yaml <<'END'
- crop3d: {size: [8, 24, 16]}
- normalize: {from: dataset}
END
echo 'no-mmap: true' >config.yaml

both() { # WHAT COMMAND...
    what=$1
    shift
    code=0
    "$MILLRACE" "$@" >want 2>&1 || code=$?
    for how in --no-mmap --config=config.yaml; do
        again=0
        "$MILLRACE" "$@" "$how" >got 2>&1 || again=$?
        [ "$code" = "$again" ] || fail "$what: $code, and $again with $how"
        equal "$what $how" want got
    done
    again=0
    MILLRACE_NO_MMAP=1 "$MILLRACE" "$@" >got 2>&1 || again=$?
    [ "$code" = "$again" ] || fail "$what: $code, and $again by environment"
    equal "$what by environment" want got
    echo "$what"
}
# Mapped, the files of the dataset are among the maps of the process.
maps() { # PID
    grep -c '\.mr/.*\.\(mrs\|mri\)$' "/proc/$1/maps" || :
}

both "batches" batch v.mr --pipeline crop.yaml --hash=rows
both "inspect" inspect v.mr --json
both "inspect, samples" inspect v.mr --samples
both "inspect, statistics" inspect v.mr --stats
both "export" export v.mr -o out -q
rm -rf out
"$MILLRACE" export v.mr -o a -q
"$MILLRACE" export v.mr -o b -q --no-mmap
diff -r a b >/dev/null || fail "export writes other files"
"$MILLRACE" verify v.mr --json | sed 's/"seconds":[^,}]*//' >want
"$MILLRACE" verify v.mr --json --no-mmap | sed 's/"seconds":[^,}]*//' >got
equal verify want got

# A server, which is seen to map nothing.
"$MILLRACE" batch v.mr --pipeline crop.yaml --hash >want
for how in '' --no-mmap; do
    # shellcheck disable=SC2086 # no word if it is empty
    serve one.sock v.mr -j 2 $how
    "$MILLRACE" batch "$address" --pipeline crop.yaml --hash >got
    equal "serve $how" want got
    if [ -r "/proc/$server/maps" ]; then
        n=$(maps "$server")
        [ -z "$how" ] && [ "$n" = 0 ] && fail "the server maps nothing"
        [ -n "$how" ] && [ "$n" != 0 ] && fail "--no-mmap maps $n files"
    fi
    end_all
done
echo "serve"

# Damage is found at the same place by both.
shard=$(ls v.mr/shards/*/*.mrs)
size=$(wc -c <"$shard")
printf 'x' | dd of="$shard" bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
"$MILLRACE" verify v.mr --json >hot && fail "verify: sound"
"$MILLRACE" verify v.mr --json --no-mmap >cold && fail "verify --no-mmap: sound"
sed 's/"seconds":[^,}]*//' hot >want
sed 's/"seconds":[^,}]*//' cold >got
equal "verify of damage" want got
both "batches of damage" batch v.mr --pipeline crop.yaml --hash --on-damage mask
both "salvage" salvage "$shard" --json
