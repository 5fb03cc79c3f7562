/* SPDX-License-Identifier: Apache-2.0 */
/* foot.c - the tables at the end of a shard. */
#include "foot.h"

#include "frame.h"

#include <mri/alloc.h>
#include <mri/crc32c.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <string.h>

static const uint8_t tail_magic[8] = {'M', 'R', 'S', 'T', 'A', 'I', 'L', '\n'};

void
mri_tail_put(uint8_t to[MRI_TAIL_BYTES], const mri_tail *tail)
{
    memset(to, 0, MRI_TAIL_BYTES);
    memcpy(to, tail_magic, 8);
    mri_put64(to + 8, tail->foot_off);
    mri_put64(to + 16, tail->foot_len);
    mri_put64(to + 24, tail->hash);
    mri_put32(to + 32, tail->toc_rows);
    mri_put32(to + 36, tail->pages);
    mri_put32(to + 40, tail->samples);
    memcpy(to + 44, tail->shard_id, 16);
    mri_put32(to + 60, mri_crc32c(0, to, 60));
}

mr_err
mri_tail_get(mri_tail *tail, const uint8_t *from, uint64_t at, mr_diag *diag)
{
    if (memcmp(from, tail_magic, 8) != 0) {
        return mri_fail(diag, MRI_E_SHARD_SHORT, at,
                        "no tail stands here: the file is incomplete");
    }
    if (mri_get32(from + 60) != mri_crc32c(0, from, 60)) {
        return mri_fail(diag, MRI_E_CHECKSUM, at,
                        "the tail fails its checksum");
    }
    tail->foot_off = mri_get64(from + 8);
    tail->foot_len = mri_get64(from + 16);
    tail->hash = mri_get64(from + 24);
    tail->toc_rows = mri_get32(from + 32);
    tail->pages = mri_get32(from + 36);
    tail->samples = mri_get32(from + 40);
    memcpy(tail->shard_id, from + 44, 16);
    return MR_OK;
}

uint64_t
mri_shard_file_size(uint64_t end)
{
    return mri_round_up(end, MRI_FILE_ALIGN) + MRI_TAIL_SPAN;
}

/* The hash that stands in the tail and in the manifest. */
static bool
hash_of(const uint8_t *toc, size_t toc_bytes, const uint8_t *hashes,
        size_t hash_bytes, uint64_t *out)
{
    mri_xxh3_state *s = mri_xxh3_begin();

    if (s == NULL) {
        return false;
    }
    mri_xxh3_add(s, toc, toc_bytes);
    mri_xxh3_add(s, hashes, hash_bytes);
    *out = mri_xxh3_end(s);
    mri_xxh3_free(s);
    return true;
}

static size_t
page_bytes(uint64_t len, uint32_t page)
{
    uint64_t left = len - (uint64_t)page * MRI_FOOT_PAGE;

    return (size_t)(left < MRI_FOOT_PAGE ? left : MRI_FOOT_PAGE);
}

static bool
add_tables(mri_bytes *foot, const mri_table_in *tables, size_t count)
{
    uint64_t off = mri_round_up(count * MRI_TOC_ROW, MRI_ALIGN);

    for (size_t i = 0; i < count; i++) {
        if (!mri_bytes_u32(foot, tables[i].id) ||
            !mri_bytes_u32(foot, tables[i].row_bytes) ||
            !mri_bytes_u64(foot, off) || !mri_bytes_u64(foot, tables[i].rows)) {
            return false;
        }
        off =
            mri_round_up(off + tables[i].rows * tables[i].row_bytes, MRI_ALIGN);
    }
    for (size_t i = 0; i < count; i++) {
        size_t pad = (size_t)(mri_round_up(foot->len, MRI_ALIGN) - foot->len);

        if (!mri_bytes_zero(foot, pad) ||
            !mri_bytes_add(foot, tables[i].data,
                           (size_t)(tables[i].rows * tables[i].row_bytes))) {
            return false;
        }
    }
    return mri_bytes_zero(
        foot, (size_t)(mri_round_up(foot->len, MRI_ALIGN) - foot->len));
}

bool
mri_foot_build(mri_bytes *foot, mri_tail *tail, uint64_t foot_off,
               const mri_table_in *tables, size_t count)
{
    uint8_t digest[32];
    size_t len;

    *tail = (mri_tail){.foot_off = foot_off, .toc_rows = (uint32_t)count};
    if (!add_tables(foot, tables, count)) {
        return false;
    }
    len = foot->len;
    tail->pages = (uint32_t)((len + MRI_FOOT_PAGE - 1) / MRI_FOOT_PAGE);
    for (uint32_t i = 0; i < tail->pages; i++) {
        const uint8_t *page = foot->data + (size_t)i * MRI_FOOT_PAGE;

        if (!mri_bytes_u64(foot, mri_xxh3(page, page_bytes(len, i)))) {
            return false;
        }
    }
    tail->foot_len = foot->len;
    mri_sha256_of(digest, foot->data, foot->len);
    memcpy(tail->shard_id, digest, 16);
    return hash_of(foot->data, count * MRI_TOC_ROW, foot->data + len,
                   foot->len - len, &tail->hash);
}

static mr_err
damaged(mr_diag *diag, uint64_t at, const char *what)
{
    return mri_fail(diag, MRI_E_SHARD_DAMAGED, at, "%s", what);
}

/* One row of the table of contents; tables we do not know are skipped. */
static mr_err
read_toc_row(mri_foot *foot, const uint8_t *row, uint64_t at, mr_diag *diag)
{
    uint32_t id = mri_get32(row), row_bytes = mri_get32(row + 4);
    uint64_t off = mri_get64(row + 8), rows = mri_get64(row + 16), bytes, end;

    if (!mri_mul(rows, row_bytes, &bytes) || !mri_add(off, bytes, &end) ||
        end > foot->len || row_bytes == 0) {
        return damaged(diag, at, "a table leaves the foot");
    }
    if (id < MRI_TOC_MAX) {
        foot->tables[id].row_bytes = row_bytes;
        foot->tables[id].off = off;
        foot->tables[id].rows = rows;
    }
    return MR_OK;
}

static const struct {
    mri_table id;
    uint32_t row_bytes;
} known[] = {{MRI_TABLE_SAMPLES, MRI_SAMPLE_ROW},
             {MRI_TABLE_GRIDS, MRI_GRID_ROW},
             {MRI_TABLE_CHUNKS, MRI_CHUNK_ROW},
             {MRI_TABLE_MOMENTS, MRI_MOMENT_ROW},
             {MRI_TABLE_SCHEMA, 1},
             {MRI_TABLE_STATS, MRI_STAT_ROW},
             {MRI_TABLE_LABELS, MRI_LABEL_ROW}};

static mr_err
check_known_tables(const mri_foot *foot, const mri_tail *tail, mr_diag *diag)
{
    for (size_t i = 0; i < MRI_COUNT(known); i++) {
        if (foot->tables[known[i].id].row_bytes != known[i].row_bytes) {
            return damaged(diag, foot->off,
                           "a table is missing or has rows of another size");
        }
    }
    if (foot->tables[MRI_TABLE_SAMPLES].rows != tail->samples) {
        return damaged(diag, foot->off,
                       "tail and table count the samples "
                       "differently");
    }
    return MR_OK;
}

mr_err
mri_foot_open(mri_foot *foot, const mri_tail *tail, const uint8_t *base,
              mr_diag *diag)
{
    uint64_t hash_bytes = (uint64_t)tail->pages * 8;
    uint64_t toc_bytes = (uint64_t)tail->toc_rows * MRI_TOC_ROW;
    uint64_t hash = 0;
    mr_err err = MR_OK;

    *foot = (mri_foot){.base = base, .off = tail->foot_off};
    if (hash_bytes > tail->foot_len || tail->pages == 0 ||
        toc_bytes > tail->foot_len - hash_bytes ||
        tail->toc_rows > MRI_TOC_MAX) {
        return damaged(diag, tail->foot_off, "the tail's sizes do not agree");
    }
    foot->len = tail->foot_len - hash_bytes;
    foot->pages = tail->pages;
    foot->hashes = base + foot->len;
    if ((foot->len + MRI_FOOT_PAGE - 1) / MRI_FOOT_PAGE != tail->pages) {
        return damaged(diag, tail->foot_off, "the tail's sizes do not agree");
    }
    foot->page_ok = mri_alloc(foot->pages, 1);
    if (foot->page_ok == NULL || !hash_of(base, (size_t)toc_bytes, foot->hashes,
                                          (size_t)hash_bytes, &hash)) {
        mri_foot_release(foot);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    if (hash != tail->hash) {
        err = mri_fail(diag, MRI_E_CHECKSUM, tail->foot_off,
                       "the table of contents fails its checksum");
    }
    for (uint32_t i = 0; err == MR_OK && i < tail->toc_rows; i++) {
        err = read_toc_row(foot, base + (size_t)i * MRI_TOC_ROW,
                           foot->off + (uint64_t)i * MRI_TOC_ROW, diag);
    }
    if (err == MR_OK) {
        err = check_known_tables(foot, tail, diag);
    }
    if (err != MR_OK) {
        mri_foot_release(foot);
    }
    return err;
}

void
mri_foot_release(mri_foot *foot)
{
    mri_free((void *)(uintptr_t)foot->page_ok);
    *foot = (mri_foot){0};
}

/* Where it is not mapped, it is in memory. */
static void
ask_page(const mri_foot *foot, uint32_t page)
{
    if (foot->window != NULL && mri_window_whole(foot->window)) {
        mri_object_want(foot->window->o,
                        foot->off + (uint64_t)page * MRI_FOOT_PAGE,
                        page_bytes(foot->len, page));
    }
}

static mr_err
prove_page(const mri_foot *foot, uint32_t page, mr_diag *diag)
{
    const uint8_t *p = foot->base + (size_t)page * MRI_FOOT_PAGE;

    if (mri_xxh3(p, page_bytes(foot->len, page)) !=
        mri_get64(foot->hashes + (size_t)page * 8)) {
        return mri_fail(diag, MRI_E_CHECKSUM,
                        foot->off + (uint64_t)page * MRI_FOOT_PAGE,
                        "page %u of the foot fails its checksum", page);
    }
    atomic_store_explicit(&foot->page_ok[page], 1, memory_order_release);
    return MR_OK;
}

/* Into memory that others may look at: one thread, and only once. */
static mr_err
fetch_page(const mri_foot *foot, uint32_t page, mr_diag *diag)
{
    mr_err err = MR_OK;

    pthread_mutex_lock(&foot->window->lock);
    if (!atomic_load_explicit(&foot->page_ok[page], memory_order_acquire)) {
        err = mri_window_read(foot->window, (uint64_t)page * MRI_FOOT_PAGE,
                              page_bytes(foot->len, page), diag);
        if (err == MR_OK) {
            err = prove_page(foot, page, diag);
        }
    }
    pthread_mutex_unlock(&foot->window->lock);
    return err;
}

/* In a mapping two threads may both prove a page, and find the same. */
static mr_err
check_page(const mri_foot *foot, uint32_t page, mr_diag *diag)
{
    if (atomic_load_explicit(&foot->page_ok[page], memory_order_acquire)) {
        return MR_OK;
    }
    if (!mri_window_whole(foot->window)) {
        return fetch_page(foot, page, diag);
    }
    ask_page(foot, page);
    return prove_page(foot, page, diag);
}

static mr_err
check_span(const mri_foot *foot, uint64_t off, uint64_t bytes, mr_diag *diag)
{
    mr_err err = MR_OK;

    if (bytes == 0) {
        return MR_OK;
    }
    for (uint64_t page = off / MRI_FOOT_PAGE;
         err == MR_OK && page <= (off + bytes - 1) / MRI_FOOT_PAGE; page++) {
        err = check_page(foot, (uint32_t)page, diag);
    }
    return err;
}

mr_err
mri_foot_row(const mri_foot *foot, mri_table table, uint64_t i,
             const uint8_t **row, mr_diag *diag)
{
    uint32_t bytes = foot->tables[table].row_bytes;
    uint64_t off = foot->tables[table].off + i * bytes;
    mr_err err;

    if (i >= foot->tables[table].rows) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, foot->off,
                        "row %llu of a table of %llu", (unsigned long long)i,
                        (unsigned long long)foot->tables[table].rows);
    }
    err = check_span(foot, off, bytes, diag);
    if (err == MR_OK) {
        *row = foot->base + off;
    }
    return err;
}

void
mri_foot_want(const mri_foot *foot, mri_table table, uint64_t i)
{
    uint64_t off = foot->tables[table].off + i * foot->tables[table].row_bytes;
    uint32_t page = (uint32_t)(off / MRI_FOOT_PAGE);

    if (i < foot->tables[table].rows &&
        !atomic_load_explicit(&foot->page_ok[page], memory_order_relaxed)) {
        ask_page(foot, page);
    }
}

mr_err
mri_foot_table(const mri_foot *foot, mri_table table, const uint8_t **p,
               uint64_t *bytes, mr_diag *diag)
{
    uint64_t n = foot->tables[table].rows * foot->tables[table].row_bytes;
    mr_err err = check_span(foot, foot->tables[table].off, n, diag);

    if (err == MR_OK) {
        *p = foot->base + foot->tables[table].off;
        *bytes = n;
    }
    return err;
}

uint64_t
mri_foot_rows(const mri_foot *foot, mri_table table)
{
    return foot->tables[table].rows;
}

mr_err
mri_foot_check_all(const mri_foot *foot, mr_diag *diag)
{
    return check_span(foot, 0, foot->len, diag);
}

bool
mri_foot_find(mri_tail *tail, const uint8_t *base, uint64_t left,
              uint64_t foot_off)
{
    const uint64_t toc = MRI_COUNT(known) * MRI_TOC_ROW;
    uint64_t len = 0, samples = left >= toc ? mri_get64(base + 16) : 0;
    uint32_t pages;

    if (samples == 0 || samples > UINT32_MAX) {
        return false;
    }
    for (size_t i = 0; i < MRI_COUNT(known); i++) {
        const uint8_t *row = base + i * MRI_TOC_ROW;
        uint64_t bytes, end;

        if (mri_get32(row) != known[i].id ||
            mri_get32(row + 4) != known[i].row_bytes ||
            !mri_mul(mri_get64(row + 16), known[i].row_bytes, &bytes) ||
            !mri_add(mri_get64(row + 8), bytes, &end) || end > left) {
            return false;
        }
        len = end > len ? end : len;
    }
    len = mri_round_up(len, MRI_ALIGN);
    pages = (uint32_t)((len + MRI_FOOT_PAGE - 1) / MRI_FOOT_PAGE);
    if (len > left || (uint64_t)pages * 8 > left - len ||
        mri_xxh3(base, page_bytes(len, 0)) != mri_get64(base + len)) {
        return false;
    }
    *tail = (mri_tail){.foot_off = foot_off,
                       .foot_len = len + (uint64_t)pages * 8,
                       .toc_rows = MRI_COUNT(known),
                       .pages = pages,
                       .samples = (uint32_t)samples};
    return hash_of(base, (size_t)toc, base + len, (size_t)pages * 8,
                   &tail->hash);
}
