/* SPDX-License-Identifier: Apache-2.0 */
/* commit_manifest.c - what was computed of a generation, as its manifest. */
#include "commit.h"

#include "dataset_read.h"
#include "level.h"
#include "manifest.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/hash.h>
#include <mri/json.h>

#include <stdio.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* All that protobuf-c points into while it packs. */
typedef struct manifest_parts {
    Mri__PbSchema schema;
    Mri__PbField *fields;
    Mri__PbField **field_list;
    Mri__PbShard *shards;
    Mri__PbShard **shard_list;
    Mri__PbSplit *splits;
    Mri__PbSplit **split_list;
    Mri__PbStatistics *statistics;
    Mri__PbStatistics **statistics_list;
    Mri__PbChannel *channels;
    Mri__PbChannel **channel_list;
    Mri__PbMoments *moments;
    Mri__PbMeasure *measures;
    Mri__PbMeasure **measure_list;
    mri_bytes measured;
    Mri__PbVariant *variants;
    Mri__PbVariant **variant_list;
    mri_json recipe;
    mri_bytes withdrawn;
} manifest_parts;

static char *
text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static bool
fill_schema(manifest_parts *p, const mri_schema *schema)
{
    size_t n = schema->field_count;

    p->fields = mri_alloc(n, sizeof *p->fields);
    p->field_list = mri_alloc(n, sizeof *p->field_list);
    if (p->fields == NULL || p->field_list == NULL) {
        return false;
    }
    mri__pb_schema__init(&p->schema);
    for (size_t i = 0; i < n; i++) {
        mri__pb_field__init(&p->fields[i]);
        p->fields[i].name = text(schema->field_names[i]);
        p->fields[i].kind = schema->field_kinds[i];
        if (schema->field_levels != NULL) {
            mri_level_to_pb(&p->fields[i], &schema->field_levels[i]);
        }
        p->field_list[i] = &p->fields[i];
    }
    p->schema.n_fields = n;
    p->schema.fields = p->field_list;
    p->schema.n_classes = schema->class_count;
    p->schema.classes = (char **)(uintptr_t)schema->classes;
    p->schema.config = text(schema->config);
    p->schema.writer = text("");
    return true;
}

static bool
fill_shards(manifest_parts *p, const mri_commit *in)
{
    p->shards = mri_alloc(in->shard_count, sizeof *p->shards);
    p->shard_list = mri_alloc(in->shard_count, sizeof *p->shard_list);
    if (p->shards == NULL || p->shard_list == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < in->shard_count; i++) {
        const mri_shard_ref *ref = &in->shards[i];
        Mri__PbShard *s = &p->shards[i];

        mri__pb_shard__init(s);
        s->id = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)ref->id};
        s->plan_tag =
            (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)ref->plan_tag};
        s->bytes = ref->bytes;
        s->foot_hash = ref->foot_hash;
        s->samples = ref->samples;
        s->raw_bytes = ref->raw_bytes;
        p->shard_list[i] = s;
    }
    return true;
}

/* fold0, fold1, ...: of equal shares, each to be left out in its turn. */
static bool
are_folds(const mri_commit *in)
{
    for (uint32_t i = 0; i < in->split_count; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "fold%u", i);
        if (strcmp(in->split_names[i], name) != 0) {
            return false;
        }
    }
    return in->split_count > 1;
}

static bool
fill_splits(manifest_parts *p, const mri_making *c)
{
    uint32_t n = c->in->split_count;

    p->splits = mri_alloc(n, sizeof *p->splits);
    p->split_list = mri_alloc(n, sizeof *p->split_list);
    if (p->splits == NULL || p->split_list == NULL) {
        return false;
    }
    mri_json_object(&p->recipe);
    mri_json_put_text(&p->recipe, "salt", MRI_SPLIT_SALT);
    mri_json_put_text(&p->recipe, "origin",
                      c->in->given_split != NULL ? "source" : "hash");
    mri_json_key(&p->recipe, "shares");
    mri_json_array(&p->recipe);
    for (uint32_t i = 0; i < n; i++) {
        mri__pb_split__init(&p->splits[i]);
        p->splits[i].name = text(c->in->split_names[i]);
        p->splits[i].count = c->split_counts[i];
        p->split_list[i] = &p->splits[i];
        mri_json_f64(&p->recipe, c->in->split_shares[i]);
    }
    mri_json_end(&p->recipe);
    if (are_folds(c->in)) {
        mri_json_put_u64(&p->recipe, "folds", n);
    }
    mri_json_end(&p->recipe);
    return mri_json_done(&p->recipe) != NULL;
}

static bool
fill_withdrawn(manifest_parts *p, const mri_making *c)
{
    bool ok = true;

    for (uint64_t i = 0; ok && i < c->withdrawn_count; i++) {
        const mri_withdrawn *one = &c->withdrawn[i];

        ok = mri_bytes_add(&p->withdrawn, one->uid, MR_UID_BYTES) &&
             mri_bytes_u64(&p->withdrawn, one->key) &&
             mri_bytes_u64(&p->withdrawn, one->group);
    }
    return ok;
}

static void
fill_moments(Mri__PbMoments *pb, const mr_moments *m)
{
    mri__pb_moments__init(pb);
    pb->count = m->count;
    pb->min = m->min;
    pb->max = m->max;
    pb->sum = m->sum;
    pb->sum_squares = m->sum_squares;
}

/* NaN: there are none. */
static size_t
how_many(const double percentile[MR_PERCENTILES])
{
    return percentile[0] == percentile[0] ? MR_PERCENTILES : 0;
}

/* A reader of 1.0 expects none where a sample is kept as a file. */
static void
fill_percentiles(Mri__PbChannel *to, mr_channel_stats *from, bool decoded)
{
    size_t n = how_many(from->percentile);
    size_t nonzero = how_many(from->nonzero_percentile);

    if (decoded) {
        to->n_decoded_percentiles = n;
        to->decoded_percentiles = from->percentile;
        to->n_decoded_nonzero_percentiles = nonzero;
        to->decoded_nonzero_percentiles = from->nonzero_percentile;
        return;
    }
    to->n_percentiles = n;
    to->percentiles = from->percentile;
    to->n_nonzero_percentiles = nonzero;
    to->nonzero_percentiles = from->nonzero_percentile;
}

static void
fill_channel(Mri__PbChannel *to, Mri__PbMoments room[4], const mri_stats *s,
             uint32_t channel)
{
    mr_channel_stats *from = &s->channel[channel];

    mri__pb_channel__init(to);
    to->all = &room[0];
    to->nonzero = &room[1];
    to->unit = &room[2];
    to->foreground = &room[3];
    fill_moments(to->all, &from->all);
    fill_moments(to->nonzero, &from->nonzero);
    fill_moments(to->unit, &from->unit);
    fill_moments(to->foreground, &from->foreground);
    to->non_finite = from->non_finite;
    to->n_foreground_percentiles = how_many(from->foreground_percentile);
    to->foreground_percentiles = from->foreground_percentile;
    fill_percentiles(to, from, s->bins.decoded);
    if (s->histogram != NULL) {
        ProtobufCBinaryData packed = {s->histogram[channel].len,
                                      s->histogram[channel].data};

        const mri_bytes *under = &s->histogram[s->channels + channel];

        *(s->bins.decoded ? &to->decoded_histogram : &to->histogram) = packed;
        to->foreground_histogram =
            (ProtobufCBinaryData){under->len, under->data};
    }
}

static void
fill_bins(Mri__PbStatistics *to, const mri_bins *bins)
{
    if (bins->decoded) {
        to->decoded_bins = bins->kind;
        to->decoded_slope = bins->slope;
        to->decoded_inter = bins->inter;
        return;
    }
    to->bins = bins->kind;
    to->slope = bins->slope;
    to->inter = bins->inter;
}

static bool
fill_statistics(manifest_parts *p, const mri_making *c)
{
    uint32_t fields = c->in->schema->field_count;
    size_t n = (size_t)(c->in->split_count + 1) * fields, channels = 0, k = 0;

    for (size_t i = 0; i < n; i++) {
        channels += c->stats[i].channels;
    }
    p->statistics = mri_alloc(n, sizeof *p->statistics);
    p->statistics_list = mri_alloc(n, sizeof *p->statistics_list);
    p->channels = mri_alloc(channels, sizeof *p->channels);
    p->channel_list = mri_alloc(channels, sizeof *p->channel_list);
    p->moments = mri_alloc(channels * 4, sizeof *p->moments);
    if (p->statistics == NULL || p->statistics_list == NULL ||
        p->channels == NULL || p->channel_list == NULL || p->moments == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        Mri__PbStatistics *s = &p->statistics[i];
        uint32_t split = (uint32_t)(i / fields);

        mri__pb_statistics__init(s);
        s->split =
            text(split < c->in->split_count ? c->in->split_names[split] : "");
        s->field = text(c->in->schema->field_names[i % fields]);
        s->n_channels = c->stats[i].channels;
        fill_bins(s, &c->stats[i].bins);
        s->channels = p->channel_list + k;
        p->statistics_list[i] = s;
        for (uint32_t ch = 0; ch < c->stats[i].channels; ch++, k++) {
            Mri__PbChannel *to = &p->channels[k];

            fill_channel(to, &p->moments[4 * k], &c->stats[i], ch);
            p->channel_list[k] = to;
        }
    }
    return true;
}

static size_t
values_of(const mri_measures *m, uint32_t splits)
{
    size_t n = 0;

    for (size_t i = 0; i < m->groups && m->group[i].split < splits; i++) {
        n += m->group[i].end - m->group[i].first;
    }
    return n;
}

/* Groups stand in the order of the statistics. The values of all splits are
 * not written, and none are if they are many. */
static bool
fill_measures(manifest_parts *p, const mri_making *c)
{
    const mri_measures *m = &c->measures;
    uint32_t fields = c->in->schema->field_count, splits = c->in->split_count;
    size_t values = values_of(m, splits), at = 0;
    bool kept = values <= MRI_MEASURED_KEPT, ok = true;

    p->measures = mri_alloc(m->groups, sizeof *p->measures);
    p->measure_list = mri_alloc(m->groups, sizeof *p->measure_list);
    if (p->measures == NULL || p->measure_list == NULL ||
        !mri_bytes_reserve(&p->measured,
                           kept ? values * MRI_MEASURED_BYTES : 0)) {
        return false;
    }
    for (size_t i = 0; ok && i < m->groups; i++) {
        mri_measure_group *g = &m->group[i];
        Mri__PbStatistics *s = &p->statistics[g->split * fields + g->field];
        Mri__PbMeasure *to = &p->measures[i];

        mri__pb_measure__init(to);
        to->axis = g->axis;
        to->kind = g->m.kind;
        to->count = g->m.count;
        to->n_percentiles = MR_PERCENTILES;
        to->percentiles = g->m.percentile;
        if (kept && g->split < splits) {
            ok = mri_measures_pack(&p->measured, m, g);
            to->values.data = p->measured.data + at;
            to->values.len = p->measured.len - at;
            at = p->measured.len;
        }
        p->measure_list[i] = to;
        s->measures = s->n_measures++ == 0 ? &p->measure_list[i] : s->measures;
    }
    return ok;
}

static bool
fill_variants(manifest_parts *p, const mri_making *c)
{
    p->variants = mri_alloc(c->variant_count, sizeof *p->variants);
    p->variant_list = mri_alloc(c->variant_count, sizeof *p->variant_list);
    if (p->variants == NULL || p->variant_list == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < c->variant_count; i++) {
        Mri__PbVariant *v = &p->variants[i];
        mri_variant *from = &c->variants[i];

        mri__pb_variant__init(v);
        v->field = from->field;
        v->encoding = from->encoding;
        v->dtype = from->dtype;
        v->axes = from->axes;
        v->n_shape = from->rank;
        v->shape = from->shape;
        v->count = from->count;
        p->variant_list[i] = v;
    }
    return true;
}

static void
release_parts(manifest_parts *p)
{
    mri_free(p->fields);
    mri_free(p->field_list);
    mri_free(p->shards);
    mri_free(p->shard_list);
    mri_free(p->splits);
    mri_free(p->split_list);
    mri_free(p->statistics);
    mri_free(p->statistics_list);
    mri_free(p->channels);
    mri_free(p->channel_list);
    mri_free(p->moments);
    mri_free(p->measures);
    mri_free(p->measure_list);
    mri_bytes_release(&p->measured);
    mri_free(p->variants);
    mri_free(p->variant_list);
    mri_json_release(&p->recipe);
    mri_bytes_release(&p->withdrawn);
}

/* SHA-256 of the manifest before: a chain that nobody can rewrite unseen. */
static mr_err
hash_parent(const mr_dataset *parent, uint8_t out[32], mr_diag *diag)
{
    mri_object_name name = mri_manifest_name(mr_dataset_generation(parent));
    mri_bytes b = {0};
    mr_err err =
        mri_store_load(&parent->store, name.at, MRI_MANIFEST_LIMIT, &b, diag);

    if (err == MR_OK) {
        mri_sha256_of(out, b.data, b.len);
    }
    mri_bytes_release(&b);
    return err;
}

static void
fill_manifest(Mri__PbManifest *pb, manifest_parts *p, const mri_making *c)
{
    pb->schema = &p->schema;
    pb->n_shards = c->in->shard_count;
    pb->shards = p->shard_list;
    pb->n_splits = c->in->split_count;
    pb->splits = p->split_list;
    pb->split_recipe = c->in->like != NULL ? c->in->like->manifest->split_recipe
                                           : (char *)p->recipe.out.data;
    pb->n_statistics =
        (size_t)(c->in->split_count + 1) * c->in->schema->field_count;
    pb->statistics = p->statistics_list;
    pb->samples = c->count;
    pb->groups = c->split_result.groups;
    pb->leaks = c->split_result.torn;
    pb->joined = c->split_result.joined;
    pb->quarantined = c->in->quarantined;
    pb->index_hash =
        (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)c->index_hash};
    pb->index_bytes = c->index_bytes;
    pb->content_id =
        (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)c->content_id};
    pb->layout = text(c->in->layout);
    pb->n_class_counts = c->in->schema->class_count;
    pb->class_counts = c->class_counts;
    pb->n_variants = c->variant_count;
    pb->variants = p->variant_list;
    pb->oldest = c->oldest;
    pb->superseded = c->superseded;
    pb->withdrawn = (ProtobufCBinaryData){p->withdrawn.len, p->withdrawn.data};
}

mr_err
mri_manifest_write(const mri_making *c, uint64_t generation, mr_diag *diag)
{
    Mri__PbManifest pb;
    manifest_parts parts = {0};
    uint8_t parent[32];
    mri_bytes file = {0};
    mr_err err = MR_OK;

    mri__pb_manifest__init(&pb);
    if ((!fill_schema(&parts, c->in->schema) || !fill_shards(&parts, c->in) ||
         !fill_splits(&parts, c) || !fill_statistics(&parts, c) ||
         !fill_measures(&parts, c) || !fill_variants(&parts, c) ||
         !fill_withdrawn(&parts, c))) {
        err = no_memory(diag);
    }
    if (err == MR_OK && c->in->parent != NULL) {
        err = hash_parent(c->in->parent, parent, diag);
        pb.parent = (ProtobufCBinaryData){32, parent};
        pb.dataset_id = (ProtobufCBinaryData){
            16, (uint8_t *)(uintptr_t)mr_dataset_id(c->in->parent)};
    }
    if (err == MR_OK) {
        pb.generation = generation;
        fill_manifest(&pb, &parts, c);
        if (!mri_manifest_build(&file, &pb)) {
            err = no_memory(diag);
        }
    }
    if (err == MR_OK) {
        err = mri_store_put(&c->store, mri_manifest_name(generation).at, &file,
                            MRI_PUT_NEW, diag);
    }
    release_parts(&parts);
    mri_bytes_release(&file);
    return err;
}
