/* SPDX-License-Identifier: Apache-2.0 */
/*
 * emu.h - run the kernels on the host, thread by thread, to prove their logic.
 *
 * Every thread of a block is a fiber; they take turns, and stop at barriers
 * and shuffles until all who must be there are. Blocks run one after the
 * other. Under AddressSanitizer, reads and writes beyond arrays are found,
 * shared ones too; under ThreadSanitizer, threads of a block that touch one
 * place without a barrier between them. MRI_EMU_ORDER=forward|backward|shuffle
 * says in which order threads and blocks run: what a missing barrier changes,
 * changes with it.
 *
 * It proves neither what the memory model of a GPU adds, nor blocks that run
 * at once (beyond their order), nor the limits of a device, nor speed.
 *
 * MRI_EMU_MEMORY is the device's memory in bytes; MRI_EMU_FAIL a kernel that
 * fails while it runs.
 */
#ifndef CUDA_EMU_H
#define CUDA_EMU_H

#include <mri/door.h>

#include <math.h>

/* ------------------------------------------- what kernels are written with */

typedef struct emu_index {
    unsigned x;
} emu_index;

emu_index emu_thread(void);
emu_index emu_block(void);
emu_index emu_block_size(void);
emu_index emu_grid_size(void);
void emu_sync_block(void);
void emu_sync_warp(void);
float emu_shuffle(float v, unsigned other); /* lane xor other */
void emu_load4(float *out, const float *from);
float *emu_shared(void);

#define threadIdx emu_thread()
#define blockIdx emu_block()
#define blockDim emu_block_size()
#define gridDim emu_grid_size()
#define __shared__ static
#define __syncthreads() emu_sync_block()
#define __syncwarp() emu_sync_warp()
#define __shfl_xor_sync(lanes, v, other) emu_shuffle(v, (unsigned)(other))

typedef struct emu_shape {
    unsigned grid, threads;
    size_t shared; /* bytes, dynamic */
} emu_shape;
typedef void emu_kernel(const void *args);
void emu_launch(emu_kernel *kernel, const void *args, size_t bytes,
                const char *name, emu_shape shape);
extern bool emu_broken; /* a kernel has failed: MRI_EMU_FAIL */

/* ------------------------------------ what the module takes of the runtime */

typedef enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorLaunchFailure = 719
} cudaError_t;
typedef struct emu_stream *cudaStream_t;
typedef struct emu_event *cudaEvent_t;
enum {
    cudaStreamNonBlocking = 1,
    cudaEventDisableTiming = 2,
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3
};
struct cudaDeviceProp {
    char name[256];
    int major, minor, multiProcessorCount;
    size_t totalGlobalMem;
};

cudaError_t cudaGetLastError(void);
const char *cudaGetErrorString(cudaError_t err);
const char *cudaGetErrorName(cudaError_t err);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device);
cudaError_t cudaMemGetInfo(size_t *left, size_t *all);
cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **out, size_t bytes);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *to, int byte, size_t bytes,
                            cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);

#endif
