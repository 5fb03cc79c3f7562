/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - parameters on a device, and how they are drawn. */
#include <mri/lane.h>

#include <mri/alloc.h>
#include <mri/rng.h>

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct mri_store {
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
copy_slots(mri_store *s, const mri_graph *g, mr_diag *diag)
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
check_shadows(const mri_store *s, mr_diag *diag)
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
mri_store_open(mri_store **out, const mri_graph *g, mri_exec *exec,
               mr_diag *diag)
{
    mri_store *s = mri_alloc(1, sizeof *s);
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
        mri_store_close(s);
        return err;
    }
    *out = s;
    return MR_OK;
}

void
mri_store_close(mri_store *s)
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
mri_store_count(const mri_store *s)
{
    return s->count;
}

const mri_slot *
mri_store_slot(const mri_store *s, size_t i)
{
    return &s->slots[i];
}

size_t
mri_store_find(const mri_store *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->slots[i].name, name) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

mr_tensor
mri_store_tensor(const mri_store *s, size_t i)
{
    const mri_slot *slot = &s->slots[i];
    char *base = s->arenas[slot->set];

    return mr_tensor_of(base + slot->first * mr_dtype_bytes(s->dtype), s->dtype,
                        slot->rank, slot->shape);
}

mr_tensor
mri_store_arena(const mri_store *s, mri_set set)
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
mri_store_get(const mri_store *s, size_t i, void *host, uint64_t bytes,
              mr_diag *diag)
{
    mr_tensor t = mri_store_tensor(s, i);
    mr_err err = check_bytes(&t, &s->slots[i], bytes, diag);

    if (err != MR_OK) {
        return err;
    }
    return moved(s->exec, s->exec->backend->get(s->exec, host, t.data, bytes),
                 diag);
}

mr_err
mri_store_put(mri_store *s, size_t i, const void *host, uint64_t bytes,
              mr_diag *diag)
{
    mr_tensor t = mri_store_tensor(s, i);
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

static double
draw_one(const mri_slot *slot, mri_draws *d)
{
    double bound = slot->fan_in != 0 ? 1.0 / sqrt((double)slot->fan_in) : 0;
    double v;

    switch (slot->init) {
    case MRI_INIT_ZERO:
        return 0;
    case MRI_INIT_ONE:
        return 1;
    case MRI_INIT_FAN_IN:
        return mri_draw_range(d, -bound, bound);
    case MRI_INIT_NORMAL:
        do {
            v = 0.02 * mri_draw_normal(d);
        } while (fabs(v) > 2);
        return v;
    }
    return 0;
}

static void
draw_slot(const mri_slot *slot, mr_dtype dtype, uint64_t seed, void *host)
{
    uint64_t key = name_key(slot->name);
    mri_draws d = mri_draws_of(seed, (uint32_t)key, (uint32_t)(key >> 32));

    for (uint64_t i = 0; i < slot->len; i++) {
        double v = draw_one(slot, &d);

        if (dtype == MR_F64) {
            ((double *)host)[i] = v;
        } else {
            ((float *)host)[i] = (float)v;
        }
    }
}

mr_err
mri_store_draw(mri_store *s, uint64_t seed, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (size_t i = 0; err == MR_OK && i < s->count; i++) {
        uint64_t bytes = s->slots[i].len * mr_dtype_bytes(s->dtype);
        void *host = mri_alloc_pixels((size_t)bytes, 1);

        if (host == NULL) {
            return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                            "no memory to draw %s", s->slots[i].name);
        }
        draw_slot(&s->slots[i], s->dtype, seed, host);
        err = mri_store_put(s, i, host, bytes, diag);
        mri_free(host);
    }
    return err;
}
