/* SPDX-License-Identifier: Apache-2.0 */
/* optim.c - the optimiser's state, and one step of it. */
#include <mri/optim.h>

#include <mri/alloc.h>

#include <math.h>
#include <string.h>

struct mri_optim {
    mri_exec *exec;
    const mri_params *store;
    mri_adamw_options options;
    size_t count;
    size_t *at;      /* [count] index in the store */
    uint64_t *steps; /* [count] */
    bool *decays;    /* [count] */
    void *rates;     /* [count, 4] on the host, of the store's dtype */

    mr_tensor m, v; /* arenas on the device */
    mr_tensor spans, sumsq, device_rates, keep;
    uint64_t bytes;
};

mri_adamw_options
mri_adamw_defaults(void)
{
    return (mri_adamw_options){
        .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 3};
}

static mr_err
moved(const mri_optim *o, mr_err err, mr_diag *diag)
{
    if (err != MR_OK && diag != NULL) {
        *diag = o->exec->diag;
    }
    return err;
}

/* Zeroed device memory of this shape. */
static mr_err
make(mri_optim *o, mr_tensor *t, mr_dtype dtype, uint64_t rows,
     uint64_t columns)
{
    const uint64_t shape[] = {rows, columns};
    const mri_backend *b = o->exec->backend;
    uint64_t bytes = rows * columns * mr_dtype_bytes(dtype);
    void *p = NULL;
    mr_err err = b->alloc(o->exec, &p, bytes);

    if (err == MR_OK) {
        *t = mr_tensor_of(p, dtype, columns == 1 ? 1 : 2, shape);
        o->bytes += bytes;
        err = b->fill(o->exec, p, 0, bytes);
    }
    return err;
}

static bool
wants_decay(const mri_slot *slot)
{
    size_t n = strlen(slot->name);

    return slot->rank > 1 &&
           !(n >= 5 && strcmp(slot->name + n - 5, ".bias") == 0);
}

/* Which tensors there are, and where they lie in the arenas. */
static mr_err
list_tensors(mri_optim *o, mr_diag *diag)
{
    size_t all = mri_params_count(o->store);
    uint64_t *spans = mri_alloc(2 * all, sizeof *spans);
    mr_err err;

    o->at = mri_alloc(all, sizeof *o->at);
    o->steps = mri_alloc(all, sizeof *o->steps);
    o->decays = mri_alloc(all, sizeof *o->decays);
    o->rates = mri_alloc(4 * all + 2, sizeof(double));
    if (spans == NULL || o->at == NULL || o->steps == NULL ||
        o->decays == NULL || o->rates == NULL) {
        mri_free(spans);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for an optimiser");
    }
    for (size_t i = 0; i < all; i++) {
        const mri_slot *slot = mri_params_slot(o->store, i);

        if (slot->set == MRI_SET_TRAINED) {
            spans[2 * o->count] = slot->first;
            spans[2 * o->count + 1] = slot->len;
            o->decays[o->count] = wants_decay(slot);
            o->at[o->count++] = i;
        }
    }
    err = make(o, &o->spans, MR_U64, o->count, 2);
    if (err == MR_OK) {
        err = o->exec->backend->put(o->exec, o->spans.data, spans,
                                    2 * o->count * sizeof *spans);
    }
    mri_free(spans);
    return moved(o, err, diag);
}

mr_err
mri_optim_open(mri_optim **out, const mri_params *store, mri_exec *exec,
               const mri_adamw_options *options, mr_diag *diag)
{
    mr_tensor p = mri_params_arena(store, MRI_SET_TRAINED);
    mri_optim *o = mri_alloc(1, sizeof *o);
    mr_err err;

    *out = NULL;
    if (o == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for an optimiser");
    }
    *o = (mri_optim){.exec = exec, .store = store, .options = *options};
    err = list_tensors(o, diag);
    if (err == MR_OK) {
        err = moved(o, make(o, &o->m, p.dtype, p.shape[0], 1), diag);
    }
    if (err == MR_OK) {
        err = moved(o, make(o, &o->v, p.dtype, p.shape[0], 1), diag);
    }
    if (err == MR_OK) {
        err = moved(o, make(o, &o->sumsq, p.dtype, o->count, 1), diag);
    }
    if (err == MR_OK) {
        err = moved(o, make(o, &o->device_rates, p.dtype, o->count, 4), diag);
    }
    if (err == MR_OK) {
        err = moved(o, make(o, &o->keep, p.dtype, 2, 1), diag);
    }
    if (err != MR_OK) {
        mri_optim_close(o);
        return err;
    }
    *out = o;
    return MR_OK;
}

static void
drop(mri_optim *o, mr_tensor *t)
{
    if (t->data != NULL) {
        o->exec->backend->free(o->exec, t->data);
    }
}

void
mri_optim_close(mri_optim *o)
{
    if (o == NULL) {
        return;
    }
    drop(o, &o->m);
    drop(o, &o->v);
    drop(o, &o->spans);
    drop(o, &o->sumsq);
    drop(o, &o->device_rates);
    drop(o, &o->keep);
    mri_free(o->at);
    mri_free(o->steps);
    mri_free(o->decays);
    mri_free(o->rates);
    mri_free(o);
}

/* Number i of a host buffer that has the store's dtype. */
static void
set_number(const mri_optim *o, size_t i, double v)
{
    if (o->keep.dtype == MR_F64) {
        ((double *)o->rates)[i] = v;
    } else {
        ((float *)o->rates)[i] = (float)v;
    }
}

static mr_err
upload(mri_optim *o, const mr_tensor *to)
{
    return o->exec->backend->put(o->exec, to->data, o->rates,
                                 mr_tensor_bytes(to));
}

/* The rates of each tensor: fix1 of 0 leaves a tensor as it is (op.h). */
static mr_err
upload_rates(mri_optim *o, const mri_step_rates *r)
{
    for (size_t i = 0; i < o->count; i++) {
        const mri_slot *slot = mri_params_slot(o->store, o->at[i]);
        bool still = slot->fixed || (r->frozen != NULL &&
                                     strstr(slot->name, r->frozen) != NULL);
        double n = (double)(still ? 1 : ++o->steps[i]);
        double fix1 = 1 / (1 - pow(o->options.beta1, n));

        set_number(o, 4 * i, r->lr);
        set_number(o, 4 * i + 1, o->decays[i] ? r->lr * r->decay : 0);
        set_number(o, 4 * i + 2, still ? 0 : fix1);
        set_number(o, 4 * i + 3, 1 / sqrt(1 - pow(o->options.beta2, n)));
    }
    return upload(o, &o->device_rates);
}

mr_err
mri_optim_step(mri_optim *o, const void *grads, const mri_step_rates *r,
               mr_diag *diag)
{
    const mri_ops *ops = o->exec->backend->ops;
    mri_adamw_args a = {.p = mri_params_arena(o->store, MRI_SET_TRAINED),
                        .m = o->m,
                        .v = o->v,
                        .ema = mri_params_arena(o->store, MRI_SET_SHADOW),
                        .spans = o->spans,
                        .sumsq = o->sumsq,
                        .rates = o->device_rates,
                        .keep = o->keep,
                        .beta1 = o->options.beta1,
                        .beta2 = o->options.beta2,
                        .eps = o->options.eps,
                        .clip = o->options.clip};
    mri_sumsq_args norms = {.spans = o->spans, .y = o->sumsq};
    mr_err err = upload_rates(o, r);

    a.g = a.p;
    a.g.data = (void *)(uintptr_t)grads; /* a view has no const of its own */
    norms.x = a.g;
    if (err == MR_OK) {
        set_number(o, 0, r->keep);
        set_number(o, 1, 1 - r->keep);
        err = upload(o, &o->keep);
    }
    if (err == MR_OK) {
        err = ops->sumsq(o->exec, &norms);
    }
    if (err == MR_OK) {
        err = ops->adamw(o->exec, &a);
    }
    return moved(o, err, diag);
}

size_t
mri_optim_count(const mri_optim *o)
{
    return o->count;
}

size_t
mri_optim_at(const mri_optim *o, size_t i)
{
    return o->at[i];
}

mr_err
mri_optim_norms(const mri_optim *o, float *out, mr_diag *diag)
{
    mr_err err = o->exec->backend->get(o->exec, o->rates, o->sumsq.data,
                                       mr_tensor_bytes(&o->sumsq));

    for (size_t i = 0; err == MR_OK && i < o->count; i++) {
        out[i] = o->keep.dtype == MR_F64
                     ? (float)sqrt(((const double *)o->rates)[i])
                     : sqrtf(((const float *)o->rates)[i]);
    }
    return moved(o, err, diag);
}

static mr_tensor
part_of(const mri_optim *o, const mr_tensor *arena, size_t i)
{
    const mri_slot *slot = mri_params_slot(o->store, o->at[i]);

    return mr_tensor_of((char *)arena->data +
                            slot->first * mr_dtype_bytes(arena->dtype),
                        arena->dtype, slot->rank, slot->shape);
}

mr_tensor
mri_optim_mean(const mri_optim *o, size_t i)
{
    return part_of(o, &o->m, i);
}

mr_tensor
mri_optim_square(const mri_optim *o, size_t i)
{
    return part_of(o, &o->v, i);
}

uint64_t
mri_optim_steps(const mri_optim *o, size_t i)
{
    return o->steps[i];
}

void
mri_optim_set_steps(mri_optim *o, size_t i, uint64_t steps)
{
    o->steps[i] = steps;
}

uint64_t
mri_optim_bytes(const mri_optim *o)
{
    return o->bytes;
}
