/* SPDX-License-Identifier: Apache-2.0 */
/* chunk.c - cut an n-d field into chunks, and put them into an order. */
#include "chunk.h"

#include <mri/alloc.h>
#include <mri/fmath.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WHOLE_BYTES (256u << 10) /* a field up to this is one chunk */
#define LOG_ELEMENTS 15          /* 2^15: 64 KiB of u16, half an L2 */
#define FORESEEN 256             /* bytes of a row, at most */
#define LINE 64                  /* of the cache */
#define LOG_TILE 8               /* 256 x 256 */

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

/* The same row of the next plane: rows of a chunk are short and far from each
 * other, so that the memory does not foresee them by itself. */
static inline void
foresee(const uint8_t *row, size_t run)
{
    const uint8_t *line = row - (uintptr_t)row % LINE, *end = row + run;

    end = run > FORESEEN ? row + FORESEEN : end;
    for (; line < end; line += LINE) {
        __builtin_prefetch(line);
    }
}

/* Runs of a field, `step` bytes apart; `ahead` from there are the next ones. */
typedef struct runs {
    const uint8_t *from;
    size_t n, run, step, ahead;
} runs;

static inline void
copy_runs_of(uint8_t *to, const runs *r, size_t run)
{
    const uint8_t *from = r->from;

    for (size_t i = 0; i < r->n; i++, to += run, from += r->step) {
        if (r->ahead != 0) {
            foresee(from + r->ahead, run);
        }
        memcpy(to, from, run);
    }
}

/* The rows of cubes are that short that a copy of known length pays. */
static void
copy_runs(uint8_t *to, const runs *r)
{
    switch (r->run) {
    case 32:
        copy_runs_of(to, r, 32);
        break;
    case 64:
        copy_runs_of(to, r, 64);
        break;
    case 128:
        copy_runs_of(to, r, 128);
        break;
    default:
        copy_runs_of(to, r, r->run);
    }
}

void
mri_chunk_gather(uint8_t *chunk, const uint8_t *field, const mri_grid_row *g,
                 const mr_box *box)
{
    size_t element = mr_dtype_bytes((mr_dtype)g->dtype);
    uint64_t at[8] = {0}, step[8], run = element, apart = element, from = 0;
    unsigned outer = g->ndim, i;
    runs r = {.n = 1};

    for (i = g->ndim; i-- > 0;) {
        step[i] = apart;
        from += box->first[i] * apart;
        apart *= g->dims[i];
    }
    /* Trailing axes that are taken whole are one run with the next one. */
    while (outer > 0) {
        outer--;
        run *= box->size[outer];
        if (box->size[outer] != g->dims[outer]) {
            break;
        }
    }
    r.run = (size_t)run;
    if (outer > 0) { /* a plane at a time */
        outer--;
        r.n = (size_t)box->size[outer];
        r.step = (size_t)step[outer];
    }
    do {
        r.from = field + from;
        r.ahead = outer > 0 && at[outer - 1] + 1 < box->size[outer - 1]
                      ? (size_t)step[outer - 1]
                      : 0;
        copy_runs(chunk, &r);
        chunk += r.n * r.run;
        for (i = outer; i-- > 0;) {
            from += step[i];
            if (++at[i] < box->size[i]) {
                break;
            }
            from -= step[i] * box->size[i];
            at[i] = 0;
        }
    } while (i != UINT32_MAX);
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
