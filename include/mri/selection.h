/* SPDX-License-Identifier: Apache-2.0 */
/*
 * selection.h - the samples that a split, a union of splits or the complement
 * of one means: "train", "fold0+fold2", "!fold2", "!fold0+fold1".
 */
#ifndef MRI_SELECTION_H
#define MRI_SELECTION_H

#include <mri/dataset.h>

MRI_BEGIN

/*
 * Which of some names a text means. A text that is one of the names is that
 * one; else "a+b" is both, and "!a+b" all but these two.
 *
 * chosen  [count], written only on success; at least one is true
 * errors  MR_EARG  no such name (the nearest is said), a name twice, an empty
 *                  one, a '!' that is not the first character, nothing left
 */
MR_USE_RESULT mr_err mri_splits_named(const char *text,
                                      const char *const *names, uint32_t count,
                                      bool *chosen, mr_diag *diag);

/*
 * Samples of an open dataset in ascending order of rank. Of a plain split, or
 * of all samples, nothing is held; of a union a bit for each sample of the
 * dataset, and a count for every 512 of them (1.3 MB of 10 million samples).
 * Zeroed memory may be released.
 */
typedef struct mri_selection {
    const mr_dataset *ds;
    char *name;     /* canonical: in the dataset's order, joined by '+' */
    uint32_t split; /* of a plain one; MR_ALL_SAMPLES */
    uint64_t count;
    bool *chosen;     /* [splits of ds], of a union; else NULL */
    uint64_t *bits;   /* [blocks * 8] */
    uint32_t *before; /* [blocks + 1] samples before each block */
    uint64_t blocks;
} mri_selection;

/*
 * "all", or as mri_splits_named. A union of one is that split; one of all
 * splits that together hold every sample is "all".
 *
 * owner   mri_selection_release, also after an error; ds must outlive it
 * errors  those of mri_splits_named, MR_ECORRUPT (index), MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_selection_open(mri_selection *out,
                                        const mr_dataset *ds, const char *text,
                                        mr_diag *diag);
void mri_selection_release(mri_selection *s);
/* errors  MR_EARG  i >= count; MR_ECORRUPT */
MR_USE_RESULT mr_err mri_selection_at(const mri_selection *s, uint64_t i,
                                      uint64_t *rank, mr_diag *diag);
/* Channels that statistics are kept of; 0: none. */
uint32_t mri_selection_channels(const mri_selection *s, uint32_t field);
/* Moments of its values, and of values after per-sample min-max: the splits'
 * merged in the dataset's order. Counts of 0 where there are none. */
void mri_selection_moments(const mri_selection *s, uint32_t field,
                           uint32_t channel, mr_moments *all, mr_moments *unit);

MRI_END

#endif
