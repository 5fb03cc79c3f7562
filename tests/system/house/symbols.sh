# SPDX-License-Identifier: Apache-2.0
# The shared libraries show mr_* and mri_*, each under its version, and nothing
# else; the static ones hold no name that could meet a stranger's. What the
# public headers declare is there, and what is public is declared.
. "$(dirname "$0")/house.sh"

for lib in millrace millrace_train; do
    "$NM" -D --defined-only "$BUILD/lib/lib$lib.so" | awk '{ print $3 }' |
        sort >"$scratch/$lib"
    grep -vE '^(mr_[a-z0-9_]+@@MILLRACE_0|mri_[a-z0-9_]+@@MILLRACE_PRIVATE|MILLRACE_(0|PRIVATE)@@?.*|MILLRACE_(0|PRIVATE))$' \
        "$scratch/$lib" && fail "lib$lib.so shows more than mr_* and mri_*"
    "$NM" -g --defined-only "$BUILD/lib/lib$lib.a" |
        awk 'NF == 3 { print $3 }' | sort -u >"$scratch/$lib.static"
    grep -vE '^mri?_' "$scratch/$lib.static" &&
        fail "lib$lib.a holds names without our prefix"
    echo "lib$lib: $(grep -c '^mr_' "$scratch/$lib") public," \
        "$(grep -c '^mri_' "$scratch/$lib") for the other rooms"
done

cat "$scratch/millrace" "$scratch/millrace_train" |
    sed -n 's/^\(mr_[a-z0-9_]*\)@@.*/\1/p' | sort -u >"$scratch/shown"
cat "$SOURCE"/include/millrace/*.h | tr '\n' ' ' | tr ';' '\n' |
    grep MR_API | grep -o '\bmr_[a-z0-9_]*(' | tr -d '(' | sort -u \
    >"$scratch/declared"
diff "$scratch/declared" "$scratch/shown" ||
    fail "declared in include/millrace (<) is not what the libraries show (>)"
