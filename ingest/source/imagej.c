/* SPDX-License-Identifier: Apache-2.0 */
/*
 * imagej.c - what the texts of ImageJ ("key=value" lines) and of tifffile
 * (one line of JSON) say about the pages of their TIFF.
 */
#include "tiff_layout.h"

#include "decoder.h"

#include <mri/alloc.h>

#include <inttypes.h>
#include <string.h>

bool
tiff_contiguous(const tiff_file *f, const tiff_page *page, uint64_t images)
{
    uint64_t at, bytes;

    if (page->compression != 1 || page->photometric == 3 || page->tiled ||
        tiff_pieces(page) != 1 || page->bits % 8 != 0 ||
        page->fill_order != 1 ||
        !mri_mul(tiff_page_bytes(page), images, &bytes)) {
        return false;
    }
    at = tiff_value(f, &page->offsets, 0);
    return at <= f->len && bytes <= f->len - at &&
           (page->at < at || page->at >= at + bytes);
}

/* One stack for the plan; it is moved there. */
static mr_err
set_plan(tiff_plan *plan, const tiff_stack *stack, mr_diag *diag)
{
    plan->stacks = mri_alloc(1, sizeof *plan->stacks);
    if (plan->stacks == NULL) {
        return source_no_memory(diag);
    }
    plan->stacks[0] = *stack;
    plan->count = 1;
    return MR_OK;
}

/* One directory stands for `images` images, if their data are there. */
static mr_err
one_for_all(tiff_stack *stack, uint64_t images, const tiff_file *f,
            const tiff_page *pages, mr_diag *diag)
{
    if (!tiff_contiguous(f, &pages[0], images)) {
        return mri_fail(diag, MRI_E_TIFF_SHORT, pages[0].at,
                        "its text names %" PRIu64 " images, but there is one "
                        "directory and not the data of more",
                        images);
    }
    stack->contiguous = images > 1;
    stack->count = images;
    return MR_OK;
}

static bool
all_alike(const tiff_page *pages, uint64_t count)
{
    for (uint64_t i = 1; i < count; i++) {
        if (!tiff_alike(&pages[0], &pages[i])) {
            return false;
        }
    }
    return true;
}

/* The value behind "\nkey=". */
static span
line_value(span text, const char *key)
{
    size_t n = strlen(key);

    for (span s = span_find(text, key); s.len > n;
         s = span_find((span){s.p + 1, s.len - 1}, key)) {
        const char *end;

        if (s.p[n] != '=' || (s.p != text.p && s.p[-1] != '\n')) {
            continue;
        }
        s.p += n + 1;
        s.len -= n + 1;
        end = s.len != 0 ? memchr(s.p, '\n', s.len) : NULL;
        s.len = end != NULL ? (size_t)(end - s.p) : s.len;
        if (s.len != 0 && s.p[s.len - 1] == '\r') {
            s.len--;
        }
        return s;
    }
    return (span){text.p, 0};
}

static uint64_t
line_number(span text, const char *key)
{
    uint64_t v;

    return span_u64(line_value(text, key), &v) && v != 0 ? v : 1;
}

static void
imagej_sizes(tiff_stack *stack, span text, const tiff_file *f,
             const tiff_page *page)
{
    span unit = line_value(text, "unit");
    double x = tiff_rational(f, &page->x_resolution);
    double y = tiff_rational(f, &page->y_resolution);

    stack->t = span_f64(line_value(text, "finterval"));
    if (unit.len == 0) {
        return; /* pixels */
    }
    stack->x = x > 0 ? span_mm(1 / x, unit) : 0;
    stack->y = y > 0 ? span_mm(1 / y, unit) : 0;
    stack->z = span_mm(span_f64(line_value(text, "spacing")), unit);
}

mr_err
imagej_plan(tiff_plan *plan, span text, const tiff_file *f,
            const tiff_page *pages, uint64_t count, mr_diag *diag)
{
    uint64_t c = line_number(text, "channels"), images;
    uint64_t z = line_number(text, "slices");
    uint64_t t = line_number(text, "frames");
    tiff_stack stack = {.count = count};
    mr_err err = MR_OK;

    if (!mri_mul(c, z, &images) || !mri_mul(images, t, &images)) {
        return MR_OK;
    }
    if (images == 1) { /* a plain stack says how many, but not of what */
        images = line_number(text, "images");
        z = images;
    }
    if (pages[0].samples == c && c > 1 && images / c == count) {
        images = count; /* its samples are the channels */
        c = 1;
    }
    if (!all_alike(pages, count)) {
        return MR_OK;
    }
    if (count == 1 && images > 1) {
        err = one_for_all(&stack, images, f, pages, diag);
    } else if (images != count) {
        return MR_OK;
    }
    if (err != MR_OK) {
        return err;
    }
    (void)tiff_stack_axis(&stack, 'T', t);
    (void)tiff_stack_axis(&stack, 'Z', z);
    (void)tiff_stack_axis(&stack, 'C', c);
    imagej_sizes(&stack, text, f, &pages[0]);
    return set_plan(plan, &stack, diag);
}

/* "shape": [2, 3, 64, 64] */
static uint32_t
json_shape(span text, uint64_t shape[MR_MAX_RANK])
{
    span s = span_find(text, "\"shape\"");
    uint32_t rank = 0;

    s = span_find(s, "[");
    while (s.len > 1 && rank < MR_MAX_RANK) {
        span digits;
        size_t n = 0;

        s = (span){s.p + 1, s.len - 1}; /* '[' or ',' */
        while (s.len != 0 && s.p[0] == ' ') {
            s = (span){s.p + 1, s.len - 1};
        }
        while (n < s.len && s.p[n] >= '0' && s.p[n] <= '9') {
            n++;
        }
        digits = (span){s.p, n};
        s = (span){s.p + n, s.len - n};
        if (!span_u64(digits, &shape[rank++]) || s.len == 0) {
            return 0;
        }
        if (s.p[0] == ']') {
            return rank;
        }
        if (s.p[0] != ',') {
            return 0;
        }
    }
    return 0;
}

/* "axes": "TZYX" */
static span
json_axes(span text)
{
    span s = span_find(text, "\"axes\": \"");
    const char *end;

    if (s.len <= 9) {
        return (span){text.p, 0};
    }
    s = (span){s.p + 9, s.len - 9};
    end = memchr(s.p, '"', s.len);
    return (span){s.p, end != NULL ? (size_t)(end - s.p) : 0};
}

/* The axes in front of the page's own, if they have names of their own. */
static bool
lead_axes(tiff_stack *stack, const char *axes, const uint64_t *shape,
          uint32_t rank)
{
    for (uint32_t i = 0; i < rank; i++) {
        char letter = axes[i];

        if (letter < 'A' || letter > 'Z' || letter == 'Y' || letter == 'X' ||
            letter == 'R' || memchr(axes, letter, i) != NULL ||
            !tiff_stack_axis(stack, letter, shape[i])) {
            return false;
        }
    }
    return true;
}

mr_err
shaped_plan(tiff_plan *plan, span text, const tiff_file *f,
            const tiff_page *pages, uint64_t count, mr_diag *diag)
{
    uint64_t shape[MR_MAX_RANK], images = 1;
    uint32_t rank = json_shape(text, shape);
    uint32_t own = pages[0].samples > 1 ? 3 : 2;
    uint32_t y = pages[0].planes > 1 ? 1 : 0;
    span axes = json_axes(text);
    tiff_stack stack = {.count = count};
    mr_err err = MR_OK;

    if (rank <= own || rank - own > 6 || !all_alike(pages, count)) {
        return MR_OK;
    }
    rank -= own;
    for (uint32_t i = 0; i < rank; i++) {
        if (shape[i] == 0 || !mri_mul(images, shape[i], &images)) {
            return MR_OK;
        }
    }
    if (shape[rank + y] != pages[0].height ||
        shape[rank + y + 1] != pages[0].width) {
        return MR_OK;
    }
    if (count == 1 && images > 1) {
        err = one_for_all(&stack, images, f, pages, diag);
    } else if (images != count) {
        return MR_OK;
    }
    if (err != MR_OK) {
        return err;
    }
    if (axes.len != rank + own || !lead_axes(&stack, axes.p, shape, rank)) {
        /* No names: Z, and in front of it letters that mean nothing. */
        stack.rank = 0;
        memset(stack.axes, 0, sizeof stack.axes);
        if (!lead_axes(&stack, &"MNOPQZ"[6 - rank], shape, rank)) {
            return MR_OK;
        }
    }
    return set_plan(plan, &stack, diag);
}
