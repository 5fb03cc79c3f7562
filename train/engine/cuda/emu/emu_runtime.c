/* SPDX-License-Identifier: Apache-2.0 */
/* emu_runtime.c - a device that is the host: memory, copies, errors. */
#include "emu.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Blocks of device memory, so that only what was given is taken back. */
typedef struct block {
    struct block *next;
    void *p;
    size_t bytes;
} block;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block *blocks;
static size_t taken;
static _Thread_local cudaError_t last;

static cudaError_t
told(cudaError_t err)
{
    last = err != cudaSuccess ? err : last;
    return err;
}

static size_t
memory(void)
{
    const char *text = getenv("MRI_EMU_MEMORY");

    return text != NULL ? strtoull(text, NULL, 10) : (size_t)1 << 36;
}

cudaError_t
cudaGetLastError(void)
{
    cudaError_t err = last;

    last = cudaSuccess;
    return err;
}

const char *
cudaGetErrorString(cudaError_t err)
{
    return err == cudaSuccess                 ? "no error"
           : err == cudaErrorMemoryAllocation ? "out of memory"
           : err == cudaErrorLaunchFailure    ? "unspecified launch failure"
                                              : "invalid argument";
}

const char *
cudaGetErrorName(cudaError_t err)
{
    return err == cudaSuccess                 ? "cudaSuccess"
           : err == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation"
           : err == cudaErrorLaunchFailure    ? "cudaErrorLaunchFailure"
                                              : "cudaErrorInvalidValue";
}

cudaError_t
cudaDriverGetVersion(int *version)
{
    *version = 1;
    return cudaSuccess;
}

cudaError_t
cudaRuntimeGetVersion(int *version)
{
    *version = 1;
    return cudaSuccess;
}

cudaError_t
cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

cudaError_t
cudaSetDevice(int device)
{
    return told(device == 0 ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t
cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    (void)device;
    *p = (struct cudaDeviceProp){.name = "emulated on the host",
                                 .multiProcessorCount = 1,
                                 .totalGlobalMem = memory()};
    return cudaSuccess;
}

cudaError_t
cudaMemGetInfo(size_t *left, size_t *all)
{
    *all = memory();
    *left = *all - taken;
    return cudaSuccess;
}

cudaError_t
cudaMalloc(void **out, size_t bytes)
{
    block *b = malloc(sizeof *b);
    cudaError_t err = cudaErrorMemoryAllocation;

    pthread_mutex_lock(&lock);
    *out = NULL;
    if (b != NULL && bytes <= memory() - taken &&
        posix_memalign(out, 256, bytes) == 0) {
        memset(*out, 0xFF, bytes); /* not zeroed: NaN */
        *b = (block){blocks, *out, bytes};
        blocks = b;
        taken += bytes;
        b = NULL;
        err = cudaSuccess;
    }
    pthread_mutex_unlock(&lock);
    free(b);
    return told(err);
}

cudaError_t
cudaFree(void *p)
{
    block **at = &blocks, *b;

    if (p == NULL) {
        return cudaSuccess;
    }
    pthread_mutex_lock(&lock);
    while (*at != NULL && (*at)->p != p) {
        at = &(*at)->next;
    }
    b = *at;
    if (b == NULL) {
        (void)fprintf(stderr, "emu: memory is freed that was never given\n");
        abort();
    }
    *at = b->next;
    taken -= b->bytes;
    pthread_mutex_unlock(&lock);
    free(p);
    free(b);
    return cudaSuccess;
}

cudaError_t
cudaMallocHost(void **out, size_t bytes)
{
    *out = malloc(bytes);
    return told(*out != NULL ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t
cudaFreeHost(void *p)
{
    free(p);
    return cudaSuccess;
}

/* All is done at once, so a stream is always idle. */

cudaError_t
cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind,
                cudaStream_t stream)
{
    (void)kind;
    (void)stream;
    memcpy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t
cudaMemsetAsync(void *to, int byte, size_t bytes, cudaStream_t stream)
{
    (void)stream;
    memset(to, byte, bytes);
    return cudaSuccess;
}

cudaError_t
cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    (void)flags;
    *out = NULL;
    return cudaSuccess;
}

cudaError_t
cudaStreamDestroy(cudaStream_t stream)
{
    (void)stream;
    return cudaSuccess;
}

cudaError_t
cudaStreamSynchronize(cudaStream_t stream)
{
    (void)stream;
    return told(emu_broken ? cudaErrorLaunchFailure : cudaSuccess);
}

cudaError_t
cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    (void)flags;
    *out = NULL;
    return cudaSuccess;
}

cudaError_t
cudaEventDestroy(cudaEvent_t event)
{
    (void)event;
    return cudaSuccess;
}

cudaError_t
cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    (void)event;
    (void)stream;
    return cudaSuccess;
}

cudaError_t
cudaEventSynchronize(cudaEvent_t event)
{
    (void)event;
    return told(emu_broken ? cudaErrorLaunchFailure : cudaSuccess);
}
