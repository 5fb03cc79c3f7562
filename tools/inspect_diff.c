/* SPDX-License-Identifier: Apache-2.0 */
/* inspect_diff.c - millrace inspect --diff A B: what has changed. */
#include "inspect.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/generation.h>

#include <string.h>

/* So many of each kind are listed without --all. */
#define LISTED 20

typedef struct found {
    mri_difference *at;
    uint64_t kept, count;
} found;

typedef struct diff_view {
    const mri_inspect *in;
    const char *names[2];
    mr_dataset *ds[2]; /* a, b */
    found found[MRI_CHANGES];
    mri_json j;
} diff_view;

static const char *const change_names[MRI_CHANGES] = {"added", "removed",
                                                      "changed", "relabelled"};

static mr_err
keep(void *user, const mri_difference *d, mr_diag *diag)
{
    diff_view *v = user;
    found *f = &v->found[d->change];

    f->count++;
    if (f->kept >= LISTED && !v->in->all) {
        return MR_OK;
    }
    if ((f->kept & (f->kept - 1)) == 0) { /* 0, 1, 2, 4, ...: it is full */
        uint64_t room = f->kept != 0 ? f->kept * 2 : 1;
        mri_difference *grown = mri_resize(f->at, (size_t)room, sizeof *grown);

        if (grown == NULL) {
            return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
        }
        f->at = grown;
    }
    f->at[f->kept++] = *d;
    return MR_OK;
}

/* ---- a sample of either side ---- */

typedef struct one_side {
    mri_meta *meta; /* NULL: not there */
    const char *split;
} one_side;

static mr_err
load_side(one_side *s, const mr_dataset *ds, uint64_t rank, uint32_t split,
          mr_diag *diag)
{
    s->split =
        split != MR_ALL_SAMPLES ? mr_dataset_split_name(ds, split) : NULL;
    return mri_dataset_meta(ds, rank, &s->meta, diag);
}

static mr_err
load_sides(const diff_view *v, const mri_difference *d, one_side sides[2],
           mr_diag *diag)
{
    mr_err err = MR_OK;

    if (d->change != MRI_CHANGE_ADDED) {
        err = load_side(&sides[0], v->ds[0], d->rank_a, d->split_a, diag);
    }
    if (err == MR_OK && d->change != MRI_CHANGE_GONE) {
        err = load_side(&sides[1], v->ds[1], d->rank_b, d->split_b, diag);
    }
    return err;
}

static const char *
shown(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : "-";
}

static bool
differs(const char *a, const char *b)
{
    return strcmp(shown(a), shown(b)) != 0;
}

static void
text_fact(const char *name, const char *a, const char *b)
{
    if (differs(a, b)) {
        (void)printf("  %s %s -> %s", name, shown(a), shown(b));
    }
}

static void
text_row(const one_side sides[2])
{
    const one_side *one = sides[1].meta != NULL ? &sides[1] : &sides[0];

    (void)printf("    %s", one->meta->key);
    if (sides[0].meta == NULL || sides[1].meta == NULL) {
        (void)printf("  %s  %s  %s", shown(one->meta->class_name),
                     shown(one->meta->group), shown(one->split));
    } else {
        text_fact("class", sides[0].meta->class_name,
                  sides[1].meta->class_name);
        text_fact("group", sides[0].meta->group, sides[1].meta->group);
        text_fact("split", sides[0].split, sides[1].split);
    }
    (void)printf("\n");
}

static void
json_side(mri_json *j, const char *name, const one_side *s)
{
    mri_json_key(j, name);
    if (s->meta == NULL) {
        mri_json_null(j);
        return;
    }
    mri_json_object(j);
    mri_json_put_text(j, "class",
                      s->meta->class_name[0] != '\0' ? s->meta->class_name
                                                     : NULL);
    mri_json_put_text(j, "group",
                      s->meta->group[0] != '\0' ? s->meta->group : NULL);
    mri_json_put_text(j, "split", s->split);
    mri_json_end(j);
}

static void
json_row(mri_json *j, mri_change change, const one_side sides[2])
{
    const one_side *one = sides[1].meta != NULL ? &sides[1] : &sides[0];

    mri_json_object(j);
    mri_json_put_text(j, "change", change_names[change]);
    mri_json_put_text(j, "key", one->meta->key);
    json_side(j, "a", &sides[0]);
    json_side(j, "b", &sides[1]);
    mri_json_end(j);
}

static mr_err
list_rows(diff_view *v, mri_change change, mr_diag *diag)
{
    const found *f = &v->found[change];
    mr_err err = MR_OK;

    if (!v->in->cli->json && f->count != 0) {
        (void)printf("  %s\n", change_names[change]);
    }
    for (uint64_t i = 0; err == MR_OK && i < f->kept; i++) {
        one_side sides[2] = {0};

        err = load_sides(v, &f->at[i], sides, diag);
        if (err == MR_OK && v->in->cli->json) {
            json_row(&v->j, change, sides);
        } else if (err == MR_OK) {
            text_row(sides);
        }
        mri_meta_free(sides[0].meta);
        mri_meta_free(sides[1].meta);
    }
    if (!v->in->cli->json && f->count > f->kept) {
        (void)printf("    and %s more; --all lists them\n",
                     mri_text_count(f->count - f->kept));
    }
    return err;
}

/* ---- counts by class and split ---- */

typedef struct tally_of {
    const char *title, *key;
    uint32_t (*count)(const mr_dataset *ds);
    const char *(*name)(const mr_dataset *ds, uint32_t i);
    uint64_t (*samples)(const mr_dataset *ds, uint32_t i);
} tally_of;

static const tally_of tallies[] = {
    {"classes", "classes", mr_dataset_classes, mr_dataset_class_name,
     mri_dataset_class_count},
    {"splits", "splits", mr_dataset_splits, mr_dataset_split_name,
     mr_dataset_split_count},
};

/* Samples under a name of a tally; 0 where the name is not known. */
static uint64_t
samples_named(const tally_of *t, const mr_dataset *ds, const char *name)
{
    for (uint32_t i = 0; i < t->count(ds); i++) {
        if (strcmp(t->name(ds, i), name) == 0) {
            return t->samples(ds, i);
        }
    }
    return 0;
}

static bool
has_name(const tally_of *t, const mr_dataset *ds, const char *name)
{
    for (uint32_t i = 0; i < t->count(ds); i++) {
        if (strcmp(t->name(ds, i), name) == 0) {
            return true;
        }
    }
    return false;
}

static void
show_count(diff_view *v, const char *title, const char *name, uint64_t a,
           uint64_t b)
{
    if (v->in->cli->json) {
        mri_json_key(&v->j, name);
        mri_json_object(&v->j);
        mri_json_put_u64(&v->j, "a", a);
        mri_json_put_u64(&v->j, "b", b);
        mri_json_end(&v->j);
    } else if (a != b) {
        (void)printf("  %-10s %-24s %s -> %s\n", title, name, mri_text_count(a),
                     mri_text_count(b));
    }
}

static void
show_tally(diff_view *v, const tally_of *t)
{
    if (v->in->cli->json) {
        mri_json_key(&v->j, t->key);
        mri_json_object(&v->j);
    }
    for (int side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < t->count(v->ds[side]); i++) {
            const char *name = t->name(v->ds[side], i);

            if (side == 1 && has_name(t, v->ds[0], name)) {
                continue; /* it was shown from the other side */
            }
            show_count(v, t->title, name, samples_named(t, v->ds[0], name),
                       samples_named(t, v->ds[1], name));
        }
    }
    if (v->in->cli->json) {
        mri_json_end(&v->j);
    }
}

/* ---- statistics ---- */

static void
show_channel(diff_view *v, const char *split, const char *field, uint32_t c,
             const mr_moments *a, const mr_moments *b)
{
    mri_json *j = &v->j;
    double mean_a = mr_moments_mean(a), mean_b = mr_moments_mean(b);
    double std_a = mr_moments_std(a), std_b = mr_moments_std(b);

    if (memcmp(a, b, sizeof *a) == 0) {
        return;
    }
    if (!v->in->cli->json) {
        (void)printf("  statistics %s %s channel %u  mean %.6g -> %.6g  std "
                     "%.6g -> %.6g\n",
                     split, field, c, mean_a, mean_b, std_a, std_b);
        return;
    }
    mri_json_object(j);
    mri_json_put_text(j, "split", split);
    mri_json_put_text(j, "field", field);
    mri_json_put_u64(j, "channel", c);
    mri_json_put_u64(j, "count_a", a->count);
    mri_json_put_u64(j, "count_b", b->count);
    mri_json_put_f64(j, "mean_a", mean_a);
    mri_json_put_f64(j, "mean_b", mean_b);
    mri_json_put_f64(j, "std_a", std_a);
    mri_json_put_f64(j, "std_b", std_b);
    mri_json_end(j);
}

static uint32_t
field_named(const mr_dataset *ds, const char *name)
{
    uint32_t i = 0;

    while (i < mr_dataset_fields(ds) &&
           strcmp(mr_dataset_field_name(ds, i), name) != 0) {
        i++;
    }
    return i;
}

static uint32_t
split_named(const mr_dataset *ds, const char *name)
{
    uint32_t i = 0;

    while (i < mr_dataset_splits(ds) &&
           strcmp(mr_dataset_split_name(ds, i), name) != 0) {
        i++;
    }
    return strcmp(name, "all") == 0 ? MR_ALL_SAMPLES : i;
}

/* Channels that both have; what only one has, the counts tell. */
static void
show_stats_of(diff_view *v, uint32_t split)
{
    const char *name = mr_dataset_split_name(v->ds[0], split);

    for (uint32_t f = 0; f < mr_dataset_fields(v->ds[0]); f++) {
        const char *field = mr_dataset_field_name(v->ds[0], f);
        uint32_t other = field_named(v->ds[1], field);
        uint32_t there = split_named(v->ds[1], name);
        uint32_t n = mr_dataset_stats_channels(v->ds[0], split, f);

        for (uint32_t c = 0; c < n; c++) {
            const mr_channel_stats *a = mr_dataset_stats(v->ds[0], split, f, c);
            const mr_channel_stats *b =
                mr_dataset_stats(v->ds[1], there, other, c);

            if (a != NULL && b != NULL) {
                show_channel(v, name, field, c, &a->all, &b->all);
            }
        }
    }
}

static void
show_stats(diff_view *v)
{
    if (v->in->cli->json) {
        mri_json_key(&v->j, "stats");
        mri_json_array(&v->j);
    }
    /* People read the whole; each split with --stats. */
    for (uint32_t s = 0;
         (v->in->cli->json || v->in->stats) && s < mr_dataset_splits(v->ds[0]);
         s++) {
        show_stats_of(v, s);
    }
    show_stats_of(v, MR_ALL_SAMPLES);
    if (v->in->cli->json) {
        mri_json_end(&v->j);
    }
}

/* ---- the whole ---- */

static void
json_thing(diff_view *v, const char *key, int side)
{
    const mr_dataset *ds = v->ds[side];

    mri_json_key(&v->j, key);
    mri_json_object(&v->j);
    mri_json_put_text(&v->j, "thing", v->names[side]);
    mri_json_put_u64(&v->j, "generation", mr_dataset_generation(ds));
    mri_json_put_text(&v->j, "content_id",
                      mri_text_hex(mr_dataset_content_id(ds), 16));
    mri_json_put_u64(&v->j, "samples", mr_dataset_count(ds));
    mri_json_end(&v->j);
}

static void
text_head(const diff_view *v)
{
    for (int side = 0; side < 2; side++) {
        (void)printf("%s %s: generation %llu, %s, content %s\n",
                     side == 0 ? "a" : "b", v->names[side],
                     (unsigned long long)mr_dataset_generation(v->ds[side]),
                     mri_text_plural(mr_dataset_count(v->ds[side]), "sample"),
                     mri_text_hex(mr_dataset_content_id(v->ds[side]), 16));
    }
    for (int i = 0; i < MRI_CHANGES; i++) {
        (void)printf("%s%s %s", i == 0 ? "  " : ", ",
                     mri_text_count(v->found[i].count), change_names[i]);
    }
    (void)printf("\n");
}

static mr_err
show(diff_view *v, mr_diag *diag)
{
    bool json = v->in->cli->json;
    mr_err err = MR_OK;

    if (json) {
        mri_json_object(&v->j);
        mri_json_put_text(&v->j, "schema", "millrace.diff.1");
        json_thing(v, "a", 0);
        json_thing(v, "b", 1);
        for (int i = 0; i < MRI_CHANGES; i++) {
            mri_json_put_u64(&v->j, change_names[i], v->found[i].count);
        }
    } else {
        text_head(v);
    }
    for (size_t i = 0; i < MRI_COUNT(tallies); i++) {
        show_tally(v, &tallies[i]);
    }
    show_stats(v);
    if (json) {
        mri_json_key(&v->j, "rows");
        mri_json_array(&v->j);
    }
    for (int i = 0; err == MR_OK && i < MRI_CHANGES; i++) {
        err = list_rows(v, (mri_change)i, diag);
    }
    if (err == MR_OK && json) {
        mri_json_end(&v->j);
        mri_json_end(&v->j);
        err = mri_cli_json(&v->j, diag);
    }
    return err;
}

mr_err
mri_inspect_diff(const mri_inspect *in, const char *a, const char *b,
                 mr_diag *diag)
{
    diff_view v = {.in = in, .names = {a, b}};
    mr_err err = mr_dataset_open(&v.ds[0], a, diag);

    if (err == MR_OK) {
        err = mr_dataset_open(&v.ds[1], b, diag);
    }
    if (err == MR_OK) {
        err =
            mri_dataset_diff(v.ds[0], v.ds[1], keep, &v, &in->cli->watch, diag);
    }
    if (err == MR_OK) {
        err = show(&v, diag);
    }
    for (int i = 0; i < MRI_CHANGES; i++) {
        mri_free(v.found[i].at);
    }
    mri_json_release(&v.j);
    mr_dataset_close(v.ds[0]);
    mr_dataset_close(v.ds[1]);
    return err;
}
