/* SPDX-License-Identifier: Apache-2.0 */
/* emu.c - threads of a block as fibers that take turns. */
#include "emu.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define WARP 32u
#define MOST 1024u /* threads of a block */
#define STACK ((size_t)256 << 10)

/* ThreadSanitizer is told of fibers and barriers; this file itself is not
 * instrumented (CMakeLists.txt). */
#ifdef MRI_EMU_TSAN
#include <sanitizer/tsan_interface.h>
#define TSAN(call) (call)
#else
#define TSAN(call) ((void)0)
#endif

typedef enum state { READY, AT_WARP, AT_BLOCK, DONE } state;

typedef struct fiber {
    ucontext_t context;
    char *stack;
    state state;
    float slot[2]; /* of a shuffle, in turns: one barrier is enough */
    unsigned phase;
    void *tsan;
} fiber;

/* One launch at a time: a kernel's shared arrays are static. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    emu_kernel *kernel;
    const void *args;
    const char *name;
    emu_shape shape;
    unsigned block, thread, arrived, warp_arrived[MOST / WARP];
    float *shared;
    ucontext_t scheduler;
    void *scheduler_tsan;
    char begun, ended, at_block, at_warp[MOST / WARP]; /* places to sync at */
    fiber fibers[MOST];
} now;

bool emu_broken;

static _Noreturn void
die(const char *what)
{
    (void)fprintf(stderr, "emu: kernel %s, block %u of %u, thread %u: %s\n",
                  now.name, now.block, now.shape.grid, now.thread, what);
    abort();
}

/* ---------------------------------------------------------------- a fiber */

static void
run_scheduler(fiber *f)
{
    TSAN(__tsan_switch_to_fiber(now.scheduler_tsan,
                                __tsan_switch_to_fiber_no_sync));
    (void)swapcontext(&f->context, &now.scheduler);
}

static void
fiber_main(void)
{
    TSAN(__tsan_acquire(&now.begun));
    now.kernel(now.args);
    TSAN(__tsan_release(&now.ended));
    now.fibers[now.thread].state = DONE;
    run_scheduler(&now.fibers[now.thread]);
}

static void
start(fiber *f)
{
    if (f->stack == NULL) {
        f->stack = malloc(STACK);
        TSAN(f->tsan = __tsan_create_fiber(0));
    }
    if (f->stack == NULL || getcontext(&f->context) != 0) {
        die("no memory for a thread");
    }
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK;
    f->context.uc_link = NULL;
    f->state = READY;
    f->phase = 0;
    makecontext(&f->context, fiber_main, 0);
}

static void
resume(unsigned thread)
{
    fiber *f = &now.fibers[thread];

    now.thread = thread;
    TSAN(__tsan_switch_to_fiber(f->tsan, __tsan_switch_to_fiber_no_sync));
    (void)swapcontext(&now.scheduler, &f->context);
}

/* --------------------------------------------------------------- barriers */

/* The last who comes lets all go on; they do when their turn comes. */
static void
wait_at(state where, unsigned *arrived, unsigned first, unsigned count,
        void *place)
{
    fiber *f = &now.fibers[now.thread];

    (void)place;
    TSAN(__tsan_release(place));
    f->state = where;
    if (++*arrived == count) {
        *arrived = 0;
        for (unsigned i = first; i < first + count; i++) {
            now.fibers[i].state = READY;
        }
    }
    run_scheduler(f);
    TSAN(__tsan_acquire(place));
}

void
emu_sync_block(void)
{
    wait_at(AT_BLOCK, &now.arrived, 0, now.shape.threads, &now.at_block);
}

void
emu_sync_warp(void)
{
    unsigned warp = now.thread / WARP;

    wait_at(AT_WARP, &now.warp_arrived[warp], warp * WARP, WARP,
            &now.at_warp[warp]);
}

float
emu_shuffle(float v, unsigned other)
{
    fiber *f = &now.fibers[now.thread];
    unsigned from = now.thread ^ other;

    if (from / WARP != now.thread / WARP) {
        die("a shuffle with a lane of another warp");
    }
    f->slot[f->phase] = v;
    emu_sync_warp();
    v = now.fibers[from].slot[f->phase];
    f->phase ^= 1;
    return v;
}

emu_index
emu_thread(void)
{
    return (emu_index){now.thread};
}

emu_index
emu_block(void)
{
    return (emu_index){now.block};
}

emu_index
emu_block_size(void)
{
    return (emu_index){now.shape.threads};
}

emu_index
emu_grid_size(void)
{
    return (emu_index){now.shape.grid};
}

float *
emu_shared(void)
{
    return now.shared;
}

void
emu_load4(float *out, const float *from)
{
    if ((uintptr_t)from % 16 != 0) {
        die("a load of 16 bytes from an odd address");
    }
    for (int i = 0; i < 4; i++) {
        out[i] = from[i];
    }
}

/* ----------------------------------------------------------------- order */

/* The i-th of n: as they are, from the end, or in strides that are prime to
 * n, another one each time. */
static unsigned
turn(unsigned i, unsigned n, unsigned round)
{
    static const unsigned strides[] = {1, 7, 13, 29, 43, 61};
    const char *order = getenv("MRI_EMU_ORDER");
    unsigned stride = strides[round % MRI_COUNT(strides)];

    if (order == NULL || strcmp(order, "forward") == 0) {
        return i;
    }
    if (strcmp(order, "backward") == 0 || n % stride == 0) {
        return n - 1 - i;
    }
    return (unsigned)(((uint64_t)i * stride + round * 5) % n);
}

static void
run_block(unsigned block)
{
    unsigned threads = now.shape.threads, left = threads;

    now.block = block;
    now.arrived = 0;
    memset(now.warp_arrived, 0, sizeof now.warp_arrived);
    memset(now.shared, 0xFF, now.shape.shared); /* NaN */
    TSAN(__tsan_release(&now.begun));
    for (unsigned i = 0; i < threads; i++) {
        start(&now.fibers[i]);
    }
    for (unsigned round = 0; left != 0; round++) {
        bool moved = false;

        for (unsigned i = 0; i < threads; i++) {
            unsigned t = turn(i, threads, round);

            if (now.fibers[t].state == READY) {
                moved = true;
                resume(t);
                left -= now.fibers[t].state == DONE;
            }
        }
        if (!moved) {
            die("waits for threads that are gone or wait elsewhere");
        }
    }
    TSAN(__tsan_acquire(&now.ended));
}

void
emu_launch(emu_kernel *kernel, const void *args, size_t bytes, const char *name,
           emu_shape shape)
{
    const char *fail = getenv("MRI_EMU_FAIL");
    void *shared;

    pthread_mutex_lock(&lock);
    now.kernel = kernel;
    now.args = args;
    now.name = name;
    now.shape = shape;
    TSAN(now.scheduler_tsan = __tsan_get_current_fiber());
    if (shape.threads == 0 || shape.threads % WARP != 0 ||
        shape.threads > MOST || bytes > 4096 || shape.shared > 227 << 10) {
        die("a shape that no device takes");
    }
    if (posix_memalign(&shared, 64, shape.shared) != 0) {
        die("no memory");
    }
    now.shared = shared;
    for (unsigned i = 0; i < shape.grid; i++) {
        run_block(turn(i, shape.grid, shape.grid));
    }
    free(shared);
    emu_broken = emu_broken || (fail != NULL && strcmp(fail, name) == 0);
    pthread_mutex_unlock(&lock);
}
