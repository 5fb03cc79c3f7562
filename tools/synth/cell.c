/* SPDX-License-Identifier: Apache-2.0 */
/* cell.c - a cell of a set by its number: class, donor, name, picture. */
#include "cell.h"

#include <mri/alloc.h>

#include <assert.h>
#include <stdio.h>

struct mri_easel {
    cell cell;
};

uint32_t
mri_cell_class(const mri_cells *set, uint32_t i)
{
    (void)set;
    return i % MRI_CELL_CLASSES;
}

uint32_t
mri_cell_donor(const mri_cells *set, uint32_t i)
{
    return i / MRI_CELL_CLASSES % set->donors;
}

const char *
mri_cell_class_name(uint32_t class_index)
{
    static const char *const names[MRI_CELL_CLASSES] = {
        [ACTIVATED] = "activated",   [APOPTOTIC] = "apoptotic",
        [BINUCLEATE] = "binucleate", [DIVIDING] = "dividing",
        [MIGRATING] = "migrating",   [RESTING] = "resting",
        [STARVED] = "starved",       [STRETCHED] = "stretched"};

    assert(class_index < MRI_CELL_CLASSES);
    return names[class_index];
}

const char *
mri_cell_channel_name(uint32_t channel)
{
    static const char *const names[MRI_CELL_CHANNELS] = {[DAPI] = "DAPI",
                                                         [TUBULIN] = "Tubulin",
                                                         [ACTIN] = "Actin",
                                                         [MITO] = "Mito",
                                                         [MARKER] = "Marker"};

    assert(channel < MRI_CELL_CHANNELS);
    return names[channel];
}

int
mri_cell_name(const mri_cells *set, uint32_t i, char *out, size_t bytes)
{
    return snprintf(out, bytes, "%s/donor%u_cell%04u.tif",
                    mri_cell_class_name(mri_cell_class(set, i)),
                    mri_cell_donor(set, i), i);
}

mri_easel *
mri_easel_open(void)
{
    return mri_alloc(1, sizeof(mri_easel));
}

void
mri_easel_close(mri_easel *easel)
{
    mri_free(easel);
}

void
mri_cell_paint(mri_easel *easel, const mri_cells *set, uint32_t i,
               uint16_t out[MRI_CELL_VALUES])
{
    cell *c = &easel->cell;

    c->seed = set->seed;
    c->index = i;
    c->class = (cell_class)mri_cell_class(set, i);
    c->donor = donor_of(set->seed, mri_cell_donor(set, i));
    cell_shape(c);
    stain_dapi(c);
    stain_tubulin(c);
    stain_actin(c);
    stain_mito(c);
    stain_marker(c);
    cell_photograph(c, out);
}
