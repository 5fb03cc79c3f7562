/* SPDX-License-Identifier: Apache-2.0 */
#include "chunk_part.h"

#include <mri/alloc.h>
#include <mri/cpu.h>

#include <mr_test.h>
#include <scratch.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 16, OUT_BYTES = 1 << 19, TRIALS = 800 };

static uint8_t raw[CHUNK_BYTES], out[OUT_BYTES], want[OUT_BYTES];
static uint64_t seed;

static uint64_t
below(uint64_t n)
{
    return scratch_random(&seed) % n;
}

/* A chunk of any shape, a box within it, and strides with gaps. */
static uint64_t
random_part(mri_chunk_part *p, unsigned element)
{
    uint64_t count = 1, gap = element;

    memset(p, 0, sizeof *p);
    p->ndim = (unsigned)below(6);
    for (unsigned i = 0; i < p->ndim; i++) {
        uint64_t room = CHUNK_BYTES / element / count;
        uint64_t most = room < 70 ? room : 70;

        p->dims[i] = 1 + below(below(2) == 0 ? most : (most + 5) / 6);
        p->first[i] = below(3) == 0 ? below(p->dims[i]) : 0;
        p->size[i] = below(3) == 0 ? 1 + below(p->dims[i] - p->first[i])
                                   : p->dims[i] - p->first[i];
        count *= p->dims[i];
    }
    for (unsigned i = p->ndim; i-- > 0;) {
        p->stride[i] = (int64_t)gap;
        gap *= p->size[i];
        gap += below(4) == 0 && gap < 4096 ? element * below(5) : 0;
    }
    return gap <= OUT_BYTES - 64 ? count : 0;
}

static void
random_elements(uint64_t bytes, unsigned element)
{
    uint64_t kind = below(4), one = scratch_random(&seed);

    for (uint64_t i = 0; i < bytes; i++) {
        uint64_t v = 7;

        if (kind == 0) {
            v = one >> 8 * (i % element);
        } else if (kind == 1) {
            v = scratch_random(&seed);
        } else if (i % element < element / 2 + 1) {
            v = below(4);
        }
        raw[i] = (uint8_t)v;
    }
}

/* The definition, an element at a time. */
static void
place_plainly(const mri_chunk_part *p, uint8_t *to, unsigned element)
{
    mr_box box = {{0}, {0}};
    uint64_t n;

    memcpy(box.size, p->size, sizeof box.size);
    n = mri_box_len(&box, p->ndim);
    for (uint64_t k = 0; k < n; k++) {
        uint64_t left = k, from = 0, apart = 1;
        int64_t at = 0;

        for (unsigned i = p->ndim; i-- > 0;) {
            uint64_t here = left % p->size[i];

            left /= p->size[i];
            from += (p->first[i] + here) * apart;
            apart *= p->dims[i];
            at += (int64_t)here * p->stride[i];
        }
        memcpy(to + at, raw + from * element, element);
    }
}

/* What comes next may be asked for, and is never read. */
static const mri_ahead nowhere[] = {{NULL, 0}, {(const uint8_t *)1, 1 << 20}};

static void
one_trial(mri_bytes *work, mri_bytes *held)
{
    unsigned element = 1U << below(4);
    size_t shift = below(4) == 0 ? 1 + below(7) : 0;
    mri_chunk_part p;
    uint64_t count = random_part(&p, element);
    mri_chunk_row row;
    mri_chunk_in in;
    mri_packed packed;
    mr_diag d = {0};

    if (count == 0) {
        return;
    }
    random_elements(count * element, element);
    in = (mri_chunk_in){.raw = raw,
                        .raw_len = (uint32_t)(count * element),
                        .element = element,
                        .real = below(2) == 0,
                        .coding = (mri_coding)below(MRI_CODING_RAW + 1)};
    in.row = p.ndim > 0 ? p.dims[p.ndim - 1] : 1;
    in.plane = p.ndim > 1 ? in.row * p.dims[p.ndim - 2] : in.row;
    assert_true(mri_chunk_pack(&packed, &in, held));
    row = (mri_chunk_row){.file_off = packed.value,
                          .stored_len = packed.stored_len,
                          .raw_len = packed.raw_len,
                          .codec = packed.codec,
                          .filter = packed.filter,
                          .flags = packed.flags};
    memset(out, 0xA5, sizeof out);
    memset(want, 0xA5, sizeof want);
    place_plainly(&p, want + shift, element);
    p.to = out + shift;
    p.ahead = nowhere[below(2)];
    assert_ok(mri_chunk_unpack_part(&p, &row, packed.stored, element, work, &d),
              &d);
    assert_memory_equal(out, want, sizeof out);
}

static void
any_part_goes_where_it_belongs_and_nothing_else_is_touched(void **state)
{
    mri_bytes work = {0}, held = {0};

    (void)state;
    for (int level = 0; level <= MRI_AVX512; level++) {
        mri_cpu_force(level);
        seed = 4;
        for (int i = 0; i < TRIALS; i++) {
            one_trial(&work, &held);
        }
    }
    mri_cpu_force(-1);
    mri_bytes_release(&work);
    mri_bytes_release(&held);
}

static void
bytes_that_do_not_decode_are_refused(void **state)
{
    mri_chunk_part p = {.ndim = 1, .dims = {64}, .first = {8}, .size = {8}};
    uint8_t stored[64] = {0xF0, 0xFF, 0xFF};
    mri_chunk_row row = {.stored_len = 64, .raw_len = 128};
    mri_bytes work = {0};

    (void)state;
    p.to = out;
    p.stride[0] = 2;
    assert_fails(mri_chunk_unpack_part(&p, &row, stored, 2, &work, NULL),
                 MR_ECORRUPT);
    row.codec = MRI_CODEC_LZ4;
    row.filter = MRI_FILTER_SHUFFLE;
    assert_fails(mri_chunk_unpack_part(&p, &row, stored, 2, &work, NULL),
                 MR_ECORRUPT);
    row.codec = 9;
    assert_fails(mri_chunk_unpack_part(&p, &row, stored, 2, &work, NULL),
                 MR_EVERSION);
    mri_bytes_release(&work);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            any_part_goes_where_it_belongs_and_nothing_else_is_touched),
        cmocka_unit_test(bytes_that_do_not_decode_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
