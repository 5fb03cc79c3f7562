/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reference.c - acts one by one over whole planes, as plainly as they can be
 * said. Never fast; what exec.c computes must have these bits.
 */
#include "exec.h"

#include <mri/alloc.h>

#include <math.h>
#include <string.h>

/* All planes of a sample, dense. */
typedef struct planes {
    uint32_t channels;
    uint64_t size[3];
    float *v;
} planes;

static float *
at(const planes *p, uint64_t c, uint64_t z, uint64_t y, uint64_t x)
{
    return &p->v[((c * p->size[0] + z) * p->size[1] + y) * p->size[2] + x];
}

static mr_err
planes_make(planes *p, uint32_t channels, const uint64_t size[3], mr_diag *diag)
{
    p->channels = channels;
    memcpy(p->size, size, sizeof p->size);
    p->v = mri_alloc(channels * size[0] * size[1] * size[2], sizeof *p->v);
    return p->v != NULL ? MR_OK
                        : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static double
half(uint16_t h)
{
    int e = h >> 10 & 31;
    double m = h & 1023, v;

    if (e == 31) {
        return NAN; /* or infinite: not finite either way */
    }
    v = e == 0 ? m * 0x1p-24 : (m + 1024) * 0x1p-24;
    for (int i = 1; i < e; i++) {
        v *= 2;
    }
    return h & 0x8000 ? -v : v;
}

static double
brain(uint16_t b)
{
    uint32_t u = (uint32_t)b << 16;
    float f;

    memcpy(&f, &u, sizeof f);
    return (double)f;
}

static double
stored(const void *p, mr_dtype dtype)
{
    switch (dtype) {
    case MR_U8:
        return *(const uint8_t *)p;
    case MR_I8:
        return *(const int8_t *)p;
    case MR_U16:
        return *(const uint16_t *)p;
    case MR_I16:
        return *(const int16_t *)p;
    case MR_U32:
        return *(const uint32_t *)p;
    case MR_I32:
        return *(const int32_t *)p;
    case MR_U64:
        return (double)*(const uint64_t *)p;
    case MR_I64:
        return (double)*(const int64_t *)p;
    case MR_F16:
        return half(*(const uint16_t *)p);
    case MR_BF16:
        return brain(*(const uint16_t *)p);
    case MR_F32:
        return (double)*(const float *)p;
    case MR_F64:
        return *(const double *)p;
    case MR_NONE:
        break;
    }
    return 0;
}

static mr_err
take_in(planes *p, const mri_pixels *from, mr_diag *diag)
{
    uint64_t size[3] = {from->have[0], from->have[1], from->have[2]};
    mr_err err = planes_make(p, from->channels, size, diag);

    for (uint32_t c = 0; err == MR_OK && c < p->channels; c++) {
        for (uint64_t z = 0; z < size[0]; z++) {
            for (uint64_t y = 0; y < size[1]; y++) {
                for (uint64_t x = 0; x < size[2]; x++) {
                    double v =
                        stored(mri_pixels_at(from, c, z, y, x), from->dtype);
                    float f =
                        (float)(from->scaled ? v * from->slope + from->inter
                                             : v);

                    *at(p, c, z, y, x) = isfinite(f) ? f : 0;
                }
            }
        }
    }
    return err;
}

static float
pointed(const mri_act *act, uint32_t c, float x)
{
    float t;

    switch (act->point) {
    case MRI_POINT_UNIT:
        t = x - act->a[c];
        return t / act->b[c];
    case MRI_POINT_SCALE:
        return x * act->a[c];
    case MRI_POINT_GAIN:
        t = x * act->a[c];
        t = t < act->low ? act->low : t;
        return t > act->high ? act->high : t;
    case MRI_POINT_SOLAR:
        return x > act->low ? 1 - x : x;
    case MRI_POINT_NORM:
        t = x - act->a[c];
        return t * act->b[c];
    case MRI_POINT_ROUND:
        break;
    }
    t = x * act->a[c];
    t = t > 0 ? t : 0;
    t = t > act->high ? act->high : t;
    return (float)rint((double)t);
}

static void
do_point(planes *p, const mri_act *act)
{
    uint64_t n = p->size[0] * p->size[1] * p->size[2];

    for (uint32_t c = 0; c < p->channels; c++) {
        for (uint64_t i = 0; i < n; i++) {
            p->v[c * n + i] = pointed(act, c, p->v[c * n + i]);
        }
    }
}

static mr_err
do_minmax(planes *p, const mri_act *act, mr_diag *diag)
{
    uint64_t n = p->size[0] * p->size[1] * p->size[2];
    float *a = mri_alloc(2 * (size_t)p->channels, sizeof *a);
    mri_act unit = *act;

    if (a == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    for (uint32_t c = 0; c < p->channels; c++) {
        uint64_t first = act->per_sample ? 0 : c * n;
        uint64_t end = act->per_sample ? p->channels * n : first + n;
        float low = p->v[first], high = low;

        for (uint64_t i = first; i < end; i++) {
            low = p->v[i] < low ? p->v[i] : low;
            high = p->v[i] > high ? p->v[i] : high;
        }
        mri_unit_range(&a[c], &a[p->channels + c], low, high);
    }
    unit.a = a;
    unit.b = a + p->channels;
    do_point(p, &unit);
    mri_free(a);
    return MR_OK;
}

/* `to` gets what `act` makes of `p`. */
static void
do_select(planes *to, const planes *p, const mri_act *act)
{
    uint64_t n = p->size[0] * p->size[1] * p->size[2];

    for (uint32_t c = 0; c < to->channels; c++) {
        memcpy(to->v + c * n, p->v + act->map[c] * n, n * sizeof *p->v);
    }
}

static void
do_box(planes *to, const planes *p, const mri_act *act)
{
    for (uint32_t c = 0; c < to->channels; c++) {
        for (uint64_t z = 0; z < to->size[0]; z++) {
            for (uint64_t y = 0; y < to->size[1]; y++) {
                for (uint64_t x = 0; x < to->size[2]; x++) {
                    uint64_t k = (uint64_t)(act->first[0] + (int64_t)z);
                    uint64_t j = (uint64_t)(act->first[1] + (int64_t)y);
                    uint64_t i = (uint64_t)(act->first[2] + (int64_t)x);
                    bool in = k < p->size[0] && j < p->size[1] &&
                              i < p->size[2]; /* below 0 is far above */

                    *at(to, c, z, y, x) = in ? *at(p, c, k, j, i) : act->pad;
                }
            }
        }
    }
}

static void
do_flip(planes *to, const planes *p, const mri_act *act)
{
    for (uint32_t c = 0; c < to->channels; c++) {
        for (uint64_t z = 0; z < to->size[0]; z++) {
            for (uint64_t y = 0; y < to->size[1]; y++) {
                for (uint64_t x = 0; x < to->size[2]; x++) {
                    *at(to, c, z, y, x) =
                        *at(p, c, act->flip[0] ? to->size[0] - 1 - z : z,
                            act->flip[1] ? to->size[1] - 1 - y : y,
                            act->flip[2] ? to->size[2] - 1 - x : x);
                }
            }
        }
    }
}

/* One value of the column pass: row `y` of the result, column x. */
static float
down_at(const planes *p, uint32_t c, const mri_taps *t, uint64_t y, uint64_t x)
{
    const float *w = t->weight + y * t->stride;
    float sum = *at(p, c, 0, t->first[y], x) * w[0];

    for (uint32_t k = 1; k < t->count[y]; k++) {
        sum += *at(p, c, 0, t->first[y] + k, x) * w[k];
    }
    return sum;
}

static mr_err
do_resample(planes *to, const planes *p, const mri_pixels *whole,
            const mri_act *act, mr_diag *diag)
{
    mri_taps down = {0}, along = {0};
    mr_err err = mri_exec_taps(&down, &along, whole, act, diag);

    for (uint32_t c = 0; err == MR_OK && c < to->channels; c++) {
        for (uint64_t y = 0; y < to->size[1]; y++) {
            for (uint64_t x = 0; x < to->size[2]; x++) {
                const float *w = along.weight + x * along.stride;
                float sum = down_at(p, c, &down, y, along.first[x]) * w[0];

                for (uint32_t k = 1; k < along.count[x]; k++) {
                    sum += down_at(p, c, &down, y, along.first[x] + k) * w[k];
                }
                *at(to, c, 0, y, x) = sum;
            }
        }
    }
    mri_taps_release(&down);
    mri_taps_release(&along);
    return err;
}

static float
blurred_down(const planes *p, uint32_t c, const mri_act *act, uint64_t y,
             uint64_t x)
{
    int64_t radius = act->taps / 2;
    float sum = 0;

    for (unsigned k = 0; k < act->taps; k++) {
        uint64_t j = mri_reflect((int64_t)y + (int64_t)k - radius, p->size[1]);
        float term = *at(p, c, 0, j, x) * act->kernel[k];

        sum = k == 0 ? term : sum + term;
    }
    return sum;
}

static void
do_blur(planes *to, const planes *p, const mri_act *act)
{
    int64_t radius = act->taps / 2;

    for (uint32_t c = 0; c < to->channels; c++) {
        for (uint64_t y = 0; y < to->size[1]; y++) {
            for (uint64_t x = 0; x < to->size[2]; x++) {
                float sum = 0;

                for (unsigned k = 0; k < act->taps; k++) {
                    uint64_t i = mri_reflect((int64_t)x + (int64_t)k - radius,
                                             p->size[2]);
                    float term = blurred_down(p, c, act, y, i) * act->kernel[k];

                    sum = k == 0 ? term : sum + term;
                }
                *at(to, c, 0, y, x) = sum;
            }
        }
    }
}

/* The form of what an act makes. */
static mr_err
make_room_for(planes *to, const planes *p, const mri_act *act, mr_diag *diag)
{
    uint64_t size[3] = {p->size[0], p->size[1], p->size[2]};
    uint32_t channels =
        act->kind == MRI_ACT_SELECT ? act->channels : p->channels;

    if (act->kind == MRI_ACT_BOX) {
        memcpy(size, act->size, sizeof size);
    } else if (act->kind == MRI_ACT_RESAMPLE) {
        size[1] = act->out[0];
        size[2] = act->out[1];
    }
    return planes_make(to, channels, size, diag);
}

static mr_err
do_act(planes *p, const mri_pixels *whole, const mri_act *act, mr_diag *diag)
{
    planes to;
    mr_err err;

    if (act->kind == MRI_ACT_POINT) {
        do_point(p, act);
        return MR_OK;
    }
    if (act->kind == MRI_ACT_MINMAX) {
        return do_minmax(p, act, diag);
    }
    err = make_room_for(&to, p, act, diag);
    if (err != MR_OK) {
        return err;
    }
    if (act->kind == MRI_ACT_SELECT) {
        do_select(&to, p, act);
    } else if (act->kind == MRI_ACT_BOX) {
        do_box(&to, p, act);
    } else if (act->kind == MRI_ACT_FLIP) {
        do_flip(&to, p, act);
    } else if (act->kind == MRI_ACT_BLUR) {
        do_blur(&to, p, act);
    } else {
        err = do_resample(&to, p, whole, act, diag);
    }
    mri_free(p->v);
    *p = to;
    return err;
}

static void
give_out(const planes *p, const mri_exec_out *out)
{
    uint64_t n = p->channels * p->size[0] * p->size[1] * p->size[2];

    for (uint64_t i = 0; i < n; i++) {
        if (out->dtype == MR_U8) {
            ((uint8_t *)out->data)[i] = (uint8_t)p->v[i];
        } else if (out->dtype == MR_U16) {
            ((uint16_t *)out->data)[i] = (uint16_t)p->v[i];
        } else {
            ((float *)out->data)[i] = p->v[i];
        }
    }
}

mr_err
mri_exec_reference(const mri_pixels *from, const mri_act *acts, unsigned count,
                   const mri_exec_out *out, mr_diag *diag)
{
    planes p = {0};
    mr_err err = take_in(&p, from, diag);

    for (unsigned i = 0; err == MR_OK && i < count; i++) {
        /* After the first act that moves pixels the size is the planes'. */
        mri_pixels whole = {.have = {p.size[0], p.size[1], p.size[2]},
                            .shrink = from->shrink};

        for (unsigned k = 0; k < i; k++) {
            if (acts[k].kind == MRI_ACT_RESAMPLE) {
                whole.shrink = 1;
            }
        }
        err = do_act(&p, &whole, &acts[i], diag);
    }
    if (err == MR_OK) {
        give_out(&p, out);
    }
    mri_free(p.v);
    return err;
}
