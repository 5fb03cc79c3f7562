/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiff_layout.h - which pages of a TIFF make which sample, and along which
 * axes, as its own text says (OME-XML, ImageJ, tifffile) or as asked.
 */
#ifndef SOURCE_TIFF_LAYOUT_H
#define SOURCE_TIFF_LAYOUT_H

#include "tiff_walk.h"

#define TIFF_PAGE_AXES 5 /* in front of those of a page */

/* One sample: its page k, slowest axis first, is pages[map[k]], or
 * pages[first + k] where there is no map. */
typedef struct tiff_stack {
    uint64_t first, count;
    uint32_t *map;
    /* All images lie behind each other in the data of one page. */
    bool contiguous;
    uint32_t rank;
    char axes[TIFF_PAGE_AXES + 1];
    uint64_t shape[TIFF_PAGE_AXES];
    double x, y, z, t; /* mm and s between neighbours; 0: not known */
    char **channels;   /* names, channel_count of them, or NULL */
    uint32_t channel_count;
} tiff_stack;

void tiff_stack_release(tiff_stack *stack);

/* Append an axis slowest first; one of length 1 is left out. False if there
 * are too many. */
bool tiff_stack_axis(tiff_stack *stack, char letter, uint64_t length);

/* A text that is not NUL-terminated. */
typedef struct span {
    const char *p;
    size_t len;
} span;

/* A whole number of decimal digits; false if it is none. */
bool span_u64(span s, uint64_t *out);
/* A number, whatever the locale; 0 if it is none. */
double span_f64(span s);
bool span_is(span s, const char *text);
/* A length in a unit of OME or ImageJ ("" is a micrometre) in mm; 0 if the
 * unit is none of length. */
double span_mm(double length, span unit);
/* The first place of `text` in s, from there to the end; len 0: none. */
span span_find(span s, const char *text);
/* A NUL-terminated copy (XML's entities resolved), or NULL. Bytes that are not
 * UTF-8 make it an empty text. */
char *span_copy(span s);

/* Same size, type and arrangement: pages that can make one array. */
bool tiff_alike(const tiff_page *a, const tiff_page *b);

/* What a description says; `stacks` belong to the caller. */
typedef struct tiff_plan {
    tiff_stack *stacks;
    uint64_t count;
} tiff_plan;

/*
 * Parse a description. What does not fit the pages is no error: the text is
 * then not followed, and plan->count stays 0.
 *
 * errors  MR_ENOMEM
 */
MR_USE_RESULT mr_err ome_plan(tiff_plan *plan, span text,
                              const tiff_page *pages, uint64_t count,
                              mr_diag *diag);
MR_USE_RESULT mr_err imagej_plan(tiff_plan *plan, span text, const tiff_file *f,
                                 const tiff_page *pages, uint64_t count,
                                 mr_diag *diag);
MR_USE_RESULT mr_err shaped_plan(tiff_plan *plan, span text, const tiff_file *f,
                                 const tiff_page *pages, uint64_t count,
                                 mr_diag *diag);
void tiff_plan_release(tiff_plan *plan);

/* May `images` images lie behind each other from the first byte of the page's
 * data on? */
bool tiff_contiguous(const tiff_file *f, const tiff_page *page,
                     uint64_t images);

#endif
