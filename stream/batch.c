/* SPDX-License-Identifier: Apache-2.0 */
/* batch.c - batches, counted, from a pool. */
#include "batch.h"

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/error.h>

#include <pthread.h>
#include <string.h>

#define ALIGN 64

struct mri_batch_pool {
    atomic_uint refs; /* the stream, and every batch that is out */
    pthread_mutex_t lock;
    mr_batch *free_list;
    uint64_t rows, bytes;
    size_t count;
    mr_stream_tensor tensors[MRI_ROWS_TENSORS];
    char *names[MRI_ROWS_TENSORS];
    uint64_t at[MRI_ROWS_TENSORS]; /* of each tensor in the block */
};

static void
destroy(mri_batch_pool *pool)
{
    while (pool->free_list != NULL) {
        mr_batch *b = pool->free_list;

        pool->free_list = b->next;
        mri_free(b->memory);
        mri_free(b);
    }
    for (size_t i = 0; i < pool->count; i++) {
        mri_free(pool->names[i]);
    }
    pthread_mutex_destroy(&pool->lock);
    mri_free(pool);
}

static void
release_pool(mri_batch_pool *pool)
{
    if (atomic_fetch_sub(&pool->refs, 1) == 1) {
        destroy(pool);
    }
}

/* Where each tensor stands in a block. */
static bool
lay_out(mri_batch_pool *pool)
{
    for (size_t i = 0; i < pool->count; i++) {
        uint64_t bytes;

        pool->at[i] = pool->bytes;
        if (!mri_mul(pool->tensors[i].bytes, pool->rows, &bytes) ||
            !mri_add(pool->bytes, bytes, &pool->bytes) ||
            pool->bytes > INT64_MAX / 2) {
            return false;
        }
        pool->bytes = mri_round_up(pool->bytes, ALIGN);
    }
    return true;
}

mr_err
mri_batch_pool_open(mri_batch_pool **out, const mri_rows_facts *facts,
                    uint64_t rows, mr_diag *diag)
{
    mri_batch_pool *pool = mri_alloc(1, sizeof *pool);
    bool ok = pool != NULL;

    *out = NULL;
    if (ok) {
        pthread_mutex_init(&pool->lock, NULL);
        pool->refs = 1;
        pool->rows = rows;
        for (size_t i = 0; ok && i < facts->tensor_count; i++) {
            pool->tensors[i] = facts->tensors[i];
            pool->names[i] = mri_strdup(facts->tensors[i].name);
            pool->tensors[i].name = pool->names[i];
            pool->count++;
            ok = pool->names[i] != NULL;
        }
        ok = ok && lay_out(pool);
    }
    if (!ok) {
        if (pool != NULL) {
            destroy(pool);
        }
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for batches of %llu rows",
                        (unsigned long long)rows);
    }
    *out = pool;
    return MR_OK;
}

void
mri_batch_pool_close(mri_batch_pool *pool)
{
    if (pool != NULL) {
        release_pool(pool);
    }
}

static mr_batch *
reuse(mri_batch_pool *pool)
{
    mr_batch *b;

    pthread_mutex_lock(&pool->lock);
    b = pool->free_list;
    if (b != NULL) {
        pool->free_list = b->next;
    }
    pthread_mutex_unlock(&pool->lock);
    return b;
}

mr_err
mri_batch_take(mri_batch_pool *pool, mr_batch **out, mr_diag *diag)
{
    mr_batch *b = reuse(pool);

    *out = NULL;
    if (b == NULL) {
        b = mri_alloc(1, sizeof *b);
        if (b != NULL) {
            b->memory = mri_alloc_pixels(pool->bytes, 1);
        }
        if (b == NULL || b->memory == NULL) {
            mri_free(b);
            return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                            "no memory for a batch of %llu bytes",
                            (unsigned long long)pool->bytes);
        }
    }
    b->refs = 1;
    b->pool = pool;
    b->rows = pool->rows;
    b->request = (mri_request){.rows = pool->rows};
    for (size_t i = 0; i < pool->count; i++) {
        b->request.to[i] = (uint8_t *)b->memory + pool->at[i];
    }
    atomic_fetch_add(&pool->refs, 1);
    *out = b;
    return MR_OK;
}

void
mri_batch_finish(mr_batch *b)
{
    const mri_batch_pool *pool = b->pool;

    for (size_t i = 0; i < pool->count; i++) {
        const mr_stream_tensor *t = &pool->tensors[i];
        uint64_t shape[MR_MAX_RANK] = {b->rows};

        memcpy(shape + 1, t->shape, t->rank * sizeof *shape);
        b->tensors[i] =
            mr_tensor_of(b->request.to[i], t->dtype, t->rank + 1, shape);
        if (strcmp(t->name, "valid") == 0) {
            const uint8_t *valid = b->request.to[i];

            b->valid = 0;
            for (uint64_t r = 0; r < b->rows; r++) {
                b->valid += valid[r];
            }
        }
    }
}

mr_batch *
mr_batch_ref(mr_batch *b)
{
    atomic_fetch_add(&b->refs, 1);
    return b;
}

void
mr_batch_unref(mr_batch *b)
{
    mri_batch_pool *pool;

    if (b == NULL || atomic_fetch_sub(&b->refs, 1) != 1) {
        return;
    }
    pool = b->pool;
    if (b->request.let_go != NULL) {
        b->request.let_go(b->request.hold);
    }
    mri_free(b->request.lost);
    b->request = (mri_request){0};
    pthread_mutex_lock(&pool->lock);
    b->next = pool->free_list;
    pool->free_list = b;
    pthread_mutex_unlock(&pool->lock);
    release_pool(pool);
}

uint64_t
mr_batch_epoch(const mr_batch *b)
{
    return b->request.epoch;
}

uint64_t
mr_batch_index(const mr_batch *b)
{
    return b->index;
}

uint64_t
mr_batch_rows(const mr_batch *b)
{
    return b->rows;
}

uint64_t
mr_batch_first_row(const mr_batch *b)
{
    return b->first_row;
}

uint64_t
mr_batch_valid_rows(const mr_batch *b)
{
    return b->valid;
}

size_t
mr_batch_tensors(const mr_batch *b)
{
    return b->pool->count;
}

const mr_tensor *
mr_batch_tensor_at(const mr_batch *b, size_t i)
{
    return i < b->pool->count ? &b->tensors[i] : NULL;
}

const char *
mr_batch_name_at(const mr_batch *b, size_t i)
{
    return i < b->pool->count ? b->pool->tensors[i].name : "";
}

const mr_tensor *
mr_batch_tensor(const mr_batch *b, const char *name)
{
    for (size_t i = 0; i < b->pool->count; i++) {
        if (strcmp(b->pool->tensors[i].name, name) == 0) {
            return &b->tensors[i];
        }
    }
    return NULL;
}
