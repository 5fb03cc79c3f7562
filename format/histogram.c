/* SPDX-License-Identifier: Apache-2.0 */
/* histogram.c - bins, their bytes, and the percentiles that follow. */
#include "histogram.h"

#include "moments_simd.h"

#include <mri/cpu.h>

#include <float.h>
#include <math.h>
#include <string.h>

enum { BLOCK = 1024 };

double
mr_percent(unsigned i)
{
    static const double percent[MR_PERCENTILES] = {0.5, 5,  25,  50,
                                                   75,  95, 99.5};

    return percent[i];
}

mri_bins
mri_bins_stored(double slope, double inter)
{
    return (mri_bins){.kind = MRI_BINS_STORED,
                      .count = MRI_BINS_STORED_COUNT,
                      .slope = slope,
                      .inter = inter};
}

mri_bins
mri_bins_brain(void)
{
    return (mri_bins){.kind = MRI_BINS_BRAIN, .count = MRI_BINS_BRAIN_COUNT};
}

bool
mri_bins_store(mr_dtype dtype)
{
    return dtype == MR_U8 || dtype == MR_I8 || dtype == MR_U16 ||
           dtype == MR_I16;
}

/* Ordered as the values are: negative ones first, from the largest on. */
uint32_t
mri_bin_of(double physical)
{
    double near = physical > FLT_MAX    ? FLT_MAX
                  : physical < -FLT_MAX ? -FLT_MAX
                                        : physical;
    float f = (float)(near + 0.0); /* one zero */
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    u >>= 16;
    return (u & 0x8000) != 0 ? 0xFFFF - u : u | 0x8000;
}

double
mri_bin_value(const mri_bins *b, uint32_t bin)
{
    uint32_t u;
    float f;

    if (b->kind == MRI_BINS_STORED) {
        return ((double)bin - MRI_BIN_OF_ZERO) * b->slope + b->inter;
    }
    if (bin == MRI_BIN_OF_ZERO || bin == MRI_BIN_OF_ZERO - 1) {
        return 0;
    }
    u = (bin & 0x8000) != 0 ? bin & 0x7FFF : 0xFFFF - bin;
    u = u << 16 | 0x8000; /* the middle */
    memcpy(&f, &u, sizeof f);
    return (double)f;
}

/* Values come in runs of equal ones, which would wait for one another at one
 * bin: four equal ones are counted at once. */
#define STORED(name, type)                                                     \
    static void name##_count(uint32_t *bins, const void *from, size_t n,       \
                             size_t step)                                      \
    {                                                                          \
        const type *p = from;                                                  \
        size_t i = 0;                                                          \
        for (; i + 4 <= n; i += 4) {                                           \
            type a = p[i * step], b = p[(i + 1) * step],                       \
                 c = p[(i + 2) * step], d = p[(i + 3) * step];                 \
            if (a == b && a == c && a == d) {                                  \
                bins[a] += 4;                                                  \
            } else {                                                           \
                bins[a]++;                                                     \
                bins[b]++;                                                     \
                bins[c]++;                                                     \
                bins[d]++;                                                     \
            }                                                                  \
        }                                                                      \
        for (; i < n; i++) {                                                   \
            bins[p[i * step]]++;                                               \
        }                                                                      \
    }
STORED(u8, uint8_t)
STORED(i8, int8_t)
STORED(u16, uint16_t)
STORED(i16, int16_t)

static void
count_stored(uint32_t *zero, const mri_bin_run *run, uint64_t at, size_t n)
{
    size_t step = (size_t)run->lanes.step;
    const uint8_t *p = run->pixels + at * mr_dtype_bytes(run->dtype);

    switch (run->dtype) {
    case MR_U8:
        u8_count(zero, p, n, step);
        break;
    case MR_I8:
        i8_count(zero, p, n, step);
        break;
    case MR_U16:
        u16_count(zero, p, n, step);
        break;
    default:
        i16_count(zero, p, n, step);
        break;
    }
}

/* The same of what lies under a label, one by one. */
static void
count_stored_under(uint32_t *zero, const mri_bin_run *run, uint64_t at,
                   size_t n)
{
    size_t step = (size_t)run->lanes.step;

    for (size_t i = 0; i < n; i++) {
        uint64_t k = at + i * step;

        if (run->under[k] == 0) {
            continue;
        }
        switch (run->dtype) {
        case MR_U8:
            zero[run->pixels[k]]++;
            break;
        case MR_I8:
            zero[((const int8_t *)run->pixels)[k]]++;
            break;
        case MR_U16:
            zero[((const uint16_t *)(const void *)run->pixels)[k]]++;
            break;
        default:
            zero[((const int16_t *)(const void *)run->pixels)[k]]++;
            break;
        }
    }
}

static void
count_brain(uint32_t *bins, const mri_bin_run *run, uint64_t at, size_t n)
{
    static mri_physical_fn *const at_level[] = MRI_LEVELS(mri_physical_at);
    size_t step = (size_t)run->lanes.step, element = mr_dtype_bytes(run->dtype);
    double v[BLOCK];

    for (size_t i = 0; i < n; i += BLOCK) {
        mri_run part = {.from = run->pixels + (at + i * step) * element,
                        .n = n - i < BLOCK ? n - i : BLOCK,
                        .step = step,
                        .slope = run->slope,
                        .inter = run->inter};

        at_level[mri_cpu()](v, &part, run->dtype);
        for (size_t k = 0; k < part.n; k++) {
            if (isfinite(v[k]) &&
                (run->under == NULL || run->under[at + (i + k) * step] != 0)) {
                bins[mri_bin_of(v[k])]++;
            }
        }
    }
}

void
mri_bins_count(const mri_bins *b, uint32_t *bins, const mri_bin_run *run)
{
    for (uint64_t r = 0; r < run->lanes.runs; r++) {
        uint64_t at = run->lanes.first + r * run->lanes.jump;

        if (b->kind == MRI_BINS_STORED && run->under != NULL) {
            count_stored_under(bins + MRI_BIN_OF_ZERO, run, at,
                               (size_t)run->lanes.length);
        } else if (b->kind == MRI_BINS_STORED) {
            count_stored(bins + MRI_BIN_OF_ZERO, run, at,
                         (size_t)run->lanes.length);
        } else {
            count_brain(bins, run, at, (size_t)run->lanes.length);
        }
    }
}

void
mri_bins_convert(const mri_bins *b, uint64_t *to, const mri_bins *other,
                 const uint64_t *from)
{
    for (uint32_t i = 0; i < other->count; i++) {
        if (from[i] != 0) {
            to[b->kind == other->kind ? i
                                      : mri_bin_of(mri_bin_value(other, i))] +=
                from[i];
        }
    }
}

static bool
put_varint(mri_bytes *out, uint64_t v)
{
    uint8_t raw[10];
    size_t n = 0;

    while (v >= 0x80) {
        raw[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    raw[n++] = (uint8_t)v;
    return mri_bytes_add(out, raw, n);
}

bool
mri_bins_pack(mri_bytes *out, const mri_bins *b, const uint64_t *count)
{
    uint32_t next = 0;

    for (uint32_t i = 0; i < b->count; i++) {
        if (count[i] == 0) {
            continue;
        }
        if (!put_varint(out, i - next) || !put_varint(out, count[i])) {
            return false;
        }
        next = i + 1;
    }
    return true;
}

static bool
get_varint(uint64_t *v, const uint8_t **p, const uint8_t *end)
{
    *v = 0;
    for (unsigned shift = 0; shift < 64 && *p < end; shift += 7) {
        uint8_t byte = *(*p)++;

        *v |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

bool
mri_bins_unpack(const mri_bins *b, uint64_t *count, const uint8_t *p,
                size_t bytes)
{
    const uint8_t *end = bytes != 0 ? p + bytes : p; /* NULL: nothing */
    uint64_t next = 0, gap, n;

    while (p < end) {
        if (!get_varint(&gap, &p, end) || !get_varint(&n, &p, end) ||
            gap >= b->count || next + gap >= b->count) {
            return false;
        }
        next += gap;
        count[next] += n;
        next++;
    }
    return true;
}

/* As NumPy finds it: in f64, so that a rounding of n * q shows here as it does there. */
uint64_t
mri_percentile_place(unsigned i, uint64_t n)
{
    double at = ceil((double)n * (mr_percent(i) / 100) - 1);

    return at > 0 ? (uint64_t)at : 0;
}

void
mri_percentiles(double out[MR_PERCENTILES], const mri_bins *b,
                const uint64_t *count, uint64_t skip, const mr_moments *range)
{
    uint64_t below = 0, total = 0, left = skip;
    uint32_t k = 0;

    for (uint32_t i = 0; i < b->count; i++) {
        total += count[i];
    }
    total = total > skip ? total - skip : 0;
    for (uint32_t i = 0; k < MR_PERCENTILES && i < b->count; i++) {
        uint64_t n = count[i], taken;
        double v;

        if (n == 0) {
            continue;
        }
        v = mri_bin_value(b, i);
        taken = v == 0 ? (n < left ? n : left) : 0;
        left -= taken;
        below += n - taken;
        v = v < range->min ? range->min : v > range->max ? range->max : v;
        for (; k < MR_PERCENTILES && mri_percentile_place(k, total) < below;
             k++) {
            out[k] = v;
        }
    }
    for (; k < MR_PERCENTILES; k++) {
        out[k] = (double)NAN;
    }
}
