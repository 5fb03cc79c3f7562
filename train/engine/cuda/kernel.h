/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel.h - what kernels share: how they are declared and launched, sums over
 * warps and blocks, rows of packed sequences.
 *
 * A kernel takes one struct by value, called `a` in its body, and goes through
 * its jobs in strides of the grid, so that any grid is right. Blocks are
 * one-dimensional and made of whole warps; all lanes of a warp come to every
 * shuffle. LAUNCH is an expression of type mr_err; an empty grid, which CUDA
 * refuses, is nothing to do.
 */
#ifndef CUDA_KERNEL_H
#define CUDA_KERNEL_H

#include "cuda.h"

#define WARP 32u
#define ALL_LANES 0xffffffffu

#ifdef MRI_EMU
#define UNROLL
#define DEVICE static inline __attribute__((unused))
#define KERNEL(name, threads, type)                                            \
    static void name(const type a);                                            \
    static void name##_call(const void *args)                                  \
    {                                                                          \
        name(*(const type *)args);                                             \
    }                                                                          \
    static void name(const type a)
#define LAUNCH(e, name, grid, threads, shared, args)                           \
    ((grid) == 0 ? MR_OK                                                       \
                 : (emu_launch(name##_call, &(args), sizeof(args), #name,      \
                               (emu_shape){grid, threads, shared}),            \
                    cuda_launched(e, #name)))
#define KERNEL_WIDE KERNEL
#define DYNAMIC_SHARED(name) float *name = emu_shared()
#else
#define UNROLL _Pragma("unroll")
#define DEVICE static __device__ __forceinline__
#define KERNEL(name, threads, type)                                            \
    static __global__ void __launch_bounds__(threads)                          \
        name(const __grid_constant__ type a)
/* Two blocks at once are enough: rather that than registers in memory. */
#define KERNEL_WIDE(name, threads, type)                                       \
    static __global__ void __launch_bounds__(threads, 2)                       \
        name(const __grid_constant__ type a)
#define LAUNCH(e, name, grid, threads, shared, args)                           \
    cuda_launch(e, (const void *)name, #name,                                  \
                cuda_shape_of(grid, threads, shared), &(args))
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) float name[]
#endif

/* The number of this thread's warp in the grid, and of warps in it. */
DEVICE uint64_t
warp_first(void)
{
    return (uint64_t)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
}

DEVICE uint64_t
warp_step(void)
{
    return (uint64_t)gridDim.x * (blockDim.x / WARP);
}

DEVICE uint64_t
thread_first(void)
{
    return (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

DEVICE uint64_t
thread_step(void)
{
    return (uint64_t)gridDim.x * blockDim.x;
}

/* Four floats from an address that is a multiple of 16. */
DEVICE void
load4(float *out, const float *from)
{
#ifdef MRI_EMU
    emu_load4(out, from);
#else
    float4 v = *(const float4 *)from;

    out[0] = v.x;
    out[1] = v.y;
    out[2] = v.z;
    out[3] = v.w;
#endif
}

/* The sum over a warp, or over lanes that differ in their last bits only:
 * the same bits in all of them, for each adds the same pairs. */
DEVICE float
lanes_sum(float v, int lanes)
{
    for (int s = lanes / 2; s > 0; s /= 2) {
        v += __shfl_xor_sync(ALL_LANES, v, s);
    }
    return v;
}

DEVICE float
lanes_max(float v, int lanes)
{
    for (int s = lanes / 2; s > 0; s /= 2) {
        v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, s));
    }
    return v;
}

DEVICE float
warp_sum(float v)
{
    return lanes_sum(v, 32);
}

/* The sum or maximum over a block, in all of its threads; part [warps] is
 * shared, and free again afterwards. */
DEVICE float
block_sum(float v, float *part)
{
    v = warp_sum(v);
    if (threadIdx.x % WARP == 0) {
        part[threadIdx.x / WARP] = v;
    }
    __syncthreads();
    v = 0;
    for (unsigned w = 0; w < blockDim.x / WARP; w++) {
        v += part[w];
    }
    __syncthreads();
    return v;
}

DEVICE float
block_max(float v, float *part)
{
    v = lanes_max(v, 32);
    if (threadIdx.x % WARP == 0) {
        part[threadIdx.x / WARP] = v;
    }
    __syncthreads();
    v = part[0];
    for (unsigned w = 1; w < blockDim.x / WARP; w++) {
        v = fmaxf(v, part[w]);
    }
    __syncthreads();
    return v;
}

/* Where row r of packed sequences lies (op.h). */
typedef struct row_place {
    uint32_t group, token;
    uint64_t sequence; /* of all */
    uint64_t in_group;
} row_place;

DEVICE row_place
row_at(const mri_seqs *seqs, uint64_t r)
{
    row_place p = {0, 0, 0, 0};

    for (uint32_t g = 0; g < MRI_GROUPS && g < seqs->groups; g++) {
        uint64_t rows = (uint64_t)seqs->count[g] * seqs->tokens[g];

        if (r < rows) {
            p.group = g;
            p.in_group = r / seqs->tokens[g];
            p.token = (uint32_t)(r % seqs->tokens[g]);
            p.sequence += p.in_group;
            break;
        }
        r -= rows;
        p.sequence += seqs->count[g];
    }
    return p;
}

/* The first row of sequence s, and its group. */
typedef struct seq_place {
    uint32_t group;
    uint64_t row, in_group;
} seq_place;

DEVICE seq_place
seq_at(const mri_seqs *seqs, uint64_t s)
{
    seq_place p = {0, 0, 0};

    for (uint32_t g = 0; g < MRI_GROUPS && g < seqs->groups; g++) {
        if (s < seqs->count[g]) {
            p.group = g;
            p.in_group = s;
            p.row += s * seqs->tokens[g];
            break;
        }
        s -= seqs->count[g];
        p.row += (uint64_t)seqs->count[g] * seqs->tokens[g];
    }
    return p;
}

#endif
