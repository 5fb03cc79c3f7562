# SPDX-License-Identifier: Apache-2.0
# Each source file names its licence in the first lines, none holds a note to
# be done later, and none knows the machine that it was written on.
. "$(dirname "$0")/house.sh"

cd "$SOURCE"
bad=0
sources -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cmake' \
    -o -name 'CMakeLists.txt' -o -name '*.sh' -o -name '*.py' \
    -o -name '*.proto' -o -name '*.def' -o -path '*/.ci/run' \
    -o -path "$SOURCE/dev" >"$scratch/files"
while read -r file; do
    head -n 4 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || {
        echo "no SPDX line: $file"
        bad=1
    }
done <"$scratch/files"

sources -name '*.md' -o -name '*.json' -o -name '*.in' -o -name '*.map' \
    -o -name '*.[1-8]' >>"$scratch/files"
# Written apart, so that this file does not name what it looks for.
later='TO''DO|FIX''ME|X''XX'
places='(^|[^A-Za-z0-9_.})-])/(ho''me|ro''ot|wo''rk|Us''ers|m''nt)/'
xargs grep -nEw "$later" <"$scratch/files" && bad=1
xargs grep -nE "$places" <"$scratch/files" && bad=1
[ "$bad" = 0 ] || fail "see the lines above"
echo "$(wc -l <"$scratch/files") files"
