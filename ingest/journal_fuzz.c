/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal_fuzz.c - any bytes as the journal of an ingest: lines that hold are
 * found again by their tag, others are passed over.
 */
#include "journal.h"

#include <mri/error.h>

#include <fuzz_bytes.h>
#include <fuzz_set.h>

static char dir[64];
static int fd = -1;
static mri_store store;

static void
make_folder(void)
{
    char path[128];

    if (fd >= 0) {
        return;
    }
    (void)snprintf(dir, sizeof dir, "%s", fuzz_set_folder());
    (void)snprintf(path, sizeof path, "%s/journal", dir);
    hold(mkdir(path, 0777) == 0);
    (void)snprintf(path, sizeof path, "%s/journal/shards.jsonl", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    hold(fd >= 0);
    hold(mri_store_open(&store, dir, NULL) == MR_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mr_diag diag = {0};
    mri_journal j;
    uint8_t *p;
    size_t lines = 1;

    if (size < 1) {
        return 0;
    }
    make_folder();
    p = fuzz_exact(data + 1, size - 1);
    if ((data[0] & FUZZ_MEND) != 0) {
        fuzz_mend_lines(p, size - 1);
    }
    for (size_t i = 0; i < size - 1; i++) {
        lines += p[i] == '\n';
    }
    hold(ftruncate(fd, 0) == 0 &&
         pwrite(fd, p, size - 1, 0) == (ssize_t)(size - 1));
    fuzz_begin();
    if (fuzz_ok(mri_journal_open(&j, &store, &diag), &diag)) {
        hold(j.count <= lines);
        for (size_t i = 0; i < j.count; i++) {
            hold(mri_journal_find(&j, j.done[i].plan_tag) != NULL);
        }
    }
    mri_journal_close(&j, false);
    fuzz_end((64 << 10) + 64 * size);
    free(p);
    return 0;
}
