/* SPDX-License-Identifier: Apache-2.0 */
/* gemm.c - products of matrices by oneDNN 2 or 3. */
#include "cpu/gemm.h"

#include <mri/alloc.h>

#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <string.h>

#define TABLE 128 /* lists of shapes; a network has some sixty */

/* What changes hands with a memory object of one worker. */
enum { ARG_A, ARG_B, ARG_C, ARG_BIAS, ARG_SCRATCH, ARGS };

struct gemm {
    gemm_shape shape;
    const gemm_cache *owner;
    dnnl_primitive_t primitive;
    size_t scratch;
    dnnl_memory_t (*memory)[ARGS]; /* [workers] */
    gemm *next;                    /* of the same hash */
};

struct gemm_cache {
    unsigned workers;
    dnnl_engine_t engine;
    dnnl_stream_t *streams; /* [workers] */
    gemm *table[TABLE];
};

/* ----------------------------------------------- version 2 and version 3 */

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t desc; /* an object */

static dnnl_status_t
make_desc(desc *out, int64_t rows, int64_t columns, int64_t row, int64_t column)
{
    const dnnl_dims_t dims = {rows, columns}, strides = {row, column};

    return dnnl_memory_desc_create_with_strides(out, 2, dims, dnnl_f32,
                                                strides);
}

static void
drop_desc(desc *d)
{
    (void)dnnl_memory_desc_destroy(*d);
}

static dnnl_status_t
make_memory(dnnl_memory_t *out, const desc *d, dnnl_engine_t engine)
{
    return dnnl_memory_create(out, *d, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t
make_matmul(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const desc d[4],
            bool bias, dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(out, engine, d[ARG_A], d[ARG_B],
                                             bias ? d[ARG_BIAS] : NULL,
                                             d[ARG_C], attr);
}

static dnnl_status_t
make_scratch(dnnl_memory_t *out, dnnl_primitive_desc_t pd, dnnl_engine_t engine,
             size_t *bytes)
{
    const_dnnl_memory_desc_t d =
        dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);

    *bytes = dnnl_memory_desc_get_size(d);
    return dnnl_memory_create(out, d, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t
append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

#else

typedef dnnl_memory_desc_t desc; /* a plain struct */

static dnnl_status_t
make_desc(desc *out, int64_t rows, int64_t columns, int64_t row, int64_t column)
{
    const dnnl_dims_t dims = {rows, columns}, strides = {row, column};

    return dnnl_memory_desc_init_by_strides(out, 2, dims, dnnl_f32, strides);
}

static void
drop_desc(desc *d)
{
    (void)d;
}

static dnnl_status_t
make_memory(dnnl_memory_t *out, const desc *d, dnnl_engine_t engine)
{
    return dnnl_memory_create(out, d, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t
make_matmul(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const desc d[4],
            bool bias, dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t op;
    dnnl_status_t s = dnnl_matmul_desc_init(
        &op, &d[ARG_A], &d[ARG_B], bias ? &d[ARG_BIAS] : NULL, &d[ARG_C]);

    return s != dnnl_success
               ? s
               : dnnl_primitive_desc_create(out, &op, attr, engine, NULL);
}

static dnnl_status_t
make_scratch(dnnl_memory_t *out, dnnl_primitive_desc_t pd, dnnl_engine_t engine,
             size_t *bytes)
{
    const dnnl_memory_desc_t *d =
        dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);

    *bytes = dnnl_memory_desc_get_size(d);
    return dnnl_memory_create(out, d, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t
append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

#endif

/* ----------------------------------------------------------------- cache */

const char *
gemm_library(void)
{
    static char text[48];
    const dnnl_version_t *v = dnnl_version();

    (void)snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor,
                   v->patch);
    return text;
}

/*
 * Where oneDNN is built over OpenMP it would start threads of its own; once on
 * each thread that calls it, we say one. The function is found by name and not
 * linked: which OpenMP there is, if any, is oneDNN's business.
 */
static void
keep_to_this_thread(void)
{
    static _Thread_local bool done;
    void *symbol;
    void (*set)(int);

    if (done) {
        return;
    }
    done = true;
    symbol = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (symbol != NULL) {
        memcpy(&set, &symbol, sizeof set);
        set(1);
    }
}

mr_err
gemm_cache_open(gemm_cache **out, unsigned workers, mr_diag *diag)
{
    gemm_cache *c = mri_alloc(1, sizeof *c);
    dnnl_status_t s = dnnl_out_of_memory;

    *out = NULL;
    if (c != NULL) {
        c->workers = workers;
        c->streams = mri_alloc(workers, sizeof *c->streams);
        s = c->streams != NULL ? dnnl_engine_create(&c->engine, dnnl_cpu, 0)
                               : dnnl_out_of_memory;
    }
    for (unsigned i = 0; s == dnnl_success && i < workers; i++) {
        s = dnnl_stream_create(&c->streams[i], c->engine,
                               dnnl_stream_default_flags);
    }
    if (s != dnnl_success) {
        gemm_cache_close(c);
        return mri_fail(diag, MRI_E_DEVICE, MR_NOWHERE,
                        "%s does not start (status %d)", gemm_library(),
                        (int)s);
    }
    *out = c;
    return MR_OK;
}

static void
gemm_free(gemm *g, unsigned workers)
{
    for (unsigned w = 0; g->memory != NULL && w < workers; w++) {
        for (int i = 0; i < ARGS; i++) {
            if (g->memory[w][i] != NULL) {
                (void)dnnl_memory_destroy(g->memory[w][i]);
            }
        }
    }
    if (g->primitive != NULL) {
        (void)dnnl_primitive_destroy(g->primitive);
    }
    mri_free(g->memory);
    mri_free(g);
}

void
gemm_cache_close(gemm_cache *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < TABLE; i++) {
        while (c->table[i] != NULL) {
            gemm *g = c->table[i];

            c->table[i] = g->next;
            gemm_free(g, c->workers);
        }
    }
    for (unsigned i = 0; c->streams != NULL && i < c->workers; i++) {
        if (c->streams[i] != NULL) {
            (void)dnnl_stream_destroy(c->streams[i]);
        }
    }
    if (c->engine != NULL) {
        (void)dnnl_engine_destroy(c->engine);
    }
    mri_free(c->streams);
    mri_free(c);
}

/* ------------------------------------------------------------ one shape */

static dnnl_status_t
make_attr(dnnl_primitive_attr_t *out, bool add)
{
    dnnl_status_t s = dnnl_primitive_attr_create(out);
    dnnl_post_ops_t ops = NULL;

    if (s == dnnl_success) {
        s = dnnl_primitive_attr_set_scratchpad_mode(*out,
                                                    dnnl_scratchpad_mode_user);
    }
    if (s != dnnl_success || !add) {
        return s;
    }
    s = dnnl_post_ops_create(&ops);
    if (s == dnnl_success) {
        s = append_sum(ops);
    }
    if (s == dnnl_success) {
        s = dnnl_primitive_attr_set_post_ops(*out, ops);
    }
    if (ops != NULL) {
        (void)dnnl_post_ops_destroy(ops);
    }
    return s;
}

static dnnl_status_t
make_memories(gemm *g, const gemm_cache *c, const desc d[4],
              dnnl_primitive_desc_t pd)
{
    dnnl_status_t s = dnnl_success;

    for (unsigned w = 0; s == dnnl_success && w < c->workers; w++) {
        for (int i = 0; s == dnnl_success && i < ARG_SCRATCH; i++) {
            if (i != ARG_BIAS || g->shape.bias) {
                s = make_memory(&g->memory[w][i], &d[i], c->engine);
            }
        }
        if (s == dnnl_success) {
            s = make_scratch(&g->memory[w][ARG_SCRATCH], pd, c->engine,
                             &g->scratch);
        }
    }
    return s;
}

static dnnl_status_t
make_gemm(gemm *g, const gemm_cache *c)
{
    const gemm_shape *p = &g->shape;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t s = dnnl_success;
    desc d[4] = {0};

    if (make_desc(&d[ARG_A], p->m, p->k, p->a_row, 1) != dnnl_success ||
        make_desc(&d[ARG_B], p->k, p->n, p->b_row, p->b_column) !=
            dnnl_success ||
        make_desc(&d[ARG_C], p->m, p->n, p->c_row, 1) != dnnl_success ||
        make_desc(&d[ARG_BIAS], 1, p->n, p->n, 1) != dnnl_success) {
        s = dnnl_invalid_arguments;
    }
    if (s == dnnl_success) {
        s = make_attr(&attr, p->add);
    }
    if (s == dnnl_success) {
        s = make_matmul(&pd, c->engine, d, p->bias, attr);
    }
    if (s == dnnl_success) {
        s = dnnl_primitive_create(&g->primitive, pd);
    }
    if (s == dnnl_success) {
        s = make_memories(g, c, d, pd);
    }
    if (attr != NULL) {
        (void)dnnl_primitive_attr_destroy(attr);
    }
    if (pd != NULL) {
        (void)dnnl_primitive_desc_destroy(pd);
    }
    for (int i = 0; i < 4; i++) {
        drop_desc(&d[i]);
    }
    return s;
}

static size_t
hash_of(const gemm_shape *s)
{
    const int64_t parts[] = {s->m,        s->n,     s->k,   s->a_row, s->b_row,
                             s->b_column, s->c_row, s->add, s->bias};
    uint64_t h = 0xCBF29CE484222325u;

    for (size_t i = 0; i < MRI_COUNT(parts); i++) {
        h = (h ^ (uint64_t)parts[i]) * 0x100000001B3u;
        h ^= h >> 29;
    }
    return (size_t)(h % TABLE);
}

static bool
same_shape(const gemm_shape *a, const gemm_shape *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k &&
           a->a_row == b->a_row && a->b_row == b->b_row &&
           a->b_column == b->b_column && a->c_row == b->c_row &&
           a->add == b->add && a->bias == b->bias;
}

static mr_err
make_shape(gemm **out, gemm_cache *c, const gemm_shape *shape, mr_diag *diag)
{
    gemm *g = mri_alloc(1, sizeof *g);
    dnnl_status_t s = dnnl_out_of_memory;

    if (g != NULL) {
        g->shape = *shape;
        g->owner = c;
        g->memory = mri_alloc(c->workers, sizeof *g->memory);
        s = g->memory != NULL ? make_gemm(g, c) : dnnl_out_of_memory;
    }
    if (s == dnnl_success) {
        *out = g;
        return MR_OK;
    }
    if (g != NULL) {
        gemm_free(g, c->workers);
    }
    return mri_fail(diag, s == dnnl_out_of_memory ? MRI_E_MEMORY : MRI_E_DEVICE,
                    MR_NOWHERE,
                    "%s has no product of [%lld,%lld] and [%lld,%lld] "
                    "(status %d)",
                    gemm_library(), (long long)shape->m, (long long)shape->k,
                    (long long)shape->k, (long long)shape->n, (int)s);
}

mr_err
gemm_get(gemm **out, gemm_cache *c, const gemm_shape *shape, mr_diag *diag)
{
    gemm **list = &c->table[hash_of(shape)], *g;
    mr_err err;

    for (g = *list; g != NULL; g = g->next) {
        if (same_shape(&g->shape, shape)) {
            *out = g;
            return MR_OK;
        }
    }
    keep_to_this_thread();
    err = make_shape(&g, c, shape, diag);
    if (err == MR_OK) {
        g->next = *list;
        *list = g;
        *out = g;
    }
    return err;
}

size_t
gemm_scratch(const gemm *g)
{
    return g->scratch;
}

bool
gemm_run(const gemm *g, unsigned worker, const float *a, const float *b,
         const float *bias, float *c, void *scratch)
{
    dnnl_memory_t *m = g->memory[worker];
    const dnnl_exec_arg_t args[ARGS] = {
        {DNNL_ARG_SRC, m[ARG_A]},     {DNNL_ARG_WEIGHTS, m[ARG_B]},
        {DNNL_ARG_DST, m[ARG_C]},     {DNNL_ARG_SCRATCHPAD, m[ARG_SCRATCH]},
        {DNNL_ARG_BIAS, m[ARG_BIAS]},
    };
    const void *handles[ARGS] = {a, b, c, bias, scratch};

    keep_to_this_thread();
    for (int i = 0; i < ARGS; i++) {
        /* oneDNN takes inputs as void *; it does not write them */
        if (m[i] != NULL &&
            dnnl_memory_set_data_handle(m[i], (void *)(uintptr_t)handles[i]) !=
                dnnl_success) {
            return false;
        }
    }
    return dnnl_primitive_execute(g->primitive, g->owner->streams[worker],
                                  g->shape.bias ? ARGS : ARGS - 1,
                                  args) == dnnl_success;
}
