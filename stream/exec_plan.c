/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec_plan.c - what acts need of a picture: which part of it, at which size,
 * with which weights. Shared by both ways of carrying them out.
 */
#include "exec.h"

#include <math.h>

/* Acts that change each value by itself, without knowing the whole. */
static bool
in_place(const mri_act *act)
{
    return act->kind == MRI_ACT_SELECT || act->kind == MRI_ACT_POINT;
}

void
mri_exec_needs(const mri_act *acts, unsigned count, const uint64_t size[3],
               uint64_t first[3], uint64_t need[3])
{
    unsigned i = 0;

    while (i < count && in_place(&acts[i])) {
        i++;
    }
    for (unsigned k = 0; k < 3; k++) {
        first[k] = 0;
        need[k] = size[k];
        if (i < count &&
            (acts[i].kind == MRI_ACT_BOX || acts[i].kind == MRI_ACT_RESAMPLE)) {
            int64_t from = acts[i].first[k], end;

            end = from + (int64_t)acts[i].size[k];
            from = from < 0 ? 0 : from; /* what lies outside is padding */
            end = end > (int64_t)size[k] ? (int64_t)size[k] : end;
            first[k] = (uint64_t)from;
            need[k] = (uint64_t)(end - from);
        }
    }
}

unsigned
mri_exec_shrink(const mri_act *acts, unsigned count)
{
    unsigned i = 0, shrink = 8;

    while (i < count && in_place(&acts[i]) &&
           (acts[i].kind == MRI_ACT_SELECT || acts[i].point == MRI_POINT_UNIT ||
            acts[i].point == MRI_POINT_SCALE ||
            acts[i].point == MRI_POINT_NORM)) {
        i++;
    }
    if (i == count || acts[i].kind != MRI_ACT_RESAMPLE || !acts[i].antialias ||
        acts[i].filter == MRI_FILTER_NEAREST) {
        return 1;
    }
    while (shrink > 1 && (2 * acts[i].size[1] < 3 * acts[i].out[0] * shrink ||
                          2 * acts[i].size[2] < 3 * acts[i].out[1] * shrink)) {
        shrink /= 2;
    }
    return shrink;
}

static mri_span
span_of(const mri_pixels *from, const mri_act *act, unsigned axis)
{
    double shrink = from->shrink;
    double start = (double)act->first[axis] / shrink;
    double length = (double)act->size[axis] / shrink;
    uint64_t end = from->first[axis] + from->have[axis];
    mri_span s = {.start = start,
                  .length = length,
                  .low = (uint64_t)floor(start),
                  .high = (uint64_t)ceil(start + length),
                  .n = act->out[axis - 1]};

    s.high = s.high < end ? s.high : end;
    return s;
}

mr_err
mri_exec_taps(mri_taps *down, mri_taps *along, const mri_pixels *from,
              const mri_act *act, mr_diag *diag)
{
    mri_span y = span_of(from, act, 1), x = span_of(from, act, 2);
    mr_err err = mri_taps_make(down, &y, act->filter, act->antialias, diag);

    return err == MR_OK
               ? mri_taps_make(along, &x, act->filter, act->antialias, diag)
               : err;
}

uint64_t
mri_reflect(int64_t i, uint64_t n)
{
    int64_t last = (int64_t)n - 1;

    i = i < 0 ? -i : i;
    return (uint64_t)(i > last ? 2 * last - i : i);
}
