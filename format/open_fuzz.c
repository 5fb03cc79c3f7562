/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open_fuzz.c - any bytes as a shard's head, tails, foot and schema: it opens
 * or is refused, and every row of every table lies where it was bounded.
 */
#include "fuzz_shard.h"
#include "shard_read.h"

/* Rows that say the same when they are written again. */
static void
visit_row(mri_table table, const uint8_t *p)
{
    uint8_t again[MRI_MOMENT_ROW];
    mri_sample_row sample;
    mri_grid_row grid;
    mri_chunk_row chunk;
    mri_moment_row moment;

    switch (table) {
    case MRI_TABLE_SAMPLES:
        mri_sample_row_get(&sample, p);
        mri_sample_row_put(again, &sample);
        hold(memcmp(again, p, MRI_SAMPLE_ROW) == 0);
        break;
    case MRI_TABLE_GRIDS:
        mri_grid_row_get(&grid, p);
        hold(!mri_grid_sound(&grid) || mri_grid_chunks(&grid) != 0);
        break;
    case MRI_TABLE_CHUNKS:
        mri_chunk_row_get(&chunk, p);
        mri_chunk_row_put(again, &chunk);
        hold(memcmp(again, p, MRI_CHUNK_ROW) == 0);
        break;
    case MRI_TABLE_MOMENTS:
        mri_moment_row_get(&moment, p);
        break;
    default:
        break;
    }
}

static void
visit(const mri_shard *s)
{
    mr_diag diag = {0};
    const uint8_t *p;

    for (uint32_t t = 0; t < MRI_TOC_MAX; t++) {
        uint64_t rows = mri_foot_rows(&s->foot, (mri_table)t);

        for (uint64_t i = 0; i < rows && i < 64; i++) {
            if (fuzz_ok(mri_foot_row(&s->foot, (mri_table)t, i, &p, &diag),
                        &diag)) {
                fuzz_touch(p, s->foot.tables[t].row_bytes);
                visit_row((mri_table)t, p);
            }
        }
        hold(mri_foot_row(&s->foot, (mri_table)t, rows, &p, &diag) ==
             MR_ECORRUPT);
    }
    (void)fuzz_ok(mri_foot_check_all(&s->foot, &diag), &diag);
}

static void
find_foot(const mri_bytes *file)
{
    uint8_t *exact = fuzz_exact(file->data, file->len);
    mri_tail tail;

    for (size_t at = MRI_HEAD_BYTES; at < file->len; at += MRI_ALIGN) {
        if (mri_foot_find(&tail, exact + at, file->len - at, at)) {
            hold(tail.foot_len <= file->len - at);
        }
    }
    free(exact);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mri_bytes file;
    static fuzz_file place;
    mr_diag diag = {0};
    mri_shard *s = NULL;

    if (!fuzz_shard(&file, data, size)) {
        return 0;
    }
    fuzz_begin();
    if (fuzz_ok(mri_shard_open_with(&s, fuzz_put(&place, file.data, file.len),
                                    NULL, (data[0] & FUZZ_MAP) != 0, &diag),
                &diag)) {
        visit(s);
    } else {
        find_foot(&file);
    }
    mri_shard_close(s);
    fuzz_end((128 << 10) + 200 * file.len);
    return 0;
}
