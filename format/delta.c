/* SPDX-License-Identifier: Apache-2.0 */
/* delta.c - differences of neighbours, their signs folded into bit 0. */
#include "delta.h"

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
    }                                                                          \
                                                                               \
    static void undelta_##number(uint8_t *data, size_t n)                      \
    {                                                                          \
        const size_t size = sizeof(number);                                    \
        number last = 0;                                                       \
                                                                               \
        for (size_t i = 0; i < n; i++) {                                       \
            number d;                                                          \
                                                                               \
            memcpy(&d, data + i * size, size);                                 \
            last = (number)(last + ((d >> 1) ^ (number)(0 - (d & 1))));        \
            memcpy(data + i * size, &last, size);                              \
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
    switch (element) {
    case 1:
        undelta_uint8_t(data, n);
        break;
    case 2:
        undelta_uint16_t(data, n);
        break;
    case 4:
        undelta_uint32_t(data, n);
        break;
    default:
        undelta_uint64_t(data, n);
        break;
    }
}
