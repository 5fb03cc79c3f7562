/* SPDX-License-Identifier: Apache-2.0 */
/* chunk.c - cut an n-d field into chunks, and turn one chunk into bytes. */
#include "chunk.h"

#include "shuffle.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/fmath.h>

#include <lz4.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WHOLE_BYTES (256u << 10) /* a field up to this is one chunk */
#define LOG_ELEMENTS 15          /* 2^15: 64 KiB of u16, half an L2 */
#define LOG_TILE 8               /* 256 x 256 */
#define FILL_BYTES 4096          /* that are copied on at once */

static int
axis_of(const mri_grid_row *g, char letter)
{
    for (int i = 0; i < g->ndim; i++) {
        if (g->axes[i] == letter) {
            return i;
        }
    }
    return -1;
}

/* Not libm's: the shape of a chunk must not depend on the machine. */
static double
log_2(double x)
{
    return mri_log(x) * 1.4426950408889634;
}

/* log2 of the chunk along Z, Y, X: their sum is LOG_ELEMENTS and the physical
 * sides are as equal as powers of two allow. */
static void
cube(const double spacing[3], int log_size[3])
{
    double best = INFINITY;

    for (int z = 0; z <= LOG_ELEMENTS; z++) {
        for (int y = 0; y + z <= LOG_ELEMENTS; y++) {
            int x = LOG_ELEMENTS - z - y;
            double side[3] = {log_2(spacing[0]) + z, log_2(spacing[1]) + y,
                              log_2(spacing[2]) + x};
            double mean = (side[0] + side[1] + side[2]) / 3, cost = 0;

            for (int i = 0; i < 3; i++) {
                cost += (side[i] - mean) * (side[i] - mean);
            }
            if (cost < best - 1e-9) {
                best = cost;
                log_size[0] = z;
                log_size[1] = y;
                log_size[2] = x;
            }
        }
    }
}

static void
limit_axis(mri_grid_row *g, int axis, uint32_t size)
{
    if (axis >= 0) {
        g->chunk[axis] = size < g->dims[axis] ? size : g->dims[axis];
    }
}

void
mri_chunk_shape(mri_grid_row *g, const double *spacing)
{
    const char *const letters = "ZYX";
    int at[3], log_size[3] = {0, LOG_TILE, LOG_TILE};
    double side[3] = {1, 1, 1};
    int c = axis_of(g, 'C');

    for (unsigned i = 0; i < 8; i++) {
        g->chunk[i] = i < g->ndim ? g->dims[i] : 0;
    }
    if (mri_grid_bytes(g) <= WHOLE_BYTES) {
        return;
    }
    for (int i = 0; i < 3; i++) {
        at[i] = axis_of(g, letters[i]);
        if (at[i] >= 0 && spacing != NULL && spacing[at[i]] > 0) {
            side[i] = spacing[at[i]];
        }
    }
    if (at[0] >= 0) {
        cube(side, log_size);
    }
    for (unsigned i = 0; i < g->ndim; i++) {
        limit_axis(g, (int)i, 1);
    }
    for (int i = 0; i < 3; i++) {
        limit_axis(g, at[i], 1u << log_size[i]);
    }
    limit_axis(g, axis_of(g, 'R'), 2);
    if (c >= 0 && c == g->ndim - 1 && g->dims[c] <= 4) {
        g->chunk[c] = g->dims[c];
    }
}

void
mri_chunk_box(const mri_grid_row *g, uint64_t index, mr_box *box)
{
    for (unsigned i = g->ndim; i-- > 0;) {
        uint64_t along = ((uint64_t)g->dims[i] + g->chunk[i] - 1) / g->chunk[i];
        uint64_t left;

        box->first[i] = index % along * g->chunk[i];
        index /= along;
        left = g->dims[i] - box->first[i];
        box->size[i] = left < g->chunk[i] ? left : g->chunk[i];
    }
}

uint64_t
mri_box_len(const mr_box *box, unsigned ndim)
{
    uint64_t n = 1;

    for (unsigned i = 0; i < ndim; i++) {
        n *= box->size[i];
    }
    return n;
}

void
mri_chunk_gather(uint8_t *chunk, const uint8_t *field, const mri_grid_row *g,
                 const mr_box *box)
{
    size_t element = mr_dtype_bytes((mr_dtype)g->dtype);
    uint64_t at[8] = {0}, run = element;
    unsigned outer = g->ndim;

    /* Trailing axes that are taken whole are one run with the next one. */
    while (outer > 0) {
        outer--;
        run *= box->size[outer];
        if (box->size[outer] != g->dims[outer]) {
            break;
        }
    }
    for (;;) {
        uint64_t from = 0;
        unsigned i;

        for (i = 0; i < g->ndim; i++) {
            from = from * g->dims[i] + box->first[i] + at[i];
        }
        memcpy(chunk, field + from * element, (size_t)run);
        chunk += run;
        for (i = outer; i-- > 0;) {
            if (++at[i] < box->size[i]) {
                break;
            }
            at[i] = 0;
        }
        if (i == UINT32_MAX) {
            return;
        }
    }
}

static bool
is_constant(const uint8_t *raw, uint32_t raw_len, unsigned element)
{
    return element <= 8 && raw_len >= element &&
           memcmp(raw, raw + element, raw_len - element) == 0;
}

bool
mri_chunk_pack(mri_packed *out, const uint8_t *raw, uint32_t raw_len,
               unsigned element, mri_bytes *work)
{
    const uint8_t *input = raw;
    int room = LZ4_compressBound((int)raw_len), got;
    size_t shuffled = element > 1 ? mri_round_up(raw_len, 64) : 0;

    *out =
        (mri_packed){.raw_len = raw_len, .stored_len = raw_len, .stored = raw};
    if (is_constant(raw, raw_len, element)) {
        out->flags = MRI_CHUNK_CONSTANT;
        out->stored_len = 0;
        memcpy(&out->value, raw, element);
        return true;
    }
    if (raw_len > LZ4_MAX_INPUT_SIZE) {
        return true; /* stored as it is */
    }
    work->len = 0;
    if (!mri_bytes_reserve(work, shuffled + (size_t)room)) {
        return false;
    }
    if (element > 1) {
        mri_shuffle(work->data, raw, raw_len / element, element);
        input = work->data;
    }
    got = LZ4_compress_default(
        (const char *)input, (char *)work->data + shuffled, (int)raw_len, room);
    /* Under 5 % of gain the reader's time is worth more than the bytes. */
    if (got > 0 && (uint64_t)got * 20 < (uint64_t)raw_len * 19) {
        out->codec = MRI_CODEC_LZ4;
        out->filter = element > 1 ? MRI_FILTER_SHUFFLE : MRI_FILTER_NONE;
        out->stored_len = (uint32_t)got;
        out->stored = work->data + shuffled;
    }
    return true;
}

/* One element, then as much again as there is already: few and long copies,
 * out of what the first level of the cache still holds. */
void
mri_chunk_fill(uint8_t *raw, uint64_t raw_len, uint64_t value, unsigned element)
{
    size_t len = (size_t)(raw_len - raw_len % element), done = element;
    uint8_t one[8];

    mri_put64(one, value);
    memcpy(raw, one, len < element ? len : element);
    while (done < len) {
        size_t n = done < FILL_BYTES ? done : FILL_BYTES;

        n = n < len - done ? n : len - done;
        memcpy(raw + done, raw, n);
        done += n;
    }
}

static mr_err
check_coding(const mri_chunk_row *row, mr_diag *diag)
{
    if (row->codec > MRI_CODEC_LZ4 || row->filter > MRI_FILTER_SHUFFLE) {
        return mri_fail(diag, MRI_E_CODEC, row->file_off,
                        "chunk with codec %u and filter %u", row->codec,
                        row->filter);
    }
    if (row->codec == MRI_CODEC_RAW && row->stored_len != row->raw_len) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, row->file_off,
                        "a raw chunk of another length");
    }
    return MR_OK;
}

static mr_err
decompress(uint8_t *to, const mri_chunk_row *row, const uint8_t *stored,
           mr_diag *diag)
{
    if (row->stored_len > INT32_MAX || row->raw_len > INT32_MAX ||
        LZ4_decompress_safe((const char *)stored, (char *)to,
                            (int)row->stored_len,
                            (int)row->raw_len) != (int)row->raw_len) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, row->file_off,
                        "the chunk does not decompress to %u bytes",
                        row->raw_len);
    }
    return MR_OK;
}

mr_err
mri_chunk_decode(const uint8_t **filtered, const mri_chunk_row *row,
                 const uint8_t *stored, mri_bytes *work, mr_diag *diag)
{
    mr_err err = check_coding(row, diag);

    if (err != MR_OK || row->codec == MRI_CODEC_RAW) {
        *filtered = stored;
        return err;
    }
    work->len = 0;
    if (!mri_bytes_reserve(work, row->raw_len)) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    *filtered = work->data;
    return decompress(work->data, row, stored, diag);
}

mr_err
mri_chunk_unpack(uint8_t *raw, const mri_chunk_row *row, const uint8_t *stored,
                 unsigned element, mri_bytes *work, mr_diag *diag)
{
    const uint8_t *filtered;
    mr_err err;

    if (row->flags & MRI_CHUNK_CONSTANT) {
        mri_chunk_fill(raw, row->raw_len, row->file_off, element);
        return MR_OK;
    }
    if (row->codec == MRI_CODEC_LZ4 && row->filter == MRI_FILTER_NONE) {
        return decompress(raw, row, stored, diag);
    }
    err = mri_chunk_decode(&filtered, row, stored, work, diag);
    if (err != MR_OK) {
        return err;
    }
    if (row->filter == MRI_FILTER_SHUFFLE) {
        mri_unshuffle(raw, filtered, row->raw_len / element, element);
    } else {
        memcpy(raw, filtered, row->raw_len);
    }
    return MR_OK;
}

typedef struct place {
    uint64_t code, index;
} place;

static int
by_code(const void *a, const void *b)
{
    const place *x = a, *y = b;

    return x->code < y->code ? -1 : x->code > y->code;
}

/* Interleave the bits of the grid position, the last axis lowest. */
static uint64_t
morton(const mri_grid_row *g, uint64_t index)
{
    uint64_t at[8], code = 0;
    unsigned bit = 0;

    for (unsigned i = g->ndim; i-- > 0;) {
        uint64_t along = ((uint64_t)g->dims[i] + g->chunk[i] - 1) / g->chunk[i];

        at[i] = index % along;
        index /= along;
    }
    for (unsigned level = 0; level < 32 && bit < 64; level++) {
        for (unsigned i = g->ndim; i-- > 0 && bit < 64;) {
            uint64_t along =
                ((uint64_t)g->dims[i] + g->chunk[i] - 1) / g->chunk[i];

            if ((along - 1) >> level != 0) { /* short axes take no bits */
                code |= (at[i] >> level & 1) << bit++;
            }
        }
    }
    return code;
}

bool
mri_chunk_morton(const mri_grid_row *g, uint64_t **order)
{
    uint64_t n = mri_grid_chunks(g);
    place *places = mri_alloc((size_t)n, sizeof *places);

    *order = mri_alloc((size_t)n, sizeof **order);
    if (places == NULL || *order == NULL) {
        mri_free(places);
        mri_free(*order);
        *order = NULL;
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        places[i] = (place){morton(g, i), i};
    }
    qsort(places, (size_t)n, sizeof *places, by_code);
    for (uint64_t i = 0; i < n; i++) {
        (*order)[i] = places[i].index;
    }
    mri_free(places);
    return true;
}
