/* SPDX-License-Identifier: Apache-2.0 */
/* exec.c - a context on one device: its stream, its memory, its errors. */
#include "cuda.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- errors */

mr_err
cuda_fail(cuda_exec *e, mri_code code, const char *fmt, ...)
{
    char text[sizeof e->head.diag.text];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return cuda_host.fail(&e->head.diag, code, MR_NOWHERE, "%s", text);
}

mr_err
cuda_check(cuda_exec *e, cudaError_t err, const char *what)
{
    if (err == cudaSuccess) {
        return MR_OK;
    }
    (void)cudaGetLastError(); /* told now; not again after the next launch */
    return cuda_fail(e, MRI_E_DEVICE, "%s on %s: %s (%s)", what, e->info.name,
                     cudaGetErrorString(err), cudaGetErrorName(err));
}

/* --------------------------------------------------------------- opening */

static mr_err
find_device(cuda_exec *e, unsigned device)
{
    int count = 0, driver = 0;
    cudaError_t err;

    (void)cudaDriverGetVersion(&driver);
    err = cudaGetDeviceCount(&count);
    if (driver == 0) {
        return cuda_fail(e, MRI_E_DEVICE_ABSENT,
                         "no CUDA device: no NVIDIA driver is loaded "
                         "(libcuda.so.1)");
    }
    if (err != cudaSuccess || count == 0) {
        return cuda_fail(e, MRI_E_DEVICE_ABSENT, "no CUDA device: %s",
                         err != cudaSuccess ? cudaGetErrorString(err)
                                            : "the driver finds none");
    }
    if (device >= (unsigned)count) {
        return cuda_fail(e, MRI_E_DEVICE_ABSENT,
                         "no CUDA device %u: the driver finds %d", device,
                         count);
    }
    e->device = (int)device;
    return MR_OK;
}

/* What a report wants to know, in one line. */
static mr_err
read_device(cuda_exec *e)
{
    struct cudaDeviceProp p;
    int driver = 0, runtime = 0;
    char products[32];
    mr_err err =
        cuda_check(e, cudaGetDeviceProperties(&p, e->device), "a device");

    if (err != MR_OK) {
        return err;
    }
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    cuda_gemms_name(products, sizeof products);
    e->processors = (unsigned)p.multiProcessorCount;
    e->info.threads = e->processors;
    e->info.memory = p.totalGlobalMem;
    (void)snprintf(e->info.name, sizeof e->info.name,
                   "%.40s, sm_%d%d, CUDA %d.%d on driver %d.%d, %.24s", p.name,
                   p.major, p.minor, runtime / 1000, runtime % 1000 / 10,
                   driver / 1000, driver % 1000 / 10, products);
    return MR_OK;
}

static mr_err
make_stages(cuda_exec *e)
{
    mr_err err = MR_OK;

    for (unsigned i = 0; err == MR_OK && i < CUDA_STAGES; i++) {
        err = cuda_check(e, cudaMallocHost((void **)&e->stage[i], CUDA_STAGE),
                         "pinned memory");
        if (err == MR_OK) {
            err = cuda_check(
                e,
                cudaEventCreateWithFlags(&e->staged[i], cudaEventDisableTiming),
                "an event");
        }
    }
    return err;
}

static mr_err
begin(cuda_exec *e, unsigned device)
{
    mr_err err = find_device(e, device);

    if (err == MR_OK) {
        err = cuda_check(e, cudaSetDevice(e->device), "a device");
    }
    if (err == MR_OK) {
        err = read_device(e);
    }
    if (err == MR_OK) {
        err = cuda_probe(e);
    }
    if (err == MR_OK) {
        err = cuda_check(
            e, cudaStreamCreateWithFlags(&e->stream, cudaStreamNonBlocking),
            "a stream");
    }
    if (err == MR_OK) {
        err = make_stages(e);
    }
    return err == MR_OK ? cuda_gemms_open(&e->gemms, e) : err;
}

mr_err
cuda_open(mri_exec **out, const mri_exec_options *options, mr_diag *diag)
{
    cuda_exec *e = cuda_host.alloc(1, sizeof *e);
    mr_err err;

    *out = NULL;
    if (e == NULL) {
        return cuda_host.fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                              "no memory for a back end");
    }
    e->head.backend = &cuda_backend;
    (void)snprintf(e->info.name, sizeof e->info.name, "CUDA device %u",
                   options->device);
    err = begin(e, options->device);
    if (err != MR_OK) {
        if (diag != NULL) {
            *diag = e->head.diag;
        }
        cuda_close(&e->head);
        return err;
    }
    *out = &e->head;
    return MR_OK;
}

void
cuda_close(mri_exec *exec)
{
    cuda_exec *e = (cuda_exec *)exec;

    if (e == NULL) {
        return;
    }
    (void)cudaSetDevice(e->device);
    if (e->stream != NULL) {
        (void)cudaStreamSynchronize(e->stream);
    }
    cuda_gemms_close(e->gemms);
    for (unsigned i = 0; i < CUDA_SCRATCH; i++) {
        (void)cudaFree(e->scratch[i]);
    }
    for (unsigned i = 0; i < CUDA_STAGES; i++) {
        if (e->staged[i] != NULL) {
            (void)cudaEventDestroy(e->staged[i]);
        }
        (void)cudaFreeHost(e->stage[i]);
    }
    if (e->stream != NULL) {
        (void)cudaStreamDestroy(e->stream);
    }
    (void)cudaGetLastError();
    cuda_host.free(e);
}

cuda_exec *
cuda_of(mri_exec *exec)
{
    cuda_exec *e = (cuda_exec *)exec;

    /* Another thread may have opened it. What fails here fails again, and is
     * reported, at the launch that follows. */
    (void)cudaSetDevice(e->device);
    return e;
}

void
cuda_info(const mri_exec *exec, mri_device_info *out)
{
    const cuda_exec *e = (const cuda_exec *)exec;

    *out = e->info;
    out->scratch = cuda_gemms_bytes(e->gemms);
    for (unsigned i = 0; i < CUDA_SCRATCH; i++) {
        out->scratch += e->scratch_bytes[i];
    }
}

/* ---------------------------------------------------------------- memory */

mr_err
cuda_alloc(mri_exec *exec, void **out, uint64_t bytes)
{
    cuda_exec *e = cuda_of(exec);
    size_t left = 0, all = 0;
    cudaError_t err;

    *out = NULL;
    err = cudaMalloc(out, bytes != 0 ? (size_t)bytes : 1);
    if (err != cudaErrorMemoryAllocation) {
        return cuda_check(e, err, "an allocation");
    }
    (void)cudaGetLastError(); /* the context is as good as before */
    (void)cudaMemGetInfo(&left, &all);
    return cuda_fail(e, MRI_E_DEVICE_MEMORY,
                     "no room for %" PRIu64 " bytes on %s: %zu of %zu are free",
                     bytes, e->info.name, left, all);
}

void
cuda_free(mri_exec *exec, void *p)
{
    cuda_exec *e = cuda_of(exec);

    if (p != NULL) {
        (void)cudaStreamSynchronize(e->stream); /* whatever uses it */
        (void)cudaFree(p);
    }
}

mr_err
cuda_scratch(cuda_exec *e, unsigned which, uint64_t bytes, float **out)
{
    mr_err err = MR_OK;

    if (bytes > e->scratch_bytes[which]) {
        cuda_free(&e->head, e->scratch[which]);
        e->scratch[which] = NULL;
        e->scratch_bytes[which] = 0;
        err = cuda_alloc(&e->head, &e->scratch[which], bytes);
    }
    if (err == MR_OK && bytes > e->scratch_bytes[which]) {
        e->scratch_bytes[which] = bytes;
    }
    *out = e->scratch[which];
    return err;
}

/* ---------------------------------------------------------------- copies */

/*
 * The caller's memory is pageable: it goes through pinned stages, of which one
 * is filled while the other is on its way. A put returns while the last stages
 * are still travelling; nothing of the caller's is needed any more.
 */

static size_t
piece_of(uint64_t bytes, uint64_t at)
{
    return bytes - at < CUDA_STAGE ? (size_t)(bytes - at) : CUDA_STAGE;
}

/* The next stage, once the device is done with it. */
static mr_err
take_stage(cuda_exec *e, unsigned *out)
{
    *out = e->turn;
    e->turn = (e->turn + 1) % CUDA_STAGES;
    return cuda_check(e, cudaEventSynchronize(e->staged[*out]),
                      "what was computed before a copy");
}

mr_err
cuda_put(mri_exec *exec, void *to, const void *host, uint64_t bytes)
{
    cuda_exec *e = cuda_of(exec);
    mr_err err = MR_OK;
    unsigned s;

    for (uint64_t at = 0; err == MR_OK && at < bytes; at += CUDA_STAGE) {
        err = take_stage(e, &s);
        if (err != MR_OK) {
            return err;
        }
        memcpy(e->stage[s], (const char *)host + at, piece_of(bytes, at));
        err = cuda_check(e,
                         cudaMemcpyAsync((char *)to + at, e->stage[s],
                                         piece_of(bytes, at),
                                         cudaMemcpyHostToDevice, e->stream),
                         "a copy to the device");
        if (err == MR_OK) {
            err = cuda_check(e, cudaEventRecord(e->staged[s], e->stream),
                             "a copy to the device");
        }
    }
    return err;
}

/* Order the piece at `at` to be brought to a stage. */
static mr_err
bring(cuda_exec *e, const char *from, size_t piece, unsigned *s)
{
    mr_err err = take_stage(e, s);

    if (err == MR_OK) {
        err = cuda_check(e,
                         cudaMemcpyAsync(e->stage[*s], from, piece,
                                         cudaMemcpyDeviceToHost, e->stream),
                         "a copy from the device");
    }
    if (err == MR_OK) {
        err = cuda_check(e, cudaEventRecord(e->staged[*s], e->stream),
                         "a copy from the device");
    }
    return err;
}

mr_err
cuda_get(mri_exec *exec, void *host, const void *from, uint64_t bytes)
{
    cuda_exec *e = cuda_of(exec);
    unsigned now = 0, next = 0;
    mr_err err = MR_OK;

    if (bytes == 0) {
        return MR_OK;
    }
    err = bring(e, from, piece_of(bytes, 0), &now);
    for (uint64_t at = 0; err == MR_OK && at < bytes; at += CUDA_STAGE) {
        if (bytes - at > CUDA_STAGE) {
            err = bring(e, (const char *)from + at + CUDA_STAGE,
                        piece_of(bytes, at + CUDA_STAGE), &next);
        }
        if (err == MR_OK) {
            err = cuda_check(e, cudaEventSynchronize(e->staged[now]),
                             "a copy from the device");
        }
        if (err == MR_OK) {
            memcpy((char *)host + at, e->stage[now], piece_of(bytes, at));
        }
        now = next;
    }
    return err;
}

mr_err
cuda_fill(mri_exec *exec, void *to, int byte, uint64_t bytes)
{
    cuda_exec *e = cuda_of(exec);

    if (bytes == 0) {
        return MR_OK;
    }
    return cuda_check(e, cudaMemsetAsync(to, byte, (size_t)bytes, e->stream),
                      "a fill");
}

mr_err
cuda_sync(mri_exec *exec)
{
    cuda_exec *e = cuda_of(exec);

    return cuda_check(e, cudaStreamSynchronize(e->stream), "a kernel");
}

/* -------------------------------------------------------------- launches */

/* Kernels fail while they run; it shows at a later call. */
static mr_err
launched(cuda_exec *e, cudaError_t err, const char *kernel)
{
    char what[96];

    if (err == cudaSuccess) {
        return MR_OK;
    }
    (void)snprintf(what, sizeof what, "%.48s, or a kernel before it,", kernel);
    return cuda_check(e, err, what);
}

#ifdef MRI_EMU
mr_err
cuda_launched(cuda_exec *e, const char *kernel)
{
    return launched(e, cudaGetLastError(), kernel);
}
#else
/*
 * By the plain call: the compiler's own <<<>>> goes through static variables
 * that are made at the first launch, which takes the C++ library.
 */
mr_err
cuda_launch(cuda_exec *e, const void *kernel, const char *name,
            cuda_shape shape, const void *args)
{
    void *list[] = {(void *)(uintptr_t)args}; /* it is only copied */
    dim3 grid = {shape.grid, 1, 1}, threads = {shape.threads, 1, 1};
    cudaError_t err = cudaSuccess;

    if (shape.grid == 0) {
        return MR_OK;
    }
    if (shape.shared > CUDA_SHARED) {
        err = cudaFuncSetAttribute(kernel,
                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   (int)shape.shared);
    }
    if (err == cudaSuccess) {
        err = cudaLaunchKernel(kernel, grid, threads, list, shape.shared,
                               e->stream);
    }
    return launched(e, err, name);
}
#endif

#ifdef MRI_EMU
#define BLOCKS 3 /* few, so that all kernels go through their jobs in strides */
#else
#define BLOCKS 32 /* of a multiprocessor, at most */
#endif

unsigned
cuda_grid(const cuda_exec *e, uint64_t jobs, unsigned each)
{
    uint64_t blocks = cuda_parts(jobs, each);
    uint64_t most = (uint64_t)e->processors * BLOCKS;

    return (unsigned)(blocks < most ? blocks : most);
}
