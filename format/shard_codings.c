/* SPDX-License-Identifier: Apache-2.0 */
/* shard_codings.c - which codecs and filters a shard's chunks were given. */
#include "frame.h"
#include "shard_read.h"

#include <mri/error.h>

#include <stdlib.h>
#include <string.h>

static const char *
codec_of(const mri_chunk_row *row)
{
    static const char *const names[] = {"raw", "lz4", "zstd", "bitpack"};

    return row->flags & MRI_CHUNK_CONSTANT ? "constant"
           : row->kind == MRI_FRAME_JPEG   ? "jpeg"
           : row->kind == MRI_FRAME_BYTES  ? "file"
           : row->codec < MRI_COUNT(names) ? names[row->codec]
                                           : "unknown";
}

static const char *
filter_of(const mri_chunk_row *row)
{
    static const char *const names[] = {"none", "shuffle", "delta"};

    return row->filter < MRI_COUNT(names) ? names[row->filter] : "unknown";
}

static int
by_name(const void *a, const void *b)
{
    const mri_coded *x = a, *y = b;
    int order = strcmp(x->codec, y->codec);

    return order != 0 ? order : strcmp(x->filter, y->filter);
}

/* There are fewer names than MRI_CODED_MOST. */
static mri_coded *
entry_of(mri_coded *list, uint32_t *count, const mri_chunk_row *row)
{
    const char *codec = codec_of(row), *filter = filter_of(row);

    for (uint32_t i = 0; i < *count; i++) {
        if (strcmp(list[i].codec, codec) == 0 &&
            strcmp(list[i].filter, filter) == 0) {
            return &list[i];
        }
    }
    list[*count] = (mri_coded){.codec = codec, .filter = filter};
    return &list[(*count)++];
}

mr_err
mri_shard_codings(const mri_shard *s, mri_coded out[MRI_CODED_MOST],
                  uint32_t *count, mr_diag *diag)
{
    uint64_t rows = mri_foot_rows(&s->foot, MRI_TABLE_CHUNKS);
    uint32_t n = 0;

    for (uint64_t i = 0; i < rows; i++) {
        mri_chunk_row row;
        const uint8_t *p;
        mri_coded *c;
        mr_err err = mri_foot_row(&s->foot, MRI_TABLE_CHUNKS, i, &p, diag);

        if (err != MR_OK) {
            mri_diag_in(diag, s->file.path);
            return err;
        }
        mri_chunk_row_get(&row, p);
        c = entry_of(out, &n, &row);
        c->chunks++;
        c->raw_bytes += row.raw_len;
        c->stored_bytes += row.stored_len;
    }
    qsort(out, n, sizeof *out, by_name);
    *count = n;
    return MR_OK;
}
