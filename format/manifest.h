/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.h - the file that makes a generation: manifest.<generation>.pb.
 * Bytes: docs/shard-format.md, "Manifest".
 */
#ifndef MRI_MANIFEST_H
#define MRI_MANIFEST_H

#include <format.pb-c.h>

#include <mri/store.h>

enum {
    MRI_MANIFEST_HEAD = 32,
    MRI_MANIFEST_FEATURES = 12, /* where they stand in it */
    MRI_WITHDRAWN_BYTES = 32
};
/* Incompatible features: a reader that does not know one refuses. */
enum {
    MRI_MANIFEST_WITHDRAWN = 1, /* the field of that name is there */
    MRI_MANIFEST_SUPERSEDED = 2,
    MRI_MANIFEST_KNOWN = MRI_MANIFEST_WITHDRAWN | MRI_MANIFEST_SUPERSEDED
};
#define MRI_MANIFEST_LIMIT ((uint64_t)1 << 30)

/* Head and packed message. False: no memory. */
bool mri_manifest_build(mri_bytes *out, const Mri__PbManifest *pb);

/*
 * errors  MR_EFORMAT (no magic), MR_EVERSION, MR_ECORRUPT, MR_ENOMEM
 * owner   *out: mri_manifest_free
 */
MR_USE_RESULT mr_err mri_manifest_parse(Mri__PbManifest **out, const uint8_t *p,
                                        size_t bytes, mr_diag *diag);
/* That of a generation of the dataset in `dir`. MR_EIO likewise. */
MR_USE_RESULT mr_err mri_manifest_load(Mri__PbManifest **out,
                                       const mri_store *s, uint64_t generation,
                                       mr_diag *diag);
void mri_manifest_free(Mri__PbManifest *pb);

/* manifest.000042.pb and index.000042.mri. */
typedef struct mri_object_name {
    char at[64];
} mri_object_name;
mri_object_name mri_manifest_name(uint64_t generation);
mri_object_name mri_index_name(uint64_t generation);
/* The same below `dir`; mri_free. NULL: no memory. */
char *mri_manifest_path(const char *dir, uint64_t generation);
char *mri_index_path(const char *dir, uint64_t generation);

/* The highest generation there is; 0 if there is none.
 * errors  MR_EIO  the store cannot be listed */
MR_USE_RESULT mr_err mri_generation_latest(const mri_store *s, uint64_t *out,
                                           mr_diag *diag);
MR_USE_RESULT mr_err mri_generation_first(const mri_store *s, uint64_t *out,
                                          mr_diag *diag);
/* 42 for "manifest.000042.pb", else 0. */
uint64_t mri_generation_of_name(const char *name);

#endif
