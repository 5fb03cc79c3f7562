/* SPDX-License-Identifier: Apache-2.0 */
/*
 * level.h - fields that are coarser levels of others, as a schema's message
 * holds them.
 */
#ifndef MRI_LEVEL_H
#define MRI_LEVEL_H

#include <format.pb-c.h>

#include <mri/record.h>

/* Fill a field's message; its numbers stay `level`'s. */
void mri_level_to_pb(Mri__PbField *pb, const mri_field_level *level);
/* Of a schema that holds. */
void mri_level_of_pb(mri_field_level *out, const Mri__PbField *pb);
/* Every level names another field and a factor for each of its axes. */
bool mri_levels_hold(const Mri__PbSchema *schema);

#endif
