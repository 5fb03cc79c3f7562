/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/alloc.h>
#include <mri/file.h>
#include <mri/safetensors.h>

#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *dir;
static const float weights[6] = {1, 2, 3, 4, 5, 6};
static const uint8_t flags[3] = {7, 8, 9};
static const mri_st_item items[] = {
    {"w.weight", MR_F32, 2, {2, 3}, weights},
    {"flags", MR_U8, 1, {3}, flags},
    {"empty", MR_I64, 1, {0}, NULL},
};
static const mri_st_meta meta[] = {{"millrace.state", "{\"step\": 5}"}};

static int
setup(void **state)
{
    mr_diag d = {0};

    (void)state;
    dir = scratch_make();
    assert_ok(mri_st_write(scratch_path(dir, "t"), items, 3, meta, 1, &d), &d);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

static void
what_was_written_is_read(void **state)
{
    mri_st *st;
    const mri_st_item *it;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_st_open(&st, scratch_path(dir, "t"), &d), &d);
    assert_true(mri_st_checked(st));
    assert_int_equal(mri_st_count(st), 3);
    it = mri_st_find(st, "w.weight");
    assert_int_equal(it->shape[1], 3);
    assert_memory_equal(it->data, weights, sizeof weights);
    assert_memory_equal(mri_st_find(st, "flags")->data, flags, 3);
    assert_null(mri_st_find(st, "nothing"));
    assert_string_equal(mri_st_meta_get(st, "millrace.state"), "{\"step\": 5}");
    mri_st_close(st);
}

static void
equal_input_gives_equal_bytes(void **state)
{
    mri_bytes a = {0}, b = {0};
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_st_write(scratch_path(dir, "u"), items, 3, meta, 1, &d), &d);
    assert_ok(mri_file_load(scratch_path(dir, "t"), 1 << 20, &a, &d), &d);
    assert_ok(mri_file_load(scratch_path(dir, "u"), 1 << 20, &b, &d), &d);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    mri_bytes_release(&a);
    mri_bytes_release(&b);
}

static void
every_flipped_bit_and_every_cut_is_found(void **state)
{
    mri_bytes b = {0};
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_file_load(scratch_path(dir, "t"), 1 << 20, &b, &d), &d);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        mri_st *st;
        mr_err err;

        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        err = mri_st_parse(&st, b.data, b.len, NULL);
        /* A key of the metadata may become one that we do not know; then the
         * file is somebody else's, and not said to be checked. */
        if (err == MR_OK && mri_st_checked(st)) {
            fail_msg("bit %zu was not found", bit);
        }
        mri_st_close(st);
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *exact = malloc(n + 1);
        mri_st *st;

        memcpy(exact, b.data, n);
        assert_true(mri_st_parse(&st, exact, n, NULL) != MR_OK);
        free(exact);
    }
    mri_bytes_release(&b);
}

static mr_err
parse_text(const char *header, size_t data_bytes, mr_diag *diag)
{
    static uint8_t raw[1024];
    size_t n = strlen(header);
    mri_st *st;
    mr_err err;

    memset(raw, 0, sizeof raw);
    mri_put64(raw, n);
    memcpy(raw + 8, header, n);
    err = mri_st_parse(&st, raw, 8 + n + data_bytes, diag);
    mri_st_close(st);
    return err;
}

static void
foreign_files_are_read_and_bad_ones_refused(void **state)
{
#define ENTRY(type, shape, from, to)                                           \
    "{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #from     \
    "," #to "]}"
    static const struct {
        const char *header;
        size_t data;
        mr_err want;
    } cases[] = {
        {"{}", 0, MR_OK},
        {"{\"a\":" ENTRY("F32", "[2]", 0, 8) "}", 8, MR_OK},
        {"{\"a\":" ENTRY("F32", "[]", 0, 4) "}", 4, MR_OK},
        {"{\"a\":" ENTRY("F32", "[2]", 0, 8) "}", 9, MR_ECORRUPT},
        {"{\"a\":" ENTRY("F32", "[2]", 0, 8) "}", 7, MR_ECORRUPT},
        {"{\"a\":" ENTRY("F32", "[3]", 0, 8) "}", 8, MR_ECORRUPT},
        {"{\"a\":" ENTRY("F32", "[-2]", 0, 8) "}", 8, MR_ECORRUPT},
        {"{\"a\":" ENTRY("F99", "[2]", 0, 8) "}", 8, MR_ECORRUPT},
        {"{\"a\":" ENTRY("F32", "[2]", 4, 12) "}", 12, MR_ECORRUPT},
        {"{\"a\":" ENTRY("F32", "[4611686018427387904,4]", 0, 0) "}", 0,
         MR_ECORRUPT},
        {"{\"a\":" ENTRY("U8", "[4]", 0, 4) ",\"b\":" ENTRY("U8", "[4]", 2,
                                                            6) "}",
         6, MR_ECORRUPT},
        {"{\"a\":" ENTRY("U8", "[4]", 0, 4) ",\"a\":" ENTRY("U8", "[4]", 4,
                                                            8) "}",
         8, MR_ECORRUPT},
        {"{\"a\":5}", 0, MR_ECORRUPT},
        {"{\"__metadata__\":{\"a\":5}}", 0, MR_ECORRUPT},
        {"{\"a\":", 0, MR_ECORRUPT},
        {"[1,2]", 0, MR_EFORMAT},
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        mr_diag d = {0};
        mr_err err = parse_text(cases[i].header, cases[i].data, &d);

        if (err != cases[i].want) {
            fail_msg("case %zu: %s (%s)", i, mr_err_name(err), d.text);
        }
    }
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_was_written_is_read),
        T(equal_input_gives_equal_bytes),
        T(every_flipped_bit_and_every_cut_is_found),
        T(foreign_files_are_read_and_bad_ones_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
