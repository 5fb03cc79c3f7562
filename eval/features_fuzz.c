/* SPDX-License-Identifier: Apache-2.0 */
/* features_fuzz.c - any bytes: what is accepted is a table whose every column
 * can be read and whose rows fit its names. Checksums are not asked for, or
 * no change would get past them. */
#include "features_own.h"

#include <mri/alloc.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static volatile uint64_t sink; /* so that every byte is read */

static void
visit_row(const mri_feature_table *t, uint64_t i)
{
    sink += t->group[i];
    if (t->label[i] < -1 || t->label[i] >= (int64_t)t->class_count ||
        (t->split[i] != MRI_NO_SPLIT && t->split[i] >= t->split_count) ||
        t->key_at[i] > t->key_at[i + 1]) {
        abort();
    }
    for (uint32_t l = 0; l < t->dim; l++) {
        if (!isfinite(t->features[i * t->dim + l])) {
            abort();
        }
    }
    for (uint64_t k = t->key_at[i]; k < t->key_at[i + 1]; k++) {
        sink += (uint8_t)t->keys[k];
    }
    for (uint64_t k = 16 * i; k < 16 * i + 16; k++) {
        sink += t->uid[k];
    }
}

static void
visit_names(const mri_feature_table *t)
{
    sink += strlen(t->from.hash) + strlen(t->from.arch) +
            strlen(t->from.branch) + strlen(t->from.split) +
            strlen(t->from.pipeline);

    for (uint32_t i = 0; i < t->class_count; i++) {
        sink += strlen(t->classes[i]);
    }
    for (uint32_t i = 0; i < t->split_count; i++) {
        sink += strlen(t->splits[i]);
    }
    for (uint32_t i = 0; i < t->group_count; i++) {
        if (mri_group_name_of(t, t->groups[i].group) == NULL) {
            abort();
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size); /* exact size: ASan sees any overread */
    mri_features *f = features_new();

    if (exact == NULL || f == NULL || size == 0) {
        mri_features_close(f);
        free(exact);
        return 0;
    }
    memcpy(exact, data, size);
    if (mri_st_parse(&f->st, exact, size, NULL) == MR_OK &&
        features_read(f, NULL) == MR_OK) {
        for (uint64_t i = 0; i < f->t.rows; i++) {
            visit_row(&f->t, i);
        }
        visit_names(&f->t);
    }
    mri_features_close(f);
    free(exact);
    return 0;
}
