# SPDX-License-Identifier: Apache-2.0
# The pages and the help name only commands, options, links and errors that
# there are.
. "$(dirname "$0")/house.sh"

command -v python3 >/dev/null || skip "no python3 to read the pages with"
cd "$SOURCE"
sources -name '*.md' >"$scratch/pages"
xargs python3 tests/system/house/docs.py "$BUILD/bin/millrace" \
    "$SOURCE/include/mri/errors.def" <"$scratch/pages" || fail "see above"
