/* SPDX-License-Identifier: Apache-2.0 */
/*
 * synth.h - inputs for trials, made from nothing but a seed, with the truth
 * known: what docs/synthetic-cells.md describes.
 *
 * A file is a function of (seed, number, donors): the same bytes from any
 * machine, compiler and number of threads.
 */
#ifndef MRI_SYNTH_H
#define MRI_SYNTH_H

#include <mri/door.h>

MRI_BEGIN

#define MRI_CELL_SIDE 72
#define MRI_CELL_CHANNELS 5
#define MRI_CELL_CLASSES 8
#define MRI_CELL_VALUES (MRI_CELL_CHANNELS * MRI_CELL_SIDE * MRI_CELL_SIDE)
#define MRI_CELL_FILE 53514 /* bytes: an OME-TIFF, one page a channel */

/* A set of cells: cell i is of class i mod 8 and of donor (i div 8) mod
 * donors, so that every donor has as many of each class. */
typedef struct mri_cells {
    uint64_t seed;
    uint32_t count, donors; /* donors >= 1 */
} mri_cells;

/* i: 0 .. count - 1 */
uint32_t mri_cell_class(const mri_cells *set, uint32_t i);
uint32_t mri_cell_donor(const mri_cells *set, uint32_t i);
const char *mri_cell_class_name(uint32_t class_index); /* alphabetical */
const char *mri_cell_channel_name(uint32_t channel);
/* "resting/donor3_cell0029.tif"; what snprintf would return. */
int mri_cell_name(const mri_cells *set, uint32_t i, char *out, size_t bytes);

/* What painting one cell takes; a thread has its own. */
typedef struct mri_easel mri_easel;
mri_easel *mri_easel_open(void); /* NULL: no memory */
void mri_easel_close(mri_easel *easel);

/*
 * Paint cell i.
 *
 * shape   out: u16 [5, 72, 72], channel, y, x
 * units   counts of a camera of 16 bits
 */
void mri_cell_paint(mri_easel *easel, const mri_cells *set, uint32_t i,
                    uint16_t out[MRI_CELL_VALUES]);

typedef struct mri_cells_options {
    const char *dir; /* made if it is not there; its parent must be */
    mri_cells set;
    unsigned workers;      /* >= 1 */
    const mr_watch *watch; /* or NULL */
} mri_cells_options;

typedef struct mri_cells_report {
    uint32_t written, kept; /* kept: was there already, with these bytes */
    uint64_t bytes;         /* of all files */
} mri_cells_report;

/*
 * Write the set into a folder, each file entirely or not at all. Files of the
 * same set that are there already are left alone, so that the same call goes
 * on after a stop. Any other file there is an error: mixed with cells of
 * another set it would be read as one of these.
 *
 * errors  MR_EBUSY  the folder holds something else
 *         MR_EIO, MR_ENOMEM, MR_ESTOP
 */
MR_USE_RESULT mr_err mri_cells_write(const mri_cells_options *o,
                                     mri_cells_report *report, mr_diag *diag);

MRI_END

#endif
