# SPDX-License-Identifier: Apache-2.0
# From nothing to a trained network, step by step. Sourced by ./dev, which has
# say, die and build; every step is a command that a reader may type himself.
#
# 30 donors of 80 cells each: 3 of them, 240 cells, are held out for the test,
# so that the figure at the end has a standard deviation of about 2 points;
# with 10 donors it would be one donor's 80 cells, and 4 points.
program=build/release/bin/millrace
recipe=docs/recipes/cells.yaml
demo=out/demo
count=2400
donors=30
seed=7
sockets=   # a folder of the server's socket: paths of sockets are short
server=    # its process

# The number of a member in the last of a file's one-line JSON objects.
json() { # FILE MEMBER
    tail -n 1 "$1" | grep -o "\"$2\":[^,}]*" | head -n 1 | sed 's/.*://'
}
calc() { # FORMAT EXPRESSION
    awk "BEGIN { printf \"$1\", $2 }"
}
now() {
    date +%s.%N
}
show() { # COMMAND...
    printf '\n$ millrace %s\n' "$*"
}
run() { # show a command, then run it
    show "$@"
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
    run synth cells "$demo/raw" --count $count --donors $donors --seed $seed
}

# Donors stand in the names of the files, and are held out whole.
demo_ingest() {
    show ingest "$demo/raw" -o "$demo/cells.mr" --group "'{group}_*'"
    "$program" ingest "$demo/raw" -o "$demo/cells.mr" --group '{group}_*' \
        --json >"$demo/ingest.json"
    "$program" inspect "$demo/cells.mr" | sed -n '/samples\|splits\|shards/p'
}

demo_serve() {
    sockets=$(mktemp -d)
    endpoint=ipc://$sockets/cells
    show serve "$demo/cells.mr" --listen "$endpoint" '&'
    "$program" serve "$demo/cells.mr" --listen "$endpoint" \
        2>"$demo/serve.log" &
    server=$!
    tries=0
    until grep -q '^ready ' "$demo/serve.log" 2>/dev/null; do
        tries=$((tries + 1))
        if [ "$tries" -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
            cat "$demo/serve.log" >&2
            die "the server does not answer"
        fi
        sleep 0.1
    done
    grep '^ready ' "$demo/serve.log"
}

# The recipe's pipeline alone: what the network will see, and how fast the
# server can send it when nothing waits for a network.
demo_stream() {
    pipeline=$demo/cells.pipe.yaml
    awk '/^[a-z]/ { on = 0 } on { print substr($0, 5) }
        /^  pipeline:/ { on = 1 }' $recipe >"$pipeline"
    run batch "$endpoint" --pipeline "$pipeline" --batch-size 8 \
        --png "$demo/seen.png"
    echo "$demo/seen.png: 8 cells, 2 global and 4 local views of each"
    show batch "$endpoint" --pipeline "$pipeline" --batch-size 32 --hash
    from=$(now)
    for epoch in 0 1 2; do
        "$program" batch "$endpoint" --pipeline "$pipeline" --batch-size 32 \
            --epoch $epoch --hash
    done >"$demo/hashes.txt"
    streamed=$(awk -v from="$from" -v to="$(now)" \
        '{ rows += $3 } END { printf "%.0f", rows / (to - from) }' \
        "$demo/hashes.txt")
    echo "$(wc -l <"$demo/hashes.txt") batches, $streamed images/s"
}

demo_train() {
    run train $recipe "$endpoint" -o "$demo/run" --seed $seed
}

# The same network as it was drawn, and as it was trained.
demo_eval() {
    run eval features random:$seed "$demo/cells.mr" --like "$demo/run" \
        -o "$demo/untrained.mrf"
    run eval features "$demo/run" "$demo/cells.mr" -o "$demo/trained.mrf"
    for name in untrained trained; do
        show eval knn "$demo/$name.mrf"
        "$program" eval knn "$demo/$name.mrf" --json >"$demo/$name.json"
        echo "top-1 $(percent $name top1) %"
    done
    run eval plot "$demo/trained.mrf" -o "$demo/map.png"
}

percent() { # NAME MEMBER
    calc %.1f "100 * $(json "$demo/$1.json" "$2")"
}

# "3.41 (3.82 at its highest) to 2.02": means of 50 steps. The loss rises while
# the teacher's outputs are being centred; what counts is how it falls then.
loss_course() {
    sed -n 's/.*"loss":\([^,]*\).*/\1/p' "$demo/run/metrics.jsonl" | awk '
        { sum += $1; last[NR % 50] = $1
          if (NR >= 50) {
              mean = sum / 50; sum -= last[(NR + 1) % 50]
              if (NR == 50) first = mean
              if (mean > most) most = mean
          } }
        END { printf "%.2f (%.2f at its highest) to %.2f", first, most, mean }'
}

trained_rate() {
    awk -F '"images_per_s":' 'NF > 1 { sum += 1 / ($2 + 0); n++ }
        END { printf "%.0f", n / sum }' "$demo/run/metrics.jsonl"
}

demo_summary() { # SECONDS
    bytes=$(json "$demo/ingest.json" bytes)
    raw=$(json "$demo/ingest.json" raw_bytes)
    cat <<END

what was done, in $1 s after the build
  samples    $(json "$demo/ingest.json" samples) cells of $donors donors, 8 classes, 5 channels of 16 bits
  shards     $(calc %.1f "$bytes/1e6") MB, $(calc %.2f "$raw/$bytes") times smaller than the $(calc %.1f "$raw/1e6") MB of pixels
  streamed   $streamed images/s, each in 6 augmented views, over ipc
  trained    $(trained_rate) images/s, $(json "$demo/run/metrics.jsonl" step) steps, loss $(loss_course)
  kNN top-1  trained $(percent trained top1) %, untrained $(percent untrained top1) %, chance $(percent trained chance) %
             ($(json "$demo/trained.json" test) cells of donors that training never saw)
where it lies
  $demo/raw       the cells as TIFF          $demo/cells.mr   the dataset
  $demo/run       weights, log, metrics      $demo/map.png    features in two dimensions
  $demo/seen.png  what the network saw
what to type next
  $program inspect $demo/cells.mr
  $program eval knn $demo/trained.mrf --per-class
  $program eval plot $demo/trained.mrf -o $demo/donors.svg --by group
  $program train $recipe $demo/cells.mr -o out/mine --set train.steps=1800
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
demo_stream
demo_train
demo_eval
demo_summary "$(($(date +%s) - began))"
