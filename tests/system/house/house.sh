# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts beside it. They run under ctest, which sets SOURCE,
# BUILD, CMAKE, CC, CXX, NM, CLANG_FORMAT and MANDOC.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

skip() {
    printf 'skipped: %s\n' "$*"
    exit 77
}
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}
# A tool that configure did not find is "" or ends in -NOTFOUND.
has() {
    [ -n "$1" ] && [ "$1" = "${1%-NOTFOUND}" ]
}
# The project's own files: known to git, or a copy without git.
sources() { # find's name patterns
    find "$SOURCE" \( -path "$SOURCE/build" -o -path "$SOURCE/out" -o \
        -path "$SOURCE/.git" -o -path "$SOURCE/.cache" \) -prune -o \
        -type f \( "$@" \) -print
}
