/* SPDX-License-Identifier: Apache-2.0 */
/* alloc.c - the one door to malloc. */
#include <mri/alloc.h>

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PIXEL_ALIGN 64
#define PAGE 4096u
#define HUGE_FROM (4u << 20) /* bytes from which large pages pay */

/* Usual programs pay one relaxed load a call for what tests can ask for. */
static atomic_bool tested;
static atomic_llong fail_in = -1; /* allocations left until they fail */
static atomic_bool fail_once;     /* not all later ones as well */
static atomic_llong made;
static atomic_llong limit = -1; /* of the bytes held; negative: none */
static atomic_llong held, most;

static bool
is_tested(void)
{
    return atomic_load_explicit(&tested, memory_order_relaxed);
}

static void
decide_tested(void)
{
    atomic_store(&tested,
                 atomic_load(&fail_in) >= 0 || atomic_load(&limit) >= 0);
}

static bool
refused(uint64_t bytes)
{
    long long room;

    if (!is_tested()) {
        return false;
    }
    atomic_fetch_add(&made, 1);
    if (atomic_load(&fail_in) == 0) {
        atomic_fetch_sub(&fail_in, atomic_load(&fail_once));
        return true;
    }
    if (atomic_load(&fail_in) > 0) {
        atomic_fetch_sub(&fail_in, 1);
    }
    room = atomic_load(&limit) - atomic_load(&held);
    return atomic_load(&limit) >= 0 && (room < 0 || bytes > (uint64_t)room);
}

/* `p` came, in place of a block of `old` bytes. */
static void *
counted(void *p, size_t old)
{
    long long now, before;

    if (p != NULL && is_tested()) {
        now = (long long)malloc_usable_size(p) - (long long)old;
        now += atomic_fetch_add(&held, now);
        before = atomic_load(&most);
        while (now > before &&
               !atomic_compare_exchange_weak(&most, &before, now)) {
        }
    }
    return p;
}

int64_t
mri_alloc_fail_at(int64_t n)
{
    atomic_store(&fail_in, n);
    atomic_store(&fail_once, false);
    decide_tested();
    return atomic_exchange(&made, 0);
}

int64_t
mri_alloc_fail_once(int64_t n)
{
    int64_t before = mri_alloc_fail_at(n);

    atomic_store(&fail_once, true);
    return before;
}

void
mri_alloc_limit(int64_t bytes)
{
    atomic_store(&held, 0);
    atomic_store(&most, 0);
    atomic_store(&limit, bytes);
    decide_tested();
}

int64_t
mri_alloc_held(int64_t *at_most)
{
    *at_most = atomic_load(&most);
    return atomic_load(&held);
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

    if (!mri_mul(count, size, &bytes) || bytes > PTRDIFF_MAX ||
        refused(bytes)) {
        return NULL;
    }
    /* calloc: the kernel's fresh pages need no clearing. No bytes are still a
     * block. */
    return counted(calloc(1, bytes != 0 ? (size_t)bytes : 1), 0);
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

    if (!mri_mul(count, size, &bytes) || bytes > SIZE_MAX - PIXEL_ALIGN ||
        refused(bytes)) {
        return NULL;
    }
    bytes = (bytes + PIXEL_ALIGN) & ~(uint64_t)(PIXEL_ALIGN - 1);
    p = aligned_alloc(PIXEL_ALIGN, (size_t)bytes);
    want_large_pages(p, bytes);
    return counted(p, 0);
}

void *
mri_resize(void *old, size_t count, size_t size)
{
    uint64_t bytes;
    size_t before = is_tested() ? malloc_usable_size(old) : 0;

    if (!mri_mul(count, size, &bytes) || bytes > PTRDIFF_MAX ||
        refused(bytes)) {
        return NULL;
    }
    return counted(realloc(old, bytes != 0 ? (size_t)bytes : 1), before);
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
    if (is_tested()) {
        atomic_fetch_sub(&held, (long long)malloc_usable_size(p));
    }
    free(p);
}
