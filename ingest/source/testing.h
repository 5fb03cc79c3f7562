/* SPDX-License-Identifier: Apache-2.0 */
/*
 * testing.h - what the tests of all decoders share: read a file that lies in
 * memory, cut it everywhere, flip its bits, take its memory away.
 */
#ifndef SOURCE_TESTING_H
#define SOURCE_TESTING_H

#include <mri/source.h>

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/error.h>

#include <stdlib.h>
#include <string.h>

#include <mr_test.h>
#include <scratch.h>

/* Memory of exactly this size, so that a sanitizer sees every overread. */
static inline uint8_t *
exact_copy(const void *p, size_t len)
{
    uint8_t *copy = malloc(len != 0 ? len : 1);

    assert_non_null(copy);
    if (len != 0) {
        memcpy(copy, p, len);
    }
    return copy;
}

/* Open, read sample i, close. */
static inline mr_err
read_one(const void *p, size_t len, const mri_source_options *options,
         uint64_t i, mri_image *image, mr_diag *diag)
{
    uint8_t *copy = exact_copy(p, len);
    mri_source_bytes file = {copy, len, "it"};
    mri_source *s = NULL;
    mr_err err = mri_source_open(&s, &file, NULL, options, diag);

    *image = (mri_image){0};
    if (err == MR_OK) {
        err = mri_source_read(s, i, image, diag);
    }
    mri_source_close(s);
    free(copy);
    return err;
}

/* Read all samples of a file for what happens on the way. */
static inline mr_err
read_all(const void *p, size_t len, const mri_source_options *options)
{
    uint8_t *copy = exact_copy(p, len);
    mri_source_bytes file = {copy, len, NULL};
    mri_source *s = NULL;
    mr_err err = mri_source_open(&s, &file, NULL, options, NULL);

    for (uint64_t i = 0; err == MR_OK && i < mri_source_count(s); i++) {
        mri_image image;

        err = mri_source_read(s, i, &image, NULL);
        mri_image_release(&image);
    }
    mri_source_close(s);
    free(copy);
    return err;
}

/* The first sample, or the test fails. */
static inline void
must_read(const void *p, size_t len, const mri_source_options *options,
          mri_image *image)
{
    mr_diag diag = {0};

    assert_ok(read_one(p, len, options, 0, image, &diag), &diag);
}

/* A file that must be refused with this code of errors.def. */
static inline void
must_refuse(const void *p, size_t len, const mri_source_options *options,
            mri_code code)
{
    mr_diag diag = {0};
    mri_image image;
    mr_err err = read_one(p, len, options, 0, &image, &diag);

    mri_image_release(&image);
    if (diag.code != code) {
        print_error("E%04u (%s) in place of E%04u\n", diag.code, diag.text,
                    (unsigned)code);
    }
    assert_int_equal(diag.code, code);
    assert_int_equal(err, mri_error_find((uint16_t)code)->err);
    assert_string_equal(diag.path, "it");
    assert_true(mr_code_help(diag.code)[0] != '\0');
}

/* The same, with the offset that the message must name. */
static inline void
must_refuse_at(const void *p, size_t len, const mri_source_options *options,
               mri_code code, uint64_t at)
{
    mr_diag diag = {0};
    mri_image image;

    must_refuse(p, len, options, code);
    (void)read_one(p, len, options, 0, &image, &diag);
    mri_image_release(&image);
    assert_int_equal(diag.at, at);
}

static inline bool
same_image(const mri_image *a, const mri_image *b)
{
    return a->dtype == b->dtype && strcmp(a->axes, b->axes) == 0 &&
           a->bytes == b->bytes &&
           memcmp(a->shape, b->shape, sizeof a->shape) == 0 &&
           memcmp(a->pixels, b->pixels, a->bytes) == 0;
}

/* Every cut of the file is refused, or gives the same pixels: those cuts that
 * take only what no pixel needs. Returns how many of them there are. */
static inline size_t
sweep_cuts(const void *p, size_t len, const mri_source_options *options)
{
    mri_image whole;
    size_t harmless = 0;

    must_read(p, len, options, &whole);
    for (size_t n = 0; n < len; n++) {
        mri_image image;

        if (read_one(p, n, options, 0, &image, NULL) == MR_OK) {
            assert_true(same_image(&image, &whole));
            harmless++;
        }
        mri_image_release(&image);
    }
    mri_image_release(&whole);
    return harmless;
}

/* Damage at random, more and more: whatever happens, it ends. */
static inline void
sweep_damage(const void *p, size_t len, const mri_source_options *options,
             unsigned times)
{
    uint64_t state = len;

    for (unsigned i = 0; i < times; i++) {
        uint8_t *copy = exact_copy(p, len);
        size_t n = len - (i % 5 == 0 ? scratch_random(&state) % len : 0);

        for (unsigned k = 0; k <= i % 8 && n != 0; k++) {
            uint64_t r = scratch_random(&state);

            copy[r % n] =
                (uint8_t)(k % 2 ? r >> 40 : copy[r % n] ^ 1u << r % 8);
        }
        (void)read_all(copy, n, options);
        free(copy);
    }
}

/* Let the n-th allocation fail, for every n: an error or the whole image. */
static inline void
sweep_memory(const void *p, size_t len, const mri_source_options *options)
{
    mr_err err = MR_ENOMEM;

    for (int64_t n = 0; err != MR_OK; n++) {
        (void)mri_alloc_fail_at(n);
        err = read_all(p, len, options);
        (void)mri_alloc_fail_at(-1);
        assert_true(err == MR_OK || err == MR_ENOMEM);
        assert_true(n < 1000);
    }
}

static inline mri_source_options
with_lenient(void)
{
    mri_source_options o = mri_source_defaults();

    o.lenient = true;
    return o;
}

#endif
