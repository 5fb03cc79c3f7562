/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/json.h>

#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <string.h>

static void
tokens_make_the_expected_text(void **state)
{
    mri_json j = {0};

    (void)state;
    mri_json_object(&j);
    mri_json_put_text(&j, "a\"b", "x\ny\\\x01\xff\xc3\xa9");
    mri_json_key(&j, "list");
    mri_json_array(&j);
    mri_json_u64(&j, UINT64_MAX);
    mri_json_i64(&j, -3);
    mri_json_f64(&j, 0.1);
    mri_json_f64(&j, (double)NAN);
    mri_json_bool(&j, true);
    mri_json_object(&j);
    mri_json_end(&j);
    mri_json_end(&j);
    mri_json_end(&j);
    assert_string_equal(mri_json_done(&j),
                        "{\"a\\\"b\":\"x\\u000ay\\\\\\u0001\xEF\xBF\xBD"
                        "\xc3\xa9\",\"list\":[18446744073709551615,-3,0.1,"
                        "null,true,{}]}");
    mri_json_release(&j);
}

/* Read back by a library that we did not write. */
static void
every_double_reads_back_to_itself_in_any_locale(void **state)
{
    uint64_t seed = 4;

    (void)state;
    (void)setlocale(LC_ALL, "de_DE.UTF-8"); /* where it is installed */
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = scratch_random(&seed);
        double v, back;
        mri_json j = {0};
        json_t *read;

        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v)) {
            continue;
        }
        mri_json_array(&j);
        mri_json_f64(&j, v);
        mri_json_end(&j);
        read = json_loads(mri_json_done(&j), 0, NULL);
        assert_non_null(read);
        back = json_number_value(json_array_get(read, 0));
        assert_true(back == v);
        json_decref(read);
        mri_json_release(&j);
    }
    (void)setlocale(LC_ALL, "C");
}

static void
any_bytes_give_valid_utf8(void **state)
{
    uint64_t seed = 9;

    (void)state;
    for (int i = 0; i < 5000; i++) {
        char text[16];
        mri_json j = {0};
        json_t *read;

        for (size_t k = 0; k < sizeof text; k++) {
            text[k] = (char)scratch_random(&seed);
        }
        mri_json_array(&j);
        mri_json_bytes(&j, text, (size_t)i % sizeof text);
        mri_json_end(&j);
        read = json_loads(mri_json_done(&j), JSON_ALLOW_NUL, NULL);
        assert_non_null(read); /* jansson refuses what is not UTF-8 */
        json_decref(read);
        mri_json_release(&j);
    }
}

static void
pretty_text_is_still_the_same_value(void **state)
{
    mri_json j = {.pretty = true};

    (void)state;
    mri_json_object(&j);
    mri_json_put_u64(&j, "a", 1);
    mri_json_key(&j, "b");
    mri_json_array(&j);
    mri_json_end(&j);
    mri_json_end(&j);
    assert_string_equal(mri_json_done(&j), "{\n  \"a\": 1,\n  \"b\": []\n}");
    mri_json_release(&j);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_make_the_expected_text),
        cmocka_unit_test(every_double_reads_back_to_itself_in_any_locale),
        cmocka_unit_test(any_bytes_give_valid_utf8),
        cmocka_unit_test(pretty_text_is_still_the_same_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
