/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard.h - write one shard file, and read or prove one apart from a dataset.
 *
 * Writing is in two steps so that many threads can do the heavy one:
 * mri_encode (any thread) turns a sample into stored chunks, statistics and
 * hashes; mri_shard_add (one thread, in the order of the plan) gives it its
 * place. The bytes depend on the samples and their order alone.
 */
#ifndef MRI_SHARD_H
#define MRI_SHARD_H

#include <mri/record.h>

MRI_BEGIN

/* A sample as it will be stored, not yet placed. */
typedef struct mri_encoded mri_encoded;

/*
 * owner   *out is the caller's: mri_encoded_free
 * errors  MR_ELIMIT  an item over 4 GiB, or more than the rows can number
 *         MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_encode(mri_encoded **out, const mri_sample_in *sample,
                                mr_diag *diag);
void mri_encoded_free(mri_encoded *e);
uint64_t mri_encoded_bytes(const mri_encoded *e);     /* as stored */
uint64_t mri_encoded_raw_bytes(const mri_encoded *e); /* decoded */

typedef struct mri_shard_writer mri_shard_writer;

/* What a manifest says of a shard. */
typedef struct mri_shard_ref {
    uint8_t id[16];
    uint64_t bytes;
    uint64_t foot_hash;
    uint64_t samples;
    uint64_t raw_bytes;
    uint8_t plan_tag[16];
} mri_shard_ref;

/*
 * Begin a shard of the dataset at `dir`; nothing of it can be seen until it is
 * finished.
 * errors  MR_EIO, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_shard_begin(mri_shard_writer **out, const char *dir,
                                     const uint8_t plan_tag[16],
                                     const mri_schema *schema, mr_diag *diag);
/* The sample's frames get their heads where they lie, and are written. */
MR_USE_RESULT mr_err mri_shard_add(mri_shard_writer *w, mri_encoded *e,
                                   mr_diag *diag);
/*
 * Write foot and tails and give the file its name, shards/ab/<id>.mrs: then it
 * is durable. A shard without samples is not written: ref->samples is 0 then.
 */
MR_USE_RESULT mr_err mri_shard_finish(mri_shard_writer *w, mri_shard_ref *ref,
                                      mr_diag *diag);
/* Ends the writer; what was not finished leaves nothing. NULL is accepted. */
void mri_shard_close_writer(mri_shard_writer *w);

/* shards/ab/<id>.mrs. */
typedef struct mri_shard_file {
    char name[64];
} mri_shard_file;
mri_shard_file mri_shard_name(const uint8_t id[16]);
/* The same below `dir`; mri_free. NULL: no memory. */
char *mri_shard_path(const char *dir, const uint8_t id[16]);

/* Reading a single shard, as `inspect` and `verify` do. */
typedef struct mri_shard mri_shard;

/* Of the format, and the incompatible features that a file uses. */
typedef struct mri_version {
    uint16_t major, minor;
    uint32_t features; /* a bit each */
} mri_version;

/* The shard of a dataset that its manifest names.
 * use_map false: read by pread, for file systems where mapping lies. */
struct mri_store; /* mri/store.h */
MR_USE_RESULT mr_err mri_shard_open_in(mri_shard **out,
                                       const struct mri_store *store,
                                       const mri_shard_ref *ref, bool use_map,
                                       mr_diag *diag);
/* A file that a user names. `expect` is what a manifest says of it, or NULL. */
MR_USE_RESULT mr_err mri_shard_open(mri_shard **out, const char *path,
                                    const mri_shard_ref *expect, mr_diag *diag);
void mri_shard_close(mri_shard *s);
uint32_t mri_shard_samples(const mri_shard *s);
uint64_t mri_shard_bytes(const mri_shard *s);
const uint8_t *mri_shard_id(const mri_shard *s);
const mri_version *mri_shard_version(const mri_shard *s);
/* "feature 7" for one without a name. */
const char *mri_shard_feature_name(unsigned bit);

enum { MRI_CODED_MOST = 32 };

/* Chunks that are stored in the same way. */
typedef struct mri_coded {
    const char *codec;  /* "lz4", ..., "constant", "jpeg", "file" */
    const char *filter; /* "none", ... */
    uint64_t chunks, raw_bytes, stored_bytes;
} mri_coded;

/*
 * How the chunks of a shard are stored, by name: reads its table of chunks.
 * errors  MR_ECORRUPT
 */
MR_USE_RESULT mr_err mri_shard_codings(const mri_shard *s,
                                       mri_coded out[MRI_CODED_MOST],
                                       uint32_t *count, mr_diag *diag);

/* The human side of a sample: what its meta frame says. */
typedef struct mri_meta {
    const char *key, *group, *class_name; /* "" where there is none */
    uint32_t field_count;
    const mri_geometry *geometry;         /* [field_count] */
    const mri_provenance *const *sources; /* [field_count] */
    const uint32_t *source_count;         /* [field_count] */
} mri_meta;

/* owner  *out is the caller's: mri_meta_free */
MR_USE_RESULT mr_err mri_shard_meta(const mri_shard *s, uint32_t row,
                                    mri_meta **out, mr_diag *diag);
void mri_meta_free(mri_meta *meta);

/* Told of each damage; `sample` is its key, or NULL if no sample is known. */
typedef void mri_damage_fn(void *user, const char *sample, const mr_diag *diag);

typedef struct mri_verified {
    uint64_t bytes, frames, samples;
    uint64_t damages;
} mri_verified;

/*
 * Read every byte of a shard and prove it: head, every frame in order, zero
 * pads, meta frames against the foot, every chunk decoded and its field's
 * hash, both tails, every page of the foot, the id.
 *
 * errors  MR_OK also if damage was found (it was told, and counted); MR_EIO if
 *         the file cannot be read
 */
MR_USE_RESULT mr_err mri_shard_verify(const char *path,
                                      const mri_shard_ref *expect,
                                      mri_damage_fn *tell, void *user,
                                      mri_verified *out, mr_diag *diag);

MRI_END

#endif
