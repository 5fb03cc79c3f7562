/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/selection.h>

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/error.h>

#include "moments.h"
#include "test_set.h"

#include <math.h>

enum { COUNT = 1400 }; /* several blocks of 512 bits */

static set cells;
static mr_dataset *ds;

/* ---- names ---- */

static const char *const folds[] = {"fold0", "fold1", "fold2", "fold3"};

static void
texts_mean_these_splits(void **state)
{
    static const struct {
        const char *text;
        unsigned chosen; /* a bit a name */
    } cases[] = {{"fold0", 1},
                 {"fold2", 4},
                 {"fold1+fold0", 3},
                 {"fold0+fold1+fold2+fold3", 15},
                 {"!fold2", 11},
                 {"!fold3+fold0", 6},
                 {"!fold1+fold2+fold3", 1}};

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(cases); k++) {
        bool chosen[4];
        mr_diag d = {0};

        assert_ok(mri_splits_named(cases[k].text, folds, 4, chosen, &d), &d);
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(chosen[i], cases[k].chosen >> i & 1);
        }
    }
}

static void
texts_that_mean_nothing_are_refused_by_name(void **state)
{
    static const struct {
        const char *text;
        mri_code code;
        const char *says;
    } cases[] = {
        {"fold9", MRI_E_SPLIT, "did you mean 'fold0'"},
        {"fold0+flod1", MRI_E_SPLIT, "'flod1' (did you mean 'fold1'"},
        {"!fold0+x", MRI_E_SPLIT, "no split 'x'; there are: all, fold0, fold1"},
        {"", MRI_E_SPLIT_UNION, "a name is missing"},
        {"!", MRI_E_SPLIT_UNION, "a name is missing"},
        {"+", MRI_E_SPLIT_UNION, "a name is missing"},
        {"fold0+", MRI_E_SPLIT_UNION, "a name is missing"},
        {"fold0++fold1", MRI_E_SPLIT_UNION, "a name is missing"},
        {"fold1+fold0+fold1", MRI_E_SPLIT_UNION, "'fold1' is named twice"},
        {"!fold1+fold1", MRI_E_SPLIT_UNION, "'fold1' is named twice"},
        {"fold0+!fold1", MRI_E_SPLIT_UNION, "'!' stands once"},
        {"!!fold1", MRI_E_SPLIT_UNION, "'!' stands once"},
        {"!fold0+fold1+fold2+fold3", MRI_E_SPLIT_UNION, "no split is left"},
    };

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(cases); k++) {
        bool chosen[4] = {true, false, true, false};
        mr_diag d = {0};

        assert_fails(mri_splits_named(cases[k].text, folds, 4, chosen, &d),
                     MR_EARG);
        assert_int_equal(d.code, cases[k].code);
        if (strstr(d.text, cases[k].says) == NULL) {
            fail_msg("'%s': %s", cases[k].text, d.text);
        }
        assert_true(chosen[0] && !chosen[1] && chosen[2] && !chosen[3]);
    }
}

static void
a_split_with_signs_in_its_name_is_itself(void **state)
{
    static const char *const names[] = {"a", "b", "a+b", "!a"};
    bool chosen[4];
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_splits_named("a+b", names, 4, chosen, &d), &d);
    assert_true(!chosen[0] && !chosen[1] && chosen[2] && !chosen[3]);
    assert_ok(mri_splits_named("!a", names, 4, chosen, &d), &d);
    assert_true(!chosen[0] && !chosen[1] && !chosen[2] && chosen[3]);
}

/* ---- samples ---- */

static void
a_union_is_its_splits_in_order_of_rank(void **state)
{
    static const char *const texts[] = {"test+train", "!val", "val+test"};
    static const char *const names[] = {"train+test", "train+test", "val+test"};
    static const bool in[][3] = {
        {true, false, true}, {true, false, true}, {false, true, true}};

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(texts); k++) {
        mri_selection s;
        mr_diag d = {0};
        uint64_t i = 0, got;

        assert_ok(mri_selection_open(&s, ds, texts[k], &d), &d);
        assert_string_equal(s.name, names[k]);
        for (uint64_t rank = 0; rank < COUNT; rank++) {
            uint32_t split;

            assert_ok(mri_dataset_split_of(ds, rank, &split, &d), &d);
            if (in[k][split]) {
                assert_ok(mri_selection_at(&s, i++, &got, &d), &d);
                assert_int_equal(got, rank);
            }
        }
        assert_int_equal(s.count, i);
        assert_fails(mri_selection_at(&s, i, &got, &d), MR_EARG);
        mri_selection_release(&s);
    }
}

static void
one_split_and_all_of_them_hold_nothing(void **state)
{
    static const struct {
        const char *text, *name;
    } cases[] = {{"train", "train"},
                 {"!val+test", "train"},
                 {"all", "all"},
                 {"test+train+val", "all"}};

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(cases); k++) {
        mri_selection s;
        mr_diag d = {0};
        uint64_t rank, want;

        assert_ok(mri_selection_open(&s, ds, cases[k].text, &d), &d);
        assert_string_equal(s.name, cases[k].name);
        assert_null(s.bits);
        assert_int_equal(s.count, mr_dataset_split_count(ds, s.split));
        assert_ok(mri_selection_at(&s, 7, &rank, &d), &d);
        assert_ok(mr_dataset_split_at(ds, s.split, 7, &want, &d), &d);
        assert_int_equal(rank, want);
        mri_selection_release(&s);
    }
}

static void
moments_of_a_union_are_those_of_its_splits(void **state)
{
    mri_selection s;
    mr_diag d = {0};
    mr_moments all, unit, sum = {0};

    (void)state;
    assert_ok(mri_selection_open(&s, ds, "test+train", &d), &d);
    assert_int_equal(mri_selection_channels(&s, 0), 5);
    for (uint32_t c = 0; c < 5; c++) {
        mri_selection_moments(&s, 0, c, &all, &unit);
        sum = mr_dataset_stats(ds, 0, 0, c)->all;
        mri_moments_merge(&sum, &mr_dataset_stats(ds, 2, 0, c)->all);
        assert_memory_equal(&all, &sum, sizeof sum);
        sum = mr_dataset_stats(ds, 0, 0, c)->unit;
        mri_moments_merge(&sum, &mr_dataset_stats(ds, 2, 0, c)->unit);
        assert_memory_equal(&unit, &sum, sizeof sum);
    }
    mri_selection_moments(&s, 0, 5, &all, &unit);
    assert_int_equal(all.count, 0);
    mri_selection_release(&s);
}

static void
a_selection_bears_that_memory_ends(void **state)
{
    mri_selection s;
    mr_diag d = {0};
    mr_err err = MR_ENOMEM;
    unsigned n = 0;

    (void)state;
    for (; err != MR_OK && n < 100; n++) {
        mri_alloc_fail_at(n);
        err = mri_selection_open(&s, ds, "test+train", &d);
        mri_alloc_fail_at(-1);
        assert_true(err == MR_OK || err == MR_ENOMEM);
        mri_selection_release(&s);
    }
    assert_true(n > 3 && n < 100);
}

static int
make(void **state)
{
    mr_diag d = {0};

    (void)state;
    cells.height = 4;
    cells.width = 4;
    set_make(&cells, SET_CELLS, COUNT);
    assert_ok(mr_dataset_open(&ds, cells.dir, &d), &d);
    return 0;
}

static int
drop(void **state)
{
    (void)state;
    mr_dataset_close(ds);
    scratch_remove(cells.dir);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_mean_these_splits),
        cmocka_unit_test(texts_that_mean_nothing_are_refused_by_name),
        cmocka_unit_test(a_split_with_signs_in_its_name_is_itself),
        cmocka_unit_test(a_union_is_its_splits_in_order_of_rank),
        cmocka_unit_test(one_split_and_all_of_them_hold_nothing),
        cmocka_unit_test(moments_of_a_union_are_those_of_its_splits),
        cmocka_unit_test(a_selection_bears_that_memory_ends),
    };

    return cmocka_run_group_tests(tests, make, drop);
}
