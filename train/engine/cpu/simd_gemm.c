/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simd_gemm.c - products of small matrices, for attention; transposition.
 *
 * A block of MR rows and NR vectors of the result stays in registers while
 * the common dimension is walked: each step loads NR vectors of b and
 * broadcasts MR numbers of a. Big products are oneDNN's; these are too small
 * for a call to pay, and lie in steps that it is slow with.
 */
#include "cpu/kernels.h"
#include "cpu/vec.h"

#if VL == 16
#define MR 6
#define NR 4
#else /* sixteen registers */
#define MR 4
#define NR 2
#endif

/* The block at (i, j): `rows` <= MR rows, whole vectors of columns. */
static inline __attribute__((always_inline)) void
block(const cpu_product *p, size_t i, size_t j, size_t rows, size_t vectors)
{
    const float *a = p->a + i * p->a_row;
    const float *b = p->b + j;
    float *c = p->c + i * p->c_row + j;
    vf sum[MR][NR];

    for (size_t r = 0; r < rows; r++) {
        for (size_t v = 0; v < vectors; v++) {
            sum[r][v] = p->add ? vf_load(c + r * p->c_row + v * VL) : (vf){0};
        }
    }
    for (size_t l = 0; l < p->k; l++) {
        vf line[NR];

        for (size_t v = 0; v < vectors; v++) {
            line[v] = vf_load(b + l * p->b_row + v * VL);
        }
        for (size_t r = 0; r < rows; r++) {
            float x = a[r * p->a_row + l * p->a_column];

            for (size_t v = 0; v < vectors; v++) {
                sum[r][v] += x * line[v];
            }
        }
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t v = 0; v < vectors; v++) {
            vf_store(c + r * p->c_row + v * VL, sum[r][v]);
        }
    }
}

/* All rows of `vectors` vectors of columns; the count is known to the
 * compiler, so that the block lies in registers. */
static inline __attribute__((always_inline)) void
stripe(const cpu_product *p, size_t j, size_t vectors)
{
    size_t i = 0;

    for (; i + MR <= p->m; i += MR) {
        block(p, i, j, MR, vectors);
    }
    for (; i + 2 <= p->m; i += 2) {
        block(p, i, j, 2, vectors);
    }
    if (i < p->m) {
        block(p, i, j, 1, vectors);
    }
}

/* The last columns, less than a vector. */
static void
edge(const cpu_product *p, size_t j)
{
    size_t n = p->n - j;

    for (size_t i = 0; i < p->m; i++) {
        float *c = p->c + i * p->c_row + j;
        vf sum = p->add ? vf_load_part(c, n, 0) : (vf){0};

        for (size_t l = 0; l < p->k; l++) {
            sum += p->a[i * p->a_row + l * p->a_column] *
                   vf_load_part(p->b + l * p->b_row + j, n, 0);
        }
        vf_store_part(c, sum, n);
    }
}

static void
product(const cpu_product *p)
{
    size_t j = 0;

    for (; j + NR * VL <= p->n; j += NR * VL) {
        stripe(p, j, NR);
    }
#if NR == 4
    if (j + 2 * VL <= p->n) {
        stripe(p, j, 2);
        j += 2 * VL;
    }
#endif
    if (j + VL <= p->n) {
        stripe(p, j, 1);
        j += VL;
    }
    if (j < p->n) {
        edge(p, j);
    }
}

static inline v4
v4_load(const float *p)
{
    v4 v;

    memcpy(&v, p, sizeof v);
    return v;
}

/* Four by four: pairs of rows interleaved, then pairs of those. */
static inline void
transpose4(float *to, size_t to_row, const float *from, size_t from_row)
{
    v4 a = v4_load(from), b = v4_load(from + from_row);
    v4 c = v4_load(from + 2 * from_row), d = v4_load(from + 3 * from_row);
    v4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    v4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    v4 ef = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    v4 gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    v4 rows[4] = {__builtin_shufflevector(ab, cd, 0, 1, 4, 5),
                  __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
                  __builtin_shufflevector(ef, gh, 0, 1, 4, 5),
                  __builtin_shufflevector(ef, gh, 2, 3, 6, 7)};

    for (size_t i = 0; i < 4; i++) {
        memcpy(to + i * to_row, &rows[i], sizeof rows[i]);
    }
}

/* In stripes of four rows of the result. */
static void
transpose(float *to, size_t to_row, const float *from, size_t from_row,
          size_t rows, size_t columns)
{
    size_t c = 0;

    for (; c + 4 <= columns; c += 4) {
        size_t r = 0;

        for (; r + 4 <= rows; r += 4) {
            transpose4(to + c * to_row + r, to_row, from + r * from_row + c,
                       from_row);
        }
        for (; r < rows; r++) {
            for (size_t i = c; i < c + 4; i++) {
                to[i * to_row + r] = from[r * from_row + i];
            }
        }
    }
    for (; c < columns; c++) {
        for (size_t r = 0; r < rows; r++) {
            to[c * to_row + r] = from[r * from_row + c];
        }
    }
}

static float
dot(const float *a, const float *b, size_t n)
{
    vf sum[4] = {{0}};
    size_t i = 0;

    for (; i + 4 * VL <= n; i += 4 * VL) {
        for (size_t v = 0; v < 4; v++) {
            sum[v] += vf_load(a + i + v * VL) * vf_load(b + i + v * VL);
        }
    }
    for (; i + VL <= n; i += VL) {
        sum[0] += vf_load(a + i) * vf_load(b + i);
    }
    if (i < n) {
        sum[1] += vf_load_part(a + i, n - i, 0) * vf_load_part(b + i, n - i, 0);
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static float
sum_of(const float *a, size_t n)
{
    vf sum[4] = {{0}};
    size_t i = 0;

    for (; i + 4 * VL <= n; i += 4 * VL) {
        for (size_t v = 0; v < 4; v++) {
            sum[v] += vf_load(a + i + v * VL);
        }
    }
    for (; i + VL <= n; i += VL) {
        sum[0] += vf_load(a + i);
    }
    if (i < n) {
        sum[1] += vf_load_part(a + i, n - i, 0);
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

const cpu_gemm_kernels MRI_AT_LEVEL(cpu_gemm) = {
    .product = product, .transpose = transpose, .dot = dot, .sum = sum_of};
