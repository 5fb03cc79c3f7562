/* SPDX-License-Identifier: Apache-2.0 */
/* moments.c - count, range, sum and sum of squares. */
#include "moments.h"

#include "moments_simd.h"

#include <mri/cpu.h>

#include <math.h>

#define SUM_BOUND 1e-9 /* relative: far above what an order of sums can do */

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

mri_lanes
mri_lanes_of(const char *axes, unsigned ndim, const uint64_t *dims,
             uint32_t channel)
{
    mri_lanes l = {.runs = 1, .length = 1, .step = 1};
    uint64_t inner = 1;
    bool found = false;

    for (unsigned i = ndim; i-- > 0;) {
        if (axes[i] == 'C' && !found) {
            found = true;
            l.first = channel * inner;
            l.jump = dims[i] * inner;
        } else if (found) {
            l.runs *= dims[i];
        } else {
            inner *= dims[i];
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

void
mri_tally_init(mri_tally *t)
{
    *t = (mri_tally){.low = INFINITY, .high = -INFINITY};
}

/* Knuth's two-sum: sum[0] + sum[1] + v without loss in sum[0]. */
static void
add_exactly(double sum[2], double v)
{
    double s = sum[0] + v, part = s - sum[0];

    if (isfinite(s)) {
        sum[1] += (sum[0] - (s - part)) + (v - part);
    }
    sum[0] = s;
}

void
mri_tally_add(mri_tally *t, const double *v, size_t n)
{
    static mri_sums_fn *const at_level[] = MRI_LEVELS(mri_sums_at);
    mri_sums s;

    at_level[mri_cpu()](&s, v, n);
    t->count += s.finite;
    t->non_finite += n - s.finite;
    t->nonzero += s.nonzero;
    t->low = s.low < t->low ? s.low : t->low;
    t->high = s.high > t->high ? s.high : t->high;
    add_exactly(t->sum, s.sum);
    add_exactly(t->squares, s.squares);
}

void
mri_tally_end(const mri_tally *t, mr_moments *all, mr_moments *nonzero)
{
    *all = *nonzero = (mr_moments){0};
    if (t->nonzero != 0) {
        *nonzero =
            (mr_moments){t->nonzero, t->low, t->high, t->sum[0] + t->sum[1],
                         t->squares[0] + t->squares[1]};
        *all = *nonzero;
    }
    all->count = t->count;
    if (t->nonzero != t->count) { /* zero is one of them */
        all->min = all->min < 0 ? all->min : 0;
        all->max = all->max > 0 ? all->max : 0;
    }
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

static bool
near(double a, double b, double size)
{
    return a == b || fabs(a - b) <= SUM_BOUND * size || (a != a && b != b);
}

bool
mri_moments_agree(const mr_moments *a, const mr_moments *b)
{
    return a->count == b->count && a->min == b->min && a->max == b->max &&
           near(a->sum, b->sum, sqrt((double)b->count * b->sum_squares)) &&
           near(a->sum_squares, b->sum_squares, b->sum_squares);
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
