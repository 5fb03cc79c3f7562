/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quarantine_fuzz.c - any bytes as the record of what was refused: it is read
 * or refused, and what was read says the same when it is written again.
 */
#include "quarantine.h"

#include <mri/error.h>

#include <fuzz_bytes.h>
#include <fuzz_set.h>

static char dir[64];
static int fd = -1;

static void
make_folder(void)
{
    char path[128];

    if (fd >= 0) {
        return;
    }
    (void)snprintf(dir, sizeof dir, "%s", fuzz_set_folder());
    (void)snprintf(path, sizeof path, "%s/quarantine", dir);
    hold(mkdir(path, 0777) == 0);
    (void)snprintf(path, sizeof path, "%s/quarantine/quarantine.jsonl", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    hold(fd >= 0);
}

static bool
same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
write_again(const mri_bad *bad)
{
    mri_json j = {0};
    mr_diag diag = {0};
    const char *line;
    mri_bad back;

    mri_bad_json(&j, bad);
    line = mri_json_done(&j);
    hold(line != NULL);
    hold(fuzz_ok(mri_bad_parse(&back, line, &diag), &diag));
    hold(same_text(back.key, bad->key) && same_text(back.stage, bad->stage) &&
         same_text(back.reason, bad->reason) && back.code == bad->code &&
         back.at == bad->at && back.bytes == bad->bytes &&
         back.hashed == bad->hashed &&
         memcmp(back.sha256, bad->sha256, 32) == 0 &&
         same_text(back.window, bad->window));
    mri_bad_release(&back);
    mri_json_release(&j);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mr_diag diag = {0};
    mri_bad *list = NULL;
    uint64_t count = 0;
    uint8_t *p;

    if (size < 1) {
        return 0;
    }
    make_folder();
    p = fuzz_exact(data + 1, size - 1);
    if ((data[0] & FUZZ_MEND) != 0) {
        fuzz_mend_lines(p, size - 1);
    }
    hold(ftruncate(fd, 0) == 0 &&
         pwrite(fd, p, size - 1, 0) == (ssize_t)(size - 1));
    fuzz_begin();
    if (fuzz_ok(mri_quarantine_load(dir, &list, &count, &diag), &diag)) {
        for (uint64_t i = 0; i < count; i++) {
            write_again(&list[i]);
        }
    }
    mri_bad_list_free(list, count);
    fuzz_end((64 << 10) + 128 * size);
    free(p);
    return 0;
}
