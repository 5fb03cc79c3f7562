/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.h - prove every operation of every back end against the reference.
 *
 * A case fills an operation's arguments through mri_check_in and _out, which
 * make float64 tensors for the reference; mri_check_run then runs the
 * reference, and the back end on an f32 copy between guard bytes, with
 * poisoned outputs. For the back end `ref` the same case is run a second time
 * in float64 throughout, and only the slopes are looked at: the reverse
 * against central differences. With --bench the operation is timed instead,
 * so that what is timed is what was checked.
 *
 * A check is a program with its own main: no cmocka, no second room. Exit 77
 * says that no back end could be checked.
 */
#ifndef MRI_CHECK_H
#define MRI_CHECK_H

#include <mri/backend.h>

MRI_BEGIN

typedef struct mri_check mri_check;

typedef struct mri_check_op {
    const char *name;
    void (*cases)(mri_check *c); /* shapes to prove, extreme ones too */
    void (*bench)(mri_check *c); /* shapes to time, or NULL */
} mri_check_op;

/*
 * The whole of main: --bench (--busy: by the CPU's clock with one thread, for
 * a machine that others use), --threads N, --report FILE, --lib DIR, --only
 * OPERATION, then names of back ends (all there are if none). `count`
 * operations.
 */
int mri_check_main(int argc, char **argv, const mri_check_op *ops,
                   size_t count);

/* Begin a case; the text names its shape. Forgets the fields of the last. */
void mri_check_begin(mri_check *c, const char *fmt, ...) MRI_PRINTF(2, 3);

/* Fields: `slot` is a member of an arguments struct. Dimensions follow. */
#define MRI_DIMS(...)                                                          \
    (uint32_t)(sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)),          \
        (const uint64_t[])                                                     \
    {                                                                          \
        __VA_ARGS__                                                            \
    }

typedef struct mri_range {
    double low, high;
} mri_range;

/* An input with uniform draws from the range. */
void mri_check_in(mri_check *c, mr_tensor *slot, mri_range range, uint32_t rank,
                  const uint64_t *shape);
/* An input with the value that another field has in the reference by now. */
void mri_check_same(mri_check *c, mr_tensor *slot, const mr_tensor *from);
/* The same, without the signs: to bound sums by the sum of what went in. */
void mri_check_abs(mri_check *c, mr_tensor *slot, const mr_tensor *from);
/* An output. */
void mri_check_out(mri_check *c, mr_tensor *slot, uint32_t rank,
                   const uint64_t *shape);
/* A field that is read and written. */
void mri_check_both(mri_check *c, mr_tensor *slot, mri_range range,
                    uint32_t rank, const uint64_t *shape);
/* Integers, the same bytes for both. */
void mri_check_raw(mri_check *c, mr_tensor *slot, mr_dtype dtype,
                   const void *data, uint32_t rank, const uint64_t *shape);
/* Let the caller choose an input's values before it is first run. */
void mri_check_set(mri_check *c, const mr_tensor *slot, uint64_t i, double v);

/* A thunk: call the operation through a table. */
typedef mr_err mri_check_fn(const mri_ops *ops, mri_exec *exec,
                            const void *args);
#define MRI_CHECK_THUNK(op)                                                    \
    static mr_err run_##op(const mri_ops *ops, mri_exec *exec,                 \
                           const void *args)                                   \
    {                                                                          \
        return ops->op == NULL ? MR_EDEVICE                                    \
                               : ops->op(exec, (const mri_##op##_args *)args); \
    }

/*
 * Run it: by the reference on the fields of args, by the back end on copies.
 *
 * units   flops: floating-point operations, for --bench; 0 if bytes bound it
 */
void mri_check_run(mri_check *c, mri_check_fn *fn, const void *args,
                   size_t args_bytes, double flops);

/*
 * |got - want| <= factor * size for every element of an output, where size is
 * that element of `sizes` (a float64 tensor of equal length), or, if it is
 * NULL, the largest |want| of the tensor.
 */
void mri_check_near(mri_check *c, const mr_tensor *slot, double factor,
                    const mr_tensor *sizes);

/*
 * The gradient of `loss` with respect to the float64 tensor `at` is `slope`:
 * central differences, eps 1e-6, within 1e-5 + 1e-3 |slope|. Only looked at
 * in the float64 pass.
 */
typedef double mri_check_loss(void *user);
void mri_check_slope(mri_check *c, const mr_tensor *at, const mr_tensor *slope,
                     mri_check_loss *loss, void *user);
/* The sum of weights * values, both float64: a loss out of an output. */
double mri_check_dot(const mr_tensor *weights, const mr_tensor *values);
/* Run the reference alone, for losses. */
void mri_check_ref(mri_check *c, mri_check_fn *fn, const void *args);

/* Statements of the case's own: something holds; an error is within a bound. */
void mri_check_true(mri_check *c, bool ok, const char *what);
void mri_check_within(mri_check *c, double error, double bound,
                      const char *what);
bool mri_check_exact(const mri_check *c); /* the float64 pass */
const mri_backend *mri_check_backend(const mri_check *c);

MRI_END

#endif
