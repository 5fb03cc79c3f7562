/* SPDX-License-Identifier: Apache-2.0 */
/* Where a stream was, and going on from there. */
#include "stream_set.h"

static char *
resume_at(const mr_stream_options *before, const mr_stream_options *after,
          unsigned skip, unsigned n)
{
    mr_stream *s = open_stream(before);
    uint8_t cursor[MR_CURSOR_BYTES];
    mri_bytes out = {0};
    mr_diag d = {0};
    mr_batch *b;

    for (unsigned i = 0; i < skip; i++) {
        assert_ok(mr_stream_next(s, &b, &d), &d);
        mr_batch_unref(b);
    }
    mr_stream_cursor(s, cursor);
    mr_stream_close(s);
    s = open_stream(after);
    assert_ok(mr_stream_seek(s, cursor, &d), &d);
    for (unsigned i = 0; i < n; i++) {
        assert_ok(mr_stream_next(s, &b, &d), &d);
        assert_true(mri_batch_row_lines(&out, b));
        mr_batch_unref(b);
    }
    mr_stream_close(s);
    assert_true(mri_bytes_add(&out, "", 1));
    return (char *)out.data;
}

static void
a_cursor_goes_on_exactly(void **state)
{
    mr_stream_options o = options(&cells, dino), other;
    char *all = lines_of(&o, 12, true);

    (void)state;
    for (unsigned skip = 0; skip <= 9; skip++) {
        char *rest = resume_at(&o, &o, skip, 12 - skip);

        assert_string_equal(all + strlen(all) - strlen(rest), rest);
        mri_free(rest);
    }
    /* another batch size: the same rows in the same order */
    other = o;
    other.batch_size = 10;
    other.threads = 3;
    {
        char *rest = resume_at(&o, &other, 2, 1), *p = rest, *q = all;

        for (int i = 0; i < 14; i++) {
            q = strchr(q, '\n') + 1;
        }
        for (int i = 0; i < 10; i++) { /* from the uid on */
            char *a = strchr(strchr(strchr(p, ' ') + 1, ' ') + 1, ' ') + 1;
            char *b = strchr(strchr(strchr(q, ' ') + 1, ' ') + 1, ' ') + 1;

            assert_int_equal(strcspn(a, "\n"), strcspn(b, "\n"));
            assert_memory_equal(a, b, strcspn(a, "\n"));
            p = strchr(p, '\n') + 1;
            q = strchr(q, '\n') + 1;
        }
        mri_free(rest);
    }
    mri_free(all);
}

static void
a_cursor_of_another_stream_is_refused_by_name(void **state)
{
    mr_stream_options o = options(&cells, dino);
    uint8_t cursor[MR_CURSOR_BYTES], bad[MR_CURSOR_BYTES];
    mr_stream *s = open_stream(&o);
    struct {
        mr_stream_options o;
        const char *says;
    } other[5];

    (void)state;
    mr_stream_cursor(s, cursor);
    for (int i = 0; i < 64; i++) { /* any bit flipped */
        mr_diag d = {0};

        memcpy(bad, cursor, sizeof bad);
        bad[i] ^= (uint8_t)(1 << i % 8);
        assert_fails(mr_stream_seek(s, bad, &d), MR_ECORRUPT);
    }
    mr_stream_close(s);
    for (int i = 0; i < 5; i++) {
        other[i].o = o;
    }
    other[0].o.seed = 43;
    other[0].says = "the seed differs (42 there, 43 here)";
    other[1].o.split = "train";
    other[1].says = "the split differs";
    other[2].o.pipeline = "[flip, crop: {size: 9}]";
    other[2].says = "the pipeline differs";
    other[3].o.tail = MR_TAIL_WRAP;
    other[3].says = "order or tail differs";
    other[4].o.source = volumes.dir;
    other[4].o.pipeline = patch;
    other[4].says = "the dataset differs";
    for (int i = 0; i < 5; i++) {
        mr_diag d = {0};

        s = open_stream(&other[i].o);
        assert_fails(mr_stream_seek(s, cursor, &d), MR_EARG);
        assert_int_equal(d.code, MRI_E_CURSOR_OTHER);
        if (strstr(d.text, other[i].says) == NULL) {
            fail_msg("%s: %s", other[i].says, d.text);
        }
        mr_stream_close(s);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_goes_on_exactly),
        cmocka_unit_test(a_cursor_of_another_stream_is_refused_by_name),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
