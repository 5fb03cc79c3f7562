/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline_fuzz.c - any text: it is refused with a place and a reason, or its
 * canonical text is accepted and is its own canonical text.
 */
#include <mri/alloc.h>
#include <mri/pipeline.h>

#include <stdlib.h>
#include <string.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size + 1), *once = NULL, *twice = NULL;
    mr_diag diag = {0};
    mr_err err;

    if (exact == NULL) {
        return 0;
    }
    memcpy(exact, data, size);
    err = mri_pipeline_check(exact, size, &once, &diag);
    if (err != MR_OK && diag.text[0] == '\0') {
        abort();
    }
    if (err == MR_OK &&
        (mri_pipeline_check(once, strlen(once), &twice, &diag) != MR_OK ||
         strcmp(once, twice) != 0)) {
        abort();
    }
    mri_free(once);
    mri_free(twice);
    free(exact);
    return 0;
}
