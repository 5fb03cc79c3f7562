/* SPDX-License-Identifier: Apache-2.0 */
/* mapping.c - a file's bytes in memory, and a handler for pages that are lost. */
#include <mri/mapping.h>

#include <mri/alloc.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * What the handler knows of a mapping. Slots are used again and never freed,
 * and the list only grows at its head, so that a handler may walk it at any
 * time, without a lock. `turn` is odd while a slot changes: the handler passes
 * over it, for the mapping in whose page it is called is open and stays so.
 */
typedef struct mri_mapping_slot {
    struct mri_mapping_slot *next; /* of all; set before it is in the list */
    struct mri_mapping_slot *next_free; /* with the lock held */
    atomic_uint turn;
    _Atomic uintptr_t from, end; /* 0 and 0: free */
    _Atomic uint64_t lost; /* 1 + offset of the first page lost; 0: none */
} slot;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(slot *) all;
static slot *unused;
static size_t open_count;
static struct sigaction before;
static _Atomic uintptr_t page_bytes;

static slot *
slot_of(uintptr_t address)
{
    for (slot *s = atomic_load(&all); s != NULL; s = s->next) {
        unsigned turn = atomic_load(&s->turn);
        uintptr_t from = atomic_load(&s->from), end = atomic_load(&s->end);

        if (turn % 2 == 0 && from <= address && address < end &&
            atomic_load(&s->turn) == turn) {
            return s;
        }
    }
    return NULL;
}

/* As if we had not been there. */
static void
hand_on(int number, siginfo_t *info, void *context)
{
    if ((before.sa_flags & SA_SIGINFO) != 0) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
    } else if (info->si_code > 0 || before.sa_handler != SIG_IGN) {
        (void)signal(number, SIG_DFL);
        (void)raise(number); /* once this handler is left */
    }
}

static void
on_bus_error(int number, siginfo_t *info, void *context)
{
    uintptr_t page = atomic_load(&page_bytes);
    uintptr_t at = (uintptr_t)info->si_addr / page * page;
    slot *s = info->si_code > 0 ? slot_of((uintptr_t)info->si_addr) : NULL;
    uint64_t none = 0;

    if (s == NULL) {
        hand_on(number, info, context);
        return;
    }
    /* First told, then replaced: who sees a zero can see that it is one. */
    (void)atomic_compare_exchange_strong(&s->lost, &none,
                                         at - atomic_load(&s->from) + 1);
    if (mmap((void *)at, page, PROT_READ,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
        hand_on(number, info, context);
    }
}

static void
catch_bus_errors(void)
{
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK};

    ours.sa_sigaction = on_bus_error;
    (void)sigemptyset(&ours.sa_mask);
    (void)sigaction(SIGBUS, &ours, &before);
}

/* Unless somebody has come after us, who may call us. */
static void
let_bus_errors_go(void)
{
    struct sigaction now;

    if (sigaction(SIGBUS, NULL, &now) == 0 &&
        (now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_bus_error) {
        (void)sigaction(SIGBUS, &before, NULL);
    }
}

/* With the lock held. NULL: no memory. */
static slot *
take_slot(void)
{
    slot *s = unused;

    if (s != NULL) {
        unused = s->next_free;
        return s;
    }
    s = mri_alloc(1, sizeof *s);
    if (s != NULL) {
        s->next = atomic_load(&all);
        atomic_store(&all, s);
    }
    return s;
}

static void
set_slot(slot *s, uintptr_t from, uintptr_t end)
{
    atomic_fetch_add(&s->turn, 1);
    atomic_store(&s->from, from);
    atomic_store(&s->end, end);
    atomic_store(&s->lost, 0);
    atomic_fetch_add(&s->turn, 1);
}

bool
mri_mapping_open(mri_mapping *m, int fd, size_t bytes)
{
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    slot *s;

    *m = (mri_mapping){0};
    if (map == MAP_FAILED) {
        return false;
    }
    pthread_mutex_lock(&lock);
    s = take_slot();
    if (s != NULL) {
        atomic_store(&page_bytes, (uintptr_t)sysconf(_SC_PAGESIZE));
        set_slot(s, (uintptr_t)map, (uintptr_t)map + bytes);
        if (open_count++ == 0) {
            catch_bus_errors();
        }
    }
    pthread_mutex_unlock(&lock);
    if (s == NULL) {
        (void)munmap(map, bytes);
        return false;
    }
    /* Reads say what they want; nothing is to be guessed around them. */
    (void)madvise(map, bytes, MADV_RANDOM);
    *m = (mri_mapping){.at = map, .bytes = bytes, .slot = s};
    if (bytes >= sizeof m->end) {
        memcpy(m->end, m->at + bytes - sizeof m->end, sizeof m->end);
    }
    return true;
}

void
mri_mapping_close(mri_mapping *m)
{
    if (m->at == NULL) {
        return;
    }
    pthread_mutex_lock(&lock);
    set_slot(m->slot, 0, 0);
    m->slot->next_free = unused;
    unused = m->slot;
    if (--open_count == 0) {
        let_bus_errors_go();
    }
    pthread_mutex_unlock(&lock);
    (void)munmap((void *)(uintptr_t)m->at, m->bytes);
    *m = (mri_mapping){0};
}

/* What was read of a mapping was read before what follows. ThreadSanitizer
 * knows no fences; that order is no race. */
static void
after_reads(void)
{
#if !defined(__SANITIZE_THREAD__)
    atomic_thread_fence(memory_order_acquire);
#endif
}

/* The last bytes are not those that were there. */
static bool
end_differs(const mri_mapping *m)
{
    const volatile uint8_t *p = m->at + m->bytes - sizeof m->end;

    for (size_t i = 0; m->bytes >= sizeof m->end && i < sizeof m->end; i++) {
        if (p[i] != m->end[i]) {
            return true;
        }
    }
    return false;
}

bool
mri_mapping_lost(const mri_mapping *m, uint64_t *at)
{
    uint64_t lost;
    bool differs;

    if (m->at == NULL) {
        return false;
    }
    after_reads();
    differs = end_differs(m);
    lost = atomic_load_explicit(&m->slot->lost, memory_order_relaxed);
    if (lost != 0 || differs) {
        *at = lost != 0 ? lost - 1 : m->bytes;
    }
    return lost != 0 || differs;
}

void
mri_mapping_want(const mri_mapping *m, uint64_t at, uint64_t bytes)
{
    uint64_t page = atomic_load_explicit(&page_bytes, memory_order_relaxed);
    uint64_t from = at / page * page;

    if (m->at != NULL && at < m->bytes && bytes <= m->bytes - at) {
        (void)madvise((void *)(uintptr_t)(m->at + from),
                      (size_t)(at + bytes - from), MADV_WILLNEED);
    }
}
