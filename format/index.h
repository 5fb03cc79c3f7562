/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.h - all live samples of a generation by uid, and each split's ranks.
 * Bytes: docs/shard-format.md, "Index". Mapped, never parsed; a page is
 * checked when it is first touched.
 */
#ifndef MRI_INDEX_H
#define MRI_INDEX_H

#include "window.h"

#include "object.h"

#include <millrace/dataset.h>

#include <mri/store.h>

#include <stdatomic.h>

enum { MRI_INDEX_HEAD = 64, MRI_INDEX_ENTRY = 24, MRI_INDEX_SPLITS = 256 };

typedef struct mri_index_entry {
    uint8_t uid[MR_UID_BYTES];
    uint32_t shard, row;
} mri_index_entry;

typedef struct mri_index_in {
    const mri_index_entry *entries; /* ascending by uid */
    uint64_t count;
    uint32_t splits;
    const uint64_t *split_counts;       /* [splits] */
    const uint32_t *const *split_ranks; /* [splits][count], ascending */
} mri_index_in;

/* The whole file, and its hash for the manifest. False: no memory. */
bool mri_index_build(mri_bytes *out, uint8_t hash[16], const mri_index_in *in);

typedef struct mri_index {
    mri_object file;
    mri_window window; /* on all of the file */
    const uint8_t *base;
    uint64_t count, body_len, entries_off;
    uint32_t splits, pages;
    uint64_t split_counts[MRI_INDEX_SPLITS];
    uint64_t split_off[MRI_INDEX_SPLITS];
    const uint8_t *hashes;
    _Atomic uint8_t *page_ok;
} mri_index;

/* errors  MR_EIO, MR_ECORRUPT, MR_EVERSION, MR_ENOMEM */
MR_USE_RESULT mr_err mri_index_open(mri_index *x, const mri_store *store,
                                    const char *name, const uint8_t hash[16],
                                    bool use_map, mr_diag *diag);
void mri_index_close(mri_index *x); /* zeroed: accepted */

MR_USE_RESULT mr_err mri_index_at(const mri_index *x, uint64_t rank,
                                  mri_index_entry *out, mr_diag *diag);
/* The entry of a rank where it lies, not proven; NULL beyond the last, and if
 * the index is not mapped. */
const uint8_t *mri_index_peek(const mri_index *x, uint64_t rank);
/* Ask the file for the page of that entry, if it was not seen yet. */
void mri_index_want(const mri_index *x, uint64_t rank);
MR_USE_RESULT mr_err mri_index_rank(const mri_index *x, uint32_t split,
                                    uint64_t i, uint64_t *rank, mr_diag *diag);
/* `n` of them from the `first` on, at least 1: in one go, for millions. */
MR_USE_RESULT mr_err mri_index_ranks(const mri_index *x, uint32_t split,
                                     uint64_t first, uint32_t n, uint32_t *out,
                                     mr_diag *diag);
/* MR_EARG if the uid is not there. */
MR_USE_RESULT mr_err mri_index_find(const mri_index *x,
                                    const uint8_t uid[MR_UID_BYTES],
                                    uint64_t *rank, mr_diag *diag);
MR_USE_RESULT mr_err mri_index_check_all(const mri_index *x, mr_diag *diag);

#endif
