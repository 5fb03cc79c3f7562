/* SPDX-License-Identifier: Apache-2.0 */
/* shuffle.c - choose the loop for this CPU. */
#include "shuffle.h"

#include "shuffle_simd.h"

#include <mri/cpu.h>

void
mri_shuffle(uint8_t *out, const uint8_t *in, size_t n, unsigned element)
{
    static mri_shuffle_fn *const at_level[] = MRI_LEVELS(mri_shuffle_at);

    at_level[mri_cpu()](out, in, n, element);
}

void
mri_unshuffle_rows(const mri_plane_rows *rows, unsigned element)
{
    static mri_unshuffle_fn *const at_level[] = MRI_LEVELS(mri_unshuffle_at);

    at_level[mri_cpu()](rows, element);
}

void
mri_unshuffle(uint8_t *out, const uint8_t *in, size_t n, unsigned element)
{
    const mri_plane_rows all = {
        .to = out, .from = in, .rows = 1, .n = n, .plane = n};

    mri_unshuffle_rows(&all, element);
}
