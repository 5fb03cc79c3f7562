/* SPDX-License-Identifier: Apache-2.0 */
/* plot.c - what is to be drawn: places, kinds, texts. */
#include "plot_types.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for a plot");
}

static mr_err
choose_rows(mri_plot *p, const char *name, mr_diag *diag)
{
    bool chosen[MRI_NO_SPLIT + 1];
    mr_err err = mri_feature_splits(p->t, name, chosen, diag);

    if (err != MR_OK) {
        return err;
    }
    p->rows = mri_alloc((size_t)p->t->rows, sizeof *p->rows);
    p->kind = mri_alloc((size_t)p->t->rows, 1);
    if (p->rows == NULL || p->kind == NULL) {
        return no_memory(diag);
    }
    for (uint64_t i = 0; i < p->t->rows; i++) {
        if (chosen[p->t->split[i]]) {
            p->rows[p->count++] = (uint32_t)i;
        }
    }
    return p->count >= 2 ? MR_OK
                         : mri_fail(diag, MRI_E_EVAL_EMPTY, MR_NOWHERE,
                                    "split '%.60s' has %" PRIu64
                                    " rows: a picture needs two",
                                    name, p->count);
}

/* ------------------------------------------------------------------- kinds */

/* One value of what is coloured by, and how many rows have it. */
typedef struct tally {
    uint64_t value, count;
} tally;

#define NO_VALUE UINT64_MAX

static uint64_t
value_of(const mri_plot *p, mri_plot_color color, uint64_t i)
{
    uint32_t row = p->rows[i];

    switch (color) {
    case MRI_COLOR_CLASS:
        return p->t->label[row] >= 0 ? (uint64_t)p->t->label[row] : NO_VALUE;
    case MRI_COLOR_GROUP:
        return p->t->group[row] != 0 ? p->t->group[row] : NO_VALUE;
    case MRI_COLOR_SPLIT:
        return p->t->split[row] != MRI_NO_SPLIT ? p->t->split[row] : NO_VALUE;
    }
    return NO_VALUE;
}

static const char *
name_of(const mri_plot *p, mri_plot_color color, uint64_t value)
{
    const char *name;

    if (value == NO_VALUE) {
        return "none";
    }
    switch (color) {
    case MRI_COLOR_CLASS:
        return p->t->classes[value];
    case MRI_COLOR_GROUP:
        name = mri_group_name_of(p->t, value);
        return name != NULL ? name : "?";
    case MRI_COLOR_SPLIT:
        return p->t->splits[value];
    }
    return "?";
}

static int
by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* The most frequent first, so that "others" are the rarest. */
static int
by_count(const void *a, const void *b)
{
    const tally *x = a, *y = b;

    if (x->count != y->count) {
        return x->count > y->count ? -1 : 1;
    }
    return by_value(&x->value, &y->value);
}

/* Values that occur, with their counts. Returns how many, 0: no memory. */
static uint64_t
count_values(const mri_plot *p, mri_plot_color color, tally **out)
{
    uint64_t *values = mri_alloc((size_t)p->count, sizeof *values), n = 0;
    tally *list = mri_alloc((size_t)p->count, sizeof *list);

    *out = list;
    if (values == NULL || list == NULL) {
        mri_free(values);
        return 0;
    }
    for (uint64_t i = 0; i < p->count; i++) {
        values[i] = value_of(p, color, i);
    }
    qsort(values, (size_t)p->count, sizeof *values, by_value);
    for (uint64_t i = 0; i < p->count; i++) {
        if (i == 0 || values[i] != values[i - 1]) {
            list[n++].value = values[i];
        }
        list[n - 1].count++;
    }
    mri_free(values);
    return n;
}

/* Cut where a character ends: the bytes after it begin none. */
static void
copy_name(char *out, size_t room, const char *name)
{
    size_t n = strlen(name);

    if (n >= room) {
        n = room - 4; /* and three bytes for the sign of what is left out */
        while (n > 0 && ((unsigned char)name[n] & 0xC0) == 0x80) {
            n--;
        }
        (void)snprintf(out, room, "%.*s\xE2\x80\xA6", (int)n, name);
        return;
    }
    memcpy(out, name, n + 1);
}

typedef struct naming {
    const mri_plot *p;
    mri_plot_color color;
} naming;

/* Groups in the order of their names; classes and splits have theirs. */
static int
by_place(const void *a, const void *b, void *user)
{
    const naming *n = user;
    const tally *x = a, *y = b;

    int by_name = 0;

    if (n->color == MRI_COLOR_GROUP && x->value != NO_VALUE &&
        y->value != NO_VALUE) {
        by_name = strcmp(name_of(n->p, n->color, x->value),
                         name_of(n->p, n->color, y->value));
    }
    return by_name != 0 ? by_name : by_value(&x->value, &y->value);
}

static uint8_t
kind_of(const tally *list, uint32_t shown, uint64_t value)
{
    uint32_t i = 0;

    while (i < shown && list[i].value != value) {
        i++;
    }
    return (uint8_t)i;
}

static mr_err
name_kinds(mri_plot *p, mri_plot_color color, mr_diag *diag)
{
    naming how = {p, color};
    tally *list;
    uint64_t n = count_values(p, color, &list), rest = p->count;
    uint32_t shown = n > PLOT_KINDS ? PLOT_KINDS : (uint32_t)n;

    if (n == 0) {
        mri_free(list);
        return no_memory(diag);
    }
    qsort(list, (size_t)n, sizeof *list, by_count);
    qsort_r(list, shown, sizeof *list, by_place, &how);
    for (uint32_t i = 0; i < shown; i++) {
        copy_name(p->kinds[i].name, sizeof p->kinds[i].name,
                  name_of(p, color, list[i].value));
        p->kinds[i].count = list[i].count;
        p->kinds[i].grey = list[i].value == NO_VALUE;
        rest -= list[i].count;
    }
    p->kind_count = shown;
    if (n > shown) {
        plot_kind *k = &p->kinds[p->kind_count++];

        (void)snprintf(k->name, sizeof k->name, "%" PRIu64 " others",
                       n - shown);
        k->count = rest;
        k->grey = true;
    }
    for (uint64_t i = 0; i < p->count; i++) {
        p->kind[i] = kind_of(list, shown, value_of(p, color, i));
    }
    mri_free(list);
    return MR_OK;
}

/* ------------------------------------------------------------------- texts */

/* 12,345 */
static const char *
count_text(char out[32], uint64_t n)
{
    char digits[24];
    size_t len = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, n), k = 0;

    for (size_t i = 0; i < len; i++) {
        if (i != 0 && (len - i) % 3 == 0) {
            out[k++] = ',';
        }
        out[k++] = digits[i];
    }
    out[k] = '\0';
    return out;
}

static void
write_texts(mri_plot *p, const char *split)
{
    const mri_feature_origin *from = &p->t->from;
    bool all = strcmp(split, "all") == 0;
    char number[32];

    if (from->random) {
        (void)snprintf(p->title, sizeof p->title,
                       "%.60s, untrained (seed %" PRIu64 ")", from->arch,
                       from->seed);
    } else {
        (void)snprintf(p->title, sizeof p->title, "%.60s after %s steps",
                       from->arch, count_text(number, from->step));
    }
    (void)snprintf(p->subtitle, sizeof p->subtitle,
                   "%s %s%.60s in the first two principal components of %u "
                   "features, rows of length one",
                   count_text(number, p->count),
                   all ? "samples" : "samples of ", all ? "" : split,
                   p->t->dim);
}

/* -------------------------------------------------------------------- door */

static mr_err
fill(mri_plot *p, const mri_plot_options *o, mr_diag *diag)
{
    static const char *const legends[] = {"class", "group", "split"};
    mri_vectors rows = {.at = p->t->features};
    mr_err err = choose_rows(p, o->split, diag);

    if (err == MR_OK) {
        rows.rows = p->rows;
        rows.count = p->count;
        err = mri_pca_fit(&p->pca, &rows, p->t->dim, o->threads, diag);
    }
    if (err == MR_OK) {
        err = name_kinds(p, o->color, diag);
    }
    if (err == MR_OK) {
        p->legend = legends[o->color];
        write_texts(p, o->split);
    }
    return err;
}

mr_err
mri_plot_open(mri_plot **out, const mri_feature_table *t,
              const mri_plot_options *o, mr_diag *diag)
{
    mri_plot *p = mri_alloc(1, sizeof *p);
    mr_err err;

    *out = NULL;
    if (p == NULL) {
        return no_memory(diag);
    }
    p->t = t;
    err = fill(p, o, diag);
    if (err != MR_OK) {
        mri_plot_close(p);
        return err;
    }
    *out = p;
    return MR_OK;
}

void
mri_plot_close(mri_plot *p)
{
    if (p == NULL) {
        return;
    }
    mri_pca_release(&p->pca);
    mri_free(p->rows);
    mri_free(p->kind);
    mri_free(p);
}

uint64_t
mri_plot_rows(const mri_plot *p)
{
    return p->count;
}

const mri_pca *
mri_plot_pca(const mri_plot *p)
{
    return &p->pca;
}

static bool
ends_in(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);

    return n > m && strcasecmp(path + n - m, end) == 0;
}

bool
mri_plot_can(const char *path)
{
    return ends_in(path, ".png") || ends_in(path, ".svg");
}

mr_err
mri_plot_write(const mri_plot *p, const char *path, mr_diag *diag)
{
    mri_bytes out = {0};
    mr_err err;

    if (!mri_plot_can(path)) {
        err = mri_fail(diag, MRI_E_EVAL_VALUE, MR_NOWHERE,
                       "a picture ends in .png or .svg");
        mri_diag_in(diag, path);
        return err;
    }
    err = ends_in(path, ".svg") ? plot_draw_svg(p, &out, diag)
                                : plot_draw_png(p, &out, diag);
    if (err == MR_OK) {
        err = mri_file_put(path, out.data, out.len, MRI_PUT_REPLACE, diag);
    }
    mri_bytes_release(&out);
    return err;
}
