/* SPDX-License-Identifier: Apache-2.0 */
/* moments.c - one pass over a field. */
#include "moments.h"

#include <math.h>
#include <string.h>

double
mr_moments_mean(const mr_moments *m)
{
    return m->count != 0 ? m->sum / (double)m->count : 0;
}

double
mr_moments_std(const mr_moments *m)
{
    double mean = mr_moments_mean(m), variance;

    if (m->count == 0) {
        return 0;
    }
    variance = m->sum_squares / (double)m->count - mean * mean;
    return variance > 0 ? sqrt(variance) : 0;
}

uint32_t
mri_channels_of(const mri_grid_row *g)
{
    for (unsigned i = 0; i < g->ndim; i++) {
        if (g->axes[i] == 'C') {
            return g->dims[i];
        }
    }
    return 1;
}

/* Elements of one channel: `runs` runs of `length` elements, `step` apart
 * within a run, `jump` from run to run. */
typedef struct lanes {
    uint64_t first, runs, length, step, jump;
} lanes;

static lanes
lanes_of(const mri_grid_row *g, uint32_t channel)
{
    lanes l = {.runs = 1, .length = 1, .step = 1};
    uint64_t inner = 1;
    bool found = false;

    for (unsigned i = g->ndim; i-- > 0;) {
        if (g->axes[i] == 'C' && !found) {
            found = true;
            l.first = channel * inner;
            l.jump = g->dims[i] * inner;
        } else if (found) {
            l.runs *= g->dims[i];
        } else {
            inner *= g->dims[i];
        }
    }
    l.length = inner;
    if (found && inner == 1) { /* C is last: one run of strided elements */
        l.length = l.runs;
        l.runs = 1;
        l.step = l.jump;
    }
    return l;
}

/* Sums of integers up to 16 bits, exact over any field. */
__extension__ typedef unsigned __int128 wide;

typedef struct exact {
    uint64_t count, nonzero;
    int64_t min, max, nonzero_min, nonzero_max;
    int64_t sum;
    wide squares;
} exact;

/* A block's squares fit 64 bits: 2^16 of at most 2^32. Wider integers go
 * element by element in f64. */
#define BLOCK 65536u
#define INTEGERS(type, name)                                                   \
    static void name##_block(exact *e, const type *p, uint64_t n,              \
                             uint64_t step)                                    \
    {                                                                          \
        int64_t sum = 0, low = p[0], high = p[0];                              \
        int64_t nz_low = INT64_MAX, nz_high = INT64_MIN;                       \
        uint64_t squares = 0, nonzero = 0;                                     \
        for (uint64_t i = 0; i < n; i++) {                                     \
            int64_t v = p[i * step];                                           \
            sum += v;                                                          \
            squares += (uint64_t)(v * v);                                      \
            low = v < low ? v : low;                                           \
            high = v > high ? v : high;                                        \
            nonzero += v != 0;                                                 \
            nz_low = v != 0 && v < nz_low ? v : nz_low;                        \
            nz_high = v != 0 && v > nz_high ? v : nz_high;                     \
        }                                                                      \
        e->min = e->count == 0 || low < e->min ? low : e->min;                 \
        e->max = e->count == 0 || high > e->max ? high : e->max;               \
        if (nonzero != 0) {                                                    \
            e->nonzero_min = e->nonzero == 0 || nz_low < e->nonzero_min        \
                                 ? nz_low                                      \
                                 : e->nonzero_min;                             \
            e->nonzero_max = e->nonzero == 0 || nz_high > e->nonzero_max       \
                                 ? nz_high                                     \
                                 : e->nonzero_max;                             \
        }                                                                      \
        e->count += n;                                                         \
        e->nonzero += nonzero;                                                 \
        e->sum += sum;                                                         \
        e->squares += squares;                                                 \
    }                                                                          \
    static void name##_lanes(exact *e, const type *p, const lanes *l)          \
    {                                                                          \
        for (uint64_t r = 0; r < l->runs; r++) {                               \
            const type *run = p + l->first + r * l->jump;                      \
            for (uint64_t i = 0; i < l->length; i += BLOCK) {                  \
                uint64_t n = l->length - i < BLOCK ? l->length - i : BLOCK;    \
                name##_block(e, run + i * l->step, n, l->step);                \
            }                                                                  \
        }                                                                      \
    }
INTEGERS(uint8_t, u8)
INTEGERS(int8_t, i8)
INTEGERS(uint16_t, u16)
INTEGERS(int16_t, i16)

static float
half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31,
             m = h & 1023, u;
    float f;

    if (e == 31) {
        u = sign | 0x7F800000u | m << 13;
    } else if (e != 0) {
        u = sign | (e + 112) << 23 | m << 13;
    } else {
        f = (float)m * 0x1p-24f;
        return sign != 0 ? -f : f;
    }
    memcpy(&f, &u, sizeof f);
    return f;
}

static double
element(mr_dtype dtype, const void *pixels, uint64_t i)
{
    uint32_t u;
    float f;

    switch (dtype) {
    case MR_U8:
        return ((const uint8_t *)pixels)[i];
    case MR_I8:
        return ((const int8_t *)pixels)[i];
    case MR_U16:
        return ((const uint16_t *)pixels)[i];
    case MR_I16:
        return ((const int16_t *)pixels)[i];
    case MR_U32:
        return ((const uint32_t *)pixels)[i];
    case MR_I32:
        return ((const int32_t *)pixels)[i];
    case MR_U64:
        return (double)((const uint64_t *)pixels)[i];
    case MR_I64:
        return (double)((const int64_t *)pixels)[i];
    case MR_F16:
        return (double)half_to_float(((const uint16_t *)pixels)[i]);
    case MR_BF16:
        u = (uint32_t)((const uint16_t *)pixels)[i] << 16;
        memcpy(&f, &u, sizeof f);
        return (double)f;
    case MR_F32:
        return (double)((const float *)pixels)[i];
    case MR_F64:
        return ((const double *)pixels)[i];
    case MR_NONE:
        break;
    }
    return 0;
}

static void
add(mr_moments *m, double v)
{
    m->min = m->count == 0 || v < m->min ? v : m->min;
    m->max = m->count == 0 || v > m->max ? v : m->max;
    m->count++;
    m->sum += v;
    m->sum_squares += v * v;
}

/* Any type, element by element. Partial sums by block keep the error of a sum
 * of n terms near sqrt(n / BLOCK) rather than n. */
static void
general(mri_moment_row *out, mr_dtype dtype, const void *pixels, const lanes *l,
        const double scale[2])
{
    mri_moment_row part = {0};
    uint64_t filled = 0;

    for (uint64_t r = 0; r < l->runs; r++) {
        for (uint64_t i = 0; i < l->length; i++) {
            double v =
                element(dtype, pixels, l->first + r * l->jump + i * l->step);

            v = v * scale[0] + scale[1];
            if (!isfinite(v)) {
                out->non_finite++;
                continue;
            }
            add(&part.all, v);
            if (v != 0) {
                add(&part.nonzero, v);
            }
            if (++filled == BLOCK) {
                mri_moments_merge(&out->all, &part.all);
                mri_moments_merge(&out->nonzero, &part.nonzero);
                part = (mri_moment_row){0};
                filled = 0;
            }
        }
    }
    mri_moments_merge(&out->all, &part.all);
    mri_moments_merge(&out->nonzero, &part.nonzero);
}

static void
from_exact(mri_moment_row *out, const exact *e)
{
    out->all = (mr_moments){e->count, (double)e->min, (double)e->max,
                            (double)e->sum, (double)e->squares};
    out->nonzero =
        (mr_moments){e->nonzero, (double)e->nonzero_min, (double)e->nonzero_max,
                     (double)e->sum, (double)e->squares};
}

void
mri_moments_of(mri_moment_row *out, const mri_grid_row *g, const void *pixels,
               uint32_t channel, double slope, double inter)
{
    lanes l = lanes_of(g, channel);
    double scale[2] = {slope, inter};
    exact e = {0};

    out->non_finite = 0;
    out->all = out->nonzero = out->foreground = (mr_moments){0};
    if (slope == 1 && inter == 0) {
        switch ((mr_dtype)g->dtype) {
        case MR_U8:
            u8_lanes(&e, pixels, &l);
            break;
        case MR_I8:
            i8_lanes(&e, pixels, &l);
            break;
        case MR_U16:
            u16_lanes(&e, pixels, &l);
            break;
        case MR_I16:
            i16_lanes(&e, pixels, &l);
            break;
        default:
            general(out, (mr_dtype)g->dtype, pixels, &l, scale);
            return;
        }
        from_exact(out, &e);
        return;
    }
    general(out, (mr_dtype)g->dtype, pixels, &l, scale);
}

void
mri_moments_merge(mr_moments *to, const mr_moments *from)
{
    if (from->count == 0) {
        return;
    }
    to->min = to->count == 0 || from->min < to->min ? from->min : to->min;
    to->max = to->count == 0 || from->max > to->max ? from->max : to->max;
    to->count += from->count;
    to->sum += from->sum;
    to->sum_squares += from->sum_squares;
}

mr_moments
mri_moments_unit(const mr_moments *m)
{
    double range = m->max - m->min, n = (double)m->count;
    mr_moments unit = {.count = m->count};

    if (m->count == 0 || !(range > 0)) {
        return unit;
    }
    unit.max = 1;
    unit.sum = (m->sum - n * m->min) / range;
    unit.sum_squares =
        (m->sum_squares - 2 * m->min * m->sum + n * m->min * m->min) /
        (range * range);
    return unit;
}
