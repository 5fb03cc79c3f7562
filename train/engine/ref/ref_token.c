/* SPDX-License-Identifier: Apache-2.0 */
/* ref_token.c - from pictures to sequences of tokens, and what picks them. */
#include "ref/ref.h"

#include <mri/rng.h>

/* One picture to its rows of patches. */
static void
patchify_one(const mri_patchify_args *a, const mr_tensor *image, uint64_t n,
             uint64_t row)
{
    uint64_t c = image->shape[1], h = image->shape[2], w = image->shape[3];
    uint64_t p = a->patch, wide = w / p;

    for (uint64_t ch = 0; ch < c; ch++) {
        for (uint64_t y = 0; y < h; y++) {
            for (uint64_t x = 0; x < w; x++) {
                uint64_t patch = y / p * wide + x / p;
                uint64_t in = (ch * p + y % p) * p + x % p;

                ref_set(&a->y, (row + patch) * c * p * p + in,
                        ref_get(image, ((n * c + ch) * h + y) * w + x));
            }
        }
    }
}

mr_err
mri_ref_patchify(mri_exec *exec, const mri_patchify_args *a)
{
    (void)exec;
    for (uint64_t s = 0; s < mri_seqs_count(&a->seqs); s++) {
        mri_seq seq = mri_seqs_at(&a->seqs, s);

        patchify_one(a, &a->image[seq.group], seq.in_group, seq.row);
    }
    return MR_OK;
}

/* y holds one row more a sequence than x: sequence s begins s rows later. */
mr_err
mri_ref_tokens(mri_exec *exec, const mri_tokens_args *a)
{
    uint64_t d = a->y.shape[1];

    (void)exec;
    for (uint64_t s = 0; s < mri_seqs_count(&a->seqs); s++) {
        mri_seq seq = mri_seqs_at(&a->seqs, s);

        for (uint64_t t = 0; t < seq.tokens; t++) {
            for (uint64_t j = 0; j < d; j++) {
                double v = t == 0
                               ? ref_get(&a->cls, j)
                               : ref_get(&a->x, (seq.row - s + t - 1) * d + j);

                ref_set(&a->y, (seq.row + t) * d + j,
                        v + ref_get(&a->pos[seq.group], t * d + j));
            }
        }
    }
    return MR_OK;
}

/* The sum over the sequences of group g of element j of token t. */
static double
sum_over_group(const mri_tokens_back_args *a, uint32_t g, uint64_t t,
               uint64_t j)
{
    double sum = 0;

    for (uint64_t s = 0; s < mri_seqs_count(&a->seqs); s++) {
        mri_seq seq = mri_seqs_at(&a->seqs, s);

        if (seq.group == g) {
            sum += ref_get(&a->dy, (seq.row + t) * a->dy.shape[1] + j);
        }
    }
    return sum;
}

mr_err
mri_ref_tokens_back(mri_exec *exec, const mri_tokens_back_args *a)
{
    uint64_t d = a->dy.shape[1];

    (void)exec;
    for (uint64_t s = 0; s < mri_seqs_count(&a->seqs); s++) {
        mri_seq seq = mri_seqs_at(&a->seqs, s);

        for (uint64_t i = 0; i < (seq.tokens - 1) * d; i++) {
            ref_set(&a->dx, (seq.row - s) * d + i,
                    ref_get(&a->dy, (seq.row + 1) * d + i));
        }
    }
    for (uint64_t j = 0; mri_there(&a->dcls) && j < d; j++) {
        double sum = 0;

        for (uint32_t g = 0; g < a->seqs.groups; g++) {
            sum += sum_over_group(a, g, 0, j);
        }
        ref_give(&a->dcls, j, sum, a->add);
    }
    for (uint32_t g = 0; g < a->seqs.groups; g++) {
        uint64_t len = mri_there(&a->dpos[g]) ? a->seqs.tokens[g] * d : 0;

        for (uint64_t i = 0; i < len; i++) {
            ref_give(&a->dpos[g], i, sum_over_group(a, g, i / d, i % d),
                     a->add_pos[g]);
        }
    }
    return MR_OK;
}

mr_err
mri_ref_mix(mri_exec *exec, const mri_mix_args *a)
{
    uint64_t rows = a->y.shape[0], d = a->y.shape[1], inner = a->x.shape[0];

    (void)exec;
    for (uint64_t i = 0; i < rows; i++) {
        for (uint64_t j = 0; j < d; j++) {
            double sum = 0;

            for (uint64_t l = 0; l < inner; l++) {
                uint64_t at = a->transposed ? l * rows + i : i * inner + l;

                sum += ref_get(&a->m, at) * ref_get(&a->x, l * d + j);
            }
            ref_give(&a->y, i * d + j, sum, a->add);
        }
    }
    return MR_OK;
}

mr_err
mri_ref_pick(mri_exec *exec, const mri_pick_args *a)
{
    uint64_t d = a->x.shape[1];

    (void)exec;
    for (uint64_t s = 0; s < mri_seqs_count(&a->seqs); s++) {
        for (uint64_t j = 0; j < d; j++) {
            ref_set(&a->y, s * d + j,
                    ref_get(&a->x, mri_seqs_at(&a->seqs, s).row * d + j));
        }
    }
    return MR_OK;
}

mr_err
mri_ref_pick_back(mri_exec *exec, const mri_pick_back_args *a)
{
    uint64_t d = a->dx.shape[1];

    (void)exec;
    for (uint64_t i = 0; i < mr_tensor_len(&a->dx); i++) {
        ref_set(&a->dx, i, 0);
    }
    for (uint64_t s = 0; s < mri_seqs_count(&a->seqs); s++) {
        for (uint64_t j = 0; j < d; j++) {
            ref_set(&a->dx, mri_seqs_at(&a->seqs, s).row * d + j,
                    ref_get(&a->dy, s * d + j));
        }
    }
    return MR_OK;
}

mr_err
mri_ref_drop(mri_exec *exec, const mri_drop_args *a)
{
    const uint32_t *clock = a->clock.data;
    uint64_t out = 0;
    uint32_t view = 0;

    (void)exec;
    for (uint32_t g = 0; g < a->seqs.groups; g++) {
        for (uint32_t s = 0; s < a->seqs.count[g]; s++) {
            uint32_t counter[4] = {clock[2], clock[3] + s / a->seqs.views[g],
                                   a->key, view + s % a->seqs.views[g]};
            uint32_t word[4];
            double unit;

            mri_philox(word, counter, clock);
            unit = (double)(word[0] >> 8) * 0x1p-24;
            ref_set(&a->y, out++,
                    unit < 1.0 - a->rate ? 1.0 / (1.0 - a->rate) : 0.0);
        }
        view += a->seqs.views[g];
    }
    return MR_OK;
}
