/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit.c - make the next generation of a dataset.
 *
 * Everything is computed from the shards' rows, in the order of uid, so it
 * does not matter who wrote them, when, or with how many threads. The index is
 * written first; the exclusive creation of the manifest is the commit.
 */
#include "commit.h"

#include "index.h"
#include "manifest.h"
#include "moments.h"
#include "shard_read.h"
#include "split.h"

#include "dataset_read.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <stdlib.h>
#include <string.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

bool
mri_making_stopped(const mri_making *c)
{
    const mr_watch *w = c->in->watch;

    return w != NULL && w->stop != NULL && w->stop(w->user);
}

static mr_err
open_shards(mri_making *c, mr_diag *diag)
{
    mr_err err = MR_OK;

    c->shards = mri_alloc(c->in->shard_count, sizeof *c->shards);
    if (c->shards == NULL) {
        return no_memory(diag);
    }
    for (uint32_t i = 0; err == MR_OK && i < c->in->shard_count; i++) {
        err = mri_shard_open_in(&c->shards[i], &c->store, &c->in->shards[i],
                                true, diag);
        c->count += c->in->shards[i].samples;
    }
    if (err == MR_OK && c->count > UINT32_MAX) {
        err = mri_fail(diag, MRI_E_TOO_LARGE, MR_NOWHERE,
                       "more than 4,294,967,295 samples");
    }
    return err;
}

/* The samples that stay out: of the generation before, and those that leave
 * now; both ascend, so they are merged. */
static mr_err
list_withdrawn(mri_making *c, mr_diag *diag)
{
    mri_dataset_facts facts = {0};
    uint64_t i = 0, k = 0, n = 0;

    if (c->base != NULL && !c->in->forget_withdrawn) {
        mri_dataset_facts_of(c->base, &facts);
    }
    c->withdrawn = mri_alloc((size_t)(facts.withdrawn + c->in->withdrawn_count),
                             sizeof *c->withdrawn);
    if (c->withdrawn == NULL) {
        return no_memory(diag);
    }
    while (i < facts.withdrawn || k < c->in->withdrawn_count) {
        mri_withdrawn old;
        int order = -1;

        if (i < facts.withdrawn) {
            mri_dataset_withdrawn(c->base, i, &old);
        } else {
            order = 1;
        }
        if (order < 0 && k < c->in->withdrawn_count) {
            order = memcmp(old.uid, c->in->withdrawn[k].uid, MR_UID_BYTES);
        }
        c->withdrawn[n++] = order <= 0 ? old : c->in->withdrawn[k];
        i += order <= 0;
        k += order >= 0;
    }
    c->withdrawn_count = n;
    return MR_OK;
}

static int
withdrawn_order(const void *uid, const void *one)
{
    return memcmp(uid, ((const mri_withdrawn *)one)->uid, MR_UID_BYTES);
}

static bool
is_withdrawn(const mri_making *c, const uint8_t uid[MR_UID_BYTES])
{
    return bsearch(uid, c->withdrawn, (size_t)c->withdrawn_count,
                   sizeof *c->withdrawn, withdrawn_order) != NULL;
}

static uint32_t
class_named(const mri_schema *schema, const char *name)
{
    for (uint32_t i = 0; i < schema->class_count; i++) {
        if (strcmp(schema->classes[i], name) == 0) {
            return i;
        }
    }
    return MR_NO_CLASS;
}

static bool
constant_image(const mri_shard *s, const mri_sample_row *row, uint32_t channels)
{
    mri_moment_row m;

    for (uint32_t c = 0; c < channels; c++) {
        if (mri_shard_moments(s, row, 0, c, &m, NULL) != MR_OK ||
            m.all.min != m.all.max) {
            return false;
        }
    }
    return true;
}

static mr_err
fill_unit(const mri_making *c, uint32_t shard, uint32_t i, mri_unit *u,
          mr_diag *diag)
{
    const mri_shard *s = c->shards[shard];
    mri_sample_row row;
    mri_grid_row g;
    mr_err err = mri_shard_sample(s, i, &row, diag);

    if (err == MR_OK) {
        err = mri_shard_grid(s, &row, 0, &g, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    memcpy(u->uid, row.uid, MR_UID_BYTES);
    u->shard = shard;
    u->row = i;
    u->group = row.group;
    u->key = row.key;
    u->content = row.content;
    u->pixels = constant_image(s, &row, mri_channels_of(&g)) ? 0 : g.content;
    u->class_index = MR_NO_CLASS;
    if (row.class_index < s->schema->n_classes) {
        u->class_index =
            class_named(c->in->schema, s->schema->classes[row.class_index]);
    }
    u->split = c->in->given_split != NULL
                   ? c->in->given_split(c->in->user, row.key)
                   : MRI_SPLIT_BY_HASH;
    return MR_OK;
}

static int
by_uid(const void *a, const void *b)
{
    return memcmp(((const mri_unit *)a)->uid, ((const mri_unit *)b)->uid,
                  MR_UID_BYTES);
}

static int
by_uid_and_shard(const void *a, const void *b)
{
    const mri_unit *x = a, *y = b;
    int order = by_uid(a, b);

    if (order == 0 && x->shard != y->shard) {
        order = x->shard < y->shard ? -1 : 1;
    }
    return order;
}

/* Of a uid that stands in several shards the last one counts: it was written
 * anew with another label. Twice in one shard nobody means. */
static mr_err
drop_superseded(mri_making *c, mr_diag *diag)
{
    uint64_t n = 0;

    for (uint64_t i = 0; i < c->count; i++) {
        char hex[33];

        if (n != 0 && by_uid(&c->units[n - 1], &c->units[i]) == 0) {
            n--;
            c->superseded++;
            if (c->units[n].shard == c->units[i].shard) {
                return mri_fail(diag, MRI_E_DUPLICATE, MR_NOWHERE,
                                "two samples with uid %s",
                                mri_hex(hex, c->units[i].uid, MR_UID_BYTES));
            }
        }
        c->units[n++] = c->units[i];
    }
    c->count = n;
    return MR_OK;
}

static mr_err
gather_units(mri_making *c, mr_diag *diag)
{
    uint64_t n = 0;

    c->units = mri_alloc((size_t)c->count, sizeof *c->units);
    if (c->units == NULL) {
        return no_memory(diag);
    }
    for (uint32_t s = 0; s < c->in->shard_count; s++) {
        for (uint32_t i = 0; i < mri_shard_samples(c->shards[s]); i++) {
            mr_err err = fill_unit(c, s, i, &c->units[n], diag);

            if (err != MR_OK) {
                return err;
            }
            n += !is_withdrawn(c, c->units[n].uid);
        }
        if (mri_making_stopped(c)) {
            return mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
        }
    }
    c->count = n;
    if (n == 0) {
        return mri_fail(diag, MRI_E_EMPTY, MR_NOWHERE,
                        "no usable sample: nothing is committed");
    }
    qsort(c->units, (size_t)c->count, sizeof *c->units, by_uid_and_shard);
    return drop_superseded(c, diag);
}

static mr_err
has_group(const mr_dataset *ds, uint64_t rank, uint64_t group, bool *out,
          mr_diag *diag)
{
    mr_sample s;
    mr_err err = mr_dataset_sample(ds, rank, &s, diag);

    *out = err == MR_OK && s.group == group;
    return err;
}

/* A group that the generation before has assigned stays where it is: give its
 * split to one unit of it, and its bloc follows. */
static mr_err
keep_splits(mri_making *c, mr_diag *diag)
{
    const mr_dataset *parent = c->base;
    uint64_t rank;

    for (uint32_t s = 0; parent != NULL && s < mr_dataset_splits(parent); s++) {
        for (uint64_t i = 0; i < mr_dataset_split_count(parent, s); i++) {
            mri_unit key;
            mri_index_entry e;
            mri_unit *u;
            bool keeps = true;
            mr_err err = mr_dataset_split_at(parent, s, i, &rank, diag);

            if (err == MR_OK) {
                err = mri_index_at(&parent->index, rank, &e, diag);
            }
            if (err != MR_OK) {
                return err;
            }
            memcpy(key.uid, e.uid, MR_UID_BYTES);
            u = bsearch(&key, c->units, (size_t)c->count, sizeof *c->units,
                        by_uid);
            if (u != NULL && c->in->other_labels) {
                err = has_group(parent, rank, u->group, &keeps, diag);
            }
            if (err != MR_OK) {
                return err;
            }
            if (u != NULL && keeps) {
                u->split = s;
            }
        }
    }
    return MR_OK;
}

static mr_err
assign_splits(mri_making *c, mr_diag *diag)
{
    mri_split_rule rule = {.salt = MRI_SPLIT_SALT,
                           .shares = c->in->split_shares,
                           .count = c->in->split_count,
                           .classes = c->in->schema->class_count,
                           .repair = c->in->parent == NULL &&
                                     c->in->given_split == NULL};
    uint32_t n = c->in->split_count;
    mr_err err = keep_splits(c, diag);

    if (err == MR_OK) {
        err =
            mri_split_assign(c->units, c->count, &rule, &c->split_result, diag);
    }
    c->ranks = mri_alloc(n, sizeof *c->ranks);
    c->split_counts = mri_alloc(n, sizeof *c->split_counts);
    c->class_counts = mri_alloc(rule.classes, sizeof *c->class_counts);
    if (err == MR_OK && (c->ranks == NULL || c->split_counts == NULL ||
                         c->class_counts == NULL)) {
        return no_memory(diag);
    }
    for (uint64_t i = 0; err == MR_OK && i < c->count; i++) {
        c->split_counts[c->units[i].split]++;
        if (c->units[i].class_index != MR_NO_CLASS) {
            c->class_counts[c->units[i].class_index]++;
        }
    }
    for (uint32_t s = 0; err == MR_OK && s < n; s++) {
        uint64_t k = 0;

        c->ranks[s] = mri_alloc((size_t)c->split_counts[s], sizeof **c->ranks);
        if (c->ranks[s] == NULL) {
            return no_memory(diag);
        }
        for (uint64_t i = 0; i < c->count; i++) {
            if (c->units[i].split == s) {
                c->ranks[s][k++] = (uint32_t)i;
            }
        }
    }
    return err;
}

/* What a stream can see: samples, labels, splits; not shards. */
static mr_err
find_content_id(mri_making *c, mr_diag *diag)
{
    static const char label[] = "millrace-content-1";
    const mri_schema *schema = c->in->schema;
    mri_sha256 *s = mri_sha256_begin();
    uint8_t digest[32];

    if (s == NULL) {
        return no_memory(diag);
    }
    mri_sha256_add(s, label, sizeof label);
    mri_sha256_u64(s, schema->class_count);
    for (uint32_t i = 0; i < schema->class_count; i++) {
        mri_sha256_u64(s, strlen(schema->classes[i]));
        mri_sha256_add(s, schema->classes[i], strlen(schema->classes[i]));
    }
    mri_sha256_u64(s, c->count);
    for (uint64_t i = 0; i < c->count; i++) {
        mri_sha256_add(s, c->units[i].uid, MR_UID_BYTES);
        mri_sha256_u64(s, c->units[i].content);
    }
    mri_sha256_u64(s, c->in->split_count);
    for (uint32_t i = 0; i < c->in->split_count; i++) {
        mri_sha256_u64(s, strlen(c->in->split_names[i]));
        mri_sha256_add(s, c->in->split_names[i], strlen(c->in->split_names[i]));
        mri_sha256_u64(s, c->split_counts[i]);
        for (uint64_t k = 0; k < c->split_counts[i]; k++) {
            mri_sha256_u64(s, c->ranks[i][k]);
        }
    }
    mri_sha256_end(s, digest);
    mri_sha256_free(s);
    memcpy(c->content_id, digest, 16);
    if (c->in->like != NULL && c->in->withdrawn_count == 0 &&
        !c->in->other_labels &&
        memcmp(digest, mr_dataset_content_id(c->in->like), 16) != 0) {
        return mri_fail(diag, MRI_E_REMADE, MR_NOWHERE,
                        "generation %llu cannot be made again: its shards "
                        "give another content",
                        (unsigned long long)mr_dataset_generation(c->in->like));
    }
    return MR_OK;
}

/* REPLACE: an index without a manifest is litter of a commit that was cut
 * off, and nobody reads it. */
static mr_err
write_index(mri_making *c, uint64_t generation, mr_diag *diag)
{
    mri_index_entry *entries = mri_alloc((size_t)c->count, sizeof *entries);
    mri_index_in in = {.entries = entries,
                       .count = c->count,
                       .splits = c->in->split_count,
                       .split_counts = c->split_counts,
                       .split_ranks = (const uint32_t *const *)c->ranks};
    mri_bytes file = {0};
    mr_err err = MR_OK;

    if (entries == NULL) {
        err = no_memory(diag);
    }
    for (uint64_t i = 0; err == MR_OK && i < c->count; i++) {
        memcpy(entries[i].uid, c->units[i].uid, MR_UID_BYTES);
        entries[i].shard = c->units[i].shard;
        entries[i].row = c->units[i].row;
    }
    if (err == MR_OK && !mri_index_build(&file, c->index_hash, &in)) {
        err = no_memory(diag);
    }
    if (err == MR_OK) {
        c->index_bytes = file.len;
        err = mri_store_put(&c->store, mri_index_name(generation).at, &file,
                            MRI_PUT_REPLACE, diag);
    }
    mri_bytes_release(&file);
    mri_free(entries);
    return err;
}

static void
release(mri_making *c)
{
    for (uint32_t i = 0; c->shards != NULL && i < c->in->shard_count; i++) {
        mri_shard_close(c->shards[i]);
    }
    for (uint32_t i = 0; c->ranks != NULL && i < c->in->split_count; i++) {
        mri_free(c->ranks[i]);
    }
    mri_making_stats_release(c);
    mri_store_close(&c->store);
    mri_free(c->shards);
    mri_free(c->withdrawn);
    mri_free(c->units);
    mri_free(c->ranks);
    mri_free(c->split_counts);
    mri_free(c->class_counts);
}

static uint64_t
oldest_of(const mri_commit *in, uint64_t next)
{
    if (in->oldest == MRI_OLDEST_NEW) {
        return next;
    }
    if (in->oldest == 0 && in->parent != NULL) {
        return in->parent->manifest->oldest;
    }
    return in->oldest;
}

mr_err
mri_dataset_commit(const mri_commit *in, uint64_t *generation, mr_diag *diag)
{
    mri_making c = {.in = in, .base = in->like != NULL ? in->like : in->parent};
    uint64_t next =
        in->parent != NULL ? mr_dataset_generation(in->parent) + 1 : 1;
    mr_err err = mri_store_open(&c.store, in->dir, diag);

    c.oldest = oldest_of(in, next);
    if (err == MR_OK) {
        err = open_shards(&c, diag);
    }
    if (err == MR_OK) {
        err = list_withdrawn(&c, diag);
    }
    if (err == MR_OK) {
        err = gather_units(&c, diag);
    }
    if (err == MR_OK) {
        err = assign_splits(&c, diag);
    }
    if (err == MR_OK) {
        err = find_content_id(&c, diag);
    }
    if (err == MR_OK) {
        err = mri_making_stats(&c, diag);
    }
    if (err == MR_OK) {
        err = mri_making_histograms(&c, diag);
    }
    if (err == MR_OK) {
        err = mri_making_measures(&c, diag);
    }
    if (err == MR_OK) {
        err = write_index(&c, next, diag);
    }
    if (err == MR_OK) {
        err = mri_manifest_write(&c, next, diag);
    }
    release(&c);
    if (err == MR_OK) {
        *generation = next;
    }
    return err;
}
