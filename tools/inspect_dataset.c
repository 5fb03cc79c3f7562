/* SPDX-License-Identifier: Apache-2.0 */
/* inspect_dataset.c - a dataset, as a table for people or JSON for programs. */
#include "inspect.h"

#include "contact.h"

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/ingest.h>

#include <stdlib.h>
#include <string.h>

typedef struct view {
    const mri_inspect *in;
    mr_dataset *ds;
    uint32_t *split_of; /* [count]; MR_ALL_SAMPLES: in none */
    mri_json j;
} view;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
find_splits(view *v, mr_diag *diag)
{
    uint64_t n = mr_dataset_count(v->ds), rank;

    v->split_of = mri_alloc((size_t)n, sizeof *v->split_of);
    if (v->split_of == NULL) {
        return no_memory(diag);
    }
    memset(v->split_of, 0xFF, (size_t)n * sizeof *v->split_of);
    for (uint32_t s = 0; s < mr_dataset_splits(v->ds); s++) {
        for (uint64_t i = 0; i < mr_dataset_split_count(v->ds, s); i++) {
            mr_err err = mr_dataset_split_at(v->ds, s, i, &rank, diag);

            if (err != MR_OK) {
                return err;
            }
            v->split_of[rank] = s;
        }
    }
    return MR_OK;
}

static const char *
split_name(const view *v, uint64_t rank)
{
    return v->split_of[rank] == MR_ALL_SAMPLES
               ? NULL
               : mr_dataset_split_name(v->ds, v->split_of[rank]);
}

/* ---- JSON ---- */

static void
json_shape(mri_json *j, const uint64_t *shape, uint32_t rank)
{
    mri_json_array(j);
    for (uint32_t i = 0; i < rank; i++) {
        mri_json_u64(j, shape[i]);
    }
    mri_json_end(j);
}

static void
json_variant(mri_json *j, const mri_variant *w)
{
    mri_json_key(j, "dtype");
    mri_json_text(j, w->dtype != MR_NONE ? mr_dtype_name(w->dtype) : NULL);
    mri_json_key(j, "axes");
    mri_json_text(j, w->dtype != MR_NONE ? w->axes : NULL);
    mri_json_key(j, "shape");
    if (w->dtype != MR_NONE) {
        json_shape(j, w->shape, w->rank);
    } else {
        mri_json_null(j);
    }
}

static const char *
encoding_name(mr_encoding encoding)
{
    return encoding == MR_ENC_JPEG     ? "jpeg"
           : encoding == MR_ENC_CHUNKS ? "chunks"
           : encoding == MR_ENC_BYTES  ? "bytes"
                                       : "unknown";
}

/* One type and shape: they stand in the field. Several: null, and variants. */
static void
json_fields(view *v)
{
    mri_json *j = &v->j;

    mri_json_key(j, "fields");
    mri_json_array(j);
    for (uint32_t f = 0; f < mr_dataset_fields(v->ds); f++) {
        uint32_t n = 0, last = 0;
        mri_variant w;

        for (uint32_t i = 0; i < mri_dataset_variants(v->ds); i++) {
            mri_dataset_variant(v->ds, i, &w);
            n += w.field == f;
            last = w.field == f ? i : last;
        }
        mri_json_object(j);
        mri_json_put_text(j, "name", mr_dataset_field_name(v->ds, f));
        mri_inspect_field_json(j, v->ds, f);
        if (n == 1) {
            mri_dataset_variant(v->ds, last, &w);
            json_variant(j, &w);
            mri_json_put_text(j, "encoding", encoding_name(w.encoding));
        } else {
            json_variant(j, &(mri_variant){0});
            mri_json_key(j, "variants");
            mri_json_array(j);
            for (uint32_t i = 0; i < mri_dataset_variants(v->ds); i++) {
                mri_dataset_variant(v->ds, i, &w);
                if (w.field == f) {
                    mri_json_object(j);
                    json_variant(j, &w);
                    mri_json_put_u64(j, "count", w.count);
                    mri_json_end(j);
                }
            }
            mri_json_end(j);
        }
        mri_json_end(j);
    }
    mri_json_end(j);
}

static void
json_facts(view *v)
{
    mri_dataset_facts facts;
    mri_json *j = &v->j;

    mri_dataset_facts_of(v->ds, &facts);
    mri_json_put_text(j, "schema", "millrace.inspect.1");
    mri_inspect_version_json(j, &facts.version, mri_dataset_feature_name);
    mri_json_put_u64(j, "generation", mr_dataset_generation(v->ds));
    mri_json_put_text(j, "dataset_id", mri_text_hex(mr_dataset_id(v->ds), 16));
    mri_json_put_text(j, "content_id",
                      mri_text_hex(mr_dataset_content_id(v->ds), 16));
    mri_json_put_text(j, "layout", facts.layout);
    mri_json_put_u64(j, "samples", facts.samples);
    mri_json_put_u64(j, "quarantined", facts.quarantined);
    mri_json_put_u64(j, "withdrawn", facts.withdrawn);
    mri_json_key(j, "classes");
    mri_json_object(j);
    for (uint32_t i = 0; i < mr_dataset_classes(v->ds); i++) {
        mri_json_put_u64(j, mr_dataset_class_name(v->ds, i),
                         mri_dataset_class_count(v->ds, i));
    }
    mri_json_end(j);
    mri_json_put_u64(j, "groups", facts.groups);
    mri_json_put_u64(j, "joined", facts.joined);
    mri_json_put_u64(j, "leaks", facts.leaks);
    json_fields(v);
    mri_json_key(j, "splits");
    mri_json_object(j);
    for (uint32_t i = 0; i < mr_dataset_splits(v->ds); i++) {
        mri_json_put_u64(j, mr_dataset_split_name(v->ds, i),
                         mr_dataset_split_count(v->ds, i));
    }
    mri_json_end(j);
    mri_json_put_u64(j, "shards", facts.shards);
    mri_json_put_u64(j, "bytes", facts.bytes);
    mri_json_put_u64(j, "raw_bytes", facts.raw_bytes);
}

/* ---- samples ---- */

/* A field that a newer millrace knows hides nothing but itself. */
static mr_err
left_alone(mr_err err, mr_diag *diag)
{
    if (err == MR_EVERSION) {
        mri_diag_clear(diag);
        return MR_OK;
    }
    return err;
}

static mr_err
row_json(view *v, uint64_t rank, const mr_sample *s, const mri_meta *meta,
         mr_diag *diag)
{
    mri_json *j = &v->j;
    uint64_t unknown = 0;
    mr_err err = MR_OK;

    mri_json_object(j);
    mri_json_put_text(j, "key", meta->key);
    mri_json_put_text(j, "uid", mri_text_hex(s->uid, 16));
    mri_json_put_text(j, "class",
                      s->class_index != MR_NO_CLASS
                          ? mr_dataset_class_name(v->ds, s->class_index)
                          : NULL);
    mri_json_put_text(j, "group", meta->group[0] != '\0' ? meta->group : NULL);
    mri_json_put_text(j, "split", split_name(v, rank));
    mri_json_key(j, "fields");
    mri_json_object(j);
    for (uint32_t i = 0; err == MR_OK && i < s->fields; i++) {
        mr_field f;

        err = mr_dataset_field(v->ds, rank, i, &f, diag);
        if (err == MR_OK) {
            mri_json_key(j, mr_dataset_field_name(v->ds, f.name));
            mri_json_object(j);
            mri_json_put_text(j, "dtype", mr_dtype_name(f.dtype));
            mri_json_put_text(j, "axes", f.axes);
            mri_json_key(j, "shape");
            json_shape(j, f.shape, f.rank);
            mri_json_end(j);
        }
        unknown += err == MR_EVERSION;
        err = left_alone(err, diag);
    }
    mri_json_end(j);
    if (unknown != 0) {
        mri_json_put_u64(j, "unknown_fields", unknown);
    }
    mri_json_end(j);
    return err;
}

static mr_err
row_text(view *v, uint64_t rank, const mr_sample *s, const mri_meta *meta,
         mr_diag *diag)
{
    const char *split = split_name(v, rank);
    mr_field f;
    mr_err err = mr_dataset_field(v->ds, rank, 0, &f, diag);

    if (err != MR_OK && err != MR_EVERSION) {
        return err;
    }
    (void)printf("%s\t%s\t%s\t%s\t", meta->key,
                 s->class_index != MR_NO_CLASS
                     ? mr_dataset_class_name(v->ds, s->class_index)
                     : "-",
                 meta->group[0] != '\0' ? meta->group : "-",
                 split != NULL ? split : "-");
    if (err == MR_OK) {
        (void)printf("%s %s %s\n", mr_dtype_name(f.dtype), f.axes,
                     mri_text_shape(f.shape, f.rank));
    } else {
        (void)printf("of a kind that a newer millrace knows\n");
    }
    return left_alone(err, diag);
}

static mr_err
list_samples(view *v, mr_diag *diag)
{
    mr_err err = MR_OK;

    if (v->in->cli->json) {
        mri_json_key(&v->j, "rows");
        mri_json_array(&v->j);
    } else {
        (void)printf("key\tclass\tgroup\tsplit\tfield\n");
    }
    for (uint64_t rank = 0; err == MR_OK && rank < mr_dataset_count(v->ds);
         rank++) {
        mr_sample s;
        mri_meta *meta = NULL;

        err = mr_dataset_sample(v->ds, rank, &s, diag);
        if (err == MR_OK) {
            err = mri_dataset_meta(v->ds, rank, &meta, diag);
        }
        if (err == MR_OK) {
            err = v->in->cli->json ? row_json(v, rank, &s, meta, diag)
                                   : row_text(v, rank, &s, meta, diag);
        }
        mri_meta_free(meta);
        if (err == MR_OK && mri_signals_stop()) {
            err = mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
        }
    }
    if (v->in->cli->json) {
        mri_json_end(&v->j);
    }
    return err;
}

static void
geometry_text(const mri_geometry *g)
{
    if (g->slope != 1 || g->inter != 0) {
        (void)printf("    scale    value * %.9g + %.9g\n", g->slope, g->inter);
    }
    if (g->has_affine) {
        for (int r = 0; r < 3; r++) {
            (void)printf("    %s %11.5g %11.5g %11.5g %11.5g\n",
                         r == 0 ? "affine  " : "        ", g->affine[4 * r],
                         g->affine[4 * r + 1], g->affine[4 * r + 2],
                         g->affine[4 * r + 3]);
        }
    }
    if (g->orientation > 1) {
        (void)printf("    EXIF orientation %u (kept as a number, not "
                     "applied)\n",
                     g->orientation);
    }
    for (uint32_t i = 0; i < g->channel_count; i++) {
        (void)printf("%s%s", i == 0 ? "    channels " : ", ", g->channels[i]);
    }
    if (g->channel_count != 0) {
        (void)printf("\n");
    }
}

static mr_err
field_text(view *v, uint64_t rank, uint32_t i, const mri_meta *meta,
           mr_diag *diag)
{
    mr_field f;
    mr_err err = mr_dataset_field(v->ds, rank, i, &f, diag);

    if (err != MR_OK) {
        return err;
    }
    (void)printf("  %s  %s %s %s%s\n", mr_dataset_field_name(v->ds, f.name),
                 mr_dtype_name(f.dtype), f.axes,
                 mri_text_shape(f.shape, f.rank),
                 f.encoding == MR_ENC_JPEG ? ", JPEG kept verbatim" : "");
    if (f.encoding == MR_ENC_CHUNKS) {
        (void)printf("    chunks   %s\n", mri_text_shape(f.chunk, f.rank));
    }
    geometry_text(&meta->geometry[i]);
    for (uint32_t k = 0; k < meta->source_count[i]; k++) {
        const mri_provenance *p = &meta->sources[i][k];

        (void)printf("    source   %s, %s, sha256 %s%s%s\n", p->name,
                     mri_text_bytes(p->bytes), mri_text_hex(p->sha256, 32),
                     p->dropped != NULL && p->dropped[0] != '\0' ? ", dropped "
                                                                 : "",
                     p->dropped != NULL ? p->dropped : "");
    }
    for (uint32_t c = 0; c < f.channels; c++) {
        mr_moments m;

        if (mr_dataset_moments(v->ds, rank, i, c, &m, NULL) == MR_OK) {
            (void)printf("    channel %u  min %.6g  max %.6g  mean %.6g  std "
                         "%.6g\n",
                         c, m.min, m.max, mr_moments_mean(&m),
                         mr_moments_std(&m));
        }
    }
    return MR_OK;
}

static void
json_geometry(mri_json *j, const mri_geometry *g, uint32_t rank)
{
    mri_json_put_f64(j, "slope", g->slope);
    mri_json_put_f64(j, "intercept", g->inter);
    mri_json_key(j, "affine");
    if (g->has_affine) {
        mri_json_array(j);
        for (int i = 0; i < 12; i++) {
            mri_json_f64(j, g->affine[i]);
        }
        mri_json_end(j);
    } else {
        mri_json_null(j);
    }
    mri_json_key(j, "spacing");
    mri_json_array(j);
    for (uint32_t i = 0; i < rank; i++) {
        mri_json_f64(j, g->spacing[i]);
    }
    mri_json_end(j);
    mri_json_put_u64(j, "orientation", g->orientation);
    mri_json_key(j, "channels");
    mri_json_array(j);
    for (uint32_t i = 0; i < g->channel_count; i++) {
        mri_json_text(j, g->channels[i]);
    }
    mri_json_end(j);
}

static mr_err
field_json(view *v, uint64_t rank, uint32_t i, const mri_meta *meta,
           mr_diag *diag)
{
    mri_json *j = &v->j;
    mr_field f;
    mr_err err = mr_dataset_field(v->ds, rank, i, &f, diag);

    if (err != MR_OK) {
        return err;
    }
    mri_json_key(j, mr_dataset_field_name(v->ds, f.name));
    mri_json_object(j);
    mri_json_put_text(j, "dtype", mr_dtype_name(f.dtype));
    mri_json_put_text(j, "axes", f.axes);
    mri_json_key(j, "shape");
    json_shape(j, f.shape, f.rank);
    json_geometry(j, &meta->geometry[i], f.rank);
    mri_json_key(j, "sources");
    mri_json_array(j);
    for (uint32_t k = 0; k < meta->source_count[i]; k++) {
        const mri_provenance *p = &meta->sources[i][k];

        mri_json_object(j);
        mri_json_put_text(j, "name", p->name);
        mri_json_put_u64(j, "bytes", p->bytes);
        mri_json_put_text(j, "sha256", mri_text_hex(p->sha256, 32));
        mri_json_put_text(j, "dropped", p->dropped);
        mri_json_end(j);
    }
    mri_json_end(j);
    mri_json_key(j, "moments");
    mri_json_array(j);
    for (uint32_t c = 0; c < f.channels; c++) {
        mr_moments m;

        if (mr_dataset_moments(v->ds, rank, i, c, &m, NULL) == MR_OK) {
            mri_json_object(j);
            mri_json_put_f64(j, "min", m.min);
            mri_json_put_f64(j, "max", m.max);
            mri_json_put_f64(j, "mean", mr_moments_mean(&m));
            mri_json_put_f64(j, "std", mr_moments_std(&m));
            mri_json_end(j);
        }
    }
    mri_json_end(j);
    mri_json_end(j);
    return MR_OK;
}

static mr_err
show_sample(view *v, mr_diag *diag)
{
    uint64_t rank;
    mr_sample s;
    mri_meta *meta = NULL;
    mr_err err = mri_dataset_find_key(v->ds, v->in->sample, &rank, diag);

    if (err == MR_OK) {
        err = mr_dataset_sample(v->ds, rank, &s, diag);
    }
    if (err == MR_OK) {
        err = mri_dataset_meta(v->ds, rank, &meta, diag);
    }
    if (err != MR_OK) {
        mri_diag_in(diag, v->in->thing);
        return err;
    }
    if (v->in->cli->json) {
        mri_json_key(&v->j, "sample");
        mri_json_object(&v->j);
        mri_json_put_text(&v->j, "key", meta->key);
        mri_json_put_text(&v->j, "uid", mri_text_hex(s.uid, 16));
        mri_json_put_text(&v->j, "class", meta->class_name);
        mri_json_put_text(&v->j, "group", meta->group);
        mri_json_put_text(&v->j, "split", split_name(v, rank));
        mri_json_key(&v->j, "fields");
        mri_json_object(&v->j);
    } else {
        const char *split = split_name(v, rank);

        (void)printf("%s\n  uid %s  class %s  group %s  split %s\n", meta->key,
                     mri_text_hex(s.uid, 16),
                     meta->class_name[0] != '\0' ? meta->class_name : "-",
                     meta->group[0] != '\0' ? meta->group : "-",
                     split != NULL ? split : "-");
    }
    for (uint32_t i = 0; err == MR_OK && i < s.fields && i < meta->field_count;
         i++) {
        err = v->in->cli->json ? field_json(v, rank, i, meta, diag)
                               : field_text(v, rank, i, meta, diag);
    }
    if (v->in->cli->json) {
        mri_json_end(&v->j);
        mri_json_end(&v->j);
    }
    mri_meta_free(meta);
    return err;
}

/* ---- splits, quarantine ---- */

typedef struct member {
    char *group;
    uint32_t split;
} member;

static int
by_split_and_group(const void *a, const void *b)
{
    const member *x = a, *y = b;

    if (x->split != y->split) {
        return x->split < y->split ? -1 : 1;
    }
    return strcmp(x->group, y->group);
}

static void
print_members(view *v, const member *list, uint64_t n)
{
    mri_json *j = &v->j;

    if (v->in->cli->json) {
        mri_json_key(j, "split_groups");
        mri_json_array(j);
    }
    for (uint64_t i = 0, run; i < n; i += run) {
        const char *split = mr_dataset_split_name(v->ds, list[i].split);

        for (run = 1;
             i + run < n && by_split_and_group(&list[i], &list[i + run]) == 0;
             run++) {
        }
        if (v->in->cli->json) {
            mri_json_object(j);
            mri_json_put_text(j, "split", split);
            mri_json_put_text(j, "group",
                              list[i].group[0] != '\0' ? list[i].group : NULL);
            mri_json_put_u64(j, "samples", run);
            mri_json_end(j);
        } else {
            (void)printf("%-8s %-24s %s samples\n", split,
                         list[i].group[0] != '\0' ? list[i].group
                                                  : "(no group)",
                         mri_text_count(run));
        }
    }
    if (v->in->cli->json) {
        mri_json_end(j);
    }
}

static mr_err
show_splits(view *v, mr_diag *diag)
{
    uint64_t n = mr_dataset_count(v->ds), have = 0;
    member *list = mri_alloc((size_t)n, sizeof *list);
    mr_err err = list != NULL ? MR_OK : no_memory(diag);

    for (uint64_t i = 0; err == MR_OK && i < n; i++) {
        mri_meta *meta;

        err = mri_dataset_meta(v->ds, i, &meta, diag);
        if (err == MR_OK) {
            list[have].group = mri_strdup(meta->group);
            list[have].split = v->split_of[i];
            mri_meta_free(meta);
            err = list[have].group != NULL ? MR_OK : no_memory(diag);
            have++;
        }
    }
    if (err == MR_OK) {
        qsort(list, (size_t)n, sizeof *list, by_split_and_group);
        print_members(v, list, n);
    }
    for (uint64_t i = 0; i < have; i++) {
        mri_free(list[i].group);
    }
    mri_free(list);
    return err;
}

static mr_err
show_quarantine(view *v, mr_diag *diag)
{
    mri_dataset_facts facts;
    mri_json *j = &v->j;
    mri_bad *bad;
    uint64_t count;
    mr_err err;

    mri_dataset_facts_of(v->ds, &facts);
    err = mri_quarantine_load(facts.dir, &bad, &count, diag);
    if (err != MR_OK) {
        return err;
    }
    if (v->in->cli->json) {
        mri_json_key(j, "quarantine");
        mri_json_array(j);
    }
    for (uint64_t i = 0; i < count; i++) {
        char at[32] = "", code[8];

        (void)snprintf(code, sizeof code, "E%04u", bad[i].code);
        if (bad[i].at != MR_NOWHERE) {
            (void)snprintf(at, sizeof at, "@%llu",
                           (unsigned long long)bad[i].at);
        }
        if (!v->in->cli->json) {
            (void)printf("[%s] %s%s: %s\n  help: %s\n", code, bad[i].key, at,
                         bad[i].reason, mr_code_help(bad[i].code));
            continue;
        }
        mri_json_object(j);
        mri_json_put_text(j, "key", bad[i].key);
        mri_json_put_text(j, "code", code);
        mri_json_put_text(j, "stage", bad[i].stage);
        mri_json_put_text(j, "reason", bad[i].reason);
        mri_json_key(j, "at");
        if (bad[i].at != MR_NOWHERE) {
            mri_json_u64(j, bad[i].at);
        } else {
            mri_json_null(j);
        }
        mri_json_put_u64(j, "bytes", bad[i].bytes);
        mri_json_put_text(j, "sha256",
                          bad[i].hashed ? mri_text_hex(bad[i].sha256, 32)
                                        : NULL);
        mri_json_end(j);
    }
    if (v->in->cli->json) {
        mri_json_end(j);
    } else if (count == 0) {
        (void)printf("nothing was set aside\n");
    }
    mri_bad_list_free(bad, count);
    return MR_OK;
}

/* ---- the overview ---- */

static void
text_fields(const view *v)
{
    for (uint32_t i = 0; i < mri_dataset_variants(v->ds); i++) {
        mri_variant w;

        mri_dataset_variant(v->ds, i, &w);
        if (i == 6 && mri_dataset_variants(v->ds) > 7) {
            (void)printf("            and %u other shapes\n",
                         mri_dataset_variants(v->ds) - i);
            return;
        }
        (void)printf("  %-8s  %s", i == 0 ? "fields" : "",
                     mr_dataset_field_name(v->ds, w.field));
        if (w.dtype == MR_NONE) {
            (void)printf("  of other types and shapes");
        } else {
            (void)printf("  %s %s %s", mr_dtype_name(w.dtype), w.axes,
                         mri_text_shape(w.shape, w.rank));
        }
        (void)printf("%s  x %s", w.encoding == MR_ENC_JPEG ? " (JPEG)" : "",
                     mri_text_count(w.count));
        mri_inspect_field_text(v->ds, w.field);
        (void)printf("\n");
    }
}

static void
text_facts(const view *v)
{
    uint32_t classes = mr_dataset_classes(v->ds);
    mri_dataset_facts facts;

    mri_dataset_facts_of(v->ds, &facts);
    (void)printf("%s\n  generation %llu, layout %s, content %s, ", v->in->thing,
                 (unsigned long long)mr_dataset_generation(v->ds), facts.layout,
                 mri_text_hex(mr_dataset_content_id(v->ds), 16));
    mri_inspect_version_text(&facts.version, mri_dataset_feature_name);
    (void)printf("\n");
    (void)printf("  samples   %s", mri_text_count(facts.samples));
    if (facts.groups != 0) {
        (void)printf(" in %s groups", mri_text_count(facts.groups));
    }
    (void)printf(", %s set aside", mri_text_count(facts.quarantined));
    if (facts.withdrawn != 0) {
        (void)printf(", %s withdrawn", mri_text_count(facts.withdrawn));
    }
    (void)printf("\n");
    text_fields(v);
    for (uint32_t i = 0; i < classes && i < 30; i++) {
        (void)printf("  %-8s  %-24s %s\n", i == 0 ? "classes" : "",
                     mr_dataset_class_name(v->ds, i),
                     mri_text_count(mri_dataset_class_count(v->ds, i)));
    }
    if (classes > 30) {
        (void)printf("            and %u more\n", classes - 30);
    }
    (void)printf("  splits  ");
    for (uint32_t i = 0; i < mr_dataset_splits(v->ds); i++) {
        (void)printf("  %s %s", mr_dataset_split_name(v->ds, i),
                     mri_text_count(mr_dataset_split_count(v->ds, i)));
    }
    if (facts.groups == 0) {
        (void)printf("  (no groups: that no donor stands in two splits cannot "
                     "be proven)");
    }
    if (facts.leaks != 0) {
        (void)printf("\n  leaks     %s in another split than the group or "
                     "the pixels they belong to",
                     mri_text_plural(facts.leaks, "sample"));
    }
    if (facts.joined != 0) {
        (void)printf("\n  joined    %s with pixels of another",
                     mri_text_plural(facts.joined, "group"));
    }
    (void)printf("\n  shards    %u, %s stored of %s decoded", facts.shards,
                 mri_text_bytes(facts.bytes), mri_text_bytes(facts.raw_bytes));
    if (facts.bytes != 0) {
        (void)printf(", ratio %.2f",
                     (double)facts.raw_bytes / (double)facts.bytes);
    }
    (void)printf("\n");
}

static mr_err
show(view *v, mr_diag *diag)
{
    const mri_inspect *in = v->in;
    bool detail = in->samples || in->stats || in->splits || in->quarantine ||
                  in->sample != NULL;
    mr_err err = MR_OK;

    if (in->cli->json) {
        mri_json_object(&v->j);
        json_facts(v);
    } else if (!detail) {
        text_facts(v);
    }
    if (in->samples || in->splits || in->sample != NULL) {
        err = find_splits(v, diag);
    }
    if (err == MR_OK && in->sample != NULL) {
        err = show_sample(v, diag);
    }
    if (err == MR_OK && in->stats) {
        err = mri_inspect_stats(v->ds, in->cli->json ? &v->j : NULL, diag);
    }
    if (err == MR_OK && in->splits) {
        err = show_splits(v, diag);
    }
    if (err == MR_OK && in->quarantine) {
        err = show_quarantine(v, diag);
    }
    if (err == MR_OK && in->samples) {
        err = list_samples(v, diag);
    }
    if (err == MR_OK && in->cli->json) {
        mri_json_end(&v->j);
        err = mri_cli_json(&v->j, diag);
    }
    if (err == MR_OK && in->png != NULL) {
        err = mri_contact_sheet(v->ds, in->png, diag);
    }
    return err;
}

mr_err
mri_inspect_dataset(const mri_inspect *in, mr_diag *diag)
{
    view v = {.in = in};
    mr_err err = mr_dataset_open(&v.ds, in->thing, diag);

    if (err == MR_OK) {
        err = show(&v, diag);
    }
    mri_json_release(&v.j);
    mri_free(v.split_of);
    mr_dataset_close(v.ds);
    return err;
}
