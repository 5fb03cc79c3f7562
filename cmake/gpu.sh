#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# gpu.sh - is the engine right on this machine's GPU, and how fast? (./dev gpu)
#
# Builds the engine alone for the device found, runs every operation check and
# some training steps on it, and writes FOLDER/<date>-<device>.md as it goes:
# a run that is cut short leaves a true part. Ends within eight minutes. Needs
# nvcc, a C compiler, CMake, and make or ninja; docs/gpu/README.md says more.
set -eu
cd "$(dirname "$0")/.."

limit=480 # seconds, all in all
spare=15  # of them for what is killed to end
began=$(date +%s)
checks='linear norm attention token loss graph'
networks='mini demo slice small'
out=docs/gpu
build=build/gpu

usage() {
    cat <<'END'
usage: ./dev gpu [--out DIR]

  --out DIR   where the report goes (default: docs/gpu)

Without nvcc or a GPU every check is skipped, with the reason, and no report
is written. CUDNN_ROOT and NCCL_ROOT say where these are, if nowhere usual;
CUDACXX which nvcc to take.
END
}

say() { printf 'gpu: %s\n' "$*"; }
die() {
    printf 'gpu: %s\n' "$*" >&2
    exit 1
}
refuse() {
    printf 'gpu: %s\n' "$*" >&2
    usage >&2
    exit 2
}
left() { echo $((began + limit - spare - $(date +%s))); }

skip_all() { # REASON
    for check in $checks dino; do
        say "$check: skipped: $*"
    done
    for network in $networks; do
        say "steps of $network: skipped: $*"
    done
    say "nothing was run, so no report was written"
    exit 0
}

while [ $# -gt 0 ]; do
    case $1 in
    --out)
        [ $# -gt 1 ] || refuse "--out needs a folder"
        out=$2
        shift
        ;;
    --out=*) out=${1#--out=} ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) refuse "'$1' is not known here" ;;
    esac
    shift
done
[ -n "$out" ] || refuse "--out needs a folder"

# ---- what is here ----------------------------------------------------------
find_nvcc() {
    if [ -n "${CUDACXX:-}" ]; then
        [ -x "$CUDACXX" ] && echo "$CUDACXX"
        return
    fi
    command -v nvcc && return
    for place in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda; do
        if [ -n "$place" ] && [ -x "$place/bin/nvcc" ]; then
            echo "$place/bin/nvcc"
            return
        fi
    done
}

ask_driver() { # FIELD: of the first device; empty if it cannot be asked
    answer=$(nvidia-smi --query-gpu="$1" --format=csv,noheader -i 0 \
        2>/dev/null) || return 0
    echo "$answer" | head -n 1
}

nvcc=$(find_nvcc || true)
[ -n "$nvcc" ] || skip_all "nvcc was not found" \
    "(${CUDACXX:-CUDACXX, PATH, CUDA_HOME, CUDA_PATH, /usr/local/cuda})"
device=$(ask_driver name)
[ -n "$device" ] || skip_all "no GPU: nvidia-smi is not there or lists none"
capability=$(ask_driver compute_cap | tr -cd '0-9')

command -v cmake >/dev/null || die "cmake is missing: install it (3.25 or later)"
if command -v ninja >/dev/null; then
    generator=Ninja
elif command -v make >/dev/null; then
    generator='Unix Makefiles'
else
    die "neither ninja nor make is there: install one of them"
fi

# ---- build -----------------------------------------------------------------
set --
if "$nvcc" --list-gpu-code 2>/dev/null | grep -qx "sm_$capability"; then
    set -- -DCMAKE_CUDA_ARCHITECTURES="$capability-real"
fi
say "building the engine alone for $device (sm_$capability)"
mkdir -p "$build"
if ! cmake --fresh -S . -B "$build" -G "$generator" -DMR_ENGINE_ALONE=ON \
    -DMR_CUDA=ON -DCMAKE_BUILD_TYPE=Release -DCMAKE_CUDA_COMPILER="$nvcc" \
    "$@" >"$build/configure.log" 2>&1; then
    cat "$build/configure.log" >&2
    die "cmake could not configure $build"
fi
if ! timeout 240 cmake --build "$build" -j "$(nproc)" >"$build/build.log" 2>&1
then
    tail -n 40 "$build/build.log" >&2
    die "the engine could not be built within 240 s: $build/build.log"
fi
built=$(($(date +%s) - began))
say "built in $built s"
unset MILLRACE_LIB # the module of this build, no other

steps=$build/train/model/engine_steps
if ! found=$("$steps"); then
    skip_all "$(echo "$found" | sed 's/^cuda: skipped: //' | head -n 1)"
fi

# ---- the report's head -----------------------------------------------------
fact() { # NAME: what cmake said of it
    sed -n "s/^-- engine: $1 //p" "$build/configure.log" | head -n 1
}
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo "unknown (no git)")
if [ -n "$(git status --porcelain -- base include train cmake 2>/dev/null)" ]
then
    commit="$commit, changed since"
fi
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)

mkdir -p "$out"
name=$(date -u +%Y-%m-%d)-$(printf %s "$device" | tr '[:upper:]' '[:lower:]' |
    tr -cs 'a-z0-9' '-' | sed 's/^-//; s/-$//')
report=$out/$name.md
again=2
while [ -e "$report" ]; do
    report=$out/$name-$again.md
    again=$((again + 1))
done
cat >"$report" <<END
# $device, $(date -u +%Y-%m-%d)

What \`./dev gpu\` found. Each part was written as soon as it was there: without
the closing line, the run was cut short.

| | |
| --- | --- |
| began | $(date -u -d "@$began" '+%Y-%m-%d %H:%M:%S UTC' 2>/dev/null || date -u) |
| device | $device, compute capability $(ask_driver compute_cap), $(ask_driver memory.total); $(nvidia-smi -L 2>/dev/null | grep -c '^GPU') in the machine, the first was used |
| driver | $(ask_driver driver_version) |
| CUDA | $(fact 'cuda back end over') |
| runs on | $(echo "$found" | sed -n 's/^device *//p') |
| cuDNN | $(fact cuDNN) |
| NCCL | $(fact NCCL) |
| CPU | ${cpu:-unknown}, $(nproc) threads |
| cpu back end | $(fact 'cpu back end' | grep . || echo "none: no oneDNN here") |
| millrace | $commit |
| built in | $built s, with $generator |
END
say "writing $report"

# ---- checks ----------------------------------------------------------------
failed=
cut=
run() { # NAME COLUMNS COMMAND...: its log to the screen; a row if it dies
    what=$1
    columns=$2
    shift 2
    if [ "$(left)" -le 5 ]; then
        row "$what" "$columns" "not run: eight minutes are over"
        cut=yes
        return
    fi
    rc=0
    timeout -k 10 "$(left)" "$@" || rc=$?
    case $rc in
    0) ;;
    1) failed="$failed $what" ;;
    77)
        row "$what" "$columns" "skipped"
        cut=yes
        ;;
    124 | 137)
        row "$what" "$columns" "not finished: eight minutes are over"
        cut=yes
        ;;
    *)
        row "$what" "$columns" "FAILED: ended with $rc"
        failed="$failed $what"
        ;;
    esac
}
row() { # NAME COLUMNS VERDICT
    say "$1: $3"
    i=2
    line="| $1 |"
    while [ "$i" -lt "$2" ]; do
        line="$line |"
        i=$((i + 1))
    done
    echo "$line $3 |" >>"$report"
}

cat >>"$report" <<'END'

## Operations

Each on the device in f32, against the float64 reference: of the element that
came nearest to its bound (or left it), the error and the bound.

| operation | back end | cases | error | bound | |
| --- | --- | --- | --- | --- | --- |
END
for check in $checks; do
    run "$check" 6 "$build/train/engine/check/check_${check}_check" \
        --report "$report" cuda
done
run dino 6 "$build/train/model/model_dino_check" --report "$report" cuda

cat >>"$report" <<'END'

## Training steps

On synthetic batches, f32. `losses`: of the first steps, beside another back
end's. `bits`: the same steps twice, the whole state compared. `speed`: whole
steps, from batches in the host's memory to the loss on the host; an image is
a sample with all its crops.

| | network | found | |
| --- | --- | --- | --- |
END
for network in $networks; do
    run "steps of $network" 4 "$steps" --report "$report" "$network"
done

# ---- where the time goes ---------------------------------------------------
listing() { # TITLE COMMAND...
    title=$1
    shift
    if [ "$(left)" -le 20 ]; then
        return
    fi
    printf '\n## %s\n\n```\n' "$title" >>"$report"
    timeout -k 5 "$(($(left) < 60 ? $(left) : 60))" "$@" >>"$report" 2>&1 ||
        echo "(ended with $?)" >>"$report"
    printf '```\n' >>"$report"
}
export MILLRACE_LIB="$PWD/$build/lib/millrace"
listing "A step of ViT-S/16, batch 2, by operation" \
    "$build/train/model/dino_bench" --backend cuda --preset small --steps 20
for check in linear attention norm; do
    listing "Speed: $check" \
        "$build/train/engine/check/check_${check}_check" --bench cuda
done

if [ -n "$failed" ]; then
    verdict="FAILED:$failed"
elif [ -n "$cut" ]; then
    verdict="nothing failed, but not everything was run"
else
    verdict="all checks passed"
fi
printf '\n%s, after %s s.\n' "$verdict" "$(($(date +%s) - began))" >>"$report"
say "$verdict; the report is $report"
[ -z "$failed" ]
