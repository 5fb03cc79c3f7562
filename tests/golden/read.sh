#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The golden datasets as today's writer makes them, read by C and by a reader
# that was written in Python from the page alone. 77: skipped.
# MAKE_GOLDEN, GOLDEN_TEST, MILLRACE: the programs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

"$MAKE_GOLDEN" "$here/set.txt" "$here/pictures" "$scratch"
"$GOLDEN_TEST" "$here/set.txt" "$here/pictures" "$scratch"
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' \
    >/dev/null 2>&1; then
    echo "skipped: no Python of 3.9 or later ($python)"
    exit 77
fi
export PYTHONDONTWRITEBYTECODE=1
"$python" "$here/make_future.py" "$scratch/future.mr"
"$python" "$here/../parity/read_shards.py" \
    "$here/set.txt" "$here/pictures" "$scratch" "$MILLRACE" --today
