# SPDX-License-Identifier: Apache-2.0
# What is installed works for a stranger: small programs outside the tree,
# against each library, shared and static, by pkg-config and by CMake.
. "$(dirname "$0")/house.sh"

prefix=$scratch/prefix
"$CMAKE" --install "$BUILD" --prefix "$prefix" >"$scratch/log" || {
    cat "$scratch/log"
    fail "cmake --install"
}
grep -rlF "$SOURCE" "$prefix/lib" --include='*.pc' --include='*.cmake' &&
    fail "these name the tree that they were built in"
cp -r "$(dirname "$0")/outside" "$scratch/outside"
cd "$scratch/outside"

# The installed program makes what the programs read.
"$prefix/bin/millrace" ingest "$SOURCE/tests/fuzz/corpus/png_fuzz" \
    -o "$scratch/pictures.mr" --quiet >"$scratch/log" || {
    cat "$scratch/log"
    fail "the installed program does not ingest"
}
foreign=$SOURCE/tests/golden/dino_tiny.safetensors

expect() { # PROGRAM: right about a dataset, a checkpoint, a training
    case $1 in
    *train*) out=$("$1" "$scratch/nowhere.mr" 2>&1) || want='EIO: ' ;;
    *read* | *cc*) out=$("$1" "$scratch/pictures.mr") && want='10 samples' ;;
    *) out=$("$1" "$foreign" 2>&1) || want='EFORMAT: .*millrace.state' ;;
    esac
    echo "$out" | grep -q "^$want" || fail "$1 says '$out', not '$want'"
    echo "$1: $out"
}

export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
export LD_LIBRARY_PATH="$prefix/lib"
strict="-std=c99 -Wall -Wextra -Wpedantic -Werror"
program() { # COMPILER SOURCE MODULE PROGRAM FLAGS
    # shellcheck disable=SC2046,SC2086 # flags are words
    $1 $5 "$2" -o "$4" $(pkg-config --cflags --libs "$3") ||
        fail "$2 does not link by pkg-config $3"
    expect "./$4"
}
program "$CC" read.c millrace pc_read_shared "$strict"
program "$CC" read.c millrace_static pc_read_static "$strict"
program "$CC" weights.c millrace_train pc_weights_shared "$strict"
program "$CC" weights.c millrace_train_static pc_weights_static "$strict"
program "$CC" train.c millrace_train pc_train_shared "$strict"
program "$CC" train.c millrace_train_static pc_train_static "$strict"
if has "$CXX"; then
    program "$CXX" read.cc millrace pc_cc_shared -std=c++11
    program "$CXX" read.cc millrace_static pc_cc_static -std=c++11
fi

"$CMAKE" -S . -B build -DCMAKE_C_COMPILER="$CC" -DCMAKE_PREFIX_PATH="$prefix" \
    >"$scratch/log" 2>&1 && "$CMAKE" --build build >>"$scratch/log" 2>&1 || {
    cat "$scratch/log"
    fail "the CMake package does not serve a stranger"
}
for program in read read_static weights weights_static train train_static; do
    expect "build/$program"
done
# The upper library finds the lower one beside it, wherever that is.
unset LD_LIBRARY_PATH
ldd "$prefix/lib/libmillrace_train.so" |
    grep -q "libmillrace.so.0 => $prefix/lib/" ||
    fail "libmillrace_train.so does not find libmillrace.so beside it"
# Static programs need none of our shared ones.
expect build/read_static
expect ./pc_weights_static
expect ./pc_train_static
