/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search.c - the nearest neighbours of many rows among many.
 *
 * Both sides are brought to length one and packed as the screen wants them:
 * the rows of train in panels, once; those of test in blocks, a group of
 * blocks a task. A task walks all of train in chunks that stay in the second
 * cache while the blocks of the group pass over them.
 */
#include "nearest.h"

#include <mri/alloc.h>
#include <mri/cpu.h>
#include <mri/error.h>
#include <mri/thread.h>

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define SHORTEST 1e-12 /* lengths below count as this one */
#define GROUP_BYTES (1u << 20)
#define CHUNK_BYTES (384u << 10)
#define LIST_BYTES (16u << 20) /* of the candidates of a group */
#define GROUP_BLOCKS 32
#define SPARE 256      /* candidates beyond k, at least */
#define PACK_PANELS 16 /* of a task */
#define PACK_STEP 64   /* numbers of each row in turn: they stay near */

/* Memory of one thread. */
typedef struct bench {
    float *blocks;   /* a group's rows, packed */
    double *inverse; /* of them */
    float *least;    /* what the screen compares with */
    nearest *rows;   /* and their candidates */
    candidate *lists;
    double *values;
    float *scores;
} bench;

typedef struct search {
    const mri_search_in *in;
    const screen_kernel *screen;
    nearest_rule rule;
    float *panels; /* all of train, packed */
    double *inverse;
    size_t panel_count, block_count; /* of train, of test */
    size_t groups, group;            /* tasks; blocks of one, at most */
    size_t chunk;                    /* panels */
    bench *benches;
    unsigned workers;
    atomic_uint_least64_t passed; /* block times panel */
    uint32_t *index;
    double *cosine;
} search;

/* ----------------------------------------------------------------- packing */

/*
 * Rows first .. first + width - 1, brought to length one, side by side: number
 * i of row c goes to out[i * width + c]. Rows beyond the last are zeros.
 */
static void
pack(const search *s, const mri_vectors *v, uint64_t first, size_t width,
     float *out, double *inverse)
{
    uint32_t dim = s->in->dim;
    uint64_t left = v->count - first;
    size_t rows = left < width ? (size_t)left : width;

    for (size_t c = 0; c < rows; c++) {
        const float *row = vectors_at(v, first + c, dim);
        double length = sqrt(s->rule.kernel->dot(row, row, dim));

        inverse[c] = 1 / (length > SHORTEST ? length : SHORTEST);
    }
    if (rows < width) {
        memset(out, 0, dim * width * sizeof *out);
    }
    for (size_t at = 0; at < dim; at += PACK_STEP) {
        size_t end = at + PACK_STEP < dim ? at + PACK_STEP : dim;

        for (size_t c = 0; c < rows; c++) {
            const float *row = vectors_at(v, first + c, dim);

            for (size_t i = at; i < end; i++) {
                out[i * width + c] = (float)((double)row[i] * inverse[c]);
            }
        }
    }
}

static mr_err
pack_task(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    const search *s = arg;
    size_t width = s->screen->columns;
    size_t end = (task + 1) * PACK_PANELS;

    (void)worker;
    (void)diag;
    for (size_t p = task * PACK_PANELS; p < end && p < s->panel_count; p++) {
        pack(s, &s->in->train, p * width, width,
             s->panels + p * width * s->in->dim, s->inverse + p * width);
    }
    return MR_OK;
}

/* ------------------------------------------------------------------ search */

/* The scores of one block and panel that were let through. */
static void
take(const search *s, bench *b, size_t block, size_t panel, uint32_t rows)
{
    size_t columns = s->screen->columns;

    while (rows != 0) {
        size_t r = (size_t)__builtin_ctz(rows), at;
        const float *score = b->scores + r * columns;
        nearest *q;

        at = block * s->screen->rows + r;
        q = &b->rows[at];
        for (size_t c = 0; c < columns; c++) {
            uint64_t index = (uint64_t)panel * columns + c;

            if (score[c] >= q->least && index < s->in->train.count) {
                nearest_add(q, &s->rule, (uint32_t)index, score[c], b->values);
            }
        }
        b->least[at] = q->least;
        rows &= rows - 1;
    }
}

/* All blocks of a group against the panels [first, end). */
static void
pass_chunk(const search *s, bench *b, size_t blocks, size_t first, size_t end)
{
    const screen_kernel *k = s->screen;
    size_t dim = s->in->dim;

    for (size_t i = 0; i < blocks; i++) {
        const float *block = b->blocks + i * k->rows * dim;
        const float *least = b->least + i * k->rows;

        for (size_t p = first; p < end; p++) {
            uint32_t rows = k->block(
                b->scores, block, s->panels + p * k->columns * dim, dim, least);

            if (rows != 0) {
                take(s, b, i, p, rows);
            }
        }
    }
}

static void
begin_group(const search *s, bench *b, size_t first, size_t blocks)
{
    size_t width = s->screen->rows, dim = s->in->dim;

    for (size_t i = 0; i < blocks; i++) {
        pack(s, &s->in->test, (first + i) * width, width,
             b->blocks + i * width * dim, b->inverse + i * width);
    }
    for (size_t i = 0; i < blocks * width; i++) {
        uint64_t row = first * width + i;

        b->least[i] = INFINITY; /* beyond the last row nothing passes */
        if (row < s->in->test.count) {
            nearest_begin(&b->rows[i], b->lists + i * s->rule.room,
                          vectors_at(&s->in->test, row, s->in->dim),
                          b->inverse[i]);
            b->least[i] = b->rows[i].least;
        }
    }
}

static void
end_group(const search *s, bench *b, size_t first, size_t blocks)
{
    size_t width = s->screen->rows;
    uint32_t k = s->rule.k;

    for (size_t i = 0; i < blocks * width; i++) {
        uint64_t row = first * width + i;

        if (row < s->in->test.count) {
            nearest_end(&b->rows[i], &s->rule, b->values, s->index + row * k,
                        s->cosine + row * k);
        }
    }
}

/* Only the first thread talks to the caller. */
static bool
stopped(search *s, unsigned worker, size_t passed)
{
    const mr_watch *watch = s->in->watch;
    uint64_t all = atomic_fetch_add(&s->passed, passed) + passed;

    if (worker != 0 || watch == NULL) {
        return false;
    }
    if (watch->progress != NULL) {
        uint64_t blocks = all / s->panel_count, rows = s->in->test.count;
        mr_progress now = {.unit = "rows", .total = rows};

        now.done = blocks * s->screen->rows;
        now.done = now.done < rows ? now.done : rows;
        watch->progress(watch->user, &now);
    }
    return watch->stop != NULL && watch->stop(watch->user);
}

static mr_err
search_task(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    search *s = arg;
    bench *b = &s->benches[worker];
    size_t first = task * s->block_count / s->groups;
    size_t blocks = (task + 1) * s->block_count / s->groups - first;

    begin_group(s, b, first, blocks);
    for (size_t p = 0; p < s->panel_count; p += s->chunk) {
        size_t end =
            p + s->chunk < s->panel_count ? p + s->chunk : s->panel_count;

        pass_chunk(s, b, blocks, p, end);
        if (stopped(s, worker, blocks * (end - p))) {
            return mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
        }
    }
    end_group(s, b, first, blocks);
    return MR_OK;
}

/* ------------------------------------------------------------------ memory */

static size_t
at_least_one(size_t n)
{
    return n > 0 ? n : 1;
}

/*
 * How far a screened product may be from the cosine, of vectors that are at
 * most 1 long. Each packed number is rounded once, each product and each sum
 * once: dim + 2 roundings on the longest way, so at most (dim + 2) u / (1 -
 * (dim + 2) u) times the sum of the |a b|, which is at most 1; u is 2^-24. The
 * rest is room for the rounding of `least`, and of f64.
 */
static double
bound_of(uint32_t dim)
{
    return 1.01 * ((double)dim + 8) * 0x1p-24;
}

static void
plan(search *s)
{
    const mri_search_in *in = s->in;
    size_t width = s->screen->columns, rows = s->screen->rows;
    size_t row_bytes = in->dim * sizeof(float), limit, each;

    s->rule = (nearest_rule){.kernel = exact_kernel_now(),
                             .train = in->train,
                             .dim = in->dim,
                             .k = in->k,
                             .room = in->k + (in->k > SPARE ? in->k : SPARE),
                             .bound = bound_of(in->dim)};
    s->panel_count = (size_t)((in->train.count + width - 1) / width);
    s->block_count = (size_t)((in->test.count + rows - 1) / rows);
    s->chunk = at_least_one(CHUNK_BYTES / (width * row_bytes));
    limit = GROUP_BYTES / (rows * row_bytes);
    each = LIST_BYTES / (rows * s->rule.room * sizeof(candidate));
    limit = limit < each ? limit : each;
    limit = at_least_one(limit < GROUP_BLOCKS ? limit : GROUP_BLOCKS);
    /* Equal tasks, and as many for each thread, at least four. */
    each = (s->block_count + limit * s->workers - 1) / (limit * s->workers);
    s->groups = (each > 4 ? each : 4) * s->workers;
    s->groups = s->groups < s->block_count ? s->groups : s->block_count;
    s->group = (s->block_count + s->groups - 1) / s->groups;
}

static bool
open_bench(const search *s, bench *b)
{
    size_t rows = s->group * s->screen->rows;

    b->blocks = mri_alloc_pixels(rows * s->in->dim, sizeof *b->blocks);
    b->inverse = mri_alloc(rows, sizeof *b->inverse);
    b->least = mri_alloc(rows, sizeof *b->least);
    b->rows = mri_alloc(rows, sizeof *b->rows);
    b->lists = mri_alloc_pixels(rows * s->rule.room, sizeof *b->lists);
    b->values = mri_alloc(s->rule.room, sizeof *b->values);
    b->scores = mri_alloc_pixels((size_t)s->screen->rows * s->screen->columns,
                                 sizeof *b->scores);
    return b->blocks != NULL && b->inverse != NULL && b->least != NULL &&
           b->rows != NULL && b->lists != NULL && b->values != NULL &&
           b->scores != NULL;
}

static mr_err
open_memory(search *s, mr_diag *diag)
{
    size_t width = s->panel_count * s->screen->columns;
    bool ok;

    s->panels = mri_alloc_pixels(width, s->in->dim * sizeof *s->panels);
    s->inverse = mri_alloc(width, sizeof *s->inverse);
    s->benches = mri_alloc(s->workers, sizeof *s->benches);
    ok = s->panels != NULL && s->inverse != NULL && s->benches != NULL;
    for (unsigned i = 0; ok && i < s->workers; i++) {
        ok = open_bench(s, &s->benches[i]);
    }
    s->rule.inverse = s->inverse;
    return ok ? MR_OK
              : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                         "no memory to compare %llu rows of %u numbers",
                         (unsigned long long)s->in->train.count, s->in->dim);
}

static void
release(search *s)
{
    for (unsigned i = 0; s->benches != NULL && i < s->workers; i++) {
        bench *b = &s->benches[i];

        mri_free(b->blocks);
        mri_free(b->inverse);
        mri_free(b->least);
        mri_free(b->rows);
        mri_free(b->lists);
        mri_free(b->values);
        mri_free(b->scores);
    }
    mri_free(s->benches);
    mri_free(s->panels);
    mri_free(s->inverse);
}

mr_err
mri_search(const mri_search_in *in, uint32_t *index, double *cosine,
           mr_diag *diag)
{
    search s = {.in = in,
                .screen = screen_kernel_now(),
                .index = index,
                .cosine = cosine,
                .workers = in->threads != 0 ? in->threads : mri_cpu_count()};
    mri_pool *pool = NULL;
    mr_err err;

    if (in->test.count == 0) {
        return MR_OK;
    }
    plan(&s);
    err = open_memory(&s, diag);
    if (err == MR_OK) {
        err = mri_pool_open(&pool, s.workers, diag);
    }
    if (err == MR_OK) {
        size_t tasks = (s.panel_count + PACK_PANELS - 1) / PACK_PANELS;

        err = mri_pool_run(pool, tasks, pack_task, &s, diag);
    }
    if (err == MR_OK) {
        err = mri_pool_run(pool, s.groups, search_task, &s, diag);
    }
    mri_pool_close(pool);
    release(&s);
    return err;
}
