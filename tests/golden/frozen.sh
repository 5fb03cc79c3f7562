#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The golden files of version 1: they are those that were committed, today's
# readers read them, and today's writer would write them again: shards and
# indexes byte for byte, manifests but for the fields that came after 1.0.
# MAKE_GOLDEN, GOLDEN_TEST, FUTURE_TEST, MILLRACE: the programs.
#
# v1/ and its list never change again. A file for something new gets a folder
# and a list of its own beside them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

cd "$here/v1"
sha256sum --check --quiet --strict ../v1.sha256 || fail "a golden file changed"
find . -type f | LC_ALL=C sort >"$scratch/there"
sed 's/^[0-9a-f]*  //' ../v1.sha256 | cmp -s - "$scratch/there" ||
    fail "v1/ and v1.sha256 list other files"
cd "$scratch"

"$GOLDEN_TEST" "$here/set.txt" "$here/pictures" "$here/v1"
"$FUTURE_TEST" "$here/v1/future.mr"
"$MAKE_GOLDEN" "$here/set.txt" "$here/pictures" now
if cmp -s now/made_with "$here/v1/made_with"; then
    cp -r "$here/v1/future.mr" now
    diff -r -x 'manifest.*.pb' "$here/v1" now ||
        fail "today's writer writes other bytes"
    echo "today's writer gives the same shards and indexes"
else
    echo "not compared byte by byte, other libraries: $(cat now/made_with)"
fi

# Copies: shards that become part of another dataset are linked.
cp -r "$here/v1/kinds.mr" "$here/v1/history.mr" .
"$MILLRACE" ingest kinds.mr history.mr -o merged.mr -q >/dev/null ||
    fail "golden datasets cannot be merged"
"$MILLRACE" inspect merged.mr --json |
    grep -q '"level_of":"image","downsample":\[1,2,2\]' ||
    fail "the levels were lost in the merge"
"$MILLRACE" verify merged.mr || fail "the merged dataset is not sound"
# A generation after one that says less than is known today.
key=$("$MILLRACE" inspect kinds.mr --samples | cut -f 1 | grep -m 1 photos)
"$MILLRACE" withdraw kinds.mr "$key" -q || fail "cannot withdraw '$key'"
"$MILLRACE" verify kinds.mr || fail "a generation after a golden one"

python=${PYTHON:-python3}
if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' \
    >/dev/null 2>&1; then
    export PYTHONDONTWRITEBYTECODE=1
    "$python" "$here/../parity/read_shards.py" \
        "$here/set.txt" "$here/pictures" "$here/v1" "$MILLRACE"
    if [ -e now/future.mr ]; then
        "$python" "$here/same_manifests.py" "$here/v1" now
    fi
    "$python" "$here/make_future.py" again.mr
    diff -r "$here/v1/future.mr" again.mr || fail "make_future.py changed"
else
    echo "skipped: the reader in Python (no Python of 3.9 or later: $python)"
fi
