/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plot_draw.c - draw a plot by cairo, as PNG or SVG from one drawing code.
 *
 * Lengths are points of a page of 800 by 600; a PNG has twice as many pixels.
 */
#include "plot_types.h"

#include <mri/error.h>

#include <cairo-svg.h>
#include <cairo.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 800
#define HEIGHT 600
#define SCALE 2 /* pixels of a point */
#define LEFT 72
#define TOP 76
#define BOTTOM 62
#define LEGEND_LINE 18
#define LEGEND_TEXT 150 /* widest */
#define PI 3.14159265358979323846

/*
 * Nine colours that stay apart for the colour-blind, and grey for what has
 * none; beyond nine the shape of the marks changes.
 * source  Paul Tol, Colour Schemes, SRON/EPS/TN/09-002: "muted"
 */
static const uint32_t colors[] = {0x332288, 0xCC6677, 0x44AA99,
                                  0xDDCC77, 0x882255, 0x88CCEE,
                                  0x117733, 0xAA4499, 0x999933};
#define GREY 0xBBBBBB
#define INK 0x222222
#define FAINT 0x777777
#define GRID 0xE6E6E6

typedef struct frame {
    cairo_t *cr;
    const mri_plot *p;
    double right, bottom;   /* of the field of points */
    double low[2], high[2]; /* what it shows */
    double radius, alpha;
} frame;

static void
set_color(cairo_t *cr, uint32_t rgb, double alpha)
{
    cairo_set_source_rgba(cr, (rgb >> 16) / 255.0, (rgb >> 8 & 255) / 255.0,
                          (rgb & 255) / 255.0, alpha);
}

static void
set_font(cairo_t *cr, double size, bool bold)
{
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD
                                : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, size);
}

/* At (x, y), to the right of x by `shift` of the text's width. */
static void
put_text(cairo_t *cr, const char *text, double x, double y, double shift)
{
    cairo_text_extents_t e;

    cairo_text_extents(cr, text, &e);
    cairo_move_to(cr, x - e.x_advance * shift, y);
    cairo_show_text(cr, text);
}

/* ------------------------------------------------------------------- scale */

double
plot_step(double span)
{
    double power = pow(10, floor(log10(span / 5)));
    double rest = span / 5 / power;

    return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

/* Where both axes begin and end: all points, and a little room. */
static void
find_range(frame *f)
{
    for (int k = 0; k < 2; k++) {
        double low = INFINITY, high = -INFINITY, room;

        for (uint64_t i = 0; i < f->p->count; i++) {
            low = fmin(low, f->p->pca.at[2 * i + (size_t)k]);
            high = fmax(high, f->p->pca.at[2 * i + (size_t)k]);
        }
        room = high - low > 1e-9 ? 0.04 * (high - low) : 1;
        f->low[k] = low - room;
        f->high[k] = high + room;
    }
}

static double
place_x(const frame *f, double v)
{
    return LEFT +
           (v - f->low[0]) / (f->high[0] - f->low[0]) * (f->right - LEFT);
}

static double
place_y(const frame *f, double v)
{
    return f->bottom -
           (v - f->low[1]) / (f->high[1] - f->low[1]) * (f->bottom - TOP);
}

/* ------------------------------------------------------------------- marks */

/* Shapes of about equal area. */
static void
trace_mark(cairo_t *cr, unsigned shape, double x, double y, double r)
{
    cairo_new_path(cr); /* a text leaves a point from which a line would go */
    switch (shape % 4) {
    case 0:
        cairo_arc(cr, x, y, r, 0, 2 * PI);
        return;
    case 1:
        cairo_move_to(cr, x, y - 1.35 * r);
        cairo_line_to(cr, x + 1.2 * r, y + 0.75 * r);
        cairo_line_to(cr, x - 1.2 * r, y + 0.75 * r);
        break;
    case 2:
        cairo_rectangle(cr, x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r);
        return;
    case 3:
        cairo_move_to(cr, x, y - 1.3 * r);
        cairo_line_to(cr, x + 1.3 * r, y);
        cairo_line_to(cr, x, y + 1.3 * r);
        cairo_line_to(cr, x - 1.3 * r, y);
        break;
    }
    cairo_close_path(cr);
}

static void
draw_mark(const frame *f, unsigned kind, const double at[2], double radius,
          double alpha)
{
    bool grey = f->p->kinds[kind].grey;
    size_t n = MRI_COUNT(colors);

    trace_mark(f->cr, grey ? 0 : (unsigned)(kind / n), at[0], at[1], radius);
    set_color(f->cr, grey ? GREY : colors[kind % n], alpha);
    if (radius < 1.8) { /* an edge would be all there is */
        cairo_fill(f->cr);
        return;
    }
    cairo_fill_preserve(f->cr);
    set_color(f->cr, 0xFFFFFF, 0.9);
    cairo_set_line_width(f->cr, 0.14 * radius);
    cairo_stroke(f->cr);
}

static void
draw_points(frame *f)
{
    double crowd = sqrt((double)f->p->count);

    f->radius = fmin(fmax(130 / crowd, 0.9), 4.2);
    f->alpha = fmin(fmax(60 / crowd, 0.35), 0.88);
    for (uint64_t i = 0; i < f->p->count; i++) {
        const double *v = f->p->pca.at + 2 * i;
        const double at[2] = {place_x(f, v[0]), place_y(f, v[1])};

        draw_mark(f, f->p->kind[i], at, f->radius, f->alpha);
    }
}

/* ------------------------------------------------------------------- around */

static void
tick_text(char *out, size_t bytes, double v, double step)
{
    int digits = step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;

    (void)snprintf(out, bytes, "%.*f", digits, fabs(v) < step / 2 ? 0.0 : v);
    if (out[0] == '-') { /* the sign of numbers, not the hyphen */
        char rest[32];

        (void)snprintf(rest, sizeof rest, "%.28s", out + 1);
        (void)snprintf(out, bytes, "\xE2\x88\x92%s", rest);
    }
}

static void
draw_line(cairo_t *cr, const double from[2], const double to[2])
{
    cairo_move_to(cr, from[0], from[1]);
    cairo_line_to(cr, to[0], to[1]);
    cairo_stroke(cr);
}

static void
draw_ticks(const frame *f, int k)
{
    double step = plot_step(f->high[k] - f->low[k]);
    char text[40];

    for (double i = ceil(f->low[k] / step); i * step <= f->high[k]; i++) {
        double at = k == 0 ? place_x(f, i * step) : place_y(f, i * step);
        const double from[2] = {k == 0 ? at : LEFT, k == 0 ? TOP : at};
        const double to[2] = {k == 0 ? at : f->right, k == 0 ? f->bottom : at};

        set_color(f->cr, GRID, 1);
        cairo_set_line_width(f->cr, 0.8);
        draw_line(f->cr, from, to);
        tick_text(text, sizeof text, i * step, step);
        set_color(f->cr, FAINT, 1);
        set_font(f->cr, 10.5, false);
        put_text(f->cr, text, k == 0 ? at : LEFT - 8,
                 k == 0 ? f->bottom + 16 : at + 3.8, k == 0 ? 0.5 : 1);
    }
}

static void
draw_axes(const frame *f)
{
    char text[80];

    draw_ticks(f, 0);
    draw_ticks(f, 1);
    set_font(f->cr, 12, false);
    set_color(f->cr, INK, 1);
    (void)snprintf(text, sizeof text, "component 1: %.1f %% of the variance",
                   100 * f->p->pca.share[0]);
    put_text(f->cr, text, (LEFT + f->right) / 2, f->bottom + 42, 0.5);
    (void)snprintf(text, sizeof text, "component 2: %.1f %%",
                   100 * f->p->pca.share[1]);
    cairo_save(f->cr);
    cairo_translate(f->cr, 22, (TOP + f->bottom) / 2);
    cairo_rotate(f->cr, -PI / 2);
    put_text(f->cr, text, 0, 0, 0.5);
    cairo_restore(f->cr);
}

static void
draw_title(const frame *f)
{
    set_color(f->cr, INK, 1);
    set_font(f->cr, 17, true);
    put_text(f->cr, f->p->title, LEFT, 34, 0);
    set_color(f->cr, FAINT, 1);
    set_font(f->cr, 11.5, false);
    put_text(f->cr, f->p->subtitle, LEFT, 55, 0);
}

/* How wide the names are, and the counts in a column after them. */
static double
legend_width(const frame *f, double *names)
{
    double counts = 0;
    char text[32];

    *names = 0;
    set_font(f->cr, 11.5, false);
    for (uint32_t i = 0; i < f->p->kind_count; i++) {
        cairo_text_extents_t e;

        cairo_text_extents(f->cr, f->p->kinds[i].name, &e);
        *names = fmax(*names, fmin(e.x_advance, LEGEND_TEXT));
        (void)snprintf(text, sizeof text, "%" PRIu64, f->p->kinds[i].count);
        cairo_text_extents(f->cr, text, &e);
        counts = fmax(counts, e.x_advance);
    }
    return 20 + *names + 12 + counts;
}

static void
draw_entry(const frame *f, uint32_t kind, double x, double y, double names)
{
    const double at[2] = {x + 6, y - 4};
    char text[32];

    draw_mark(f, kind, at, 4.4, 1);
    set_font(f->cr, 11.5, false);
    set_color(f->cr, INK, 1);
    cairo_save(f->cr);
    cairo_rectangle(f->cr, x + 20, y - LEGEND_LINE, names + 2, 2 * LEGEND_LINE);
    cairo_clip(f->cr);
    put_text(f->cr, f->p->kinds[kind].name, x + 20, y, 0);
    cairo_restore(f->cr);
    set_color(f->cr, FAINT, 1);
    (void)snprintf(text, sizeof text, "%" PRIu64, f->p->kinds[kind].count);
    put_text(f->cr, text, WIDTH - 20, y, 1);
}

static void
draw_all(cairo_t *cr, const mri_plot *p)
{
    frame f = {.cr = cr, .p = p, .bottom = HEIGHT - BOTTOM};
    double names, x;

    set_color(cr, 0xFFFFFF, 1);
    cairo_paint(cr);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    x = WIDTH - 20 - legend_width(&f, &names);
    f.right = x - 26;
    find_range(&f);
    draw_title(&f);
    draw_axes(&f);
    draw_points(&f);
    set_font(cr, 11.5, true);
    set_color(cr, INK, 1);
    put_text(cr, p->legend, x, TOP + 10, 0);
    for (uint32_t i = 0; i < p->kind_count; i++) {
        draw_entry(&f, i, x, TOP + 10 + LEGEND_LINE * (i + 1.2), names);
    }
}

/* ----------------------------------------------------------------- surfaces */

static cairo_status_t
add_bytes(void *user, const unsigned char *p, unsigned int bytes)
{
    return mri_bytes_add(user, p, bytes) ? CAIRO_STATUS_SUCCESS
                                         : CAIRO_STATUS_NO_MEMORY;
}

/* Letters are placed by their own shape alone, not by the grid of pixels, so
 * that both kinds of file look alike. */
static void
plain_letters(cairo_t *cr)
{
    cairo_font_options_t *o = cairo_font_options_create();

    cairo_font_options_set_antialias(o, CAIRO_ANTIALIAS_GRAY);
    cairo_font_options_set_hint_style(o, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(o, CAIRO_HINT_METRICS_OFF);
    cairo_set_font_options(cr, o);
    cairo_font_options_destroy(o);
}

static mr_err
drawn(cairo_t *cr, cairo_surface_t *surface, mr_diag *diag)
{
    cairo_status_t s = cairo_status(cr);

    cairo_destroy(cr);
    cairo_surface_finish(surface);
    s = s == CAIRO_STATUS_SUCCESS ? cairo_surface_status(surface) : s;
    return s == CAIRO_STATUS_SUCCESS
               ? MR_OK
               : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                          "the picture cannot be drawn: %s",
                          cairo_status_to_string(s));
}

mr_err
plot_draw_png(const mri_plot *p, mri_bytes *out, mr_diag *diag)
{
    cairo_surface_t *surface = cairo_image_surface_create(
        CAIRO_FORMAT_RGB24, WIDTH * SCALE, HEIGHT * SCALE);
    cairo_t *cr = cairo_create(surface);
    cairo_status_t s;
    mr_err err;

    cairo_scale(cr, SCALE, SCALE);
    plain_letters(cr);
    draw_all(cr, p);
    s = cairo_status(cr) == CAIRO_STATUS_SUCCESS
            ? cairo_surface_write_to_png_stream(surface, add_bytes, out)
            : CAIRO_STATUS_SUCCESS;
    err = drawn(cr, surface, diag);
    cairo_surface_destroy(surface);
    if (err == MR_OK && s != CAIRO_STATUS_SUCCESS) {
        err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                       "the picture cannot be written: %s",
                       cairo_status_to_string(s));
    }
    return err;
}

/* cairo counts the surfaces that a process made and writes the number, which
 * nothing refers to, into the file. */
static void
drop_number(mri_bytes *b)
{
    static const char mark[] = " id=\"surface";
    uint8_t *at, *end;

    at = b->len == 0 ? NULL : memmem(b->data, b->len, mark, sizeof mark - 1);
    if (at == NULL) {
        return;
    }
    end = memchr(at + sizeof mark - 1, '"',
                 (size_t)(b->data + b->len - at) - (sizeof mark - 1));
    if (end != NULL) {
        memmove(at, end + 1, (size_t)(b->data + b->len - end) - 1);
        b->len -= (size_t)(end + 1 - at);
    }
}

mr_err
plot_draw_svg(const mri_plot *p, mri_bytes *out, mr_diag *diag)
{
    cairo_surface_t *surface =
        cairo_svg_surface_create_for_stream(add_bytes, out, WIDTH, HEIGHT);
    cairo_t *cr = cairo_create(surface);
    mr_err err;

    plain_letters(cr);
    draw_all(cr, p);
    err = drawn(cr, surface, diag);
    cairo_surface_destroy(surface);
    drop_number(out);
    return err;
}
