/* SPDX-License-Identifier: Apache-2.0 */
/* features_test.c - feature tables: written, read, refused. */
#include "features_own.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>

#include <errno.h>
#include <faulty_file.h>
#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 5, DIM = 3 };

static const float features[ROWS * DIM] = {
    1, 2, 3, -1, 0, 0.5f, 1e30f, 0, 0, -0, 1e-40f, 7.5f, 3, 2, 1};
static const int32_t label[ROWS] = {0, 1, -1, 2, 2};
static const uint64_t group[ROWS] = {9, 9, 0, UINT64_MAX, 5};
static const uint8_t split[ROWS] = {0, 1, MRI_NO_SPLIT, 0, 1};
static const char keys[] = "a/1.tifb \xC3\xA9.tifd/%FFe";
static const uint64_t key_at[ROWS + 1] = {0, 7, 15, 15, 20, 21};
static const char *const classes[] = {"disc", "ring & <b>",
                                      "\"q\"\\\n\xE2\x82\xAC"};
static const char *const splits[] = {"train", "test"};
static const mri_group_name groups[] = {
    {5, "donor5"}, {9, "donor9"}, {UINT64_MAX, "last"}};
static uint8_t uid[ROWS * 16];

static mri_feature_table
some_table(void)
{
    mri_feature_table t = {.rows = ROWS,
                           .dim = DIM,
                           .features = features,
                           .uid = uid,
                           .label = label,
                           .group = group,
                           .split = split,
                           .keys = keys,
                           .key_at = key_at,
                           .classes = classes,
                           .splits = splits,
                           .groups = groups,
                           .class_count = 3,
                           .split_count = 2,
                           .group_count = 3};

    for (size_t i = 0; i < sizeof uid; i++) {
        uid[i] = (uint8_t)(i * 37);
    }
    t.from = (mri_feature_origin){.hash = "0123456789abcdef",
                                  .arch = "vit_tiny",
                                  .branch = "teacher",
                                  .seed = UINT64_MAX,
                                  .step = 40,
                                  .generation = 2,
                                  .split = "all",
                                  .pipeline = "[{\"minmax@1\":{}}]"};
    memset(t.from.content_id, 0xA7, 16);
    return t;
}

static void
assert_names(const char *const *a, const char *const *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        assert_string_equal(a[i], b[i]);
    }
}

static void
assert_origin(const mri_feature_origin *a, const mri_feature_origin *b)
{
    assert_int_equal(a->random, b->random);
    assert_string_equal(a->hash, b->hash);
    assert_string_equal(a->arch, b->arch);
    assert_string_equal(a->branch, b->branch);
    assert_string_equal(a->split, b->split);
    assert_string_equal(a->pipeline, b->pipeline);
    assert_true(a->seed == b->seed);
    assert_true(a->step == b->step && a->generation == b->generation);
    assert_memory_equal(a->content_id, b->content_id, 16);
}

static void
assert_table(const mri_feature_table *a, const mri_feature_table *b)
{
    size_t n = (size_t)b->rows;

    assert_true(a->rows == b->rows && a->dim == b->dim);
    assert_memory_equal(a->features, b->features, n * b->dim * 4);
    assert_memory_equal(a->uid, b->uid, n * 16);
    assert_memory_equal(a->label, b->label, n * 4);
    assert_memory_equal(a->group, b->group, n * 8);
    assert_memory_equal(a->split, b->split, n);
    assert_memory_equal(a->key_at, b->key_at, (n + 1) * 8);
    assert_memory_equal(a->keys, b->keys, (size_t)b->key_at[n]);
    assert_int_equal(a->class_count, b->class_count);
    assert_int_equal(a->split_count, b->split_count);
    assert_int_equal(a->group_count, b->group_count);
    assert_names(a->classes, b->classes, b->class_count);
    assert_names(a->splits, b->splits, b->split_count);
    for (uint32_t i = 0; i < b->group_count; i++) {
        assert_true(a->groups[i].group == b->groups[i].group);
        assert_string_equal(a->groups[i].name, b->groups[i].name);
    }
    assert_origin(&a->from, &b->from);
}

static void
what_is_written_is_read_back(void **state)
{
    char *dir = scratch_make();
    mri_feature_table t = some_table();
    mri_features *f;
    mr_diag d = {0};

    (void)state;
    for (int random = 0; random < 2; random++) {
        t.from.random = random == 1;
        assert_ok(mri_features_write(scratch_path(dir, "a.mrf"), &t, &d), &d);
        assert_ok(mri_features_open(&f, scratch_path(dir, "a.mrf"), &d), &d);
        assert_table(mri_features_table(f), &t);
        mri_features_close(f);
    }
    mri_features_close(NULL);
    scratch_remove(dir);
}

static void
equal_tables_give_equal_bytes(void **state)
{
    char *dir = scratch_make();
    mri_feature_table t = some_table();
    mri_bytes a = {0}, b = {0};
    mri_features *f;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_features_write(scratch_path(dir, "a"), &t, &d), &d);
    assert_ok(mri_features_open(&f, scratch_path(dir, "a"), &d), &d);
    assert_ok(
        mri_features_write(scratch_path(dir, "b"), mri_features_table(f), &d),
        &d);
    assert_ok(mri_file_load(scratch_path(dir, "a"), 1 << 20, &a, &d), &d);
    assert_ok(mri_file_load(scratch_path(dir, "b"), 1 << 20, &b, &d), &d);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    mri_features_close(f);
    mri_bytes_release(&a);
    mri_bytes_release(&b);
    scratch_remove(dir);
}

static void
no_rows_are_a_table_too(void **state)
{
    char *dir = scratch_make();
    mri_feature_table t = some_table();
    mri_features *f;
    mr_diag d = {0};

    (void)state;
    t.rows = 0;
    t.class_count = t.split_count = t.group_count = 0;
    assert_ok(mri_features_write(scratch_path(dir, "a"), &t, &d), &d);
    assert_ok(mri_features_open(&f, scratch_path(dir, "a"), &d), &d);
    assert_table(mri_features_table(f), &t);
    mri_features_close(f);
    scratch_remove(dir);
}

/* Another writer may put columns where their types do not want them. */
static void
columns_off_their_alignment_are_read(void **state)
{
    mri_feature_table t = some_table();
    const mri_st_item items[] = {
        {"odd", MR_U8, 1, {3}, "abc"},
        {"key_bytes", MR_U8, 1, {21}, keys},
        {"group", MR_U64, 1, {ROWS}, group},
        {"uid", MR_U8, 2, {ROWS, 16}, uid},
        {"features", MR_F32, 2, {ROWS, DIM}, features},
        {"split", MR_U8, 1, {ROWS}, split},
        {"label", MR_I32, 1, {ROWS}, label},
        {"key_offsets", MR_U64, 1, {ROWS + 1}, key_at},
    };
    char *dir = scratch_make();
    mri_json j = {0};
    mri_st_meta meta = {FEATURES_KEY, NULL};
    mri_features *f;
    mr_diag d = {0};

    (void)state;
    features_put_meta(&j, &t);
    meta.value = mri_json_done(&j);
    assert_ok(mri_st_write(scratch_path(dir, "a"), items, MRI_COUNT(items),
                           &meta, 1, &d),
              &d);
    assert_ok(mri_features_open(&f, scratch_path(dir, "a"), &d), &d);
    assert_table(mri_features_table(f), &t);
    mri_features_close(f);
    mri_json_release(&j);
    scratch_remove(dir);
}

/* -------------------------------------------------------------- damage */

static void
assert_refused(const uint8_t *p, size_t bytes)
{
    mri_features *f = NULL;
    mr_diag d = {0};
    mri_st *st;
    mr_err err = mri_st_parse(&st, p, bytes, &d);

    if (err == MR_OK) {
        err = features_take(&f, st, &d);
    }
    assert_true(err == MR_ECORRUPT || err == MR_EFORMAT || err == MR_ELIMIT);
    assert_null(f);
    assert_true(d.text[0] != '\0');
}

static mri_bytes
some_bytes(void)
{
    char *dir = scratch_make();
    mri_feature_table t = some_table();
    mri_bytes out = {0};
    mr_diag d = {0};

    assert_ok(mri_features_write(scratch_path(dir, "a"), &t, &d), &d);
    assert_ok(mri_file_load(scratch_path(dir, "a"), 1 << 20, &out, &d), &d);
    scratch_remove(dir);
    return out;
}

static void
every_cut_is_refused(void **state)
{
    char *dir = scratch_make();
    const char *path = scratch_path(dir, "a");
    mri_bytes whole = some_bytes();
    mri_features *f;
    mr_diag d = {0};

    (void)state;
    for (size_t n = 1; n < whole.len; n++) {
        assert_refused(whole.data, n);
    }
    for (size_t n = 0; n < whole.len; n += 100) { /* and says where */
        scratch_write(path, whole.data, n);
        assert_true(mri_features_open(&f, path, &d) != MR_OK);
        assert_string_equal(d.path, path);
        assert_null(f);
    }
    mri_bytes_release(&whole);
    scratch_remove(dir);
}

static void
every_flipped_bit_is_refused(void **state)
{
    mri_bytes whole = some_bytes();

    (void)state;
    for (size_t i = 0; i < 8 * whole.len; i++) {
        whole.data[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_refused(whole.data, whole.len);
        whole.data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    mri_bytes_release(&whole);
}

/* Tables that a broken writer could make, their checksums right. */
static void
assert_unfit(const mri_feature_table *t, mri_code code, const char *says)
{
    char *dir = scratch_make();
    const char *path = scratch_path(dir, "a");
    mri_features *f;
    mr_diag d = {0};

    assert_ok(mri_features_write(path, t, &d), &d);
    assert_fails(mri_features_open(&f, path, &d), MR_ECORRUPT);
    assert_int_equal(d.code, code);
    assert_non_null(strstr(d.text, says));
    assert_string_equal(d.path, path);
    scratch_remove(dir);
}

static void
columns_that_do_not_fit_are_refused_by_row(void **state)
{
    mri_feature_table t = some_table();
    int32_t bad_label[ROWS] = {0, 1, -2, 0, 0};
    uint8_t bad_split[ROWS] = {0, 1, 0, 2, 0};
    uint64_t at[ROWS + 1] = {0, 9, 7, 15, 20, 21};

    (void)state;
    t.label = bad_label;
    assert_unfit(&t, MRI_E_FEATURES, "row 2, : its label is no class");
    bad_label[2] = 3;
    assert_unfit(&t, MRI_E_FEATURES, "row 2, ");
    t.label = label;
    t.split = bad_split;
    assert_unfit(&t, MRI_E_FEATURES, "row 3, d/%FF: its split has no name");
    t.split = split;
    t.key_at = at;
    assert_unfit(&t, MRI_E_FEATURES, "row 1: key_offsets do not ascend");
    at[0] = 1;
    at[2] = 12;
    assert_unfit(&t, MRI_E_FEATURES, "do not go from 0");
}

static void
a_feature_that_is_no_number_is_refused_by_key(void **state)
{
    mri_feature_table t = some_table();
    float bad[ROWS * DIM];

    (void)state;
    t.features = bad;
    for (int i = 0; i < 3; i++) {
        memcpy(bad, features, sizeof bad);
        bad[4] = i == 0 ? NAN : i == 1 ? INFINITY : -INFINITY;
        assert_unfit(&t, MRI_E_FEATURE_NAN, "row 1, b \xC3\xA9.tif: ");
    }
}

/* A file with all columns but one, which is `item`; NULL name: left out. */
static void
write_with(const char *path, const char *meta, const mri_st_item *item)
{
    static const mri_st_item all[] = {
        {"group", MR_U64, 1, {ROWS}, group},
        {"key_offsets", MR_U64, 1, {ROWS + 1}, key_at},
        {"features", MR_F32, 2, {ROWS, DIM}, features},
        {"label", MR_I32, 1, {ROWS}, label},
        {"uid", MR_U8, 2, {ROWS, 16}, uid},
        {"split", MR_U8, 1, {ROWS}, split},
        {"key_bytes", MR_U8, 1, {21}, keys},
    };
    mri_st_item items[MRI_COUNT(all)];
    mri_st_meta m = {FEATURES_KEY, meta};
    size_t n = 0;
    mr_diag d = {0};

    for (size_t i = 0; i < MRI_COUNT(all); i++) {
        if (item == NULL || strcmp(all[i].name, item->name) != 0) {
            items[n++] = all[i];
        } else if (item->data != NULL) {
            items[n++] = *item;
        }
    }
    assert_ok(mri_st_write(path, items, n, &m, meta != NULL, &d), &d);
}

static char *
some_meta(void)
{
    mri_feature_table t = some_table();
    mri_json j = {0};
    char *out;

    features_put_meta(&j, &t);
    out = mri_strdup(mri_json_done(&j));
    mri_json_release(&j);
    assert_non_null(out);
    return out;
}

static void
columns_of_other_types_and_shapes_are_refused_by_name(void **state)
{
    static const uint8_t zeros[4096];
    static const mri_st_item wrong[] = {
        {"group", MR_I64, 1, {ROWS}, zeros},
        {"group", MR_U64, 1, {ROWS - 1}, zeros},
        {"key_offsets", MR_U64, 1, {ROWS}, zeros},
        {"key_offsets", MR_U64, 1, {ROWS + 1}, NULL},
        {"features", MR_F64, 2, {ROWS, DIM}, zeros},
        {"features", MR_F32, 1, {ROWS * DIM}, zeros},
        {"features", MR_F32, 2, {ROWS, 0}, zeros},
        {"features", MR_F32, 2, {ROWS, DIM}, NULL},
        {"features", MR_F32, 2, {0, MRI_DIM_LIMIT + 1}, zeros},
        {"features", MR_F32, 2, {UINT32_MAX, 0}, zeros},
        {"label", MR_I32, 2, {ROWS, 1}, zeros},
        {"label", MR_U32, 1, {ROWS}, zeros},
        {"uid", MR_U8, 2, {ROWS, 15}, zeros},
        {"split", MR_U8, 1, {ROWS + 1}, zeros},
        {"key_bytes", MR_U8, 1, {20}, zeros},
        {"key_bytes", MR_I8, 1, {21}, zeros},
        {"key_bytes", MR_U8, 2, {21, 1}, zeros},
        {"key_bytes", MR_U8, 1, {21}, NULL},
    };
    char *dir = scratch_make(), *meta = some_meta();
    const char *path = scratch_path(dir, "a");
    mri_features *f;
    mr_diag d = {0};

    (void)state;
    write_with(path, meta, NULL);
    assert_ok(mri_features_open(&f, path, &d), &d);
    mri_features_close(f);
    for (size_t i = 0; i < MRI_COUNT(wrong); i++) {
        write_with(path, meta, &wrong[i]);
        assert_fails(mri_features_open(&f, path, &d), MR_ECORRUPT);
        assert_int_equal(d.code, MRI_E_FEATURES);
        assert_true(strstr(d.text, wrong[i].name) != NULL ||
                    strstr(d.text, "key_offsets") != NULL);
    }
    mri_free(meta);
    scratch_remove(dir);
}

/* Replace the first `from` in a text. */
static char *
replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    size_t head = (size_t)(at - text);
    char *out = malloc(strlen(text) + strlen(to) + 1);

    assert_non_null(at);
    memcpy(out, text, head);
    memcpy(out + head, to, strlen(to) + 1);
    strcat(out, at + strlen(from));
    return out;
}

static void
metadata_that_says_nonsense_is_refused_by_member(void **state)
{
    static const struct {
        const char *from, *to, *says;
        mr_err err;
    } cases[] = {
        {"millrace.features.1", "millrace.features.2", "reads", MR_EVERSION},
        {"millrace.features.1", "somebody.else", "schema", MR_ECORRUPT},
        {"\"schema\":\"millrace.features.1\",", "", "schema", MR_ECORRUPT},
        {"\"checkpoint\"", "\"dream\"", "kind", MR_ECORRUPT},
        {"\"checkpoint\"", "1", "kind", MR_ECORRUPT},
        {"\"vit_tiny\"", "null", "arch", MR_ECORRUPT},
        {"18446744073709551615", "18446744073709551616", "seed", MR_ECORRUPT},
        {"18446744073709551615", "-1", "seed", MR_ECORRUPT},
        {"\"step\":40", "\"step\":-1", "step", MR_ECORRUPT},
        {"\"step\":40", "\"step\":\"40\"", "step", MR_ECORRUPT},
        {"\"generation\":2", "\"generation\":2.5", "generation", MR_ECORRUPT},
        {"a7a7a7", "a7a7x7", "content_id", MR_ECORRUPT},
        {"a7a7a7", "a7a7", "content_id", MR_ECORRUPT},
        {"[\"disc\"", "[7", "classes", MR_ECORRUPT},
        {"\"splits\":[", "\"splats\":[", "splits", MR_ECORRUPT},
        {"\"donor9\"", "{}", "groups", MR_ECORRUPT},
        {"\"0000000000000005\"", "\"000000000000005\"", "groups", MR_ECORRUPT},
        {"\"0000000000000005\"", "\"000000000000000g\"", "groups", MR_ECORRUPT},
        {"\"pipeline\"", "\"schema\"", "no JSON object", MR_ECORRUPT},
        {"\"weights\":{", "\"weights\":[{", "no JSON object", MR_ECORRUPT},
    };
    char *dir = scratch_make(), *meta = some_meta();
    const char *path = scratch_path(dir, "a");
    mri_features *f;
    mr_diag d = {0};

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        char *text = replaced(meta, cases[i].from, cases[i].to);

        write_with(path, text, NULL);
        assert_fails(mri_features_open(&f, path, &d), cases[i].err);
        assert_non_null(strstr(d.text, cases[i].says));
        free(text);
    }
    write_with(path, "[]", NULL);
    assert_fails(mri_features_open(&f, path, &d), MR_ECORRUPT);
    write_with(path, NULL, NULL);
    assert_fails(mri_features_open(&f, path, &d), MR_EFORMAT);
    assert_int_equal(d.code, MRI_E_NOT_FEATURES);
    mri_free(meta);
    scratch_remove(dir);
}

/* Both checksums gone, as after somebody else's tool wrote it again. */
static void
a_table_without_checksums_is_refused(void **state)
{
    char *dir = scratch_make();
    const char *path = scratch_path(dir, "a");
    mri_feature_table t = some_table();
    mri_bytes b = {0};
    mri_features *f;
    mr_diag d = {0};
    uint8_t *at;

    (void)state;
    assert_ok(mri_features_write(path, &t, &d), &d);
    assert_ok(mri_file_load(path, 1 << 20, &b, &d), &d);
    while ((at = memmem(b.data, b.len, "millrace.xxh3", 13)) != NULL) {
        at[0] = 'M';
    }
    scratch_write(path, b.data, b.len);
    assert_fails(mri_features_open(&f, path, &d), MR_ECORRUPT);
    assert_non_null(strstr(d.text, "checksums"));
    mri_bytes_release(&b);
    scratch_remove(dir);
}

/* --------------------------------------------------------- the outer world */

static void
a_write_that_fails_leaves_what_was_there(void **state)
{
    char *dir = scratch_make();
    const char *path = scratch_path(dir, "a");
    mri_feature_table old = some_table(), new = some_table();
    mr_err err = MR_EIO;
    mri_features *f;
    mr_diag d = {0};

    (void)state;
    new.rows = 2;
    assert_ok(mri_features_write(path, &old, &d), &d);
    for (uint64_t n = 0; err != MR_OK; n++) {
        faulty_arm(FAULTY_ANY & ~FAULTY_UNLINK, n, ENOSPC, true);
        err = mri_features_write(path, &new, &d);
        (void)faulty_disarm();
        assert_true(err == MR_OK || err == MR_EIO);
        assert_int_equal(scratch_entries(dir), 1);
        assert_ok(mri_features_open(&f, path, &d), &d);
        assert_true(mri_features_table(f)->rows == 2 ||
                    (err != MR_OK && mri_features_table(f)->rows == ROWS));
        mri_features_close(f);
    }
    scratch_remove(dir);
}

static void
no_file_and_no_memory_are_said(void **state)
{
    char *dir = scratch_make();
    const char *path = scratch_path(dir, "a");
    mri_feature_table t = some_table();
    mr_err err = MR_ENOMEM;
    mri_features *f;
    mr_diag d = {0};

    (void)state;
    assert_fails(mri_features_open(&f, path, &d), MR_EIO);
    assert_null(f);
    for (int64_t n = 0; err != MR_OK; n++) {
        (void)mri_alloc_fail_at(n);
        err = mri_features_write(path, &t, &d);
        (void)mri_alloc_fail_at(-1);
        assert_true(err == MR_OK || err == MR_ENOMEM);
    }
    err = MR_ENOMEM;
    for (int64_t n = 0; err != MR_OK; n++) {
        (void)mri_alloc_fail_at(n);
        err = mri_features_open(&f, path, &d);
        (void)mri_alloc_fail_at(-1);
        assert_true(f != NULL || err != MR_OK);
    }
    mri_features_close(f);
    scratch_remove(dir);
}

static void
names_are_found(void **state)
{
    mri_feature_table t = some_table();
    bool found[MRI_NO_SPLIT + 1];
    mr_diag d = {0};

    (void)state;
    assert_string_equal(mri_group_name_of(&t, 9), "donor9");
    assert_string_equal(mri_group_name_of(&t, UINT64_MAX), "last");
    assert_null(mri_group_name_of(&t, 0));
    assert_ok(mri_feature_splits(&t, "test", found, &d), &d);
    assert_true(!found[0] && found[1] && !found[MRI_NO_SPLIT]);
    assert_ok(mri_feature_splits(&t, "!test", found, &d), &d);
    assert_true(found[0] && !found[1] && !found[MRI_NO_SPLIT]);
    assert_ok(mri_feature_splits(&t, "all", found, &d), &d);
    assert_true(found[0] && found[1] && found[MRI_NO_SPLIT]);
    assert_fails(mri_feature_splits(&t, "val", found, &d), MR_EARG);
    assert_non_null(strstr(d.text, "all, train, test"));
    t.split_count = t.group_count = 0;
    assert_fails(mri_feature_splits(&t, "test", found, &d), MR_EARG);
    assert_null(mri_group_name_of(&t, 9));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(equal_tables_give_equal_bytes),
        cmocka_unit_test(no_rows_are_a_table_too),
        cmocka_unit_test(columns_off_their_alignment_are_read),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(columns_that_do_not_fit_are_refused_by_row),
        cmocka_unit_test(a_feature_that_is_no_number_is_refused_by_key),
        cmocka_unit_test(columns_of_other_types_and_shapes_are_refused_by_name),
        cmocka_unit_test(metadata_that_says_nonsense_is_refused_by_member),
        cmocka_unit_test(a_table_without_checksums_is_refused),
        cmocka_unit_test(a_write_that_fails_leaves_what_was_there),
        cmocka_unit_test(no_file_and_no_memory_are_said),
        cmocka_unit_test(names_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
