/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunk_fuzz.c - any bytes as a grid row, a chunk row and what is stored: the
 * chunk decodes or is refused, and a box of it holds the same values.
 *
 * Input: a byte of flags, a byte that chooses the box, a grid row, a chunk
 * row, the stored bytes.
 */
#include "chunk_part.h"

#include <fuzz_bytes.h>

#define CHUNK_BYTES (1u << 18)
#define ROWS (2 + MRI_GRID_ROW + MRI_CHUNK_ROW)

/* A box of the chunk, into `to`, and its place in the whole of it. */
static uint64_t
make_part(mri_chunk_part *part, const mr_box *chunk, unsigned ndim, uint8_t how,
          unsigned element)
{
    uint64_t n = element;

    *part = (mri_chunk_part){.ndim = ndim};
    for (unsigned i = ndim; i-- > 0;) {
        uint64_t size = chunk->size[i];

        part->dims[i] = size;
        part->first[i] = how >> i & 1 ? size / 3 : 0;
        part->size[i] = how >> i & 1 ? (size + 1) / 2 : size;
        part->stride[i] = (int64_t)n;
        n *= part->size[i];
    }
    return n;
}

/* The first element of the box lies at this element of the chunk. */
static uint64_t
first_of(const mri_chunk_part *part)
{
    uint64_t first = 0;

    for (unsigned i = 0; i < part->ndim; i++) {
        first = first * part->dims[i] + part->first[i];
    }
    return first;
}

static void
decode(const mri_grid_row *g, const mri_chunk_row *row, const mr_box *box,
       const uint8_t *stored, uint8_t how)
{
    unsigned element = (unsigned)mr_dtype_bytes((mr_dtype)g->dtype);
    uint8_t *raw = malloc(row->raw_len), *to;
    mri_bytes work = {0};
    mri_chunk_part part;
    mr_diag diag = {0};
    uint64_t bytes = make_part(&part, box, g->ndim, how, element);
    bool ok;

    part.to = to = malloc((size_t)bytes);
    hold(raw != NULL && to != NULL);
    ok = fuzz_ok(mri_chunk_unpack(raw, row, stored, element, &work, &diag),
                 &diag);
    hold(ok == fuzz_ok(mri_chunk_unpack_part(&part, row, stored, element, &work,
                                             &diag),
                       &diag));
    if (ok) {
        fuzz_touch(raw, row->raw_len);
        fuzz_touch(to, (size_t)bytes);
        hold(memcmp(to, raw + first_of(&part) * element, element) == 0);
    }
    mri_bytes_release(&work);
    free(raw);
    free(to);
}

static void
visit_order(const mri_grid_row *g)
{
    uint64_t n = mri_grid_chunks(g), *order, sum = 0;

    if (g->encoding == MR_ENC_CHUNKS && n <= 512 &&
        mri_chunk_morton(g, &order)) {
        for (uint64_t i = 0; i < n; i++) {
            hold(order[i] < n);
            sum += order[i];
        }
        hold(sum == n * (n - 1) / 2);
        mri_free(order);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mri_grid_row g;
    mri_chunk_row row;
    uint8_t *stored;
    mr_box box = {{0}, {0}};
    uint64_t len;

    if (size < ROWS) {
        return 0;
    }
    mri_grid_row_get(&g, data + 2);
    mri_chunk_row_get(&row, data + 2 + MRI_GRID_ROW);
    if (!mri_grid_sound(&g) || g.encoding != MR_ENC_CHUNKS) {
        return 0;
    }
    mri_chunk_box(&g, row.file_off % mri_grid_chunks(&g), &box);
    len = mri_box_len(&box, g.ndim) * mr_dtype_bytes((mr_dtype)g.dtype);
    if (len > CHUNK_BYTES) {
        return 0;
    }
    row.raw_len = (uint32_t)len; /* readers compare it before */
    row.stored_len = (uint32_t)(size - ROWS);
    stored = fuzz_exact(data + ROWS, size - ROWS);
    fuzz_begin();
    visit_order(&g);
    decode(&g, &row, &box, stored, data[1]);
    fuzz_end((256 << 10) + 7 * CHUNK_BYTES);
    free(stored);
    return 0;
}
