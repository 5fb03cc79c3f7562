/* SPDX-License-Identifier: Apache-2.0 */
/*
 * foot.h - the tables at the end of a shard, and the two tails that find them.
 * Bytes: docs/shard-format.md, "Foot" and "Tail".
 *
 * Opening reads a tail, the table of contents and the page hashes; a page of
 * the foot is checked when it is first touched, so opening costs the same for
 * ten samples and for ten million.
 */
#ifndef MRI_FOOT_H
#define MRI_FOOT_H

#include "rows.h"

#include "window.h"

#include <mri/bytes.h>

#include <stdatomic.h>

enum {
    MRI_TAIL_BYTES = 64,
    MRI_TOC_ROW = 24,
    MRI_FOOT_PAGE = 65536,
    MRI_FILE_ALIGN = 4096,
    MRI_TAIL_SPAN = 8192, /* the first tail is so far from the end */
    MRI_TOC_MAX = 64
};

typedef struct mri_tail {
    uint64_t foot_off, foot_len;
    uint64_t hash; /* XXH3-64 of the table of contents and the page hashes */
    uint32_t toc_rows, pages, samples;
    uint8_t shard_id[16];
} mri_tail;

void mri_tail_put(uint8_t to[MRI_TAIL_BYTES], const mri_tail *tail);
/* errors  MR_EFORMAT (no magic), MR_ECORRUPT (checksum) */
MR_USE_RESULT mr_err mri_tail_get(mri_tail *tail, const uint8_t *from,
                                  uint64_t at, mr_diag *diag);

/* One table to be written. */
typedef struct mri_table_in {
    uint32_t id, row_bytes;
    uint64_t rows;
    const uint8_t *data; /* rows * row_bytes */
} mri_table_in;

/*
 * Lay out the foot that begins at `foot_off` of the file, from tables in
 * ascending order of id, and fill the tail that goes with it.
 * False: no memory. `foot` is the caller's to release.
 */
bool mri_foot_build(mri_bytes *foot, mri_tail *tail, uint64_t foot_off,
                    const mri_table_in *tables, size_t count);

typedef struct mri_foot {
    const uint8_t *base; /* foot_len bytes, mapped or loaded */
    mri_window *window;  /* what base is in, or NULL: all of it is there */
    uint64_t off;        /* in the file, for errors */
    uint64_t len;        /* without the page hashes */
    uint32_t pages;
    const uint8_t *hashes;
    _Atomic uint8_t *page_ok; /* [pages] */
    struct {
        uint32_t row_bytes;
        uint64_t off, rows;
    } tables[MRI_TOC_MAX]; /* by id; unknown ids are skipped */
} mri_foot;

/*
 * Check the table of contents and the page hashes of a foot at `base`.
 * owner   base must outlive the foot; mri_foot_release frees what it took
 * errors  MR_ECORRUPT, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_foot_open(mri_foot *foot, const mri_tail *tail,
                                   const uint8_t *base, mr_diag *diag);
void mri_foot_release(mri_foot *foot);

/* Row `i` of a table; its pages are checked at first touch. */
MR_USE_RESULT mr_err mri_foot_row(const mri_foot *foot, mri_table table,
                                  uint64_t i, const uint8_t **row,
                                  mr_diag *diag);
/* Ask the file for the pages of that row, if they were not seen yet. */
void mri_foot_want(const mri_foot *foot, mri_table table, uint64_t i);
/* A whole table of bytes (the schema). */
MR_USE_RESULT mr_err mri_foot_table(const mri_foot *foot, mri_table table,
                                    const uint8_t **p, uint64_t *bytes,
                                    mr_diag *diag);
uint64_t mri_foot_rows(const mri_foot *foot, mri_table table);
/* Check every page; at most one error is reported. */
MR_USE_RESULT mr_err mri_foot_check_all(const mri_foot *foot, mr_diag *diag);

/*
 * The tail that would go with a foot at `base`, both tails being lost: true if
 * `left` bytes from there on hold a table of contents, its tables and page
 * hashes that agree with its first page.
 */
bool mri_foot_find(mri_tail *tail, const uint8_t *base, uint64_t left,
                   uint64_t foot_off);

/* Size of a shard file whose foot ends at `end`. */
uint64_t mri_shard_file_size(uint64_t end);

#endif
