# SPDX-License-Identifier: Apache-2.0
# SIGKILL at ten random moments of a training, each time the same command
# again: weights, optimiser and centre at the end are those of the run that
# was left alone, byte by byte, and the record has each step once.
. "$(dirname "$0")/system.sh"

dataset cells cells 48
cat >recipe.yaml <<'END'
model: {arch: vit_tiny, patch: 8, dim: 32, depth: 2, heads: 2,
        head_hidden: 32, bottleneck: 16, out_dim: 64}
data: {global_size: 32, local_size: 16, local_count: 2}
train: {steps: 300, batch_size: 8, warmup_steps: 10, freeze_steps: 5,
        threads: 1, checkpoint_every: 4}
END
train() { # RUN
    "$MILLRACE" train recipe.yaml cells.mr -o "$1" --seed 5 -q --json
}
hash() {
    sed -n 's/.*"xxh3":"\([0-9a-f]*\)".*/\1/p' "$1"
}
steps() { # RUN
    sed -n 's/^{"step":\([0-9]*\),.*/\1/p' "$1/metrics.jsonl"
}

train calm >calm.json || fail "the calm run"
seq 300 >want
steps calm >got
equal "steps of the calm run" want got

echo "seed $SEED"
kills=0
run=1
while [ "$kills" -lt 10 ]; do
    if kill_within 20 400 "$MILLRACE" train recipe.yaml cells.mr \
        -o "run$run" --seed 5 -q; then
        kills=$((kills + 1))
        at=$(steps "run$run" 2>/dev/null | tail -n 1)
        echo "kill $kills after $moment s, run $run, step ${at:-0}"
    else
        run=$((run + 1)) # it was through: one more, to be killed
    fi
done
for i in $(seq "$run"); do
    train "run$i" >run.json || fail "run $i does not go on"
    [ "$(hash run.json)" = "$(hash calm.json)" ] ||
        fail "run $i: $(hash run.json), calm: $(hash calm.json)"
    for file in last best step-00000300; do
        cmp "calm/checkpoints/$file.safetensors" \
            "run$i/checkpoints/$file.safetensors" ||
            fail "$file of run $i is another one"
    done
    steps "run$i" >got
    equal "steps of run $i" want got
    ls -A calm/checkpoints >want.files
    ls -A "run$i/checkpoints" >got.files
    equal "files of run $i" want.files got.files
done
echo "$(hash calm.json): calm, and after $kills kills in $run runs"
