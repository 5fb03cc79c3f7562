/* SPDX-License-Identifier: Apache-2.0 */
/* tiff.c - TIFF: directories to samples. */
#include "decoder.h"
#include "tiff_layout.h"
#include "tiff_read.h"

#include <mri/alloc.h>

#include <inttypes.h>
#include <string.h>
#include <tiff.h> /* numbers only */

typedef struct tiff_state {
    tiff_file file;
    tiff_page *pages; /* those that are samples or parts of them */
    uint64_t page_count, reduced;
    tiff_plan plan;
    span text; /* the first page's description */
} tiff_state;

static bool
recognise(const uint8_t *data, size_t len)
{
    return len >= 4 && (memcmp(data, "II\x2a\0", 4) == 0 ||
                        memcmp(data, "MM\0\x2a", 4) == 0 ||
                        memcmp(data, "II\x2b\0", 4) == 0 ||
                        memcmp(data, "MM\0\x2b", 4) == 0);
}

bool
tiff_alike(const tiff_page *a, const tiff_page *b)
{
    return a->width == b->width && a->height == b->height &&
           a->samples == b->samples && a->bits == b->bits &&
           a->format == b->format && a->planes == b->planes &&
           (a->photometric == PHOTOMETRIC_PALETTE) ==
               (b->photometric == PHOTOMETRIC_PALETTE);
}

static void
close_tiff(void *state)
{
    tiff_state *t = state;

    if (t != NULL) {
        tiff_plan_release(&t->plan);
        mri_free(t->pages);
        mri_free(t);
    }
}

/* Room for one page more. */
static tiff_page *
new_page(tiff_state *t, uint64_t *room)
{
    if (t->page_count == *room) {
        uint64_t more = *room < 4 ? 4 : *room + *room / 2;
        tiff_page *grown = mri_resize(t->pages, more, sizeof *grown);

        if (grown == NULL) {
            return NULL;
        }
        t->pages = grown;
        *room = more;
    }
    return &t->pages[t->page_count];
}

/* Where a chain of directories, known to run in a loop of `length`, first
 * comes back: the directory whose pointer leads there. */
static uint64_t
loop_end(const tiff_state *t, uint64_t length)
{
    uint64_t i = 0;

    while (t->pages[i].at != t->pages[i + length].at) {
        i++;
    }
    return i + length - 1;
}

static mr_err
in_a_loop(const mri_source *s, tiff_state *t, uint64_t length, mr_diag *diag)
{
    uint64_t last = loop_end(t, length);

    t->page_count = last + 1;
    if (s->options.lenient) {
        return MR_OK;
    }
    return mri_fail(
        diag, MRI_E_TIFF_LOOP, t->pages[last].next_at,
        "the chain of directories runs in a loop: directory %" PRIu64
        " leads back to directory %" PRIu64,
        last, last + 1 - length);
}

/* Follow the chain of directories; a loop is found as Brent does it, with one
 * remembered place that moves on in growing steps. */
static mr_err
read_pages(const mri_source *s, tiff_state *t, uint64_t at, mr_diag *diag)
{
    uint64_t room = 0, mark = 0, steps = 0, power = 1;

    while (at != 0) {
        tiff_page *page;
        mr_err err;

        if (t->page_count == s->options.limits.tiff_pages) {
            return mri_fail(diag, MRI_E_SOURCE_LIMIT, at,
                            "more directories than the limit tiff_pages of "
                            "%" PRIu64,
                            s->options.limits.tiff_pages);
        }
        page = new_page(t, &room);
        if (page == NULL) {
            return source_no_memory(diag);
        }
        if (steps == power) {
            mark = t->pages[t->page_count - 1].at;
            power *= 2;
            steps = 0;
        }
        err = tiff_read_page(&t->file, at, page, &at, diag);
        if (err != MR_OK) {
            return err;
        }
        t->page_count++;
        steps++;
        if (page->at == mark) {
            return in_a_loop(s, t, steps, diag);
        }
    }
    return MR_OK;
}

/* Thumbnails, masks and pyramid levels are not samples, unless there is
 * nothing else. */
static void
drop_reduced(tiff_state *t)
{
    uint64_t n = 0;

    for (uint64_t i = 0; i < t->page_count; i++) {
        n += (t->pages[i].subfile & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK)) ==
             0;
    }
    if (n == 0 || n == t->page_count) {
        return;
    }
    t->reduced = t->page_count - n;
    n = 0;
    for (uint64_t i = 0; i < t->page_count; i++) {
        if ((t->pages[i].subfile & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK)) ==
            0) {
            t->pages[n++] = t->pages[i];
        }
    }
    t->page_count = n;
}

/* As the file's own text says; plan.count stays 0 if it says nothing. */
static mr_err
plan_by_text(const mri_source *s, tiff_state *t, mr_diag *diag)
{
    span text = t->text;

    if (text.len > s->options.limits.text_bytes) {
        return mri_fail(diag, MRI_E_SOURCE_LIMIT, t->pages[0].description.at,
                        "a description of %zu bytes, more than the limit "
                        "text_bytes of %" PRIu64,
                        text.len, s->options.limits.text_bytes);
    }
    if (s->options.pages == MRI_PAGES_SAMPLE) {
        return MR_OK;
    }
    if (text.len > 7 && memcmp(text.p, "ImageJ=", 7) == 0) {
        return imagej_plan(&t->plan, text, &t->file, t->pages, t->page_count,
                           diag);
    }
    if (text.len > 10 && memcmp(text.p, "{\"shape\": ", 10) == 0) {
        return shaped_plan(&t->plan, text, &t->file, t->pages, t->page_count,
                           diag);
    }
    if (text.len > 5 && text.p[0] == '<') {
        return ome_plan(&t->plan, text, t->pages, t->page_count, diag);
    }
    return MR_OK;
}

/* All pages in one sample along one axis, or a sample each. */
static mr_err
plan_by_pages(tiff_state *t, bool together, char axis, mr_diag *diag)
{
    uint64_t n = together ? 1 : t->page_count;
    tiff_stack *stacks = mri_alloc(n, sizeof *stacks);

    if (stacks == NULL) {
        return source_no_memory(diag);
    }
    for (uint64_t i = 0; i < n; i++) {
        stacks[i].first = i;
        stacks[i].count = together ? t->page_count : 1;
    }
    if (together) {
        (void)tiff_stack_axis(&stacks[0], axis, t->page_count);
    }
    t->plan.stacks = stacks;
    t->plan.count = n;
    return MR_OK;
}

/* Asked for one axis: names and sizes of the text stay, its axes do not. */
static void
flatten(tiff_stack *stack, char axis)
{
    stack->rank = 0;
    memset(stack->axes, 0, sizeof stack->axes);
    (void)tiff_stack_axis(stack, axis, stack->count);
}

static mr_err
make_plan(const mri_source *s, tiff_state *t, mr_diag *diag)
{
    mri_pages how = s->options.pages;
    char axis = how == MRI_PAGES_CHANNEL ? 'C' : 'Z';
    bool alike = how != MRI_PAGES_SAMPLE;
    mr_err err = plan_by_text(s, t, diag);

    if (err != MR_OK) {
        return err;
    }
    if (t->plan.count != 0) {
        for (uint64_t i = 0; how != MRI_PAGES_AUTO && i < t->plan.count; i++) {
            flatten(&t->plan.stacks[i], axis);
        }
        return MR_OK;
    }
    for (uint64_t i = 1; i < t->page_count; i++) {
        alike = alike && tiff_alike(&t->pages[0], &t->pages[i]);
    }
    return plan_by_pages(t, alike, axis, diag);
}

/* All samples together must not be more than the file can hold, however
 * often its directories name the same bytes. */
static mr_err
check_total(const mri_source *s, const tiff_state *t, mr_diag *diag)
{
    const mri_limits *l = &s->options.limits;
    uint64_t total = 0;

    for (uint64_t i = 0; i < t->plan.count; i++) {
        const tiff_stack *k = &t->plan.stacks[i];
        uint64_t first = k->map != NULL ? k->map[0] : k->first, bytes;

        if (!mri_mul(tiff_page_bytes(&t->pages[first]), k->count, &bytes) ||
            !mri_add(total, bytes, &total)) {
            total = UINT64_MAX;
        }
    }
    if (total > l->total_bytes) {
        return mri_fail(diag, MRI_E_SOURCE_LIMIT, MR_NOWHERE,
                        "its samples decode to %" PRIu64
                        " bytes, more than the limit total_bytes of %" PRIu64,
                        total, l->total_bytes);
    }
    return source_work(l, total, s->file.len, diag);
}

static mr_err
fill_state(const mri_source *s, tiff_state *t, mr_diag *diag)
{
    uint64_t first = 0;
    mr_err err;

    t->file = (tiff_file){
        .p = s->file.data,
        .len = s->file.len,
        .limits = &s->options.limits,
    };
    err = tiff_begin(&t->file, &first, diag);
    if (err == MR_OK) {
        err = read_pages(s, t, first, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    drop_reduced(t);
    t->text.p = tiff_text(&t->file, &t->pages[0].description, &t->text.len);
    err = make_plan(s, t, diag);
    return err == MR_OK ? check_total(s, t, diag) : err;
}

static mr_err
open_tiff(mri_source *s, mr_diag *diag)
{
    tiff_state *t = mri_alloc(1, sizeof *t);
    mr_err err;

    if (t == NULL) {
        return source_no_memory(diag);
    }
    err = fill_state(s, t, diag);
    if (err != MR_OK) {
        close_tiff(t);
        return err;
    }
    s->state = t;
    s->count = t->plan.count;
    return MR_OK;
}

static double
spacing_of(const tiff_stack *stack, char axis)
{
    switch (axis) {
    case 'X':
        return stack->x;
    case 'Y':
        return stack->y;
    case 'Z':
        return stack->z;
    case 'T':
        return stack->t;
    default:
        return 0;
    }
}

static bool
has_palette(const mri_source *s, const tiff_page *page)
{
    return page->photometric == PHOTOMETRIC_PALETTE && !s->options.label;
}

/* Axes of the pages, then those of a page. */
static bool
add_axes(const mri_source *s, const tiff_stack *stack, const tiff_page *page,
         mri_image *image)
{
    bool taken = memchr(stack->axes, 'C', stack->rank) != NULL;
    uint64_t samples = has_palette(s, page) ? 3 : page->samples;
    char letter = taken ? 'S' : 'C';
    bool ok = true;

    for (uint32_t i = 0; i < stack->rank; i++) {
        ok = ok && image_axis(image, stack->axes[i], stack->shape[i]);
    }
    if (page->planes > 1) {
        ok = ok && image_axis(image, letter, samples);
    }
    ok = ok && image_axis(image, 'Y', page->height) &&
         image_axis(image, 'X', page->width);
    if (page->planes == 1 && samples > 1) {
        ok = ok && image_axis(image, letter, samples);
    }
    if (page->complex) {
        ok = ok && image_axis(image, 'R', 2);
    }
    for (uint32_t i = 0; i < image->rank; i++) {
        image->geometry.spacing[i] = spacing_of(stack, image->axes[i]);
    }
    return ok;
}

/* Names of the channels, if there is one for each. */
static mr_err
add_names(const tiff_stack *stack, mri_image *image, mr_diag *diag)
{
    const char *c = strchr(image->axes, 'C');
    uint64_t channels = c != NULL ? image->shape[c - image->axes] : 1;
    bool named = false;

    for (uint32_t i = 0; i < stack->channel_count; i++) {
        named = named || stack->channels[i][0] != '\0';
    }
    if (!named || channels != stack->channel_count) {
        return MR_OK;
    }
    image->geometry.channels =
        mri_alloc(channels, sizeof *image->geometry.channels);
    if (image->geometry.channels == NULL) {
        return source_no_memory(diag);
    }
    for (uint32_t i = 0; i < stack->channel_count; i++) {
        image->geometry.channels[i] = mri_strdup(stack->channels[i]);
        image->geometry.channel_count++;
        if (image->geometry.channels[i] == NULL) {
            return source_no_memory(diag);
        }
    }
    return MR_OK;
}

/* Page k of a stack. */
static const tiff_page *
page_of(const tiff_state *t, const tiff_stack *stack, uint64_t k)
{
    return &t->pages[stack->map != NULL ? stack->map[k] : stack->first + k];
}

/* 16 bits if one of its pages has colours that need them. */
static mr_dtype
palette_type(const tiff_state *t, const tiff_stack *stack)
{
    for (uint64_t k = 0; k < stack->count; k++) {
        if (tiff_palette_type(&t->file, page_of(t, stack, k)) == MR_U16) {
            return MR_U16;
        }
    }
    return MR_U8;
}

static mr_err
describe(const mri_source *s, const tiff_stack *stack, const tiff_page *page,
         mri_image *image, mr_diag *diag)
{
    mr_err err;

    image->dtype = page->dtype;
    if (has_palette(s, page)) {
        if (page->bits > 8) {
            return mri_fail(diag, MRI_E_TIFF_VARIANT, page->at,
                            "a TIFF with a palette of %" PRIu32
                            " bits, which is read in a label field only",
                            page->bits);
        }
        image->dtype = palette_type(s->state, stack);
    }
    if (!add_axes(s, stack, page, image)) {
        return mri_fail(diag, MRI_E_TIFF_VARIANT, page->at,
                        "a TIFF of more than %d axes", MR_MAX_RANK);
    }
    if (page->orientation >= 1 && page->orientation <= 8) {
        image->geometry.orientation = (uint8_t)page->orientation;
    }
    err = image_measure(image, &s->options.limits, s->file.len, diag);
    return err == MR_OK ? add_names(stack, image, diag) : err;
}

static mr_err
keep_text(const mri_source *s, const tiff_state *t, mri_image *image,
          mr_diag *diag)
{
    if (!s->options.keep_text || t->text.len == 0) {
        return MR_OK;
    }
    image->text = text_utf8(t->text.p, t->text.len);
    return image->text != NULL ? MR_OK : source_no_memory(diag);
}

static mr_err
read_stack(const mri_source *s, const tiff_state *t, const tiff_stack *stack,
           mri_image *image, mr_diag *diag)
{
    tiff_reader reader;
    uint64_t pages = stack->contiguous ? 1 : stack->count;
    uint64_t step = image->bytes / pages;
    mr_err err = image_room(image, diag);

    if (err != MR_OK) {
        return err;
    }
    tiff_reader_init(&reader, &t->file, s->options.label,
                     s->options.lenient ? &image->repaired : NULL);
    for (uint64_t k = 0; err == MR_OK && k < pages; k++) {
        uint8_t *out = (uint8_t *)image->pixels + k * step;
        const tiff_page *page = page_of(t, stack, k);

        for (int d = 0; d < MRI_DROPS; d++) {
            image->dropped[d] += page->dropped[d];
        }
        if (stack->contiguous) {
            tiff_read_run(&reader, page, stack->count, out);
        } else {
            err = tiff_read_into(&reader, page, image->dtype, out, diag);
        }
    }
    tiff_reader_release(&reader);
    return err;
}

static mr_err
read_tiff(const mri_source *s, uint64_t i, bool look, mri_image *image,
          mr_diag *diag)
{
    const tiff_state *t = s->state;
    const tiff_stack *stack = &t->plan.stacks[i];
    mr_err err = describe(s, stack, page_of(t, stack, 0), image, diag);

    image->dropped[MRI_DROP_REDUCED] = t->reduced;
    if (err != MR_OK || look) {
        return err;
    }
    err = keep_text(s, t, image, diag);
    if (err == MR_OK) {
        err = read_stack(s, t, stack, image, diag);
    }
    if (image->text != NULL && err == MR_OK) {
        uint64_t *dropped = &image->dropped[MRI_DROP_TEXT];

        *dropped -= *dropped < t->text.len ? *dropped : t->text.len;
    }
    return err;
}

const decoder decoder_tiff = {
    .kind = MRI_SOURCE_TIFF,
    .name = "tiff",
    .recognise = recognise,
    .open = open_tiff,
    .read = read_tiff,
    .close = close_tiff,
};
