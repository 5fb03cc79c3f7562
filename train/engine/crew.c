/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crew.c - the parts of a batch, and the tree that adds them up.
 *
 * The tree is over parts, cut in halves down to single ones. Whoever finishes
 * the second child of a node adds the right one to the left one and goes on
 * upwards. So no thread waits for another, few buffers of gradients are alive
 * at a time, and which sums are made does not depend on who came when.
 */
#include <mri/crew.h>

#include <mri/alloc.h>
#include <mri/cpu.h>
#include <mri/thread.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define NO_PARENT UINT32_MAX

typedef struct knot {
    uint32_t parent, left, right; /* left == right: a leaf */
    atomic_uint arrived;
    void *grads;
} knot;

struct mri_crew {
    mri_crew_options options;
    mri_exec *main;
    mri_exec **execs; /* [lanes]; lane 0 together is main */
    mri_lane **lane;
    unsigned lanes;
    mri_pool *pool;
    const mri_graph *g;

    knot *tree; /* [2 parts - 1], root at 0 */
    uint32_t *leaves;
    void **buffers; /* [parts + 1] of gradients; the first `used` are taken */
    size_t used, made;
    pthread_mutex_t lock;
};

/* ------------------------------------------------------------ opening */

/* Cut [first, first + count) in halves; returns the knot that holds it. */
static uint32_t
grow_tree(mri_crew *c, uint32_t *next, uint32_t first, uint32_t count,
          uint32_t parent)
{
    uint32_t at = (*next)++, left;

    c->tree[at].parent = parent;
    if (count == 1) {
        c->leaves[first] = at;
        c->tree[at].left = c->tree[at].right = at;
        return at;
    }
    left = (count + 1) / 2;
    c->tree[at].left = grow_tree(c, next, first, left, at);
    c->tree[at].right = grow_tree(c, next, first + left, count - left, at);
    return at;
}

static mr_err
open_execs(mri_crew *c, mr_diag *diag)
{
    const mri_crew_options *o = &c->options;
    mri_exec_options all = {.threads = o->threads, .device = o->device};
    mri_exec_options one = {.threads = 1, .device = o->device};
    mr_err err = mri_exec_open(&c->main, o->backend, &all, diag);

    for (unsigned i = 0; err == MR_OK && c->options.apart && i < c->lanes;
         i++) {
        err = mri_exec_open(&c->execs[i], o->backend, &one, diag);
    }
    if (err == MR_OK && c->lanes > 1) {
        err = mri_pool_open(&c->pool, c->lanes, diag);
    }
    return err;
}

/* Apart, there are as many lanes as threads, but no more than parts. */
static unsigned
lanes_for(const mri_crew_options *o)
{
    unsigned threads = o->threads != 0 ? o->threads : mri_cpu_count();

    if (!o->apart) {
        return 1;
    }
    return threads < o->parts ? threads : o->parts;
}

mr_err
mri_crew_open(mri_crew **out, const mri_crew_options *options, mr_diag *diag)
{
    mri_crew *c = mri_alloc(1, sizeof *c);
    uint32_t knots = 0;
    mr_err err;

    *out = NULL;
    if (c == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for a crew");
    }
    c->options = *options;
    c->options.parts = options->parts == 0 ? 1 : options->parts;
    c->options.apart = options->apart && options->backend->host;
    c->lanes = lanes_for(&c->options);
    pthread_mutex_init(&c->lock, NULL);
    c->execs = mri_alloc(c->lanes, sizeof(mri_exec *));
    c->lane = mri_alloc(c->lanes, sizeof(mri_lane *));
    c->tree = mri_alloc(2 * (size_t)c->options.parts, sizeof *c->tree);
    c->leaves = mri_alloc(c->options.parts, sizeof *c->leaves);
    c->buffers = mri_alloc((size_t)c->options.parts + 1, sizeof(void *));
    if (c->execs == NULL || c->lane == NULL || c->tree == NULL ||
        c->leaves == NULL || c->buffers == NULL) {
        mri_crew_close(c);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for a crew");
    }
    (void)grow_tree(c, &knots, 0, c->options.parts, NO_PARENT);
    err = open_execs(c, diag);
    if (err != MR_OK) {
        mri_crew_close(c);
        return err;
    }
    *out = c;
    return MR_OK;
}

void
mri_crew_close(mri_crew *c)
{
    if (c == NULL) {
        return;
    }
    mri_pool_close(c->pool);
    for (unsigned i = 0; c->lane != NULL && i < c->lanes; i++) {
        mri_lane_close(c->lane[i]);
    }
    while (c->made != 0) {
        c->options.backend->free(c->main, c->buffers[--c->made]);
    }
    for (unsigned i = 0; c->execs != NULL && i < c->lanes; i++) {
        mri_exec_close(c->execs[i]);
    }
    mri_exec_close(c->main);
    pthread_mutex_destroy(&c->lock);
    mri_free(c->execs);
    mri_free(c->lane);
    mri_free(c->tree);
    mri_free(c->leaves);
    mri_free(c->buffers);
    mri_free(c);
}

mri_exec *
mri_crew_exec(const mri_crew *c)
{
    return c->main;
}

unsigned
mri_crew_lanes(const mri_crew *c)
{
    return c->lanes;
}

mri_lane *
mri_crew_lane(const mri_crew *c, unsigned i)
{
    return c->lane[i];
}

static mri_exec *
exec_of(const mri_crew *c, unsigned worker)
{
    return c->options.apart ? c->execs[worker] : c->main;
}

mr_err
mri_crew_load(mri_crew *c, const mri_graph *g, const mri_params *store,
              mr_diag *diag)
{
    mr_err err = MR_OK;

    c->g = g;
    for (unsigned i = 0; err == MR_OK && i < c->lanes; i++) {
        err = mri_lane_open(&c->lane[i], g, store, exec_of(c, i), diag);
    }
    return err;
}

/* ----------------------------------------------------------- gradients */

static mr_err
moved(const mri_exec *exec, mr_err err, mr_diag *diag)
{
    if (err != MR_OK && diag != NULL) {
        *diag = exec->diag;
    }
    return err;
}

/* A buffer that nobody uses, zeroed when it is new: gaps stay zero. */
static mr_err
take_buffer(mri_crew *c, mri_exec *exec, void **out, mr_diag *diag)
{
    uint64_t bytes = mri_graph_costs(c->g).grads;
    mr_err err = MR_OK;

    pthread_mutex_lock(&c->lock);
    if (c->used == c->made) {
        err = exec->backend->alloc(exec, &c->buffers[c->made], bytes);
        if (err == MR_OK) {
            err = exec->backend->fill(exec, c->buffers[c->made++], 0, bytes);
        }
    }
    if (err == MR_OK) {
        *out = c->buffers[c->used++];
    }
    pthread_mutex_unlock(&c->lock);
    return moved(exec, err, diag);
}

static void
give_buffer(mri_crew *c, void *buffer)
{
    size_t at = 0;

    pthread_mutex_lock(&c->lock);
    while (c->buffers[at] != buffer) {
        at++;
    }
    c->buffers[at] = c->buffers[--c->used];
    c->buffers[c->used] = buffer;
    pthread_mutex_unlock(&c->lock);
}

static mr_err
add_right_to_left(mri_crew *c, mri_exec *exec, const knot *k, mr_diag *diag)
{
    mr_dtype dtype = mri_graph_dtype(c->g);
    uint64_t len = mri_graph_costs(c->g).grads / mr_dtype_bytes(dtype);
    mri_add_args a = {
        .a = mr_tensor_of(c->tree[k->left].grads, dtype, 1, &len),
        .b = mr_tensor_of(c->tree[k->right].grads, dtype, 1, &len)};

    a.y = a.a;
    return moved(exec, exec->backend->ops->add(exec, &a), diag);
}

/* A knot's gradients are there: go up while the other child's are, too. */
static mr_err
climb(mri_crew *c, mri_exec *exec, uint32_t at, mr_diag *diag)
{
    while (c->tree[at].parent != NO_PARENT) {
        knot *up = &c->tree[c->tree[at].parent];
        mr_err err;

        if (atomic_fetch_add(&up->arrived, 1) == 0) {
            return MR_OK; /* whoever brings the sibling goes on */
        }
        err = add_right_to_left(c, exec, up, diag);
        if (err != MR_OK) {
            return err;
        }
        up->grads = c->tree[up->left].grads;
        give_buffer(c, c->tree[up->right].grads);
        at = c->tree[at].parent;
    }
    return MR_OK;
}

/* ----------------------------------------------------------------- parts */

typedef struct crew_run {
    mri_crew *crew;
    const mri_feed *feeds;
    size_t count;
} crew_run;

static mr_err
feed_part(const crew_run *r, mri_lane *lane, size_t part, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (size_t i = 0; err == MR_OK && i < r->count; i++) {
        const mri_feed *f = &r->feeds[i];

        err =
            mri_lane_put(lane, f->name, (const char *)f->data + part * f->step,
                         f->bytes, diag);
    }
    return err;
}

static mr_err
run_part(void *arg, size_t part, unsigned worker, mr_diag *diag)
{
    const crew_run *r = arg;
    mri_crew *c = r->crew;
    mri_exec *exec = exec_of(c, worker);
    uint32_t leaf = c->leaves[part];
    mr_err err = feed_part(r, c->lane[worker], part, diag);

    if (err == MR_OK) {
        err = take_buffer(c, exec, &c->tree[leaf].grads, diag);
    }
    if (err == MR_OK) {
        err = mri_lane_run(c->lane[worker], c->tree[leaf].grads, diag);
    }
    if (err == MR_OK) {
        err = climb(c, exec, leaf, diag);
    }
    return err;
}

mr_err
mri_crew_run(mri_crew *c, const mri_feed *feeds, size_t count, void **grads,
             mr_diag *diag)
{
    crew_run r = {c, feeds, count};
    uint32_t parts = c->options.parts;
    mr_err err = MR_OK;

    *grads = NULL;
    c->used = 0; /* whatever the last run left, a failed one too */
    for (uint32_t i = 0; i < 2 * parts - 1; i++) {
        atomic_store(&c->tree[i].arrived, 0);
        c->tree[i].grads = NULL;
    }
    if (c->pool != NULL) {
        err = mri_pool_run(c->pool, parts, run_part, &r, diag);
    } else {
        for (size_t i = 0; err == MR_OK && i < parts; i++) {
            err = run_part(&r, i, 0, diag);
        }
    }
    if (err != MR_OK) {
        return err;
    }
    *grads = c->tree[0].grads;
    return moved(c->main, c->options.backend->sync(c->main), diag);
}

mr_err
mri_crew_hunt(mri_crew *c, const mri_feed *feeds, size_t count, mr_diag *diag)
{
    crew_run r = {c, feeds, count};
    void *grads = NULL;
    mr_err err;

    c->used = 0;
    err = take_buffer(c, exec_of(c, 0), &grads, diag);

    for (size_t i = 0; err == MR_OK && i < c->options.parts; i++) {
        err = feed_part(&r, c->lane[0], i, diag);
        if (err == MR_OK) {
            err = mri_lane_hunt(c->lane[0], grads, diag);
        }
    }
    return err;
}
