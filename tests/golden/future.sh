#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A dataset of a later minor version: written in Python from the page, read in
# C, and by the verbs. 77: skipped. FUTURE_TEST, MILLRACE: the programs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' \
    >/dev/null 2>&1; then
    echo "skipped: no Python of 3.9 or later ($python)"
    exit 77
fi
cd "$scratch"
fail() {
    cat out
    echo "FAILED: $*" >&2
    exit 1
}

PYTHONDONTWRITEBYTECODE=1 "$python" "$here/make_future.py" future.mr
"$FUTURE_TEST" future.mr
"$MILLRACE" inspect future.mr >out || fail inspect
grep -q 'format 1\.7' out || fail "inspect does not say the version"
"$MILLRACE" inspect future.mr --samples >out || fail "inspect --samples"
[ "$(grep -c 'a newer millrace knows' out)" = 3 ] || fail "unknown fields"
[ "$(grep -c 'u8 YX' out)" = 4 ] || fail "known fields"
"$MILLRACE" inspect future.mr --samples --json >out || fail "inspect --json"
[ "$(grep -o '"unknown_fields":1' out | wc -l)" = 3 ] || fail "--json"
rc=0
"$MILLRACE" verify future.mr >out || rc=$?
[ "$rc" = 9 ] && grep -q 'OF ANOTHER VERSION' out || fail "verify ends with $rc"
rc=0
"$MILLRACE" export future.mr -o new >out 2>&1 || rc=$?
[ "$rc" = 9 ] && grep -q E0304 out || fail "export ends with $rc"
