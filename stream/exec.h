/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.h - carry acts out: as fast as we can, and as plainly as we can.
 *
 * Both give the same bits; tests compare them on random pipelines.
 */
#ifndef MRI_STREAM_EXEC_H
#define MRI_STREAM_EXEC_H

#include "pixels.h"
#include "resample.h"

/* Memory that is kept from one view to the next. One thread at a time. */
typedef struct mri_exec {
    mri_room planes[2]; /* results of acts, in turn */
    mri_room widened;   /* stored values as f32, in their own layout */
    mri_room lines, turned, summed, rows, row, places;
    mri_room ranges;
    mri_taps down, along;
} mri_exec;

void mri_exec_release(mri_exec *x);

/* Where a view goes: dense [channels][z][y][x]. */
typedef struct mri_exec_out {
    void *data;
    mr_dtype dtype; /* MR_F32, MR_U8, MR_U16 */
} mri_exec_out;

/*
 * Carry out `count` acts on `from`, whose window must hold all that they
 * need. The acts are used up.
 * errors  MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_exec_run(mri_exec *x, const mri_pixels *from,
                                  mri_act *acts, unsigned count,
                                  const mri_exec_out *out, mr_diag *diag);

/* The same, act by act over whole planes; `from` must hold the whole. */
MR_USE_RESULT mr_err mri_exec_reference(const mri_pixels *from,
                                        const mri_act *acts, unsigned count,
                                        const mri_exec_out *out, mr_diag *diag);

/*
 * The box of `from`'s whole that acts need, given that they are carried out
 * on it from the start: first and size, z y x.
 */
void mri_exec_needs(const mri_act *acts, unsigned count, const uint64_t size[3],
                    uint64_t first[3], uint64_t need[3]);

/*
 * 1 / what a JPEG may be decoded at for these acts: 1, 2, 4 or 8. More than 1
 * only if the first thing that moves pixels is a resampling with antialias, of
 * values that nothing but factors and offsets have changed, and if what is
 * decoded is still half as large again as what comes out. Then the difference
 * is 43 to 51 dB down on stained tissue; a JPEG of quality 90 is 38 to 40 dB
 * from its source. Without that half it would be 37 to 47 dB.
 */
unsigned mri_exec_shrink(const mri_act *acts, unsigned count);

/* The taps of a resampling of `from`, both axes (exec.c and reference.c). */
MR_USE_RESULT mr_err mri_exec_taps(mri_taps *down, mri_taps *along,
                                   const mri_pixels *from, const mri_act *act,
                                   mr_diag *diag);
/* i reflected into 0 .. n - 1: -1 is 1, n is n - 2. */
uint64_t mri_reflect(int64_t i, uint64_t n);

#endif
