/* SPDX-License-Identifier: Apache-2.0 */
/* delta.c - differences of neighbours, their signs folded into bit 0. */
#include "delta.h"

#include "delta_simd.h"

#include <mri/cpu.h>

#include <string.h>

/* The sign goes to bit 0 and flips the others: -1 is 1, 1 is 2, -2 is 3. */
#define DELTA(number)                                                          \
    static void delta_##number(uint8_t *out, const uint8_t *in, size_t n)      \
    {                                                                          \
        const size_t size = sizeof(number);                                    \
        number last = 0;                                                       \
                                                                               \
        for (size_t i = 0; i < n; i++) {                                       \
            number v, d, sign;                                                 \
                                                                               \
            memcpy(&v, in + i * size, size);                                   \
            d = (number)(v - last);                                            \
            sign = (number)(0 - (d >> (8 * size - 1)));                        \
            d = (number)((number)(d << 1) ^ sign);                             \
            memcpy(out + i * size, &d, size);                                  \
            last = v;                                                          \
        }                                                                      \
    }
DELTA(uint8_t)
DELTA(uint16_t)
DELTA(uint32_t)
DELTA(uint64_t)

void
mri_delta(uint8_t *out, const uint8_t *in, size_t n, unsigned element)
{
    switch (element) {
    case 1:
        delta_uint8_t(out, in, n);
        break;
    case 2:
        delta_uint16_t(out, in, n);
        break;
    case 4:
        delta_uint32_t(out, in, n);
        break;
    default:
        delta_uint64_t(out, in, n);
        break;
    }
}

void
mri_undelta(uint8_t *data, size_t n, unsigned element)
{
    static mri_undelta_fn *const at_level[] = MRI_LEVELS(mri_undelta_at);

    at_level[mri_cpu()](data, n, element);
}
