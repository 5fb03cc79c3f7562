# SPDX-License-Identifier: Apache-2.0
# Whoever reads or writes a dataset asks its store (mri/store.h): of the objects
# of format/, and of those of ingest/ that keep something in a dataset, only the
# local store's own parts may call what takes the path of a file.
. "$(dirname "$0")/house.sh"

has "$NM" || skip "no nm"
beside='open|open64|openat|fopen|fopen64|creat|opendir|scandir|stat|stat64|lstat
|access|unlink|remove|rename|renameat2|link|symlink|mkdir|rmdir|truncate|realpath
|mri_file_open|mri_file_load|mri_file_put|mri_file_now|mri_file_named|mri_dir_sync
|mri_dir_make|mri_dir_sweep|mri_put_open|mri_put_commit|mri_put_commit_as
|mri_object_open|mri_lease_take|mri_lease_end|mri_lock_take'
beside=$(echo "$beside" | tr -d '\n')
calls() { # OBJECT
    "$NM" -u "$1" | grep -E " U ($beside)(@.*)?\$" | sed 's/.* U //' |
        tr '\n' ' '
}

format=$BUILD/format/CMakeFiles/room_format.dir
ingest=$BUILD/ingest/CMakeFiles/room_ingest.dir
bad=0
seen=0
for object in "$format"/*.c.o "$ingest"/folder.c.o "$ingest"/journal.c.o \
    "$ingest"/known.c.o "$ingest"/merge.c.o "$ingest"/quarantine.c.o \
    "$ingest"/ingest.c.o "$ingest"/ingest_plan.c.o; do
    [ -e "$object" ] || fail "no $object"
    found=$(calls "$object")
    name=$(basename "$object" .c.o)
    case $name in
    store_local | object | lease | lock) # or the list is of no use
        [ -n "$found" ] || fail "$name calls nothing of the file system"
        continue
        ;;
    esac
    seen=$((seen + 1))
    [ -z "$found" ] || {
        echo "$name.c asks the file system beside the store: $found"
        bad=1
    }
done
[ "$bad" = 0 ] || fail "see the lines above"
echo "$seen objects"
