/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dataset.h - what `ingest`, `inspect`, `verify` and `export` need of a
 * dataset beyond the public door: commit a generation, the human side of
 * samples, proof of a whole folder.
 */
#ifndef MRI_DATASET_H
#define MRI_DATASET_H

#include <mri/bytes.h>
#include <mri/json.h>
#include <mri/shard.h>

MRI_BEGIN

/* The human side of a sample; mri_meta_free. */
MR_USE_RESULT mr_err mri_dataset_meta(const mr_dataset *ds, uint64_t rank,
                                      mri_meta **out, mr_diag *diag);
/* The sample whose key that is. O(samples): keys live in meta frames, only
 * their hashes in rows. MR_EARG if there is none. */
MR_USE_RESULT mr_err mri_dataset_find_key(const mr_dataset *ds, const char *key,
                                          uint64_t *rank, mr_diag *diag);
/* XXH3-64 of the sample's key: from its row, without its meta frame. */
MR_USE_RESULT mr_err mri_dataset_key_hash(const mr_dataset *ds, uint64_t rank,
                                          uint64_t *hash, mr_diag *diag);
/* "x.mr@42" is generation 42 of x.mr, unless a folder has that very name;
 * 0: none is named. owner  *dir: mri_free */
MR_USE_RESULT mr_err mri_generation_split(const char *path, char **dir,
                                          uint64_t *generation, mr_diag *diag);
/* The generation in force in a folder; 0 if it has none. */
MR_USE_RESULT mr_err mri_generation_of(const char *dir, uint64_t *generation,
                                       mr_diag *diag);
/*
 * Before ranks[0] is read, when ranks[1 .. left) will follow: ask the memory
 * for what those a few places ahead will touch. A hint for small samples that
 * are read out of the page cache in an order that nobody can foresee; nothing
 * is proven or changed by it, and shards that were never read are not opened.
 */
void mri_dataset_foresee(const mr_dataset *ds, const uint64_t *ranks,
                         size_t left);
/*
 * Before ranks[0 .. n) are read, whatever memory they lie in: have the files
 * asked for all small samples among them at once. A hint; it costs next to
 * nothing while `scratch`, which reads them, was never made to wait of late.
 */
void mri_dataset_want(const mr_dataset *ds, const uint64_t *ranks, size_t n,
                      mr_scratch *scratch);
/* Which split a rank belongs to, or MR_ALL_SAMPLES if to none. */
MR_USE_RESULT mr_err mri_dataset_split_of(const mr_dataset *ds, uint64_t rank,
                                          uint32_t *split, mr_diag *diag);

/* Facts of the manifest. */
typedef struct mri_dataset_facts {
    mri_version version; /* of the manifest */
    const char *dir, *layout, *config, *split_recipe;
    uint64_t samples, groups, quarantined;
    uint64_t withdrawn;  /* that stand in the shards, and not in the index */
    uint64_t superseded; /* rows that stand again in a later shard */
    uint64_t joined;     /* groups put together because they share pixels */
    uint64_t leaks;      /* samples that the source's splits tear from theirs */
    uint32_t shards;
    uint64_t bytes;     /* of the shards */
    uint64_t raw_bytes; /* decoded */
} mri_dataset_facts;
void mri_dataset_facts_of(const mr_dataset *ds, mri_dataset_facts *out);
const char *mri_dataset_feature_name(unsigned bit);
uint64_t mri_dataset_class_count(const mr_dataset *ds, uint32_t class_index);
mri_field_kind mri_dataset_field_kind(const mr_dataset *ds, uint32_t field);
/* Which field it is a coarser level of. */
void mri_dataset_field_level(const mr_dataset *ds, uint32_t field,
                             mri_field_level *out);
void mri_dataset_shard(const mr_dataset *ds, uint32_t i, mri_shard_ref *out);

/* The types and shapes that occur, most frequent first. dtype MR_NONE: all
 * that are not told apart any more (there are hundreds). */
typedef struct mri_variant {
    uint32_t field;
    mr_encoding encoding;
    mr_dtype dtype;
    uint32_t rank;
    char axes[MR_MAX_RANK + 1];
    uint64_t shape[MR_MAX_RANK];
    uint64_t count;
} mri_variant;
uint32_t mri_dataset_variants(const mr_dataset *ds);
void mri_dataset_variant(const mr_dataset *ds, uint32_t i, mri_variant *out);

/* A sample that was withdrawn: it stands in the shards, and not in the index.
 * Its key is known by XXH3-64, its group as in mr_sample. */
typedef struct mri_withdrawn {
    uint8_t uid[MR_UID_BYTES];
    uint64_t key, group;
} mri_withdrawn;
/* Of mri_dataset_facts.withdrawn, ascending by uid. */
void mri_dataset_withdrawn(const mr_dataset *ds, uint64_t i,
                           mri_withdrawn *out);

/* No split was given by the source: the hash decides. */
#define MRI_SPLIT_BY_HASH UINT32_MAX

#define MRI_OLDEST_NEW UINT64_MAX

typedef struct mri_commit {
    const char *dir;
    const mr_dataset *parent; /* NULL: the first generation */
    /* Splits that are assigned, and samples that are withdrawn, are those of
     * this generation; NULL: of the parent. With `like`, the recipe of the
     * splits is its own too, and shares do not matter. */
    const mr_dataset *like;
    /* To be withdrawn beyond those: ascending by uid, none of them there. */
    const mri_withdrawn *withdrawn;
    uint64_t withdrawn_count;
    /* Rows of the later shards may have other labels than `like`; a sample
     * whose group is another one leaves its split. */
    bool other_labels;
    bool forget_withdrawn; /* no shard holds them any more, no list is kept */
    uint64_t oldest;       /* generation that is kept; 0: as in the parent;
                              MRI_OLDEST_NEW: this one */
    const mri_shard_ref *shards; /* of the new generation, all of them */
    uint32_t shard_count;
    const mri_schema *schema; /* classes: the parent's first, in its order */
    const char *layout;
    uint64_t quarantined;
    /* Splits in order, with the shares they should get; sum 1. */
    const char *const *split_names;
    const double *split_shares;
    uint32_t split_count;
    /* The source's own split of a sample, by the hash of its key; or
     * MRI_SPLIT_BY_HASH. NULL: by hash for all. */
    uint32_t (*given_split)(void *user, uint64_t key_hash);
    void *user;
    const mr_watch *watch;
    unsigned workers; /* that count values; 0: one a CPU */
} mri_commit;

/*
 * Make the next generation: index, splits, statistics, manifest, in this
 * order; the manifest's exclusive creation is the commit.
 *
 * errors  MR_EBUSY   another writer made that generation meanwhile
 *         MR_ECORRUPT  with `like` and nothing withdrawn: the content would
 *                    not be that of `like`
 *         MR_EFORMAT no samples: nothing is created
 *         MR_EIO, MR_ECORRUPT, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_dataset_commit(const mri_commit *c,
                                        uint64_t *generation, mr_diag *diag);

/*
 * Prove a whole dataset: every generation's manifest and index, every shard,
 * history, quarantine and the folder itself. `orphans` counts files that no
 * manifest names (left by a commit that was cut off; reported, not damage).
 * Of "x.mr@42" that generation alone: its manifest, its index, its shards.
 * `workers` threads read shards.
 */
typedef struct mri_dataset_verified {
    mri_verified shards;
    uint32_t shard_count, generations;
    uint64_t orphans;
    uint64_t damages; /* in all */
} mri_dataset_verified;
MR_USE_RESULT mr_err mri_dataset_verify(const char *dir, unsigned workers,
                                        mri_damage_fn *tell, void *user,
                                        const mr_watch *watch,
                                        mri_dataset_verified *out,
                                        mr_diag *diag);

/* One writer a folder: a lock that frees itself when the process ends. */
typedef struct mri_lock {
    int fd;
    char *path;
} mri_lock;
/* errors  MR_EBUSY  held; pid and host of the holder are in the text */
MR_USE_RESULT mr_err mri_lock_take(mri_lock *lock, const char *path,
                                   mr_diag *diag);
void mri_lock_release(mri_lock *lock); /* and remove; zeroed: accepted */

/*
 * Remove what no generation needs: half-written files, generations that are
 * not kept any more and that nobody reads, and shards that no generation
 * names. Only for who holds the lock. Shards in `keep` stay; with keep NULL all
 * stay while an unfinished ingest is there, as its journal may name them.
 *
 * errors  MR_EIO  a file cannot be removed; those of a damaged latest manifest
 */
typedef struct mri_swept {
    uint64_t generations, held; /* removed; kept because they are read */
    uint64_t shards;            /* removed */
} mri_swept;
MR_USE_RESULT mr_err mri_dataset_sweep(const char *dir,
                                       const uint8_t (*keep)[16], size_t count,
                                       mri_swept *out, mr_diag *diag);

/* One line of history.jsonl: 8 hex digits of crc32c, a space, the JSON. */
MR_USE_RESULT mr_err mri_history_add(const char *dir, const char *json,
                                     mr_diag *diag);
/* Such a line in pieces: begin writes what happened, to which generation,
 * when, where and by whom; the caller puts what else there is to say. */
void mri_history_begin(mri_json *j, const char *what, uint64_t generation,
                       const char *command);
MR_USE_RESULT mr_err mri_history_end(mri_json *j, const char *dir,
                                     mr_diag *diag); /* and release */
/* The payload of such a line, checked: NULL if it does not hold. The line is
 * cut at its end. Also used by the journal and the quarantine. */
const char *mri_crc_line_check(char *line);
bool mri_crc_line_add(mri_bytes *out, const char *json);

MRI_END

#endif
