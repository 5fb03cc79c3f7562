# SPDX-License-Identifier: Apache-2.0
# From nothing to a trained network, step by step. Sourced by ./dev, which has
# say, die and build; every step is a command that a reader may type himself.
program=build/release/bin/millrace
demo=out/demo
count=2400 # cells
seed=7
sockets=   # a folder of the server's socket: paths of sockets are short
server=    # its process

# The last value of a member in a file of one-line JSON objects.
json() { # FILE MEMBER
    sed -n "s/.*\"$2\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$1" | tail -n 1
}
calc() { # FORMAT EXPRESSION
    awk "BEGIN { printf \"$1\", $2 }"
}
# Show a command, then run it.
run() {
    printf '\n$ %s\n' "millrace $*"
    "$program" "$@"
}

demo_end() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    [ -z "$sockets" ] || rm -rf "$sockets"
}

demo_cells() {
    run synth cells "$demo/raw" --count "$count" --seed "$seed"
}

# Donors stand in the names of the files, and are held out whole.
demo_ingest() {
    run ingest "$demo/raw" -o "$demo/cells.mr" --group '{group}_*' \
        --json >"$demo/ingest.json"
}

demo_serve() {
    sockets=$(mktemp -d)
    endpoint=ipc://$sockets/cells
    printf '\n$ millrace serve %s --listen %s &\n' "$demo/cells.mr" "$endpoint"
    "$program" serve "$demo/cells.mr" --listen "$endpoint" \
        2>"$demo/serve.log" &
    server=$!
    tries=0
    until grep -q '^ready ' "$demo/serve.log"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
            cat "$demo/serve.log" >&2
            die "the server does not answer"
        fi
        sleep 0.1
    done
}

demo_train() {
    run train dino "$endpoint" -o "$demo/run" --seed "$seed" \
        --set model.arch=vit_tiny
}

# The same network as it was drawn, and as it was trained.
demo_eval() {
    for weights in random:$seed "$demo/run"; do
        name=trained
        [ "$weights" = "$demo/run" ] || name=untrained
        run eval features "$weights" "$demo/cells.mr" -o "$demo/$name.mrf"
        run eval knn "$demo/$name.mrf" --json >"$demo/$name.json"
    done
    run eval plot "$demo/trained.mrf" -o "$demo/map.png"
}

demo_summary() {
    bytes=$(json "$demo/ingest.json" bytes)
    raw=$(json "$demo/ingest.json" raw_bytes)
    metrics=$demo/run/metrics.jsonl
    cat <<END

what was done in $1 s
  samples    $(json "$demo/ingest.json" samples), in shards of $(calc %.1f "$bytes/1e6") MB ($(calc %.2f "$raw/$bytes") times smaller than decoded)
  training   $(json "$metrics" step) steps, $(json "$metrics" images_per_s) images/s, loss $(head -n 1 "$metrics" >"$demo/first" && json "$demo/first" loss) to $(json "$metrics" loss)
  kNN top-1  trained $(json "$demo/trained.json" top1), untrained $(json "$demo/untrained.json" top1), chance 0.125
files        $demo: raw/ cells.mr/ run/ trained.mrf map.png
next         $program inspect $demo/cells.mr --splits
             $program batch $demo/cells.mr --png seen.png
             $program train dino $demo/cells.mr -o my-run --set train.epochs=10
END
}

trap demo_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
build
rm -rf "$demo"
mkdir -p "$demo"
began=$(date +%s)
demo_cells
demo_ingest
demo_serve
demo_train
demo_eval
demo_summary "$(($(date +%s) - began))"
