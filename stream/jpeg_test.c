/* SPDX-License-Identifier: Apache-2.0 */
#include "jpeg.h"

#include <jpeg_make.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>

static mri_jpeg *decoder;
static mri_room whole_room, room;

static uint64_t
below(uint64_t *seed, uint64_t n)
{
    return scratch_random(seed) % n;
}

static jpeg_made
random_kind(uint64_t *seed)
{
    static const int samplings[][2] = {{1, 1}, {2, 1}, {2, 2}, {1, 2}, {4, 1}};
    jpeg_made how = {.width = (uint32_t)(1 + below(seed, 150)),
                     .height = (uint32_t)(1 + below(seed, 150)),
                     .channels = below(seed, 4) == 0 ? 1 : 3,
                     .quality = (int)(50 + below(seed, 50)),
                     .h = 1,
                     .v = 1,
                     .progressive = below(seed, 4) == 0};

    if (how.channels == 3) {
        const int *s = samplings[below(seed, MRI_COUNT(samplings))];

        how.h = s[0];
        how.v = s[1];
    }
    return how;
}

static mri_jpeg_want
want_all(const jpeg_made *how, const uint8_t *data, size_t bytes)
{
    return (mri_jpeg_want){.data = data,
                           .bytes = bytes,
                           .height = how->height,
                           .width = how->width,
                           .channels = how->channels,
                           .shrink = 1};
}

static void
every_region_equals_the_same_region_of_the_whole(void **state)
{
    uint64_t seed = 11;

    (void)state;
    for (int trial = 0; trial < 400; trial++) {
        jpeg_made how = random_kind(&seed);
        size_t bytes;
        uint8_t *data = jpeg_make(&how, (uint64_t)trial, &bytes);
        mri_jpeg_want want = want_all(&how, data, bytes);
        mri_jpeg_got all, part;
        mr_diag d = {0};

        want.shrink = 1u << below(&seed, 4);
        assert_ok(mri_jpeg_decode(decoder, &want, &whole_room, &all, &d), &d);
        assert_int_equal(all.height, mri_shrunk(how.height, want.shrink));
        assert_int_equal(all.width, mri_shrunk(how.width, want.shrink));
        for (int k = 0; k < 6; k++) {
            want.size[0] = 1 + below(&seed, all.height);
            want.size[1] = 1 + below(&seed, all.width);
            want.first[0] = below(&seed, all.height - want.size[0] + 1);
            want.first[1] = below(&seed, all.width - want.size[1] + 1);
            assert_ok(mri_jpeg_decode(decoder, &want, &room, &part, &d), &d);
            for (uint64_t y = 0; y < want.size[0]; y++) {
                const uint8_t *a = all.pixels +
                                   (want.first[0] + y) * all.row_bytes +
                                   want.first[1] * how.channels;

                if (memcmp(a, part.pixels + y * part.row_bytes,
                           want.size[1] * how.channels) != 0) {
                    fail_msg("trial %d: %ux%u %d:%d, 1/%u, row %u of %llux%llu "
                             "at %llu,%llu",
                             trial, how.width, how.height, how.h, how.v,
                             want.shrink, (unsigned)y,
                             (unsigned long long)want.size[1],
                             (unsigned long long)want.size[0],
                             (unsigned long long)want.first[1],
                             (unsigned long long)want.first[0]);
                }
            }
        }
        free(data);
    }
}

static void
a_decode_is_near_the_picture_that_was_coded(void **state)
{
    jpeg_made how = {120, 90, 3, 98, 1, 1, false};
    size_t bytes;
    uint8_t *data = jpeg_make(&how, 3, &bytes), *pixels = jpeg_picture(&how, 3);
    mri_jpeg_want want = want_all(&how, data, bytes);
    mri_jpeg_got got;
    double sum = 0;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_jpeg_decode(decoder, &want, &room, &got, &d), &d);
    for (uint64_t i = 0; i < 120 * 90 * 3; i++) {
        double e = (double)got.pixels[i] - pixels[i];

        sum += e * e;
    }
    assert_true(sum / (120 * 90 * 3) < 4); /* 42 dB */
    free(data);
    free(pixels);
}

static void
damage_is_refused_and_the_decoder_goes_on(void **state)
{
    jpeg_made how = {64, 48, 3, 80, 2, 2, false};
    size_t bytes;
    uint8_t *data = jpeg_make(&how, 1, &bytes);
    mri_jpeg_want want = want_all(&how, data, bytes);
    mri_jpeg_got got;
    mr_diag d = {0};

    (void)state;
    want.bytes = bytes / 2; /* libjpeg would make the rest up, and warn */
    assert_fails(mri_jpeg_decode(decoder, &want, &room, &got, &d), MR_ECORRUPT);
    assert_int_equal(d.code, MRI_E_ROW_DECODE);
    assert_true(d.at <= want.bytes);
    want.bytes = 0;
    assert_fails(mri_jpeg_decode(decoder, &want, &room, &got, &d), MR_ECORRUPT);
    want.bytes = bytes;
    want.width = 63;
    assert_fails(mri_jpeg_decode(decoder, &want, &room, &got, &d), MR_ECORRUPT);
    want.width = 64;
    assert_ok(mri_jpeg_decode(decoder, &want, &room, &got, &d), &d);
    free(data);
}

/* Any byte changed: pixels or a refusal, never a crash (run under ASan). */
static void
any_byte_may_be_wrong(void **state)
{
    jpeg_made how = {40, 40, 3, 80, 2, 2, false};
    size_t bytes;
    uint8_t *data = jpeg_make(&how, 1, &bytes);
    mri_jpeg_want want = want_all(&how, data, bytes);
    uint64_t seed = 3;

    (void)state;
    want.first[0] = want.first[1] = 9;
    want.size[0] = want.size[1] = 20;
    for (size_t i = 0; i < bytes; i++) {
        uint8_t kept = data[i];
        mri_jpeg_got got;
        mr_err err;

        data[i] = (uint8_t)scratch_random(&seed);
        err = mri_jpeg_decode(decoder, &want, &room, &got, NULL);
        assert_true(err == MR_OK || err == MR_ECORRUPT);
        data[i] = kept;
    }
    free(data);
}

static int
setup(void **state)
{
    (void)state;
    decoder = mri_jpeg_open();
    return decoder == NULL;
}

static int
teardown(void **state)
{
    (void)state;
    mri_jpeg_close(decoder);
    mri_room_release(&whole_room);
    mri_room_release(&room);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_region_equals_the_same_region_of_the_whole),
        cmocka_unit_test(a_decode_is_near_the_picture_that_was_coded),
        cmocka_unit_test(damage_is_refused_and_the_decoder_goes_on),
        cmocka_unit_test(any_byte_may_be_wrong),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
