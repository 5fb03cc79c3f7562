/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm.c - products of matrices by cuBLASLt.
 *
 * Which of its kernels to run is asked once a shape and kept: the answer is a
 * function of shape, alignment and device, so equal shapes have equal bits.
 * Sums that are cut are only allowed to be added in a second pass, out of
 * place. Everything is f32: no TF32 (CUBLAS_COMPUTE_32F).
 *
 * cuBLASLt thinks in columns: a row-major [m,n] is its [n,m]. So c' = b' a',
 * and a matrix that is not turned here is not turned there.
 */
#include "cuda.h"

#include <cublasLt.h> /* emu/ has one of its own */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TABLE 128 /* lists of shapes; a network has some sixty */

typedef struct shape {
    uint64_t m, n, k;
    uint32_t align; /* bytes that all pointers are a multiple of */
    uint32_t turn_a, turn_b, add, bias;
} shape;

typedef struct plan {
    shape key;
    bool own; /* cuBLASLt has nothing for it */
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t first, second, result; /* b, a, c */
    cublasLtMatmulAlgo_t algo;
    struct plan *next; /* of the same hash */
} plan;

struct cuda_gemms {
    cublasLtHandle_t handle;
    void *work;
    plan *table[TABLE];
};

static mr_err
check(cuda_exec *e, cublasStatus_t s, const char *what)
{
    return s == CUBLAS_STATUS_SUCCESS
               ? MR_OK
               : cuda_fail(e, MRI_E_DEVICE, "%s on %s: cuBLASLt says %s", what,
                           e->info.name, cublasLtGetStatusName(s));
}

/* ------------------------------------------------------------- the cache */

mr_err
cuda_gemms_open(cuda_gemms **out, cuda_exec *e)
{
    cuda_gemms *g = cuda_host.alloc(1, sizeof *g);
    mr_err err;

    *out = NULL;
    if (g == NULL) {
        return cuda_fail(e, MRI_E_MEMORY, "no memory for a back end");
    }
    err = check(e, cublasLtCreate(&g->handle), "a handle");
    if (err == MR_OK) {
        err = cuda_alloc(&e->head, &g->work, CUDA_WORK);
    }
    if (err != MR_OK) {
        cuda_gemms_close(g);
        return err;
    }
    *out = g;
    return MR_OK;
}

static void
drop_plan(plan *p)
{
    if (p->op != NULL) {
        (void)cublasLtMatmulDescDestroy(p->op);
    }
    if (p->first != NULL) {
        (void)cublasLtMatrixLayoutDestroy(p->first);
    }
    if (p->second != NULL) {
        (void)cublasLtMatrixLayoutDestroy(p->second);
    }
    if (p->result != NULL) {
        (void)cublasLtMatrixLayoutDestroy(p->result);
    }
    cuda_host.free(p);
}

void
cuda_gemms_close(cuda_gemms *g)
{
    if (g == NULL) {
        return;
    }
    for (size_t i = 0; i < TABLE; i++) {
        while (g->table[i] != NULL) {
            plan *p = g->table[i];

            g->table[i] = p->next;
            drop_plan(p);
        }
    }
    if (g->handle != NULL) {
        (void)cublasLtDestroy(g->handle);
    }
    (void)cudaFree(g->work);
    cuda_host.free(g);
}

uint64_t
cuda_gemms_bytes(const cuda_gemms *g)
{
    return g->work != NULL ? CUDA_WORK : 0;
}

void
cuda_gemms_name(char *out, size_t bytes)
{
    size_t v = cublasLtGetVersion();

    (void)snprintf(out, bytes, "cuBLASLt %zu.%zu.%zu", v / 10000, v / 100 % 100,
                   v % 100);
}

/* ---------------------------------------------------------------- a plan */

/* A row-major matrix [rows, columns], as cuBLASLt sees it. */
static cublasStatus_t
lay_out(cublasLtMatrixLayout_t *out, uint64_t rows, uint64_t columns)
{
    return cublasLtMatrixLayoutCreate(out, CUDA_R_32F, columns, rows,
                                      (int64_t)columns);
}

static cublasStatus_t
describe(plan *p)
{
    const shape *s = &p->key;
    cublasOperation_t first = s->turn_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t second = s->turn_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t bias = CUBLASLT_EPILOGUE_BIAS;
    cublasStatus_t st =
        cublasLtMatmulDescCreate(&p->op, CUBLAS_COMPUTE_32F, CUDA_R_32F);

    if (st == CUBLAS_STATUS_SUCCESS) {
        st = cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSA,
                                            &first, sizeof first);
    }
    if (st == CUBLAS_STATUS_SUCCESS) {
        st = cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSB,
                                            &second, sizeof second);
    }
    if (st == CUBLAS_STATUS_SUCCESS && s->bias) {
        st = cublasLtMatmulDescSetAttribute(
            p->op, CUBLASLT_MATMUL_DESC_EPILOGUE, &bias, sizeof bias);
    }
    if (st == CUBLAS_STATUS_SUCCESS) {
        st = s->turn_b ? lay_out(&p->first, s->n, s->k)
                       : lay_out(&p->first, s->k, s->n);
    }
    if (st == CUBLAS_STATUS_SUCCESS) {
        st = s->turn_a ? lay_out(&p->second, s->k, s->m)
                       : lay_out(&p->second, s->m, s->k);
    }
    return st == CUBLAS_STATUS_SUCCESS ? lay_out(&p->result, s->m, s->n) : st;
}

static cublasStatus_t
prefer(cublasLtMatmulPreference_t pref, const shape *s)
{
    static const cublasLtMatmulPreferenceAttributes_t sides[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    size_t work = CUDA_WORK;
    cublasStatus_t st = cublasLtMatmulPreferenceSetAttribute(
        pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &work, sizeof work);

    if (st == CUBLAS_STATUS_SUCCESS) {
        st = cublasLtMatmulPreferenceSetAttribute(
            pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes,
            sizeof schemes);
    }
    for (size_t i = 0; st == CUBLAS_STATUS_SUCCESS && i < MRI_COUNT(sides);
         i++) {
        st = cublasLtMatmulPreferenceSetAttribute(pref, sides[i], &s->align,
                                                  sizeof s->align);
    }
    return st;
}

/* cuBLASLt's best guess; `own` if it has none, which is not an error. */
static cublasStatus_t
choose(const cuda_gemms *g, plan *p)
{
    cublasLtMatmulHeuristicResult_t best;
    cublasLtMatmulPreference_t pref;
    cublasStatus_t st = cublasLtMatmulPreferenceCreate(&pref);
    int count = 0;

    if (st != CUBLAS_STATUS_SUCCESS) {
        return st;
    }
    st = prefer(pref, &p->key);
    if (st == CUBLAS_STATUS_SUCCESS) {
        st = cublasLtMatmulAlgoGetHeuristic(g->handle, p->op, p->first,
                                            p->second, p->result, p->result,
                                            pref, 1, &best, &count);
        p->own = st != CUBLAS_STATUS_SUCCESS || count == 0 ||
                 best.state != CUBLAS_STATUS_SUCCESS;
        st = CUBLAS_STATUS_SUCCESS;
    }
    if (st == CUBLAS_STATUS_SUCCESS && !p->own) {
        p->algo = best.algo;
    }
    (void)cublasLtMatmulPreferenceDestroy(pref);
    return st;
}

static uint32_t
common_alignment(const cuda_product *p)
{
    uintptr_t bits = (uintptr_t)p->a | (uintptr_t)p->b | (uintptr_t)p->c |
                     (uintptr_t)p->bias | 256;

    return (uint32_t)(bits & (~bits + 1));
}

static uint64_t
hash_of(const shape *s)
{
    const unsigned char *b = (const unsigned char *)s;
    uint64_t h = 0xCBF29CE484222325u;

    for (size_t i = 0; i < sizeof *s; i++) {
        h = (h ^ b[i]) * 0x100000001B3u;
    }
    return h;
}

/* The bias is no argument of a product, but a part of its description. */
static cublasStatus_t
point_at_bias(const plan *it, const cuda_product *p)
{
    return p->bias == NULL ? CUBLAS_STATUS_SUCCESS
                           : cublasLtMatmulDescSetAttribute(
                                 it->op, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                 &p->bias, sizeof p->bias);
}

static mr_err
find_plan(plan **out, cuda_exec *e, const cuda_product *p)
{
    shape key;
    plan **list, *it;
    mr_err err;

    memset(&key, 0, sizeof key);
    key.m = p->m;
    key.n = p->n;
    key.k = p->k;
    key.align = common_alignment(p);
    key.turn_a = p->turn_a;
    key.turn_b = p->turn_b;
    key.add = p->add;
    key.bias = p->bias != NULL;
    list = &e->gemms->table[hash_of(&key) % TABLE];
    for (it = *list; it != NULL; it = it->next) {
        if (memcmp(&it->key, &key, sizeof key) == 0) {
            *out = it;
            return MR_OK;
        }
    }
    it = cuda_host.alloc(1, sizeof *it);
    if (it == NULL) {
        return cuda_fail(e, MRI_E_MEMORY, "no memory for a product");
    }
    it->key = key;
    err = check(e, describe(it), "a product");
    if (err == MR_OK) {
        err = check(e, point_at_bias(it, p), "a product");
    }
    if (err == MR_OK) {
        err = check(e, choose(e->gemms, it), "a product");
    }
    if (err != MR_OK) {
        drop_plan(it);
        return err;
    }
    it->next = *list;
    *list = it;
    *out = it;
    return MR_OK;
}

/* ----------------------------------------------------------------- a run */

static cublasStatus_t
run(const cuda_exec *e, const plan *it, const cuda_product *p)
{
    const float one = 1, share = p->add ? 1 : 0;
    cublasStatus_t st = point_at_bias(it, p);

    if (st == CUBLAS_STATUS_SUCCESS) {
        st = cublasLtMatmul(e->gemms->handle, it->op, &one, p->b, it->first,
                            p->a, it->second, &share, p->c, it->result, p->c,
                            it->result, &it->algo, e->gemms->work, CUDA_WORK,
                            e->stream);
    }
    return st;
}

mr_err
cuda_multiply(cuda_exec *e, const cuda_product *p)
{
    cublasStatus_t st;
    plan *it = NULL;
    mr_err err;

    if (p->m == 0 || p->n == 0) {
        return MR_OK;
    }
    if (p->k == 0) {
        return cuda_multiply_own(e, p); /* zeros, and the bias */
    }
    err = find_plan(&it, e, p);
    if (err != MR_OK) {
        return err;
    }
    if (it->own) {
        return cuda_multiply_own(e, p);
    }
    st = run(e, it, p);
    if (st == CUBLAS_STATUS_NOT_SUPPORTED) { /* it promised too much */
        it->own = true;
        return cuda_multiply_own(e, p);
    }
    return check(e, st, "a product");
}
