/* SPDX-License-Identifier: Apache-2.0 */
#include "op.h"

#include <mri/alloc.h>
#include <mri/file.h>
#include <mri/pipeline.h>

#include <mr_test.h>
#include <stdlib.h>
#include <string.h>

static const char cells[] =
    "- select: {channels: [DAPI, GFP]}\n"
    "- minmax: {per: channel}\n"
    "- multi_crop:\n"
    "    global: {count: 2, size: 224, scale: [0.4, 1.0]}\n"
    "    local: {count: 8, size: 96, scale: [0.05, 0.4]}\n"
    "- flip: {horizontal: 0.5, vertical: 0.5}\n"
    "- blur: {p: {global: [1.0, 0.1], local: 0.5}}\n"
    "- normalize: {from: dataset}\n";

static mri_pipeline p;

static void
the_pipeline_of_the_manual_is_read(void **state)
{
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_pipeline_parse(&p, cells, strlen(cells), &d), &d);
    assert_int_equal(p.count, 6);
    assert_int_equal(p.multi, 2);
    assert_int_equal(p.globals, 2);
    assert_int_equal(p.locals, 8);
    assert_string_equal(p.ops[0].v[SELECT_CHANNELS].names[1], "GFP");
    assert_true(p.ops[2].v[MULTI_LOCAL_SCALE].at[0] == 0.05);
    assert_true(p.ops[2].v[MULTI_ANTIALIAS].at[0] == 1);
    assert_int_equal(p.ops[4].v[BLUR_P].count, 2);
    assert_int_equal(p.ops[4].v[BLUR_P].locals, 1);
    assert_true(p.ops[3].v[FLIP_DEPTH].at[0] == 0);
    mri_pipeline_release(&p);
}

static void
the_canonical_text_is_its_own_canonical_text(void **state)
{
    char *once, *twice;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_pipeline_check(cells, strlen(cells), &once, &d), &d);
    assert_non_null(strstr(once, "\"multi_crop@1\":{\"global\":{\"count\":2,"));
    assert_non_null(strstr(once, "\"p\":{\"global\":[1,0.1],\"local\":[0.5]}"));
    assert_non_null(strstr(once, "\"ratio\":[0.75,1.3333333333333333]"));
    assert_ok(mri_pipeline_check(once, strlen(once), &twice, &d), &d);
    assert_string_equal(once, twice);
    mri_free(once);
    mri_free(twice);
}

static void
occurrences_of_an_operation_have_words_of_their_own(void **state)
{
    const char text[] = "[flip, {flip: {vertical: 1}}, minmax, flip: ~]";
    const char other[] = "[flip, blur, {flip: {vertical: 1}}]";
    uint32_t first, second;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_pipeline_parse(&p, text, strlen(text), &d), &d);
    first = p.ops[0].word;
    second = p.ops[1].word;
    assert_true(first != second);
    assert_true(p.ops[3].word != second);
    mri_pipeline_release(&p);
    assert_ok(mri_pipeline_parse(&p, other, strlen(other), &d), &d);
    assert_int_equal(p.ops[0].word, first); /* the blur moved nothing */
    assert_int_equal(p.ops[2].word, second);
    mri_pipeline_release(&p);
}

static const struct {
    const char *text;
    mri_code code;
    const char *says;
} bad[] = {
    {"- flpi: {}", MRI_E_PIPE_OP, "no operation 'flpi'; did you mean 'flip'?"},
    {"- flip\n- blurr: {p: 1}", MRI_E_PIPE_OP, "line 2, column 3"},
    {"- crop: {szie: 3}", MRI_E_PIPE_PARAM, "did you mean 'size'?"},
    {"- multi_crop: {local: {szie: 9}}", MRI_E_PIPE_PARAM, "'local.szie'"},
    {"- multi_crop: {locale: {size: 9}}", MRI_E_PIPE_PARAM, "'locale'"},
    {"- flip: {up: 9}", MRI_E_PIPE_PARAM, "it has horizontal, vertical, depth"},
    {"- crop: {}", MRI_E_PIPE_VALUE, "crop needs size"},
    {"- crop: {size: 0}", MRI_E_PIPE_VALUE, "a whole number from 1 to 65535"},
    {"- crop: {size: 2.5}", MRI_E_PIPE_VALUE, "a whole number"},
    {"- crop: {size: [3, 4, 5]}", MRI_E_PIPE_VALUE, "a number or [2 numbers]"},
    {"- crop: {size: 3, at: left}", MRI_E_PIPE_VALUE, "center|random"},
    {"- flip: {horizontal: 1.5}", MRI_E_PIPE_VALUE, "a number from 0 to 1"},
    {"- flip: {horizontal: '0.5'}", MRI_E_PIPE_VALUE, "a number"},
    {"- flip: {horizontal: nan}", MRI_E_PIPE_VALUE, "a number"},
    {"- flip: {horizontal: ~}", MRI_E_PIPE_VALUE, "nothing"},
    {"- blur: {kernel: 4}", MRI_E_PIPE_VALUE, "kernel must be odd"},
    {"- blur: {sigma: [2, 1]}", MRI_E_PIPE_VALUE, "the smaller number first"},
    {"- blur: {p: {global: 1}}", MRI_E_PIPE_VALUE, "{global: ..., local: ...}"},
    {"- blur: {p: {global: 1, local: 0}}", MRI_E_PIPE_VALUE, "multi_crop"},
    {"- multi_crop\n- blur: {p: {global: [1, 1, 1], local: 0}}",
     MRI_E_PIPE_VALUE, "3 and 1 numbers for 2 global and 8 local views"},
    {"- multi_crop\n- multi_crop", MRI_E_PIPE_VALUE, "a second one"},
    {"- normalize: {mean: 0.5}", MRI_E_PIPE_VALUE, "needs mean and std"},
    {"- normalize: {mean: 1, std: 0}", MRI_E_PIPE_VALUE, "std of normalize"},
    {"- normalize: {mean: 0, std: 1, split: train}", MRI_E_PIPE_VALUE,
     "it needs from"},
    {"- normalize: {from: dataset, split: [a]}", MRI_E_PIPE_VALUE,
     "the name of a split"},
    {"- normalize: {from: dataset, std: 1}", MRI_E_PIPE_VALUE, "or from"},
    {"- flip@2: {}", MRI_E_PIPE_VERSION, "version 2 is asked for"},
    {"- {flip: {}, blur: {}}", MRI_E_PIPE_VALUE, "expected one operation"},
    {"flip: {}", MRI_E_PIPE_VALUE, "each beginning with '- '"},
    {"- flip: 0.5", MRI_E_PIPE_VALUE, "expected a map of parameters"},
    {"- select: {channels: []}", MRI_E_PIPE_VALUE, "names or indices"},
    {"- to: {scale: 1/0}", MRI_E_PIPE_VALUE, "a number"},
    {"- flip: {", MRI_E_CONFIG, "column 1"},
};

static void
mistakes_are_named_with_their_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < MRI_COUNT(bad); i++) {
        mr_diag d = {0};
        mr_err err =
            mri_pipeline_parse(&p, bad[i].text, strlen(bad[i].text), &d);

        if (err == MR_OK || d.code != bad[i].code ||
            strstr(d.text, bad[i].says) == NULL) {
            fail_msg("%s: E%04u %s", bad[i].text, d.code, d.text);
        }
        assert_int_equal(p.count, 0);
    }
}

static void
forms_are_followed_or_refused(void **state)
{
    const char text[] = "[crop: {size: [60, 50]}, random_resized_crop: {size: "
                        "[24, 32]}, to: {dtype: u8}]";
    mri_form form = {.channels = 3, .size = {1, 64, 64}};
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_pipeline_parse(&p, text, strlen(text), &d), &d);
    assert_ok(mri_pipeline_fit(&p, &form, false, &d), &d);
    assert_int_equal(form.size[1], 24);
    assert_int_equal(form.size[2], 32);
    assert_int_equal(form.dtype, MR_U8);
    form = (mri_form){.channels = 3, .size = {1, 64, 40}};
    assert_fails(mri_pipeline_fit(&p, &form, false, &d), MR_EARG);
    assert_non_null(strstr(d.text, "60x50 does not fit into a picture of "
                                   "64x40"));
    form = (mri_form){.channels = 1, .size = {9, 64, 64}, .volume = true};
    assert_fails(mri_pipeline_fit(&p, &form, false, &d), MR_EARG);
    assert_non_null(strstr(d.text, "use crop3d"));
    mri_pipeline_release(&p);
}

static void
the_page_of_operations_is_the_tables(void **state)
{
    mri_bytes want = {0}, page = {0};
    mr_diag d = {0};
    const char *path = MR_SOURCE_DIR "/docs/operations.md";

    (void)state;
    assert_true(mri_operations_doc(&want));
    if (getenv("MR_UPDATE_DOCS") != NULL) {
        assert_ok(mri_file_put(path, want.data, want.len, MRI_PUT_REPLACE, &d),
                  &d);
    }
    assert_ok(mri_file_load(path, 1 << 20, &page, &d), &d);
    if (page.len != want.len || memcmp(page.data, want.data, want.len) != 0) {
        fail_msg("docs/operations.md is out of date: run this test with "
                 "MR_UPDATE_DOCS=1");
    }
    mri_bytes_release(&want);
    mri_bytes_release(&page);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pipeline_of_the_manual_is_read),
        cmocka_unit_test(the_canonical_text_is_its_own_canonical_text),
        cmocka_unit_test(occurrences_of_an_operation_have_words_of_their_own),
        cmocka_unit_test(mistakes_are_named_with_their_place),
        cmocka_unit_test(forms_are_followed_or_refused),
        cmocka_unit_test(the_page_of_operations_is_the_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
