/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda.h - the CUDA back end from inside: context, scratch, errors.
 *
 * The module is C; the .cu files are written in what C17 and C++17 share, so
 * that a C compiler can run their kernels on the host, thread by thread
 * (emu/). MRI_EMU is defined there.
 *
 * Everything is enqueued on the context's one stream. An operation's sums are
 * cut by its shapes alone and added in a fixed order, never by atomics: a run
 * repeats bit for bit on one kind of device.
 */
#ifndef ENGINE_CUDA_H
#define ENGINE_CUDA_H

#include <mri/backend.h>

#ifdef MRI_EMU
#include "emu.h"
#else
#include <cuda_runtime_api.h>
#endif

#define CUDA_STAGES 2           /* pinned buffers between host and device */
#define CUDA_STAGE (4u << 20)   /* bytes of each */
#define CUDA_SCRATCH 3          /* buffers that one operation may use */
#define CUDA_WORK (32u << 20)   /* bytes for the products' own use */
#define CUDA_SHARED (48u << 10) /* of a block, without asking for more */

MR_BEGIN

typedef struct cuda_gemms cuda_gemms;

typedef struct cuda_exec {
    mri_exec head;
    int device;
    cudaStream_t stream;
    mri_device_info info;
    unsigned processors;
    char *stage[CUDA_STAGES];
    cudaEvent_t staged[CUDA_STAGES]; /* the device is done with it */
    unsigned turn;                   /* the stage to use next */
    void *scratch[CUDA_SCRATCH];
    uint64_t scratch_bytes[CUDA_SCRATCH];
    cuda_gemms *gemms;
} cuda_exec;

extern const mri_backend cuda_backend;
extern mri_host cuda_host; /* what the program lent us */

/* The context, after making its device the calling thread's. */
cuda_exec *cuda_of(mri_exec *exec);

mr_err cuda_fail(cuda_exec *e, mri_code code, const char *fmt, ...)
    MRI_PRINTF(3, 4);
/* MR_OK, or the failure of `what` in CUDA's words. */
mr_err cuda_check(cuda_exec *e, cudaError_t err, const char *what);
#ifdef MRI_EMU
/* What a launch just said. */
mr_err cuda_launched(cuda_exec *e, const char *kernel);
#else
typedef struct cuda_shape {
    unsigned grid, threads;
    size_t shared; /* bytes, dynamic */
} cuda_shape;

static inline cuda_shape
cuda_shape_of(unsigned grid, unsigned threads, size_t shared)
{
    cuda_shape s = {grid, threads, shared};

    return s;
}

/* Enqueue a kernel that takes one struct; nothing to do for an empty grid. */
mr_err cuda_launch(cuda_exec *e, const void *kernel, const char *name,
                   cuda_shape shape, const void *args);
#endif

/* Device memory for one operation; its contents are lost when it grows. */
MR_USE_RESULT mr_err cuda_scratch(cuda_exec *e, unsigned which, uint64_t bytes,
                                  float **out);

/* Blocks for `jobs`, of which a block takes `each` at a time; 0 for none.
 * Kernels go through their jobs in strides, so any number is right. */
unsigned cuda_grid(const cuda_exec *e, uint64_t jobs, unsigned each);

/* Does the module hold code for this device? A failure names what is wrong. */
mr_err cuda_probe(cuda_exec *e);

/* module.c */
mr_err cuda_open(mri_exec **out, const mri_exec_options *options,
                 mr_diag *diag);
void cuda_close(mri_exec *exec);
void cuda_info(const mri_exec *exec, mri_device_info *out);
mr_err cuda_alloc(mri_exec *exec, void **out, uint64_t bytes);
void cuda_free(mri_exec *exec, void *p);
mr_err cuda_put(mri_exec *exec, void *to, const void *host, uint64_t bytes);
mr_err cuda_get(mri_exec *exec, void *host, const void *from, uint64_t bytes);
mr_err cuda_fill(mri_exec *exec, void *to, int byte, uint64_t bytes);
mr_err cuda_sync(mri_exec *exec);

/*
 * c [m,n] = a b (+ bias) (+ c): a is [m,k], or [k,m] when turned; b is [k,n],
 * or [n,k] when turned. All row-major and dense.
 */
typedef struct cuda_product {
    uint64_t m, n, k;
    const float *a, *b, *bias; /* bias [n] or NULL */
    float *c;
    bool turn_a, turn_b, add;
} cuda_product;
MR_USE_RESULT mr_err cuda_multiply(cuda_exec *e, const cuda_product *p);
/* The same by an own kernel: slow, and right for every shape. */
MR_USE_RESULT mr_err cuda_multiply_own(cuda_exec *e, const cuda_product *p);
MR_USE_RESULT mr_err cuda_gemms_open(cuda_gemms **out, cuda_exec *e);
void cuda_gemms_close(cuda_gemms *g);
uint64_t cuda_gemms_bytes(const cuda_gemms *g);
/* "cuBLASLt 13.1.0" */
void cuda_gemms_name(char *out, size_t bytes);

/*
 * Sums over the rows of x: out[j] = sum x[i,j]; and with hats, hat_out[j] =
 * sum x[i,j] (sum[i,j] - mean[i]) rstd[i]. Added to what is there if `add`.
 * With `pick`, row i is the first of sequence i of seqs.
 */
typedef struct cuda_columns {
    const float *x, *sum, *mean, *rstd; /* sum NULL: no hats */
    float *out, *hat_out;
    uint64_t rows, n;
    mri_seqs seqs;
    bool pick, add;
} cuda_columns;
/* Uses scratch 0. */
MR_USE_RESULT mr_err cuda_sum_columns(cuda_exec *e, const cuda_columns *c);

mri_linear_fn cuda_linear;
mri_linear_dx_fn cuda_linear_dx;
mri_linear_dw_fn cuda_linear_dw;
mri_wlinear_fn cuda_wlinear;
mri_wlinear_back_fn cuda_wlinear_back;
mri_norm_fn cuda_norm;
mri_norm_back_fn cuda_norm_back;
mri_attention_fn cuda_attention;
mri_attention_back_fn cuda_attention_back;
mri_patchify_fn cuda_patchify;
mri_tokens_fn cuda_tokens;
mri_tokens_back_fn cuda_tokens_back;
mri_mix_fn cuda_mix;
mri_pick_fn cuda_pick;
mri_pick_back_fn cuda_pick_back;
mri_l2norm_fn cuda_l2norm;
mri_l2norm_back_fn cuda_l2norm_back;
mri_add_fn cuda_add;
mri_drop_fn cuda_drop;
mri_dino_loss_fn cuda_dino_loss;
mri_dino_loss_back_fn cuda_dino_loss_back;
mri_center_fn cuda_center;
mri_sumsq_fn cuda_sumsq;
mri_adamw_fn cuda_adamw;

/* A view's elements; NULL if it is not there. */
static inline float *
cuda_f32(const mr_tensor *t)
{
    return mri_there(t) ? (float *)t->data : NULL;
}

static inline uint64_t
cuda_len(const mr_tensor *t)
{
    uint64_t len = 1;

    for (uint32_t i = 0; i < t->rank; i++) {
        len *= t->shape[i];
    }
    return len;
}

/* ceil(a / b) */
static inline uint64_t
cuda_parts(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

MR_END

#endif
