/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors.c - write tensors with names into one file. */
#include <mri/safetensors.h>

#include <mri/error.h>
#include <mri/file.h>
#include <mri/hash.h>
#include <mri/json.h>

#include "st_types.h"

#include <stdio.h>
#include <string.h>

#define DATA_KEY "millrace.xxh3.data"
#define HEADER_KEY "millrace.xxh3.header"
#define ZEROS "0000000000000000"

static uint64_t
item_bytes(const mri_st_item *it)
{
    uint64_t n = mr_dtype_bytes(it->dtype);

    for (uint32_t i = 0; i < it->rank; i++) {
        n *= it->shape[i];
    }
    return n;
}

static void
write_item(mri_json *j, const mri_st_item *it, uint64_t at)
{
    mri_json_key(j, it->name);
    mri_json_object(j);
    mri_json_put_text(j, "dtype", mri_st_type_name(it->dtype));
    mri_json_key(j, "shape");
    mri_json_array(j);
    for (uint32_t i = 0; i < it->rank; i++) {
        mri_json_u64(j, it->shape[i]);
    }
    mri_json_end(j);
    mri_json_key(j, "data_offsets");
    mri_json_array(j);
    mri_json_u64(j, at);
    mri_json_u64(j, at + item_bytes(it));
    mri_json_end(j);
    mri_json_end(j);
}

/* XXH3 over all data, in order, without having it in one place. */
static bool
hash_data(const mri_st_item *items, size_t count, char hex[17])
{
    mri_xxh3_state *s = mri_xxh3_begin();

    if (s == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        mri_xxh3_add(s, items[i].data, (size_t)item_bytes(&items[i]));
    }
    (void)snprintf(hex, 17, "%016llx", (unsigned long long)mri_xxh3_end(s));
    mri_xxh3_free(s);
    return true;
}

/* The header with its own checksum set to zeros, padded to 8 bytes. */
static bool
make_header(mri_json *j, const mri_st_item *items, size_t count,
            const mri_st_meta *meta, size_t meta_count)
{
    char data_hex[17];
    uint64_t at = 0;

    if (!hash_data(items, count, data_hex)) {
        return false;
    }
    mri_json_object(j);
    mri_json_key(j, "__metadata__");
    mri_json_object(j);
    for (size_t i = 0; i < meta_count; i++) {
        mri_json_put_text(j, meta[i].key, meta[i].value);
    }
    mri_json_put_text(j, DATA_KEY, data_hex);
    mri_json_put_text(j, HEADER_KEY, ZEROS);
    mri_json_end(j);
    for (size_t i = 0; i < count; i++) {
        write_item(j, &items[i], at);
        at += item_bytes(&items[i]);
    }
    mri_json_end(j);
    while (!j->failed && j->out.len % 8 != 0) {
        j->failed = !mri_bytes_add(&j->out, " ", 1);
    }
    return !j->failed;
}

/* Put the header's own checksum where the zeros are. */
static void
seal_header(mri_bytes *header)
{
    static const char mark[] = "\"" HEADER_KEY "\":\"" ZEROS "\"";
    char hex[17];
    uint8_t *at = memmem(header->data, header->len, mark, sizeof mark - 1);

    (void)snprintf(hex, sizeof hex, "%016llx",
                   (unsigned long long)mri_xxh3(header->data, header->len));
    memcpy(at + sizeof mark - 1 - 17, hex, 16);
}

static mr_err
write_all(mri_put *put, const char *path, const mri_bytes *header,
          const mri_st_item *items, size_t count, mr_diag *diag)
{
    uint8_t length[8];
    uint64_t at = sizeof length + header->len;
    mr_err err;

    mri_put64(length, header->len);
    err = mri_file_write(put->fd, path, length, sizeof length, 0, diag);
    if (err == MR_OK) {
        err = mri_file_write(put->fd, path, header->data, header->len,
                             sizeof length, diag);
    }
    for (size_t i = 0; err == MR_OK && i < count; i++) {
        size_t bytes = (size_t)item_bytes(&items[i]);

        err = mri_file_write(put->fd, path, items[i].data, bytes, at, diag);
        at += bytes;
    }
    return err != MR_OK ? err : mri_put_commit(put, MRI_PUT_REPLACE, diag);
}

mr_err
mri_st_write(const char *path, const mri_st_item *items, size_t count,
             const mri_st_meta *meta, size_t meta_count, mr_diag *diag)
{
    mri_json j = {0};
    mri_put put;
    mr_err err;

    if (!make_header(&j, items, count, meta, meta_count)) {
        mri_json_release(&j);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    seal_header(&j.out);
    err = mri_put_open(&put, path, diag);
    if (err == MR_OK) {
        err = write_all(&put, path, &j.out, items, count, diag);
        mri_put_release(&put);
    }
    mri_json_release(&j);
    return err;
}
