# SPDX-License-Identifier: Apache-2.0
# One way to write: clang-format would change nothing.
. "$(dirname "$0")/house.sh"

has "$CLANG_FORMAT" || skip "no clang-format"
version=$("$CLANG_FORMAT" --version | sed 's/.*version \([0-9]*\).*/\1/')
# Each version breaks some lines in its own way; Debian 12 has this one.
[ "$version" = 14 ] || skip "clang-format $version, the files follow 14"
cd "$SOURCE"
sources -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' >"$scratch/files"
xargs -n 40 -P "$(nproc)" "$CLANG_FORMAT" --dry-run -Werror \
    <"$scratch/files" >"$scratch/log" 2>&1 || {
    grep -o '^[^ ]*: error' "$scratch/log" | cut -d: -f1 | sort | uniq -c
    fail "clang-format would change these lines; ./dev format does"
}
echo "$(wc -l <"$scratch/files") files as clang-format writes them"
