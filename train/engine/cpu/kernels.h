/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels.h - the loops under the CPU's operations, once a SIMD level.
 *
 * A kernel works on plain rows on one thread; who divides the work is the
 * operation's business (cpu_*.c). Pointers need no alignment, lengths may be
 * anything. Sums are made in a fixed order for a level.
 */
#ifndef CPU_KERNELS_H
#define CPU_KERNELS_H

#include <mri/cpu.h>

#include <stddef.h>
#include <stdint.h>

/* A product of small matrices, c = a b or c += a b, where a may lie in any
 * way and the rows of b and c are contiguous. */
typedef struct cpu_product {
    size_t m, n, k;
    const float *a;
    size_t a_row, a_column; /* steps in a */
    const float *b;
    size_t b_row;
    float *c;
    size_t c_row;
    bool add;
} cpu_product;

/* simd_gemm.c */
typedef struct cpu_gemm_kernels {
    void (*product)(const cpu_product *p);
    /* to [columns, rows] = from [rows, columns], transposed */
    void (*transpose)(float *to, size_t to_row, const float *from,
                      size_t from_row, size_t rows, size_t columns);
    float (*dot)(const float *a, const float *b, size_t n);
    float (*sum)(const float *a, size_t n);
} cpu_gemm_kernels;

/* simd_norm.c */
typedef struct cpu_norm_row {
    const float *x, *z; /* z may be NULL: no residual sum */
    float drop;
    float *sum; /* written if z is not NULL */
    const float *gamma, *beta;
    float *y;
    float eps;
    float mean, rstd; /* out */
} cpu_norm_row;

typedef struct cpu_norm_row_back {
    const float *dy, *dsum, *sum; /* dsum may be NULL */
    float mean, rstd, drop;
    const float *gamma;
    float *dx, *dz;        /* dz may be NULL */
    float *dgamma, *dbeta; /* added to; both may be NULL */
} cpu_norm_row_back;

typedef struct cpu_norm_kernels {
    void (*row)(cpu_norm_row *r, size_t d);
    void (*row_back)(const cpu_norm_row_back *r, size_t d);
    /* y = a x, y += a x, y = x + z */
    void (*scale)(float *y, const float *x, float a, size_t n);
    void (*axpy)(float *y, const float *x, float a, size_t n);
    void (*add)(float *y, const float *x, const float *z, size_t n);
} cpu_norm_kernels;

/* simd_exp.c; a > 0 */
typedef struct cpu_exp_kernels {
    void (*gelu)(float *y, const float *x, size_t n);
    /* dx *= gelu'(x), y = gelu(x) */
    void (*gelu_back)(float *dx, float *y, const float *x, size_t n);
    /* x = exp(a x - log sum), in place; returns the log of the sum */
    float (*softmax)(float *x, float a, size_t n);
    /* x = exp(a x - lse), in place */
    void (*exp_of)(float *x, float a, float lse, size_t n);
    /* log of the sum of exp(a (x - c)); c may be NULL */
    float (*log_sum_exp)(const float *x, const float *c, float a, size_t n);
    /* y += exp(a (x - c) - lse); c may be NULL */
    void (*add_exp)(float *y, const float *x, const float *c, float a,
                    float lse, size_t n);
    /* sum of t (lse - a x), in blocks */
    double (*cross)(const float *t, const float *x, float a, float lse,
                    size_t n);
} cpu_exp_kernels;

/* simd_arena.c */
typedef struct cpu_adamw {
    float *p, *m, *v, *ema; /* ema may be NULL */
    const float *g;
    float clip, beta1, rest1, beta2, rest2, eps; /* rest: 1 - beta */
    float keep, rest;
    float rates[4]; /* op.h */
} cpu_adamw;

typedef struct cpu_arena_kernels {
    double (*sumsq)(const float *x, size_t n);
    void (*adamw)(const cpu_adamw *a, size_t first, size_t n);
} cpu_arena_kernels;

/* Those of the level that mri_cpu() allows now. */
typedef struct cpu_kernels {
    cpu_gemm_kernels gemm;
    cpu_norm_kernels norm;
    cpu_exp_kernels exp;
    cpu_arena_kernels arena;
} cpu_kernels;
cpu_kernels cpu_kernels_now(void);

/* What each file exports at each level. */
#define CPU_KERNEL_TABLES(level)                                               \
    extern const cpu_gemm_kernels cpu_gemm_##level;                            \
    extern const cpu_norm_kernels cpu_norm_##level;                            \
    extern const cpu_exp_kernels cpu_exp_##level;                              \
    extern const cpu_arena_kernels cpu_arena_##level;
CPU_KERNEL_TABLES(scalar)
CPU_KERNEL_TABLES(sse2)
CPU_KERNEL_TABLES(avx2)
CPU_KERNEL_TABLES(avx512)

#endif
