/* SPDX-License-Identifier: Apache-2.0 */
/* ref_optim.c - clipping, AdamW and the moving average. */
#include "ref/ref.h"

mr_err
mri_ref_sumsq(mri_exec *exec, const mri_sumsq_args *a)
{
    const uint64_t *span = a->spans.data;

    (void)exec;
    for (uint64_t t = 0; t < a->spans.shape[0]; t++) {
        double sum = 0;

        for (uint64_t i = span[2 * t]; i < span[2 * t] + span[2 * t + 1]; i++) {
            sum += ref_get(&a->x, i) * ref_get(&a->x, i);
        }
        ref_set(&a->y, t, sum);
    }
    return MR_OK;
}

/* Element i, of tensor t, whose gradient is scaled by `clip`. */
static void
update(const mri_adamw_args *a, uint64_t t, uint64_t i, double clip)
{
    double lr = ref_get(&a->rates, 4 * t),
           decay = ref_get(&a->rates, 4 * t + 1);
    double fix1 = ref_get(&a->rates, 4 * t + 2);
    double fix2 = ref_get(&a->rates, 4 * t + 3);
    double g = ref_get(&a->g, i) * clip;
    double m = a->beta1 * ref_get(&a->m, i) + (1.0 - a->beta1) * g;
    double v = a->beta2 * ref_get(&a->v, i) + (1.0 - a->beta2) * g * g;
    double p = ref_get(&a->p, i) * (1.0 - decay);

    ref_set(&a->m, i, m);
    ref_set(&a->v, i, v);
    ref_set(&a->p, i, p - lr * fix1 * m / (sqrt(v) * fix2 + a->eps));
}

mr_err
mri_ref_adamw(mri_exec *exec, const mri_adamw_args *a)
{
    const uint64_t *span = a->spans.data;

    (void)exec;
    for (uint64_t t = 0; t < a->spans.shape[0]; t++) {
        double norm = sqrt(ref_get(&a->sumsq, t));
        double clip = a->clip > 0 ? fmin(1.0, a->clip / (norm + 1e-6)) : 1.0;
        bool frozen = ref_get(&a->rates, 4 * t + 2) == 0;

        for (uint64_t i = span[2 * t]; i < span[2 * t] + span[2 * t + 1]; i++) {
            if (!frozen) {
                update(a, t, i, clip);
            }
            if (mri_there(&a->ema)) {
                ref_set(&a->ema, i,
                        ref_get(&a->keep, 0) * ref_get(&a->ema, i) +
                            ref_get(&a->keep, 1) * ref_get(&a->p, i));
            }
        }
    }
    return MR_OK;
}
