/* SPDX-License-Identifier: Apache-2.0 */
/* index.c - all live samples of a generation, mapped and page-hashed. */
#include "index.h"

#include "foot.h"
#include "frame.h"
#include "version.h"

#include <mri/alloc.h>
#include <mri/crc32c.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <string.h>

#define PAGE MRI_FOOT_PAGE
enum { FEATURES = 36, KNOWN_FEATURES = 0 }; /* where, and which */

static const uint8_t magic[8] = {0x89, 'M', 'R', 'I', '\r', '\n', 0x1A, '\n'};

static bool
pad(mri_bytes *b)
{
    return mri_bytes_zero(b,
                          (size_t)(mri_round_up(b->len, MRI_ALIGN) - b->len));
}

static size_t
page_bytes(uint64_t len, uint64_t page)
{
    uint64_t left = len - page * PAGE;

    return (size_t)(left < PAGE ? left : PAGE);
}

static bool
hash_of(uint8_t hash[16], const uint8_t *head, const uint8_t *hashes,
        size_t bytes)
{
    mri_sha256 *s = mri_sha256_begin();
    uint8_t digest[32];

    if (s == NULL) {
        return false;
    }
    mri_sha256_add(s, head, MRI_INDEX_HEAD);
    mri_sha256_add(s, hashes, bytes);
    mri_sha256_end(s, digest);
    mri_sha256_free(s);
    memcpy(hash, digest, 16);
    return true;
}

/* Counts, entries, ranks: each part on a boundary of 64 bytes. */
static bool
add_body(mri_bytes *out, const mri_index_in *in)
{
    bool ok = true;

    for (uint32_t i = 0; ok && i < in->splits; i++) {
        ok = mri_bytes_u64(out, in->split_counts[i]);
    }
    ok = ok && pad(out);
    for (uint64_t i = 0; ok && i < in->count; i++) {
        ok = mri_bytes_add(out, in->entries[i].uid, MR_UID_BYTES) &&
             mri_bytes_u32(out, in->entries[i].shard) &&
             mri_bytes_u32(out, in->entries[i].row);
    }
    ok = ok && pad(out);
    for (uint32_t i = 0; ok && i < in->splits; i++) {
        for (uint64_t k = 0; ok && k < in->split_counts[i]; k++) {
            ok = mri_bytes_u32(out, in->split_ranks[i][k]);
        }
        ok = ok && pad(out);
    }
    return ok;
}

bool
mri_index_build(mri_bytes *out, uint8_t hash[16], const mri_index_in *in)
{
    uint64_t len, pages;
    uint8_t *head;

    if (!mri_bytes_zero(out, MRI_INDEX_HEAD) || !add_body(out, in)) {
        return false;
    }
    len = out->len - MRI_INDEX_HEAD;
    pages = (len + PAGE - 1) / PAGE;
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t sum =
            mri_xxh3(out->data + MRI_INDEX_HEAD + i * PAGE, page_bytes(len, i));

        if (!mri_bytes_u64(out, sum)) {
            return false;
        }
    }
    head = out->data;
    memcpy(head, magic, 8);
    mri_version_put(head + 8);
    mri_put32(head + 12, in->splits);
    mri_put64(head + 16, in->count);
    mri_put64(head + 24, len);
    mri_put32(head + 32, (uint32_t)pages);
    mri_put32(head + 60, mri_crc32c(0, head, 60));
    return hash_of(hash, head, head + MRI_INDEX_HEAD + len,
                   out->len - MRI_INDEX_HEAD - len);
}

static mr_err
damaged(mr_diag *diag, uint64_t at, const char *what)
{
    return mri_fail(diag, MRI_E_INDEX, at, "%s", what);
}

static mr_err
check_head(mri_index *x, const uint8_t hash[16], mr_diag *diag)
{
    const uint8_t *head = x->base;
    uint8_t got[16];
    mr_err err;

    if (x->file.size >= MRI_INDEX_HEAD) {
        err = mri_window_read(&x->window, 0, MRI_INDEX_HEAD, diag);
        if (err != MR_OK) {
            return err;
        }
    }
    if (x->file.size < MRI_INDEX_HEAD || memcmp(head, magic, 8) != 0 ||
        mri_get32(head + 60) != mri_crc32c(0, head, 60)) {
        return damaged(diag, 0, "the head of the index is damaged");
    }
    err = mri_version_check(head, FEATURES, KNOWN_FEATURES, "index", diag);
    if (err != MR_OK) {
        return err;
    }
    x->splits = mri_get32(head + 12);
    x->count = mri_get64(head + 16);
    x->body_len = mri_get64(head + 24);
    x->pages = mri_get32(head + 32);
    if (x->body_len > x->file.size - MRI_INDEX_HEAD ||
        (x->body_len + PAGE - 1) / PAGE != x->pages ||
        x->file.size - MRI_INDEX_HEAD - x->body_len != (uint64_t)x->pages * 8 ||
        x->splits > MRI_INDEX_SPLITS || x->count > UINT32_MAX) {
        return damaged(diag, 16, "the sizes in the index do not agree");
    }
    x->hashes = x->base + MRI_INDEX_HEAD + x->body_len;
    err = mri_window_read(&x->window, MRI_INDEX_HEAD + x->body_len,
                          (uint64_t)x->pages * 8, diag);
    if (err != MR_OK) {
        return err;
    }
    if (!hash_of(got, head, x->hashes, (size_t)x->pages * 8)) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    if (memcmp(got, hash, 16) != 0) {
        return damaged(diag, 0,
                       "this is not the index that the manifest "
                       "names");
    }
    return MR_OK;
}

/* Where it is not mapped, it is in memory. */
static void
ask_page(const mri_index *x, uint64_t page)
{
    if (x->file.map != NULL) {
        mri_object_want(&x->file, MRI_INDEX_HEAD + page * PAGE,
                        page_bytes(x->body_len, page));
    }
}

static mr_err
prove_page(const mri_index *x, uint64_t page, mr_diag *diag)
{
    const uint8_t *p = x->base + MRI_INDEX_HEAD + page * PAGE;
    mr_err err;

    if (mri_xxh3(p, page_bytes(x->body_len, page)) ==
        mri_get64(x->hashes + page * 8)) {
        atomic_store_explicit(&x->page_ok[page], 1, memory_order_release);
        return MR_OK;
    }
    err = mri_fail(diag, MRI_E_INDEX, MRI_INDEX_HEAD + page * PAGE,
                   "page %llu of the index fails its checksum",
                   (unsigned long long)page);
    mri_diag_in(diag, x->file.path);
    return err;
}

/* Into memory that others may look at: one thread, and only once. */
static mr_err
fetch_page(const mri_index *x, uint64_t page, mr_diag *diag)
{
    mri_window *w = (mri_window *)(uintptr_t)&x->window;
    mr_err err = MR_OK;

    pthread_mutex_lock(&w->lock);
    if (!atomic_load_explicit(&x->page_ok[page], memory_order_acquire)) {
        err = mri_window_read(w, MRI_INDEX_HEAD + page * PAGE,
                              page_bytes(x->body_len, page), diag);
        if (err == MR_OK) {
            err = prove_page(x, page, diag);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return err;
}

/* In a mapping two threads may both prove a page, and find the same. */
static mr_err
check_page(const mri_index *x, uint64_t page, mr_diag *diag)
{
    if (atomic_load_explicit(&x->page_ok[page], memory_order_acquire)) {
        return MR_OK;
    }
    if (!mri_window_whole(&x->window)) {
        return fetch_page(x, page, diag);
    }
    ask_page(x, page);
    return prove_page(x, page, diag);
}

/* `bytes` bytes at `off` of the body, checked. */
static mr_err
body(const mri_index *x, uint64_t off, uint64_t bytes, const uint8_t **p,
     mr_diag *diag)
{
    mr_err err = MR_OK;

    for (uint64_t page = off / PAGE;
         err == MR_OK && page <= (off + bytes - 1) / PAGE; page++) {
        err = check_page(x, page, diag);
    }
    *p = x->base + MRI_INDEX_HEAD + off;
    return err;
}

static mr_err
lay_out(mri_index *x, mr_diag *diag)
{
    uint64_t counts = mri_round_up((uint64_t)x->splits * 8, MRI_ALIGN);
    uint64_t off;
    const uint8_t *p;

    x->entries_off = counts;
    off = counts + mri_round_up(x->count * MRI_INDEX_ENTRY, MRI_ALIGN);
    if (off > x->body_len) {
        return damaged(diag, 16, "the entries leave the index");
    }
    for (uint32_t i = 0; i < x->splits; i++) {
        mr_err err = body(x, (uint64_t)i * 8, 8, &p, diag);

        if (err != MR_OK) {
            return err;
        }
        x->split_counts[i] = mri_get64(p);
        x->split_off[i] = off;
        if (x->split_counts[i] > x->count) {
            return damaged(diag, MRI_INDEX_HEAD, "a split of too many samples");
        }
        off += mri_round_up(x->split_counts[i] * 4, MRI_ALIGN);
        if (off > x->body_len) {
            return damaged(diag, MRI_INDEX_HEAD, "a split leaves the index");
        }
    }
    return MR_OK;
}

mr_err
mri_index_open(mri_index *x, const mri_store *store, const char *name,
               const uint8_t hash[16], bool use_map, mr_diag *diag)
{
    mr_err err;

    *x = (mri_index){.file = {.fd = -1}};
    err = mri_store_object(store, name, use_map, &x->file, diag);
    if (err != MR_OK) {
        return err;
    }
    err = mri_window_open(&x->window, &x->file, 0, x->file.size, diag);
    x->base = x->window.base;
    if (err == MR_OK) {
        err = check_head(x, hash, diag);
    }
    if (err == MR_OK) {
        x->page_ok = mri_alloc(x->pages, 1);
        err = x->page_ok != NULL
                  ? lay_out(x, diag)
                  : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    if (mri_object_whole(&x->file, NULL) != MR_OK) {
        err = mri_object_whole(&x->file, diag);
    }
    if (err != MR_OK) {
        mri_diag_in(diag, x->file.path);
        mri_index_close(x);
    }
    return err;
}

void
mri_index_close(mri_index *x)
{
    mri_free((void *)(uintptr_t)x->page_ok);
    mri_window_close(&x->window);
    mri_object_close(&x->file);
    *x = (mri_index){.file = {.fd = -1}};
}

/* The end of a reading: what was copied out of the mapping was the file's. */
static mr_err
ended(const mri_index *x, mr_err err, mr_diag *diag)
{
    mr_err lost = mri_object_whole(&x->file, diag);

    return lost != MR_OK ? lost : err;
}

mr_err
mri_index_at(const mri_index *x, uint64_t rank, mri_index_entry *out,
             mr_diag *diag)
{
    const uint8_t *p;
    mr_err err;

    if (rank >= x->count) {
        return mri_fail(diag, MRI_E_NO_SAMPLE, MR_NOWHERE,
                        "sample %llu of %llu", (unsigned long long)rank,
                        (unsigned long long)x->count);
    }
    err = body(x, x->entries_off + rank * MRI_INDEX_ENTRY, MRI_INDEX_ENTRY, &p,
               diag);
    if (err == MR_OK) {
        memcpy(out->uid, p, MR_UID_BYTES);
        out->shard = mri_get32(p + 16);
        out->row = mri_get32(p + 20);
    }
    return ended(x, err, diag);
}

const uint8_t *
mri_index_peek(const mri_index *x, uint64_t rank)
{
    return rank < x->count && x->file.map != NULL
               ? x->base + MRI_INDEX_HEAD + x->entries_off +
                     rank * MRI_INDEX_ENTRY
               : NULL;
}

void
mri_index_want(const mri_index *x, uint64_t rank)
{
    uint64_t page = (x->entries_off + rank * MRI_INDEX_ENTRY) / PAGE;

    if (rank < x->count &&
        !atomic_load_explicit(&x->page_ok[page], memory_order_relaxed)) {
        ask_page(x, page);
    }
}

mr_err
mri_index_ranks(const mri_index *x, uint32_t split, uint64_t first, uint32_t n,
                uint32_t *out, mr_diag *diag)
{
    const uint8_t *p;
    uint64_t off;
    mr_err err;

    if (split >= x->splits || n > x->split_counts[split] ||
        first > x->split_counts[split] - n) {
        return mri_fail(diag, MRI_E_NO_SAMPLE, MR_NOWHERE,
                        "sample %llu of split %u", (unsigned long long)first,
                        split);
    }
    off = x->split_off[split] + first * 4;
    err = body(x, off, (uint64_t)n * 4, &p, diag);
    for (uint32_t i = 0; err == MR_OK && i < n; i++) {
        out[i] = mri_get32(p + (size_t)i * 4);
        if (out[i] >= x->count) {
            err = damaged(diag, MRI_INDEX_HEAD + off + (uint64_t)i * 4,
                          "a rank beyond the last sample");
        }
    }
    return ended(x, err, diag);
}

mr_err
mri_index_rank(const mri_index *x, uint32_t split, uint64_t i, uint64_t *rank,
               mr_diag *diag)
{
    uint32_t one = 0;
    mr_err err = mri_index_ranks(x, split, i, 1, &one, diag);

    if (err == MR_OK) {
        *rank = one;
    }
    return err;
}

mr_err
mri_index_find(const mri_index *x, const uint8_t uid[MR_UID_BYTES],
               uint64_t *rank, mr_diag *diag)
{
    uint64_t low = 0, high = x->count;
    char hex[33];

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        mri_index_entry e;
        mr_err err = mri_index_at(x, middle, &e, diag);
        int order;

        if (err != MR_OK) {
            return err;
        }
        order = memcmp(e.uid, uid, MR_UID_BYTES);
        if (order == 0) {
            *rank = middle;
            return MR_OK;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return mri_fail(diag, MRI_E_NO_SAMPLE, MR_NOWHERE, "no sample of uid %s",
                    mri_hex(hex, uid, MR_UID_BYTES));
}

mr_err
mri_index_check_all(const mri_index *x, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (uint64_t page = 0; err == MR_OK && page < x->pages; page++) {
        err = check_page(x, page, diag);
    }
    return ended(x, err, diag);
}
