/* SPDX-License-Identifier: Apache-2.0 */
/* params.c - parameters on a device, and how they are drawn. */
#include <mri/lane.h>

#include <mri/alloc.h>
#include <mri/cpu.h>
#include <mri/fmath.h>
#include <mri/rng.h>
#include <mri/thread.h>

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct mri_params {
    mri_exec *exec;
    mr_dtype dtype;
    size_t count;
    mri_slot *slots; /* names are copies */
    void *arenas[MRI_SETS];
    uint64_t bytes[MRI_SETS];
};

/* Nothing of a failed exec call is lost: its text goes to the caller. */
static mr_err
moved(const mri_exec *exec, mr_err err, mr_diag *diag)
{
    if (err != MR_OK && diag != NULL) {
        *diag = exec->diag;
    }
    return err;
}

static mr_err
copy_slots(mri_params *s, const mri_graph *g, mr_diag *diag)
{
    s->count = mri_graph_params(g);
    s->slots = mri_alloc(s->count, sizeof *s->slots);
    for (size_t i = 0; s->slots != NULL && i < s->count; i++) {
        s->slots[i] = mri_graph_param(g, i);
        s->slots[i].name = mri_strdup(s->slots[i].name);
        if (s->slots[i].name == NULL) {
            s->count = i;
            break;
        }
    }
    if (s->slots == NULL || s->count != mri_graph_params(g)) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for the names of parameters");
    }
    return MR_OK;
}

/* A shadow follows the trained parameter at its place, if there are both. */
static mr_err
check_shadows(const mri_params *s, mr_diag *diag)
{
    if (s->bytes[MRI_SET_SHADOW] != 0 && s->bytes[MRI_SET_TRAINED] != 0 &&
        s->bytes[MRI_SET_SHADOW] != s->bytes[MRI_SET_TRAINED]) {
        return mri_fail(diag, MRI_E_GRAPH_SHAPE, MR_NOWHERE,
                        "the trained parameters (%" PRIu64
                        " bytes) and their shadows (%" PRIu64
                        ") are not laid out alike",
                        s->bytes[MRI_SET_TRAINED], s->bytes[MRI_SET_SHADOW]);
    }
    return MR_OK;
}

mr_err
mri_params_open(mri_params **out, const mri_graph *g, mri_exec *exec,
                mr_diag *diag)
{
    mri_params *s = mri_alloc(1, sizeof *s);
    mri_costs costs = mri_graph_costs(g);
    mr_err err;

    *out = NULL;
    if (s == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for a store");
    }
    s->exec = exec;
    memcpy(s->bytes, costs.sets, sizeof s->bytes);
    err = copy_slots(s, g, diag);
    if (err == MR_OK) {
        err = check_shadows(s, diag);
    }
    s->dtype = mri_graph_dtype(g);
    for (int i = 0; err == MR_OK && i < MRI_SETS; i++) {
        if (s->bytes[i] == 0) {
            continue;
        }
        err = exec->backend->alloc(exec, &s->arenas[i], s->bytes[i]);
        if (err == MR_OK) {
            err = exec->backend->fill(exec, s->arenas[i], 0, s->bytes[i]);
        }
        err = moved(exec, err, diag);
    }
    if (err != MR_OK) {
        mri_params_close(s);
        return err;
    }
    *out = s;
    return MR_OK;
}

void
mri_params_close(mri_params *s)
{
    if (s == NULL) {
        return;
    }
    for (int i = 0; i < MRI_SETS; i++) {
        if (s->arenas[i] != NULL) {
            s->exec->backend->free(s->exec, s->arenas[i]);
        }
    }
    for (size_t i = 0; s->slots != NULL && i < s->count; i++) {
        mri_free((void *)(uintptr_t)s->slots[i].name);
    }
    mri_free(s->slots);
    mri_free(s);
}

size_t
mri_params_count(const mri_params *s)
{
    return s->count;
}

const mri_slot *
mri_params_slot(const mri_params *s, size_t i)
{
    return &s->slots[i];
}

size_t
mri_params_find(const mri_params *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->slots[i].name, name) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

mr_tensor
mri_params_tensor(const mri_params *s, size_t i)
{
    const mri_slot *slot = &s->slots[i];
    char *base = s->arenas[slot->set];

    return mr_tensor_of(base + slot->first * mr_dtype_bytes(s->dtype), s->dtype,
                        slot->rank, slot->shape);
}

mr_tensor
mri_params_arena(const mri_params *s, mri_set set)
{
    uint64_t len = s->bytes[set] / mr_dtype_bytes(s->dtype);

    if (s->arenas[set] == NULL) {
        return (mr_tensor){0};
    }
    return mr_tensor_of(s->arenas[set], s->dtype, 1, &len);
}

static mr_err
check_bytes(const mr_tensor *t, const mri_slot *slot, uint64_t bytes,
            mr_diag *diag)
{
    if (mr_tensor_bytes(t) != bytes) {
        return mri_fail(diag, MRI_E_GRAPH_SHAPE, MR_NOWHERE,
                        "parameter %s has %" PRIu64 " bytes, not %" PRIu64,
                        slot->name, mr_tensor_bytes(t), bytes);
    }
    return MR_OK;
}

mr_err
mri_params_get(const mri_params *s, size_t i, void *host, uint64_t bytes,
               mr_diag *diag)
{
    mr_tensor t = mri_params_tensor(s, i);
    mr_err err = check_bytes(&t, &s->slots[i], bytes, diag);

    if (err != MR_OK) {
        return err;
    }
    return moved(s->exec, s->exec->backend->get(s->exec, host, t.data, bytes),
                 diag);
}

mr_err
mri_params_put(mri_params *s, size_t i, const void *host, uint64_t bytes,
               mr_diag *diag)
{
    mr_tensor t = mri_params_tensor(s, i);
    mr_err err = check_bytes(&t, &s->slots[i], bytes, diag);

    if (err != MR_OK) {
        return err;
    }
    return moved(s->exec, s->exec->backend->put(s->exec, t.data, host, bytes),
                 diag);
}

/* ---------------------------------------------------------------- draws */

/* FNV-1a of the name without its first part (student, teacher), so that a
 * parameter is drawn alike whichever it is in. */
static uint64_t
name_key(const char *name)
{
    const char *dot = strchr(name, '.');
    uint64_t h = 0xCBF29CE484222325u;

    for (const char *p = dot != NULL ? dot + 1 : name; *p != '\0'; p++) {
        h = (h ^ (unsigned char)*p) * 0x100000001B3u;
    }
    return h;
}

/*
 * The standard normal number that a share p of all is below, to 1e-7. p is
 * from 2^-33 up, so that no number is beyond 6.4.
 * source  M. J. Wichura, Algorithm AS 241, PPND7, Applied Statistics 37, 1988
 */
static double
normal_below(double p)
{
    double q = p - 0.5, r = 0.180625 - q * q, v;

    if (r >= 0) {
        return q *
               (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r +
                3.3871327179) /
               (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1);
    }
    r = sqrt(-mri_log(q < 0 ? p : 1 - p)) - 1.6;
    v = (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r +
         1.4234372777) /
        ((0.12021132975 * r + 0.73700164250) * r + 1);
    return q < 0 ? -v : v;
}

/* An element from its word. */
static double
value_of(const mri_slot *slot, uint32_t word)
{
    double bound = slot->fan_in != 0 ? 1.0 / sqrt((double)slot->fan_in) : 0;

    switch (slot->init) {
    case MRI_INIT_ZERO:
        return 0;
    case MRI_INIT_ONE:
        return 1;
    case MRI_INIT_FAN_IN:
        return bound * (2 * ((double)(word >> 8) * 0x1p-24) - 1);
    case MRI_INIT_NORMAL:
        /* 6.4 * 0.02 is far within the +-2 where it is to be cut off */
        return 0.02 * normal_below(((double)word + 0.5) * 0x1p-32);
    }
    return 0;
}

#define CHUNK 16384 /* elements in a task, a multiple of 4 */

typedef struct draw_job {
    const mri_slot *slot;
    mr_dtype dtype;
    uint32_t key[2], name[2];
    void *host;
} draw_job;

/* Element i is made of word i mod 4 of block {i / 4, name, 0}. */
static mr_err
draw_task(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    const draw_job *j = arg;
    uint64_t first = task * CHUNK, len = j->slot->len;
    uint64_t end = len - first < CHUNK ? len : first + CHUNK;
    uint32_t block[4];

    (void)worker;
    (void)diag;
    for (uint64_t i = first; i < end; i++) {
        double v;

        if (i % 4 == 0) {
            const uint32_t counter[4] = {(uint32_t)(i / 4), j->name[0],
                                         j->name[1], 0};

            mri_philox(block, counter, j->key);
        }
        v = value_of(j->slot, block[i % 4]);
        if (j->dtype == MR_F64) {
            ((double *)j->host)[i] = v;
        } else {
            ((float *)j->host)[i] = (float)v;
        }
    }
    return MR_OK;
}

/* The shadow of a trained parameter lies at its place. */
static size_t
shadow_of(const mri_params *s, size_t i)
{
    for (size_t k = 0; k < s->count; k++) {
        if (s->slots[k].set == MRI_SET_SHADOW &&
            s->slots[k].first == s->slots[i].first) {
            return k;
        }
    }
    return SIZE_MAX;
}

static mr_err
draw_slot(mri_params *s, size_t i, uint64_t seed, mri_pool *pool, mr_diag *diag)
{
    const mri_slot *slot = &s->slots[i];
    uint64_t bytes = slot->len * mr_dtype_bytes(s->dtype);
    uint64_t name = name_key(slot->name);
    draw_job j = {.slot = slot,
                  .dtype = s->dtype,
                  .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
                  .name = {(uint32_t)name, (uint32_t)(name >> 32)},
                  .host = mri_alloc_pixels((size_t)bytes, 1)};
    size_t shadow = slot->set == MRI_SET_TRAINED ? shadow_of(s, i) : SIZE_MAX;
    mr_err err;

    if (j.host == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory to draw %s",
                        slot->name);
    }
    err = mri_pool_run(pool, (size_t)((slot->len + CHUNK - 1) / CHUNK),
                       draw_task, &j, diag);
    if (err == MR_OK) {
        err = mri_params_put(s, i, j.host, bytes, diag);
    }
    if (err == MR_OK && shadow != SIZE_MAX) {
        err = mri_params_put(s, shadow, j.host, bytes, diag);
    }
    mri_free(j.host);
    return err;
}

mr_err
mri_params_draw(mri_params *s, uint64_t seed, mr_diag *diag)
{
    bool follow = s->arenas[MRI_SET_TRAINED] != NULL;
    mri_pool *pool;
    mr_err err = mri_pool_open(&pool, mri_cpu_count(), diag);

    for (size_t i = 0; err == MR_OK && i < s->count; i++) {
        if (s->slots[i].set != MRI_SET_SHADOW || !follow) {
            err = draw_slot(s, i, seed, pool, diag);
        }
    }
    mri_pool_close(pool);
    return err;
}
