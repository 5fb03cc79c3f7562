# SPDX-License-Identifier: Apache-2.0
# Bugs planted in a copy of the tree, one by one: each must make a test fail.
# Run by hand, sh tests/system/planted.sh, since it builds for some minutes.
# (What one room may include of another: tests/system/house/rooms.sh.)
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
. "$source/tests/system/planted_tree.sh"

# Sound, the test passes; with the changes it must not.
finds() { # BUG TARGETS TEST...
    bug=$1
    targets=$2
    shift 2
    # shellcheck disable=SC2086 # targets are words
    make $targets
    if "$@" >"$log" 2>&1; then
        printf 'MISSED: %s\n  by %s\n' "$bug" "${*##*/}"
        missed=$((missed + 1))
    else
        printf 'found: %s\n  by %s: %s\n' "$bug" "${*##*/}" \
            "$(grep -aE 'FAILED|ERROR|WRONG|wrong|differ|error' "$log" | head -n 1)"
    fi
}
passes() { # TARGETS TEST...
    targets=$1
    shift
    # shellcheck disable=SC2086
    make $targets
    "$@" >"$log" 2>&1 || fail "$* fails without a bug"
    echo "passes: ${*##*/}"
}
missed=0
program="millrace make_input bad_client"

passes format_shard_test "$build/format/format_shard_test"
passes check_linear_check "$build/train/engine/check/check_linear_check"
passes run_run_test "$build/train/run/run_run_test"
passes "$program" sh "$tree/tests/system/batch_hash.sh"
passes "$program" sh "$tree/tests/system/bad_input.sh"

change format/frame.c 'if (crc != f.crc) {' 'if (crc != f.crc && false) {'
finds "the checksum of a frame skipped" format_shard_test \
    "$build/format/format_shard_test"
finds "the checksum of a frame skipped" "$program" \
    sh "$tree/tests/system/bad_input.sh"
restore

change stream/op_decide.c 'bool y = happens(op, FLIP_VERTICAL, d, &draws);' \
    'static unsigned n; bool y = happens(op, FLIP_VERTICAL, d, &draws) ^ (n++ % 7 == 3);'
finds "a flip that is not drawn from the sample's own numbers" \
    "$program" sh "$tree/tests/system/batch_hash.sh"
restore

# The reference alone meets central differences; the CPU's meets the reference.
change train/engine/ref/ref_linear.c 'sum *= ref_gelu_slope(' \
    'sum *= 1.01 * ref_gelu_slope('
finds "the reference's gradient of GELU wrong by a hundredth" \
    check_linear_check "$build/train/engine/check/check_linear_check" ref
restore
change train/engine/cpu/cpu_linear.c \
    'k->exp.gelu_back(cpu_f32(&a->dx) + first, cpu_f32(&a->a) + first,' \
    'cpu_f32(&a->dx)[first] *= 1.0001f; k->exp.gelu_back(cpu_f32(&a->dx) + first, cpu_f32(&a->a) + first,'
finds "the CPU's gradient of GELU wrong by a ten-thousandth" \
    check_linear_check "$build/train/engine/check/check_linear_check" cpu
restore

# Every write of a run fails in turn there: a kill between the two halves of a
# write is too rare to wait for.
change train/run/checkpoint.c 'linked = ops->link(from, temp) == 0 &&' \
    'linked = false && ops->link(from, temp) == 0 &&'
change base/file.c \
    'put->temp = dir != NULL ? mri_path_join(dir, name) : NULL;' \
    'put->temp = strstr(path, ".safetensors") ? mri_strdup(path) : mri_path_join(dir, name);'
finds "a checkpoint written in place" run_run_test \
    "$build/train/run/run_run_test"
restore

[ "$missed" = 0 ] || fail "$missed bugs were not found"
