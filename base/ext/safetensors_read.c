/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safetensors_read.c - open a safetensors file: every bound and, where the
 * file carries them, both checksums hold before a tensor can be asked for.
 */
#include <mri/safetensors.h>

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/hash.h>

#include "st_types.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_HEADER 100000000u

struct mri_st {
    void *map; /* NULL if the bytes are the caller's */
    size_t map_bytes;
    json_t *header;
    mri_st_item *items;
    size_t count;
    mri_st_meta *meta;
    size_t meta_count;
    bool checked;
};

static const struct {
    const char *name;
    mr_dtype dtype;
} names[] = {
    {"U8", MR_U8},   {"I8", MR_I8},     {"U16", MR_U16}, {"I16", MR_I16},
    {"U32", MR_U32}, {"I32", MR_I32},   {"U64", MR_U64}, {"I64", MR_I64},
    {"F16", MR_F16}, {"BF16", MR_BF16}, {"F32", MR_F32}, {"F64", MR_F64},
};

const char *
mri_st_type_name(mr_dtype dtype)
{
    for (size_t i = 0; i < MRI_COUNT(names); i++) {
        if (names[i].dtype == dtype) {
            return names[i].name;
        }
    }
    return NULL;
}

mr_dtype
mri_st_type_named(const char *name)
{
    for (size_t i = 0; i < MRI_COUNT(names); i++) {
        if (strcmp(names[i].name, name) == 0) {
            return names[i].dtype;
        }
    }
    return MR_NONE;
}

static mr_err
corrupt(mr_diag *diag, uint64_t at, const char *name, const char *what)
{
    return mri_fail(diag, MRI_E_TENSORS, at, "tensor '%.80s': %s", name, what);
}

/* dtype, shape and offsets of one entry; its bytes must lie within `limit`. */
static mr_err
read_item(mri_st_item *it, const char *name, const json_t *entry,
          const uint8_t *data, uint64_t limit, mr_diag *diag)
{
    const json_t *dtype = json_object_get(entry, "dtype");
    const json_t *shape = json_object_get(entry, "shape");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    uint64_t bytes, first, last;

    *it = (mri_st_item){.name = name};
    if (!json_is_string(dtype) || !json_is_array(shape) ||
        json_array_size(offsets) != 2) {
        return corrupt(diag, 8, name, "dtype, shape or data_offsets missing");
    }
    it->dtype = mri_st_type_named(json_string_value(dtype));
    if (it->dtype == MR_NONE || json_array_size(shape) > MR_MAX_RANK) {
        return corrupt(diag, 8, name, "element type or rank not supported");
    }
    it->rank = (uint32_t)json_array_size(shape);
    bytes = mr_dtype_bytes(it->dtype);
    for (uint32_t i = 0; i < it->rank; i++) {
        json_int_t d = json_integer_value(json_array_get(shape, i));

        if (!json_is_integer(json_array_get(shape, i)) || d < 0 ||
            !mri_mul(bytes, (uint64_t)d, &bytes)) {
            return corrupt(diag, 8, name, "shape is not valid");
        }
        it->shape[i] = (uint64_t)d;
    }
    if (json_integer_value(json_array_get(offsets, 0)) < 0 ||
        json_integer_value(json_array_get(offsets, 1)) < 0) {
        return corrupt(diag, 8, name, "data_offsets are not valid");
    }
    first = (uint64_t)json_integer_value(json_array_get(offsets, 0));
    last = (uint64_t)json_integer_value(json_array_get(offsets, 1));
    if (last < first || last > limit || last - first != bytes) {
        return corrupt(diag, 8, name, "shape and data_offsets do not agree");
    }
    it->data = data + first;
    return MR_OK;
}

static int
by_place(const void *a, const void *b)
{
    const mri_st_item *x = a, *y = b;

    if (x->data != y->data) {
        return (const uint8_t *)x->data < (const uint8_t *)y->data ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static uint64_t
bytes_of(const mri_st_item *it)
{
    uint64_t n = mr_dtype_bytes(it->dtype);

    for (uint32_t i = 0; i < it->rank; i++) {
        n *= it->shape[i];
    }
    return n;
}

/* Sorted by place, the tensors must tile the data: no hole, no overlap. */
static mr_err
check_tiling(const mri_st *st, const uint8_t *data, uint64_t limit,
             mr_diag *diag)
{
    const uint8_t *expect = data;

    for (size_t i = 0; i < st->count; i++) {
        if ((const uint8_t *)st->items[i].data != expect) {
            return corrupt(diag, (uint64_t)(expect - data), st->items[i].name,
                           "a hole or an overlap before it");
        }
        expect += bytes_of(&st->items[i]);
    }
    if ((uint64_t)(expect - data) != limit) {
        return mri_fail(
            diag, MRI_E_TENSORS, (uint64_t)(expect - data),
            "%llu bytes after the last tensor",
            (unsigned long long)(limit - (uint64_t)(expect - data)));
    }
    return MR_OK;
}

static mr_err
read_meta(mri_st *st, const json_t *map, mr_diag *diag)
{
    const char *key;
    json_t *value;

    st->meta = mri_alloc(json_object_size(map), sizeof *st->meta);
    if (st->meta == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    json_object_foreach((json_t *)(uintptr_t)map, key, value)
    {
        if (!json_is_string(value)) {
            return mri_fail(diag, MRI_E_TENSORS, 8,
                            "metadata '%.80s' is not a text", key);
        }
        st->meta[st->meta_count++] =
            (mri_st_meta){key, json_string_value(value)};
    }
    return MR_OK;
}

static mr_err
read_items(mri_st *st, const uint8_t *data, uint64_t limit, mr_diag *diag)
{
    const char *key;
    json_t *value;

    st->items = mri_alloc(json_object_size(st->header), sizeof *st->items);
    if (st->items == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    json_object_foreach(st->header, key, value)
    {
        mr_err err = strcmp(key, "__metadata__") == 0
                         ? read_meta(st, value, diag)
                         : read_item(&st->items[st->count++], key, value, data,
                                     limit, diag);
        if (err != MR_OK) {
            return err;
        }
    }
    qsort(st->items, st->count, sizeof *st->items, by_place);
    return check_tiling(st, data, limit, diag);
}

/* The header's own digits count as zeros in its checksum. */
static bool
header_sum_holds(const uint8_t *header, size_t bytes, const char *hex)
{
    static const char key[] = "\"millrace.xxh3.header\":\"";
    uint8_t *copy = mri_alloc(bytes, 1);
    uint8_t *at;
    char got[17] = "";

    if (copy == NULL) {
        return false;
    }
    memcpy(copy, header, bytes);
    at = memmem(copy, bytes, key, sizeof key - 1);
    if (at != NULL && (size_t)(copy + bytes - at) >= sizeof key - 1 + 16) {
        memset(at + sizeof key - 1, '0', 16);
        (void)snprintf(got, sizeof got, "%016llx",
                       (unsigned long long)mri_xxh3(copy, bytes));
    }
    mri_free(copy);
    return strcmp(got, hex) == 0;
}

static mr_err
check_sums(mri_st *st, const uint8_t *p, size_t header, size_t bytes,
           mr_diag *diag)
{
    const char *header_hex = mri_st_meta_get(st, "millrace.xxh3.header");
    const char *data_hex = mri_st_meta_get(st, "millrace.xxh3.data");
    char got[17];

    if (header_hex == NULL && data_hex == NULL) {
        return MR_OK; /* somebody else's file: valid, but unchecked */
    }
    if (header_hex == NULL || !header_sum_holds(p + 8, header, header_hex)) {
        return mri_fail(diag, MRI_E_TENSORS, 8,
                        "the header fails its checksum");
    }
    (void)snprintf(
        got, sizeof got, "%016llx",
        (unsigned long long)mri_xxh3(p + 8 + header, bytes - 8 - header));
    if (data_hex == NULL || strcmp(got, data_hex) != 0) {
        return mri_fail(diag, MRI_E_TENSORS, 8 + header,
                        "the tensors fail their checksum (stored %.16s, "
                        "computed %s)",
                        data_hex != NULL ? data_hex : "none", got);
    }
    st->checked = true;
    return MR_OK;
}

static mr_err
parse_into(mri_st *st, const uint8_t *p, size_t bytes, mr_diag *diag)
{
    json_error_t error;
    uint64_t header;
    mr_err err;

    if (bytes < 8) {
        return mri_fail(diag, MRI_E_NOT_TENSORS, 0,
                        "too short for a safetensors file");
    }
    header = mri_get64(p);
    if (header > MAX_HEADER || header > bytes - 8 || header < 2 ||
        p[8] != '{') {
        return mri_fail(diag, MRI_E_NOT_TENSORS, 0,
                        "does not begin like a safetensors file, or is cut "
                        "off in its header");
    }
    st->header = json_loadb((const char *)p + 8, (size_t)header,
                            JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(st->header)) {
        return mri_fail(diag, MRI_E_TENSORS, 8 + (uint64_t)error.position,
                        "the header is not JSON: %s", error.text);
    }
    err = read_items(st, p + 8 + header, bytes - 8 - header, diag);
    return err != MR_OK ? err : check_sums(st, p, (size_t)header, bytes, diag);
}

mr_err
mri_st_parse(mri_st **out, const void *p, size_t bytes, mr_diag *diag)
{
    mri_st *st = mri_alloc(1, sizeof *st);
    mr_err err;

    *out = NULL;
    if (st == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    err = parse_into(st, p, bytes, diag);
    if (err != MR_OK) {
        mri_st_close(st);
        return err;
    }
    *out = st;
    return MR_OK;
}

mr_err
mri_st_open(mri_st **out, const char *path, mr_diag *diag)
{
    uint64_t bytes = 0;
    void *map = MAP_FAILED;
    int fd;
    mr_err err = mri_file_open(&fd, path, O_RDONLY, 0, diag);

    *out = NULL;
    if (err == MR_OK) {
        err = mri_file_size(fd, path, &bytes, diag);
    }
    if (err == MR_OK && bytes != 0) {
        map = mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    mri_file_drop(&fd);
    if (err == MR_OK && map == MAP_FAILED) {
        err = mri_fail(diag, MRI_E_NOT_TENSORS, 0,
                       bytes == 0 ? "the file is empty" : "cannot be mapped");
    }
    if (err == MR_OK) {
        err = mri_st_parse(out, map, (size_t)bytes, diag);
    }
    mri_diag_in(err != MR_OK ? diag : NULL, path);
    if (err != MR_OK && map != MAP_FAILED) {
        (void)munmap(map, (size_t)bytes);
    }
    if (err == MR_OK) {
        (*out)->map = map;
        (*out)->map_bytes = (size_t)bytes;
    }
    return err;
}

void
mri_st_close(mri_st *st)
{
    if (st == NULL) {
        return;
    }
    json_decref(st->header);
    mri_free(st->items);
    mri_free(st->meta);
    if (st->map != NULL) {
        (void)munmap(st->map, st->map_bytes);
    }
    mri_free(st);
}

bool
mri_st_checked(const mri_st *st)
{
    return st->checked;
}

size_t
mri_st_count(const mri_st *st)
{
    return st->count;
}

const mri_st_item *
mri_st_at(const mri_st *st, size_t i)
{
    return &st->items[i];
}

const mri_st_item *
mri_st_find(const mri_st *st, const char *name)
{
    for (size_t i = 0; i < st->count; i++) {
        if (strcmp(st->items[i].name, name) == 0) {
            return &st->items[i];
        }
    }
    return NULL;
}

const char *
mri_st_meta_get(const mri_st *st, const char *key)
{
    for (size_t i = 0; i < st->meta_count; i++) {
        if (strcmp(st->meta[i].key, key) == 0) {
            return st->meta[i].value;
        }
    }
    return NULL;
}

size_t
mri_st_meta_count(const mri_st *st)
{
    return st->meta_count;
}

mri_st_meta
mri_st_meta_at(const mri_st *st, size_t i)
{
    return st->meta[i];
}
