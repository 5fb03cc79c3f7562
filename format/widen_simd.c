/* SPDX-License-Identifier: Apache-2.0 */
/*
 * widen_simd.c - compiled once a level; plain loops for the compiler's
 * vectoriser. Products and sums are never fused (settled rule 7).
 */
#include "widen_simd.h"

#include <mri/cpu.h>
#include <mri/half.h>

#include <stdbool.h>

#define widen_at MRI_AT_LEVEL(mri_widen_at)

/* `plain` is exact, or rounds to f32 once; so is `wide` with f64. */
#define WIDEN(name, type, plain, wide)                                         \
    static void name(const mri_plane_rows *r, const mri_scale *s)              \
    {                                                                          \
        bool scaled = s->slope != 1 || s->inter != 0;                          \
        double slope = s->slope, inter = s->inter;                             \
        const uint8_t *from = r->from;                                         \
        uint8_t *to = r->to;                                                   \
        size_t n = r->n;                                                       \
                                                                               \
        for (size_t row = 0; row < r->rows; row++) {                           \
            const type *restrict in = (const void *)from;                      \
            float *restrict out = (void *)to;                                  \
                                                                               \
            for (size_t i = 0; scaled && i < n; i++) {                         \
                out[i] = (float)(wide(in[i]) * slope + inter);                 \
            }                                                                  \
            for (size_t i = 0; !scaled && i < n; i++) {                        \
                out[i] = (float)plain(in[i]);                                  \
            }                                                                  \
            from += r->from_step;                                              \
            to += r->to_step;                                                  \
        }                                                                      \
    }
WIDEN(of_u8, uint8_t, (int32_t), (double))
WIDEN(of_i8, int8_t, (int32_t), (double))
WIDEN(of_u16, uint16_t, (int32_t), (double))
WIDEN(of_i16, int16_t, (int32_t), (double))
WIDEN(of_u32, uint32_t, (uint32_t), (double))
WIDEN(of_i32, int32_t, (int32_t), (double))
WIDEN(of_u64, uint64_t, (uint64_t), (double))
WIDEN(of_i64, int64_t, (int64_t), (double))
WIDEN(of_f16, uint16_t, mri_f16_to_f32, (double)mri_f16_to_f32)
WIDEN(of_bf16, uint16_t, mri_bf16_to_f32, (double)mri_bf16_to_f32)
WIDEN(of_f32, float, (float), (double))
WIDEN(of_f64, double, (double), (double))

void
widen_at(const mri_plane_rows *r, mr_dtype dtype, const mri_scale *s)
{
    switch (dtype) {
    case MR_U8:
        of_u8(r, s);
        break;
    case MR_I8:
        of_i8(r, s);
        break;
    case MR_U16:
        of_u16(r, s);
        break;
    case MR_I16:
        of_i16(r, s);
        break;
    case MR_U32:
        of_u32(r, s);
        break;
    case MR_I32:
        of_i32(r, s);
        break;
    case MR_U64:
        of_u64(r, s);
        break;
    case MR_I64:
        of_i64(r, s);
        break;
    case MR_F16:
        of_f16(r, s);
        break;
    case MR_BF16:
        of_bf16(r, s);
        break;
    case MR_F32:
        of_f32(r, s);
        break;
    case MR_F64:
        of_f64(r, s);
        break;
    case MR_NONE:
        break; /* checked by all who come here */
    }
}
