/* SPDX-License-Identifier: Apache-2.0 */
/* digest.c - a batch in a line. */
#include <mri/digest.h>

#include <mri/alloc.h>
#include <mri/hash.h>

#include <inttypes.h>
#include <string.h>

/* Little-endian in memory is what every platform of ours has; another one
 * would have to turn each value first. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian");

static uint64_t
row_bytes(const mr_tensor *t)
{
    return t->shape[0] != 0 ? mr_tensor_bytes(t) / t->shape[0] : 0;
}

static const uint8_t *
row_of(const mr_tensor *t, uint64_t row)
{
    return (const uint8_t *)t->data + row * row_bytes(t);
}

bool
mri_tensor_hash(uint8_t out[16], const mr_tensor *t)
{
    uint8_t *digests = mri_alloc(t->shape[0], 16);

    if (digests == NULL) {
        return false;
    }
    for (uint64_t i = 0; i < t->shape[0]; i++) {
        mri_xxh3_128(digests + 16 * i, row_of(t, i), row_bytes(t));
    }
    mri_xxh3_128(out, digests, 16 * t->shape[0]);
    mri_free(digests);
    return true;
}

/* " name:dtype[shape]=hash", the first axis left out for a row. */
static bool
put_tensor(mri_bytes *out, const char *name, const mr_tensor *t, unsigned first,
           const uint8_t hash[16])
{
    char hex[33];
    bool ok = mri_bytes_text(out, " %s:%s[", name, mr_dtype_name(t->dtype));

    for (uint32_t i = first; ok && i < t->rank; i++) {
        ok = mri_bytes_text(out, "%s%" PRIu64, i > first ? "," : "",
                            t->shape[i]);
    }
    return ok && mri_bytes_text(out, "]=%s", mri_hex(hex, hash, 16));
}

bool
mri_batch_line(mri_bytes *out, const mr_batch *b)
{
    bool ok = mri_bytes_text(out, "%" PRIu64 " %" PRIu64 " %" PRIu64,
                             mr_batch_epoch(b), mr_batch_index(b),
                             mr_batch_valid_rows(b));

    for (size_t i = 0; ok && i < mr_batch_tensors(b); i++) {
        const mr_tensor *t = mr_batch_tensor_at(b, i);
        uint8_t hash[16];

        ok = mri_tensor_hash(hash, t) &&
             put_tensor(out, mr_batch_name_at(b, i), t, 0, hash);
    }
    return ok && mri_bytes_text(out, "\n");
}

bool
mri_batch_row_lines(mri_bytes *out, const mr_batch *b)
{
    const mr_tensor *uid = mr_batch_tensor(b, "uid");
    bool ok = true;

    for (uint64_t r = 0; ok && r < mr_batch_rows(b); r++) {
        char hex[2 * MR_UID_BYTES + 1];

        ok = mri_bytes_text(out, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %s",
                            mr_batch_epoch(b), mr_batch_index(b),
                            mr_batch_first_row(b) + r,
                            mri_hex(hex, row_of(uid, r), MR_UID_BYTES));
        for (size_t i = 0; ok && i < mr_batch_tensors(b); i++) {
            const mr_tensor *t = mr_batch_tensor_at(b, i);
            uint8_t hash[16];

            mri_xxh3_128(hash, row_of(t, r), row_bytes(t));
            ok = put_tensor(out, mr_batch_name_at(b, i), t, 1, hash);
        }
        ok = ok && mri_bytes_text(out, "\n");
    }
    return ok;
}
