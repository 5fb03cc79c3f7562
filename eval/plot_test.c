/* SPDX-License-Identifier: Apache-2.0 */
/* plot_test.c - pictures of tables: read back, odd ones, refused ones. */
#include "plot_types.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>

#include <cairo.h>
#include <errno.h>
#include <faulty_file.h>
#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 120, DIM = 8, CLASSES = 40 };

typedef struct table {
    float features[ROWS * DIM];
    int32_t label[ROWS];
    uint64_t group[ROWS];
    uint8_t split[ROWS];
    char names[CLASSES][16];
    const char *classes[CLASSES];
    mri_group_name groups[3];
    mri_feature_table t;
} table;

static const char *const splits[] = {"train", "test", "empty"};

/* Three classes apart from each other. */
static table *
make_table(void)
{
    table *x = calloc(1, sizeof *x);
    uint64_t seed = 8;

    for (size_t i = 0; i < ROWS; i++) {
        x->label[i] = (int32_t)(i % 3);
        x->split[i] = i % 10 == 0;
        x->group[i] = 5 + i % 3;
        for (size_t l = 0; l < DIM; l++) {
            double noise = (double)(scratch_random(&seed) % 2001) / 1e4;

            x->features[i * DIM + l] = (float)(noise + (l == i % 3 ? 1 : 0));
        }
    }
    for (size_t c = 0; c < CLASSES; c++) {
        (void)snprintf(x->names[c], sizeof x->names[c], "class %zu", c);
        x->classes[c] = x->names[c];
    }
    x->groups[0] = (mri_group_name){5, "zoe"};
    x->groups[1] = (mri_group_name){6, "ada"};
    x->groups[2] = (mri_group_name){7, "same"};
    x->t = (mri_feature_table){.rows = ROWS,
                               .dim = DIM,
                               .features = x->features,
                               .label = x->label,
                               .group = x->group,
                               .split = x->split,
                               .classes = x->classes,
                               .splits = splits,
                               .groups = x->groups,
                               .class_count = CLASSES,
                               .split_count = 3,
                               .group_count = 3,
                               .from = {.arch = "vit_tiny", .step = 1234}};
    return x;
}

static mri_plot *
open_plot(const table *x, const char *split, mri_plot_color color)
{
    const mri_plot_options o = {split, color, 1};
    mri_plot *p;
    mr_diag d = {0};

    assert_ok(mri_plot_open(&p, &x->t, &o, &d), &d);
    return p;
}

/* ----------------------------------------------------------------- pictures */

/* How many pixels are nearly of a colour. */
static uint64_t
count_pixels(cairo_surface_t *s, uint32_t rgb)
{
    const uint8_t *data = cairo_image_surface_get_data(s);
    int stride = cairo_image_surface_get_stride(s);
    uint64_t n = 0;

    for (int y = 0; y < cairo_image_surface_get_height(s); y++) {
        for (int x = 0; x < cairo_image_surface_get_width(s); x++) {
            uint32_t v;
            bool near = true;

            memcpy(&v, data + (size_t)y * (size_t)stride + (size_t)x * 4, 4);
            for (int shift = 0; shift < 24; shift += 8) {
                int a = (int)(v >> shift & 255), b = (int)(rgb >> shift & 255);

                near = near && abs(a - b) < 40;
            }
            n += near;
        }
    }
    return n;
}

typedef struct pixels {
    const uint8_t *p;
    size_t left;
} pixels;

static cairo_status_t
give_bytes(void *user, unsigned char *out, unsigned bytes)
{
    pixels *from = user;

    if (bytes > from->left) {
        return CAIRO_STATUS_READ_ERROR;
    }
    memcpy(out, from->p, bytes);
    from->p += bytes;
    from->left -= bytes;
    return CAIRO_STATUS_SUCCESS;
}

static cairo_surface_t *
read_png(const mri_bytes *b)
{
    pixels from = {b->data, b->len};
    cairo_surface_t *s =
        cairo_image_surface_create_from_png_stream(give_bytes, &from);

    assert_int_equal(cairo_surface_status(s), CAIRO_STATUS_SUCCESS);
    assert_int_equal(from.left, 0);
    assert_int_equal(cairo_image_surface_get_width(s), 1600);
    assert_int_equal(cairo_image_surface_get_height(s), 1200);
    return s;
}

static void
assert_tag(const char *name, size_t len, char open[][32], unsigned *depth)
{
    if (name[0] == '/') {
        assert_true(*depth > 0);
        --*depth;
        assert_int_equal(strlen(open[*depth]), len - 1);
        assert_memory_equal(open[*depth], name + 1, len - 1);
    } else {
        assert_true(*depth < 16 && len < 32);
        memcpy(open[*depth], name, len);
        open[(*depth)++][len] = '\0';
    }
}

/* Elements are closed in the order in which they were opened, and nothing
 * stands in attributes that ends them early. */
static void
assert_svg(const char *text)
{
    char open[16][32];
    unsigned depth = 0, elements = 0;
    const char *at = strstr(text, "<svg");

    assert_int_equal(strncmp(text, "<?xml", 5), 0);
    assert_non_null(at);
    assert_non_null(strstr(at, "viewBox=\"0 0 800 600\""));
    while ((at = strchr(at, '<')) != NULL) {
        const char *end = strchr(at, '>');

        assert_non_null(end);
        assert_null(memchr(at + 1, '<', (size_t)(end - at - 1)));
        if (end[-1] != '/') {
            assert_tag(at + 1, strcspn(at + 1, " >\n"), open, &depth);
        }
        elements++;
        at = end;
    }
    assert_int_equal(depth, 0);
    assert_true(elements > 20);
}

static void
assert_both(const mri_plot *p)
{
    mri_bytes png = {0}, svg = {0};
    mr_diag d = {0};

    assert_ok(plot_draw_png(p, &png, &d), &d);
    cairo_surface_destroy(read_png(&png));
    assert_ok(plot_draw_svg(p, &svg, &d), &d);
    assert_true(mri_bytes_add(&svg, "", 1));
    assert_svg((const char *)svg.data);
    mri_bytes_release(&png);
    mri_bytes_release(&svg);
}

static void
both_kinds_can_be_read(void **state)
{
    table *x = make_table();

    (void)state;
    for (int color = MRI_COLOR_CLASS; color <= MRI_COLOR_SPLIT; color++) {
        mri_plot *p = open_plot(x, "all", (mri_plot_color)color);

        assert_int_equal(mri_plot_rows(p), ROWS);
        assert_both(p);
        mri_plot_close(p);
    }
    mri_plot_close(NULL);
    free(x);
}

static void
each_class_has_its_colour(void **state)
{
    static const uint32_t first[] = {0x332288, 0xCC6677, 0x44AA99};
    table *x = make_table();
    mri_plot *p = open_plot(x, "all", MRI_COLOR_CLASS);
    cairo_surface_t *s;
    mri_bytes png = {0};
    mr_diag d = {0};

    (void)state;
    assert_ok(plot_draw_png(p, &png, &d), &d);
    s = read_png(&png);
    for (size_t i = 0; i < MRI_COUNT(first); i++) {
        /* 40 marks of a radius of 8.4 pixels, some one over the other */
        assert_true(count_pixels(s, first[i]) > 1500);
    }
    assert_int_equal(count_pixels(s, 0xDDCC77), 0);
    assert_true(count_pixels(s, 0xFFFFFF) > 1600 * 1200 / 2);
    cairo_surface_destroy(s);
    mri_bytes_release(&png);
    mri_plot_close(p);
    free(x);
}

static void
equal_tables_give_equal_bytes(void **state)
{
    table *x = make_table();
    mri_plot *p = open_plot(x, "all", MRI_COLOR_CLASS);
    mri_plot *q = open_plot(x, "all", MRI_COLOR_CLASS);
    mri_bytes a = {0}, b = {0};
    mr_diag d = {0};

    (void)state;
    assert_ok(plot_draw_svg(p, &a, &d), &d);
    assert_ok(plot_draw_svg(q, &b, &d), &d);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    mri_bytes_release(&a);
    mri_bytes_release(&b);
    mri_plot_close(p);
    mri_plot_close(q);
    free(x);
}

/* A circle is four curves; a line would come from where a text ended. */
static void
marks_hang_on_nothing(void **state)
{
    static const char edge[] = "stroke:rgb(100%,100%,100%)";
    table *x = make_table();
    mri_plot *p = open_plot(x, "all", MRI_COLOR_CLASS);
    mri_bytes svg = {0};
    unsigned marks = 0;
    mr_diag d = {0};

    (void)state;
    assert_ok(plot_draw_svg(p, &svg, &d), &d);
    assert_true(mri_bytes_add(&svg, "", 1));
    for (char *at = (char *)svg.data; (at = strstr(at, edge)) != NULL;) {
        char *end = strchr(at, '>');

        *end = '\0';
        assert_null(strstr(at, " L "));
        marks++;
        at = end + 1;
    }
    assert_int_equal(marks, ROWS + 3); /* and three in the legend */
    mri_bytes_release(&svg);
    mri_plot_close(p);
    free(x);
}

/* ------------------------------------------------------------------- kinds */

static void
kinds_are_named_and_counted(void **state)
{
    table *x = make_table();
    mri_plot *p;

    (void)state;
    x->label[0] = -1;
    x->classes[1] = "none"; /* a class may be called so */
    p = open_plot(x, "all", MRI_COLOR_CLASS);
    assert_int_equal(p->kind_count, 4);
    assert_string_equal(p->kinds[1].name, "none");
    assert_false(p->kinds[1].grey);
    assert_int_equal(p->kinds[0].count, ROWS / 3 - 1);
    assert_string_equal(p->kinds[3].name, "none");
    assert_true(p->kinds[3].grey);
    assert_int_equal(p->kinds[3].count, 1);
    assert_int_equal(p->kind[0], 3);
    assert_int_equal(p->kind[1], 1);
    assert_string_equal(p->legend, "class");
    mri_plot_close(p);
    free(x);
}

static void
groups_stand_in_the_order_of_their_names(void **state)
{
    table *x = make_table();
    mri_plot *p;

    (void)state;
    x->group[3] = 0;
    x->group[4] = 99; /* one whose name is not known */
    p = open_plot(x, "all", MRI_COLOR_GROUP);
    assert_int_equal(p->kind_count, 5);
    assert_string_equal(p->kinds[0].name, "?");
    assert_string_equal(p->kinds[1].name, "ada");
    assert_string_equal(p->kinds[2].name, "same");
    assert_string_equal(p->kinds[3].name, "zoe");
    assert_string_equal(p->kinds[4].name, "none");
    assert_int_equal(p->kind[0], 3);
    assert_both(p);
    mri_plot_close(p);
    free(x);
}

static void
a_split_can_be_shown_alone(void **state)
{
    table *x = make_table();
    mri_plot *p = open_plot(x, "test", MRI_COLOR_SPLIT);

    (void)state;
    assert_int_equal(mri_plot_rows(p), ROWS / 10);
    assert_int_equal(p->kind_count, 1);
    assert_string_equal(p->kinds[0].name, "test");
    assert_int_equal(p->rows[1], 10);
    assert_string_equal(p->title, "vit_tiny after 1,234 steps");
    assert_int_equal(strncmp(p->subtitle, "12 samples of test in", 21), 0);
    mri_plot_close(p);
    free(x);
}

static void
what_the_legend_has_no_room_for_is_grey(void **state)
{
    table *x = make_table();
    mri_plot *p;
    uint64_t sum = 0;

    (void)state;
    for (size_t i = 0; i < ROWS; i++) { /* the first class is the rarest */
        x->label[i] = i < 1 ? 0 : (int32_t)(1 + i % (CLASSES - 1));
    }
    p = open_plot(x, "all", MRI_COLOR_CLASS);
    assert_int_equal(p->kind_count, PLOT_KINDS + 1);
    assert_string_equal(p->kinds[0].name, "class 1");
    assert_string_equal(p->kinds[PLOT_KINDS].name, "16 others");
    assert_true(p->kinds[PLOT_KINDS].grey);
    assert_int_equal(p->kind[0], PLOT_KINDS);
    for (uint32_t i = 0; i < p->kind_count; i++) {
        sum += p->kinds[i].count;
    }
    assert_int_equal(sum, ROWS);
    assert_both(p);
    mri_plot_close(p);
    free(x);
}

/* -------------------------------------------------------------- odd inputs */

static void
any_name_can_be_drawn(void **state)
{
    static const char *const odd[] = {
        "<script>alert(1)</script>", "a & b; \"c\" 'd' ]]>", "",
        "line\nbreak\ttab\x01\x7F",
        "a name that is far longer than any legend has room for, and then"};
    table *x = make_table();

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(odd); i++) {
        mri_plot *p;

        x->classes[1] = odd[i];
        x->t.from.arch = odd[i];
        p = open_plot(x, "all", MRI_COLOR_CLASS);
        assert_both(p);
        mri_plot_close(p);
    }
    free(x);
}

/* Names are cut between characters. */
static void
long_names_are_cut_where_a_character_ends(void **state)
{
    char name[100];
    table *x = make_table();

    (void)state;
    x->classes[0] = name;
    for (size_t shift = 0; shift < 3; shift++) {
        mri_plot *p;
        const char *got;
        size_t n;

        memset(name, 'x', shift);
        name[shift] = '\0';
        while (strlen(name) < 90) {
            strcat(name, "\xE2\x82\xAC");
        }
        p = open_plot(x, "all", MRI_COLOR_CLASS);
        got = p->kinds[0].name;
        n = strlen(got);
        assert_true(n < sizeof p->kinds[0].name);
        assert_int_equal((n - shift) % 3, 0);
        assert_string_equal(got + n - 3, "\xE2\x80\xA6");
        assert_memory_equal(got, name, n - 3);
        mri_plot_close(p);
    }
    free(x);
}

/* All marks in one place: the last lies on top, in the middle of the field,
 * as large as the one in the legend. */
static void
equal_rows_can_be_drawn(void **state)
{
    table *x = make_table();
    cairo_surface_t *s;
    mri_bytes png = {0};
    mr_diag d = {0};
    mri_plot *p;

    (void)state;
    for (size_t i = 0; i < ROWS * DIM; i++) {
        x->features[i] = (float)(1 + i % DIM);
    }
    p = open_plot(x, "all", MRI_COLOR_CLASS);
    assert_true(mri_plot_pca(p)->share[0] == 0);
    assert_both(p);
    assert_ok(plot_draw_png(p, &png, &d), &d);
    s = read_png(&png);
    assert_true(2 * count_pixels(s, 0x44AA99) > 3 * count_pixels(s, 0x332288));
    cairo_surface_destroy(s);
    mri_bytes_release(&png);
    mri_plot_close(p);
    memset(x->features, 0, sizeof x->features);
    p = open_plot(x, "all", MRI_COLOR_CLASS);
    assert_both(p);
    mri_plot_close(p);
    free(x);
}

static void
two_rows_of_one_feature_can_be_drawn(void **state)
{
    table *x = make_table();
    mri_plot *p;

    (void)state;
    x->t.rows = 2;
    x->t.dim = 1;
    x->features[0] = 3;
    x->features[1] = -2;
    p = open_plot(x, "all", MRI_COLOR_CLASS);
    assert_true(mri_plot_pca(p)->share[0] == 1);
    assert_true(mri_plot_pca(p)->share[1] == 0);
    assert_both(p);
    mri_plot_close(p);
    free(x);
}

static void
fewer_rows_are_refused(void **state)
{
    static const struct {
        uint64_t rows;
        const char *split;
        mr_err err;
        mri_code code;
    } cases[] = {{0, "all", MR_EFORMAT, MRI_E_EVAL_EMPTY},
                 {1, "all", MR_EFORMAT, MRI_E_EVAL_EMPTY},
                 {10, "test", MR_EFORMAT, MRI_E_EVAL_EMPTY},
                 {ROWS, "empty", MR_EFORMAT, MRI_E_EVAL_EMPTY},
                 {ROWS, "val", MR_EARG, MRI_E_SPLIT}};
    table *x = make_table();

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        const mri_plot_options o = {cases[i].split, MRI_COLOR_CLASS, 1};
        mri_plot *p;
        mr_diag d = {0};

        x->t.rows = cases[i].rows;
        assert_fails(mri_plot_open(&p, &x->t, &o, &d), cases[i].err);
        assert_int_equal(d.code, cases[i].code);
        assert_null(p);
    }
    free(x);
}

static void
steps_are_one_two_or_five(void **state)
{
    (void)state;
    for (double span = 1e-9; span < 1e9; span *= 1.0371) {
        double step = plot_step(span), power = pow(10, floor(log10(step)));
        double digit = step / power;

        assert_true(span / step >= 3.3 && span / step <= 10);
        digit = digit > 9.99 ? digit / 10 : digit;
        assert_true(fabs(digit - 1) < 1e-9 || fabs(digit - 2) < 1e-9 ||
                    fabs(digit - 5) < 1e-9);
    }
}

/* ------------------------------------------------------------------- files */

static void
files_are_whole_or_not_there(void **state)
{
    char *dir = scratch_make();
    table *x = make_table();
    mri_plot *p = open_plot(x, "all", MRI_COLOR_CLASS);
    mr_err err = MR_EIO;
    mri_bytes b = {0};
    mr_diag d = {0};

    (void)state;
    for (uint64_t n = 0; err != MR_OK; n++) {
        faulty_arm(FAULTY_ANY & ~FAULTY_UNLINK, n, ENOSPC, true);
        err = mri_plot_write(p, scratch_path(dir, "a.PNG"), &d);
        (void)faulty_disarm();
        assert_true(err == MR_OK || err == MR_EIO);
        assert_true(scratch_entries(dir) <= 1);
    }
    assert_ok(mri_file_load(scratch_path(dir, "a.PNG"), 1 << 24, &b, &d), &d);
    cairo_surface_destroy(read_png(&b));
    mri_bytes_release(&b);
    assert_ok(mri_plot_write(p, scratch_path(dir, "a.svg"), &d), &d);
    assert_fails(mri_plot_write(p, scratch_path(dir, "no/a.svg"), &d), MR_EIO);
    d = (mr_diag){0};
    assert_fails(mri_plot_write(p, scratch_path(dir, "a.gif"), &d), MR_EARG);
    assert_non_null(strstr(d.path, "a.gif"));
    assert_true(mri_plot_can("a.SVG") && !mri_plot_can(".png"));
    assert_int_equal(scratch_entries(dir), 2);
    mri_plot_close(p);
    free(x);
    scratch_remove(dir);
}

static void
memory_that_is_out_is_said(void **state)
{
    const mri_plot_options o = {"all", MRI_COLOR_GROUP, 1};
    table *x = make_table();
    mr_err err = MR_ENOMEM;
    mr_diag d = {0};

    (void)state;
    for (int64_t n = 0; err != MR_OK; n++) {
        mri_bytes out = {0};
        mri_plot *p;

        (void)mri_alloc_fail_at(n);
        err = mri_plot_open(&p, &x->t, &o, &d);
        if (err == MR_OK) {
            err = plot_draw_png(p, &out, &d);
        }
        if (err == MR_OK) {
            err = plot_draw_svg(p, &out, &d);
        }
        (void)mri_alloc_fail_at(-1);
        assert_true(err == MR_OK || err == MR_ENOMEM);
        mri_bytes_release(&out);
        mri_plot_close(p);
    }
    free(x);
}

/* What fontconfig keeps for good, and has no door to free behind cairo. The
 * sanitizer of gcc is a library: it must see the name. */
__attribute__((visibility("default"))) const char *
__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
    return "leak:libfontconfig";
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_kinds_can_be_read),
        cmocka_unit_test(each_class_has_its_colour),
        cmocka_unit_test(equal_tables_give_equal_bytes),
        cmocka_unit_test(marks_hang_on_nothing),
        cmocka_unit_test(kinds_are_named_and_counted),
        cmocka_unit_test(groups_stand_in_the_order_of_their_names),
        cmocka_unit_test(a_split_can_be_shown_alone),
        cmocka_unit_test(what_the_legend_has_no_room_for_is_grey),
        cmocka_unit_test(any_name_can_be_drawn),
        cmocka_unit_test(long_names_are_cut_where_a_character_ends),
        cmocka_unit_test(equal_rows_can_be_drawn),
        cmocka_unit_test(two_rows_of_one_feature_can_be_drawn),
        cmocka_unit_test(fewer_rows_are_refused),
        cmocka_unit_test(steps_are_one_two_or_five),
        cmocka_unit_test(files_are_whole_or_not_there),
        cmocka_unit_test(memory_that_is_out_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
