/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure.h - what samples measure along their axes: how many elements, how
 * far apart. Values and how often each occurs, which can be added and taken
 * away; and the percentiles that follow.
 * Bytes: docs/shard-format.md, "Measures".
 */
#ifndef MRI_MEASURE_H
#define MRI_MEASURE_H

#include <format.pb-c.h>

#include <millrace/dataset.h>
#include <mri/bytes.h>

enum {
    MRI_MEASURED_MOST = 1 << 20, /* different values, in memory */
    MRI_MEASURED_KEPT = 1 << 16, /* in a manifest */
    MRI_MEASURED_BYTES = 16      /* of one there */
};

/* So many samples of a split have this value. */
typedef struct mri_measured {
    uint32_t split, field;
    char axis;
    uint8_t kind; /* mr_measure_kind */
    double value; /* above zero */
    int64_t count;
} mri_measured;

/* Of one split, field, axis and kind: values [first, end). */
typedef struct mri_measure_group {
    uint32_t split, field;
    char axis[2]; /* a text */
    size_t first, end;
    mr_measure m;
} mri_measure_group;

typedef struct mri_measures {
    mri_measured *slot; /* a table by hash; sorted and dense once ended */
    size_t slots, used;
    bool many; /* too many different values: none is known */
    mri_measure_group *group;
    size_t groups;
} mri_measures;

/* Add one.count, which may be below zero. False: no memory. */
bool mri_measures_add(mri_measures *m, const mri_measured *one);
/*
 * Nothing comes any more: sort, sum up all splits as split `splits`, and find
 * groups and percentiles.
 * errors  MR_ECORRUPT  a count below zero: what was taken away was not there
 *         MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_measures_end(mri_measures *m, uint32_t splits,
                                      mr_diag *diag);
/* Empty again. */
void mri_measures_release(mri_measures *m);

/* The values of a group as a manifest keeps them. False: no memory. */
bool mri_measures_pack(mri_bytes *out, const mri_measures *m,
                       const mri_measure_group *g);
/* Is it one that this version knows? */
bool mri_measure_known(const Mri__PbMeasure *pb);
mr_measure mri_measure_of_pb(const Mri__PbMeasure *pb);
/* Add the values that a manifest keeps; `like` says split and field. False in
 * *holds: they are left out, or cannot be. */
MR_USE_RESULT mr_err mri_measures_unpack(mri_measures *m,
                                         const Mri__PbMeasure *pb,
                                         const mri_measured *like, bool *holds,
                                         mr_diag *diag);

#endif
