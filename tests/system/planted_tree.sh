# SPDX-License-Identifier: Apache-2.0
# Sourced by scripts that plant bugs: a copy of the tree at $source, where lines
# can be changed, built and brought back.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
tree=$work/tree
build=$work/build
log=$work/log

fail() {
    tail -n 20 "$log"
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}
mkdir "$tree"
(cd "$source" && tar -cf - --exclude=./build --exclude=./out --exclude=./.git .) |
    tar -xf - -C "$tree"
if command -v ccache >/dev/null; then
    export CMAKE_C_COMPILER_LAUNCHER=ccache CCACHE_NOHASHDIR=1 \
        CCACHE_BASEDIR="$work"
fi
cmake -S "$tree" -B "$build" -G Ninja -DMR_CUDA=OFF -DCMAKE_BUILD_TYPE=Debug \
    >"$log" 2>&1 || fail "the copy does not configure"

# The scripts of the system tests, on the copy's program.
export MILLRACE="$build/bin/millrace" CORPUS="$tree/tests/fuzz/corpus" \
    MAKE_INPUT="$build/tests/system/make_input" \
    BAD_CLIENT="$build/tests/system/bad_client"

make() { # TARGETS...
    cmake --build "$build" --target "$@" >"$log" 2>&1 || fail "build of $*"
}
# A line of a file becomes another one; it must be there, once.
change() { # FILE OLD NEW
    cp "$tree/$1" "$work/kept"
    awk -v old="$2" -v new="$3" '{
        at = index($0, old)
        if (at) {
            $0 = substr($0, 1, at - 1) new substr($0, at + length(old))
            found++
        }
        print
    } END { exit found == 1 ? 0 : 1 }' "$work/kept" >"$tree/$1" ||
        fail "$1 has no single '$2': this script is to be mended"
    changed="$changed $1"
}
restore() {
    for file in $changed; do
        cp "$source/$file" "$tree/$file"
    done
    changed=
}
changed=
