/* SPDX-License-Identifier: Apache-2.0 */
/* salvage_shard_test.c - a damaged shard by itself. */
#include "salvage_set.h"

static void
an_undamaged_shard_comes_back_byte_for_byte(void **state)
{
    const char *output = in_room("same.mr");
    char *path = shard_path(0), *again = mri_shard_path(output, refs[0].id);
    mri_salvaged got;
    mri_bytes b = {0};
    heard h;
    mr_diag d = {0};

    (void)state;
    assert_ok(salvage(path, output, &got, &h, &d), &d);
    assert_int_equal(got.saved, PER_SHARD);
    assert_int_equal(got.lost, 0);
    assert_int_equal(got.shards_hurt, 0);
    assert_int_equal(h.calls, 0);
    assert_ok(mri_file_load(again, 1 << 30, &b, &d), &d);
    assert_int_equal(b.len, images[0].bytes.len);
    assert_memory_equal(b.data, images[0].bytes.data, b.len);
    mri_bytes_release(&b);
    mri_free(path);
    mri_free(again);
    remove_output(output);
}

static void
without_its_foot_a_shard_gives_all_its_samples(void **state)
{
    trial t;

    (void)state;
    try_alone(&t, images[0].bytes.data, images[0].foot_off);
    assert_int_equal(t.got.saved, PER_SHARD);
    assert_int_equal(t.got.lost, 0);
    assert_true(t.got.more_lost && t.heard.open_end); /* nobody can know */
}

static void
around_a_hole_the_others_come_back_and_the_lost_are_named(void **state)
{
    const image *im = &images[0];
    uint8_t *p = copy_of(im);
    uint64_t third = im->foot_off / 3;
    trial t;

    (void)state;
    memset(p + third, 0, third);
    try_alone(&t, p, im->bytes.len);
    assert_true(t.got.lost > 1 && t.got.saved > 1);
    all_accounted(&t);
    free(p);
}

static void
with_the_last_third_missing_the_first_two_come_back(void **state)
{
    const image *im = &images[0];
    trial t;

    (void)state;
    try_alone(&t, im->bytes.data, im->bytes.len / 3 * 2);
    assert_true(t.got.saved > 1 && t.got.saved < PER_SHARD);
    assert_true(t.got.more_lost);
}

static void
with_both_tails_gone_the_foot_is_found(void **state)
{
    const image *im = &images[0];
    uint8_t *p = copy_of(im);
    trial t;

    (void)state;
    memset(p + im->bytes.len - MRI_TAIL_SPAN, 0, MRI_TAIL_SPAN);
    try_alone(&t, p, im->bytes.len);
    assert_int_equal(t.got.saved, PER_SHARD);
    all_accounted(&t);
    assert_int_equal(t.got.shards_hurt, 1);
    try_alone(&t, p, im->bytes.len - MRI_TAIL_SPAN);
    all_accounted(&t);
    /* and names what a damage in front of it took */
    memset(p + im->foot_off - 64, 0xA5, 64);
    try_alone(&t, p, im->bytes.len);
    assert_int_equal(t.got.saved, PER_SHARD - 1);
    all_accounted(&t);
    assert_int_equal(t.heard.at[PER_SHARD - 1],
                     im->frames[im->frame_count - 1].from);
    free(p);
}

static void
a_damaged_head_costs_nothing(void **state)
{
    const image *im = &images[0];
    uint8_t *p = copy_of(im);
    trial t;

    (void)state;
    p[2] ^= 1; /* the tag can still be read */
    try_alone(&t, p, im->bytes.len);
    assert_int_equal(t.got.saved, PER_SHARD);
    all_accounted(&t);
    memset(p, 0, MRI_HEAD_BYTES); /* it must come from the frames */
    try_alone(&t, p, im->bytes.len);
    assert_int_equal(t.got.saved, PER_SHARD);
    all_accounted(&t);
    memcpy(p, images[1].bytes.data, MRI_HEAD_BYTES); /* another shard's */
    try_alone(&t, p, im->bytes.len);
    assert_int_equal(t.got.saved, PER_SHARD);
    all_accounted(&t);
    free(p);
}

static void
field_names_come_from_the_foot_or_are_made_up(void **state)
{
    const image *im = &images[0];
    const char *source = in_room("names.mrs"), *output = in_room("names.mr");
    uint8_t *p = copy_of(im);
    mri_salvaged got;
    mr_dataset *ds;
    heard h;
    mr_diag d = {0};

    (void)state;
    memset(p + MRI_HEAD_BYTES, 0, im->schema_end - MRI_HEAD_BYTES);
    scratch_write(source, p, im->bytes.len);
    assert_ok(salvage(source, output, &got, &h, &d), &d);
    assert_false(got.names_lost);
    assert_ok(mr_dataset_open(&ds, output, &d), &d);
    assert_string_equal(mr_dataset_field_name(ds, 0), "scan");
    mr_dataset_close(ds);
    remove_output(output);
    scratch_write(source, p, im->foot_off); /* the foot's copy goes too */
    assert_ok(salvage(source, output, &got, &h, &d), &d);
    assert_true(got.names_lost);
    assert_int_equal(got.saved, PER_SHARD);
    assert_ok(mr_dataset_open(&ds, output, &d), &d);
    assert_string_equal(mr_dataset_field_name(ds, 1), "field1");
    assert_int_equal(mr_dataset_classes(ds), 3);
    assert_string_equal(mr_dataset_class_name(ds, 2), "star");
    mr_dataset_close(ds);
    remove_output(output);
    free(p);
}

static void
a_lost_chunk_is_told_with_key_and_place(void **state)
{
    const image *im = &images[0];
    uint8_t *p = copy_of(im);
    trial t;

    (void)state;
    p[im->frames[0].from + 40] ^= 16; /* a chunk of the first sample */
    try_alone(&t, p, im->bytes.len);
    all_accounted(&t);
    assert_true(t.heard.by_key[0]);
    assert_int_equal(t.heard.at[0], im->frames[0].from);
    free(p);
}

static void
every_frame_border_is_a_good_place_to_be_cut(void **state)
{
    const image *im = &images[0];
    trial t;

    (void)state;
    for (unsigned i = 0; i < im->frame_count; i++) {
        try_alone(&t, im->bytes.data, im->frames[i].from);
        assert_true(t.got.more_lost);
        try_alone(&t, im->bytes.data, im->frames[i].to);
        assert_true(t.got.more_lost);
    }
}

/* Some damage of some kind. Returns the size that is left. */
static uint64_t
hurt(uint8_t *p, uint64_t size, uint64_t *seed)
{
    uint64_t n = 1 + scratch_random(seed) % 4;

    for (uint64_t k = 0; k < n; k++) {
        uint64_t at = scratch_random(seed) % size;
        uint64_t len = scratch_random(seed) % 5000;

        len = len < size - at ? len : size - at;
        switch (scratch_random(seed) % 5) {
        case 0:
            p[at] ^= (uint8_t)(1u << scratch_random(seed) % 8);
            break;
        case 1:
            memset(p + at, 0, len);
            break;
        case 2:
            for (uint64_t i = 0; i < len; i++) {
                p[at + i] = (uint8_t)scratch_random(seed);
            }
            break;
        case 3: /* a piece from elsewhere, as after a mix-up of pages */
            memmove(p + at, p + scratch_random(seed) % (size - len + 1), len);
            break;
        default:
            size = scratch_random(seed) % 4 == 0 && at > size / 2 ? at : size;
            break;
        }
    }
    return size;
}

/* Without files: what scan and proof find of a damaged image. */
static void
try_in_memory(const uint8_t *p, uint64_t size)
{
    uint8_t *exact = malloc(size);
    mri_body b = {.file = {.fd = -1, .map = exact, .size = size}};
    mri_rescue rescue = {.all = {b.file.size, 0}};
    bool want[SAMPLES] = {false}, got[SAMPLES] = {false};
    mr_diag d = {0};

    memcpy(exact, p, size);
    untouched(&images[0], 0, p, size, want);
    assert_ok(mri_body_scan(&b, NULL, NULL, &d), &d);
    for (size_t i = 0; i < b.meta_count; i++) {
        Mri__PbMeta *pb;
        mri_encoded *e;

        if (mri_body_sample(&b, &b.metas[i], &rescue, &pb, &e, &d) == MR_OK) {
            assert_memory_equal(pb->uid.data, uids[pb->row], MR_UID_BYTES);
            got[pb->row] = true;
        }
        mri_encoded_free(e);
        mri_meta_unpacked_free(pb);
    }
    assert_memory_equal(want, got, sizeof want);
    mri_rescue_release(&rescue);
    b.file = (mri_object){.fd = -1};
    mri_body_close(&b);
    free(exact);
}

static void
after_any_damage_exactly_the_untouched_samples_come_back(void **state)
{
    const image *im = &images[0];

    (void)state;
    for (uint64_t trial_no = 0; trial_no < 600; trial_no++) {
        uint64_t seed = 1000 + trial_no, size;
        uint8_t *p = copy_of(im);

        size = hurt(p, im->bytes.len, &seed);
        try_in_memory(p, size);
        if (trial_no % 24 == 0) {
            trial t;

            try_alone(&t, p, size);
        }
        free(p);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_undamaged_shard_comes_back_byte_for_byte),
        cmocka_unit_test(without_its_foot_a_shard_gives_all_its_samples),
        cmocka_unit_test(
            around_a_hole_the_others_come_back_and_the_lost_are_named),
        cmocka_unit_test(with_the_last_third_missing_the_first_two_come_back),
        cmocka_unit_test(with_both_tails_gone_the_foot_is_found),
        cmocka_unit_test(a_damaged_head_costs_nothing),
        cmocka_unit_test(field_names_come_from_the_foot_or_are_made_up),
        cmocka_unit_test(a_lost_chunk_is_told_with_key_and_place),
        cmocka_unit_test(every_frame_border_is_a_good_place_to_be_cut),
        cmocka_unit_test(
            after_any_damage_exactly_the_untouched_samples_come_back),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
