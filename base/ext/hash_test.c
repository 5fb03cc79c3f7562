/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/bytes.h>
#include <mri/hash.h>

#include <mr_test.h>
#include <string.h>

/* FIPS 180-2 B.1, B.2 */
static void
sha256_gives_the_published_digests(void **state)
{
    static const char *const cases[][2] = {
        {"abc", "ba7816bf8f01cfea414140de5dae2223"
                "b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    uint8_t out[32];
    char hex[65];

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        mri_sha256 *s = mri_sha256_begin();
        size_t n = strlen(cases[i][0]);

        mri_sha256_of(out, cases[i][0], n);
        assert_string_equal(mri_hex(hex, out, 32), cases[i][1]);
        mri_sha256_add(s, cases[i][0], 1);
        mri_sha256_add(s, cases[i][0] + 1, n - 1);
        mri_sha256_end(s, out);
        mri_sha256_free(s);
        assert_string_equal(mri_hex(hex, out, 32), cases[i][1]);
    }
}

/* The empty input's values stand in the XXH3 specification's sanity checks. */
static void
xxh3_gives_the_published_values_and_canonical_order(void **state)
{
    uint8_t out[16];
    char hex[33];

    (void)state;
    assert_int_equal(mri_xxh3("", 0), 0x2D06800538D394C2u);
    mri_xxh3_128(out, "", 0);
    assert_string_equal(mri_hex(hex, out, 16),
                        "99aa06d3014798d86001c324468d497f");
}

static void
pieces_hash_as_the_whole(void **state)
{
    uint8_t data[5000];
    mri_xxh3_state *s = mri_xxh3_begin();

    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 7);
    }
    mri_xxh3_add(s, data, 1234);
    mri_xxh3_add(s, data + 1234, sizeof data - 1234);
    assert_int_equal(mri_xxh3_end(s), mri_xxh3(data, sizeof data));
    assert_int_not_equal(mri_xxh3_end(s), mri_xxh3_seeded(data, 5000, 1));
    mri_xxh3_free(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_published_digests),
        cmocka_unit_test(xxh3_gives_the_published_values_and_canonical_order),
        cmocka_unit_test(pieces_hash_as_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
