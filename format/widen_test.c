/* SPDX-License-Identifier: Apache-2.0 */
#include "widen.h"

#include <mri/cpu.h>

#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 5, N = 77, STEP = 100 };

static uint64_t stored[ROWS * STEP]; /* room for any type */
static float got[ROWS * STEP], want[ROWS * STEP];

/* f16 from its definition, by powers of two. */
static double
half(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double v = e == 0    ? ldexp(m, -24)
               : e == 31 ? (m != 0 ? NAN : INFINITY)
                         : ldexp(1024 + m, e - 25);

    return h >> 15 != 0 ? -v : v;
}

static double
value(mr_dtype t, size_t i)
{
    const void *p = stored;
    uint32_t u;
    float f;

    switch (t) {
    case MR_U8:
        return ((const uint8_t *)p)[i];
    case MR_I8:
        return ((const int8_t *)p)[i];
    case MR_U16:
        return ((const uint16_t *)p)[i];
    case MR_I16:
        return ((const int16_t *)p)[i];
    case MR_U32:
        return ((const uint32_t *)p)[i];
    case MR_I32:
        return ((const int32_t *)p)[i];
    case MR_U64:
        return (double)((const uint64_t *)p)[i];
    case MR_I64:
        return (double)((const int64_t *)p)[i];
    case MR_F16:
        return half(((const uint16_t *)p)[i]);
    case MR_BF16:
        u = (uint32_t)((const uint16_t *)p)[i] << 16;
        memcpy(&f, &u, sizeof f);
        return f;
    case MR_F32:
        return ((const float *)p)[i];
    default:
        return ((const double *)p)[i];
    }
}

static float
plain(mr_dtype t, size_t i)
{
    const void *p = stored;

    /* Integers of 64 bits are not rounded twice. */
    return t == MR_U64   ? (float)((const uint64_t *)p)[i]
           : t == MR_I64 ? (float)((const int64_t *)p)[i]
                         : (float)value(t, i);
}

static void
check(mr_dtype t, const mri_scale *s)
{
    size_t element = mr_dtype_bytes(t);
    bool scaled = s->slope != 1 || s->inter != 0;
    mri_plane_rows rows = {.to = (uint8_t *)got,
                           .from = (const uint8_t *)stored,
                           .to_step = STEP * 4,
                           .from_step = (ptrdiff_t)((N + 3) * element),
                           .rows = ROWS,
                           .n = N};

    memset(got, 0x77, sizeof got);
    memset(want, 0x77, sizeof want);
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t i = 0; i < N; i++) {
            size_t at = row * (N + 3) + i;
            double v = value(t, at) * s->slope;

            want[row * STEP + i] =
                scaled ? (float)(v + s->inter) : plain(t, at);
        }
    }
    mri_widen_rows(&rows, t, s);
    for (size_t i = 0; i < ROWS * STEP; i++) {
        bool both_nan = isnan(got[i]) && isnan(want[i]);

        if (!both_nan && memcmp(&got[i], &want[i], sizeof *got) != 0) {
            fail_msg("%s, value %zu: %a, not %a", mr_dtype_name(t), i,
                     (double)got[i], (double)want[i]);
        }
    }
}

static void
every_type_is_widened_alike_at_every_level(void **state)
{
    static const mri_scale scales[] = {{1, 0}, {0.37, -1024.5}, {1, 3}};
    uint64_t seed = 3;

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < MRI_COUNT(stored); i++) {
            stored[i] = scratch_random(&seed);
        }
        for (int level = 0; level <= (int)mri_cpu(); level++) {
            mri_cpu_force(level);
            for (mr_dtype t = MR_U8; t <= MR_F64; t++) {
                for (size_t k = 0; k < MRI_COUNT(scales); k++) {
                    check(t, &scales[k]);
                }
            }
            mri_cpu_force(-1);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_widened_alike_at_every_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
