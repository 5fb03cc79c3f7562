/* SPDX-License-Identifier: Apache-2.0 */
/* dataset_stats.c - what the chunks of a field hold, without reading them. */
#include "chunk.h"
#include "dataset_read.h"
#include "shard_stats.h"

#include <mri/error.h>

#include <math.h>
#include <string.h>

/* Where an array field stands, and the grid of its chunks. */
static mr_err
array_at(const mr_dataset *ds, uint64_t rank, uint32_t i,
         const mri_shard **shard, mri_grid_row *g, mr_diag *diag)
{
    mr_err err = mri_dataset_grid(ds, rank, i, shard, g, diag);

    if (err == MR_OK && g->encoding != MR_ENC_CHUNKS) {
        err = mri_fail(diag, MRI_E_NOT_ARRAY, MR_NOWHERE,
                       "the field is kept as a file, not as an array");
    }
    return err;
}

static mr_err
stat_at(const mr_dataset *ds, uint64_t rank, uint32_t i, uint64_t chunk,
        const mri_shard **shard, mri_grid_row *g, mri_stat_row *row,
        mr_diag *diag)
{
    mr_err err = array_at(ds, rank, i, shard, g, diag);

    if (err == MR_OK && chunk >= mri_grid_chunks(g)) {
        err = mri_fail(diag, MRI_E_NO_BOX, MR_NOWHERE, "chunk %llu of %llu",
                       (unsigned long long)chunk,
                       (unsigned long long)mri_grid_chunks(g));
    }
    return err == MR_OK ? mri_shard_stat(*shard, g, chunk, row, diag) : err;
}

mr_err
mr_dataset_chunks(const mr_dataset *ds, uint64_t rank, uint32_t i,
                  uint64_t *count, mr_diag *diag)
{
    const mri_shard *s;
    mri_grid_row g;
    mr_err err = array_at(ds, rank, i, &s, &g, diag);

    if (err == MR_OK) {
        *count = mri_grid_chunks(&g);
    }
    return err;
}

/* A stored value as a number. */
static double
number_of(uint64_t bits, mr_dtype dtype)
{
    double v;

    if (dtype > MR_I64) {
        memcpy(&v, &bits, sizeof v);
        return v;
    }
    return dtype == MR_I8 || dtype == MR_I16 || dtype == MR_I32 ||
                   dtype == MR_I64
               ? (double)(int64_t)bits
               : (double)bits;
}

mr_err
mr_dataset_chunk_stats(const mr_dataset *ds, uint64_t rank, uint32_t i,
                       uint64_t chunk, mr_chunk_stats *out, mr_diag *diag)
{
    const mri_shard *s;
    mri_grid_row g;
    mri_stat_row row;
    mr_err err = stat_at(ds, rank, i, chunk, &s, &g, &row, diag);

    if (err != MR_OK) {
        return err;
    }
    *out = (mr_chunk_stats){.min = number_of(row.min, (mr_dtype)g.dtype),
                            .max = number_of(row.max, (mr_dtype)g.dtype),
                            .nonzero = row.nonzero,
                            .nan = row.nan,
                            .labels = row.labels,
                            .uncounted = (row.flags & MRI_STAT_MANY) != 0};
    mri_chunk_box(&g, chunk, &out->box);
    out->count = mri_box_len(&out->box, g.ndim);
    return MR_OK;
}

mr_err
mr_dataset_chunk_labels(const mr_dataset *ds, uint64_t rank, uint32_t i,
                        uint64_t chunk, mr_label_count *out, size_t room,
                        mr_diag *diag)
{
    const mri_shard *s;
    mri_grid_row g;
    mri_stat_row row;
    mri_label_row one;
    mr_err err = stat_at(ds, rank, i, chunk, &s, &g, &row, diag);

    if (err == MR_OK && row.labels > room) {
        err =
            mri_fail(diag, MRI_E_NO_BOX, MR_NOWHERE,
                     "room for %zu labels; the chunk has %u", room, row.labels);
    }
    for (uint32_t k = 0; err == MR_OK && k < row.labels; k++) {
        err = mri_shard_label(s, &row, k, &one, diag);
        if (err == MR_OK) {
            out[k] = (mr_label_count){(int64_t)one.value, one.count};
        }
    }
    return err;
}
