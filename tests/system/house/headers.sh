# SPDX-License-Identifier: Apache-2.0
# Every header on the shelves compiles alone, as C and as C++; those that are
# installed do so without the inner ones, and in the oldest dialects we name.
. "$(dirname "$0")/house.sh"

warnings="-fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Wundef -Werror"

# One compiler over all files that `find` gives.
check() { # WHAT FOLDER COMPILER FLAGS...
    what=$1
    folder=$2
    shift 2
    find "$folder" -name '*.h' >"$scratch/list"
    [ -s "$scratch/list" ] || fail "no header in $folder"
    # shellcheck disable=SC2086 # flags are words
    xargs -n 1 -P "$(nproc)" "$@" $warnings <"$scratch/list" ||
        fail "$what: a header does not compile alone"
    echo "$(wc -l <"$scratch/list") headers as $what"
}

mkdir "$scratch/include"
cp -r "$SOURCE/include/millrace" "$scratch/include"
check "C17" "$SOURCE/include" "$CC" -I "$SOURCE/include" -x c -std=c17
check "C99, installed ones alone" "$scratch/include" \
    "$CC" -I "$scratch/include" -x c -std=c99
if ! has "$CXX"; then
    skip "no C++ compiler; as C all is well"
fi
check "C++17" "$SOURCE/include" "$CXX" -I "$SOURCE/include" -x c++ -std=c++17
check "C++11, installed ones alone" "$scratch/include" \
    "$CXX" -I "$scratch/include" -x c++ -std=c++11
