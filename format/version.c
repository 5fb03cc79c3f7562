/* SPDX-License-Identifier: Apache-2.0 */
/* version.c - which versions of the format this program reads and writes. */
#include "version.h"

#include <mri/bytes.h>
#include <mri/dataset.h>
#include <mri/error.h>

#include <stdio.h>

void
mri_version_put(uint8_t to[4])
{
    mri_put16(to, MRI_VERSION_MAJOR);
    mri_put16(to + 2, MRI_VERSION_MINOR);
}

mri_version
mri_version_of(const uint8_t *head, size_t features)
{
    return (mri_version){mri_get16(head + 8), mri_get16(head + 10),
                         mri_get32(head + features)};
}

mr_err
mri_version_check(const uint8_t *head, size_t features, uint32_t known,
                  const char *what, mr_diag *diag)
{
    unsigned major = mri_get16(head + 8), minor = mri_get16(head + 10);
    uint32_t strange = mri_get32(head + features) & ~known;

    if (major < MRI_VERSION_MAJOR) {
        return mri_fail(diag, MRI_E_OLD, 8,
                        "%s of format version %u.%u, from before the format "
                        "was frozen; this millrace reads version %d",
                        what, major, minor, MRI_VERSION_MAJOR);
    }
    if (major > MRI_VERSION_MAJOR) {
        return mri_fail(diag, MRI_E_VERSION, 8,
                        "%s of format version %u.%u is too new; this millrace "
                        "reads versions up to %d.%d",
                        what, major, minor, MRI_VERSION_MAJOR,
                        MRI_VERSION_MINOR);
    }
    /* A higher minor version says itself, by these, what may not be passed
     * over. */
    if (strange != 0) {
        return mri_fail(diag, MRI_E_VERSION, features,
                        "%s of format version %u.%u uses features (0x%x) that "
                        "this millrace, of version %d.%d, does not know",
                        what, major, minor, strange, MRI_VERSION_MAJOR,
                        MRI_VERSION_MINOR);
    }
    return MR_OK;
}

static const char *
name_of(const char *const *names, unsigned count, unsigned bit)
{
    static _Thread_local char text[32];

    if (bit < count) {
        return names[bit];
    }
    (void)snprintf(text, sizeof text, "feature %u", bit);
    return text;
}

const char *
mri_shard_feature_name(unsigned bit)
{
    return name_of(NULL, 0, bit);
}

const char *
mri_dataset_feature_name(unsigned bit)
{
    static const char *const names[] = {"withdrawn", "superseded"};

    return name_of(names, MRI_COUNT(names), bit);
}
