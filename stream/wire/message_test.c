/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/wire.h>

#include <mri/error.h>

#include <mr_test.h>
#include <string.h>

static mr_err
there_and_back(mri_message *out, const mri_message *in, uint8_t raw[64])
{
    mri_wire_put(raw, in);
    return mri_wire_get(out, raw, 64, in->descriptor, in->descriptor_bytes,
                        in->payload, in->payload_bytes, NULL);
}

static void
a_header_comes_back_as_it_was(void **state)
{
    uint8_t raw[64], payload[100];
    mri_message m = {.head = {.version = 1,
                              .type = MRI_WIRE_HAVE,
                              .flags = 3,
                              .stream = 0x1122334455667788,
                              .request = 42,
                              .row_first = 7,
                              .row_count = 9,
                              .offset = 1u << 20,
                              .total = 1ull << 33},
                     .descriptor = (const uint8_t *)"xyz",
                     .descriptor_bytes = 3,
                     .payload = payload,
                     .payload_bytes = sizeof payload},
                got;

    (void)state;
    memset(payload, 5, sizeof payload);
    assert_int_equal(there_and_back(&got, &m, raw), MR_OK);
    assert_memory_equal(&got.head, &m.head, sizeof got.head);
    assert_memory_equal(raw, "MRW1", 4);
}

static void
any_flipped_bit_is_refused(void **state)
{
    uint8_t raw[64], payload[50], descriptor[20];
    mri_message m = {.head = {.version = 1, .type = MRI_WIRE_HAVE, .total = 50},
                     .descriptor = descriptor,
                     .descriptor_bytes = sizeof descriptor,
                     .payload = payload,
                     .payload_bytes = sizeof payload},
                got;
    uint8_t *parts[] = {raw, descriptor, payload};
    size_t sizes[] = {64, 20, 50};

    (void)state;
    memset(payload, 1, sizeof payload);
    memset(descriptor, 2, sizeof descriptor);
    mri_wire_put(raw, &m);
    for (int part = 0; part < 3; part++) {
        for (size_t bit = 0; bit < sizes[part] * 8; bit++) {
            parts[part][bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_true(mri_wire_get(&got, raw, 64, descriptor, 20, payload, 50,
                                     NULL) != MR_OK);
            parts[part][bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    assert_fails(mri_wire_get(&got, raw, 63, descriptor, 20, payload, 50, NULL),
                 MR_EFORMAT);
    assert_fails(mri_wire_get(&got, raw, 64, descriptor, 19, payload, 50, NULL),
                 MR_ECORRUPT);
}

static void
another_version_is_told_from_damage(void **state)
{
    uint8_t raw[64];
    mri_message m = {.head = {.version = 9, .type = MRI_WIRE_HELLO}}, got;

    (void)state;
    assert_fails(there_and_back(&got, &m, raw), MR_EVERSION);
    assert_int_equal(got.head.type, MRI_WIRE_HELLO);
}

static mri_message
with(const mri_bytes *d)
{
    return (mri_message){.descriptor = d->data, .descriptor_bytes = d->len};
}

static void
descriptors_come_back_as_they_were(void **state)
{
    const char *classes[] = {"a", "b"};
    mri_wire_opened opened = {.stream_id = {1, 2},
                              .samples = 99,
                              .tensors = {{.name = "image",
                                           .dtype = MR_F32,
                                           .rank = 3,
                                           .shape = {5, 64, 64}},
                                          {.name = "uid",
                                           .dtype = MR_U8,
                                           .rank = 1,
                                           .shape = {16}}},
                              .tensor_count = 2,
                              .canonical = "{}",
                              .classes = classes,
                              .class_count = 2,
                              .channels = classes,
                              .channel_count = 1},
                    got_opened;
    mri_wire_dataset set = {.name = "cells", .generation = 3, .samples = 800};
    mri_wire_welcome welcome = {.version = 1,
                                .build = "b",
                                .limit_bytes = 77,
                                .datasets = &set,
                                .dataset_count = 1},
                     got_welcome;
    mri_wire_want want = {UINT64_MAX, 2, 3}, got_want;
    mr_diag why = {.err = MR_ECORRUPT, .code = MRI_E_CHECKSUM, .text = "bad"},
            got_why;
    uint8_t uid[16] = {9}, got_uid[16];
    mri_bytes d = {0};
    mri_wire_box *box;
    mri_message m;

    (void)state;
    assert_true(mri_wire_put_opened(&d, &opened));
    m = with(&d);
    assert_int_equal(mri_wire_get_opened(&got_opened, &box, &m, NULL), MR_OK);
    assert_int_equal(got_opened.row_bytes, 5 * 64 * 64 * 4 + 16);
    assert_string_equal(got_opened.tensors[0].name, "image");
    assert_string_equal(got_opened.classes[1], "b");
    assert_int_equal(got_opened.channel_count, 1);
    assert_string_equal(got_opened.channels[0], "a");
    mri_wire_box_free(box);
    d.len = 0;
    assert_true(mri_wire_put_welcome(&d, &welcome));
    m = with(&d);
    assert_int_equal(mri_wire_get_welcome(&got_welcome, &box, &m, NULL), MR_OK);
    assert_string_equal(got_welcome.datasets[0].name, "cells");
    assert_int_equal(got_welcome.datasets[0].samples, 800);
    mri_wire_box_free(box);
    d.len = 0;
    assert_true(mri_wire_put_want(&d, &want));
    m = with(&d);
    assert_int_equal(mri_wire_get_want(&got_want, &m, NULL), MR_OK);
    assert_memory_equal(&got_want, &want, sizeof want);
    d.len = 0;
    assert_true(mri_wire_put_miss(&d, uid, &why));
    m = with(&d);
    assert_int_equal(mri_wire_get_miss(got_uid, &got_why, &m, NULL), MR_OK);
    assert_memory_equal(got_uid, uid, 16);
    assert_string_equal(got_why.text, "bad");
    assert_int_equal(got_why.err, MR_ECORRUPT);
    mri_bytes_release(&d);
}

static void
tensors_that_cannot_be_are_refused(void **state)
{
    mri_wire_opened opened = {.tensors = {{.name = "image",
                                           .dtype = MR_F32,
                                           .rank = 2,
                                           .shape = {1ull << 40, 1ull << 40}}},
                              .tensor_count = 1},
                    got;
    mri_bytes d = {0};
    mri_wire_box *box;
    mri_message m;

    (void)state;
    assert_true(mri_wire_put_opened(&d, &opened));
    m = with(&d);
    assert_fails(mri_wire_get_opened(&got, &box, &m, NULL), MR_ECORRUPT);
    assert_null(box);
    d.len = 0;
    opened.tensors[0].shape[0] = 0;
    assert_true(mri_wire_put_opened(&d, &opened));
    m = with(&d);
    assert_fails(mri_wire_get_opened(&got, &box, &m, NULL), MR_ECORRUPT);
    mri_bytes_release(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_comes_back_as_it_was),
        cmocka_unit_test(any_flipped_bit_is_refused),
        cmocka_unit_test(another_version_is_told_from_damage),
        cmocka_unit_test(descriptors_come_back_as_they_were),
        cmocka_unit_test(tensors_that_cannot_be_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
