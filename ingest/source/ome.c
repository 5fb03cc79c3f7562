/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ome.c - what an OME-XML description says about the pages of its TIFF.
 *
 * Only Image, Pixels, Channel and TiffData are looked at, by a scanner for
 * elements and attributes that never leaves the text; nothing is expanded. A
 * text that does not fit the pages is not followed.
 */
#include "tiff_layout.h"

#include "decoder.h"

#include <mri/alloc.h>

#include <string.h>

#define NO_PAGE UINT32_MAX
#define MAX_CHANNELS 4096

/* A tag: its name without prefix, and what stands between name and '>'. */
typedef struct element {
    span name, attributes;
    bool closing; /* </name> */
    bool empty;   /* <name/> */
} element;

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Drop the first n bytes. */
static void
skip(span *s, size_t n)
{
    n = n < s->len ? n : s->len;
    s->p += n;
    s->len -= n;
}

/* The '>' that ends a tag, quotes respected; s->len if there is none. */
static size_t
tag_end(const span *s)
{
    char quote = 0;

    for (size_t i = 0; i < s->len; i++) {
        char c = s->p[i];

        if (quote != 0) {
            quote = c == quote ? 0 : quote;
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '>') {
            return i;
        }
    }
    return s->len;
}

/* What stands between '<' and '>'. */
static element
parse_tag(span inner)
{
    element e = {0};
    size_t n = 0;

    e.closing = inner.len != 0 && inner.p[0] == '/';
    e.empty = inner.len != 0 && inner.p[inner.len - 1] == '/';
    skip(&inner, e.closing);
    while (n < inner.len && !is_space(inner.p[n]) && inner.p[n] != '/') {
        n++;
    }
    e.name = (span){inner.p, n};
    e.attributes = (span){inner.p + n, inner.len - n};
    for (size_t i = 0; i < n; i++) {
        if (inner.p[i] == ':') { /* a prefix says nothing here */
            e.name = (span){inner.p + i + 1, n - i - 1};
        }
    }
    return e;
}

/* The next tag of the text; comments and declarations are stepped over. */
static bool
next_element(span *text, element *e)
{
    for (;;) {
        size_t end;
        char first;

        *text = span_find(*text, "<");
        if (text->len < 2) {
            return false;
        }
        if (text->len >= 4 && memcmp(text->p, "<!--", 4) == 0) {
            *text = span_find(*text, "-->");
            continue;
        }
        end = tag_end(text);
        if (end == text->len) {
            return false;
        }
        first = text->p[1];
        *e = parse_tag((span){text->p + 1, end - 1});
        skip(text, end + 1);
        if (first != '?' && first != '!') {
            return true;
        }
    }
}

/* The value of an attribute; len 0 if there is none. */
static span
attribute(const element *e, const char *name)
{
    span s = e->attributes;

    while (s.len != 0) {
        span key, value;
        size_t n = 0;

        while (s.len != 0 && (is_space(s.p[0]) || s.p[0] == '/')) {
            skip(&s, 1);
        }
        while (n < s.len && s.p[n] != '=' && !is_space(s.p[n])) {
            n++;
        }
        key = (span){s.p, n};
        skip(&s, n);
        while (s.len != 0 && (is_space(s.p[0]) || s.p[0] == '=')) {
            skip(&s, 1);
        }
        if (s.len == 0 || (s.p[0] != '"' && s.p[0] != '\'')) {
            break;
        }
        n = 1;
        while (n < s.len && s.p[n] != s.p[0]) {
            n++;
        }
        value = (span){s.p + 1, n - 1};
        skip(&s, n + 1);
        if (span_is(key, name)) {
            return value;
        }
    }
    return (span){s.p, 0};
}

static uint64_t
number(const element *e, const char *name, uint64_t fallback)
{
    uint64_t v;

    return span_u64(attribute(e, name), &v) ? v : fallback;
}

/* Millimetres of a length, 0 if its unit is none of length. */
static double
length_mm(const element *e, const char *name, const char *unit_name)
{
    return span_mm(span_f64(attribute(e, name)), attribute(e, unit_name));
}

/* Between Pixels and /Pixels. */
typedef struct reading {
    tiff_plan *plan;
    const tiff_page *pages;
    uint64_t page_count;
    tiff_stack stack;
    char order[5]; /* as XYZCT: the page axes fastest first, in upper case */
    uint64_t size_z, size_c, size_t_;
    uint64_t samples;   /* per pixel of a channel; 0: not told yet */
    uint64_t next_page; /* for texts without TiffData */
    bool *used;         /* [page_count]: no page belongs to two planes, as it
                         * would seem to in a set of several files */
    bool told;          /* there was a TiffData */
    bool fits;
} reading;

static uint64_t
size_of(const reading *r, char axis)
{
    return axis == 'Z' ? r->size_z : axis == 'T' ? r->size_t_ : r->size_c;
}

/* Planes of the image: pages that it needs. */
static bool
plane_count(const reading *r, uint64_t *planes)
{
    return mri_mul(r->size_z, r->size_c, planes) &&
           mri_mul(*planes, r->size_t_, planes);
}

static bool
known_order(span order)
{
    static const char *const orders[] = {"XYZCT", "XYZTC", "XYCTZ",
                                         "XYCZT", "XYTCZ", "XYTZC"};

    for (size_t i = 0; i < MRI_COUNT(orders); i++) {
        if (span_is(order, orders[i])) {
            return true;
        }
    }
    return false;
}

static void
begin_pixels(reading *r, const element *e)
{
    span order = attribute(e, "DimensionOrder");

    tiff_stack_release(&r->stack);
    r->fits = r->fits && known_order(order);
    if (!r->fits) {
        return;
    }
    memcpy(r->order, order.p, sizeof r->order);
    r->size_z = number(e, "SizeZ", 0);
    r->size_c = number(e, "SizeC", 0);
    r->size_t_ = number(e, "SizeT", 0);
    r->samples = 0;
    r->told = false;
    r->stack.x = length_mm(e, "PhysicalSizeX", "PhysicalSizeXUnit");
    r->stack.y = length_mm(e, "PhysicalSizeY", "PhysicalSizeYUnit");
    r->stack.z = length_mm(e, "PhysicalSizeZ", "PhysicalSizeZUnit");
    if (attribute(e, "TimeIncrementUnit").len == 0 ||
        span_is(attribute(e, "TimeIncrementUnit"), "s")) {
        r->stack.t = span_f64(attribute(e, "TimeIncrement"));
    }
    r->fits = r->size_z != 0 && r->size_c != 0 && r->size_t_ != 0;
}

static mr_err
add_channel(reading *r, const element *e, mr_diag *diag)
{
    tiff_stack *s = &r->stack;
    uint64_t samples = number(e, "SamplesPerPixel", 1);
    char **grown;

    if (r->samples == 0) {
        r->samples = samples;
    }
    if (r->samples != samples || samples == 0 || r->told ||
        s->channel_count == MAX_CHANNELS) {
        r->fits = false;
        return MR_OK;
    }
    grown = mri_resize(s->channels, s->channel_count + 1u, sizeof *grown);
    if (grown == NULL) {
        return source_no_memory(diag);
    }
    s->channels = grown;
    grown[s->channel_count] = span_copy(attribute(e, "Name"));
    if (grown[s->channel_count] == NULL) {
        return source_no_memory(diag);
    }
    s->channel_count++;
    return MR_OK;
}

/* After the channels: how many pages the image takes, none of them found. */
static mr_err
begin_map(reading *r, mr_diag *diag)
{
    uint64_t planes;

    if (r->stack.map != NULL || !r->fits) {
        return MR_OK;
    }
    if (r->samples > 1) {
        r->fits = r->size_c % r->samples == 0;
        r->size_c /= r->samples;
    }
    if (!r->fits || !plane_count(r, &planes) || planes == 0 ||
        planes > r->page_count) {
        r->fits = false;
        return MR_OK;
    }
    r->stack.count = planes;
    r->stack.map = mri_alloc(planes, sizeof *r->stack.map);
    if (r->stack.map == NULL) {
        return source_no_memory(diag);
    }
    for (uint64_t i = 0; i < planes; i++) {
        r->stack.map[i] = NO_PAGE;
    }
    return MR_OK;
}

static void
use_page(reading *r, uint64_t plane, uint64_t page)
{
    r->fits = r->fits && page < r->page_count && !r->used[page];
    if (r->fits) {
        r->used[page] = true;
        r->stack.map[plane] = (uint32_t)page;
    }
}

/* The plane's number, pages counted in the image's own order. */
static uint64_t
plane_of(const reading *r, const element *e)
{
    uint64_t plane = 0, step = 1;

    for (int i = 2; i < 5; i++) {
        const char name[] = {'F', 'i', 'r', 's', 't', r->order[i], '\0'};
        uint64_t first = number(e, name, 0);

        if (first >= size_of(r, r->order[i])) {
            return UINT64_MAX;
        }
        plane += first * step;
        step *= size_of(r, r->order[i]);
    }
    return plane;
}

static mr_err
add_pages(reading *r, const element *e, mr_diag *diag)
{
    bool one = attribute(e, "IFD").len != 0;
    uint64_t page = number(e, "IFD", 0), plane, n;
    mr_err err = begin_map(r, diag);

    if (err != MR_OK || !r->fits) {
        return err;
    }
    r->told = true;
    plane = plane_of(r, e);
    n = number(e, "PlaneCount", number(e, "NumPlanes", one ? 1 : 0));
    if (plane >= r->stack.count) {
        r->fits = false;
        return MR_OK;
    }
    if (n == 0) { /* all that there are */
        n = r->stack.count - plane;
    }
    if (n > r->stack.count - plane || page >= r->page_count ||
        n > r->page_count - page) {
        r->fits = false;
        return MR_OK;
    }
    for (uint64_t i = 0; i < n; i++) {
        use_page(r, plane + i, page + i);
    }
    return MR_OK;
}

/* Every plane has a page, and all pages are alike. */
static bool
map_holds(const reading *r)
{
    for (uint64_t i = 0; i < r->stack.count; i++) {
        if (r->stack.map[i] == NO_PAGE ||
            !tiff_alike(&r->pages[r->stack.map[0]],
                        &r->pages[r->stack.map[i]])) {
            return false;
        }
    }
    return true;
}

static mr_err
end_pixels(reading *r, mr_diag *diag)
{
    tiff_stack *grown;
    mr_err err = begin_map(r, diag);

    if (err != MR_OK || !r->fits) {
        return err;
    }
    for (uint64_t i = 0; !r->told && i < r->stack.count; i++) {
        use_page(r, i, r->next_page++);
    }
    r->fits = r->fits && map_holds(r);
    for (int i = 4; i >= 2 && r->fits; i--) {
        r->fits =
            tiff_stack_axis(&r->stack, r->order[i], size_of(r, r->order[i]));
    }
    if (!r->fits) {
        return MR_OK;
    }
    grown = mri_resize(r->plan->stacks, r->plan->count + 1, sizeof *grown);
    if (grown == NULL) {
        return source_no_memory(diag);
    }
    r->plan->stacks = grown;
    grown[r->plan->count++] = r->stack;
    r->stack = (tiff_stack){0};
    return MR_OK;
}

static mr_err
read_element(reading *r, const element *e, mr_diag *diag)
{
    if (span_is(e->name, "Pixels")) {
        if (e->closing) {
            return end_pixels(r, diag);
        }
        begin_pixels(r, e);
        if (e->empty) {
            return end_pixels(r, diag);
        }
    } else if (e->closing) {
        return MR_OK;
    } else if (span_is(e->name, "Channel")) {
        return add_channel(r, e, diag);
    } else if (span_is(e->name, "TiffData")) {
        return add_pages(r, e, diag);
    }
    return MR_OK;
}

mr_err
ome_plan(tiff_plan *plan, span text, const tiff_page *pages, uint64_t count,
         mr_diag *diag)
{
    reading r = {.plan = plan, .pages = pages, .page_count = count};
    element e;
    mr_err err = MR_OK;

    r.used = mri_alloc(count, sizeof *r.used);
    if (r.used == NULL) {
        return source_no_memory(diag);
    }
    r.fits =
        span_find(text, "<OME").len != 0 || span_find(text, ":OME").len != 0;
    while (err == MR_OK && r.fits && next_element(&text, &e)) {
        err = read_element(&r, &e, diag);
    }
    mri_free(r.used);
    tiff_stack_release(&r.stack);
    if (err != MR_OK || !r.fits) {
        tiff_plan_release(plan);
    }
    return err;
}
