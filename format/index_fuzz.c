/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_fuzz.c - any bytes as the index of a generation: every entry and rank
 * lies where it was bounded.
 *
 * Input: a byte of FUZZ_* flags, head and body of the file; page hashes are
 * made from them. Without FUZZ_MEND it is the whole file.
 */
#include "foot.h"
#include "frame.h"
#include "index.h"

#include <mri/crc32c.h>
#include <mri/hash.h>

#include <fuzz_bytes.h>

/* With FUZZ_AGREE the sizes that the head gives are those that are there. */
static void
make_file(mri_bytes *out, uint8_t hash[16], const uint8_t *data, size_t size)
{
    size_t body = size > 1 + MRI_INDEX_HEAD ? size - 1 - MRI_INDEX_HEAD : 0;
    uint8_t digest[32];
    mri_sha256 *sum;

    out->len = 0;
    hold(mri_bytes_add(out, data + 1, size - 1));
    if ((data[0] & FUZZ_MEND) != 0 && size > MRI_INDEX_HEAD) {
        for (size_t at = 0; at < body; at += MRI_FOOT_PAGE) {
            size_t n = body - at < MRI_FOOT_PAGE ? body - at : MRI_FOOT_PAGE;

            hold(mri_bytes_u64(out,
                               mri_xxh3(out->data + MRI_INDEX_HEAD + at, n)));
        }
        if ((data[0] & FUZZ_AGREE) != 0) {
            mri_put64(out->data + 24, body);
            mri_put32(out->data + 32, (uint32_t)((out->len - size + 1) / 8));
        }
        mri_put32(out->data + 60, mri_crc32c(0, out->data, 60));
    }
    sum = mri_sha256_begin();
    hold(sum != NULL);
    if (out->len >= MRI_INDEX_HEAD) {
        mri_sha256_add(sum, out->data, MRI_INDEX_HEAD);
        mri_sha256_add(sum, out->data + MRI_INDEX_HEAD + body,
                       out->len - MRI_INDEX_HEAD - body);
    }
    mri_sha256_end(sum, digest);
    mri_sha256_free(sum);
    memcpy(hash, digest, 16);
}

static void
visit(const mri_index *x)
{
    mr_diag diag = {0};
    mri_index_entry e;
    uint64_t rank = 0;

    (void)fuzz_ok(mri_index_check_all(x, &diag), &diag);
    for (uint64_t i = 0; i < x->count && i < 64; i++) {
        if (!fuzz_ok(mri_index_at(x, i, &e, &diag), &diag)) {
            continue;
        }
        if (mri_index_peek(x, i) != NULL) { /* mapped */
            fuzz_touch(mri_index_peek(x, i), MRI_INDEX_ENTRY);
        }
        if (fuzz_ok(mri_index_find(x, e.uid, &rank, &diag), &diag)) {
            hold(rank < x->count);
        }
    }
    hold(mri_index_at(x, x->count, &e, &diag) != MR_OK);
    for (uint32_t s = 0; s <= x->splits; s++) {
        for (uint64_t i = 0; i < 32; i++) {
            if (fuzz_ok(mri_index_rank(x, s, i, &rank, &diag), &diag)) {
                hold(s < x->splits && i < x->split_counts[s] &&
                     rank < x->count);
            }
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mri_bytes file;
    static fuzz_file place;
    static mri_store store; /* of all files there are */
    const char *path;
    mr_diag diag = {0};
    uint8_t hash[16];
    mri_index x;

    if (size < 1) {
        return 0;
    }
    if (store.root == NULL) {
        hold(mri_store_open(&store, "/", &diag) == MR_OK);
    }
    make_file(&file, hash, data, size);
    path = fuzz_put(&place, file.data, file.len);
    fuzz_begin();
    if (fuzz_ok(mri_index_open(&x, &store, path + 1, hash,
                               (data[0] & FUZZ_MAP) != 0, &diag),
                &diag)) {
        visit(&x);
    }
    mri_index_close(&x);
    fuzz_end((64 << 10) + 8 * file.len);
    return 0;
}
