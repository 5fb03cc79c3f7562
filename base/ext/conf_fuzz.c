/* SPDX-License-Identifier: Apache-2.0 */
/* conf_fuzz.c - any bytes: parsing returns, and what it accepts is bounded. */
#include <mri/conf.h>

#include <stdlib.h>

static size_t
count(const mri_conf *c)
{
    size_t n = 1;

    for (size_t i = 0; i < c->count; i++) {
        n += count(&c->items[i]);
    }
    return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mri_conf *c;

    if (mri_conf_parse(&c, (const char *)data, size, NULL) == MR_OK) {
        if (count(c) > 200000) {
            abort();
        }
        mri_conf_free(c);
    }
    return 0;
}
