#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Data from before version 1 of the record format: every verb refuses it by its
# own error, says what to do, and changes nothing. What lies in golden/version0
# was written by the last millrace of version 0.
. "$(dirname "$0")/system.sh"

old=$here/../golden/version0
cp -r "$old/old.mr" "$old/pictures" .
shard=$(echo old.mr/shards/eb/*.mrs)
files() {
    (cd old.mr && find . | sort && find . -type f -exec cksum {} + | sort)
}
files >before

refused() { # ARGUMENTS...
    rc=0
    "$MILLRACE" "$@" >out 2>&1 || rc=$?
    [ "$rc" = 9 ] && grep -q 'E0305.*version 0.*reads version 1' out || {
        cat out
        fail "$* ends with $rc"
    }
    files >after
    equal "$*" before after
}
helped() { # ARGUMENTS...
    refused "$@"
    grep -q "ingest again.*millrace ingest SOURCE" out || fail "$*: no help"
}

helped inspect old.mr
helped inspect old.mr --json
helped inspect "$shard"
helped inspect old.mr --samples
refused verify old.mr
refused verify old.mr --json
refused verify "$shard"
helped salvage old.mr -o new.mr
helped salvage "$shard" -o new.mr
helped ingest pictures -o old.mr
helped withdraw old.mr --key 0.png
helped rollback old.mr@1
helped export old.mr -o exported
helped batch old.mr
helped serve old.mr --listen "ipc://$scratch/socket"
# Of a shard whose head is gone only the samples can tell.
cp "$shard" headless.mrs
chmod u+w headless.mrs
dd if=/dev/zero of=headless.mrs bs=64 count=1 conv=notrunc 2>err || fail dd
helped salvage headless.mrs -o new.mr
[ ! -e new.mr ] && [ ! -e exported ] || fail "something was made of it"

# An ingest that version 0 did not finish: nothing of it is taken over.
mkdir half.mr half.mr/journal
cp -r old.mr/shards half.mr
cp "$old/journal.jsonl" half.mr/journal/shards.jsonl
"$MILLRACE" ingest pictures -o half.mr -q >/dev/null || fail "half.mr"
"$MILLRACE" ingest pictures -o whole.mr -q >/dev/null || fail "whole.mr"
"$MILLRACE" verify half.mr >out || fail "half.mr is not sound: $(cat out)"
rm half.mr/history.jsonl whole.mr/history.jsonl
diff -r half.mr whole.mr || fail "half.mr kept something of version 0"
