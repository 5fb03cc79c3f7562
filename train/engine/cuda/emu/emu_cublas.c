/* SPDX-License-Identifier: Apache-2.0 */
/* emu_cublas.c - cuBLASLt on the host (cublasLt.h): sums in f64. */
#include "cublasLt.h"

#include <stdlib.h>
#include <string.h>

struct emu_lt {
    char nothing;
};

struct emu_product {
    cublasOperation_t turn_a, turn_b;
    bool has_bias;
    const float *bias;
};

struct emu_layout {
    uint64_t rows, columns, step;
};

struct emu_preference {
    size_t workspace;
    uint32_t schemes, align[4];
};

static cublasStatus_t
made(void *out, size_t bytes)
{
    void *p = calloc(1, bytes);

    memcpy(out, &p, sizeof p);
    return p != NULL ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

static cublasStatus_t
dropped(void *p)
{
    free(p);
    return CUBLAS_STATUS_SUCCESS;
}

/* An attribute of this size; another size is a mistake of the caller. */
static cublasStatus_t
set(void *to, size_t to_bytes, const void *value, size_t bytes)
{
    if (bytes != to_bytes) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtCreate(cublasLtHandle_t *out)
{
    return made(out, sizeof **out);
}

cublasStatus_t
cublasLtDestroy(cublasLtHandle_t handle)
{
    return dropped(handle);
}

size_t
cublasLtGetVersion(void)
{
    return 0;
}

const char *
cublasLtGetStatusName(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
           : status == CUBLAS_STATUS_ALLOC_FAILED
               ? "CUBLAS_STATUS_ALLOC_FAILED"
               : "CUBLAS_STATUS_INVALID_VALUE";
}

cublasStatus_t
cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                         cudaDataType_t scale)
{
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) {
        return CUBLAS_STATUS_INVALID_VALUE; /* f32 and nothing less */
    }
    return made(out, sizeof **out);
}

cublasStatus_t
cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    return dropped(desc);
}

cublasStatus_t
cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                               cublasLtMatmulDescAttributes_t which,
                               const void *value, size_t bytes)
{
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;

    switch (which) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return set(&desc->turn_a, sizeof desc->turn_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return set(&desc->turn_b, sizeof desc->turn_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return set(&desc->bias, sizeof desc->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        desc->has_bias =
            bytes == sizeof epilogue && memcmp(value, &epilogue, bytes) == 0;
        return desc->has_bias ? CUBLAS_STATUS_SUCCESS
                              : CUBLAS_STATUS_INVALID_VALUE;
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t
cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType_t type,
                           uint64_t rows, uint64_t columns, int64_t step)
{
    cublasStatus_t st = made(out, sizeof **out);

    if (st == CUBLAS_STATUS_SUCCESS) {
        **out = (struct emu_layout){rows, columns, (uint64_t)step};
        if (type != CUDA_R_32F || step < 0 || (uint64_t)step < rows) {
            st = CUBLAS_STATUS_INVALID_VALUE;
        }
    }
    return st;
}

cublasStatus_t
cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    return dropped(layout);
}

cublasStatus_t
cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    return made(out, sizeof **out);
}

cublasStatus_t
cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref)
{
    return dropped(pref);
}

cublasStatus_t
cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref,
                                     cublasLtMatmulPreferenceAttributes_t which,
                                     const void *value, size_t bytes)
{
    if (which == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
        return set(&pref->workspace, sizeof pref->workspace, value, bytes);
    }
    if (which == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) {
        return set(&pref->schemes, sizeof pref->schemes, value, bytes);
    }
    return set(&pref->align[which - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES],
               sizeof *pref->align, value, bytes);
}

/* The product's three sizes, if the layouts are those of one. */
static bool
sizes_of(uint64_t size[3], const struct emu_product *p,
         const struct emu_layout *a, const struct emu_layout *b,
         const struct emu_layout *d)
{
    bool ta = p->turn_a == CUBLAS_OP_T, tb = p->turn_b == CUBLAS_OP_T;
    uint64_t k = ta ? a->rows : a->columns;

    size[0] = d->rows;
    size[1] = d->columns;
    size[2] = k;
    return (ta ? a->columns : a->rows) == d->rows &&
           (tb ? b->rows : b->columns) == d->columns &&
           (tb ? b->columns : b->rows) == k;
}

/* Some shapes have no kernel, some only one that will not run. */
cublasStatus_t
cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle,
                               cublasLtMatmulDesc_t desc,
                               cublasLtMatrixLayout_t a,
                               cublasLtMatrixLayout_t b,
                               cublasLtMatrixLayout_t c,
                               cublasLtMatrixLayout_t d,
                               cublasLtMatmulPreference_t pref, int wanted,
                               cublasLtMatmulHeuristicResult_t *out, int *count)
{
    uint64_t size[3];

    (void)handle;
    *count = 0;
    if (!sizes_of(size, desc, a, b, d) || c != d || wanted < 1 ||
        (desc->has_bias && desc->bias == NULL) ||
        (pref->schemes & ~2u) != 0) { /* in place: by atomics */
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if ((size[0] + size[1] + size[2]) % 5 == 0) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    *out = (cublasLtMatmulHeuristicResult_t){.state = CUBLAS_STATUS_SUCCESS};
    memcpy(out->algo.align, pref->align, sizeof pref->align);
    out->algo.workspace = pref->workspace;
    out->algo.breaks_word = (size[0] + size[1] + size[2]) % 7 == 0;
    *count = 1;
    return CUBLAS_STATUS_SUCCESS;
}

static bool
aligned(const void *p, uint32_t to)
{
    return to != 0 && (uintptr_t)p % to == 0;
}

/* Element (i, j) of op(x). */
static double
element(const float *x, const struct emu_layout *l, cublasOperation_t turn,
        uint64_t i, uint64_t j)
{
    return turn == CUBLAS_OP_T ? (double)x[i * l->step + j]
                               : (double)x[j * l->step + i];
}

cublasStatus_t
cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
               const void *alpha, const void *a, cublasLtMatrixLayout_t la,
               const void *b, cublasLtMatrixLayout_t lb, const void *beta,
               const void *c, cublasLtMatrixLayout_t lc, void *d,
               cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t *algo,
               void *workspace, size_t bytes, cudaStream_t stream)
{
    float one, share, *to = d;
    uint64_t size[3];

    (void)handle;
    (void)stream;
    memcpy(&one, alpha, sizeof one);
    memcpy(&share, beta, sizeof share);
    if (!sizes_of(size, desc, la, lb, ld) || lc != ld || c != d ||
        !aligned(a, algo->align[0]) || !aligned(b, algo->align[1]) ||
        !aligned(c, algo->align[2]) || !aligned(d, algo->align[3]) ||
        !aligned(workspace, 256) || bytes < algo->workspace) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (algo->breaks_word) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    for (uint64_t j = 0; j < size[1]; j++) {
        for (uint64_t i = 0; i < size[0]; i++) {
            float *at = to + j * ld->step + i;
            double sum = 0;

            for (uint64_t k = 0; k < size[2]; k++) {
                sum += element(a, la, desc->turn_a, i, k) *
                       element(b, lb, desc->turn_b, k, j);
            }
            sum = sum * (double)one +
                  (desc->has_bias ? (double)desc->bias[i] : 0);
            *at = (float)(share != 0 ? sum + (double)(share * *at) : sum);
        }
    }
    return CUBLAS_STATUS_SUCCESS;
}
