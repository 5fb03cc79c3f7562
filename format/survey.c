/* SPDX-License-Identifier: Apache-2.0 */
/* survey.c - statistics of a field, chunk after chunk. */
#include "survey.h"

#include "chunk.h"
#include "moments_simd.h"

#include <mri/alloc.h>
#include <mri/cpu.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 1024,               /* physical values at once: 8 KiB */
    SLOTS = 2 * MRI_LABELS_MAX, /* of the table of labels */
};

/* ---- what lies under a label ---- */

static bool
spatial(char axis)
{
    return axis == 'Z' || axis == 'Y' || axis == 'X';
}

/* How many there are along an axis; 0: it has no such axis. */
static uint32_t
along(const mri_grid_row *g, char axis)
{
    for (unsigned i = 0; i < g->ndim; i++) {
        if (g->axes[i] == axis) {
            return g->dims[i];
        }
    }
    return 0;
}

bool
mri_cover_fits(const mri_grid_row *l, const mri_grid_row *g)
{
    if ((l->flags & MRI_GRID_LABEL) == 0 || (g->flags & MRI_GRID_LABEL) != 0) {
        return false;
    }
    for (unsigned i = 0; i < g->ndim; i++) {
        if (spatial(g->axes[i]) && along(l, g->axes[i]) != g->dims[i]) {
            return false;
        }
    }
    for (unsigned i = 0; i < l->ndim; i++) {
        char axis = l->axes[i];
        uint32_t n = along(g, axis);

        if (!spatial(axis) && axis != 'C' && axis != 'T') {
            return false;
        }
        if (n != l->dims[i] && (spatial(axis) || l->dims[i] != 1)) {
            return false;
        }
    }
    return true;
}

/* Bytes from one element of the label to the next, along the image's axes. */
static void
steps_over(const mri_cover *cover, const mri_grid_row *g,
           size_t step[MR_MAX_RANK])
{
    const mri_grid_row *l = cover->grid;
    size_t bytes = mr_dtype_bytes((mr_dtype)l->dtype);

    memset(step, 0, MR_MAX_RANK * sizeof *step);
    for (unsigned i = l->ndim; i-- > 0;) {
        for (unsigned k = 0; k < g->ndim; k++) {
            if (g->axes[k] == l->axes[i] && l->dims[i] != 1) {
                step[k] = bytes;
            }
        }
        bytes *= l->dims[i];
    }
}

#define UNDER(name, type)                                                      \
    static void name##_under(uint8_t *out, const uint8_t *from, size_t n,      \
                             size_t step)                                      \
    {                                                                          \
        for (size_t i = 0; i < n; i++) {                                       \
            type v;                                                            \
            memcpy(&v, from + i * step, sizeof v);                             \
            out[i] = v > 0;                                                    \
        }                                                                      \
    }
UNDER(u8, uint8_t)
UNDER(i8, int8_t)
UNDER(u16, uint16_t)
UNDER(i16, int16_t)
UNDER(u32, uint32_t)
UNDER(i32, int32_t)
UNDER(u64, uint64_t)
UNDER(i64, int64_t)
UNDER(f32, float)
UNDER(f64, double)

/* A half, of either kind, is above zero if it has no sign, is not zero and is
 * no NaN: those lie above infinity. */
static void
half_under(uint8_t *out, const uint8_t *from, size_t n, size_t step,
           uint16_t infinity)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t v;

        memcpy(&v, from + i * step, sizeof v);
        out[i] = v > 0 && v <= infinity;
    }
}

static void
run_under(uint8_t *out, mr_dtype dtype, const uint8_t *from, size_t n,
          size_t step)
{
    typedef void one_fn(uint8_t * out, const uint8_t *from, size_t n,
                        size_t step);
    static one_fn *const by_dtype[] = {
        [MR_U8] = u8_under,   [MR_I8] = i8_under,   [MR_U16] = u16_under,
        [MR_I16] = i16_under, [MR_U32] = u32_under, [MR_I32] = i32_under,
        [MR_U64] = u64_under, [MR_I64] = i64_under, [MR_F32] = f32_under,
        [MR_F64] = f64_under};

    if (dtype == MR_F16 || dtype == MR_BF16) {
        half_under(out, from, n, step, dtype == MR_F16 ? 0x7C00 : 0x7F80);
        return;
    }
    by_dtype[dtype](out, from, n, step);
}

bool
mri_cover_under(mri_bytes *under, const mri_cover *cover, const mri_grid_row *g,
                const mr_box *box)
{
    unsigned ndim = g->ndim, inner = ndim - 1;
    uint64_t at[MR_MAX_RANK] = {0}, n = mri_box_len(box, ndim);
    size_t step[MR_MAX_RANK], run;
    uint8_t *out;
    unsigned i;

    under->len = 0;
    if (!mri_bytes_reserve(under, (size_t)n)) {
        return false;
    }
    steps_over(cover, g, step);
    run = (size_t)box->size[inner];
    out = under->data;
    do {
        const uint8_t *from = cover->pixels;

        for (i = 0; i < ndim; i++) {
            from += (box->first[i] + at[i]) * step[i];
        }
        run_under(out, (mr_dtype)cover->grid->dtype, from, run, step[inner]);
        out += run;
        for (i = inner; i-- > 0;) {
            if (++at[i] < box->size[i]) {
                break;
            }
            at[i] = 0;
        }
    } while (i != UINT32_MAX);
    return true;
}

/* ---- moments ---- */

bool
mri_survey_begin(mri_survey *s, const mri_grid_row *g, double slope,
                 double inter, const mri_cover *cover)
{
    *s = (mri_survey){
        .g = g, .slope = slope, .inter = inter, .channels = mri_channels_of(g)};
    if (cover != NULL && cover->pixels != NULL && g->ndim != 0) {
        s->cover = *cover;
    }
    s->tally = mri_alloc(s->channels, 2 * sizeof *s->tally);
    for (size_t i = 0; s->tally != NULL && i < 2 * (size_t)s->channels; i++) {
        mri_tally_init(&s->tally[i]);
    }
    return s->tally != NULL;
}

/* A block of one channel on its way into the tallies. */
typedef struct block {
    double v[BLOCK];
    uint8_t under[BLOCK];
    size_t n;
} block;

static void
empty_block(mri_survey *s, uint32_t channel, block *b)
{
    mri_tally_add(&s->tally[channel], b->v, b->n);
    if (s->cover.pixels != NULL) {
        for (size_t i = 0; i < b->n; i++) {
            b->v[i] = b->under[i] ? b->v[i] : NAN;
        }
        mri_tally_add(&s->tally[s->channels + channel], b->v, b->n);
    }
    b->n = 0;
}

static void
take_under(block *b, const uint8_t *from, size_t n, size_t step)
{
    if (step == 1) {
        memcpy(b->under + b->n, from, n);
        return;
    }
    for (size_t k = 0; k < n; k++) {
        b->under[b->n + k] = from[k * step];
    }
}

static void
add_channel(mri_survey *s, uint32_t channel, const mri_lanes *l,
            const uint8_t *chunk)
{
    static mri_physical_fn *const at_level[] = MRI_LEVELS(mri_physical_at);
    mr_dtype dtype = (mr_dtype)s->g->dtype;
    size_t element = mr_dtype_bytes(dtype);
    block b = {.n = 0};

    for (uint64_t r = 0; r < l->runs; r++) {
        uint64_t i = 0;

        while (i < l->length) {
            uint64_t at = l->first + r * l->jump + i * l->step;
            size_t n = l->length - i < BLOCK - b.n ? (size_t)(l->length - i)
                                                   : BLOCK - b.n;
            mri_run run = {.from = chunk + at * element,
                           .n = n,
                           .step = (size_t)l->step,
                           .slope = s->slope,
                           .inter = s->inter};

            at_level[mri_cpu()](b.v + b.n, &run, dtype);
            if (s->cover.pixels != NULL) {
                take_under(&b, s->under.data + at, n, (size_t)l->step);
            }
            b.n += n;
            i += n;
            if (b.n == BLOCK) {
                empty_block(s, channel, &b);
            }
        }
    }
    empty_block(s, channel, &b);
}

bool
mri_survey_add(mri_survey *s, const mr_box *box, const void *chunk)
{
    uint64_t first = 0, channels = 1;

    for (unsigned i = 0; i < s->g->ndim; i++) {
        if (s->g->axes[i] == 'C') {
            first = box->first[i];
            channels = box->size[i];
            break;
        }
    }
    if (s->cover.pixels != NULL &&
        !mri_cover_under(&s->under, &s->cover, s->g, box)) {
        return false;
    }
    for (uint32_t c = 0; c < channels; c++) {
        mri_lanes l = mri_lanes_of(s->g->axes, s->g->ndim, box->size, c);

        add_channel(s, (uint32_t)first + c, &l, chunk);
    }
    return true;
}

void
mri_survey_end(const mri_survey *s, mri_moment_row *rows)
{
    for (uint32_t c = 0; c < s->channels; c++) {
        mr_moments nonzero; /* of the foreground: not kept */

        rows[c] = (mri_moment_row){.channel = c,
                                   .non_finite = s->tally[c].non_finite};
        mri_tally_end(&s->tally[c], &rows[c].all, &rows[c].nonzero);
        mri_tally_end(&s->tally[s->channels + c], &rows[c].foreground,
                      &nonzero);
    }
}

/* ---- the row of a chunk ---- */

static uint64_t
label_at(mr_dtype dtype, const void *p, size_t i)
{
    switch (dtype) {
    case MR_U8:
        return ((const uint8_t *)p)[i];
    case MR_I8:
        return (uint64_t)(int64_t)((const int8_t *)p)[i];
    case MR_U16:
        return ((const uint16_t *)p)[i];
    case MR_I16:
        return (uint64_t)(int64_t)((const int16_t *)p)[i];
    case MR_U32:
        return ((const uint32_t *)p)[i];
    case MR_I32:
        return (uint64_t)(int64_t)((const int32_t *)p)[i];
    default:
        return ((const uint64_t *)p)[i];
    }
}

/* Count `n` more of a value. False: it is one too many. */
static bool
count_label(mri_survey *s, uint64_t value, uint64_t n)
{
    uint64_t slot = (value * 0x9E3779B97F4A7C15u) >> 40;

    for (;; slot++) {
        mri_label_row *l = &s->label[slot % SLOTS];

        if (l->count == 0) {
            if (s->label_count == MRI_LABELS_MAX) {
                return false;
            }
            s->label_count++;
            *l = (mri_label_row){value, n};
            return true;
        }
        if (l->value == value) {
            l->count += n;
            return true;
        }
    }
}

/* Where the run of equal elements that begins at `i` ends. */
static uint64_t
run_end(const uint8_t *p, uint64_t i, uint64_t n, size_t element)
{
    uint64_t end = i + 1;

    while (end < n &&
           memcmp(p + end * element, p + i * element, element) == 0) {
        end++;
    }
    return end;
}

/* The same for labels of a byte: eight at a time. */
static uint64_t
byte_run_end(const uint8_t *p, uint64_t i, uint64_t n)
{
    uint64_t all = p[i] * 0x0101010101010101u, here, end = i + 1;

    for (; end + 8 <= n; end += 8) {
        memcpy(&here, p + end, 8);
        if (here != all) {
            break;
        }
    }
    while (end < n && p[end] == p[i]) {
        end++;
    }
    return end;
}

/* Labels come in runs. */
static bool
count_labels(mri_survey *s, const void *chunk, uint64_t n)
{
    mr_dtype dtype = (mr_dtype)s->g->dtype;
    size_t element = mr_dtype_bytes(dtype);
    uint64_t i = 0;

    memset(s->label, 0, SLOTS * sizeof *s->label);
    s->label_count = 0;
    while (i < n) {
        uint64_t end = element == 1 ? byte_run_end(chunk, i, n)
                                    : run_end(chunk, i, n, element);

        if (!count_label(s, label_at(dtype, chunk, (size_t)i), end - i)) {
            return false;
        }
        i = end;
    }
    return true;
}

static int
by_value(const void *a, const void *b)
{
    const mri_label_row *x = a, *y = b;

    return x->value < y->value ? -1 : x->value > y->value;
}

static int
by_signed_value(const void *a, const void *b)
{
    int64_t x = (int64_t)((const mri_label_row *)a)->value;
    int64_t y = (int64_t)((const mri_label_row *)b)->value;

    return x < y ? -1 : x > y;
}

static bool
has_sign(mr_dtype dtype)
{
    return dtype == MR_I8 || dtype == MR_I16 || dtype == MR_I32 ||
           dtype == MR_I64;
}

static bool
add_labels(mri_survey *s, mri_stat_row *row, mri_bytes *labels)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < SLOTS; i++) {
        if (s->label[i].count != 0) {
            s->label[n++] = s->label[i];
        }
    }
    qsort(s->label, n, sizeof *s->label,
          has_sign((mr_dtype)s->g->dtype) ? by_signed_value : by_value);
    row->labels = n;
    return mri_bytes_add(labels, s->label, n * sizeof *s->label);
}

bool
mri_survey_stat(mri_survey *s, const mr_box *box, const void *chunk,
                mri_stat_row *row, mri_bytes *labels)
{
    static mri_range_fn *const at_level[] = MRI_LEVELS(mri_range_at);
    uint64_t n = mri_box_len(box, s->g->ndim);
    mri_range range;

    at_level[mri_cpu()](&range, chunk, (size_t)n, (mr_dtype)s->g->dtype);
    *row = (mri_stat_row){.min = range.min,
                          .max = range.max,
                          .nonzero = range.nonzero,
                          .nan = range.nan};
    if ((s->g->flags & MRI_GRID_LABEL) == 0 || s->g->dtype > MR_I64) {
        return true;
    }
    if (range.min == range.max) {
        mri_label_row one = {range.min, n};

        row->labels = 1;
        return mri_bytes_add(labels, &one, sizeof one);
    }
    if (s->label == NULL) {
        s->label = mri_alloc(SLOTS, sizeof *s->label);
        if (s->label == NULL) {
            return false;
        }
    }
    if (!count_labels(s, chunk, n)) {
        row->flags = MRI_STAT_MANY;
        return true;
    }
    return add_labels(s, row, labels);
}

void
mri_survey_release(mri_survey *s)
{
    mri_free(s->tally);
    mri_free(s->label);
    mri_bytes_release(&s->under);
    *s = (mri_survey){0};
}
