/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - the harness: fields, guards, comparison, slopes. */
#include "check.h"

#include <mri/alloc.h>
#include <mri/rng.h>

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD 256 /* bytes on each side of a field on the device */
#define GUARD_BYTE 0xA5
#define POISON 0xFF /* a NaN in f32 and f64 */
#define SLOPES 48   /* elements of a tensor that are differenced */
#define EPS 1e-6

void
check_fatal(const char *what, const mr_diag *diag)
{
    (void)fprintf(stderr, "check: %s: %s\n", what,
                  diag != NULL ? diag->text : "");
    exit(1);
}

static void *
must(void *p)
{
    if (p == NULL) {
        check_fatal("no memory", NULL);
    }
    return p;
}

void
check_complain(mri_check *c, const char *fmt, ...)
{
    va_list args;

    c->failures++;
    if (c->failures > 12) {
        return; /* the first ones tell it */
    }
    (void)printf("FAIL  %s %s [%s]%s: ", c->op, c->backend->name, c->shape,
                 c->exact ? " f64" : "");
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    (void)printf("\n");
}

void
mri_check_begin(mri_check *c, const char *fmt, ...)
{
    va_list args;

    for (size_t i = 0; i < c->count; i++) {
        check_field *f = &c->fields[i];

        mri_free(f->want);
        mri_free(f->got);
        if (f->owner && f->device != NULL) {
            c->backend->free(c->exec, f->device);
        }
    }
    c->count = 0;
    c->cases++;
    va_start(args, fmt);
    (void)vsnprintf(c->shape, sizeof c->shape, fmt, args);
    va_end(args);
}

static check_field *
field_of(mri_check *c, const mr_tensor *slot)
{
    for (size_t i = c->count; i-- > 0;) {
        if (c->fields[i].slot == slot) {
            return &c->fields[i];
        }
    }
    check_fatal("a field that was never made", NULL);
    return NULL;
}

/* The f32 twin of a field on the device, guards on both sides. */
static void
make_device(mri_check *c, check_field *f)
{
    uint64_t bytes = f->bytes + 2 * GUARD;
    void *p;

    if (c->backend->alloc(c->exec, &p, bytes) != MR_OK) {
        check_fatal("no device memory", &c->exec->diag);
    }
    f->device = p;
    f->owner = true;
    if (c->backend->fill(c->exec, p, GUARD_BYTE, bytes) != MR_OK) {
        check_fatal("fill", &c->exec->diag);
    }
}

static check_field *
add_field(mri_check *c, mr_tensor *slot, check_role role, uint32_t rank,
          const uint64_t *shape)
{
    check_field *f = &c->fields[c->count++];

    if (c->count > CHECK_FIELDS) {
        check_fatal("too many fields", NULL);
    }
    *slot = mr_tensor_of(NULL, MR_F64, rank, shape);
    *f = (check_field){.slot = slot, .role = role, .len = mr_tensor_len(slot)};
    f->bytes = f->len * sizeof(float);
    f->want = must(mri_alloc((size_t)f->len, sizeof *f->want));
    slot->data = f->want;
    if (!c->exact) {
        f->got = must(mri_alloc((size_t)f->len, sizeof *f->got));
        make_device(c, f);
    }
    return f;
}

static void
fill_uniform(mri_check *c, check_field *f, mri_range range)
{
    mri_draws d = mri_draws_of(c->seed++, 0, 0);

    for (uint64_t i = 0; i < f->len; i++) {
        /* rounded, so that the reference and the back end see one value */
        f->want[i] = (float)mri_draw_range(&d, range.low, range.high);
    }
}

void
mri_check_in(mri_check *c, mr_tensor *slot, mri_range range, uint32_t rank,
             const uint64_t *shape)
{
    fill_uniform(c, add_field(c, slot, CHECK_IN, rank, shape), range);
}

void
mri_check_both(mri_check *c, mr_tensor *slot, mri_range range, uint32_t rank,
               const uint64_t *shape)
{
    fill_uniform(c, add_field(c, slot, CHECK_BOTH, rank, shape), range);
}

void
mri_check_out(mri_check *c, mr_tensor *slot, uint32_t rank,
              const uint64_t *shape)
{
    (void)add_field(c, slot, CHECK_OUT, rank, shape);
}

void
mri_check_same(mri_check *c, mr_tensor *slot, const mr_tensor *from)
{
    mr_tensor shape = *from;
    check_field *f = add_field(c, slot, CHECK_IN, shape.rank, shape.shape);
    check_field *source = field_of(c, from);

    for (uint64_t i = 0; i < f->len; i++) {
        double v = source->want[i];

        f->want[i] = c->exact ? v : (double)(float)v;
    }
    if (c->bench && source->ran) {
        c->backend->free(c->exec, f->device);
        f->device = source->device; /* what the forward pass left there */
        f->owner = false;
        f->ran = true;
    }
}

void
mri_check_abs(mri_check *c, mr_tensor *slot, const mr_tensor *from)
{
    check_field *f;

    mri_check_same(c, slot, from);
    f = field_of(c, slot);
    for (uint64_t i = 0; i < f->len; i++) {
        f->want[i] = fabs(f->want[i]);
    }
}

void
mri_check_raw(mri_check *c, mr_tensor *slot, mr_dtype dtype, const void *data,
              uint32_t rank, const uint64_t *shape)
{
    check_field *f = add_field(c, slot, CHECK_IN, rank, shape);

    mri_free(f->want);
    slot->dtype = dtype;
    f->bytes = f->len * mr_dtype_bytes(dtype);
    f->raw = true;
    f->want = must(mri_alloc((size_t)f->bytes, 1));
    memcpy(f->want, data, (size_t)f->bytes);
    slot->data = f->want;
    if (!c->exact) {
        c->backend->free(c->exec, f->device);
        make_device(c, f);
    }
}

void
mri_check_set(mri_check *c, const mr_tensor *slot, uint64_t i, double v)
{
    field_of(c, slot)->want[i] = (float)v;
}

/* Bring a field's value to the device; outputs are poisoned. */
static void
upload(mri_check *c, check_field *f)
{
    char *at = (char *)f->device + GUARD;
    const mri_backend *b = c->backend;
    mr_err err;

    if (f->role == CHECK_OUT) {
        err = b->fill(c->exec, at, POISON, f->bytes);
    } else if (f->raw) {
        err = b->put(c->exec, at, f->want, f->bytes);
    } else {
        for (uint64_t i = 0; i < f->len; i++) {
            f->got[i] = (float)f->want[i];
        }
        err = b->put(c->exec, at, f->got, f->bytes);
    }
    if (err != MR_OK) {
        check_fatal("upload", &c->exec->diag);
    }
}

/* Fetch an output, and look at the guards of any field. */
static void
download(mri_check *c, check_field *f)
{
    const mri_backend *b = c->backend;
    unsigned char guard[2 * GUARD];
    char *at = f->device;

    if (b->get(c->exec, guard, at, GUARD) != MR_OK ||
        b->get(c->exec, guard + GUARD, at + GUARD + f->bytes, GUARD) != MR_OK ||
        (f->role != CHECK_IN &&
         b->get(c->exec, f->got, at + GUARD, f->bytes) != MR_OK)) {
        check_fatal("download", &c->exec->diag);
    }
    for (size_t i = 0; i < sizeof guard; i++) {
        if (guard[i] != GUARD_BYTE) {
            check_complain(c, "wrote %s a field of %" PRIu64 " elements",
                           i < GUARD ? "before" : "beyond", f->len);
            return;
        }
    }
}

/* True if the field's slot lies in these arguments. */
static bool
is_in(const check_field *f, const void *args, size_t bytes)
{
    const char *slot = (const char *)f->slot, *first = args;

    return slot >= first && slot < first + bytes;
}

/* A copy of the arguments whose fields lie on the device. */
static void *
device_args(mri_check *c, const void *args, size_t bytes)
{
    char *copy = must(mri_alloc(bytes, 1));

    memcpy(copy, args, bytes);
    for (size_t i = 0; i < c->count; i++) {
        check_field *f = &c->fields[i];

        if (is_in(f, args, bytes)) {
            mr_tensor t = *f->slot;

            t.data = (char *)f->device + GUARD;
            t.dtype = f->raw ? t.dtype : MR_F32;
            memcpy(copy + ((const char *)f->slot - (const char *)args), &t,
                   sizeof t);
        }
    }
    return copy;
}

void
mri_check_ref(mri_check *c, mri_check_fn *fn, const void *args)
{
    if (!c->bench && fn(mri_backend_ref.ops, c->ref, args) != MR_OK) {
        check_fatal("the reference failed", &c->ref->diag);
    }
}

/* Run it on the device; what is then in the fields is looked at. */
static void
run_device(mri_check *c, mri_check_fn *fn, const void *copy, const void *args,
           size_t args_bytes)
{
    mr_err err = fn(c->backend->ops, c->exec, copy);

    if (err == MR_OK) {
        err = c->backend->sync(c->exec);
    }
    if (err != MR_OK) {
        check_complain(c, "failed: %s %s", mr_err_name(err),
                       c->exec->diag.text);
    }
    for (size_t i = 0; i < c->count; i++) {
        if (is_in(&c->fields[i], args, args_bytes)) {
            download(c, &c->fields[i]);
        }
    }
}

void
mri_check_run(mri_check *c, mri_check_fn *fn, const void *args,
              size_t args_bytes, double flops)
{
    void *copy;

    if (c->exact) {
        mri_check_ref(c, fn, args);
        return;
    }
    copy = device_args(c, args, args_bytes);
    for (size_t i = 0; i < c->count; i++) {
        check_field *f = &c->fields[i];

        if (is_in(f, args, args_bytes)) {
            if (f->owner) {
                upload(c, f);
            }
            f->ran = true;
        }
    }
    if (c->bench) {
        check_time(c, fn, args, args_bytes, copy, flops);
    } else {
        mri_check_ref(c, fn, args); /* after upload: it may change fields */
        run_device(c, fn, copy, args, args_bytes);
    }
    mri_free(copy);
}

static double
largest(const double *x, uint64_t len)
{
    double top = 0;

    for (uint64_t i = 0; i < len; i++) {
        top = fmax(top, fabs(x[i]));
    }
    return top;
}

/* Keep the element that comes nearest to its bound, or leaves it furthest. */
static void
note_error(mri_check *c, double error, double bound)
{
    double ratio = bound > 0 ? error / bound : error > 0 ? INFINITY : 0;

    if (!(ratio <= c->ratio)) {
        c->ratio = ratio;
        c->error = error;
        c->bound = bound;
    }
}

void
mri_check_near(mri_check *c, const mr_tensor *slot, double factor,
               const mr_tensor *sizes)
{
    check_field *f;
    double top;

    if (c->exact || c->bench) {
        return;
    }
    f = field_of(c, slot);
    top = largest(f->want, f->len);
    for (uint64_t i = 0; i < f->len; i++) {
        double size = sizes != NULL ? ((const double *)sizes->data)[i] : top;
        double error = fabs((double)f->got[i] - f->want[i]);
        double bound = factor * size;

        note_error(c, error, bound);
        if (!(error <= bound)) { /* NaN: poison that was not overwritten */
            check_complain(c,
                           "element %" PRIu64 " of %" PRIu64
                           " is %.9g, not %.9g: off by %.2g, bound %.2g",
                           i, f->len, (double)f->got[i], f->want[i], error,
                           bound);
            return;
        }
    }
}

void
mri_check_slope(mri_check *c, const mr_tensor *at, const mr_tensor *slope,
                mri_check_loss *loss, void *user)
{
    uint64_t len = mr_tensor_len(at);
    uint64_t stride = len > SLOPES ? len / SLOPES : 1;
    double *x = at->data;

    if (!c->exact) {
        return;
    }
    for (uint64_t i = 0; i < len; i += stride) {
        double keep = x[i], up, down, want, got, bound;

        x[i] = keep + EPS;
        up = loss(user);
        x[i] = keep - EPS;
        down = loss(user);
        x[i] = keep;
        want = (up - down) / (2 * EPS);
        got = ((const double *)slope->data)[i];
        bound = 1e-5 + 1e-3 * fabs(want);
        c->slopes++;
        note_error(c, fabs(got - want), bound);
        if (!(fabs(got - want) <= bound)) {
            check_complain(c,
                           "slope %" PRIu64 " of %" PRIu64
                           " is %.9g, by differences %.9g",
                           i, len, got, want);
            break;
        }
    }
    (void)loss(user); /* leave the outputs as they were */
}

double
mri_check_dot(const mr_tensor *weights, const mr_tensor *values)
{
    const double *w = weights->data, *v = values->data;
    uint64_t len = mr_tensor_len(values);
    double sum = 0;

    for (uint64_t i = 0; i < len; i++) {
        sum += w[i] * v[i];
    }
    return sum;
}

void
mri_check_true(mri_check *c, bool ok, const char *what)
{
    if (!ok) {
        check_complain(c, "%s", what);
    }
}

void
mri_check_within(mri_check *c, double error, double bound, const char *what)
{
    note_error(c, error, bound);
    if (!(error <= bound)) {
        check_complain(c, "%s is off by %.3g, bound %.2g", what, error, bound);
    }
}

const mri_backend *
mri_check_backend(const mri_check *c)
{
    return c->backend;
}

bool
mri_check_exact(const mri_check *c)
{
    return c->exact;
}
