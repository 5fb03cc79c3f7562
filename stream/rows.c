/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows.c - open the engine: bind the pipeline, find out which tensors come
 * out, prove that the samples fit, and give the whole a name.
 */
#include "rows_types.h"

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/hash.h>
#include <mri/json.h>
#include <mri/log.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBES 65536 /* samples whose shapes are looked at when opening */

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

mr_err
mri_rows_field(const mr_dataset *ds, uint64_t rank, const mr_sample *s,
               uint32_t name, uint32_t *index, mr_field *f, mr_diag *diag)
{
    for (uint32_t i = 0; i < s->fields; i++) {
        mr_err err = mr_dataset_field(ds, rank, i, f, diag);

        if (err != MR_OK) {
            return err;
        }
        if (f->name == name) {
            *index = i;
            return MR_OK;
        }
    }
    return MR_FINISHED;
}

/* "[3, 224, 224]" */
static void
shape_text(char *out, size_t bytes, const uint64_t *shape, uint32_t rank)
{
    size_t used = (size_t)snprintf(out, bytes, "[");

    for (uint32_t i = 0; i < rank && used < bytes; i++) {
        used +=
            (size_t)snprintf(out + used, bytes - used, "%s%llu",
                             i > 0 ? ", " : "", (unsigned long long)shape[i]);
    }
    if (used < bytes) {
        (void)snprintf(out + used, bytes - used, "]");
    }
}

static mr_err
add_tensor(mri_rows *r, const mr_stream_tensor *t, mri_tensor_role role,
           uint32_t field, mr_diag *diag)
{
    size_t n = r->facts.tensor_count;
    mr_stream_tensor *to = &r->tensors[n];

    if (n == MRI_ROWS_TENSORS || t->rank + 1 > MR_MAX_RANK) {
        return mri_fail(diag, MRI_E_STREAM_FIELD, MR_NOWHERE,
                        n == MRI_ROWS_TENSORS
                            ? "the samples have too many fields"
                            : "a field has %d axes, and a batch one more",
                        MR_MAX_RANK);
    }
    *to = *t;
    to->bytes = mr_dtype_bytes(t->dtype);
    for (uint32_t i = 0; i < t->rank; i++) {
        if (!mri_mul(to->bytes, t->shape[i], &to->bytes) ||
            to->bytes > INT64_MAX / 2) {
            return mri_fail(diag, MRI_E_PIPE_FIT, MR_NOWHERE,
                            "a row of %s would be larger than any memory",
                            t->name);
        }
    }
    r->roles[n] = role;
    r->fields[n] = field;
    r->facts.tensor_count++;
    return MR_OK;
}

static mr_stream_tensor
tensor_of(const char *name, uint32_t views, const mri_form *form)
{
    mr_stream_tensor t = {.name = name, .dtype = form->dtype};

    if (views != 0) {
        t.shape[t.rank++] = views;
    }
    t.shape[t.rank++] = form->channels;
    for (unsigned k = form->volume ? 0 : 1; k < 3; k++) {
        t.shape[t.rank++] = form->size[k];
    }
    return t;
}

/* The tensors that a pipeline makes of samples of a form. */
static mr_err
add_views(mri_rows *r, const mri_form *form, mr_diag *diag)
{
    mri_form first = *form, second = *form;
    const mri_pipeline *p = &r->pipeline;
    mr_stream_tensor t;
    mr_err err = mri_pipeline_fit(p, &first, false, diag);

    if (err == MR_OK && p->locals != 0) {
        err = mri_pipeline_fit(p, &second, true, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    t = tensor_of(p->multi >= 0 ? "global" : "image", p->globals, &first);
    err = add_tensor(r, &t, p->multi >= 0 ? MRI_ROLE_GLOBAL : MRI_ROLE_IMAGE, 0,
                     diag);
    if (err == MR_OK && p->locals != 0) {
        t = tensor_of("local", p->locals, &second);
        err = add_tensor(r, &t, MRI_ROLE_LOCAL, 0, diag);
    }
    return err;
}

mr_err
mri_rows_fits(const mri_rows *r, const mri_form *form, mr_diag *diag)
{
    mri_form first = *form, second = *form;
    const mri_pipeline *p = &r->pipeline;
    mr_err err = mri_pipeline_fit(p, &first, false, diag);

    if (err == MR_OK && p->locals != 0) {
        err = mri_pipeline_fit(p, &second, true, diag);
    }
    for (size_t i = 0; err == MR_OK && i < r->facts.tensor_count; i++) {
        const mr_stream_tensor *was = &r->tensors[i];
        uint32_t views = r->roles[i] == MRI_ROLE_GLOBAL  ? p->globals
                         : r->roles[i] == MRI_ROLE_LOCAL ? p->locals
                                                         : 0;
        mr_stream_tensor is = tensor_of(
            was->name, views, r->roles[i] == MRI_ROLE_LOCAL ? &second : &first);

        if (r->roles[i] <= MRI_ROLE_LOCAL &&
            (is.rank != was->rank ||
             memcmp(is.shape, was->shape, sizeof is.shape) != 0)) {
            char a[80], b[80];

            shape_text(a, sizeof a, was->shape, was->rank);
            shape_text(b, sizeof b, is.shape, is.rank);
            err = mri_fail(diag, MRI_E_STREAM_SHAPES, MR_NOWHERE,
                           "samples of different shape: %s of one is %s, of "
                           "another %s",
                           was->name, a, b);
        }
    }
    return err;
}

/* The i-th of the samples that are probed, evenly over the split. */
static mr_err
probe(const mri_rows *r, uint64_t i, uint64_t *rank, mr_sample *s,
      mr_diag *diag)
{
    uint64_t n = r->facts.samples;
    uint64_t at = n <= PROBES ? i : (uint64_t)((double)i * (double)n / PROBES);
    mr_err err = mri_selection_at(&r->split, at, rank, diag);

    return err == MR_OK ? mr_dataset_sample(r->ds, *rank, s, diag) : err;
}

static uint64_t
probes(const mri_rows *r)
{
    return r->facts.samples < PROBES ? r->facts.samples : PROBES;
}

static mr_err
form_at(const mri_rows *r, uint64_t i, mri_form *form, mr_dtype *stored,
        mr_diag *diag)
{
    uint64_t rank;
    uint32_t index;
    mr_sample s;
    mr_field f;
    mri_axes axes;
    mr_err err = probe(r, i, &rank, &s, diag);

    if (err == MR_OK) {
        err = mri_rows_field(r->ds, rank, &s, r->field, &index, &f, diag);
        if (err == MR_FINISHED) {
            err = mri_fail(diag, MRI_E_STREAM_FIELD, MR_NOWHERE,
                           "a sample has no field '%s'",
                           mr_dataset_field_name(r->ds, r->field));
        }
    }
    if (err == MR_OK) {
        err = mri_axes_of(&axes, &f, diag);
    }
    if (err == MR_OK) {
        *form = mri_form_of(&axes, &f);
        *stored = f.dtype;
    }
    return err;
}

static bool
is_of_unit_range(const mri_op *op)
{
    const mri_value *clamp = &op->v[BRIGHT_CLAMP];

    return mri_op_is(op, "solarize") ||
           (mri_op_is(op, "brightness") && clamp->given && clamp->at[1] <= 1);
}

/* Operations made for [0, 1] leave nothing of values as cameras store them:
 * allowed, but hardly ever meant. */
static void
warn_of_range(const mri_rows *r, mr_dtype stored)
{
    if (stored == MR_F32 || stored == MR_F64 || stored == MR_F16 ||
        stored == MR_BF16) {
        return;
    }
    for (unsigned i = 0; i < r->pipeline.count; i++) {
        const mri_op *op = &r->pipeline.ops[i];

        if (mri_op_is(op, "minmax") || mri_op_is(op, "normalize") ||
            mri_op_is(op, "to")) {
            return;
        }
        if (is_of_unit_range(op)) {
            mri_say(MR_LOG_WARN, "PIPELINE-RANGE",
                    "line %u of the pipeline: %s is for values in [0, 1], but "
                    "these are %s as stored: put minmax, or to: {scale: "
                    "1/255}, in front",
                    op->line, op->def->name, mr_dtype_name(stored));
            return;
        }
    }
}

/* Every shape that the samples have must come out as the same. */
static mr_err
infer_views(mri_rows *r, mr_diag *diag)
{
    mri_form form, last;
    mr_dtype stored;
    mr_err err = form_at(r, 0, &form, &stored, diag);

    if (err == MR_OK) {
        err = add_views(r, &form, diag);
    }
    if (err == MR_OK) {
        warn_of_range(r, stored);
    }
    for (uint64_t i = 1; err == MR_OK && i < probes(r); i++) {
        last = form;
        err = form_at(r, i, &form, &stored, diag);
        if (err == MR_OK &&
            (form.channels != last.channels || form.volume != last.volume ||
             memcmp(form.size, last.size, sizeof form.size) != 0)) {
            err = mri_rows_fits(r, &form, diag);
        }
    }
    return err;
}

/* The one image field that a pipeline works on; coarser levels of it are no
 * fields of their own. */
static mr_err
find_image(mri_rows *r, mr_diag *diag)
{
    char known[200] = "";
    size_t used = 0;
    unsigned count = 0;

    for (uint32_t i = 0; i < mr_dataset_fields(r->ds); i++) {
        mri_field_level level;

        mri_dataset_field_level(r->ds, i, &level);
        if (mri_dataset_field_kind(r->ds, i) == MRI_FIELD_IMAGE &&
            level.of == MRI_NO_FIELD) {
            r->field = count++ == 0 ? i : r->field;
            if (used < sizeof known) {
                used += (size_t)snprintf(known + used, sizeof known - used,
                                         "%s%s", count > 1 ? ", " : "",
                                         mr_dataset_field_name(r->ds, i));
            }
        }
    }
    if (count == 1) {
        return MR_OK;
    }
    return mri_fail(diag, MRI_E_STREAM_FIELD, MR_NOWHERE,
                    "a pipeline works on one image field; the dataset has %u%s"
                    "%s",
                    count, count > 0 ? ": " : "", known);
}

static mr_err
bind_pipeline(mri_rows *r, const mri_rows_options *o, mr_diag *diag)
{
    size_t bytes =
        o->pipeline_bytes != 0 ? o->pipeline_bytes : strlen(o->pipeline);
    mr_err err = mri_pipeline_parse(&r->pipeline, o->pipeline, bytes, diag);

    if (err == MR_OK) {
        err = find_image(r, diag);
    }
    if (err == MR_OK) {
        err = mri_pipeline_bind(&r->pipeline, &r->split, r->field, diag);
    }
    for (unsigned i = 0; err == MR_OK && i < r->pipeline.count; i++) {
        r->wants_ranges =
            r->wants_ranges || mri_op_is(&r->pipeline.ops[i], "minmax");
    }
    return err == MR_OK ? infer_views(r, diag) : err;
}

/* A field called like one of our own tensors gets a name beside it. */
static mr_err
field_tensor_name(mri_rows *r, const char *name, const char **out,
                  mr_diag *diag)
{
    char text[300];
    bool ours = strcmp(name, "label") == 0 || strcmp(name, "uid") == 0 ||
                strcmp(name, "valid") == 0;

    (void)snprintf(text, sizeof text, ours ? "%.280s_field" : "%.280s", name);
    *out = r->names[r->facts.tensor_count] = mri_strdup(text);
    return *out != NULL ? MR_OK : no_memory(diag);
}

static mr_stream_tensor
stored_tensor(const mr_field *f)
{
    mr_stream_tensor t = {.dtype = f->dtype, .rank = f->rank};

    memcpy(t.shape, f->shape, f->rank * sizeof *t.shape);
    return t;
}

/* Every field of every sample must have the type and shape of the first's. */
static mr_err
check_stored(const mri_rows *r, size_t tensor, mr_diag *diag)
{
    const mr_stream_tensor *was = &r->tensors[tensor];

    for (uint64_t i = 1; i < probes(r); i++) {
        uint64_t rank;
        uint32_t index;
        mr_sample s;
        mr_field f;
        mr_stream_tensor is;
        mr_err err = probe(r, i, &rank, &s, diag);

        if (err == MR_OK) {
            err = mri_rows_field(r->ds, rank, &s, r->fields[tensor], &index, &f,
                                 diag);
        }
        if (err != MR_OK) {
            return err != MR_FINISHED
                       ? err
                       : mri_fail(diag, MRI_E_STREAM_FIELD, MR_NOWHERE,
                                  "some samples have no field '%s'", was->name);
        }
        is = stored_tensor(&f);
        if (is.dtype != was->dtype || is.rank != was->rank ||
            memcmp(is.shape, was->shape, sizeof is.shape) != 0) {
            char a[80], b[80];

            shape_text(a, sizeof a, was->shape, was->rank);
            shape_text(b, sizeof b, is.shape, is.rank);
            return mri_fail(diag, MRI_E_STREAM_SHAPES, MR_NOWHERE,
                            "samples of different shape: %s of one is %s %s, "
                            "of another %s %s; a pipeline is needed",
                            was->name, mr_dtype_name(was->dtype), a,
                            mr_dtype_name(is.dtype), b);
        }
    }
    return MR_OK;
}

static mr_err
infer_stored(mri_rows *r, mr_diag *diag)
{
    for (uint32_t i = 0; i < mr_dataset_fields(r->ds); i++) {
        uint64_t rank;
        uint32_t index;
        mr_sample s;
        mr_field f;
        mr_stream_tensor t;
        mr_err err = probe(r, 0, &rank, &s, diag);

        if (err == MR_OK) {
            err = mri_rows_field(r->ds, rank, &s, i, &index, &f, diag);
        }
        if (err == MR_OK && f.encoding == MR_ENC_BYTES) {
            err = mri_fail(diag, MRI_E_STREAM_FIELD, MR_NOWHERE,
                           "field '%s' is bytes without a shape",
                           mr_dataset_field_name(r->ds, i));
        }
        if (err == MR_OK) {
            t = stored_tensor(&f);
            err = field_tensor_name(r, mr_dataset_field_name(r->ds, i), &t.name,
                                    diag);
        }
        if (err == MR_OK) {
            err = add_tensor(r, &t, MRI_ROLE_FIELD, i, diag);
        }
        if (err == MR_OK) {
            err = check_stored(r, r->facts.tensor_count - 1, diag);
        }
        if (err != MR_OK) {
            return err != MR_FINISHED
                       ? err
                       : mri_fail(diag, MRI_E_STREAM_FIELD, MR_NOWHERE,
                                  "some samples have no field '%s'",
                                  mr_dataset_field_name(r->ds, i));
        }
    }
    return MR_OK;
}

/* Labels are i32 as in a table of features (settled rule 30): one type from
 * the dataset to the kNN. */
static mr_err
add_common(mri_rows *r, mr_diag *diag)
{
    static const mr_stream_tensor common[] = {
        {.name = "label", .dtype = MR_I32},
        {.name = "uid", .dtype = MR_U8, .rank = 1, .shape = {MR_UID_BYTES}},
        {.name = "valid", .dtype = MR_U8},
    };

    for (unsigned i = 0; i < MRI_COUNT(common); i++) {
        mr_err err = add_tensor(r, &common[i],
                                (mri_tensor_role)(MRI_ROLE_LABEL + i), 0, diag);

        if (err != MR_OK) {
            return err;
        }
    }
    return MR_OK;
}

/* By name; there are few. */
static void
sort_tensors(mri_rows *r)
{
    for (size_t i = 1; i < r->facts.tensor_count; i++) {
        for (size_t k = i;
             k > 0 && strcmp(r->tensors[k - 1].name, r->tensors[k].name) > 0;
             k--) {
            mr_stream_tensor t = r->tensors[k];
            mri_tensor_role role = r->roles[k];
            uint32_t field = r->fields[k];

            r->tensors[k] = r->tensors[k - 1];
            r->roles[k] = r->roles[k - 1];
            r->fields[k] = r->fields[k - 1];
            r->tensors[k - 1] = t;
            r->roles[k - 1] = role;
            r->fields[k - 1] = field;
        }
    }
}

/* From here to *mark is one part of the OPEN: its hint. */
static void
take_hint(mri_rows *r, const mri_json *j, unsigned which, size_t *mark)
{
    r->facts.hints[which] =
        (uint16_t)mri_xxh3(j->out.data + *mark, j->out.len - *mark);
    *mark = j->out.len;
}

static void
put_datasets(const mri_rows *r, mri_json *j)
{
    char hex[33];

    mri_json_key(j, "datasets");
    mri_json_array(j);
    mri_json_object(j);
    mri_json_put_text(j, "content_id",
                      mri_hex(hex, mr_dataset_content_id(r->ds), 16));
    mri_json_put_u64(j, "weight", 1);
    mri_json_end(j);
    mri_json_end(j);
}

static void
put_order(const mri_rows *r, mri_json *j)
{
    static const char *const tails[] = {"mask", "drop", "wrap"};

    mri_json_put_text(j, "order",
                      r->order == MR_ORDER_UID ? "uid@1" : "permutation@1");
    mri_json_put_text(j, "rng", "philox4x32-10@1");
    mri_json_put_text(j, "tail", tails[r->facts.tail]);
    mri_json_put_u64(j, "block", 0);
}

/* The canonical OPEN: what makes two streams the same. */
static mr_err
write_open(mri_rows *r, mr_diag *diag)
{
    mri_json j = {0};
    uint8_t decoder[16], whole[32];
    char hex[33];
    size_t mark = 0;
    mr_err err = mri_decoder_fingerprint(decoder, diag);

    if (err != MR_OK) {
        return err;
    }
    mri_json_object(&j);
    put_datasets(r, &j);
    take_hint(r, &j, 0, &mark);
    mri_json_put_text(&j, "split", r->split.name);
    take_hint(r, &j, 1, &mark);
    put_order(r, &j);
    take_hint(r, &j, 2, &mark);
    mri_json_key(&j, "pipeline");
    if (r->piped) {
        mri_pipeline_json(&r->pipeline, &j);
    } else {
        mri_json_null(&j);
    }
    take_hint(r, &j, 3, &mark);
    mri_json_put_text(&j, "decoder", mri_hex(hex, decoder, sizeof decoder));
    take_hint(r, &j, 4, &mark);
    mri_json_end(&j);
    r->open = mri_strdup(mri_json_done(&j));
    mri_json_release(&j);
    if (r->open == NULL) {
        return no_memory(diag);
    }
    r->facts.open = r->open;
    mri_sha256_of(whole, r->open, strlen(r->open));
    memcpy(r->facts.id, whole, sizeof r->facts.id);
    return MR_OK;
}

/* What a consumer that has no dataset will want to call things. */
static mr_err
take_names(mri_rows *r, mr_diag *diag)
{
    uint32_t classes = mr_dataset_classes(r->ds);
    mr_err err = MR_OK;

    r->classes = mri_alloc(classes + 1, sizeof *r->classes);
    if (r->classes == NULL) {
        return no_memory(diag);
    }
    for (uint32_t i = 0; i < classes; i++) {
        r->classes[i] = mr_dataset_class_name(r->ds, i);
    }
    if (r->piped) {
        err = mri_pipeline_channels(&r->pipeline, &r->split, r->field,
                                    &r->channels, &r->channel_count, diag);
    }
    r->facts.classes = r->classes;
    r->facts.class_count = classes;
    r->facts.channels = (const char *const *)r->channels;
    r->facts.channel_count = r->channel_count;
    return err;
}

static mr_err
fill_rows(mri_rows *r, const mri_rows_options *o, mr_diag *diag)
{
    mr_err err = mri_selection_open(&r->split, o->ds, o->split, diag);

    if (err != MR_OK) {
        return err;
    }
    r->facts.samples = r->split.count;
    if (r->facts.samples == 0) {
        return mri_fail(diag, MRI_E_STREAM_EMPTY, MR_NOWHERE,
                        "split '%.80s' has no samples", o->split);
    }
    r->piped = o->pipeline != NULL;
    err = r->piped ? bind_pipeline(r, o, diag) : infer_stored(r, diag);
    if (err == MR_OK) {
        err = add_common(r, diag);
    }
    if (err == MR_OK) {
        sort_tensors(r);
        err = take_names(r, diag);
    }
    if (err == MR_OK) {
        err = write_open(r, diag);
    }
    return err;
}

mr_err
mri_rows_open(mri_rows **out, const mri_rows_options *o, mr_diag *diag)
{
    mri_rows *r = mri_alloc(1, sizeof *r);
    mri_dataset_facts facts;
    mr_err err;

    *out = NULL;
    if (r == NULL) {
        return no_memory(diag);
    }
    r->ds = o->ds;
    r->order = o->order;
    r->pipeline.multi = -1;
    r->facts.tail = o->tail;
    r->facts.tensors = r->tensors;
    err = fill_rows(r, o, diag);
    if (err != MR_OK) {
        mri_dataset_facts_of(o->ds, &facts);
        mri_diag_in(diag, facts.dir);
        mri_rows_close(r);
        return err;
    }
    *out = r;
    return MR_OK;
}

void
mri_rows_close(mri_rows *r)
{
    if (r == NULL) {
        return;
    }
    mri_pipeline_release(&r->pipeline);
    for (unsigned i = 0; i < MRI_ROWS_TENSORS; i++) {
        mri_free(r->names[i]);
    }
    mri_selection_release(&r->split);
    mri_names_free(r->channels, r->channel_count);
    mri_free(r->classes);
    mri_free(r->open);
    mri_free(r);
}

const mri_rows_facts *
mri_rows_facts_of(const mri_rows *r)
{
    return &r->facts;
}
