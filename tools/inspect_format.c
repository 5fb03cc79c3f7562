/* SPDX-License-Identifier: Apache-2.0 */
/* inspect_format.c - version and features of a file, kinds and levels of
 * fields: what tells a newer dataset from an older one. */
#include "inspect.h"

#include <stdio.h>

void
mri_inspect_version_json(mri_json *j, const mri_version *v,
                         mri_feature_name_fn *name)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%u.%u", v->major, v->minor);
    mri_json_key(j, "format");
    mri_json_object(j);
    mri_json_put_text(j, "version", text);
    mri_json_key(j, "features");
    mri_json_array(j);
    for (unsigned bit = 0; bit < 32; bit++) {
        if ((v->features >> bit & 1) != 0) {
            mri_json_text(j, name(bit));
        }
    }
    mri_json_end(j);
    mri_json_end(j);
}

void
mri_inspect_version_text(const mri_version *v, mri_feature_name_fn *name)
{
    const char *between = " with ";

    (void)printf("format %u.%u", v->major, v->minor);
    for (unsigned bit = 0; bit < 32; bit++) {
        if ((v->features >> bit & 1) != 0) {
            (void)printf("%s%s", between, name(bit));
            between = ", ";
        }
    }
}

const char *
mri_inspect_kind(mri_field_kind kind)
{
    return kind == MRI_FIELD_IMAGE   ? "image"
           : kind == MRI_FIELD_LABEL ? "label"
           : kind == MRI_FIELD_OTHER ? "other"
                                     : "unknown";
}

static uint32_t
widen(uint64_t shape[MR_MAX_RANK], const mri_field_level *level)
{
    for (uint32_t i = 0; i < level->rank; i++) {
        shape[i] = level->downsample[i];
    }
    return level->rank;
}

void
mri_inspect_field_json(mri_json *j, const mr_dataset *ds, uint32_t field)
{
    mri_field_level level;

    mri_json_put_text(j, "kind",
                      mri_inspect_kind(mri_dataset_field_kind(ds, field)));
    mri_dataset_field_level(ds, field, &level);
    if (level.of == MRI_NO_FIELD) {
        return;
    }
    mri_json_put_text(j, "level_of", mr_dataset_field_name(ds, level.of));
    mri_json_key(j, "downsample");
    mri_json_array(j);
    for (uint32_t i = 0; i < level.rank; i++) {
        mri_json_u64(j, level.downsample[i]);
    }
    mri_json_end(j);
}

void
mri_inspect_field_text(const mr_dataset *ds, uint32_t field)
{
    mri_field_kind kind = mri_dataset_field_kind(ds, field);
    uint64_t shape[MR_MAX_RANK];
    mri_field_level level;

    mri_dataset_field_level(ds, field, &level);
    if (kind > MRI_FIELD_LABEL) {
        (void)printf("  (of a kind that a newer millrace knows)");
    } else if (kind != MRI_FIELD_IMAGE) {
        (void)printf("  (%s)", mri_inspect_kind(kind));
    }
    if (level.of != MRI_NO_FIELD) {
        (void)printf("  (level of %s, downsampled %s)",
                     mr_dataset_field_name(ds, level.of),
                     mri_text_shape(shape, widen(shape, &level)));
    }
}
