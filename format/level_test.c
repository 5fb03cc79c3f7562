/* SPDX-License-Identifier: Apache-2.0 */
/* level_test.c - what a schema says of coarser levels, there and back. */
#include "level.h"

#include "meta.h"
#include "salvage_names.h"

#include <mr_test.h>

enum { FIELDS = 3, A_LATER_KIND = 9 };

static const char *names[] = {"image", "image_2", "half"};
static mri_field_kind kinds[] = {MRI_FIELD_IMAGE, MRI_FIELD_IMAGE,
                                 (mri_field_kind)A_LATER_KIND};

static mri_schema
with(mri_field_level *levels)
{
    return (mri_schema){.field_count = FIELDS,
                        .field_names = names,
                        .field_kinds = kinds,
                        .field_levels = levels,
                        .config = "{}"};
}

static mr_err
there_and_back(mri_field_level *levels, Mri__PbSchema **out)
{
    const mri_schema schema = with(levels);
    mri_bytes packed = {0};
    mr_err err;

    assert_true(mri_schema_pack(&packed, &schema));
    err = mri_schema_unpack(out, packed.data, packed.len, 0, NULL);
    mri_bytes_release(&packed);
    return err;
}

static void
levels_and_kinds_come_back(void **state)
{
    mri_field_level levels[] = {{.of = MRI_NO_FIELD},
                                {.of = 0, .rank = 3, .downsample = {1, 2, 2}},
                                {.of = 1, .rank = 0}};
    Mri__PbSchema *pb;
    mri_schema got;

    (void)state;
    assert_int_equal(there_and_back(levels, &pb), MR_OK);
    assert_true(mri_schema_of_pb(&got, pb));
    assert_int_equal(got.field_levels[0].of, MRI_NO_FIELD);
    assert_int_equal(got.field_levels[1].of, 0);
    assert_int_equal(got.field_levels[1].rank, 3);
    assert_memory_equal(got.field_levels[1].downsample, levels[1].downsample,
                        sizeof levels[1].downsample);
    assert_int_equal(got.field_levels[2].of, 1);
    assert_int_equal(got.field_levels[2].rank, 0);
    assert_int_equal((int)got.field_kinds[2], A_LATER_KIND);
    mri_schema_view_release(&got);
    mri_schema_unpacked_free(pb);
    assert_int_equal(there_and_back(NULL, &pb), MR_OK);
    assert_int_equal(pb->fields[1]->level_of, 0);
    mri_schema_unpacked_free(pb);
}

static void
levels_that_cannot_be_are_refused(void **state)
{
    static const mri_field_level wrong[] = {
        {.of = 1, .rank = 1, .downsample = {2}},    /* of itself */
        {.of = 3, .rank = 1, .downsample = {2}},    /* of none that is there */
        {.of = 0, .rank = 2, .downsample = {2, 0}}, /* by nothing */
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(wrong); i++) {
        mri_field_level levels[] = {
            {.of = MRI_NO_FIELD}, wrong[i], {.of = MRI_NO_FIELD}};
        Mri__PbSchema *pb = NULL;

        assert_fails(there_and_back(levels, &pb), MR_ECORRUPT);
        assert_null(pb);
    }
}

static void
more_factors_than_axes_can_be_are_refused(void **state)
{
    uint32_t factors[] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    Mri__PbField field, of;
    Mri__PbField *list[] = {&field, &of};
    Mri__PbSchema schema;

    (void)state;
    mri__pb_field__init(&field);
    mri__pb_field__init(&of);
    mri__pb_schema__init(&schema);
    schema.n_fields = 2;
    schema.fields = list;
    field.level_of = 2;
    field.downsample = factors;
    field.n_downsample = MR_MAX_RANK;
    assert_true(mri_levels_hold(&schema));
    field.n_downsample = MR_MAX_RANK + 1;
    assert_false(mri_levels_hold(&schema));
    field.n_downsample = 1;
    field.level_of = 0; /* factors of no level */
    assert_false(mri_levels_hold(&schema));
}

/* A salvaged dataset has the fields of all shards, in another order. */
static void
a_level_finds_its_field_in_another_place(void **state)
{
    mri_field_level levels[] = {{.of = MRI_NO_FIELD},
                                {.of = 2, .rank = 1, .downsample = {4}},
                                {.of = MRI_NO_FIELD}};
    mri_salvage_names n = {0};
    mri_schema seen = with(NULL), merged;
    const char *first[] = {"half"};
    mri_bytes packed = {0};
    Mri__PbSchema *pb;

    (void)state;
    seen.field_count = 1;
    seen.field_names = first;
    assert_true(mri_schema_pack(&packed, &seen));
    assert_int_equal(mri_schema_unpack(&pb, packed.data, packed.len, 0, NULL),
                     MR_OK);
    assert_true(mri_salvage_names_add(&n, pb));
    mri_schema_unpacked_free(pb);
    mri_bytes_release(&packed);
    assert_int_equal(there_and_back(levels, &pb), MR_OK);
    assert_true(mri_salvage_names_add(&n, pb));
    mri_schema_unpacked_free(pb);
    merged = mri_salvage_names_schema(&n);
    assert_int_equal(merged.field_count, 3);
    assert_string_equal(merged.field_names[2], "image_2");
    assert_int_equal(merged.field_levels[2].of, 0); /* "half" */
    assert_int_equal(merged.field_levels[2].downsample[0], 4);
    mri_salvage_names_release(&n);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_and_kinds_come_back),
        cmocka_unit_test(levels_that_cannot_be_are_refused),
        cmocka_unit_test(more_factors_than_axes_can_be_are_refused),
        cmocka_unit_test(a_level_finds_its_field_in_another_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
