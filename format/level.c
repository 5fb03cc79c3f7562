/* SPDX-License-Identifier: Apache-2.0 */
/* level.c - fields that are coarser levels of others. */
#include "level.h"

void
mri_level_to_pb(Mri__PbField *pb, const mri_field_level *level)
{
    if (level->of == MRI_NO_FIELD) {
        return;
    }
    pb->level_of = level->of + 1;
    pb->n_downsample = level->rank;
    pb->downsample = (uint32_t *)(uintptr_t)level->downsample;
}

void
mri_level_of_pb(mri_field_level *out, const Mri__PbField *pb)
{
    *out = (mri_field_level){.of = MRI_NO_FIELD};
    if (pb->level_of != 0) {
        out->of = pb->level_of - 1;
        out->rank = (uint32_t)pb->n_downsample;
        for (size_t i = 0; i < pb->n_downsample; i++) {
            out->downsample[i] = pb->downsample[i];
        }
    }
}

static bool
holds(const Mri__PbSchema *schema, size_t field)
{
    const Mri__PbField *pb = schema->fields[field];

    if (pb->level_of == 0) {
        return pb->n_downsample == 0;
    }
    if (pb->level_of > schema->n_fields || pb->level_of == field + 1 ||
        pb->n_downsample > MR_MAX_RANK) {
        return false;
    }
    for (size_t i = 0; i < pb->n_downsample; i++) {
        if (pb->downsample[i] == 0) {
            return false;
        }
    }
    return true;
}

bool
mri_levels_hold(const Mri__PbSchema *schema)
{
    for (size_t i = 0; i < schema->n_fields; i++) {
        if (!holds(schema, i)) {
            return false;
        }
    }
    return true;
}
