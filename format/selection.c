/* SPDX-License-Identifier: Apache-2.0 */
/*
 * selection.c - unions and complements of splits.
 *
 * A union is a bit for each sample of the dataset: its i-th sample is found by
 * a search over counts of whole blocks and then within one, in the time that
 * a few cache misses take. Merging the lists of ranks would hold 32 times as
 * much, and no bit can stand twice.
 */
#include <mri/selection.h>

#include "dataset_read.h"
#include "moments.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/opt.h>

#include <stdio.h>
#include <string.h>

#define RANKS 1024u /* at once */
#define BLOCK_WORDS 8
#define BLOCK_BITS (64 * BLOCK_WORDS)
#define SPLITS_MAX 256 /* of a dataset, and of a table of features */

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* ---- names ---- */

/* One name within a text. */
typedef struct part {
    const char *at;
    size_t bytes;
} part;

static mr_err
wrong(const char *text, const char *what, mr_diag *diag)
{
    return mri_fail(diag, MRI_E_SPLIT_UNION, MR_NOWHERE, "split '%.120s': %s",
                    text, what);
}

static mr_err
unknown(const part *p, const char *const *names, uint32_t count, mr_diag *diag)
{
    mri_bytes known = {0};
    char word[84];
    const char *near;
    mr_err err;

    (void)snprintf(word, sizeof word, "%.*s",
                   p->bytes < 80 ? (int)p->bytes : 80, p->at);
    near = mri_nearest(word, names, count);
    for (uint32_t i = 0; i < count; i++) {
        (void)mri_bytes_text(&known, ", %.60s", names[i]);
    }
    err = mri_fail(diag, MRI_E_SPLIT, MR_NOWHERE,
                   "no split '%s'%s%.80s%s; there are: all%.200s", word,
                   near != NULL ? " (did you mean '" : "",
                   near != NULL ? near : "", near != NULL ? "'?)" : "",
                   known.len != 0 ? (const char *)known.data : "");
    mri_bytes_release(&known);
    return err;
}

static mr_err
take_part(const char *text, const part *p, const char *const *names,
          uint32_t count, bool *named, mr_diag *diag)
{
    uint32_t i = 0;

    if (p->bytes == 0) {
        return wrong(text, "a name is missing", diag);
    }
    while (i < count && (strlen(names[i]) != p->bytes ||
                         memcmp(names[i], p->at, p->bytes) != 0)) {
        i++;
    }
    if (i == count) {
        return p->at[0] == '!'
                   ? wrong(text, "'!' stands once, before all names", diag)
                   : unknown(p, names, count, diag);
    }
    if (named[i]) {
        char what[120];

        (void)snprintf(what, sizeof what, "'%.80s' is named twice", names[i]);
        return wrong(text, what, diag);
    }
    named[i] = true;
    return MR_OK;
}

mr_err
mri_splits_named(const char *text, const char *const *names, uint32_t count,
                 bool *chosen, mr_diag *diag)
{
    bool named[SPLITS_MAX] = {false}, any = false, but = false;
    part p = {text, strlen(text)};
    mr_err err = MR_OK;

    count = count < SPLITS_MAX ? count : SPLITS_MAX;
    for (uint32_t i = 0; i < count; i++) {
        named[i] = strcmp(names[i], text) == 0;
        any = any || named[i];
    }
    if (!any && text[0] == '!') {
        but = true;
        p.at++;
    }
    for (bool more = !any; more && err == MR_OK; p.at += p.bytes + 1) {
        p.bytes = strcspn(p.at, "+");
        more = p.at[p.bytes] == '+';
        err = take_part(text, &p, names, count, named, diag);
        if (!more) {
            break;
        }
    }
    for (uint32_t i = 0; err == MR_OK && i < count; i++) {
        any = any || named[i] != but;
    }
    if (err == MR_OK && !any) {
        err = wrong(text, "no split is left", diag);
    }
    for (uint32_t i = 0; err == MR_OK && i < count; i++) {
        chosen[i] = named[i] != but;
    }
    return err;
}

/* ---- bits ---- */

static mr_err
set_bits(mri_selection *s, uint32_t split, mr_diag *diag)
{
    uint64_t n = mr_dataset_split_count(s->ds, split), i = 0;
    uint32_t rank[RANKS], here;
    mr_err err = MR_OK;

    for (; err == MR_OK && i < n; i += here) {
        here = n - i < RANKS ? (uint32_t)(n - i) : RANKS;
        err = mri_index_ranks(&s->ds->index, split, i, here, rank, diag);
        for (uint32_t k = 0; err == MR_OK && k < here; k++) {
            s->bits[rank[k] / 64] |= (uint64_t)1 << rank[k] % 64;
        }
    }
    return err;
}

static mr_err
make_bits(mri_selection *s, mr_diag *diag)
{
    mr_err err = MR_OK;

    s->blocks = mr_dataset_count(s->ds) / BLOCK_BITS + 1;
    s->bits = mri_alloc((size_t)s->blocks * BLOCK_WORDS, sizeof *s->bits);
    s->before = mri_alloc((size_t)s->blocks + 1, sizeof *s->before);
    if (s->bits == NULL || s->before == NULL) {
        return no_memory(diag);
    }
    for (uint32_t i = 0; err == MR_OK && i < mr_dataset_splits(s->ds); i++) {
        err = s->chosen[i] ? set_bits(s, i, diag) : MR_OK;
    }
    for (uint64_t b = 0; b < s->blocks; b++) {
        unsigned here = 0;

        for (unsigned k = 0; k < BLOCK_WORDS; k++) {
            here +=
                (unsigned)__builtin_popcountll(s->bits[b * BLOCK_WORDS + k]);
        }
        s->before[b + 1] = s->before[b] + here;
    }
    s->count = s->before[s->blocks];
    return err;
}

/* The i-th bit that is set; i < count. */
static uint64_t
bit_at(const mri_selection *s, uint64_t i)
{
    uint64_t low = 0, high = s->blocks, word, left;

    while (high - low > 1) { /* before[low] <= i < before[high] */
        uint64_t middle = low + (high - low) / 2;

        if (s->before[middle] <= i) {
            low = middle;
        } else {
            high = middle;
        }
    }
    left = i - s->before[low];
    for (word = low * BLOCK_WORDS;; word++) {
        unsigned here = (unsigned)__builtin_popcountll(s->bits[word]);

        if (left < here) {
            break;
        }
        left -= here;
    }
    for (uint64_t bits = s->bits[word];; bits &= bits - 1, left--) {
        if (left == 0) {
            return word * 64 + (unsigned)__builtin_ctzll(bits);
        }
    }
}

/* ---- a selection ---- */

/* Names in the dataset's order, joined; whether that is a name of its own. */
static mr_err
canonical(mri_selection *s, const char *const *names, uint32_t count,
          mr_diag *diag)
{
    mri_bytes text = {0};
    bool ok = true, odd = false;

    for (uint32_t i = 0; ok && i < count; i++) {
        if (s->chosen[i]) {
            ok = mri_bytes_text(&text, "%s%s", text.len != 0 ? "+" : "",
                                names[i]);
            odd = odd || strchr(names[i], '+') != NULL;
        }
    }
    if (!ok) {
        mri_bytes_release(&text);
        return no_memory(diag);
    }
    s->name = (char *)text.data;
    return odd ? wrong(s->name, "a name with a '+' in it joins no union", diag)
               : MR_OK;
}

static mr_err
open_union(mri_selection *s, const char *const *names, uint32_t count,
           uint32_t picked, mr_diag *diag)
{
    mr_err err = canonical(s, names, count, diag);

    for (uint32_t i = 0; err == MR_OK && i < count; i++) {
        if (strcmp(names[i], s->name) == 0) {
            err = wrong(s->name, "that is the name of one split too", diag);
        }
    }
    if (err == MR_OK) {
        err = make_bits(s, diag);
    }
    if (err != MR_OK || picked < count || s->count != mr_dataset_count(s->ds)) {
        return err;
    }
    mri_selection_release(s); /* every sample: the same as all of them */
    return mri_selection_open(s, s->ds, "all", diag);
}

static mr_err
open_plain(mri_selection *s, uint32_t split, mr_diag *diag)
{
    mri_free(s->chosen);
    s->chosen = NULL;
    s->split = split;
    s->count = mr_dataset_split_count(s->ds, split);
    s->name = mri_strdup(
        split == MR_ALL_SAMPLES ? "all" : mr_dataset_split_name(s->ds, split));
    return s->name != NULL ? MR_OK : no_memory(diag);
}

mr_err
mri_selection_open(mri_selection *out, const mr_dataset *ds, const char *text,
                   mr_diag *diag)
{
    const char *names[SPLITS_MAX];
    uint32_t count = mr_dataset_splits(ds), picked = 0, last = 0;
    mri_dataset_facts facts;
    mr_err err;

    *out = (mri_selection){.ds = ds, .split = MR_ALL_SAMPLES};
    if (strcmp(text, "all") == 0) {
        return open_plain(out, MR_ALL_SAMPLES, diag);
    }
    count = count < SPLITS_MAX ? count : SPLITS_MAX; /* as the index has it */
    for (uint32_t i = 0; i < count; i++) {
        names[i] = mr_dataset_split_name(ds, i);
    }
    out->chosen = mri_alloc((size_t)count + 1, sizeof *out->chosen);
    err = out->chosen != NULL
              ? mri_splits_named(text, names, count, out->chosen, diag)
              : no_memory(diag);
    for (uint32_t i = 0; err == MR_OK && i < count; i++) {
        picked += out->chosen[i];
        last = out->chosen[i] ? i : last;
    }
    if (err == MR_OK) {
        err = picked == 1 ? open_plain(out, last, diag)
                          : open_union(out, names, count, picked, diag);
    }
    if (err != MR_OK) {
        mri_dataset_facts_of(ds, &facts);
        mri_diag_in(diag, facts.dir);
    }
    return err;
}

void
mri_selection_release(mri_selection *s)
{
    const mr_dataset *ds = s->ds;

    mri_free(s->name);
    mri_free(s->chosen);
    mri_free(s->bits);
    mri_free(s->before);
    *s = (mri_selection){.ds = ds};
}

mr_err
mri_selection_at(const mri_selection *s, uint64_t i, uint64_t *rank,
                 mr_diag *diag)
{
    if (s->chosen == NULL) {
        return mr_dataset_split_at(s->ds, s->split, i, rank, diag);
    }
    if (i >= s->count) {
        return mri_fail(diag, MRI_E_NO_SAMPLE, MR_NOWHERE,
                        "sample %llu of split %.80s", (unsigned long long)i,
                        s->name);
    }
    *rank = bit_at(s, i);
    return MR_OK;
}

/* ---- statistics ---- */

uint32_t
mri_selection_channels(const mri_selection *s, uint32_t field)
{
    uint32_t most = 0;

    if (s->chosen == NULL) {
        return mr_dataset_stats_channels(s->ds, s->split, field);
    }
    for (uint32_t i = 0; i < mr_dataset_splits(s->ds); i++) {
        uint32_t n = mr_dataset_stats_channels(s->ds, i, field);

        most = s->chosen[i] && n > most ? n : most;
    }
    return most;
}

static void
add_moments(const mri_selection *s, uint32_t split, uint32_t field,
            uint32_t channel, mr_moments *both)
{
    const mr_channel_stats *st = mr_dataset_stats(s->ds, split, field, channel);

    if (st != NULL && both[0].count == 0) {
        both[0] = st->all;
        both[1] = st->unit;
    } else if (st != NULL) {
        mri_moments_merge(&both[0], &st->all);
        mri_moments_merge(&both[1], &st->unit);
    }
}

void
mri_selection_moments(const mri_selection *s, uint32_t field, uint32_t channel,
                      mr_moments *all, mr_moments *unit)
{
    mr_moments both[2] = {{0}, {0}};

    if (s->chosen == NULL) {
        add_moments(s, s->split, field, channel, both);
    }
    for (uint32_t i = 0; s->chosen != NULL && i < mr_dataset_splits(s->ds);
         i++) {
        if (s->chosen[i]) {
            add_moments(s, i, field, channel, both);
        }
    }
    *all = both[0];
    *unit = both[1];
}
