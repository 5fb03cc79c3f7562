/* SPDX-License-Identifier: Apache-2.0 */
/* alloc.c - the one door to malloc. */
#include <mri/alloc.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PIXEL_ALIGN 64
#define PAGE 4096u
#define HUGE_FROM (4u << 20) /* bytes from which large pages pay */

/* Allocations left until they fail; negative: never (the usual case, which
 * costs one relaxed load). */
static atomic_llong fail_in = -1;
static atomic_llong made;

static bool
refused(void)
{
    if (atomic_load_explicit(&fail_in, memory_order_relaxed) < 0) {
        return false;
    }
    atomic_fetch_add(&made, 1);
    if (atomic_load(&fail_in) == 0) {
        return true;
    }
    atomic_fetch_sub(&fail_in, 1);
    return false;
}

int64_t
mri_alloc_fail_at(int64_t n)
{
    atomic_store(&fail_in, n);
    return atomic_exchange(&made, 0);
}

bool
mri_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;

    if (__builtin_mul_overflow(a, b, &r)) {
        return false;
    }
    *out = r;
    return true;
}

bool
mri_add(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;

    if (__builtin_add_overflow(a, b, &r)) {
        return false;
    }
    *out = r;
    return true;
}

void *
mri_alloc(size_t count, size_t size)
{
    uint64_t bytes;

    if (refused() || !mri_mul(count, size, &bytes) || bytes > PTRDIFF_MAX) {
        return NULL;
    }
    /* calloc: the kernel's fresh pages need no clearing. No bytes are still a
     * block. */
    return calloc(1, bytes != 0 ? (size_t)bytes : 1);
}

/* Touching a new volume for the first time costs more in page faults than in
 * copying it: 2 MiB at a time is three times as fast. A hint; it may fail. */
static void
want_large_pages(void *p, uint64_t bytes)
{
#ifdef MADV_HUGEPAGE
    uintptr_t from = ((uintptr_t)p + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    uintptr_t to = ((uintptr_t)p + bytes) & ~(uintptr_t)(PAGE - 1);

    if (p != NULL && bytes >= HUGE_FROM) {
        (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
    }
#else
    (void)p;
    (void)bytes;
#endif
}

void *
mri_alloc_pixels(size_t count, size_t size)
{
    uint64_t bytes;
    void *p;

    if (refused() || !mri_mul(count, size, &bytes) ||
        bytes > SIZE_MAX - PIXEL_ALIGN) {
        return NULL;
    }
    bytes = (bytes + PIXEL_ALIGN) & ~(uint64_t)(PIXEL_ALIGN - 1);
    p = aligned_alloc(PIXEL_ALIGN, (size_t)bytes);
    want_large_pages(p, bytes);
    return p;
}

void *
mri_resize(void *old, size_t count, size_t size)
{
    uint64_t bytes;

    if (refused() || !mri_mul(count, size, &bytes) || bytes > SIZE_MAX) {
        return NULL;
    }
    return realloc(old, bytes != 0 ? (size_t)bytes : 1);
}

char *
mri_strdup(const char *s)
{
    size_t bytes;
    char *copy;

    if (s == NULL) {
        return NULL;
    }
    bytes = strlen(s) + 1;
    copy = mri_alloc(bytes, 1);
    if (copy != NULL) {
        memcpy(copy, s, bytes);
    }
    return copy;
}

void
mri_free(void *p)
{
    free(p);
}
