# SPDX-License-Identifier: Apache-2.0
# A room cannot reach into another: three lines that do so are planted in a
# copy of the tree, one by one, and each must end the build with its reason.
. "$(dirname "$0")/house.sh"

tree=$scratch/tree
mkdir "$tree"
(cd "$SOURCE" && tar -cf - --exclude=./build --exclude=./out --exclude=./.git .) |
    tar -xf - -C "$tree"
CC=$CC "$CMAKE" -S "$tree" -B "$scratch/build" -G Ninja -DMR_TESTS=OFF \
    -DMR_CUDA=OFF -DCMAKE_BUILD_TYPE=Debug >"$scratch/log" 2>&1 || {
    cat "$scratch/log"
    fail "the copy does not configure"
}

plant() { # ROOM FILE LINE REASON
    cp "$tree/$2" "$scratch/kept"
    { echo "$3" && cat "$scratch/kept"; } >"$tree/$2"
    if "$CMAKE" --build "$scratch/build" --target "room_$1" \
        >"$scratch/log" 2>&1; then
        fail "room $1 builds with $3 in $2"
    fi
    # CMake folds its messages: compare without line ends
    tr -s ' \n' ' ' <"$scratch/log" | grep -qF "$4" || {
        cat "$scratch/log"
        fail "$3 in $2 was refused for another reason than '$4'"
    }
    cp "$scratch/kept" "$tree/$2"
    echo "refused: $3 in $2: $4"
}

plant format format/rows.c '#include <mri/ingest.h>' \
    "belongs to room 'ingest', which 'format' does not name in NEEDS"
plant base base/log.c '#include "../format/rows.h"' \
    "climbs out of its room with '..'"
plant base base/log.c '#include "format/rows.h"' \
    "reaches into another room's folder"
# As it was, it builds again: the refusals were about the lines.
"$CMAKE" --build "$scratch/build" --target room_base >"$scratch/log" 2>&1 || {
    cat "$scratch/log"
    fail "the copy does not build without the planted lines"
}
